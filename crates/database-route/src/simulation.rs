//! A simulated cluster: a primary that writes, replicas that replay, lag, crash
//! and come back further behind, polls that arrive late, connections that
//! break. Whatever happens, no write reaches a replica and no login reads
//! behind its own writes.

use crate::class::classify;
use crate::member::{Candidate, Choice, Cluster, LagTracker, Reading, Role, choose, connection_sees, judge};
use crate::position::{Need, Positions};
use crate::session::{Route, Session};
use base::{Lsn, Millis};

/// splitmix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

struct Replica {
    replayed: u64,
    /// Where it comes back after a crash.
    durable: u64,
    paused: bool,
    incarnation: u32,
    reading: Option<Reading>,
    /// A connection of the pool: opened at, position then, incarnation.
    connection: Option<(u64, Lsn, u32)>,
}

struct World {
    chance: Chance,
    now_ms: u64,
    written: u64,
    primary_up: bool,
    replicas: Vec<Replica>,
    positions: Positions,
    lag: LagTracker,
    cluster: Cluster,
    polls_begun: u64,
    /// For each login, the true position of its last write.
    truth: Vec<u64>,
    reads_on_replicas: u32,
}

const LOGINS: [&str; 3] = ["shop", "report", "admin"];

impl World {
    fn new(seed: u64) -> Self {
        let replica = || Replica {
            replayed: 0,
            durable: 0,
            paused: false,
            incarnation: 0,
            reading: None,
            connection: None,
        };
        Self {
            chance: Chance(seed),
            now_ms: 1,
            written: 0,
            primary_up: true,
            replicas: vec![replica(), replica()],
            positions: Positions::default(),
            lag: LagTracker::default(),
            cluster: Cluster::default(),
            polls_begun: 0,
            truth: vec![0; LOGINS.len()],
            reads_on_replicas: 0,
        }
    }

    fn step(&mut self, seed: u64) {
        self.now_ms += self.chance.below(30);
        let which = self.chance.below(self.replicas.len() as u64) as usize;
        let login = self.chance.below(LOGINS.len() as u64) as usize;
        match self.chance.below(20) {
            0..=3 => self.write(login),
            4..=6 => self.replay(which),
            7..=8 => self.poll_primary(),
            9..=10 => self.poll_replica(which),
            11 => self.replicas[which].paused = self.chance.below(2) == 0,
            12 => self.crash(which),
            13 => self.primary_up = self.chance.below(4) > 0,
            14 if self.chance.below(20) == 0 => self.restart_router(),
            _ => self.read(login, seed),
        }
    }

    fn write(&mut self, login: usize) {
        if !self.primary_up {
            return;
        }
        self.written += 1 + self.chance.below(5);
        self.truth[login] = self.written;
        if self.chance.below(10) == 0 {
            // The connection broke between the commit and the question for the position.
            self.positions.note_unknown(LOGINS[login], self.polls_begun);
        } else {
            // Others write between the commit and the question.
            let after = self.written + self.chance.below(3);
            self.written = after;
            self.positions.note(LOGINS[login], Lsn(after));
        }
    }

    fn replay(&mut self, which: usize) {
        let room = self.written - self.replicas[which].replayed;
        if !self.replicas[which].paused && room > 0 {
            self.replicas[which].replayed += 1 + self.chance.below(room);
            let back = self.chance.below(6);
            let replica = &mut self.replicas[which];
            replica.durable = replica.durable.max(replica.replayed.saturating_sub(back));
        }
    }

    fn crash(&mut self, which: usize) {
        let replica = &mut self.replicas[which];
        replica.replayed = replica.durable;
        replica.incarnation += 1;
        // The monitor does not know yet: its last reading stays.
    }

    fn poll_primary(&mut self) {
        self.polls_begun += 1;
        if self.primary_up {
            let lsn = Lsn(self.written);
            let reading = Reading { asked_ms: self.now_ms, in_recovery: false, lsn, timeline: 1, system: 1 };
            assert_eq!(judge(Role::Primary, &reading, &self.cluster), Ok(()));
            self.cluster.learn(&reading);
            self.lag.primary_at(self.now_ms, lsn);
            self.positions.settle(self.polls_begun, lsn);
        }
    }

