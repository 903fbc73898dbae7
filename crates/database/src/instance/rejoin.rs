//! Whether a replica's data can still follow its primary.

use super::programs::{Programs, run};
use crate::backend::{Backend, Parameters};
use base::{Address, Lsn};
use site::PostgresInstance;
use site::database::ReplicaOf;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a replica's control file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Control {
    system: String,
    /// It has replayed at least this.
    position: Lsn,
}

/// Why it cannot, where that is certain. A primary that does not answer is no
/// reason: the replica serves reads meanwhile and follows when it is back.
pub(super) fn why_not(programs: &Programs, instance: &PostgresInstance) -> Option<String> {
    let primary = instance.primary.as_ref()?;
    let mut command = programs.command("pg_controldata");
    let printed = run(command.arg(&instance.data_dir), "").ok()?;
    let control = read_control(&printed)?;
    // The slot's own retention, and whether the segment we go on from is still there.
    let question = format!(
        "SELECT (SELECT system_identifier FROM pg_control_system()), \
         (SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{slot}'), \
         EXISTS (SELECT 1 FROM pg_ls_waldir() WHERE substr(name, 9) = substr(pg_walfile_name('{at}'), 9)), \
         pg_current_wal_insert_lsn() < '{at}'",
        slot = primary.slot.replace('\'', "''"),
        at = control.position,
    );
    let row = ask_primary(instance, primary, &question).ok()?;
    judge(&control, &primary.slot, &row)
}

fn judge(control: &Control, slot: &str, row: &[Option<String>]) -> Option<String> {
    let [system, status, segment_there, primary_behind] = row else { return None };
    if system.as_deref() != Some(&control.system) {
        return Some("the primary is another cluster, made anew since".into());
    }
    if status.as_deref() == Some("lost") {
        return Some(format!(
            "its slot `{slot}` was given up, because it stayed away while more was written than \
             `max_slot_wal_keep_size` keeps"
        ));
    }
    if primary_behind.as_deref() == Some("t") {
        return Some("it has replayed more than the primary has".into());
    }
    if segment_there.as_deref() == Some("f") {
        let slot_says = if status.is_none() { "is gone" } else { "was made anew" };
        return Some(format!("its slot `{slot}` {slot_says}, and the log it needs was removed since"));
    }
    None
}

/// `pg_controldata`'s print.
fn read_control(printed: &str) -> Option<Control> {
    let field = |name: &str| {
        printed.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim_start_matches(':').trim())
    };
    let system = field("Database system identifier")?.to_owned();
    let minimum = Lsn::parse(field("Minimum recovery ending location")?)?;
    let checkpoint = Lsn::parse(field("Latest checkpoint's REDO location")?)?;
    Some(Control { system, position: minimum.max(checkpoint) })
}

/// Whether the primary answers the router's login.
pub(super) fn primary_answers(instance: &PostgresInstance) -> Result<(), String> {
    let primary = instance.primary.as_ref().ok_or("it has no primary")?;
    ask_primary(instance, primary, "SELECT 1").map(|_| ())
}

fn ask_primary(
    instance: &PostgresInstance,
    primary: &ReplicaOf,
    question: &str,
) -> Result<Vec<Option<String>>, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let login = &instance.monitor;
    let parameters: Parameters = [
        ("user".to_owned(), login.name.clone()),
        ("database".to_owned(), login.database.clone()),
        ("application_name".to_owned(), format!("bastide {}", instance.name)),
    ]
    .into();
    runtime.block_on(async {
        let mut backend = Backend::open(&address(primary), &parameters, &login.password)
            .await
            .map_err(|failure| failure.to_string())?;
        backend.ask(question, Duration::from_secs(5)).await.map_err(|failure| failure.to_string())
    })
}

/// A host as libpq reads it: a directory is that of a Unix socket.
fn address(primary: &ReplicaOf) -> Address {
    if primary.host.starts_with('/') {
        return Address::Unix(PathBuf::from(&primary.host).join(format!(".s.PGSQL.{}", primary.port)));
    }
    match primary.host.parse::<IpAddr>() {
        Ok(ip) => Address::Ip((ip, primary.port).into()),
        Err(_) => Address::Name(primary.host.clone(), primary.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_file_is_read() {
        let printed = "pg_control version number:            1300\n\
             Database system identifier:           7412345678901234567\n\
             Latest checkpoint location:           0/5000060\n\
             Latest checkpoint's REDO location:    0/5000028\n\
             Minimum recovery ending location:     0/6000100\n";
        let control = read_control(printed).unwrap();
        assert_eq!(control, Control { system: "7412345678901234567".into(), position: Lsn(0x600_0100) });
        assert_eq!(read_control("nonsense"), None);
    }

    #[test]
    fn reasons() {
        let control = Control { system: "7".into(), position: Lsn(1) };
        let row = |system: &str, status: Option<&str>, there: &str, behind: &str| {
            [
                Some(system.to_owned()),
                status.map(str::to_owned),
                Some(there.to_owned()),
                Some(behind.to_owned()),
            ]
        };
        let cases = [
            (row("7", Some("reserved"), "t", "f"), None),
            (row("7", None, "t", "f"), None),
            (row("8", Some("reserved"), "t", "f"), Some("another cluster")),
            (row("7", Some("lost"), "f", "f"), Some("given up")),
            (row("7", None, "f", "f"), Some("is gone")),
            (row("7", Some("reserved"), "f", "f"), Some("made anew")),
            (row("7", Some("reserved"), "f", "t"), Some("replayed more")),
        ];
        for (row, expected) in cases {
            let found = judge(&control, "main_1", &row);
            assert_eq!(found.is_some(), expected.is_some(), "{row:?}: {found:?}");
            assert!(expected.is_none_or(|part| found.unwrap_or_default().contains(part)), "{row:?}");
        }
    }
}
