//! Which series, labels and values there are.

use super::{Failure, TRUNCATED, ask, limit_param, selectors, times};
use crate::api::{Params, json, params};
use crate::state::State;

/// `/api/v1/series`.
pub(super) async fn series(state: &State, params: &Params) -> Result<String, Failure> {
    if params.all("match[]").next().is_none() {
        return Err(Failure::bad("no match[] parameter provided"));
    }
    let (start_ms, end_ms) = times(params)?;
    let limit = limit_param(params, "limit")?;
    let any_of = selectors(params).map_err(|why| Failure::parameter("match[]", why))?;
    let series = ask(state, move |store| store.series_labels(&any_of, start_ms, end_ms)).await?;
    Ok(limited(&series, limit, json::labels))
}

/// `/api/v1/labels`.
pub(super) async fn labels(state: &State, params: &Params) -> Result<String, Failure> {
    let (start_ms, end_ms) = times(params)?;
    let limit = limit_param(params, "limit")?;
    let any_of = selectors(params).map_err(Failure::bad)?;
    let names = ask(state, move |store| store.label_names(&any_of, start_ms, end_ms)).await?;
    Ok(limited(&names, limit, |out, name| json::text(out, name)))
}

/// `/api/v1/label/<path>/values`.
pub(super) async fn label_values(state: &State, path: &str, params: &Params) -> Result<String, Failure> {
    let Some(name) = params::label_name(path) else {
        return Err(Failure::bad(format!("invalid label name: {path:?}")));
    };
    let (start_ms, end_ms) = times(params)?;
    let limit = limit_param(params, "limit")?;
    let any_of = selectors(params).map_err(Failure::bad)?;
    let values = ask(state, move |store| store.label_values(&name, &any_of, start_ms, end_ms)).await?;
    Ok(limited(&values, limit, |out, value| json::text(out, value)))
}

fn limited<T>(all: &[T], limit: usize, one: impl FnMut(&mut String, &T)) -> String {
    let warnings = if all.len() > limit { vec![TRUNCATED.to_owned()] } else { Vec::new() };
    json::noted(&warnings, |out| json::separated(out, all.iter().take(limit), one))
}
