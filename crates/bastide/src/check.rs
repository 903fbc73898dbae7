//! `bastide check`: everything that is wrong with a file, at once.

use crate::Outcome;
use crate::args::{File, Global};
use crate::terminal::{FAILED, OK, Style, Terminal};
use config::{Diagnostic, Severity};
use control::compile::{self, Refusal};
use serde_json::json;
use std::process::ExitCode;

pub(crate) fn run(args: &File, _global: &Global, terminal: &Terminal) -> Outcome {
    let (diagnostics, summary) = match compile::check(&args.file) {
        Ok(compiled) => (compiled.warnings, Some(compiled.summary)),
        Err(Refusal { fault: Some(fault), .. }) => return Err(fault),
        Err(refusal) => (refusal.diagnostics, None),
    };
    if terminal.json {
        terminal.print_json(&json!({ "ok": summary.is_some(), "diagnostics": diagnostics }));
    } else {
        print(&diagnostics, terminal);
        match summary {
            Some(summary) => terminal.line(format!(
                "{} {}: {summary}",
                terminal.paint(Style::Good, "ok"),
                args.file.display()
            )),
            None => terminal.note(count(&diagnostics)),
        }
    }
    let refused = diagnostics.iter().any(|d| d.severity == Severity::Error);
    Ok(ExitCode::from(if refused { FAILED } else { OK }))
}

/// Diagnostics for people, on standard error.
pub(crate) fn print(diagnostics: &[Diagnostic], terminal: &Terminal) {
    for diagnostic in diagnostics {
        terminal.note(diagnostic.render(terminal.err_colored()));
    }
}

/// `3 errors, 1 warning`.
pub(crate) fn count(diagnostics: &[Diagnostic]) -> String {
    let of = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (of(Severity::Error), of(Severity::Warning)) {
        (errors, 0) => plural(errors, "error"),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}
