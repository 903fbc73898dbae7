//! What a server is asked. A statement's columns are first the labels, then one
//! number for each family, whose names are postgres_exporter's where it has them.

use super::session::{Session, Trouble};
use crate::text::Type::{self, Counter, Gauge};
use std::ops::Range;
use std::time::Instant;

/// What is known of a server since the login.
#[derive(Debug)]
pub(super) struct Facts {
    /// `150013`, as in `server_version_num`.
    pub(super) version: u32,
    /// The schema that pg_stat_statements is in, quoted; none where it is not.
    statements: Option<String>,
}

impl Facts {
    pub(super) fn of(session: &mut Session, deadline: Instant) -> Result<Self, Trouble> {
        let rows = session.rows(
            "SELECT current_setting('server_version_num'), (SELECT quote_ident(n.nspname) FROM pg_extension e \
             JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements')",
            deadline,
        )?;
        let mut columns = rows.into_iter().next().unwrap_or_default().into_iter();
        let version = columns.next().flatten().and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self { version, statements: columns.next().flatten() })
    }
}

/// A statement, or none where the server has not what it is about.
#[derive(Clone, Copy)]
pub(super) enum Sql {
    Fixed(&'static str),
    Made(fn(&Facts) -> Option<String>),
}

impl Sql {
    pub(super) fn text(&self, facts: &Facts) -> Option<std::borrow::Cow<'static, str>> {
        match self {
            Self::Fixed(text) => Some((*text).into()),
            Self::Made(make) => make(facts).map(Into::into),
        }
    }
}

/// One question.
pub(super) struct Query {
    /// The label `collector`.
    pub(super) name: &'static str,
    pub(super) versions: Range<u32>,
    /// Asked at every so manieth reading, because it costs the server something.
    pub(super) every: u32,
    pub(super) labels: &'static [&'static str],
    pub(super) columns: &'static [(&'static str, Type, &'static str)],
    pub(super) sql: Sql,
}

/// From the oldest version that PostgreSQL's manual of pg_stat_activity fits.
const ALL: Range<u32> = 100_000..u32::MAX;

/// At the usual 30 s: every five minutes, every ten.
const SELDOM: u32 = 10;
const RARELY: u32 = 20;

