//! `bastide completions SHELL`: what a shell needs to complete our commands.

use crate::Outcome;
use crate::args::Completions;
use role::Fault;
use std::io::Write;
use std::process::ExitCode;

pub(crate) fn run(args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(&crate::args::command()), "bastide", &mut script);
    match std::io::stdout().lock().write_all(&script) {
        // Whoever reads it may go away early.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Fault::new(format!("cannot write the completions: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The command without what is hidden: clap_complete would offer that, too.
fn visible(command: &clap::Command) -> clap::Command {
    let mut shown = clap::Command::new(command.get_name().to_owned());
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    shown = shown.args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned());
    let commands = command.get_subcommands().filter(|c| !c.is_hide_set());
    shown.disable_help_subcommand(true).subcommands(commands.map(visible))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use clap_complete::Shell;

    #[test]
    fn every_shell_completes_what_is_shown() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut visible(&crate::args::command()), "bastide", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("firewall") && script.contains("status"), "{shell}");
            assert!(!script.contains("supervisor"), "{shell}");
        }
    }
}
