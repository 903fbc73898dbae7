//! The files that we write for a member: `bastide.conf`, `bastide_hba.conf`, a
//! replica's `standby.signal` and password file.

use super::{beside, fault};
use role::Fault;
use site::{Durability, MemberRole, PostgresInstance};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const INCLUDE: &str = "include = 'bastide.conf'";

/// Writes all of them.
pub(super) fn write(instance: &PostgresInstance) -> Result<(), Fault> {
    let data = &instance.data_dir;
    put(&data.join("bastide.conf"), &settings(instance))?;
    put(&data.join("bastide_hba.conf"), &hba(instance))?;
    let main = data.join("postgresql.conf");
    let text = fs::read_to_string(&main).map_err(|e| fault("cannot read", &main, &e))?;
    if !text.lines().any(|line| line.trim() == INCLUDE) {
        put(&main, &format!("{}\n# Written by Bastide.\n{INCLUDE}\n", text.trim_end()))?;
    }
    if instance.role == MemberRole::Replica {
        write_passfile(instance)?;
        put(&data.join("standby.signal"), "")?;
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> Result<(), Fault> {
    sys::file::write_atomic(path, text.as_bytes(), 0o600).map_err(|e| fault("cannot write", path, &e))
}

/// Where a replica's password for its primary is.
pub(super) fn passfile(instance: &PostgresInstance) -> PathBuf {
    beside(&instance.data_dir, ".pgpass")
}

/// Writes it: `host:port:database:user:password`, with `:` and `\` escaped (manual 34.16).
pub(super) fn write_passfile(instance: &PostgresInstance) -> Result<(), Fault> {
    let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let login = &instance.replication;
    let line = format!("*:*:*:{}:{}\n", escape(&login.name), escape(login.password.reveal()));
    put(&passfile(instance), &line)
}

fn settings(instance: &PostgresInstance) -> String {
    let mut out = String::from("# Written by Bastide at each start; changes here are lost.\n");
    let mut set = |name: &str, value: &str| {
        let _ = writeln!(out, "{name} = {}", quote(value));
    };
    set("listen_addresses", &instance.listen_host);
    set("port", &instance.port.to_string());
    set("unix_socket_directories", &instance.socket_dir.to_string_lossy());
    set("unix_socket_permissions", "0770");
    set("hba_file", &instance.data_dir.join("bastide_hba.conf").to_string_lossy());
    set("password_encryption", "scram-sha-256");
    // The same on all members: a replica must not have less than its primary (27.4.3).
    set("max_connections", "100");
    set("shared_buffers", &format!("{}MB", shared_buffers_mb(total_memory_kb())));
    set("wal_level", "replica");
    set("max_wal_senders", "16");
    set("max_replication_slots", "16");
    set("wal_keep_size", "128MB");
    // A replica that stays away must not fill the primary's disk: beyond this it has to be copied anew.
    set("max_slot_wal_keep_size", "8GB");
    set("hot_standby", "on");
    // Long reads on a replica are not cancelled by the primary's vacuum.
    set("hot_standby_feedback", "on");
    set("wal_receiver_status_interval", "1s");
    set("wal_retrieve_retry_interval", "500ms");
    set("logging_collector", "off");
    set("log_destination", "stderr");
    set("log_line_prefix", "%m [%p] %q%u@%d ");
    set("log_timezone", "UTC");
    set("timezone", "UTC");
    set("synchronous_commit", "on");
    if instance.role == MemberRole::Primary {
        let standbys: Vec<String> = instance.slots.iter().map(|s| format!("\"{s}\"")).collect();
        let replicated = instance.durability == Durability::Replicated && !standbys.is_empty();
        let names = if replicated { format!("ANY 1 ({})", standbys.join(", ")) } else { String::new() };
        set("synchronous_standby_names", &names);
    }
    if let (MemberRole::Replica, Some(primary)) = (instance.role, &instance.primary) {
        let value = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let conninfo = format!(
            "host={} port={} user={} passfile={} application_name={} connect_timeout=5",
            value(&primary.host),
            primary.port,
            value(&instance.replication.name),
            value(&passfile(instance).to_string_lossy()),
            value(&primary.slot),
        );
        set("primary_conninfo", &conninfo);
        set("primary_slot_name", &primary.slot);
    }
    for (name, value) in &instance.settings {
        set(name, value);
    }
    out
}

/// A value in single quotes (manual 19.1.2): `'` doubled, `\` too, since it escapes here.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''").replace('\n', " "))
}

/// A sixteenth of the machine's memory, 32 to 512 MB: three members and the web servers share one machine.
fn shared_buffers_mb(total_kb: u64) -> u64 {
    (total_kb / 1024 / 16).clamp(32, 512)
}

fn total_memory_kb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Who may connect from where. The superuser comes by the Unix socket only.
fn hba(instance: &PostgresInstance) -> String {
    let loopback = matches!(instance.listen_host.as_str(), "localhost" | "127.0.0.1" | "::1" | "");
    let networks: &[&str] = if loopback { &["127.0.0.1/32", "::1/128"] } else { &["0.0.0.0/0", "::/0"] };
    let mut out = String::from("# Written by Bastide at each start; changes here are lost.\n");
    out.push_str("local all all scram-sha-256\n");
    out.push_str("local replication all scram-sha-256\n");
    for network in networks {
        let _ = writeln!(out, "host all postgres {network} reject");
        let _ =
            writeln!(out, "host replication {} {network} scram-sha-256", ident(&instance.replication.name));
        let _ = writeln!(out, "host all all {network} scram-sha-256");
    }
    out
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\"").replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_quotes() {
        for (value, quoted) in
            [("a", "'a'"), ("it's", "'it''s'"), ("a\\", "'a\\\\'"), ("a\nb = c", "'a b = c'")]
        {
            assert_eq!(quote(value), quoted);
        }
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn memory() {
        for (total_kb, mb) in [(0, 32), (1 << 20, 64), (24 << 20, 512)] {
            assert_eq!(shared_buffers_mb(total_kb), mb);
        }
    }
}
