//! What a new cluster gets: logins, databases, slots. SQL runs in PostgreSQL's
//! single-user mode, before anybody can connect.

use super::programs::{Programs, run};
use super::{conf, fault};
use aws_lc_rs::digest;
use database_wire::scram::{ITERATIONS, Verifier};
use role::Fault;
use site::database::ReplicaOf;
use site::{PostgresInstance, User};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Says which logins and slots the cluster has: a digest, so that a start
/// without changes does nothing.
const PROVISIONED: &str = "bastide.provisioned";

/// `initdb`.
pub(super) fn init(programs: &Programs, instance: &PostgresInstance) -> Result<(), Fault> {
    let data = &instance.data_dir;
    let password_file = super::beside(data, ".password");
    let password = format!("{}\n", instance.superuser_password.reveal());
    sys::file::write_atomic(&password_file, password.as_bytes(), 0o600)
        .map_err(|e| fault("cannot write", &password_file, &e))?;
    let mut command = programs.command("initdb");
    command.arg("--pgdata").arg(data).arg("--pwfile").arg(&password_file).args([
        "--username=postgres",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
    ]);
    let made = run(&mut command, "");
    let removed = fs::remove_file(&password_file).map_err(|e| fault("cannot remove", &password_file, &e));
    made?;
    removed?;
    conf::write(instance)?;
    update(programs, instance)
}

/// Brings logins, databases and slots to what the instance says, where that changed.
pub(super) fn update(programs: &Programs, instance: &PostgresInstance) -> Result<(), Fault> {
    let mark = instance.data_dir.join(PROVISIONED);
    let digest = digest_of(instance);
    if fs::read_to_string(&mark).is_ok_and(|text| text.trim() == digest) {
        return Ok(());
    }
    let all = [&instance.monitor, &instance.replication].into_iter().chain(&instance.users);
    for user in all {
        check_name(instance, &user.name)?;
        check_name(instance, &user.database)?;
    }
    for slot in &instance.slots {
        check_name(instance, slot)?;
    }
    let existing = single(programs, &instance.data_dir, "SELECT datname FROM pg_database\n")?;
    single(programs, &instance.data_dir, &statements(instance, &databases(&existing)))?;
    sys::file::write_atomic(&mark, digest.as_bytes(), 0o600).map_err(|e| fault("cannot write", &mark, &e))
}

/// Single-user mode ends a statement at a newline.
fn check_name(instance: &PostgresInstance, name: &str) -> Result<(), Fault> {
    let possible = !name.is_empty() && name.len() <= 63 && !name.chars().any(char::is_control);
    if possible {
        return Ok(());
    }
    Err(Fault::new(format!(
        "PostgreSQL member `{}`: `{}` cannot be a name (1 to 63 bytes, no control characters)",
        instance.name,
        name.escape_debug()
    )))
}

