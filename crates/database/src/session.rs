//! A client's session: reads its batches, decides where each goes, and sees it
//! through. Running a batch is in `primary.rs` and `held.rs`.

use crate::backend::Parameters;
use crate::cancel::Registration;
use crate::client::away_message;
use crate::held::Outcome;
use crate::member::Lease;
use crate::shared::{ReadFrom, Shared};
use crate::wire::{WHOLE, Wire, within};
use base::Secret;
use bytes::{Buf, BytesMut};
use database_route::session::{Prepared, Route, Session as State};
use database_route::{Class, Effect, Reason, Verdict};
use database_wire::backend::{self, TransactionStatus};
use database_wire::error::sqlstate;
use database_wire::frame::{self, HEADER};
use database_wire::frontend::{self, Frontend, Target};
use database_wire::{ErrorFields, Malformed, Report};
use role::Shutdown;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A batch longer than this is passed on as it comes, to the primary.
const MAX_BATCH: usize = 2 * WHOLE;

/// For making a connection as new.
const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a session ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client said good-bye or left, or has been told why.
    Closed,
    /// The client broke the protocol.
    Protocol(Malformed),
    /// The session cannot go on.
    Fatal(Report),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Protocol(error)
    }
}

/// What the client sent up to a `Sync`, or one `Query`.
#[derive(Default)]
pub(crate) struct Batch {
    /// Bytes at the front of the client's input that are looked through.
    pub(crate) len: usize,
    /// What its statements are.
    pub(crate) verdicts: Vec<Arc<Verdict>>,
    /// Statements that it runs.
    pub(crate) statements: u64,
    /// It cannot be judged, or not be kept, as a whole.
    opaque: bool,
    /// `len` reaches to its end.
    complete: bool,
    /// It is a lone `Sync`.
    only_sync: bool,
    /// Statements prepared and closed in it, by name.
    defined: HashMap<Box<[u8]>, Option<Arc<Prepared>>>,
}

/// What looking through the input came to.
enum Scan {
    /// The batch is not complete yet.
    More,
    /// It can be routed.
    Batch,
    /// The client ends the session.
    GoodBye,
}

