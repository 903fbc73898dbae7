//! `bastide ban`, `unban`, `bans`.

use crate::Outcome;
use crate::args::{Ban, Global, SiteFile, Unban};
use crate::events::text;
use crate::show::{self, Table};
use crate::target;
use crate::terminal::Terminal;
use base::net::IpNet;
use control::paths::Paths;
use role::Fault;
use role::client::Error;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::process::ExitCode;

pub(crate) fn ban(args: &Ban, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    if let Some(own) = own_address().filter(|own| args.net.contains(own) && !args.force) {
        return Err(Fault::new(format!("`{}` holds {own}, from where you are connected", args.net))
            .hint("do it from elsewhere, add yourself to `[firewall] allow`, or insist with `--force`"));
    }
    let wanted = json!({ "net": args.net, "duration_ms": args.duration.0, "why": args.why });
    let answer = crate::runtime()?.block_on(target::control(&paths).post("/bans", &wanted));
    let answer = answer.map_err(|error| refused(&paths, args.net, error))?;
    if terminal.json {
        terminal.print_json(&answer);
    } else {
        let until = answer["ban"]["until_ms"].as_u64().unwrap_or_default();
        terminal.note(format!(
            "{} is banned until {}; `bastide unban {}` ends it",
            net(&answer["ban"]["net"]),
            show::time(until, sys::clock::now_ms()),
            net(&answer["ban"]["net"])
        ));
    }
    warn_if_late(&answer, terminal);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn unban(args: &Unban, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let target = format!("/bans?net={}", args.net);
    let answer = crate::runtime()?.block_on(target::control(&paths).delete(&target));
    let answer = answer.map_err(|error| refused(&paths, args.net, error))?;
    if terminal.json {
        terminal.print_json(&answer);
    } else {
        terminal.note(format!("{} is not banned any more", net(&answer["unbanned"])));
    }
    warn_if_late(&answer, terminal);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn list(args: &SiteFile, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.file.as_deref())?;
    let bans = crate::runtime()?.block_on(target::control(&paths).get("/bans"));
    let bans = bans.map_err(|error| target::explain(&paths, error))?;
    if terminal.json {
        terminal.print_json(&bans);
        return Ok(ExitCode::SUCCESS);
    }
    let now_ms = sys::clock::now_ms();
    let mut table = Table::new(&["banned", "until", ">left", "why"]);
    for ban in bans.as_array().into_iter().flatten() {
        let until = ban["until_ms"].as_u64().unwrap_or_default();
        let left = show::span(until.saturating_sub(now_ms));
        table.row([net(&ban["net"]), show::time(until, now_ms), left, text(ban, "why")]);
    }
    match table.is_empty() {
        true => terminal.note("nobody is banned"),
        false => table.print(terminal),
    }
    Ok(ExitCode::SUCCESS)
}

/// A network as people write it: without `/32` where it is one address.
pub(crate) fn net(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    match text.parse::<IpNet>() {
        Ok(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        Ok(net) => net.to_string(),
        Err(_) => crate::terminal::escape(text),
    }
}

/// From where an SSH session comes (ssh(1), `SSH_CONNECTION`).
fn own_address() -> Option<IpAddr> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    connection.split(' ').next()?.parse().ok().map(base::net::canonical)
}

fn refused(paths: &Paths, wanted: IpNet, error: Error) -> Fault {
    match &error {
        Error::Refused { status: 404, .. } => Fault::new(format!("`{wanted}` is not banned"))
            .hint("a ban is lifted as it was made; `bastide bans` lists them"),
        Error::Refused { status: 409, errors } => Fault::new(errors.join("; "))
            .hint("take it out of `[firewall] allow` or `trusted_proxies` and reload, if it shall be banned"),
        _ => target::explain(paths, error),
    }
}

fn warn_if_late(answer: &Value, terminal: &Terminal) {
    if answer["enforced"] == false {
        terminal.warn("the edge does not answer: it is told as soon as it does");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn single_addresses_have_no_length() {
        for (text, expected) in
            [("10.0.0.1/32", "10.0.0.1"), ("2001:db8::/32", "2001:db8::/32"), ("::1/128", "::1")]
        {
            assert_eq!(super::net(&text.into()), expected);
        }
    }
}
