//! `bastide database`: members, URL, psql, and where a statement runs.

use crate::Outcome;
use crate::args::{Database, DatabaseExplain, DatabaseName, DatabasePsql, Global, SiteFile};
use crate::events::text;
use crate::show::{self, Table};
use crate::status::list;
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use control::book::read_json;
use control::life_of_a_change::Committed;
use control::paths::Paths;
use database_route::{Class, Effect, Reason, classify};
use role::Fault;
use role::client::Admin;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(command: &Database, global: &Global, terminal: &Terminal) -> Outcome {
    match command {
        Database::Status(site) => status(site, global, terminal),
        Database::Url(args) => url(args, global, terminal),
        Database::Psql(args) => psql(args, global),
        Database::Explain(args) => explain(args, global, terminal),
    }
}

/// What the router says of itself.
fn ask(paths: &Paths) -> Result<Value, Fault> {
    let socket = paths.socket("database");
    crate::runtime()?.block_on(Admin::new(&socket).timeout(PATIENCE).get("/status")).map_err(|error| {
        if let Some(fault) = target::denied(paths, "database") {
            return fault;
        }
        let fault =
            Fault::new(format!("the database router of site `{}` does not answer: {error}", paths.site));
        match paths.socket("control").exists() {
            true => {
                fault.hint("has the file a `[database.NAME]`? `bastide logs database` may say why it ended")
            }
            false => fault.hint("the site is not up: `bastide up FILE` starts it"),
        }
    })
}

fn status(site: &SiteFile, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, site.file.as_deref())?;
    let status = ask(&paths)?;
    if terminal.json {
        terminal.print_json(&status);
        return Ok(ExitCode::SUCCESS);
    }
    for database in list(&status["databases"]) {
        let listen =
            list(&database["listen"]).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        terminal.line(format!(
            "{}  router {listen}  {} of {} clients  durability {}",
            terminal.paint(Style::Bold, text(database, "name")),
            text(database, "clients"),
            text(database, "max_clients"),
            text(database, "durability"),
        ));
        members(database, terminal).print(terminal);
    }
    Ok(ExitCode::SUCCESS)
}

/// One row a member.
pub(crate) fn members(database: &Value, terminal: &Terminal) -> Table {
    let mut table = Table::new(&[
        "member", "state", "role", "takes", ">lag", ">behind", ">active", ">idle", "position", "why",
    ]);
    for member in list(&database["members"]) {
        let good = member["up"] == true;
        let state = if good { terminal.paint(Style::Good, "up") } else { terminal.paint(Style::Bad, "down") };
        let lag = member["lag_seconds"].as_f64().map_or("-".to_owned(), |s| format!("{s:.1} s"));
        let behind = member["lag_bytes"].as_f64().map_or("-".to_owned(), show::bytes);
        let connections = &member["connections"];
        table.row([
            text(member, "name"),
            state,
            text(member, "role"),
            text(member, "takes"),
            lag,
            behind,
            text(connections, "active"),
            text(connections, "idle"),
            text(member, "lsn"),
            text(member, "why"),
        ]);
    }
    table
}

/// The site as it was committed last. Only its owner may read it: it holds secrets.
fn committed(paths: &Paths) -> Result<Committed, Fault> {
    let path = paths.state_dir.join("committed.json");
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Fault::new(format!("`{}` holds secrets, and you may not read it", path.display()))
                .hint("run it as the user that ran `bastide up`, or as root"));
        }
        _ => {}
    }
    read_json(&path)?.ok_or_else(|| {
        Fault::new(format!("site `{}` was never up, so it has no passwords yet", paths.site))
            .hint("`bastide up FILE` makes them")
    })
}

fn chosen(paths: &Paths, name: Option<&str>) -> Result<site::Database, Fault> {
    let databases = committed(paths)?.revision.site.databases.map(|d| d.databases).unwrap_or_default();
    let names = databases.iter().map(|d| d.name.clone()).collect::<Vec<_>>().join(", ");
    match name {
        None if databases.len() > 1 => {
            Err(Fault::new(format!("site `{}` has several databases", paths.site))
                .hint(format!("name one: {names}")))
        }
        None => databases.into_iter().next().ok_or_else(|| {
            Fault::new(format!("site `{}` has no database", paths.site))
                .hint("`[database.main]` in the file adds one")
        }),
        Some(name) => databases.into_iter().find(|d| d.name == name).ok_or_else(|| {
            Fault::new(format!("site `{}` has no database `{}`", paths.site, escape(name)))
                .hint(format!("there are: {names}"))
        }),
    }
}

