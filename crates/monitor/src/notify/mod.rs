//! Telling receivers: one POST or one e-mail, within a time. What is said is
//! built by `monitor-alert`, which also decides about waiting and trying again.
//!
//! No secret is in an error: URLs' paths, tokens and keys are masked, whatever a
//! receiver answers.

mod http;
mod mail;

use crate::fetch::{Exchange, fetch};
use base::Secret;
use bytes::Bytes;
use http::Problem;
pub(crate) use http::Target;
use hyper::Method;
use hyper::header::AUTHORIZATION;
use monitor_alert::manager::config::{Authorization, Http};
use monitor_alert::manager::{Failure, Integration, Kind};
use monitor_alert::receiver::{Outgoing, Verdict, alertmanager, verdict};
use std::time::Duration;

/// Why something was not taken.
#[derive(Debug)]
pub(crate) struct Undelivered {
    /// A fragment for a message, without secrets.
    pub(crate) why: String,
    /// What it means for trying again.
    pub(crate) failure: Failure,
}

impl Undelivered {
    fn later(why: String) -> Self {
        Self { why, failure: Failure::default() }
    }
}

/// Whether an integration's address can be understood. The error ends the
/// sentence "its URL …" and holds no part of it.
pub(crate) fn check(integration: &Integration) -> Result<(), String> {
    match &integration.kind {
        Kind::Webhook { url, .. } | Kind::Alertmanager { url } => Target::parse(url.reveal()).map(drop),
        Kind::Slack(slack) => Target::parse(slack.api_url.reveal()).map(drop),
        Kind::PagerDuty(pagerduty) => Target::parse(&pagerduty.url).map(drop),
        Kind::Ntfy(ntfy) => Target::parse(&ntfy.url).map(drop),
        Kind::Email(email) => mail::check(email),
    }?;
    http::tls(&integration.http).map(drop)
}

/// Sends one message.
pub(crate) async fn send(outgoing: Outgoing, integration: &Integration) -> Result<(), Undelivered> {
    let timeout = integration.timeout.duration().max(Duration::from_millis(100));
    let secrets = secrets(integration);
    let result = match (outgoing, &integration.kind) {
        (Outgoing::Mail(mail), Kind::Email(email)) => {
            mail::send(mail, email, &integration.http, timeout).await
        }
        (Outgoing::Http(post), kind) => {
            let verdict = |status, body: &[u8]| verdict(kind, status, body);
            one_post(post.url.reveal(), post.body, &integration.http, timeout, verdict).await
        }
        (Outgoing::Mail(_), _) => Err(Undelivered::later("a mail for a receiver that takes none".to_owned())),
    };
    result.map_err(|error| Undelivered { why: masked(error.why, &secrets), ..error })
}

/// Sends alerts to a remote Alertmanager.
pub(crate) async fn send_alerts(
    alerts: &[alertmanager::SentAlert],
    integration: &Integration,
) -> Result<(), Undelivered> {
    let Kind::Alertmanager { url } = &integration.kind else { return Ok(()) };
    let url = format!("{}/api/v2/alerts", url.reveal().trim_end_matches('/'));
    let timeout = integration.timeout.duration().max(Duration::from_millis(100));
    for batch in alerts.chunks(alertmanager::MAX_BATCH) {
        let verdict = |status, body: &[u8]| verdict(&integration.kind, status, body);
        one_post(&url, alertmanager::body(batch), &integration.http, timeout, verdict)
            .await
            .map_err(|error| Undelivered { why: masked(error.why, &secrets(integration)), ..error })?;
    }
    Ok(())
}

/// Tells the outside checker that we are there.
pub(crate) async fn ping(url: &Secret, post: bool) -> Result<(), String> {
    let target = Target::parse(url.reveal()).map_err(|why| format!("the dead man's URL {why}"))?;
    let authorization = target.authorization().map(|value| (AUTHORIZATION, value));
    let exchange = Exchange {
        method: if post { Method::POST } else { Method::GET },
        target: target.path(),
        headers: authorization.as_slice(),
        body: Bytes::new(),
        timeout: Duration::from_secs(10),
        max_body: 64 << 10,
    };
    match Box::pin(fetch(&target.endpoint(), exchange)).await {
        Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
        Ok(answer) => Err(format!("`{}` answered with HTTP status {}", target.place(), answer.status)),
        Err(why) => Err(masked(why, &target.secrets())),
    }
}

async fn one_post(
    url: &str,
    body: Vec<u8>,
    settings: &Http,
    timeout: Duration,
    verdict: impl Fn(u16, &[u8]) -> Verdict,
) -> Result<(), Undelivered> {
    let mut target = Target::parse(url).map_err(|why| Undelivered::later(format!("its URL {why}")))?;
    target.authorize(settings);
    let tls = http::tls(settings).map_err(Undelivered::later)?;
    match target.post(body, tls, timeout).await {
        Ok(answer) => {
            let place = target.place();
            let failure =
                |permanent| Failure { retry_after_ms: answer.retry_after_ms, permanent, unsure: false };
            match verdict(answer.status, &answer.body) {
                Verdict::Taken => Ok(()),
                Verdict::Later(why) => Err(Undelivered {
                    why: format!("`{place}` answered with {why}"),
                    failure: failure(false),
                }),
                Verdict::Never(why) => {
                    Err(Undelivered { why: format!("`{place}` refused with {why}"), failure: failure(true) })
                }
            }
        }
        Err(Problem { why, unsure }) => {
            Err(Undelivered { why, failure: Failure { unsure, ..Failure::default() } })
        }
    }
}

/// What must not be in a message: a receiver may say back what it was sent.
fn secrets(integration: &Integration) -> Vec<String> {
    let mut found = Vec::new();
    let mut url = |url: &str| {
        if let Ok(target) = Target::parse(url) {
            found.extend(target.secrets());
        }
    };
    match &integration.kind {
        Kind::Webhook { url: it, .. } | Kind::Alertmanager { url: it } => url(it.reveal()),
        Kind::Slack(slack) => url(slack.api_url.reveal()),
        Kind::PagerDuty(pagerduty) => found.push(pagerduty.routing_key.reveal().to_owned()),
        Kind::Ntfy(ntfy) => found.push(ntfy.topic.reveal().to_owned()),
        Kind::Email(email) => {
            found.extend(email.login.iter().map(|(_, password)| password.reveal().to_owned()))
        }
    }
    match &integration.http.authorization {
        Some(Authorization::Basic { password, .. }) => found.push(password.reveal().to_owned()),
        Some(Authorization::Token { credentials, .. }) => found.push(credentials.reveal().to_owned()),
        None => {}
    }
    found
}

fn masked(text: String, secrets: &[String]) -> String {
    secrets
        .iter()
        .filter(|s| s.len() > 3)
        .fold(text, |text, secret| text.replace(secret.as_str(), "[secret]"))
}

#[cfg(test)]
mod tests;
