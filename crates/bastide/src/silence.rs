//! `bastide silence`: keeps alerts from being told for a while. They go on
//! firing, and `bastide alerts` shows them.

use crate::Outcome;
use crate::args::{Global, Silence, SilenceAdd, SilenceExpire, SilenceList};
use crate::events::text;
use crate::show::{self, Table};
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use base::Millis;
use control::paths::Paths;
use monitor_alert::manager::{MatcherText, matcher};
use monitor_alert::{api::time_ms, rfc3339};
use role::Fault;
use role::client::{Admin, Error};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) fn run(command: &Silence, global: &Global, terminal: &Terminal) -> Outcome {
    match command {
        Silence::Add(args) => add(args, global, terminal),
        Silence::List(args) => list(args, global, terminal),
        Silence::Expire(args) => expire(args, global, terminal),
    }
}

fn monitor(paths: &Paths) -> Admin {
    Admin::new(&paths.socket("monitor"))
}

fn refused(paths: &Paths, error: Error) -> Fault {
    if let (Error::Unreachable { .. }, Some(fault)) = (&error, target::denied(paths, "monitor")) {
        return fault;
    }
    match error {
        Error::Refused { errors, .. } => Fault::new(errors.join("\n")),
        Error::Unreachable { why, .. } => {
            Fault::new(format!("the monitor of site `{}` does not answer: {why}", paths.site))
                .hint("`bastide status` shows whether it runs; `bastide up FILE` starts the site")
        }
    }
}

/// `a=b` as Alertmanager reads it; a word alone is an alert's name.
fn matchers(texts: &[String]) -> Result<Vec<MatcherText>, Fault> {
    let mut found = Vec::new();
    for given in texts {
        if !given.contains(['=', '!', '~']) {
            found.push(MatcherText::equal("alertname", given));
            continue;
        }
        let read = matcher::parse(given).map_err(|why| {
            Fault::new(why)
                .hint("write it as `alertname=server-down`, `server!=app/1` or `server=~\"app/.*\"`")
        })?;
        found.extend(read);
    }
    Ok(found)
}

fn add(args: &SilenceAdd, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let matchers = matchers(&args.matchers)?;
    let now_ms = sys::clock::now_ms();
    let Millis(for_ms) = args.duration;
    let until_ms = now_ms.saturating_add(for_ms);
    let user = || {
        std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "root".to_owned())
    };
    let wanted = json!({
        "matchers": matchers,
        "startsAt": rfc3339(now_ms),
        "endsAt": rfc3339(until_ms),
        "createdBy": args.by.clone().unwrap_or_else(user),
        "comment": args.why,
    });
    let answer = crate::runtime()?.block_on(monitor(&paths).post("/silences", &wanted));
    let answer = answer.map_err(|error| refused(&paths, error))?;
    if terminal.json {
        terminal.print_json(&answer);
    } else {
        let texts: Vec<String> = matchers.iter().map(ToString::to_string).collect();
        terminal.note(format!(
            "silenced until {}: {}; `bastide silence expire {}` ends it",
            show::time(until_ms, now_ms),
            escape(&texts.join(", ")),
            text(&answer, "silenceID")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &SilenceList, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let all = crate::runtime()?.block_on(monitor(&paths).get("/silences"));
    let all = all.map_err(|error| refused(&paths, error))?;
    let shown: Vec<&Value> = all
        .as_array()
        .into_iter()
        .flatten()
        .filter(|s| args.all || s["status"]["state"] != "expired")
        .collect();
    if terminal.json {
        terminal.print_json(&json!(shown));
        return Ok(ExitCode::SUCCESS);
    }
    let now_ms = sys::clock::now_ms();
    let mut table = Table::new(&["state", "id", "silences", "until", "by", "why"]);
    for silence in &shown {
        let state = text(&silence["status"], "state");
        let style = if state == "active" { Style::Warn } else { Style::Dim };
        let list: Vec<MatcherText> = serde_json::from_value(silence["matchers"].clone()).unwrap_or_default();
        let matchers: Vec<String> = list.iter().map(ToString::to_string).collect();
        let until = silence["endsAt"].as_str().and_then(|t| time_ms(t).ok().flatten()).unwrap_or_default();
        table.row([
            terminal.paint(style, &state),
            text(silence, "id"),
            escape(&matchers.join(", ")),
            show::time(until, now_ms),
            text(silence, "createdBy"),
            text(silence, "comment"),
        ]);
    }
    match table.is_empty() {
        true => terminal.note("nothing is silenced"),
        false => table.print(terminal),
    }
    Ok(ExitCode::SUCCESS)
}

fn expire(args: &SilenceExpire, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let runtime = crate::runtime()?;
    let all = runtime.block_on(monitor(&paths).get("/silences")).map_err(|error| refused(&paths, error))?;
    let known: Vec<&str> = all.as_array().into_iter().flatten().filter_map(|s| s["id"].as_str()).collect();
    let mut ended = Vec::new();
    for wanted in &args.ids {
        let id = the_one(&known, wanted)?;
        let answer = runtime.block_on(monitor(&paths).delete(&format!("/silence/{id}")));
        answer.map_err(|error| refused(&paths, error))?;
        ended.push(id.to_owned());
    }
    if terminal.json {
        terminal.print_json(&json!({ "expired": ended }));
    } else {
        terminal.note(format!("{} ended: what it silenced is told of again", ended.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The id that begins with what was given, where it is one alone.
fn the_one<'a>(known: &[&'a str], wanted: &str) -> Result<&'a str, Fault> {
    let found: Vec<&&str> = known.iter().filter(|id| id.starts_with(wanted)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Fault::new(format!("there is no silence `{wanted}`"))
            .hint("`bastide silence list --all` shows them")),
        many => Err(Fault::new(format!("`{wanted}` begins the ids of {} silences", many.len()))
            .hint("give more of the id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_and_ids() {
        let given = ["server-down".to_owned(), "server=~\"app/.*\",pool!=x".to_owned()];
        let texts: Vec<String> = matchers(&given).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["alertname=\"server-down\"", "server=~\"app/.*\"", "pool!=\"x\""]);
        assert!(matchers(&["a=~\"(\"".to_owned()]).is_err());
        assert_eq!(the_one(&["ab", "ac"], "ab").unwrap(), "ab");
        assert!(the_one(&["ab", "ac"], "a").is_err());
        assert!(the_one(&["ab"], "x").is_err());
    }
}
