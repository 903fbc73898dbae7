//! `bastide waf explain`: an event of the log, or a request that is tried here.

use super::request::{self, Request, Short, Wrong};
use super::seen::Seen;
use super::show::{self, field};
use super::trial::{Outcome, Site, Trial};
use super::{cannot, find, site_file};
use crate::Outcome as Done;
use crate::args::{Global, WafExplain};
use crate::events::text;
use crate::show::date_time;
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use base::EventId;
use role::Fault;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use waf_engine::Verdict;
use waf_engine::settings::Mode;

pub(crate) fn run(args: &WafExplain, global: &Global, terminal: &Terminal) -> Done {
    let what = args.what.join(" ");
    let is_file = what == "-" || Path::new(&what).is_file();
    match EventId::parse(what.trim()) {
        Some(id) if !is_file => event(id, args, global, terminal),
        _ => tried(&what, is_file, args, global, terminal),
    }
}

fn event(id: EventId, args: &WafExplain, global: &Global, terminal: &Terminal) -> Done {
    let paths = target::find(global, args.site.file.as_deref())?;
    let event = find(&paths, id)?.ok_or_else(|| {
        Fault::new(format!("no WAF event `{id}` is in the event log of site `{}`", paths.site))
            .hint(format!("it would be of {}; `bastide waf events` lists the latest", date_time(id.at_ms())))
    })?;
    if terminal.json {
        let mut event = event;
        event["matches"] = show::json(&Seen::of_event(&event)).into();
        terminal.print_json(&event);
    } else {
        print(&event, terminal);
    }
    Ok(ExitCode::SUCCESS)
}

/// One event, rule by rule.
pub(crate) fn print(event: &Value, terminal: &Terminal) {
    let seen = Seen::of_event(event);
    let word = match (event["blocked"] == true, seen.refused) {
        (true, _) => terminal.paint(Style::Bad, "blocked"),
        (false, true) => terminal.paint(Style::Warn, "detected, let through; block mode would refuse it"),
        (false, false) => terminal.paint(Style::Dim, "noticed; block mode would let it through, too"),
    };
    let at = date_time(event["at_ms"].as_u64().unwrap_or_default());
    terminal.line(format!("{}  {word}  {at}", terminal.paint(Style::Bold, text(event, "id"))));
    field("client", &text(event, "client"), terminal);
    field("request", &format!("{} {}{}", seen.method, seen.host, seen.path), terminal);
    for (name, key) in [
        ("route", "route"),
        ("found in", "part"),
        ("refused by", "rule"),
        ("request id", "request_id"),
        ("budget", "exceeded"),
    ] {
        if !event[key].is_null() && event[key] != "" {
            field(name, &text(event, key), terminal);
        }
    }
    if let Some(score) = show::score(&seen) {
        field("score", &score, terminal);
    }
    show::matches(&seen, terminal);
}

fn tried(what: &str, is_file: bool, args: &WafExplain, global: &Global, terminal: &Terminal) -> Done {
    let file = site_file(args.site.file.as_deref(), global)?;
    let site = match Site::read(&file, &[]) {
        Ok(site) => site,
        Err(why) => return cannot(why, terminal),
    };
    let mut request = match is_file {
        true => {
            let raw = request::read(Path::new(what))?;
            match request::parse(what, &raw) {
                Ok(request) => request,
                Err(why) => return unreadable(what, &why, terminal),
            }
        }
        false => {
            let short = Short {
                headers: &args.header,
                data: args.data.as_deref(),
                host: args.host.as_deref().unwrap_or(site.host()),
            };
            request::short(what, short)?
        }
    };
    request.client = args.client;
    let trial = site.try_out(&request);
    match terminal.json {
        true => terminal.print_json(&as_json(&site, &request, &trial)),
        false => told(&site, &request, &trial, terminal),
    }
    Ok(ExitCode::SUCCESS)
}