pub(super) const QUERIES: &[Query] = &[
    Query {
        name: "postmaster",
        versions: ALL,
        every: 1,
        labels: &[],
        columns: &[("pg_postmaster_start_time_seconds", Gauge, "Time at which postmaster started.")],
        sql: Sql::Fixed("SELECT extract(epoch FROM pg_postmaster_start_time())"),
    },
    Query {
        name: "static",
        versions: ALL,
        every: 1,
        labels: &["short_version", "version"],
        columns: &[("pg_static", Gauge, "Version string as reported by postgres.")],
        sql: Sql::Fixed("SELECT split_part(current_setting('server_version'), ' ', 1), version(), 1"),
    },
    Query {
        name: "settings",
        versions: ALL,
        every: SELDOM,
        labels: &[],
        columns: &[
            ("pg_settings_max_connections", Gauge, "Server Parameter: max_connections."),
            (
                "pg_settings_superuser_reserved_connections",
                Gauge,
                "Server Parameter: superuser_reserved_connections.",
            ),
            ("pg_settings_shared_buffers_bytes", Gauge, "Server Parameter: shared_buffers, in bytes."),
            (
                "pg_settings_effective_cache_size_bytes",
                Gauge,
                "Server Parameter: effective_cache_size, in bytes.",
            ),
            ("pg_settings_work_mem_bytes", Gauge, "Server Parameter: work_mem, in bytes."),
            ("pg_settings_max_wal_size_bytes", Gauge, "Server Parameter: max_wal_size, in bytes."),
            ("pg_settings_autovacuum_freeze_max_age", Gauge, "Server Parameter: autovacuum_freeze_max_age."),
            ("pg_settings_max_locks_per_transaction", Gauge, "Server Parameter: max_locks_per_transaction."),
        ],
        sql: Sql::Fixed(
            "SELECT current_setting('max_connections'), current_setting('superuser_reserved_connections'), \
             pg_size_bytes(current_setting('shared_buffers')), \
             pg_size_bytes(current_setting('effective_cache_size')), pg_size_bytes(current_setting('work_mem')), \
             pg_size_bytes(current_setting('max_wal_size')), current_setting('autovacuum_freeze_max_age'), \
             current_setting('max_locks_per_transaction')",
        ),
    },
    Query {
        name: "stat_database",
        versions: ALL,
        every: 1,
        labels: &["datid", "datname"],
        columns: &[
            (
                "pg_stat_database_numbackends",
                Gauge,
                "Number of backends currently connected to this database.",
            ),
            (
                "pg_stat_database_xact_commit",
                Counter,
                "Number of transactions in this database that have been committed",
            ),
            (
                "pg_stat_database_xact_rollback",
                Counter,
                "Number of transactions in this database that have been rolled back",
            ),
            ("pg_stat_database_blks_read", Counter, "Number of disk blocks read in this database"),
            (
                "pg_stat_database_blks_hit",
                Counter,
                "Number of times disk blocks were found already in the buffer cache",
            ),
            ("pg_stat_database_tup_returned", Counter, "Number of rows returned by queries in this database"),
            ("pg_stat_database_tup_fetched", Counter, "Number of rows fetched by queries in this database"),
            ("pg_stat_database_tup_inserted", Counter, "Number of rows inserted by queries in this database"),
            ("pg_stat_database_tup_updated", Counter, "Number of rows updated by queries in this database"),
            ("pg_stat_database_tup_deleted", Counter, "Number of rows deleted by queries in this database"),
            (
                "pg_stat_database_conflicts",
                Counter,
                "Number of queries canceled due to conflicts with recovery in this database",
            ),
            (
                "pg_stat_database_temp_files",
                Counter,
                "Number of temporary files created by queries in this database",
            ),
            (
                "pg_stat_database_temp_bytes",
                Counter,
                "Total amount of data written to temporary files by queries in this database",
            ),
            ("pg_stat_database_deadlocks", Counter, "Number of deadlocks detected in this database"),
            (
                "pg_stat_database_blk_read_time",
                Counter,
                "Time spent reading data file blocks by backends in this database, in milliseconds",
            ),
            (
                "pg_stat_database_blk_write_time",
                Counter,
                "Time spent writing data file blocks by backends in this database, in milliseconds",
            ),
            ("pg_stat_database_stats_reset", Counter, "Time at which these statistics were last reset"),
        ],
        sql: Sql::Fixed(
            "SELECT datid, datname, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned, \
             tup_fetched, tup_inserted, tup_updated, tup_deleted, conflicts, temp_files, temp_bytes, deadlocks, \
             blk_read_time, blk_write_time, extract(epoch FROM stats_reset) FROM pg_stat_database \
             WHERE datname IS NOT NULL ORDER BY datname LIMIT 500",
        ),
    },
    Query {
        name: "database",
        versions: ALL,
        every: SELDOM,
        labels: &["datname"],
        columns: &[
            ("pg_database_size_bytes", Gauge, "Disk space used by the database"),
            ("pg_database_connection_limit", Gauge, "Connection limit set for the database"),
            (
                "pg_database_wraparound_age_datfrozenxid_seconds",
                Gauge,
                "Age of the oldest transaction ID that has not been frozen.",
            ),
        ],
        sql: Sql::Fixed(
            "SELECT datname, CASE WHEN has_database_privilege(oid, 'CONNECT') \
             OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(oid) END, datconnlimit, \
             age(datfrozenxid) FROM pg_database WHERE datallowconn ORDER BY datname LIMIT 500",
        ),
    },
    Query {
        name: "stat_activity",
        versions: ALL,
        every: 1,
        labels: &["datname", "state"],
        columns: &[
            ("pg_stat_activity_count", Gauge, "number of connections in this state"),
            (
                "pg_stat_activity_max_tx_duration",
                Gauge,
                "max duration in seconds any active transaction has been running",
            ),
        ],
        // Each state of each database has a number, 0 too; the state of others'
        // sessions is NULL for who may not see it.
        sql: Sql::Fixed(
            "SELECT coalesce(s.datname, a.datname), coalesce(s.state, a.state), coalesce(a.number, 0), \
             coalesce(a.duration, 0) FROM (SELECT d.datname, v.state FROM (SELECT datname FROM pg_database \
             WHERE datallowconn ORDER BY datname LIMIT 200) d CROSS JOIN (VALUES ('active'), ('idle'), \
             ('idle in transaction'), ('idle in transaction (aborted)'), ('fastpath function call'), \
             ('disabled')) v(state)) s FULL JOIN (SELECT datname, coalesce(state, 'unknown') AS state, \
             count(*) AS number, max(extract(epoch FROM clock_timestamp() - xact_start)) AS duration \
             FROM pg_stat_activity WHERE datname IS NOT NULL GROUP BY 1, 2) a \
             ON a.datname = s.datname AND a.state = s.state LIMIT 2000",
        ),
    },
    Query {
        name: "long_running_transactions",
        versions: ALL,
        every: 1,
        labels: &[],
        columns: &[
            ("pg_long_running_transactions", Gauge, "Current number of long running transactions"),
            (
                "pg_long_running_transactions_oldest_timestamp_seconds",
                Gauge,
                "The current maximum transaction age in seconds",
            ),
        ],
        sql: Sql::Fixed(
            "SELECT count(*) FILTER (WHERE xact_start < clock_timestamp() - interval '60 s'), \
             coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity \
             WHERE state IS DISTINCT FROM 'idle' AND query NOT LIKE 'autovacuum:%' AND pid <> pg_backend_pid()",
        ),
    },
    Query {
        name: "locks",
        versions: ALL,
        every: 1,
        labels: &["datname", "mode"],
        columns: &[
            ("pg_locks_count", Gauge, "Number of locks"),
            ("pg_locks_waiting_count", Gauge, "Number of locks that are waited for"),
        ],
        sql: Sql::Fixed(
            "SELECT d.datname, m.mode, coalesce(l.number, 0), coalesce(l.waiting, 0) FROM (SELECT oid, datname \
             FROM pg_database WHERE datallowconn ORDER BY datname LIMIT 50) d CROSS JOIN (VALUES \
             ('accesssharelock'), ('rowsharelock'), ('rowexclusivelock'), ('shareupdateexclusivelock'), \
             ('sharelock'), ('sharerowexclusivelock'), ('exclusivelock'), ('accessexclusivelock'), \
             ('sireadlock')) m(mode) LEFT JOIN (SELECT database, lower(mode) AS mode, count(*) AS number, \
             count(*) FILTER (WHERE NOT granted) AS waiting FROM pg_locks WHERE database IS NOT NULL \
             GROUP BY 1, 2) l ON l.database = d.oid AND l.mode = m.mode ORDER BY 1, 2",
        ),
    },
    Query {
        name: "replication",
        versions: ALL,
        every: 1,
        labels: &[],
        columns: &[
            ("pg_replication_lag_seconds", Gauge, "Replication lag behind master in seconds"),
            ("pg_replication_is_replica", Gauge, "Indicates if the server is a replica"),
            ("pg_replication_last_replay_seconds", Gauge, "Age of last transaction replay in seconds"),
        ],
        // A replica that has replayed all it received is not behind, however long
        // ago the primary last wrote.
        sql: Sql::Fixed(
            "SELECT CASE WHEN NOT pg_is_in_recovery() \
             OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 ELSE \
             greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())) END, \
             pg_is_in_recovery()::int, \
             greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()))",
        ),
    },
    Query {
        name: "stat_replication",
        versions: ALL,
        every: 1,
        labels: &["application_name", "client_addr", "state"],
        columns: &[
            ("pg_stat_replication_pg_wal_lsn_diff", Gauge, "Bytes of WAL that the standby has not replayed"),
            (
                "pg_stat_replication_write_lag_seconds",
                Gauge,
                "Time until recent WAL was written by the standby",
            ),
            (
                "pg_stat_replication_flush_lag_seconds",
                Gauge,
                "Time until recent WAL was flushed by the standby",
            ),
            (
                "pg_stat_replication_replay_lag_seconds",
                Gauge,
                "Time until recent WAL was replayed by the standby",
            ),
        ],
        sql: Sql::Fixed(
            "SELECT application_name, host(client_addr), state, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() \
             THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, replay_lsn), \
             coalesce(extract(epoch FROM write_lag), 0), coalesce(extract(epoch FROM flush_lag), 0), \
             coalesce(extract(epoch FROM replay_lag), 0) FROM pg_stat_replication LIMIT 100",
        ),
    },
    Query {
        name: "replication_slot",
        versions: ALL,
        every: 1,
        labels: &["slot_name", "slot_type"],
        columns: &[
            ("pg_replication_slot_slot_is_active", Gauge, "whether the replication slot is active or not"),
            ("pg_replication_slots_pg_wal_lsn_diff", Gauge, "Bytes of WAL that the slot keeps"),
        ],
        sql: Sql::Fixed(
            "SELECT slot_name, slot_type, active::int, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() \
             THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn) \
             FROM pg_replication_slots LIMIT 100",
        ),
    },
    Query {
        name: "stat_archiver",
        versions: ALL,
        every: 1,
        labels: &[],
        columns: &[
            (
                "pg_stat_archiver_archived_count",
                Counter,
                "Number of WAL files that have been successfully archived",
            ),
            ("pg_stat_archiver_failed_count", Counter, "Number of failed attempts for archiving WAL files"),
            (
                "pg_stat_archiver_last_archive_age",
                Gauge,
                "Time in seconds since last WAL segment was successfully archived",
            ),
        ],
        sql: Sql::Fixed(
            "SELECT archived_count, failed_count, extract(epoch FROM clock_timestamp() - last_archived_time) \
             FROM pg_stat_archiver",
        ),
    },
    Query {
        name: "stat_bgwriter",
        versions: 100_000..170_000,
        every: 1,
        labels: &[],
        columns: &[
            (
                "pg_stat_bgwriter_checkpoints_timed_total",
                Counter,
                "Number of scheduled checkpoints that have been performed",
            ),
            (
                "pg_stat_bgwriter_checkpoints_req_total",
                Counter,
                "Number of requested checkpoints that have been performed",
            ),
            (
                "pg_stat_bgwriter_checkpoint_write_time_total",
                Counter,
                "Total time spent writing files to disk in checkpoints, in milliseconds",
            ),
            (
                "pg_stat_bgwriter_checkpoint_sync_time_total",
                Counter,
                "Total time spent synchronizing files in checkpoints, in milliseconds",
            ),
            (
                "pg_stat_bgwriter_buffers_checkpoint_total",
                Counter,
                "Number of buffers written during checkpoints",
            ),
            (
                "pg_stat_bgwriter_buffers_clean_total",
                Counter,
                "Number of buffers written by the background writer",
            ),
            (
                "pg_stat_bgwriter_maxwritten_clean_total",
                Counter,
                "Number of times the background writer stopped a cleaning scan because it had written too many buffers",
            ),
            (
                "pg_stat_bgwriter_buffers_backend_total",
                Counter,
                "Number of buffers written directly by a backend",
            ),
            ("pg_stat_bgwriter_buffers_alloc_total", Counter, "Number of buffers allocated"),
        ],
        sql: Sql::Fixed(
            "SELECT checkpoints_timed, checkpoints_req, checkpoint_write_time, checkpoint_sync_time, \
             buffers_checkpoint, buffers_clean, maxwritten_clean, buffers_backend, buffers_alloc \
             FROM pg_stat_bgwriter",
        ),
    },
    Query {
        name: "stat_checkpointer",
        versions: 170_000..u32::MAX,
        every: 1,
        labels: &[],
        columns: &[
            (
                "pg_stat_checkpointer_num_timed_total",
                Counter,
                "Number of scheduled checkpoints due to timeout",
            ),
            (
                "pg_stat_checkpointer_num_requested_total",
                Counter,
                "Number of requested checkpoints that have been performed",
            ),
            (
                "pg_stat_checkpointer_write_time_total",
                Counter,
                "Total time spent writing files to disk in checkpoints, in milliseconds",
            ),
            (
                "pg_stat_checkpointer_sync_time_total",
                Counter,
                "Total time spent synchronizing files in checkpoints, in milliseconds",
            ),
            (
                "pg_stat_checkpointer_buffers_written_total",
                Counter,
                "Number of buffers written during checkpoints and restartpoints",
            ),
        ],
        sql: Sql::Fixed(
            "SELECT num_timed, num_requested, write_time, sync_time, buffers_written FROM pg_stat_checkpointer",
        ),
    },
    Query {
        name: "stat_statements",
        versions: ALL,
        every: 2,
        labels: &["user", "datname", "queryid"],
        columns: &[
            ("pg_stat_statements_calls_total", Counter, "Number of times executed"),
            ("pg_stat_statements_seconds_total", Counter, "Total time spent in the statement, in seconds"),
            (
                "pg_stat_statements_rows_total",
                Counter,
                "Total number of rows retrieved or affected by the statement",
            ),
            (
                "pg_stat_statements_block_read_seconds_total",
                Counter,
                "Total time the statement spent reading blocks, in seconds",
            ),
            (
                "pg_stat_statements_block_write_seconds_total",
                Counter,
                "Total time the statement spent writing blocks, in seconds",
            ),
        ],
        sql: Sql::Made(|facts| {
            let schema = facts.statements.as_deref()?;
            let (time, read, write) = statement_columns(facts.version);
            Some(format!(
                "SELECT r.rolname, d.datname, s.queryid, sum(s.calls), sum(s.{time}) / 1000, sum(s.rows), \
                 sum(s.{read}) / 1000, sum(s.{write}) / 1000 FROM {schema}.pg_stat_statements s \
                 JOIN pg_roles r ON r.oid = s.userid JOIN pg_database d ON d.oid = s.dbid \
                 WHERE s.queryid IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 5 DESC LIMIT 20"
            ))
        }),
    },
    Query {
        name: "statement_texts",
        versions: ALL,
        every: SELDOM,
        labels: &["queryid", "query"],
        columns: &[("pg_stat_statements_query_id", Gauge, "SQL Query to queryid mapping")],
        // Constants are `$1` in these; what else a statement may be (`ALTER ROLE …
        // PASSWORD …`) the server keeps as it was written.
        sql: Sql::Made(|facts| {
            let schema = facts.statements.as_deref()?;
            let (time, ..) = statement_columns(facts.version);
            Some(format!(
                "SELECT queryid, left(regexp_replace(min(query), '\\s+', ' ', 'g'), 200), 1 \
                 FROM {schema}.pg_stat_statements WHERE queryid IS NOT NULL \
                 AND query ~* '^\\s*(select|insert|update|delete|merge|with)\\s' AND query !~* 'password' \
                 GROUP BY 1 ORDER BY sum({time}) DESC LIMIT 20"
            ))
        }),
    },
    Query {
        name: "stat_user_tables",
        versions: ALL,
        every: SELDOM,
        labels: &["datname", "schemaname", "relname"],
        columns: &[
            (
                "pg_stat_user_tables_size_bytes",
                Gauge,
                "Total disk space used by this table, in bytes, including all indexes and TOAST data",
            ),
            ("pg_stat_user_tables_n_live_tup", Gauge, "Estimated number of live rows"),
            ("pg_stat_user_tables_n_dead_tup", Gauge, "Estimated number of dead rows"),
            ("pg_stat_user_tables_seq_scan", Counter, "Number of sequential scans initiated on this table"),
            ("pg_stat_user_tables_idx_scan", Counter, "Number of index scans initiated on this table"),
            ("pg_stat_user_tables_n_tup_ins", Counter, "Number of rows inserted"),
            ("pg_stat_user_tables_n_tup_upd", Counter, "Number of rows updated"),
            ("pg_stat_user_tables_n_tup_del", Counter, "Number of rows deleted"),
            (
                "pg_stat_user_tables_last_autovacuum",
                Gauge,
                "Last time at which this table was vacuumed by the autovacuum daemon",
            ),
            (
                "pg_stat_user_tables_last_autoanalyze",
                Gauge,
                "Last time at which this table was analyzed by the autovacuum daemon",
            ),
            (
                "pg_stat_user_tables_autovacuum_count",
                Counter,
                "Number of times this table has been vacuumed by the autovacuum daemon",
            ),
        ],
        // The largest by their pages, whose number the catalog has; only these
        // are measured.
        sql: Sql::Fixed(
            "SELECT current_database(), t.schemaname, t.relname, pg_total_relation_size(t.relid), n_live_tup, \
             n_dead_tup, seq_scan, idx_scan, n_tup_ins, n_tup_upd, n_tup_del, \
             coalesce(extract(epoch FROM last_autovacuum), 0), coalesce(extract(epoch FROM last_autoanalyze), 0), \
             autovacuum_count FROM pg_stat_user_tables t JOIN pg_class c ON c.oid = t.relid \
             ORDER BY c.relpages DESC, c.oid LIMIT 30",
        ),
    },
    Query {
        name: "bloat",
        versions: ALL,
        every: RARELY,
        labels: &["datname", "schemaname", "relname"],
        columns: &[
            ("pg_table_bloat_bytes", Gauge, "Estimated bytes of the table that its rows do not need"),
            ("pg_table_bloat_ratio", Gauge, "Estimated part of the table that its rows do not need, 0 to 1"),
        ],
        sql: Sql::Fixed(BLOAT),
    },
];