/// A client's session.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) client: Wire,
    pub(crate) login: String,
    password: Secret,
    parameters: Parameters,
    pub(crate) registration: Registration,
    shutdown: Shutdown,
    pub(crate) state: State,
    pub(crate) primary: Option<Lease>,
    /// After an error that we sent: messages up to `Sync` are not answered.
    skipping: bool,
    /// Bytes of a message still to come that nobody wants.
    dropping: usize,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        client: Wire,
        login: String,
        password: Secret,
        parameters: Parameters,
        registration: Registration,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            shared,
            client,
            login,
            password,
            parameters,
            registration,
            shutdown,
            state: State::default(),
            primary: None,
            skipping: false,
            dropping: 0,
        }
    }

    /// Runs until the client leaves or the session cannot go on.
    pub(crate) async fn run(mut self) {
        let end = loop {
            let batch = match self.next_batch().await {
                Ok(batch) => batch,
                Err(end) => break end,
            };
            if let Err(end) = self.execute(batch).await {
                break end;
            }
        };
        let report = match end {
            End::Closed => None,
            End::Protocol(error) => {
                self.shared.stats.client_result("protocol_error");
                Some(Report::fatal(sqlstate::PROTOCOL_VIOLATION, error.to_string()))
            }
            End::Fatal(report) => Some(report),
        };
        if let Some(report) = report {
            self.shared.stats.error(&report.code[..2]);
            report.write(&mut self.client.output);
        }
        let _ = within(Duration::from_secs(2), self.client.flush()).await;
        self.registration.runs_nowhere().await;
        if let Some(mut lease) = self.primary.take() {
            // One that cannot be made as new is closed.
            if lease.backend.reset(self.state.in_transaction, RESET_TIMEOUT).await.is_ok() {
                lease.give_back();
            }
        }
    }

    /// Sends what there is to send and waits for a batch.
    async fn next_batch(&mut self) -> Result<Batch, End> {
        let mut batch = Batch::default();
        loop {
            match self.scan(&mut batch)? {
                Scan::Batch => return Ok(batch),
                Scan::GoodBye => return Err(End::Closed),
                Scan::More => {}
            }
            self.client.flush().await?;
            if batch.len == 0 && !self.state.in_transaction && self.shutdown.is_draining() {
                return Err(End::Fatal(
                    Report::fatal(sqlstate::ADMIN_SHUTDOWN, "the database router is ending")
                        .hint("connect again"),
                ));
            }
            let idle = batch.len == 0 && !self.state.in_transaction;
            tokio::select! {
                received = self.client.fill() => if received? == 0 { return Err(End::Closed) },
                said = wait_for_primary(&mut self.primary) => self.primary_said(said).await?,
                () = self.shutdown.wait(), if idle && !self.shutdown.is_draining() => {}
            }
        }
    }

    /// The primary's connection said something on its own: a notification, a
    /// changed parameter, or that it ends.
    async fn primary_said(&mut self, said: io::Result<usize>) -> Result<(), End> {
        let mut lost = !said.is_ok_and(|n| n > 0);
        if let Some(lease) = &mut self.primary {
            let input = &mut lease.backend.wire.input;
            while let Ok(Some((tag, total))) = frame::header(input) {
                if total > WHOLE {
                    lost = true;
                    break;
                }
                if input.len() < total {
                    break;
                }
                let message = input.split_to(total);
                // Its last words; the session may outlive it.
                if tag == b'E' {
                    lost = true;
                } else {
                    self.client.output.extend_from_slice(&message);
                }
            }
        }
        if lost { self.lost_idle_primary().await } else { Ok(()) }
    }

    /// The primary's connection ended while nothing ran on it.
    pub(crate) async fn lost_idle_primary(&mut self) -> Result<(), End> {
        use database_route::session::{Broken, Remedy, after_break};
        self.primary = None;
        self.registration.runs_nowhere().await;
        self.state.lost_primary();
        let broken = Broken {
            primary: true,
            in_flight: false,
            read_only: false,
            answered: false,
            in_transaction: self.state.in_transaction,
            pinned: self.state.pinned().is_some(),
        };
        match after_break(broken) {
            Remedy::CarryOn => Ok(()),
            _ => Err(End::Fatal(
                Report::fatal(
                    sqlstate::ADMIN_SHUTDOWN,
                    "the primary closed the connection that held this session's state",
                )
                .hint("connect again"),
            )),
        }
    }

    /// Looks through the client's input.
    fn scan(&mut self, batch: &mut Batch) -> Result<Scan, Malformed> {
        loop {
            if self.dropping > 0 {
                let count = self.dropping.min(self.client.input.len());
                self.client.input.advance(count);
                self.dropping -= count;
                if self.dropping > 0 {
                    return Ok(Scan::More);
                }
            }
            let rest = &self.client.input[batch.len..];
            let Some((tag, total)) = frame::header(rest)? else { return Ok(Scan::More) };
            if !frontend::is_known(tag) {
                return Err(Malformed::Unexpected(tag));
            }
            let stray_copy = matches!(tag, b'd' | b'c' | b'f');
            let skip = self.skipping && tag != b'S' && tag != b'X';
            if batch.len == 0 && (stray_copy || skip) {
                // The rest of a COPY, or of a batch, that failed (manual 55.2.6, 55.2.3).
                self.dropping = total;
                continue;
            }
            if stray_copy || total > WHOLE || batch.len + total > MAX_BATCH {
                batch.opaque = true;
                return Ok(Scan::Batch);
            }
            if rest.len() < total {
                return Ok(Scan::More);
            }
            let message = frontend::parse(tag, &rest[HEADER..total])?;
            if message == Frontend::Terminate {
                return Ok(Scan::GoodBye);
            }
            let ready = look(&self.state, &self.shared, batch, message);
            batch.len += total;
            if ready {
                return Ok(Scan::Batch);
            }
        }
    }

    /// Routes a batch and sees it through.
    async fn execute(&mut self, batch: Batch) -> Result<(), End> {
        if batch.only_sync && (self.skipping || self.primary.is_none()) {
            // Nothing to end: `Sync` is also how some clients ask whether we live.
            self.skipping = false;
            self.client.input.advance(batch.len);
            backend::ready(&mut self.client.output, TransactionStatus::Idle);
            return Ok(());
        }
        let route = self.state.route(batch.verdicts.iter().map(|v| &**v), batch.opaque);
        let Route::Primary(reason) = route else { return self.execute_read(&batch).await };
        self.shared.stats.routed("primary", reason);
        self.execute_on_primary(&batch).await
    }

    /// A batch of plain reads: on a replica, or else on the primary. A member
    /// that goes away before the client has seen anything is replaced by another.
    async fn execute_read(&mut self, batch: &Batch) -> Result<(), End> {
        let shared = self.shared.clone();
        let attempts = shared.config.load().members.len() + 2;
        for _ in 0..attempts {
            let reason = match shared.read_from(&self.login, &self.parameters, &self.password).await {
                ReadFrom::Primary(why) => why,
                ReadFrom::Replica(lease) => {
                    // Without the primary, what a replica says is all there is.
                    let final_word = !shared.config.load().primary().state().up;
                    match Box::pin(self.run_held(*lease, batch, final_word)).await? {
                        Outcome::Done => {
                            shared.stats.routed("replica", "read");
                            return Ok(());
                        }
                        Outcome::MemberLost => continue,
                        Outcome::Refused => "retry",
                    }
                }
            };
            shared.stats.routed("primary", reason);
            if self.read_on_primary(batch).await? {
                return Ok(());
            }
        }
        let report =
            Report::error(sqlstate::CONNECTION_FAILURE, "one member after the other went away during a read");
        shared.stats.error(&report.code[..2]);
        report.hint("see `bastide status`").write(&mut self.client.output);
        self.give_up(batch);
        Ok(())
    }

    /// A batch of plain reads on the primary: on the session's own connection
    /// where it has one, else on any. False where the primary went away, and
    /// nobody has seen anything of it.
    async fn read_on_primary(&mut self, batch: &Batch) -> Result<bool, End> {
        if self.primary.is_some() {
            let kept = BytesMut::from(&self.client.input[..batch.len]);
            return Box::pin(self.run_on_primary(Some(kept))).await;
        }
        let Some(lease) = self.lease_primary(batch).await? else { return Ok(true) };
        let outcome = Box::pin(self.run_held(lease, batch, true)).await?;
        Ok(matches!(outcome, Outcome::Done))
    }

    async fn execute_on_primary(&mut self, batch: &Batch) -> Result<(), End> {
        if self.primary.is_none() {
            let Some(lease) = self.lease_primary(batch).await? else { return Ok(()) };
            self.state.lost_primary();
            self.primary = Some(lease);
        }
        Box::pin(self.run_on_primary(None)).await.map(|_| ())
    }

    /// A connection to the primary; none where the client was told why there is none.
    async fn lease_primary(&mut self, batch: &Batch) -> Result<Option<Lease>, End> {
        let shared = self.shared.clone();
        let waiting = shared.primary(&self.parameters, &self.password);
        let leased = tokio::select! {
            leased = waiting => leased,
            // The client may leave meanwhile; what it sends meanwhile waits.
            () = client_left(&mut self.client) => return Err(End::Closed),
        };
        match leased {
            Ok(lease) => Ok(Some(lease)),
            Err(away) => {
                let message = away_message(&shared, &away, false);
                self.client.output.extend_from_slice(&message);
                self.give_up(batch);
                Ok(None)
            }
        }
    }

    /// After an error of ours for a whole batch: what it ends with is `ReadyForQuery`.
    fn give_up(&mut self, batch: &Batch) {
        let first = self.client.input.first().copied();
        if batch.complete {
            self.client.input.advance(batch.len);
        } else if matches!(first, Some(b'Q' | b'F')) {
            // A single message, too long to be looked at.
            if let Ok(Some((_, total))) = frame::header(&self.client.input) {
                self.dropping = total;
            }
        } else {
            self.skipping = true;
            return;
        }
        backend::ready(&mut self.client.output, TransactionStatus::Idle);
    }

    /// A parameter's value as the member reports it: our reading of statements
    /// assumes UTF-8 and standard strings.
    pub(crate) fn parameter_changed(&mut self, name: &[u8], value: &[u8]) {
        let understood = match name {
            b"client_encoding" => value == b"UTF8",
            b"standard_conforming_strings" => value == b"on",
            _ => true,
        };
        if !understood {
            self.state.pin("encoding");
        }
    }

    /// Counts an error on its way to the client.
    pub(crate) fn count_error(&self, body: &[u8]) {
        self.shared.stats.error(ErrorFields::parse(body).map_or("??", |fields| fields.class()));
    }
}