/// Bytes that the edge refuses before it has a request: that is an explanation, too.
fn unreadable(what: &str, why: &Wrong, terminal: &Terminal) -> Done {
    match why {
        Wrong::Refused(refusal) => {
            let (status, why) = (refusal.status(), refusal.explanation());
            if terminal.json {
                let verdict = json!({ "action": "refused", "status": status, "why": why, "section": refusal.section() });
                terminal.print_json(&json!({ "request": what, "verdict": verdict, "matches": [] }));
            } else {
                terminal.line(format!(
                    "{} with {status} before any rule sees it: {why} {}",
                    terminal.paint(Style::Bad, "refused"),
                    terminal.paint(Style::Dim, refusal.section())
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
        Wrong::Incomplete(why) => {
            Err(Fault::new(format!("`{}` holds no whole request: {why}", escape(what)))
                .hint("a raw request is a request line, header lines, an empty line, and the body"))
        }
    }
}

/// `refused with 403 by rule 949110`.
fn verdict(trial: &Trial) -> (Style, String, Value) {
    match &trial.outcome {
        Outcome::BeforeRules(status, why) => (
            Style::Bad,
            format!("answered {status} before any rule sees it: {why}"),
            json!({ "action": "refused", "status": status, "why": why }),
        ),
        Outcome::NotInspected => (
            Style::Good,
            "not inspected: its route says `waf = false`".to_owned(),
            json!({ "action": "not_inspected" }),
        ),
        Outcome::Decided(Verdict::Pass) => (Style::Good, "passes".to_owned(), json!({ "action": "pass" })),
        Outcome::Decided(Verdict::Deny { status, rule }) => (
            Style::Bad,
            format!("refused with {status} by rule {rule}"),
            json!({ "action": "deny", "status": status, "rule": rule }),
        ),
        Outcome::Decided(Verdict::Redirect { status, to, rule }) => (
            Style::Bad,
            format!("redirected with {status} to {} by rule {rule}", escape(to)),
            json!({ "action": "redirect", "status": status, "to": to, "rule": rule }),
        ),
        Outcome::Decided(Verdict::Drop { rule }) => (
            Style::Bad,
            format!("its connection is closed without an answer, by rule {rule}"),
            json!({ "action": "drop", "rule": rule }),
        ),
    }
}

pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Detect => "detect",
        Mode::Block => "block",
        Mode::Rules => "rules",
    }
}

fn told(site: &Site, request: &Request, trial: &Trial, terminal: &Terminal) {
    for note in &request.notes {
        terminal.note(format!("note: {note}"));
    }
    let seen = trial.seen(request);
    let (style, said, _) = verdict(trial);
    terminal.line(format!(
        "{}  {}",
        terminal.paint(Style::Bold, request.line()),
        terminal.paint(style, said)
    ));
    let route = trial.route.as_deref().unwrap_or("none");
    let detect = match trial.mode {
        Mode::Detect if trial.refuses() => {
            "; the route is in detect mode: it would be written down and let through"
        }
        _ => "",
    };
    field("route", &format!("{} of {}{detect}", escape(route), site.file.display()), terminal);
    if !request.body.is_empty() {
        field("body", &format!("{} bytes", request.body.len()), terminal);
    }
    if let Some(error) = &trial.report.body_error {
        field("body", &format!("is not what its headers say: {}", escape(error)), terminal);
    }
    if let Some(exceeded) = trial.report.exceeded {
        field("budget", &format!("used up: {exceeded:?}"), terminal);
    }
    if let Some(score) = show::score(&seen) {
        field("score", &score, terminal);
    }
    if seen.matches.is_empty() && matches!(trial.outcome, Outcome::Decided(_)) {
        field("matches", "none", terminal);
    }
    show::matches(&seen, terminal);
}

fn as_json(site: &Site, request: &Request, trial: &Trial) -> Value {
    let seen = trial.seen(request);
    json!({
        "file": site.file,
        "request": {
            "from": request.origin,
            "method": String::from_utf8_lossy(&request.method),
            "target": String::from_utf8_lossy(&request.target),
            "host": String::from_utf8_lossy(&request.authority),
            "body_bytes": request.body.len(),
            "notes": request.notes,
        },
        "route": trial.route,
        "mode": mode(trial.mode),
        "verdict": verdict(trial).2,
        "score": trial.report.score.inbound,
        "threshold": trial.threshold,
        "rules": trial.report.matched_ids.as_slice(),
        "body_error": trial.report.body_error,
        "matches": show::json(&seen),
    })
}
