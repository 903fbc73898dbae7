//! The monitor: probes, receivers and logins that are half said.

use crate::diagnostic::{Code, quote};
use crate::keys::monitor::{LogFormat, Probe, RecordType};
use crate::read::{Context, list};
use crate::sections::Sections;
use crate::span::{Span, Spanned};

/// The fields of a JSON line that are known.
pub const LOG_FIELDS: &[&str] = &["time", "client", "host", "method", "path", "status", "bytes", "seconds"];

pub(super) fn check(file: &Sections, cx: &mut Context) {
    for probe in &file.probes {
        kind_of_probe(probe.name.span, probe, cx);
    }
    for receiver in &file.receivers {
        let ways = [
            receiver.webhook.is_some(),
            receiver.email.is_some(),
            receiver.slack.is_some(),
            receiver.pagerduty.is_some(),
            receiver.ntfy.is_some(),
            receiver.alertmanager.is_some(),
        ];
        if !ways.contains(&true) {
            cx.error(
                Code::MissingKey,
                receiver.name.span,
                format!("{} says no way to tell anybody", quote(receiver.name.as_str())),
            )
            .hint("add one of `webhook`, `email`, `slack`, `pagerduty`, `ntfy` and `alertmanager`");
        }
        if let (Some(url), None) = (&receiver.pagerduty_url, &receiver.pagerduty) {
            cx.warning(Code::NoEffect, url.span, "`pagerduty_url` has no effect without `pagerduty`")
                .hint("add the integration key: `pagerduty = { env = \"PAGERDUTY_KEY\" }`");
        }
        if let Some(email) = &receiver.email {
            pair(
                email.span,
                email.user.as_ref().map(|u| u.span),
                email.password.as_ref().map(|p| p.span),
                cx,
            );
            if let (true, Some(password)) = (email.plain.value, &email.password) {
                cx.error(Code::Conflict, password.span, "a password would go out unencrypted")
                    .hint("remove `plain`, or `user` and `password`");
            }
        }
    }
    let Some(monitor) = &file.monitor else { return };
    for far in monitor.remote_write.iter() {
        pair(far.span, far.user.as_ref().map(|u| u.span), far.password.as_ref().map(|p| p.span), cx);
        if let (Some(token), Some(_)) = (&far.token, &far.user) {
            cx.error(Code::Conflict, token.span, "a login by password and one by token")
                .hint("leave one of them out");
        }
    }
    for log in monitor.logs.iter() {
        if let (Some(pattern), false) = (&log.pattern, log.format.value == LogFormat::Combined) {
            cx.error(Code::Conflict, pattern.span, "`pattern` and `format` say different things")
                .hint("leave one of them out");
        }
        if !log.fields.0.is_empty() && log.format.value != LogFormat::Json {
            cx.warning(Code::NoEffect, log.fields.span, "`fields` has no effect without `format = \"json\"`")
                .hint("add it, or remove `fields`");
        }
        for (name, _) in &log.fields.0 {
            if !LOG_FIELDS.contains(&name.value.as_str()) {
                cx.error(
                    Code::UnknownName,
                    name.span,
                    format!("there is no field {}", quote(name.value.as_str())),
                )
                .hint(format!("the fields are {}", list(LOG_FIELDS)));
            }
        }
    }
}

/// A user and a password come together.
fn pair(place: Span, user: Option<Span>, password: Option<Span>, cx: &mut Context) {
    let missing = match (user, password) {
        (Some(_), None) => "password",
        (None, Some(_)) => "user",
        _ => return,
    };
    cx.error(Code::MissingKey, place, format!("a login without `{missing}`"))
        .hint(format!("add `{missing}`"));
}

/// A probe tries exactly one thing, and has the keys of that one.
fn kind_of_probe(place: Span, probe: &Probe, cx: &mut Context) {
    fn span<T>(key: Option<&Spanned<T>>) -> Option<Span> {
        key.map(|key| key.span)
    }
    let kinds = [
        ("http", span(probe.http.as_ref())),
        ("tcp", span(probe.tcp.as_ref())),
        ("tls", span(probe.tls.as_ref())),
        ("dns", span(probe.dns.as_ref())),
        ("icmp", span(probe.icmp.as_ref())),
        ("postgres", span(probe.postgres.as_ref())),
    ];
    let given: Vec<(&str, Span)> = kinds.iter().filter_map(|(name, span)| Some((*name, (*span)?))).collect();
    let kind = match given[..] {
        [(kind, _)] => kind,
        [] => {
            let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
            cx.error(Code::MissingKey, place, "the probe does not say what it tries")
                .hint(format!("add one of {}", list(&names)));
            return;
        }
        [(first, _), (second, span), ..] => {
            cx.error(Code::Conflict, span, format!("the probe has `{first}` and `{second}`"))
                .hint("make a probe of each");
            return;
        }
    };
    let mut of_any = |homes: &[&str], key: &str, given: Option<Span>| {
        if let Some(span) = given.filter(|_| !homes.contains(&kind)) {
            cx.warning(Code::NoEffect, span, format!("`{key}` has no effect on a probe by `{kind}`"))
                .hint(format!("it belongs to {}", list(homes)));
        }
    };
    of_any(&["http", "tls"], "insecure", Some(probe.insecure.span).filter(|_| probe.insecure.value));
    of_any(&["http", "tls"], "ca", span(probe.ca.as_ref()));
    of_any(&["tls"], "starttls", span(probe.starttls.as_ref()));
    of_any(&["tcp", "tls"], "send", span(probe.send.as_ref()));
    of_any(&["tcp", "tls", "dns"], "expect", span(probe.expect.as_ref()));
    let mut of = |home: &'static str, key: &str, given: Option<Span>| of_any(&[home], key, given);
    of("http", "status", Some(probe.status.span).filter(|_| !probe.status.is_empty()));
    of("http", "body", span(probe.body.as_ref()));
    of("http", "not_body", span(probe.not_body.as_ref()));
    of("http", "redirects", Some(probe.redirects.span).filter(|_| !probe.redirects.value));
    of("dns", "server", span(probe.server.as_ref()));
    of("dns", "record", Some(probe.record.span).filter(|_| probe.record.value != RecordType::A));
    of("postgres", "user", span(probe.user.as_ref()));
    of("postgres", "password", span(probe.password.as_ref()));
    if kind == "dns" && probe.server.is_none() {
        cx.error(Code::MissingKey, place, "the probe does not say which name server is asked")
            .hint("add it: `server = \"9.9.9.9:53\"`");
    }
    pair(place, span(probe.user.as_ref()), span(probe.password.as_ref()), cx);
    if let Some(timeout) = probe.timeout.as_ref().filter(|timeout| timeout.value > probe.every.value) {
        cx.error(Code::Conflict, timeout.span, "`timeout` is longer than `every`")
            .hint("a try must end before the next one begins");
    }
    for status in probe.status.iter().filter(|status| !(100..=599).contains(&status.value)) {
        cx.error(Code::OutOfRange, status.span, format!("`{}` is no HTTP status", status.value))
            .hint("they go from 100 to 599");
    }
}
