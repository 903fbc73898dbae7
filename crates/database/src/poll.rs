//! The monitor of members: one task a member asks it, a few times a second,
//! what it is and how far it has got.

use crate::backend::{Backend, Failure, Parameters};
use crate::member::Member;
use crate::shared::{Shared, lock};
use base::events::Event;
use base::{Lsn, Millis};
use database_route::member::{Reading, Role, judge};
use role::Events;
use site::MemberRole;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Between two questions, when nothing presses.
const INTERVAL: Duration = Duration::from_millis(300);
/// After a write, replicas are asked this often until they have replayed it …
const EAGER: Duration = Duration::from_millis(5);
/// For an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Columns: recovery, position, received, timeline, system identifier. A primary
/// names its timeline in its log's file name; `pg_control_checkpoint` would lag.
const QUESTION: &str = "SELECT pg_is_in_recovery(), \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END, \
    CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint()) \
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END, \
    (SELECT system_identifier FROM pg_control_system())";

/// Watches `member` until `shared` no longer has it.
pub(crate) async fn watch(shared: Arc<Shared>, member: Arc<Member>, events: Events) {
    let mut connection: Option<Backend> = None;
    let mut pause = INTERVAL;
    let mut before = Lsn(0);
    loop {
        let config = shared.config.load_full();
        if !config.members.iter().any(|m| Arc::ptr_eq(m, &member)) {
            member.close_idle(true);
            if !config.members.iter().any(|m| m.name == member.name) {
                shared.stats.forget_member(&member.name);
            }
            return;
        }
        let poll = match member.role {
            MemberRole::Primary => shared.polls_begun.fetch_add(1, Relaxed) + 1,
            MemberRole::Replica => 0,
        };
        let answer = ask(&mut connection, &member, &config.site.monitor).await;
        if answer.is_err() {
            connection = None;
        }
        let reading = answer.as_ref().ok().map(|(reading, _)| *reading);
        observe(&shared, &member, &events, poll, answer);
        member.close_idle(false);
        let (active, idle) = member.connections();
        shared.stats.backends(&member.name, active, idle);
        pause = next_pause(&shared, &member, reading, &mut before, pause).await;
    }
}

/// Waits until the next question is due, and gives the pause to start from then.
/// A replica that has not replayed what was written is asked soon, and sooner
/// again while it advances; one that stands still less and less often.
async fn next_pause(
    shared: &Shared,
    member: &Member,
    reading: Option<Reading>,
    before: &mut Lsn,
    last: Duration,
) -> Duration {
    let position = reading.map_or(Lsn(0), |r| r.lsn);
    let advanced = position > std::mem::replace(before, position);
    let behind = reading.is_some_and(|r| r.in_recovery && r.lsn < shared.highest_written());
    let wrote = shared.wrote.notified();
    if behind {
        let pause = if advanced { EAGER } else { (last * 2).clamp(EAGER, INTERVAL) };
        tokio::time::sleep(pause).await;
        return pause;
    }
    if member.role == MemberRole::Replica && reading.is_some() {
        // Caught up: the next write is worth a look at once, but not more often than this.
        tokio::time::sleep(EAGER).await;
        let _ = tokio::time::timeout(INTERVAL, wrote).await;
        return EAGER;
    }
    tokio::time::sleep(INTERVAL).await;
    INTERVAL
}

async fn ask(
    connection: &mut Option<Backend>,
    member: &Member,
    login: &site::User,
) -> Result<(Reading, Option<Lsn>), Failure> {
    if connection.is_none() {
        let parameters: Parameters = [
            ("user".to_owned(), login.name.clone()),
            ("database".to_owned(), login.database.clone()),
            ("application_name".to_owned(), "bastide monitor".to_owned()),
        ]
        .into();
        *connection = Some(Backend::open(&member.address, &parameters, &login.password).await?);
    }
    let Some(backend) = connection else {
        return Err(Failure::Io(std::io::ErrorKind::NotConnected.into()));
    };
    let asked_ms = sys::clock::monotonic_ms();
    let row = backend.ask(QUESTION, TIMEOUT).await?;
    read(&row, asked_ms)
        .ok_or_else(|| Failure::Io(std::io::Error::other(format!("its answer cannot be read: {row:?}"))))
}

fn read(row: &[Option<String>], asked_ms: u64) -> Option<(Reading, Option<Lsn>)> {
    let [in_recovery, lsn, received, timeline, system] = row else { return None };
    let reading = Reading {
        asked_ms,
        in_recovery: in_recovery.as_deref()? == "t",
        lsn: lsn.as_deref().and_then(Lsn::parse).unwrap_or_default(),
        timeline: timeline.as_deref()?.parse().ok()?,
        // It is an unsigned number that PostgreSQL shows as a signed one.
        system: system.as_deref()?.parse::<i64>().ok()? as u64,
    };
    Some((reading, received.as_deref().and_then(Lsn::parse)))
}

/// Takes an answer, or its absence, into the state, the metrics and the event log.
fn observe(
    shared: &Shared,
    member: &Member,
    events: &Events,
    poll: u64,
    answer: Result<(Reading, Option<Lsn>), Failure>,
) {
    let role = match member.role {
        MemberRole::Primary => Role::Primary,
        MemberRole::Replica => Role::Replica,
    };
    let judged = match &answer {
        Ok((reading, _)) => {
            let mut cluster = lock(&shared.cluster);
            let judged = judge(role, reading, &cluster);
            if judged.is_ok() && role == Role::Primary {
                cluster.learn(reading);
                lock(&shared.lag).primary_at(reading.asked_ms, reading.lsn);
                shared.settle(poll, reading.lsn);
            }
            judged
        }
        Err(failure) => Err(failure.to_string()),
    };
    let reading = answer.as_ref().ok().map(|(reading, _)| *reading);
    let (lag, lag_bytes) = match (role, reading) {
        (Role::Replica, Some(reading)) => {
            let tracker = lock(&shared.lag);
            (tracker.lag(reading.lsn), tracker.highest().0.saturating_sub(reading.lsn.0))
        }
        _ => (Millis(0), 0),
    };
    let max_lag = shared.config.load().settings().max_lag;
    let why = match &judged {
        Ok(()) if lag > max_lag => format!("it is {lag} behind, more than `max_lag` ({max_lag}): no reads"),
        Ok(()) => "it answers".to_owned(),
        Err(why) => why.clone(),
    };
    let takes_work = judged.is_ok() && lag <= max_lag;

    let mut state = member.state();
    let first = state.why == crate::member::NOT_ASKED;
    let changed = first || state.up != judged.is_ok() || (state.lag > max_lag) != (lag > max_lag);
    let advanced = state.reading.map(|r| r.lsn) != reading.map(|r| r.lsn);
    if changed {
        state.since_ms = sys::clock::now_ms();
    }
    state.up = judged.is_ok();
    state.reading = reading;
    state.received = answer.ok().and_then(|(_, received)| received);
    state.why.clone_from(&why);
    (state.lag, state.lag_bytes) = (lag, lag_bytes);
    drop(state);

    shared.stats.member(&member.name, member.role.as_str(), judged.is_ok());
    if role == Role::Replica && reading.is_some() {
        shared.stats.lag(&member.name, lag.as_secs_f64(), lag_bytes);
    }
    if changed {
        shared.forget_greetings();
        events.emit(Event::MemberHealth {
            database: shared.name.clone(),
            member: member.name.clone(),
            up: takes_work,
            why,
            lsn: reading.map(|r| r.lsn),
        });
    }
    if changed || advanced {
        shared.members_changed();
    }
}
