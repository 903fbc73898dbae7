//! Prometheus' HTTP API (Prometheus manual, "HTTP API"): paths, parameters, JSON,
//! error types and status codes as Prometheus has them.

use super::params::{MAX_MS, MIN_MS, duration_ms, time_ms};
use super::{Params, json, params};
use crate::server::Reply;
use crate::state::State;
use base::names;
use hyper::{HeaderMap, Method, StatusCode};
use monitor_promql::{Error, Matcher, SourceError, parse_selector};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod admin;
pub(crate) mod federate;
mod find;
mod language;
mod query;
mod rules;
mod status;
mod targets;

/// What a client asks.
pub(crate) struct Asked<'a> {
    /// GET, HEAD, POST or PUT.
    pub(crate) method: &'a Method,
    /// The head.
    pub(crate) headers: &'a HeaderMap,
    /// The parameters of query and form.
    pub(crate) params: Params,
}

/// An error of the API.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: &'static str,
    why: String,
}

impl Failure {
    fn new(kind: &'static str, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }

    fn bad(why: impl Into<String>) -> Self {
        Self::new("bad_data", why)
    }

    fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad(format!("invalid parameter {name:?}: {why}"))
    }

    /// The codes of Prometheus' `web/api/v1`.
    fn status(&self) -> StatusCode {
        match self.kind {
            "bad_data" => StatusCode::BAD_REQUEST,
            "execution" => StatusCode::UNPROCESSABLE_ENTITY,
            // 499 is nginx' "client closed request", which Prometheus borrowed.
            "canceled" => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            "timeout" => StatusCode::SERVICE_UNAVAILABLE,
            "not_found" => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn reply(&self) -> Reply {
        Reply { status: self.status(), ..Reply::json(json::error(self.kind, &self.why)) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { kind: error.api_type(), why: error.to_string() }
    }
}

/// Answers `/api/v1/<endpoint>`.
pub(crate) async fn answer(state: &Arc<State>, endpoint: &str, asked: &Asked<'_>) -> Reply {
    let params = &asked.params;
    if let Some(action) = endpoint.strip_prefix("admin/tsdb/") {
        let counted = Counted::new(state, "admin");
        return counted.reply(admin::answer(state, action, asked).await);
    }
    if asked.method == Method::PUT {
        return Reply::text(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and POST are served here\n");
    }
    let label = endpoint.strip_prefix("label/").and_then(|rest| rest.strip_suffix("/values"));
    let name = match endpoint {
        "query" | "query_range" | "query_exemplars" | "series" | "labels" | "metadata" | "targets"
        | "rules" | "alerts" | "alertmanagers" | "format_query" | "parse_query" | "notifications"
        | "scrape_pools" => endpoint,
        "targets/metadata" => "targets_metadata",
        _ if label.is_some() => "label_values",
        _ => "status",
    };
    let counted = Counted::new(state, name);
    let result = match endpoint {
        "query" => query::instant(state, params).await,
        "query_range" => query::range(state, params).await,
        "query_exemplars" => query::exemplars(state, params).await,
        "format_query" => language::format(params),
        "parse_query" => language::parse(params),
        "series" => find::series(state, params).await,
        "labels" => find::labels(state, params).await,
        "metadata" => targets::metadata(state, params),
        "targets" => targets::targets(state, params),
        "scrape_pools" => Ok(targets::scrape_pools(state)),
        "targets/metadata" => targets::targets_metadata(state, params),
        "rules" => rules::rules(state, params),
        "alerts" => Ok(rules::alerts(state)),
        "alertmanagers" => Ok(rules::alertmanagers(state)),
        "notifications" => Ok(json::success(|out| out.push_str("[]"))),
        "status/config" => Ok(status::config(state)),
        "status/flags" => Ok(status::flags(state)),
        "status/buildinfo" => Ok(status::build_info()),
        "status/runtimeinfo" => Ok(status::runtime_info(state)),
        "status/tsdb" => status::tsdb(state, params).await,
        "status/walreplay" => Ok(status::wal_replay()),
        _ => match label {
            Some(name) => find::label_values(state, name, params).await,
            None => Err(Failure::new("not_found", format!("`/api/v1/{endpoint}` is not served here"))),
        },
    };
    // Nothing at all is said without a body.
    let reply = |body: String| match body.is_empty() {
        true => Reply { status: StatusCode::NO_CONTENT, ..Reply::json(body) },
        false => Reply::json(body),
    };
    counted.reply(result.map(reply))
}

/// Counts a request with how it ended; one that is dropped before its answer was
/// given up by its client.
struct Counted<'a> {
    state: &'a State,
    name: &'a str,
    began: Instant,
    result: &'static str,
}

impl<'a> Counted<'a> {
    fn new(state: &'a State, name: &'a str) -> Self {
        Self { state, name, began: Instant::now(), result: "canceled" }
    }

    fn reply(mut self, result: Result<Reply, Failure>) -> Reply {
        self.result = result.as_ref().map_or_else(|failure| failure.kind, |_| "ok");
        result.unwrap_or_else(|failure| failure.reply())
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let registry = &self.state.registry;
        registry.counter(&names::MONITOR_QUERIES).with(&[self.name, self.result]).inc();
        registry.histogram(&names::MONITOR_QUERY_DURATION).with(&[self.name]).observe(self.began.elapsed());
    }
}

fn time_param(params: &Params, name: &str, default_ms: i64) -> Result<i64, Failure> {
    let wrong = |why| Failure::parameter(name, format_args!("invalid time value for '{name}': {why}"));
    params.get(name).map_or(Ok(default_ms), |text| time_ms(text).map_err(wrong))
}

fn duration_param(params: &Params, name: &str) -> Result<Option<i64>, Failure> {
    params.get(name).map(|text| duration_ms(text).map_err(|why| Failure::parameter(name, why))).transpose()
}

fn limit_param(params: &Params, name: &str) -> Result<usize, Failure> {
    params::limit(params.get(name)).map_err(|why| Failure::parameter(name, why))
}

/// All values of `match[]`; none may select everything.
fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, String> {
    let mut any_of = Vec::new();
    for text in params.all("match[]") {
        let matchers = parse_selector(text).map_err(|why| why.to_string())?;
        if matchers.iter().all(Matcher::matches_empty) {
            return Err("match[] must contain at least one non-empty matcher".to_owned());
        }
        if any_of.len() >= MAX_SELECTORS {
            return Err(format!("more than {MAX_SELECTORS} `match[]` are given"));
        }
        any_of.push(matchers);
    }
    Ok(any_of)
}

/// Each is looked up on its own, however often it is given.
const MAX_SELECTORS: usize = 1_000;

/// `start` and `end`; without them all of time.
fn times(params: &Params) -> Result<(i64, i64), Failure> {
    Ok((time_param(params, "start", MIN_MS)?, time_param(params, "end", MAX_MS)?))
}

/// Said where a limit left something out.
const TRUNCATED: &str = "results truncated due to limit";

/// Asks the store on a thread that may wait.
async fn ask<T, F>(state: &State, asked: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce(&monitor_store::Store) -> Result<T, monitor_store::Error> + Send + 'static,
{
    ask_within(state, state.queries.settings().timeout.duration(), asked).await
}

async fn ask_within<T, F>(state: &State, timeout: Duration, ask: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce(&monitor_store::Store) -> Result<T, monitor_store::Error> + Send + 'static,
{
    let asked = state.queries.run(timeout, move |store, _| {
        ask(store).map_err(|error| Error::Source(SourceError(error.to_string())))
    });
    Ok(asked.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_selected() {
        let params = |texts: &[&str]| Params(texts.iter().map(|t| ("match[]".into(), (*t).into())).collect());
        assert_eq!(selectors(&params(&["up", "{a=\"b\"}"])).unwrap().len(), 2);
        assert_eq!(selectors(&params(&["up"; MAX_SELECTORS])).unwrap().len(), MAX_SELECTORS);
        for (texts, why) in [
            (&["up{"][..], "1:4: parse error: unexpected end of input inside braces"),
            (&["up", "{}"], "match[] must contain at least one non-empty matcher"),
            (&["up[5m]"], "1:3: parse error: unexpected \"[\""),
            (&["up"; MAX_SELECTORS + 1], "more than 1000 `match[]` are given"),
        ] {
            assert_eq!(selectors(&params(texts)).unwrap_err(), why);
        }
    }
}
