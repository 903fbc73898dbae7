//! Alertmanager's HTTP API, version 2, as far as `amtool` and a Prometheus use
//! it: alerts, their groups, silences, receivers; and what only we have, an
//! alert's threshold and what it would have fired.
//!
//! Reading is open to whoever sees the page. Over HTTP, silences are changed only
//! where the file says `admin_api = true`, and alerts are taken only where it
//! says that samples may be pushed; the admin socket, which belongs to the
//! site's user, changes silences whatever the file says. Bodies are JSON by
//! their type, which no page of another origin can send unasked.

use super::{Params, json};
use crate::server::Reply;
use crate::state::{State, lock};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use monitor_alert::api::{self, Wanted, time_ms};
use monitor_alert::backtest::{backtest, threshold};
use monitor_alert::manager::{MatcherText, Pushed, Silence, matcher};
use monitor_alert::rfc3339;
use monitor_alert::settings::RuleKind;
use monitor_promql::{Answer, Matcher, Options};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a body.
pub(crate) const MAX_BODY: usize = 4 << 20;

/// Steps of a backtest: of 30 days one every five minutes.
const STEPS: u64 = 8_640;

/// What a backtest may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Anyone who sees the page.
    Page,
    /// The site's user, on the admin socket.
    Owner,
}

/// A refusal: the status and a sentence. Alertmanager's errors are JSON texts.
struct Refusal(StatusCode, String);

impl Refusal {
    fn bad(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }
}

/// Answers `/api/v2/<endpoint>`.
pub(crate) fn answer(
    state: &State,
    asker: Asker,
    method: &Method,
    endpoint: &str,
    params: &Params,
    body: &Bytes,
) -> Reply {
    match respond(state, asker, method, endpoint, params, body) {
        Ok(Some(value)) => Reply::json(value.to_string()),
        Ok(None) => Reply::json(Bytes::new()),
        Err(Refusal(status, why)) => Reply { status, ..Reply::json(Value::from(why).to_string()) },
    }
}

fn respond(
    state: &State,
    asker: Asker,
    method: &Method,
    endpoint: &str,
    params: &Params,
    body: &Bytes,
) -> Result<Option<Value>, Refusal> {
    let now_ms = sys::clock::now_ms();
    let read = matches!(*method, Method::GET | Method::HEAD);
    match endpoint {
        "status" if read => Ok(Some(status(state))),
        "receivers" if read => {
            let plan = state.plan();
            Ok(Some(plan.manager.receivers.iter().map(|r| json!({ "name": r.name })).collect()))
        }
        "alerts" if read => Ok(Some(api::alerts_v2(&lock(&state.book).manager, &wanted(params)?, now_ms))),
        "alerts/groups" if read => {
            Ok(Some(api::groups_v2(&lock(&state.book).manager, &wanted(params)?, now_ms)))
        }
        "alerts" if *method == Method::POST => {
            if !state.plan().site.receive {
                return Err(forbidden(
                    "alerts are not taken here; hint: `[monitor] receive = true` lets others push",
                ));
            }
            push(state, body, now_ms).map(|()| None)
        }
        "silences" if read => {
            let filter = filters(params)?;
            let found = api::silences_v2(&lock(&state.book).manager, &filter, now_ms);
            found.map(Some).map_err(Refusal::bad)
        }
        "silences" if *method == Method::POST => {
            may_silence(state, asker)?;
            let id = set_silence(state, body, now_ms)?;
            Ok(Some(json!({ "silenceID": id })))
        }
        _ => match endpoint.strip_prefix("silence/") {
            Some(id) if read => {
                let book = lock(&state.book);
                let found = book.manager.silences().get(id);
                let found = found.ok_or_else(|| not_found(format!("silence `{id}` not found")))?;
                Ok(Some(api::silence_v2(found, now_ms)))
            }
            Some(id) if *method == Method::DELETE => {
                may_silence(state, asker)?;
                let mut book = lock(&state.book);
                book.touched = true;
                let ended = book.manager.silences_mut().expire(id, now_ms);
                ended.map(|()| None).map_err(|why| match why.contains("not found") {
                    true => not_found(why),
                    false => Refusal::bad(why),
                })
            }
            _ => Err(not_found(format!("`{method} /api/v2/{endpoint}` is not served here"))),
        },
    }
}

