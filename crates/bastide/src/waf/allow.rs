//! `bastide waf allow`: one exclusion, written into the file.

use super::edit;
use super::findings::{self, Exclusion};
use super::seen::Seen;
use super::{cannot, find, site_file};
use crate::Outcome as Done;
use crate::args::{File, Global, WafAllow};
use crate::terminal::{FAILED, Terminal};
use crate::{reload, target};
use base::EventId;
use role::Fault;
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

pub(crate) fn run(args: &WafAllow, global: &Global, terminal: &Terminal) -> Done {
    let file = site_file(args.file.as_deref(), global)?;
    let wanted = match args.id {
        Some(id) => of_event(id, args, global)?,
        None => of_options(args)?,
    };
    let text = std::fs::read_to_string(&file)
        .map_err(|e| Fault::new(format!("cannot read `{}`: {e}", file.display())))?;
    let edit = edit::add(&text, &wanted)?;
    let name = file.display().to_string();
    let diff = edit::diff(&name, &edit.before, &edit.after);
    if edit.added.is_empty() {
        match terminal.json {
            true => terminal.print_json(&json!({ "file": file, "added": [], "diff": "", "written": false })),
            false => terminal.note(format!("`{name}` lets that pass already; `bastide reload {name}` applies it where it does not run yet")),
        }
        return Ok(ExitCode::SUCCESS);
    }
    match edit::check(&file, &edit) {
        Ok(warnings) => warnings.iter().for_each(|warning| terminal.warn(warning)),
        Err(why) => return cannot(why, terminal),
    }
    if !terminal.json {
        edit::print(&diff, terminal);
    }
    let write = args.yes || (!terminal.json && ask("write this?", terminal));
    if write {
        edit::write(&file, &edit)?;
    }
    if terminal.json {
        let added: Vec<_> = edit.added.iter().map(Exclusion::json).collect();
        terminal.print_json(&json!({ "file": file, "added": added, "diff": diff, "written": write }));
    }
    if !write {
        terminal.note("nothing was written; `--yes` writes without asking");
        return Ok(ExitCode::from(FAILED));
    }
    let now = args.reload
        || (!args.yes && !terminal.json && ask("written; apply it to the running site now?", terminal));
    match now {
        true => reload::run(&File { file }, global, terminal),
        false => {
            terminal.note(format!("written; `bastide reload {name}` applies it"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A question, asked where somebody is there to answer it.
fn ask(question: &str, terminal: &Terminal) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    terminal.ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn of_event(id: EventId, args: &WafAllow, global: &Global) -> Result<Vec<Exclusion>, Fault> {
    let paths = target::find(global, args.file.as_deref())?;
    let event = find(&paths, id)?.ok_or_else(|| {
        Fault::new(format!("no WAF event `{id}` is in the event log of site `{}`", paths.site))
            .hint("`bastide waf events` lists the latest; `--rule`, `--path` and `--arg` need none")
    })?;
    let seen = Seen::of_event(&event);
    let mut rules = seen.rules();
    if let Some(rule) = args.rule {
        if !rules.contains(&rule) {
            let known = rules.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            return Err(Fault::new(format!("rule `{rule}` did not match in event `{id}`"))
                .hint(format!("these did: {known}")));
        }
        rules.retain(|r| *r == rule);
    }
    if rules.is_empty() {
        return Err(Fault::new(format!("event `{id}` names no rule that an exclusion could be for"))
            .hint(format!("`bastide waf explain {id}` shows what it holds")));
    }
    let mut wanted = Vec::new();
    for rule in rules {
        let narrow = findings::narrowest(&seen, rule).ok_or_else(|| {
            Fault::new(format!(
                "the path of event `{id}` is spelt so that no exclusion applies to it: `{}`",
                seen.path
            ))
            .hint(
                "paths with `%`, `\\`, `//`, `.` or `..` are never let pass: they could be read in two ways",
            )
        })?;
        // Only what was asked for is wider than what the event needs.
        for mut one in narrow {
            if let Some(path) = &args.path {
                one.path = Some(path.clone());
            }
            if args.arg.is_none() || one.arg == args.arg {
                wanted.push(one);
            }
        }
    }
    if wanted.is_empty() {
        let arg = args.arg.as_deref().unwrap_or_default();
        return Err(Fault::new(format!("no rule matched the argument `{arg}` in event `{id}`"))
            .hint(format!("`bastide waf explain {id}` shows where they did")));
    }
    Ok(wanted)
}

fn of_options(args: &WafAllow) -> Result<Vec<Exclusion>, Fault> {
    let rule = args.rule.ok_or_else(|| {
        Fault::new("neither an event's id nor a rule was given")
            .hint("`bastide waf allow ID`, or `bastide waf allow --rule 942100 --path /search --arg q`")
    })?;
    Ok(vec![Exclusion { rule, path: args.path.clone(), arg: args.arg.clone() }])
}
