//! `bastide firewall`: the policy that follows from the file, and what is in force.

use crate::Outcome;
use crate::args::{Firewall, FirewallShow, Global, SiteFile};
use crate::check;
use crate::show::{self, Table};
use crate::target;
use crate::terminal::{FAILED, Style, Terminal};
use control::compile::{self, Refusal};
use firewall::Policy;
use role::Fault;
use role::client::Error;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) fn run(command: &Firewall, global: &Global, terminal: &Terminal) -> Outcome {
    match command {
        Firewall::Show(args) => policies(args, terminal),
        Firewall::Status(site) => status(site, global, terminal),
        Firewall::Confirm(site) => {
            change(site, "/firewall/confirm", "the policy is kept for good", global, terminal)
        }
        Firewall::Revert(site) => change(
            site,
            "/firewall/revert",
            "the policy on trial is gone; the one before is in force",
            global,
            terminal,
        ),
    }
}

fn policies(args: &FirewallShow, terminal: &Terminal) -> Outcome {
    let checked = match compile::check(&args.file) {
        Ok(checked) => checked,
        Err(Refusal { fault: Some(fault), .. }) => return Err(fault),
        Err(refusal) => {
            check::print(&refusal.diagnostics, terminal);
            return Ok(ExitCode::from(FAILED));
        }
    };
    let plan = &checked.firewall;
    let names: Vec<&str> = plan.topology.machines.iter().map(|m| m.name.as_str()).collect();
    let wanted: Vec<&str> = match &args.machine {
        None => names.clone(),
        Some(name) if names.contains(&name.as_str()) => vec![name],
        Some(name) => {
            return Err(Fault::new(format!("`{}` has no machine `{name}`", args.file.display()))
                .hint(format!("there are: {}", names.join(", "))));
        }
    };
    let made = wanted.iter().filter_map(|name| firewall::policy(&plan.settings, &plan.topology, name));
    let made: Vec<Policy> = made.collect();
    if terminal.json {
        let one = |p: &Policy| json!({ "machine": p.machine, "rows": p.rows(), "policy": p, "ruleset": firewall::ruleset(p) });
        terminal.print_json(
            &json!({ "apply": plan.apply, "machines": made.iter().map(one).collect::<Vec<_>>() }),
        );
        return Ok(ExitCode::SUCCESS);
    }
    for (i, policy) in made.iter().enumerate() {
        if i > 0 {
            terminal.line("");
        }
        if args.nft {
            if made.len() > 1 {
                terminal.line(format!("# machine {}", policy.machine));
            }
            terminal.line(firewall::ruleset(policy).trim_end());
            continue;
        }
        if names.len() > 1 {
            terminal.line(terminal.paint(Style::Bold, format!("machine {}", policy.machine)));
        }
        rows(policy, terminal);
    }
    let how = match (plan.apply, names.len()) {
        (_, 2..) => "each machine's policy follows from the whole file",
        (true, _) => "`bastide up` puts it into this machine's kernel; `bastide firewall status` shows it",
        (false, _) => {
            "shown only: with `[firewall] apply = true`, `bastide up` as root puts it into the kernel"
        }
    };
    terminal.note(terminal.paint_err(Style::Dim, how));
    Ok(ExitCode::SUCCESS)
}

/// The rules in the order in which packets meet them.
fn rows(policy: &Policy, terminal: &Terminal) {
    let mut table = Table::new(&["", "what", "from", "why"]);
    for row in policy.rows() {
        let style = if row.verdict == "accept" { Style::Good } else { Style::Bad };
        table.row([
            terminal.paint(style, row.verdict),
            row.what,
            row.from,
            terminal.paint(Style::Dim, row.why),
        ]);
    }
    table.print(terminal);
}

fn status(site: &SiteFile, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, site.file.as_deref())?;
    let answer = crate::runtime()?.block_on(target::control(&paths).get("/firewall"));
    let answer = match answer {
        Ok(answer) => answer,
        // Not applied is an answer to this question, not a failure.
        Err(Error::Refused { status: 409, errors }) => {
            if terminal.json {
                terminal.print_json(&json!({ "applied": false, "why": errors.join("; ") }));
            } else {
                terminal.line("not applied here");
                terminal.note(errors.join("\n"));
            }
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(target::explain(&paths, error)),
    };
    let status = outcome(&answer)?;
    if terminal.json {
        terminal.print_json(&json!({ "applied": true, "status": status }));
    } else {
        say(status, terminal);
    }
    Ok(ExitCode::SUCCESS)
}

fn change(site: &SiteFile, target: &str, done: &str, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, site.file.as_deref())?;
    let answer = crate::runtime()?.block_on(target::control(&paths).post(target, &json!({})));
    let answer = answer.map_err(|error| target::explain(&paths, error))?;
    let status = outcome(&answer)?;
    if terminal.json {
        terminal.print_json(&json!({ "status": status }));
    } else {
        terminal.note(done);
        say(status, terminal);
    }
    Ok(ExitCode::SUCCESS)
}

/// What the privileged helper answered: its status, or why it did not.
fn outcome(answer: &Value) -> Result<&Value, Fault> {
    match answer["response"].as_str() {
        Some("failed") => {
            let text = |key: &str| crate::events::text(answer, key);
            Err(Fault::new(text("what")).hint(text("hint")))
        }
        Some("status") => Ok(&answer["status"]),
        _ => Ok(answer),
    }
}

fn say(status: &Value, terminal: &Terminal) {
    let trial = &status["trial"];
    if let (Some(number), Some(left)) = (trial[0].as_u64(), trial[1].as_u64()) {
        terminal.line(format!(
            "{} policy {number}, for another {}; then the kernel falls back by itself",
            terminal.paint(Style::Warn, "on trial"),
            show::span(left)
        ));
        terminal.note("open a NEW connection to this machine and run `bastide firewall confirm` from there");
    }
    match (status["confirmed"].as_u64(), status["present"] == true) {
        (Some(number), _) => {
            terminal.line(format!("{} policy {number}", terminal.paint(Style::Good, "in force")))
        }
        (None, true) => terminal.line("no policy is in force for good"),
        (None, false) => terminal.line("our table is not in the kernel: everything is let through"),
    }
}
