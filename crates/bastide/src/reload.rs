//! `bastide reload`: the file, applied to the running site.

use crate::Outcome;
use crate::args::{File, Global};
use crate::check;
use crate::target;
use crate::terminal::{FAILED, Style, Terminal};
use control::compile::{Checked, Refusal};
use control::paths::Paths;
use role::Fault;
use role::client::Error;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// A rolling restart of many web servers takes this long at most before we stop waiting.
const PATIENCE: Duration = Duration::from_secs(900);

pub(crate) fn run(args: &File, global: &Global, terminal: &Terminal) -> Outcome {
    // Read and checked here: whoever types the command may read more than control may.
    let checked = match control::compile::check(&args.file) {
        Ok(checked) => checked,
        Err(refusal) => return refused(refusal, terminal),
    };
    check::print(&checked.warnings, terminal);
    let paths = match &global.site {
        Some(name) => Paths::of(name)?,
        None => Paths::of(&checked.name)?,
    };
    let applied = crate::runtime()?.block_on(apply(&paths, &checked))?;
    if terminal.json {
        terminal.print_json(&applied);
    } else {
        describe(&applied, terminal);
    }
    Ok(ExitCode::from(if applied["trouble"].is_null() { 0 } else { FAILED }))
}

/// Sends a file, with all that was read for it, to control.
pub(crate) async fn apply(paths: &Paths, checked: &Checked) -> Result<Value, Fault> {
    match target::control(paths).timeout(PATIENCE).post("/apply", &checked.inputs).await {
        Ok(applied) => Ok(applied),
        Err(Error::Refused { errors, .. }) => {
            Err(Fault::new(format!("{}\nwhat runs is unchanged", errors.join("\n"))))
        }
        Err(error) => Err(target::explain(paths, error)),
    }
}

fn refused(refusal: Refusal, terminal: &Terminal) -> Outcome {
    if terminal.json {
        let (errors, diagnostics) = (refusal.messages(), &refusal.diagnostics);
        terminal.print_json(&json!({ "ok": false, "errors": errors, "diagnostics": diagnostics }));
    } else {
        check::print(&refusal.diagnostics, terminal);
    }
    match refusal.fault {
        Some(fault) => Err(fault),
        None => {
            terminal.note(format!("{}; what runs is unchanged", check::count(&refusal.diagnostics)));
            Ok(ExitCode::from(FAILED))
        }
    }
}

/// What changed, for people.
pub(crate) fn describe(applied: &Value, terminal: &Terminal) {
    let changes = applied["changes"].as_array().map_or(&[][..], Vec::as_slice);
    let revision = applied["revision"].as_u64().unwrap_or_default();
    terminal.line(format!(
        "{} r{revision}, {} changes",
        terminal.paint(Style::Good, "committed"),
        changes.len()
    ));
    for change in changes {
        let sign = match change["action"].as_str() {
            Some("add") => "+",
            Some("remove") => "-",
            _ => "~",
        };
        let text = |key: &str| change[key].as_str().unwrap_or_default().to_owned();
        terminal.line(
            format!("  {sign} {}  {}", text("what"), terminal.paint(Style::Dim, text("detail"))).trim_end(),
        );
    }
    for name in applied["restarted"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        terminal.line(format!("  restarted {name}"));
    }
    if let Some(trouble) = applied["trouble"].as_str() {
        terminal.warn(trouble);
    }
}
