//! What changes the store: deleting series, snapshots. Only where the file allows
//! it (`admin_api`), and never by a GET, which a link can make a browser do.

use super::{Asked, Failure, ask_within, selectors, times};
use crate::api::json;
use crate::server::Reply;
use crate::state::State;
use hyper::{Method, StatusCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
    ask_within(state, PATIENCE, move |store| {
        any_of.iter().try_for_each(|matchers| store.delete(matchers, start_ms, end_ms))
    })
    .await?;
    Ok(done())
}

/// Into a folder of its own below `<state>/monitor/snapshots`, which a backup
/// takes away and the operator deletes.
async fn snapshot(state: &State) -> Result<Reply, Failure> {
    let now_ms = sys::clock::now_ms();
    let number = SNAPSHOTS.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number:04x}", monitor_alert::rfc3339(now_ms).replace(':', ""));
    let dir = state.state_dir.join("monitor/snapshots").join(&name);
    ask_within(state, PATIENCE, move |store| store.snapshot(&dir)).await?;
    Ok(Reply::json(json::success(|out| out.push_str(&serde_json::json!({ "name": name }).to_string()))))
}

/// What was deleted is gone from the disk when its blocks are merged next; here
/// that is done at once.
async fn clean(state: &State) -> Result<Reply, Failure> {
    let now_ms = sys::clock::now_ms() as i64;
    ask_within(state, PATIENCE, move |store| store.compact(now_ms)).await?;
    Ok(done())
}

/// Whole days are written anew, so this may take longer than a query.
const PATIENCE: Duration = Duration::from_secs(600);

/// Snapshots since the start, for their names.
static SNAPSHOTS: AtomicU64 = AtomicU64::new(0);

fn done() -> Reply {
    Reply { status: StatusCode::NO_CONTENT, ..Reply::json("") }
}