fn forbidden(why: &str) -> Refusal {
    Refusal(StatusCode::FORBIDDEN, why.to_owned())
}

fn not_found(why: String) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, why)
}

fn may_silence(state: &State, asker: Asker) -> Result<(), Refusal> {
    match asker == Asker::Owner || state.plan().site.admin_api {
        true => Ok(()),
        false => Err(forbidden(
            "silences are not changed over HTTP here; hint: `bastide silence` does, or `[monitor] admin_api = true` lets everyone who sees the page",
        )),
    }
}

fn status(state: &State) -> Value {
    let uptime = rfc3339(state.started_ms);
    json!({
        "cluster": { "name": "", "peers": [], "status": "disabled" },
        "config": { "original": "" },
        "uptime": uptime,
        "versionInfo": {
            "branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "",
            "version": env!("CARGO_PKG_VERSION"),
        },
    })
}

fn filters(params: &Params) -> Result<Vec<MatcherText>, Refusal> {
    let mut found = Vec::new();
    for text in params.all("filter") {
        found.extend(matcher::parse(text).map_err(Refusal::bad)?);
    }
    Ok(found)
}

fn wanted(params: &Params) -> Result<Wanted, Refusal> {
    let flag = |name: &str| match params.get(name) {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(Refusal::bad(format!("`{name}` is `true` or `false`, not `{other}`"))),
    };
    let matchers = filters(params)?.iter().map(MatcherText::compile).collect::<Result<Vec<_>, _>>();
    let receiver = params.get("receiver").map(|text| Matcher::regex("receiver", text, false)).transpose();
    Ok(Wanted {
        matchers: matchers.map_err(Refusal::bad)?,
        active: flag("active")?,
        silenced: flag("silenced")?,
        inhibited: flag("inhibited")?,
        receiver: receiver.map_err(|error| Refusal::bad(format!("`receiver`: {error}")))?,
    })
}

/// An alert of `POST /api/v2/alerts`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert {
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    starts_at: String,
    #[serde(default)]
    ends_at: String,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

fn optional_time(text: &str) -> Result<Option<u64>, Refusal> {
    if text.is_empty() { Ok(None) } else { time_ms(text).map_err(Refusal::bad) }
}

/// All that can be taken is; the error names the first that cannot.
fn push(state: &State, body: &Bytes, now_ms: u64) -> Result<(), Refusal> {
    let posted: Vec<PostedAlert> = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("the body is no list of alerts: {error}")))?;
    let mut book = lock(&state.book);
    let mut wrong = None;
    for alert in posted {
        let pushed = Pushed {
            labels: alert.labels.into_iter().collect(),
            annotations: alert.annotations.into_iter().collect(),
            starts_at_ms: optional_time(&alert.starts_at)?,
            ends_at_ms: optional_time(&alert.ends_at)?,
            generator_url: alert.generator_url,
        };
        if let Err(why) = book.manager.push(pushed, now_ms) {
            wrong.get_or_insert(why);
        }
    }
    wrong.map_or(Ok(()), |why| Err(Refusal::bad(why)))
}

/// A silence of `POST /api/v2/silences`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedSilence {
    #[serde(default)]
    id: String,
    matchers: Vec<MatcherText>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
}

fn set_silence(state: &State, body: &Bytes, now_ms: u64) -> Result<String, Refusal> {
    let posted: PostedSilence = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("the body is no silence: {error}")))?;
    let silence = Silence {
        id: posted.id,
        matchers: posted.matchers,
        starts_at_ms: optional_time(&posted.starts_at)?.unwrap_or(now_ms),
        ends_at_ms: optional_time(&posted.ends_at)?
            .ok_or_else(|| Refusal::bad("a silence needs `endsAt`"))?,
        updated_at_ms: now_ms,
        created_by: posted.created_by,
        comment: posted.comment,
    };
    let mut book = lock(&state.book);
    let id = book.manager.silences_mut().set(silence, &fresh_id(), now_ms).map_err(Refusal::bad)?;
    book.touched = true; // It outlives whatever ends us next.
    Ok(id)
}

