//! A PostgreSQL server about itself: connections, transactions, cache, locks,
//! replication, sizes, slow statements, dead rows and bloat, under the names of
//! postgres_exporter, each with the label `server`.
//!
//! It keeps one connection, asks with a time limit for each statement and for the
//! whole reading, reads only, and shows neither the password nor a statement that
//! could hold one: of pg_stat_statements it gives queries and changes of rows
//! alone, whose constants the server has taken out. What a user may not see is
//! missing, and `pg_scrape_collector_success` says so; the role `pg_monitor` may
//! see all but the bloat of tables that it may not read (`pg_stats` hides them):
//! for that `pg_read_all_data`. Blocking: give it a thread.
//!
//! Limits: no TLS (the connection is for this machine or a private network); each
//! list is cut where its statement says `LIMIT`; an answer of more than 8 MiB ends
//! the connection.
//!
//! Sources: PostgreSQL 17 manual, chapter 27 "Monitoring Database Activity" and
//! F.32 "pg_stat_statements"; the names are postgres_exporter's.

mod queries;
mod session;

pub use session::Trouble;

use crate::text::{Text, Type};
use base::{Address, Secret};
use queries::{Facts, QUERIES, Query};
use session::Session;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A whole reading takes no longer; what was not asked by then is missing.
const READING_LIMIT: Duration = Duration::from_secs(15);

/// A server, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The label `server`.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// The user: a member of `pg_monitor`, and of `pg_read_all_data` for bloat.
    pub user: String,
    /// Its password (SCRAM-SHA-256).
    pub password: Secret,
    /// The database that is logged in to: tables and bloat are of this one.
    pub database: String,
}

/// One server's connection, with what is remembered between readings.
#[derive(Debug)]
pub struct Client {
    server: Server,
    session: Option<(Session, Facts)>,
    readings: u32,
    /// The rows of statements that are not asked at every reading.
    kept: BTreeMap<&'static str, Rows>,
    /// Why the server could not be asked at the last reading.
    pub trouble: Option<Trouble>,
    /// The statements that the server refused at the last reading.
    pub refused: Vec<(&'static str, Trouble)>,
}

type Rows = Vec<Vec<Option<String>>>;

/// Families of one reading, or of several servers' readings together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings(BTreeMap<&'static str, Family>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Family {
    kind: Type,
    help: &'static str,
    lines: String,
}

impl Readings {
    /// Adds another server's.
    pub fn merge(&mut self, other: &Self) {
        for (name, family) in &other.0 {
            match self.0.get_mut(name) {
                Some(own) => own.lines.push_str(&family.lines),
                None => {
                    self.0.insert(name, family.clone());
                }
            }
        }
    }

    /// Appends them in the text exposition format.
    pub fn write(&self, out: &mut String) {
        for (name, family) in &self.0 {
            Text::new(out).family(name, family.kind, family.help);
            out.push_str(&family.lines);
        }
    }

    fn add(
        &mut self,
        name: &'static str,
        kind: Type,
        help: &'static str,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let family = self.0.entry(name).or_insert_with(|| Family { kind, help, lines: String::new() });
        Text::new(&mut family.lines).sample(name, labels, value);
    }
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(server: Server) -> Self {
        Self { server, session: None, readings: 0, kept: BTreeMap::new(), trouble: None, refused: Vec::new() }
    }

    /// Which server it asks.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Asks the server everything that is due. Where it cannot be asked, `pg_up`
    /// is 0 and nothing else is given.
    pub fn read(&mut self) -> Readings {
        let mut readings = Readings::default();
        self.refused.clear();
        self.trouble = None;
        let deadline = Instant::now() + READING_LIMIT;
        let outcome = self.ask(deadline, &mut readings);
        if let Err(trouble) = outcome {
            self.session = None;
            self.kept.clear();
            self.readings = 0;
            self.trouble = Some(trouble);
            readings = Readings::default();
        } else {
            self.readings = self.readings.wrapping_add(1);
        }
        let up = f64::from(u8::from(self.trouble.is_none()));
        let labels = [("server", &*self.server.name)];
        readings.add(
            "pg_up",
            Type::Gauge,
            "Whether the last reading could connect to the server.",
            &labels,
            up,
        );
        readings
    }

