//! Prometheus' HTTP API (Prometheus documentation, "HTTP API"): paths, parameters,
//! JSON, error types and status codes as Prometheus has them.

use super::params::{MAX_MS, MIN_MS, duration_ms, time_ms};
use super::{Params, json};
use crate::queries::{LOOKBACK_MS, TIMEOUT};
use crate::server::Reply;
use crate::state::State;
use base::names;
use hyper::StatusCode;
use monitor_promql::labels::is_label_name;
use monitor_promql::{Error, Matcher, Query, SourceError, parse_selector};
use std::sync::Arc;
use std::time::{Duration, Instant};

mod status;

/// Points of one series in a range query, at most (Prometheus: the same).
const MAX_POINTS: i64 = 11_000;

/// An error of the API.
struct Failure {
    kind: &'static str,
    why: String,
}

impl Failure {
    fn bad(why: impl Into<String>) -> Self {
        Self { kind: "bad_data", why: why.into() }
    }

    fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad(format!("invalid parameter {name:?}: {why}"))
    }

    /// The codes of Prometheus' `web/api/v1`.
    fn reply(&self) -> Reply {
        let status = match self.kind {
            "bad_data" => StatusCode::BAD_REQUEST,
            "execution" => StatusCode::UNPROCESSABLE_ENTITY,
            // 499 is nginx' "client closed request", which Prometheus borrowed.
            "canceled" => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            "timeout" | "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            "not_found" => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Reply { status, ..Reply::json(json::error(self.kind, &self.why)) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { kind: error.api_type(), why: error.to_string() }
    }
}

/// Answers `/api/v1/<endpoint>`.
pub(crate) async fn answer(state: &Arc<State>, endpoint: &str, params: &Params) -> Reply {
    let began = Instant::now();
    let (name, result) = match endpoint {
        "query" => ("query", query(state, params).await),
        "query_range" => ("query_range", query_range(state, params).await),
        "series" => ("series", series(state, params).await),
        "labels" => ("labels", labels(state, params).await),
        "metadata" => ("metadata", Ok(status::metadata(state, params))),
        "rules" => ("rules", Ok(status::rules(state, params))),
        "alerts" => ("alerts", Ok(status::alerts(state))),
        "targets" => ("targets", Ok(status::targets(state, params))),
        "status/buildinfo" => ("status", Ok(status::build_info())),
        "status/runtimeinfo" => ("status", Ok(status::runtime_info(state))),
        _ => match endpoint.strip_prefix("label/").and_then(|rest| rest.strip_suffix("/values")) {
            Some(name) => ("label_values", label_values(state, name, params).await),
            None => {
                return Failure {
                    kind: "not_found",
                    why: format!("`/api/v1/{endpoint}` is not served here"),
                }
                .reply();
            }
        },
    };
    let kind = result.as_ref().map_or_else(|failure| failure.kind, |_| "ok");
    state.registry.counter(&names::MONITOR_QUERIES).with(&[name, kind]).inc();
    state.registry.histogram(&names::MONITOR_QUERY_DURATION).with(&[name]).observe(began.elapsed());
    match result {
        Ok(body) => Reply::json(body),
        Err(failure) => failure.reply(),
    }
}

async fn query(state: &State, params: &Params) -> Result<String, Failure> {
    let query = parse_query(params)?;
    let at_ms = time_param(params, "time", sys::clock::now_ms() as i64)?;
    let timeout = timeout_param(params)?;
    let lookback_ms = lookback_param(params)?;
    let outcome = state
        .queries
        .run(timeout, move |store, options| {
            let options = monitor_promql::Options { lookback_ms, ..*options };
            Ok(json::outcome(&query.instant(store, at_ms, &options)?))
        })
        .await?;
    Ok(outcome)
}

