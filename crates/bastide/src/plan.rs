//! `bastide plan`: what a file would change, without changing it.

use crate::Outcome;
use crate::args::{File, Global};
use crate::check;
use crate::terminal::{FAILED, Style, Terminal};
use control::compile::{self, Refusal};
use control::plan::Action;
use serde_json::json;
use std::process::ExitCode;

pub(crate) fn run(args: &File, _global: &Global, terminal: &Terminal) -> Outcome {
    let planned = match compile::plan(&args.file) {
        Ok(planned) => planned,
        Err(Refusal { fault: Some(fault), .. }) => return Err(fault),
        Err(refusal) => {
            check::print(&refusal.diagnostics, terminal);
            return Ok(ExitCode::from(FAILED));
        }
    };
    if terminal.json {
        terminal.print_json(
            &json!({ "revision": planned.current, "changes": planned.changes, "machines": planned.machines }),
        );
        return Ok(ExitCode::SUCCESS);
    }
    check::print(&planned.warnings, terminal);
    match planned.current {
        Some(revision) => terminal.line(format!("compared with {revision}, which was committed last:")),
        None => terminal.line("nothing was committed yet:"),
    }
    for change in &planned.changes {
        let style = match change.action {
            Action::Add => Style::Good,
            Action::Change => Style::Warn,
            Action::Remove => Style::Bad,
        };
        terminal.line(format!("  {}", terminal.paint(style, change)));
    }
    if planned.changes.is_empty() {
        terminal.line("  no change");
    }
    for (machine, parts) in &planned.machines {
        terminal.line(format!("machine {machine}: {}", parts.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}
