//! What changes the store: deleting series, snapshots. Only where the file allows
//! it (`admin_api`), and never by a GET, which a link can make a browser do.

use super::{Asked, Failure, ask, selectors, times};
use crate::api::json;
use crate::server::Reply;
use crate::state::State;
use hyper::{Method, StatusCode};

/// Answers `/api/v1/admin/tsdb/<action>`.
pub(super) async fn answer(state: &State, action: &str, asked: &Asked<'_>) -> Result<Reply, Failure> {
    if !matches!(asked.method, &Method::POST | &Method::PUT) {
        return Ok(Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only POST and PUT are served here\n"));
    }
    if !state.plan().site.admin_api {
        return Err(Failure::new(
            "unavailable",
            "admin APIs disabled\nhint: `admin_api = true` in `[monitor]`",
        ));
    }
    match action {
        "delete_series" => delete(state, asked).await,
        "snapshot" => snapshot(state).await,
        "clean_tombstones" => clean(state).await,
        _ => Err(Failure::new("not_found", format!("`/api/v1/admin/tsdb/{action}` is not served here"))),
    }
}

async fn delete(state: &State, asked: &Asked<'_>) -> Result<Reply, Failure> {
    if asked.params.all("match[]").next().is_none() {
        return Err(Failure::bad("no match[] parameter provided"));
    }
    let (start_ms, end_ms) = times(&asked.params)?;
    let any_of = selectors(&asked.params).map_err(|why| Failure::parameter("match[]", why))?;
    ask(state, move |store| {
        any_of.iter().try_for_each(|matchers| store.delete(matchers, start_ms, end_ms).map(drop))
    })
    .await?;
    Ok(done())
}

/// Into a folder of its own below `<state>/monitor/snapshots`, which a backup
/// takes away and the operator deletes.
async fn snapshot(state: &State) -> Result<Reply, Failure> {
    let now_ms = sys::clock::now_ms();
    let name = format!("{}-{:08x}", monitor_alert::rfc3339(now_ms).replace(':', ""), std::process::id());
    let dir = state.state_dir.join("monitor/snapshots").join(&name);
    ask(state, move |store| store.snapshot(&dir).map(drop)).await?;
    Ok(Reply::json(json::success(|out| out.push_str(&serde_json::json!({ "name": name }).to_string()))))
}

/// What was deleted is gone from the disk when its blocks are merged next, which
/// upkeep does; here that is done at once.
async fn clean(state: &State) -> Result<Reply, Failure> {
    let now_ms = sys::clock::now_ms() as i64;
    ask(state, move |store| store.maintain(now_ms).map(drop)).await?;
    Ok(done())
}

fn done() -> Reply {
    Reply { status: StatusCode::NO_CONTENT, ..Reply::json("") }
}