/// Milliseconds: in all, reading blocks, writing blocks. Renamed in PostgreSQL 13
/// and in 17.
fn statement_columns(version: u32) -> (&'static str, &'static str, &'static str) {
    match version {
        170_000.. => ("total_exec_time", "shared_blk_read_time", "shared_blk_write_time"),
        130_000.. => ("total_exec_time", "blk_read_time", "blk_write_time"),
        _ => ("total_time", "blk_read_time", "blk_write_time"),
    }
}

/// The pages that the rows would fill, from their number and the average widths
/// that ANALYZE found: a row has a header of 24 bytes and a pointer of 4, is
/// padded to 8 (on average by 4), and a page has 24 bytes of its own (manual,
/// 73.6 "Database Page Layout"). What a table has beyond its `fillfactor` is
/// bloat. Tables below 1 MiB, or never analysed, are left out; TOAST is not
/// counted on either side.
const BLOAT: &str = "\
SELECT current_database(), nspname, relname, bytes - least(bytes, needed), \
       (bytes - least(bytes, needed)) / bytes \
FROM (SELECT n.nspname, c.relname, c.relpages::float8 * b.size AS bytes, \
             ceil(c.reltuples * (28 + 4 + w.width) / ((b.size - 24) * coalesce(( \
                 SELECT substr(o, 12)::float8 FROM unnest(c.reloptions) o WHERE o LIKE 'fillfactor=%'), 100) \
                 / 100)) * b.size AS needed \
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
      CROSS JOIN (SELECT current_setting('block_size')::float8 AS size) b \
      CROSS JOIN LATERAL (SELECT sum((1 - s.null_frac) * s.avg_width) AS width, count(*) AS found \
                          FROM pg_stats s \
                          WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND NOT s.inherited) w \
      WHERE c.relkind IN ('r', 'm') AND c.reltuples >= 0 AND c.relpages * b.size >= 1048576 AND w.found > 0 \
        AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
      ORDER BY c.relpages DESC LIMIT 200) t \
ORDER BY 4 DESC LIMIT 20";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_of_one_question_and_every_question_is_bounded() {
        let mut families = std::collections::BTreeSet::new();
        let mut names = std::collections::BTreeSet::new();
        let facts = Facts { version: 150_000, statements: Some("public".to_owned()) };
        for query in QUERIES {
            assert!(names.insert(query.name), "{}", query.name);
            for (name, kind, _) in query.columns {
                assert!(families.insert(name), "{name}");
                assert!(!name.ends_with("_total") || *kind == Counter, "{name}");
            }
            let sql = query.sql.text(&facts).unwrap();
            // Without labels there is one row; the locks have a limit within.
            let bounded = query.labels.is_empty() || sql.contains("LIMIT") || query.name == "static";
            assert!(bounded, "{}", query.name);
            assert!(query.every > 0);
        }
    }
}
