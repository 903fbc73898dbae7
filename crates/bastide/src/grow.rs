//! `bastide grow`: which resource runs out first, when, and on which evidence.

use crate::Outcome;
use crate::args::{Global, Grow};
use crate::ask::Monitor;
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

/// Nine weeks of every resource are read.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn run(args: &Grow, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let answer = crate::runtime()?
        .block_on(async { Monitor::find(&paths, PATIENCE).await?.bastide("growth", &[]).await })?;
    if terminal.json {
        terminal.print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let text = answer["text"].as_str().unwrap_or_default();
    let mut lines = text.lines().map(escape);
    if let Some(first) = lines.next() {
        let runs_out = answer["findings"][0]["on"].is_string();
        terminal.line(terminal.paint(if runs_out { Style::Warn } else { Style::Good }, &first));
    }
    lines.for_each(|line| terminal.line(line));
    let silent = |finding: &Value| finding["ceiling"].is_null();
    if answer["findings"].as_array().is_none_or(|all| all.is_empty() || all.iter().all(silent)) {
        terminal.note("a disk needs three days of history, a load four weeks; `capacity` of a pool tells what its servers bear");
    }
    Ok(ExitCode::SUCCESS)
}