    fn ask(&mut self, deadline: Instant, readings: &mut Readings) -> Result<(), Trouble> {
        let (session, facts) = match &mut self.session {
            Some(open) => open,
            None => {
                let mut session = Session::open(&self.server, deadline)?;
                let facts = Facts::of(&mut session, deadline)?;
                self.session.insert((session, facts))
            }
        };
        for query in QUERIES {
            if !query.versions.contains(&facts.version) {
                continue;
            }
            let Some(sql) = query.sql.text(facts) else { continue };
            let began = Instant::now();
            if self.readings.is_multiple_of(query.every) {
                match session.rows(&sql, deadline) {
                    Ok(rows) => {
                        self.kept.insert(query.name, rows);
                    }
                    Err(trouble) if trouble.is_refusal() => {
                        self.kept.remove(query.name);
                        self.refused.push((query.name, trouble));
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
            let rows = self.kept.get(query.name);
            if let Some(rows) = rows {
                give(query, &self.server.name, rows, readings);
            }
            let labels = [("server", &*self.server.name), ("collector", query.name)];
            let help = "postgres_exporter: Whether a collector succeeded.";
            let success = f64::from(u8::from(rows.is_some()));
            readings.add("pg_scrape_collector_success", Type::Gauge, help, &labels, success);
            let help = "postgres_exporter: Duration of a collector scrape.";
            let seconds = began.elapsed().as_secs_f64();
            readings.add("pg_scrape_collector_duration_seconds", Type::Gauge, help, &labels, seconds);
        }
        Ok(())
    }
}

/// First the labels' columns, then one for each family; NULL is no sample.
fn give(query: &Query, server: &str, rows: &Rows, readings: &mut Readings) {
    let mut seen = std::collections::HashSet::new();
    for row in rows {
        let (texts, values) = row.split_at(query.labels.len().min(row.len()));
        let mut labels = vec![("server", server)];
        let texts = texts.iter().map(|text| text.as_deref().unwrap_or(""));
        labels.extend(query.labels.iter().copied().zip(texts));
        // Two sessions may have the same name; one series is given once.
        if !seen.insert(labels.clone()) {
            continue;
        }
        for ((name, kind, help), value) in query.columns.iter().zip(values) {
            if let Some(value) = value.as_deref().and_then(|text| text.parse().ok()) {
                readings.add(name, *kind, help, &labels, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_two_servers_are_given_once() {
        let query = Query {
            name: "x",
            versions: 0..1,
            every: 1,
            labels: &["a"],
            columns: &[("pg_x", Type::Gauge, "X.")],
            sql: queries::Sql::Fixed(""),
        };
        let row = |label: Option<&str>, value: Option<&str>| {
            vec![label.map(str::to_owned), value.map(str::to_owned)]
        };
        let mut one = Readings::default();
        give(&query, "one", &vec![row(Some("q\""), Some("1")), row(Some("q\""), Some("2"))], &mut one);
        let mut two = Readings::default();
        give(
            &query,
            "two",
            &vec![row(None, Some("3")), row(Some("n"), None), vec![], row(Some("m"), Some("x"))],
            &mut two,
        );
        one.merge(&two);
        let mut out = String::new();
        one.write(&mut out);
        let expected = "# HELP pg_x X.\n# TYPE pg_x gauge\npg_x{server=\"one\",a=\"q\\\"\"} 1\n\
                        pg_x{server=\"two\",a=\"\"} 3\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_server_that_is_not_there_is_down_and_its_password_is_not_said() {
        let server = Server {
            name: "main".into(),
            address: Address::parse("unix:/nowhere/at/all").unwrap(),
            user: "u".into(),
            password: Secret::new("hunter2"),
            database: "d".into(),
        };
        let mut client = Client::new(server);
        let mut out = String::new();
        client.read().write(&mut out);
        assert!(out.ends_with("\npg_up{server=\"main\"} 0\n"), "{out}");
        let said = format!("{client:?} {}", client.trouble.as_ref().unwrap());
        assert!(said.contains("/nowhere/at/all") && !said.contains("hunter2"), "{said}");
    }
}