/// Takes one message of a batch into account; true where the batch can be routed now.
fn look(state: &State, shared: &Shared, batch: &mut Batch, message: Frontend<'_>) -> bool {
    let opaque = |batch: &mut Batch| {
        batch.opaque = true;
        true
    };
    match message {
        Frontend::Query { .. } if batch.len > 0 => return opaque(batch),
        Frontend::Query { sql } => {
            batch.verdicts.push(shared.classify(sql));
            batch.statements += 1;
            batch.complete = true;
            return true;
        }
        Frontend::Parse { name, sql, types } => {
            let verdict = shared.classify(sql);
            batch.verdicts.push(verdict.clone());
            let prepared = Prepared { sql: sql.into(), types: types.into(), verdict };
            batch.defined.insert(name.into(), Some(Arc::new(prepared)));
        }
        Frontend::Bind { statement, .. } | Frontend::Describe(Target::Statement, statement) => {
            let defined = batch.defined.get(statement).cloned();
            match defined.unwrap_or_else(|| state.statement(statement).cloned()) {
                Some(prepared) => batch.verdicts.push(prepared.verdict.clone()),
                // Prepared by SQL, or not at all: the primary knows.
                None => batch.opaque = true,
            }
        }
        Frontend::Close(Target::Statement, name) => {
            batch.defined.insert(name.into(), None);
        }
        Frontend::Execute { .. } => batch.statements += 1,
        Frontend::Describe(..) | Frontend::Close(..) => {}
        Frontend::Sync => {
            batch.only_sync = batch.len == 0;
            batch.complete = true;
            return true;
        }
        Frontend::Flush | Frontend::FunctionCall => return opaque(batch),
        // `scan` does not give these here.
        Frontend::Terminate
        | Frontend::CopyData
        | Frontend::CopyDone
        | Frontend::CopyFail
        | Frontend::Password(_) => return opaque(batch),
    }
    false
}

/// Waits until the primary's connection says something or ends; for ever where there is none.
async fn wait_for_primary(primary: &mut Option<Lease>) -> io::Result<usize> {
    match primary {
        Some(lease) => lease.backend.wire.fill().await,
        None => std::future::pending().await,
    }
}

/// Waits until the client has left, keeping what it sends up to a bound.
async fn client_left(client: &mut Wire) {
    while client.input.len() < MAX_BATCH + WHOLE {
        match client.fill().await {
            Ok(1..) => {}
            _ => return,
        }
    }
    std::future::pending().await
}

/// The verdict on what could not be looked at: it may have done anything.
pub(crate) fn unseen() -> Arc<Verdict> {
    Arc::new(Verdict { class: Class::Write, reason: Reason::TooLong, effect: Effect::Pin })
}
