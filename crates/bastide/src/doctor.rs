//! `bastide doctor`: what keeps a site from working, and what to do about it.

use crate::Outcome;
use crate::args::{File, Global};
use crate::show;
use crate::target;
use crate::terminal::{FAILED, OK, Style, Terminal};
use control::compile::{self, Refusal};
use control::paths::Paths;
use serde_json::json;
use std::process::ExitCode;

mod machine;
mod running;

/// Where what is said of a check begins.
const INDENT: usize = 18;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    what: &'static str,
    state: State,
    said: String,
    hint: Option<String>,
}

impl Check {
    fn ok(what: &'static str, said: impl Into<String>) -> Self {
        Self { what, state: State::Ok, said: said.into(), hint: None }
    }

    fn warn(what: &'static str, said: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, state: State::Warn, said: said.into(), hint: Some(hint.into()) }
    }

    fn fail(what: &'static str, said: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, state: State::Fail, said: said.into(), hint: Some(hint.into()) }
    }
}

pub(crate) fn run(args: &File, global: &Global, terminal: &Terminal) -> Outcome {
    let mut checks = Vec::new();
    let checked = match compile::check(&args.file) {
        Ok(checked) => {
            let warnings = checked.warnings.len();
            checks.push(match warnings {
                0 => Check::ok("file", format!("`{}`: {}", args.file.display(), checked.summary)),
                n => Check::warn(
                    "file",
                    format!("`{}` has {n} warnings", args.file.display()),
                    "`bastide check` shows them",
                ),
            });
            Some(checked)
        }
        Err(Refusal { fault: Some(fault), .. }) => {
            let hint = fault.hint.unwrap_or_else(|| "name the site's file: `bastide doctor FILE`".to_owned());
            checks.push(Check::fail("file", fault.what, hint));
            None
        }
        Err(refusal) => {
            let said = refusal.messages().first().cloned().unwrap_or_default();
            let hint = format!(
                "`bastide check {}` shows all {} findings",
                args.file.display(),
                refusal.diagnostics.len()
            );
            checks.push(Check::fail("file", said, hint));
            None
        }
    };
    let name = global.site.clone().or_else(|| checked.as_ref().map(|c| c.name.clone()));
    let paths = name.map(|name| Paths::of(&name)).transpose()?;
    let site = checked.as_ref().and_then(|checked| machine::site(checked, paths.as_ref()));
    let status = match &paths {
        Some(paths) => crate::runtime()?.block_on(running::status(paths)),
        None => None,
    };
    let is_up = status.is_some() || paths.as_ref().is_some_and(|paths| target::listens(paths, "control"));
    machine::look(site.as_ref(), checked.as_ref(), paths.as_ref(), is_up, &mut checks);
    match (&paths, &status) {
        (Some(paths), Some(status)) => running::look(paths, status, &mut checks),
        (Some(paths), None) if target::denied(paths, "control").is_some() => checks.push(Check::warn(
            "running",
            "another user runs the site: how it fares is not known",
            "run it as the user that ran `bastide up`, or as root",
        )),
        (Some(paths), None) if paths.socket("control").exists() => checks.push(Check::fail(
            "control",
            format!("`{}` is there, but nobody answers", paths.socket("control").display()),
            format!(
                "`{}` may say why; `bastide up` starts it again",
                paths.logs().join("control.log").display()
            ),
        )),
        (Some(paths), None) => checks.push(Check::ok("running", format!("site `{}` is not up", paths.site))),
        (None, _) => {}
    }
    report(&checks, terminal);
    let failed = checks.iter().any(|check| check.state == State::Fail);
    Ok(ExitCode::from(if failed { FAILED } else { OK }))
}

fn report(checks: &[Check], terminal: &Terminal) {
    let word = |state: State| match state {
        State::Ok => ("ok", Style::Good),
        State::Warn => ("warn", Style::Warn),
        State::Fail => ("fail", Style::Bad),
    };
    let of = |state: State| checks.iter().filter(|check| check.state == state).count();
    if terminal.json {
        let one =
            |c: &Check| json!({ "check": c.what, "state": word(c.state).0, "said": c.said, "hint": c.hint });
        terminal.print_json(&json!({
            "ok": of(State::Fail) == 0, "checks": checks.iter().map(one).collect::<Vec<_>>(),
        }));
        return;
    }
    let room = terminal.columns().unwrap_or(100).saturating_sub(INDENT).max(40);
    for check in checks {
        let (name, style) = word(check.state);
        let mut first = format!("{} {:<12} ", terminal.paint(style, format!("{name:<4}")), check.what);
        for line in check.said.lines().flat_map(|line| show::wrap(line, room)) {
            terminal.line(format!("{first}{line}"));
            first = " ".repeat(INDENT);
        }
        for (i, line) in check.hint.iter().flat_map(|hint| show::wrap(hint, room - 6)).enumerate() {
            terminal.line(format!("{:INDENT$}{}{line}", "", if i == 0 { "hint: " } else { "      " }));
        }
    }
    terminal.note(format!(
        "{} ok, {} to look at, {} failed",
        of(State::Ok),
        of(State::Warn),
        of(State::Fail)
    ));
}