    fn poll_replica(&mut self, which: usize) {
        let replica = &mut self.replicas[which];
        let lsn = Lsn(replica.replayed);
        replica.reading =
            Some(Reading { asked_ms: self.now_ms, in_recovery: true, lsn, timeline: 1, system: 1 });
    }

    /// A router that was killed knows nothing when it is back.
    fn restart_router(&mut self) {
        self.positions = Positions::default();
        self.lag = LagTracker::default();
        self.cluster = Cluster::default();
        for replica in &mut self.replicas {
            (replica.reading, replica.connection) = (None, None);
        }
    }

    fn read(&mut self, login: usize, seed: u64) {
        let need = self.positions.need(LOGINS[login]);
        let candidates: Vec<Candidate> = self
            .replicas
            .iter()
            .map(|r| Candidate {
                up: r.reading.is_some(),
                lag: r.reading.map_or(Millis(0), |reading| self.lag.lag(reading.lsn)),
                replayed: r.reading.map_or(Lsn(0), |reading| reading.lsn),
                active: 0,
            })
            .collect();
        let turn = self.chance.below(7) as usize;
        let Choice::Replica(which) = choose(need, &candidates, Millis(500), turn) else { return };
        let Need::At(position) = need else {
            panic!("seed {seed}: a replica was chosen for an unknown need")
        };

        let replica = &mut self.replicas[which];
        // A connection whose server crashed since is broken: a new one asks where it is.
        if replica.connection.is_none_or(|(_, _, incarnation)| incarnation != replica.incarnation) {
            replica.connection = Some((self.now_ms, Lsn(replica.replayed), replica.incarnation));
        }
        let Some((opened, at_opening, _)) = replica.connection else { return };
        if connection_sees(opened, at_opening, replica.reading.as_ref()) < position {
            return; // to the primary
        }
        assert!(
            replica.replayed >= self.truth[login],
            "seed {seed}: `{}` reads at {} behind its write at {}",
            LOGINS[login],
            replica.replayed,
            self.truth[login]
        );
        self.reads_on_replicas += 1;
    }
}

#[test]
fn no_login_reads_behind_its_own_writes() {
    let mut reads = 0;
    for seed in 0..500 {
        let mut world = World::new(seed);
        for _ in 0..1_000 {
            world.step(seed);
        }
        reads += world.reads_on_replicas;
    }
    assert!(reads > 10_000, "only {reads} reads reached replicas: the simulation proves little");
}

#[test]
fn no_write_and_no_statement_of_a_transaction_is_routed_to_a_replica() {
    let reads = ["select 1", "select count(*) from t", "table t"].map(classify);
    let others = [
        "insert into t values (1)",
        "select nextval('s')",
        "begin",
        "set a.b = 1",
        "select f()",
        "select 1; select 2",
        "create temp table x (a int)",
    ]
    .map(classify);
    for seed in 0..2_000 {
        let mut chance = Chance(seed);
        let mut session = Session::default();
        let mut pinned = false;
        for _ in 0..50 {
            session.in_transaction = chance.below(4) == 0;
            let batch: Vec<_> = (0..1 + chance.below(3))
                .map(|_| {
                    let list = if chance.below(4) == 0 { &others[..] } else { &reads[..] };
                    list[chance.below(list.len() as u64) as usize].clone()
                })
                .collect();
            let opaque = chance.below(8) == 0;
            if session.route(&batch, opaque) == Route::Read {
                let allowed =
                    !session.in_transaction && !pinned && !opaque && batch.iter().all(|v| v.is_read());
                assert!(allowed, "seed {seed}: {batch:?}");
            } else {
                for verdict in &batch {
                    session.apply(verdict, true);
                    pinned |= verdict.effect == crate::Effect::Pin;
                }
            }
        }
    }
}
