//! `bastide schema`: the file's JSON schema.

use crate::Outcome;
use crate::terminal::Terminal;
use std::process::ExitCode;

pub(crate) fn run(terminal: &Terminal) -> Outcome {
    terminal.print_json(&config::schema());
    Ok(ExitCode::SUCCESS)
}