fn url(args: &DatabaseName, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let database = chosen(&paths, args.name.as_deref())?;
    let url = control::database_url(&database);
    match terminal.json {
        true => terminal.print_json(&json!({ "name": database.name, "url": url.reveal() })),
        false => terminal.line(url.reveal()),
    }
    terminal.warn("this URL holds the password: keep it out of logs, histories and chats");
    Ok(ExitCode::SUCCESS)
}

fn psql(args: &DatabasePsql, global: &Global) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let database = chosen(&paths, args.name.as_deref())?;
    let (Some(at), Some(user)) = (database.listen.first(), database.users.first()) else {
        return Err(Fault::new(format!("database `{}` has no router address or no user", database.name)));
    };
    let ip = match at.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    let mut command = Command::new("psql");
    // The password travels in the environment, which only its owner reads; never in argv.
    command.args(["--host", &ip, "--port", &at.port().to_string(), "--username", &user.name]);
    command.args(["--dbname", &user.database]).args(&args.args).env("PGPASSWORD", user.password.reveal());
    // Returns only where it failed: otherwise this process is psql now.
    let error = command.exec();
    let fault = Fault::new(format!("cannot start `psql`: {error}"));
    Err(match error.kind() {
        std::io::ErrorKind::NotFound => fault.hint(
            "install it: `apt install postgresql-client`; `bastide database url` is for any other client",
        ),
        _ => fault,
    })
}

fn explain(args: &DatabaseExplain, global: &Global, terminal: &Terminal) -> Outcome {
    let verdict = classify(&args.sql);
    let replica = verdict.is_read();
    let (to, why) = (if replica { "replica" } else { "primary" }, why(verdict.reason));
    let after = effect(&verdict.effect);
    // Which replicas that would be now, where a site is at hand; the verdict needs none.
    let now = target::find(global, args.site.file.as_deref()).and_then(|paths| ask(&paths)).ok();
    let takes: Vec<(String, String)> = now
        .iter()
        .flat_map(|n| list(&n["databases"]))
        .flat_map(|d| list(&d["members"]))
        .filter(|m| m["takes"] == if replica { "reads" } else { "writes" })
        .map(|m| {
            (
                text(m, "name"),
                m["lag_seconds"].as_f64().map_or(String::new(), |s| format!(" ({s:.1} s behind)")),
            )
        })
        .collect();
    if terminal.json {
        let class = match verdict.class {
            Class::Read => "read",
            Class::Write => "write",
            Class::Transaction => "transaction",
            Class::Session => "session",
        };
        terminal.print_json(&json!({
            "to": to, "class": class, "reason": verdict.reason.as_str(), "why": why, "afterwards": after,
            "members_now": takes.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let style = if replica { Style::Good } else { Style::Warn };
    terminal.line(format!("{}  {why}", terminal.paint(style, to)));
    if let Some(after) = after {
        terminal.line(format!("  afterwards: {after}"));
    }
    if replica {
        terminal
            .line("  outside a transaction, on a replica that has replayed what this client wrote and lags");
        terminal.line("  no more than `max_lag`; otherwise on the primary");
    }
    if !takes.is_empty() {
        let names = takes.iter().map(|(name, lag)| format!("{name}{lag}")).collect::<Vec<_>>().join(", ");
        terminal.line(format!("  now: {names}"));
    }
    Ok(ExitCode::SUCCESS)
}

const fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Read => "a plain read: every part of it is on the list of what a replica answers alike",
        Reason::Write => "it writes, or is a command",
        Reason::Transaction => "it begins or ends a transaction",
        Reason::Session => "it concerns the session, which lives on the primary",
        Reason::Function => "it calls a function that only the primary may run, such as nextval",
        Reason::UnknownFunction => {
            "it calls a function that is not on the list of plain ones: it might write"
        }
        Reason::Type => "it uses a type or operator that is not on the list of plain ones",
        Reason::Syntax => "it uses syntax that is not on the list of plain reads",
        Reason::Catalog => "it reads a system catalogue, a sequence or a temporary table",
        Reason::Locking => "it locks rows",
        Reason::Multiple => "it is several statements in one string",
        Reason::Unparsed => "PostgreSQL's parser does not understand it",
        Reason::TooLong => "it is too long to be parsed",
        Reason::Empty => "there is no statement in it",
    }
}

fn effect(effect: &Effect) -> Option<String> {
    match effect {
        Effect::None => None,
        Effect::Pin => Some("the session's later reads stay on the primary, too".to_owned()),
        Effect::Reset => Some("the session is like new".to_owned()),
        Effect::NeedsStatement { name, drops } => Some(format!(
            "runs where the prepared statement `{}` is{}",
            escape(name),
            if *drops { ", and drops it" } else { "" }
        )),
        Effect::DropsStatements => Some("all prepared statements are dropped".to_owned()),
    }
}
