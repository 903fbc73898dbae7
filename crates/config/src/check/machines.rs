//! `[machine.NAME]`: everything runs somewhere, and only once where it can only once.

use super::{duplicates, known};
use crate::diagnostic::Code;
use crate::keys::database::DatabaseSource;
use crate::keys::machine::Part;
use crate::keys::pool::PoolSource;
use crate::read::{Context, Text};
use crate::sections::Sections;
use crate::span::Spanned;
use crate::values::Name;

pub(super) fn check(file: &Sections, cx: &mut Context) {
    if file.names.of("machine").is_empty() {
        return;
    }
    let addresses = file.machines.iter().map(|machine| (machine.address.value, machine.address.span));
    duplicates(
        addresses,
        |at| format!("two machines have the address `{at}`"),
        "one machine has one table",
        cx,
    );
    for machine in &file.machines {
        let parts = machine.runs.iter().map(|part| (part.value.text(), part.span));
        duplicates(parts, |part| format!("`{part}` stands in `runs` twice"), "remove one", cx);
        for part in machine.runs.iter() {
            exists(part, file, cx);
        }
    }
    // A machine with a mistake may be where something runs.
    if file.machines.len() == file.names.of("machine").len() && !cx.partial {
        placed(file, cx);
    }
}

fn exists(part: &Spanned<Part>, file: &Sections, cx: &mut Context) {
    match &part.value {
        Part::Edge | Part::Monitor => {}
        Part::Pool(name) => {
            let pool = file.pools.iter().find(|pool| pool.name.value == *name);
            let here = known("pool", &Spanned::new(name.clone(), part.span), file, cx);
            if here && pool.is_some_and(|pool| matches!(pool.source, PoolSource::Servers(_))) {
                cx.error(Code::Conflict, part.span, format!("the pool `{name}` runs elsewhere already"))
                    .hint("it has `servers`; only a pool with `run` is placed on a machine");
            }
        }
        Part::Database(name) => {
            let database = file.databases.iter().find(|database| database.name.value == *name);
            let here = known("database", &Spanned::new(name.clone(), part.span), file, cx);
            let elsewhere = |source: &DatabaseSource| matches!(source, DatabaseSource::Servers { .. });
            if here && database.is_some_and(|database| elsewhere(&database.source)) {
                cx.error(Code::Conflict, part.span, format!("the database `{name}` runs elsewhere already"))
                    .hint("it has `primary`; only PostgreSQL that Bastide runs is placed on a machine");
            }
        }
    }
}

/// Everything that is started has a machine.
fn placed(file: &Sections, cx: &mut Context) {
    let machines = |part: &Part| {
        file.machines.iter().filter(|machine| machine.runs.iter().any(|runs| runs.value == *part)).count()
    };
    let first = file.machines.first().map(|machine| machine.name.span).unwrap_or_default();
    for part in [Part::Edge, Part::Monitor] {
        if machines(&part) == 0 {
            let name = part.text();
            cx.error(Code::MissingKey, first, format!("no machine runs the {name}"))
                .hint(format!("add `\"{name}\"` to the `runs` of one `[machine.NAME]`"));
        }
    }
    let nowhere = |what: &str, name: &Spanned<Name>, part: String, cx: &mut Context| {
        cx.error(Code::MissingKey, name.span, format!("no machine runs the {what} `{}`", name.as_str()))
            .hint(format!("add `\"{part}\"` to the `runs` of a `[machine.NAME]`"));
    };
    for pool in file.pools.iter().filter(|pool| matches!(pool.source, PoolSource::Run { .. })) {
        if machines(&Part::Pool(pool.name.value.clone())) == 0 {
            nowhere("pool", &pool.name, pool.name.value.0.clone(), cx);
        }
    }
    for database in &file.databases {
        let DatabaseSource::Run { replicas } = database.source else { continue };
        let members = usize::from(replicas) + 1;
        match machines(&Part::Database(database.name.value.clone())) {
            0 => nowhere("database", &database.name, format!("database.{}", database.name.as_str()), cx),
            found if found > members => {
                let message = format!(
                    "{found} machines run the database `{}`, which has {members} members",
                    database.name.as_str()
                );
                cx.error(Code::Conflict, database.name.span, message)
                    .hint(format!("write `replicas = {}`, or take it off a machine", found - 1));
            }
            _ => {}
        }
    }
}
