//! Queries.

use super::{Failure, TRUNCATED, ask, duration_param, limit_param, time_param, times};
use crate::api::params::{duration_ms, time_ms};
use crate::api::{Params, json};
use crate::state::State;
use base::Millis;
use base::events::Event;
use monitor_promql::{Answer, Error, Options, Outcome, Query};
use monitor_store::Store;
use std::time::{Duration, Instant};

/// Points of one series in a range query, at most (Prometheus: the same).
const MAX_POINTS: i64 = 11_000;

/// The longest `lookback_delta`.
const MAX_LOOKBACK_MS: i64 = 86_400_000;

/// `/api/v1/query`.
pub(super) async fn instant(state: &State, params: &Params) -> Result<String, Failure> {
    let limit = limit_param(params, "limit")?;
    let at_ms = time_param(params, "time", sys::clock::now_ms() as i64)?;
    let asked = Asked::of(state, params)?;
    let query = parse(params)?;
    run(state, "query", asked, limit, query, move |query, store, options| {
        query.instant(store, at_ms, options)
    })
    .await
}

/// `/api/v1/query_range`.
pub(super) async fn range(state: &State, params: &Params) -> Result<String, Failure> {
    let limit = limit_param(params, "limit")?;
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
    let asked = Asked::of(state, params)?;
    let query = parse(params)?;
    run(state, "query_range", asked, limit, query, move |query, store, options| {
        // As many steps as are allowed above: the last one included.
        let options = Options { max_steps: MAX_POINTS as usize + 1, ..*options };
        query.range(store, start_ms, end_ms, step_ms, &options)
    })
    .await
}

/// `/api/v1/query_exemplars`: the exemplars of all series that a query selects.
pub(super) async fn exemplars(state: &State, params: &Params) -> Result<String, Failure> {
    let (start_ms, end_ms) = times(params)?;
    if end_ms < start_ms {
        return Err(Failure::bad("end timestamp must not be before start timestamp"));
    }
    let query = Query::parse(params.get("query").unwrap_or_default())?;
    let any_of = query.selectors();
    if any_of.is_empty() {
        return Ok(String::new());
    }
    let found = ask(state, move |store| Ok(store.exemplars(&any_of, start_ms, end_ms))).await?;
    Ok(json::success(|out| {
        json::separated(out, &found, |out, (series, exemplars)| {
            out.push_str("{\"seriesLabels\":");
            json::labels(out, series);
            out.push_str(",\"exemplars\":");
            json::separated(out, exemplars, json::exemplar);
            out.push('}');
        });
    }))
}

/// What both kinds of queries may be told.
struct Asked {
    timeout: Duration,
    lookback_ms: i64,
    stats: bool,
}

impl Asked {
    fn of(state: &State, params: &Params) -> Result<Self, Failure> {
        let settings = state.queries.settings();
        let most = settings.timeout.duration();
        let timeout = match duration_param(params, "timeout")? {
            Some(asked_ms) => Duration::from_millis(asked_ms.max(0) as u64).min(most),
            None => most,
        };
        let lookback_ms = match duration_param(params, "lookback_delta")? {
            None | Some(0) => settings.lookback_ms(),
            Some(ms) if (1..=MAX_LOOKBACK_MS).contains(&ms) => ms,
            Some(_) => return Err(Failure::parameter("lookback_delta", "it is between 1ms and 1d")),
        };
        Ok(Self { timeout, lookback_ms, stats: params.get("stats").is_some() })
    }
}

fn parse(params: &Params) -> Result<Query, Failure> {
    Query::parse(params.get("query").unwrap_or_default()).map_err(failure)
}

/// What only shows when the query meets its parameters is its mistake, too.
fn failure(error: Error) -> Failure {
    match error {
        Error::Parse(why) => Failure::parameter("query", why),
        other => other.into(),
    }
}

/// Runs a query on a thread of its own, and makes its answer's JSON there.
async fn run<F>(
    state: &State,
    endpoint: &'static str,
    asked: Asked,
    limit: usize,
    query: Query,
    evaluate: F,
) -> Result<String, Failure>
where
    F: FnOnce(&Query, &Store, &Options<'_>) -> Result<Outcome, Error> + Send + 'static,
{
    let began = Instant::now();
    let text = query.text().to_owned();
    let Asked { timeout, lookback_ms, stats } = asked;
    let ran = state.queries.run(timeout, move |store, options| {
        let queued_s = began.elapsed().as_secs_f64();
        let options = Options { lookback_ms, ..*options };
        let mut outcome = evaluate(&query, store, &options)?;
        let evaluated_s = began.elapsed().as_secs_f64() - queued_s;
        truncate(&mut outcome, limit);
        let stats = stats.then_some(json::Stats { queued_s, evaluated_s });
        Ok((json::outcome(&outcome, stats), outcome.samples_read))
    });
    let ran = ran.await;
    note(state, endpoint, text, began.elapsed(), &ran);
    ran.map(|(json, _)| json).map_err(failure)
}

/// A line in the event log for what took long or was stopped.
fn note(state: &State, endpoint: &str, text: String, took: Duration, ran: &Result<(String, u64), Error>) {
    let stopped = matches!(ran, Err(Error::Limit(_) | Error::Timeout | Error::Source(_)));
    if !stopped && took < state.queries.settings().slow.duration() || !state.queries.may_log() {
        return;
    }
    let (result, samples) = match ran {
        Ok((_, samples)) => ("answered".to_owned(), *samples),
        Err(error) => (error.to_string(), 0),
    };
    let query = text.chars().take(MAX_LOGGED).collect();
    let took = Millis(took.as_millis() as u64);
    state.events.emit(Event::Query { endpoint: endpoint.to_owned(), query, result, took, samples });
}

/// Characters of a query in the event log.
const MAX_LOGGED: usize = 2_000;

fn truncate(outcome: &mut Outcome, limit: usize) {
    let cut = match &mut outcome.answer {
        Answer::Vector(samples) if samples.len() > limit => {
            samples.truncate(limit);
            true
        }
        Answer::Matrix(series) if series.len() > limit => {
            series.truncate(limit);
            true
        }
        _ => false,
    };
    if cut {
        outcome.warnings.push(TRUNCATED.to_owned());
    }
}