async fn query_range(state: &State, params: &Params) -> Result<String, Failure> {
    let required = |name: &str| {
        let value = params.get(name).unwrap_or_default();
        time_ms(value).map_err(|why| Failure::parameter(name, why))
    };
    let start_ms = required("start")?;
    let end_ms = required("end")?;
    if end_ms < start_ms {
        return Err(Failure::parameter("end", "end timestamp must not be before start time"));
    }
    let step = params.get("step").unwrap_or_default();
    let step_ms = duration_ms(step).map_err(|why| Failure::parameter("step", why))?;
    if step_ms <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Failure::parameter("step", why));
    }
    if (end_ms - start_ms) / step_ms > MAX_POINTS {
        return Err(Failure::bad(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let query = parse_query(params)?;
    let timeout = timeout_param(params)?;
    let lookback_ms = lookback_param(params)?;
    let outcome = state
        .queries
        .run(timeout, move |store, options| {
            // As many steps as are allowed above: the last one included.
            let options =
                monitor_promql::Options { max_steps: MAX_POINTS as usize + 1, lookback_ms, ..*options };
            Ok(json::outcome(&query.range(store, start_ms, end_ms, step_ms, &options)?))
        })
        .await?;
    Ok(outcome)
}

async fn series(state: &State, params: &Params) -> Result<String, Failure> {
    if params.all("match[]").next().is_none() {
        return Err(Failure::bad("no match[] parameter provided"));
    }
    let found = Found::of(params)?;
    let series = found.ask(state, |store, f| store.series(&f.any_of, f.start_ms, f.end_ms)).await?;
    let shown = series.iter().take(found.limit);
    Ok(json::success(|out| json::separated(out, shown, json::labels)))
}

async fn labels(state: &State, params: &Params) -> Result<String, Failure> {
    let found = Found::of(params)?;
    let names = found.ask(state, |store, f| store.label_names(&f.any_of, f.start_ms, f.end_ms)).await?;
    Ok(json::success(|out| json::texts(out, names.iter().take(found.limit).map(String::as_str))))
}

async fn label_values(state: &State, name: &str, params: &Params) -> Result<String, Failure> {
    let name = match name.strip_prefix("U__") {
        // Prometheus' "values escaping": `U__` and hexadecimal points between underscores.
        Some(_) => return Err(Failure::bad(format!("invalid label name: {name:?}"))),
        None => name.to_owned(),
    };
    if !is_label_name(&name) {
        return Err(Failure::bad(format!("invalid label name: {name:?}")));
    }
    let found = Found::of(params)?;
    let values =
        found.ask(state, move |store, f| store.label_values(&name, &f.any_of, f.start_ms, f.end_ms)).await?;
    Ok(json::success(|out| json::texts(out, values.iter().take(found.limit).map(String::as_str))))
}

/// What the three endpoints about series have in common.
#[derive(Clone)]
struct Found {
    any_of: Vec<Vec<Matcher>>,
    start_ms: i64,
    end_ms: i64,
    limit: usize,
}

impl Found {
    fn of(params: &Params) -> Result<Self, Failure> {
        let start_ms = time_param(params, "start", MIN_MS)?;
        let end_ms = time_param(params, "end", MAX_MS)?;
        if end_ms < start_ms {
            return Err(Failure::parameter("end", "end timestamp must not be before start time"));
        }
        let mut any_of = Vec::new();
        for selector in params.all("match[]") {
            any_of.push(parse_selector(selector).map_err(|why| Failure::parameter("match[]", why))?);
        }
        let limit = match params.get("limit") {
            None | Some("0") => usize::MAX,
            Some(text) => {
                text.parse().map_err(|_| Failure::parameter("limit", "limit must be a positive number"))?
            }
        };
        Ok(Self { any_of, start_ms, end_ms, limit })
    }

    async fn ask<T, F>(&self, state: &State, ask: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&monitor_store::Store, &Self) -> Result<T, monitor_store::Error> + Send + 'static,
    {
        let this = self.clone();
        let asked = state.queries.run(TIMEOUT, move |store, _| {
            ask(store, &this).map_err(|e| Error::Source(SourceError(e.to_string())))
        });
        Ok(asked.await?)
    }
}

fn parse_query(params: &Params) -> Result<Query, Failure> {
    Query::parse(params.get("query").unwrap_or_default()).map_err(|error| match error {
        Error::Parse(why) => Failure::parameter("query", why),
        other => other.into(),
    })
}

fn time_param(params: &Params, name: &str, default_ms: i64) -> Result<i64, Failure> {
    params.get(name).map_or(Ok(default_ms), |text| time_ms(text).map_err(|why| Failure::parameter(name, why)))
}

/// `lookback_delta`, at most a day.
fn lookback_param(params: &Params) -> Result<i64, Failure> {
    let Some(text) = params.get("lookback_delta") else { return Ok(LOOKBACK_MS) };
    match duration_ms(text) {
        Ok(ms) if (1..=86_400_000).contains(&ms) => Ok(ms),
        Ok(_) => Err(Failure::parameter("lookback_delta", "it is between 1ms and 1d")),
        Err(why) => Err(Failure::parameter("lookback_delta", why)),
    }
}

fn timeout_param(params: &Params) -> Result<Duration, Failure> {
    let Some(text) = params.get("timeout") else { return Ok(TIMEOUT) };
    let asked_ms = duration_ms(text).map_err(|why| Failure::parameter("timeout", why))?;
    Ok(Duration::from_millis(asked_ms.max(0) as u64).min(TIMEOUT))
}