/// A random UUID (RFC 9562 §5.4).
fn fresh_id() -> String {
    let mut bytes = [0u8; 16];
    sys::random::fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// `/api/bastide/v1/alert?name=&group=&file=&days=`: an alert's series and
/// threshold, to be charted, and what it would have fired in the last days.
pub(crate) async fn alert(state: &Arc<State>, params: &Params) -> Reply {
    match look_back(state, params).await {
        Ok(value) => Reply::json(value.to_string()),
        Err(Refusal(status, why)) => {
            let kind = if status == StatusCode::NOT_FOUND { "not_found" } else { "bad_data" };
            Reply { status, ..Reply::json(json::error(kind, &why)) }
        }
    }
}

async fn look_back(state: &Arc<State>, params: &Params) -> Result<Value, Refusal> {
    let name = params.get("name").ok_or_else(|| Refusal::bad("`name` is missing: the alert's name"))?;
    let days = match params.get("days").map(str::parse::<u64>) {
        None => 30,
        Some(Ok(days)) if (1..=400).contains(&days) => days,
        Some(_) => return Err(Refusal::bad("`days` is a number from 1 to 400")),
    };
    let plan = state.plan();
    let among = |what: &str, value: &str| params.get(what).is_none_or(|wanted| wanted == value);
    let groups =
        plan.groups.iter().filter(|g| among("group", &g.settings.name) && among("file", &g.settings.file));
    let found = groups
        .flat_map(|group| group.rules.iter().map(move |rule| (group, rule)))
        .find(|(_, rule)| rule.rule.kind == RuleKind::Alert && rule.rule.name == name);
    let (group, rule) = found.ok_or_else(|| not_found(format!("there is no alert `{name}`")))?;
    let now_ms = sys::clock::now_ms();
    let length_ms = days * 86_400_000;
    let step_ms = group.interval_ms.max(length_ms / STEPS) as i64;
    // On whole steps, so that asking again gives the same.
    let end_ms = now_ms as i64 / step_ms * step_ms;
    let start_ms = end_ms - length_ms as i64 / step_ms * step_ms;
    let query = rule.query.clone();
    let evaluated = state.queries.run(PATIENCE, move |store, options| {
        let options = Options { max_steps: STEPS as usize + 2, ..*options };
        query.range(store, start_ms, end_ms, step_ms, &options)
    });
    let outcome =
        evaluated.await.map_err(|error| Refusal(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    let series: Vec<_> = match outcome.answer {
        Answer::Matrix(series) => series
            .into_iter()
            .map(|s| (s.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(), s.points))
            .collect(),
        _ => Vec::new(),
    };
    let settings = &rule.rule;
    let firing = backtest(&series, (start_ms, end_ms, step_ms), settings.hold.0, settings.keep_firing.0);
    let time = |ms: i64| rfc3339(u64::try_from(ms).unwrap_or(0));
    let firing: Vec<Value> = firing
        .iter()
        .map(|f| {
            json!({
                "labels": f.labels.iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect::<serde_json::Map<_, _>>(),
                "activeAt": time(f.active_at_ms),
                "firedAt": time(f.fired_at_ms),
                "resolvedAt": f.resolved_at_ms.map(time),
                "value": api::exponent(f.value),
            })
        })
        .collect();
    let threshold = threshold(rule.query.expr())
        .map(|t| json!({ "series": t.series, "operator": t.operator, "value": t.value }));
    Ok(json!({
        "name": settings.name,
        "group": group.settings.name,
        "file": group.settings.file,
        "query": settings.expr,
        "duration": settings.hold.as_secs_f64(),
        "keepFiringFor": settings.keep_firing.as_secs_f64(),
        "threshold": threshold,
        "start": time(start_ms),
        "end": time(end_ms),
        "step": step_ms as f64 / 1e3,
        "firing": firing,
        "warnings": outcome.warnings,
        "infos": outcome.infos,
    }))
}
