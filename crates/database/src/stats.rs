//! The database role's metrics: handles made once where labels are few.

use base::names;
use role::{Counter, Family, Gauge, Histogram, Registry};
use std::sync::Arc;
use std::time::Duration;

/// Everything that is counted for one database.
pub(crate) struct Stats {
    database: String,
    clients: Arc<Gauge>,
    clients_total: Arc<Family<Counter>>,
    backends: Arc<Family<Gauge>>,
    statements: Arc<Family<Counter>>,
    duration: Arc<Family<Histogram>>,
    routed: Arc<Family<Counter>>,
    errors: Arc<Family<Counter>>,
    wait: Arc<Histogram>,
    member_up: Arc<Family<Gauge>>,
    lag_seconds: Arc<Family<Gauge>>,
    lag_bytes: Arc<Family<Gauge>>,
}

impl Stats {
    pub(crate) fn new(registry: &Registry, database: &str) -> Self {
        Self {
            database: database.to_owned(),
            clients: registry.gauge(&names::DATABASE_CLIENTS).with(&[database]),
            clients_total: registry.counter(&names::DATABASE_CLIENTS_TOTAL),
            backends: registry.gauge(&names::DATABASE_BACKENDS),
            statements: registry.counter(&names::DATABASE_STATEMENTS),
            duration: registry.histogram(&names::DATABASE_DURATION),
            routed: registry.counter(&names::DATABASE_ROUTED),
            errors: registry.counter(&names::DATABASE_ERRORS),
            wait: registry.histogram(&names::DATABASE_WAIT).with(&[database]),
            member_up: registry.gauge(&names::DATABASE_MEMBER_UP),
            lag_seconds: registry.gauge(&names::DATABASE_LAG_SECONDS),
            lag_bytes: registry.gauge(&names::DATABASE_LAG_BYTES),
        }
    }

    pub(crate) fn client_began(&self) {
        self.clients.add(1);
    }

    pub(crate) fn client_ended(&self) {
        self.clients.add(-1);
    }

    /// `ok`, `auth_failed`, `refused`, `protocol_error`.
    pub(crate) fn client_result(&self, result: &str) {
        self.clients_total.with(&[&self.database, result]).inc();
    }

    /// `count` statements ran on a member as `read` or `write`, in `duration`.
    pub(crate) fn ran(&self, member: &str, kind: &str, count: u64, duration: Duration) {
        self.statements.with(&[&self.database, member, kind]).add(count);
        self.duration.with(&[&self.database, member]).observe(duration);
    }

    pub(crate) fn routed(&self, to: &str, reason: &str) {
        self.routed.with(&[&self.database, to, reason]).inc();
    }

    pub(crate) fn error(&self, class: &str) {
        self.errors.with(&[&self.database, class]).inc();
    }

    pub(crate) fn waited(&self, duration: Duration) {
        self.wait.observe(duration);
    }

    pub(crate) fn backends(&self, member: &str, active: usize, idle: usize) {
        self.backends.with(&[&self.database, member, "active"]).set(active as f64);
        self.backends.with(&[&self.database, member, "idle"]).set(idle as f64);
    }

    pub(crate) fn member(&self, member: &str, role: &str, up: bool) {
        self.member_up.with(&[&self.database, member, role]).set(f64::from(u8::from(up)));
    }

    pub(crate) fn lag(&self, member: &str, seconds: f64, bytes: u64) {
        self.lag_seconds.with(&[&self.database, member]).set(seconds);
        self.lag_bytes.with(&[&self.database, member]).set(bytes as f64);
    }

    /// A member left the configuration.
    pub(crate) fn forget_member(&self, member: &str) {
        let of_member = |values: &[String]| values[0] == self.database && values[1] == member;
        self.backends.remove(of_member);
        self.member_up.remove(of_member);
        self.lag_seconds.remove(of_member);
        self.lag_bytes.remove(of_member);
    }
}