fn digest_of(instance: &PostgresInstance) -> String {
    // Passwords are 160 bits of chance; the file is 0600 in a directory of 0700.
    let said = serde_json::json!([
        instance.monitor,
        instance.replication,
        instance.users,
        instance.slots,
        instance.superuser_password
    ]);
    let hash = digest::digest(&digest::SHA256, said.to_string().as_bytes());
    hash.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Runs statements, one a line, in single-user mode; the first error ends it.
fn single(programs: &Programs, data: &Path, sql: &str) -> Result<String, Fault> {
    let mut command = programs.command("postgres");
    command.arg("--single").arg("-D").arg(data).args([
        "-c",
        "exit_on_error=on",
        "-c",
        "log_min_messages=log",
        "-c",
        // No replica follows yet who could acknowledge.
        "synchronous_standby_names=",
        "postgres",
    ]);
    run(&mut command, sql)
}

/// The names in single-user mode's print of a row: `1: datname = "postgres" (typeid = …)`.
fn databases(printed: &str) -> Vec<String> {
    printed
        .lines()
        .filter_map(|line| line.split("datname = \"").nth(1))
        .filter_map(|rest| rest.split("\"\t").next())
        .map(str::to_owned)
        .collect()
}

fn statements(instance: &PostgresInstance, databases: &[String]) -> String {
    let mut out = String::new();
    let mut line = |sql: String| {
        out.push_str(&sql);
        out.push('\n');
    };
    line(format!("ALTER ROLE postgres PASSWORD {}", verifier(instance.superuser_password.reveal())));
    let monitor = ident(&instance.monitor.name);
    line(role(&instance.monitor, "LOGIN NOSUPERUSER"));
    line(format!("GRANT pg_monitor, pg_signal_backend TO {monitor}"));
    line(role(&instance.replication, "LOGIN REPLICATION NOSUPERUSER"));
    for user in &instance.users {
        line(role(user, "LOGIN NOSUPERUSER"));
    }
    for (i, user) in instance.users.iter().enumerate() {
        let earlier = instance.users[..i].iter().any(|u| u.database == user.database);
        if !earlier && !databases.contains(&user.database) {
            line(format!("CREATE DATABASE {} OWNER {}", ident(&user.database), ident(&user.name)));
        }
    }
    for slot in &instance.slots {
        let name = literal(slot);
        line(format!(
            "SELECT pg_create_physical_replication_slot({name}, true) WHERE NOT EXISTS \
             (SELECT 1 FROM pg_replication_slots WHERE slot_name = {name})"
        ));
    }
    out
}

/// Makes a login, or gives an existing one these attributes and this password.
fn role(user: &User, attributes: &str) -> String {
    let name = ident(&user.name);
    let password = verifier(user.password.reveal());
    let exists = format!("EXISTS (SELECT 1 FROM pg_roles WHERE rolname = {})", literal(&user.name));
    let body = format!(
        "BEGIN IF {exists} THEN ALTER ROLE {name} {attributes} PASSWORD {password}; \
         ELSE CREATE ROLE {name} {attributes} PASSWORD {password}; END IF; END"
    );
    format!("DO {}", literal(&body))
}

/// A password as PostgreSQL stores it, quoted: the password itself appears in no statement.
fn verifier(password: &str) -> String {
    let mut salt = [0; 16];
    sys::random::fill(&mut salt);
    literal(&Verifier::new(password, &salt, ITERATIONS).to_stored())
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `pg_basebackup`, over the slot that keeps the log for this replica from now on.
pub(super) fn base_backup(
    programs: &Programs,
    instance: &PostgresInstance,
    primary: &ReplicaOf,
) -> Result<(), Fault> {
    let mut command = programs.command("pg_basebackup");
    command
        .env("PGPASSFILE", conf::passfile(instance))
        .env("PGCONNECT_TIMEOUT", "10")
        .arg("--pgdata")
        .arg(&instance.data_dir)
        .args(["--host", &primary.host, "--port", &primary.port.to_string()])
        .args(["--username", &instance.replication.name, "--no-password"])
        .args(["--wal-method=stream", "--slot", &primary.slot, "--checkpoint=fast"]);
    run(&mut command, "").map_err(|fault| match &fault.what {
        what if what.contains("replication slot") => fault.hint(
            "the primary's list of slots must name this replica's; it is made at the primary's next start",
        ),
        _ => fault,
    })?;
    conf::write(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_names_are_read() {
        let printed = "\t 1: datname\t(typeid = 19, len = 64, typmod = -1, byval = f)\n\t----\n\
                       \t 1: datname = \"postgres\"\t(typeid = 19, len = 64, typmod = -1, byval = f)\n\t----\n\
                       \t 1: datname = \"my shop\"\t(typeid = 19, len = 64, typmod = -1, byval = f)\n";
        assert_eq!(databases(printed), ["postgres", "my shop"]);
    }

    #[test]
    fn names_and_passwords_cannot_leave_their_quotes() {
        let user =
            User { name: "o'\"x".into(), password: base::Secret::new("s3cret'; DROP"), database: "d".into() };
        let sql = role(&user, "LOGIN");
        assert!(!sql.contains("s3cret"), "{sql}");
        assert!(sql.starts_with("DO 'BEGIN IF EXISTS"), "{sql}");
        assert!(sql.contains("ALTER ROLE \"o''\"\"x\" LOGIN"), "{sql}");
        assert_eq!(sql.matches('\'').count() % 2, 0);
        assert_eq!(sql.lines().count(), 1);
    }
}
