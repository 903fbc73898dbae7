//! Running a batch of plain reads on a replica, or on a connection to the
//! primary that is nobody's own. The batch stays in the client's buffer, and the answer is held back until its first row or completion: up to
//! then a replica that fails or refuses is replaced by another member, and the
//! client never knows.

use crate::backend::{Backend, StatementKey, cancel, statement_key};
use crate::flow::{Expect, Flow};
use crate::member::Lease;
use crate::primary::READ_AHEAD;
use crate::session::{Batch, End, Session};
use crate::wire::{HIGH_WATER, Moved, WHOLE, exchange, malformed};
use bytes::{Buf, BytesMut};
use database_route::session::{Broken, Prepared, Remedy, after_break};
use database_wire::backend::{self as reply, TransactionStatus};
use database_wire::error::sqlstate;
use database_wire::frame::{self, HEADER};
use database_wire::frontend::{self, Frontend, Target};
use database_wire::{Cut, ErrorFields, Malformed};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// What came of it.
pub(crate) enum Outcome {
    /// The client has its answer.
    Done,
    /// The replica's connection failed: another member may do.
    MemberLost,
    /// The replica answered with an error that may be its own: the primary decides.
    Refused,
}

/// A held-back answer longer than this is released.
const MAX_HELD: usize = HIGH_WATER;

/// A batch under way on a replica.
#[derive(Default)]
struct Read {
    flow: Flow,
    /// The answer so far, while the client has not seen any of it.
    held: Option<BytesMut>,
    /// An error is the answer.
    final_word: bool,
    /// The answer is an error that the primary shall judge: the rest of it is thrown away.
    refused: bool,
    /// The connection is not as it was: it must not be used again.
    spoilt: bool,
    /// Statements sent to be prepared and not confirmed.
    unconfirmed: Vec<StatementKey>,
}

impl Session {
    /// Runs the batch, which stays at the front of the client's input until its
    /// answer is released. `final_word`: an error is the answer, nobody else is asked.
    pub(crate) async fn run_held(
        &mut self,
        mut lease: Lease,
        batch: &Batch,
        final_word: bool,
    ) -> Result<Outcome, End> {
        let mut read = Read { held: Some(BytesMut::new()), final_word, ..Read::default() };
        self.write_held(&mut lease.backend, &mut read, batch.len)?;
        self.registration.runs_at(&lease.member.address, lease.backend.key).await;
        let began = Instant::now();
        let finished = self.pump_held(&mut lease.backend, &mut read, batch.len).await;
        self.shared.stats.ran(&lease.member.name, "read", batch.statements, began.elapsed());
        match finished {
            Ok(()) => {
                self.registration.runs_nowhere().await;
                for key in &read.unconfirmed {
                    lease.backend.prepared.remove(key);
                }
                if !read.spoilt {
                    lease.give_back();
                }
                Ok(if read.refused { Outcome::Refused } else { Outcome::Done })
            }
            Err(Stopped::Client) => {
                let _ = cancel(&lease.member.address, lease.backend.key).await;
                Err(End::Closed)
            }
            Err(Stopped::Member) => {
                self.registration.runs_nowhere().await;
                self.member_lost(&lease, &read)
            }
        }
    }

    fn member_lost(&mut self, lease: &Lease, read: &Read) -> Result<Outcome, End> {
        let broken = Broken {
            primary: false,
            in_flight: true,
            read_only: true,
            answered: read.held.is_none(),
            in_transaction: false,
            pinned: false,
        };
        if after_break(broken) == Remedy::RunElsewhere {
            return Ok(Outcome::MemberLost);
        }
        if lease.backend.wire.cutter.inside_message() || read.flow.fatal {
            return Err(End::Closed);
        }
        self.read_failed(&lease.member.name);
        Ok(Outcome::Done)
    }

    /// Writes the batch for the replica: statements under names of its connection's.
    fn write_held(&mut self, replica: &mut Backend, read: &mut Read, len: usize) -> Result<(), End> {
        let batch = self.client.input[..len].to_vec();
        let mut rest = &batch[..];
        let mut defined: HashMap<Vec<u8>, Arc<Prepared>> = HashMap::new();
        while let Some((tag, total)) = frame::header(rest)? {
            let (message, after) = rest.split_at(total.min(rest.len()));
            rest = after;
            match frontend::parse(tag, &message[HEADER..])? {
                Frontend::Parse { name, sql, types } => {
                    let verdict = self.shared.classify(sql);
                    let prepared = Arc::new(Prepared { sql: sql.into(), types: types.into(), verdict });
                    defined.insert(name.to_vec(), prepared.clone());
                    let (own, missing) = replica.name_of(&prepared);
                    if missing {
                        read.unconfirmed.push(statement_key(&prepared));
                        let out = &mut replica.wire.output;
                        frontend::parse_message(out, own.as_bytes(), sql, types);
                        read.flow.expect.push_back(Expect::Parse(name.into(), Some(prepared)));
                    } else {
                        read.flow.expect.push_back(Expect::GivenParse(name.into(), prepared));
                    }
                }
                Frontend::Bind { portal, statement, values } => {
                    let own = self.own_name(replica, read, &defined, statement)?;
                    frontend::bind(&mut replica.wire.output, portal, own.as_bytes(), values);
                    read.flow.expect.push_back(Expect::Bind);
                }
                Frontend::Describe(Target::Statement, name) => {
                    let own = self.own_name(replica, read, &defined, name)?;
                    frontend::describe(&mut replica.wire.output, Target::Statement, own.as_bytes());
                    read.flow.expect.push_back(Expect::Describe);
                }
                Frontend::Describe(Target::Portal, _) => {
                    replica.wire.output.extend_from_slice(message);
                    read.flow.expect.push_back(Expect::Describe);
                }
                Frontend::Close(Target::Statement, name) => {
                    // Ours stays for the next session. A close of a name that does not exist is answered
                    // as any other.
                    frontend::close(&mut replica.wire.output, Target::Statement, b"_bastide_none");
                    read.flow.expect.push_back(Expect::Close(Some(name.into())));
                }
                Frontend::Close(Target::Portal, _) => {
                    replica.wire.output.extend_from_slice(message);
                    read.flow.expect.push_back(Expect::Close(None));
                }
                Frontend::Execute { .. } => {
                    replica.wire.output.extend_from_slice(message);
                    read.flow.expect.push_back(Expect::Execute);
                }
                Frontend::Sync => {
                    replica.wire.output.extend_from_slice(message);
                    read.flow.expect.push_back(Expect::Sync);
                }
                Frontend::Query { .. } => {
                    replica.wire.output.extend_from_slice(message);
                    read.flow.expect.push_back(Expect::Query);
                }
                _ => return Err(End::Protocol(Malformed::Unexpected(tag))),
            }
        }
        read.flow.sent_end = true;
        Ok(())
    }

    /// The name of a client's statement on this connection; prepares it there if need be.
    fn own_name(
        &self,
        replica: &mut Backend,
        read: &mut Read,
        defined: &HashMap<Vec<u8>, Arc<Prepared>>,
        name: &[u8],
    ) -> Result<String, End> {
        let known = defined.get(name).or_else(|| self.state.statement(name)).cloned();
        // A batch with a statement that is not known is not routed here.
        let prepared = known.ok_or(End::Protocol(Malformed::Unexpected(b'B')))?;
        let (own, missing) = replica.name_of(&prepared);
        if missing {
            read.unconfirmed.push(statement_key(&prepared));
            let out = &mut replica.wire.output;
            frontend::parse_message(out, own.as_bytes(), &prepared.sql, &prepared.types);
            read.flow.expect.push_back(Expect::OurParse(name.into(), prepared));
        }
        Ok(own)
    }

    async fn pump_held(&mut self, replica: &mut Backend, read: &mut Read, len: usize) -> Result<(), Stopped> {
        loop {
            if self.digest_held(replica, read, len).map_err(|_| Stopped::Member)? {
                return Ok(());
            }
            if read.flow.fatal {
                return Err(Stopped::Member);
            }
            match exchange(&mut self.client, &mut replica.wire, len + READ_AHEAD).await {
                Moved::FromClient(Ok(1..)) | Moved::ToClient(Ok(_)) => {}
                Moved::FromClient(_) | Moved::ToClient(Err(_)) => return Err(Stopped::Client),
                Moved::FromMember(Ok(1..)) | Moved::ToMember(Ok(_)) => {}
                Moved::FromMember(_) | Moved::ToMember(Err(_)) => return Err(Stopped::Member),
            }
        }
    }

    /// Takes what the replica said; true once the batch is over.
    fn digest_held(&mut self, replica: &mut Backend, read: &mut Read, len: usize) -> io::Result<bool> {
        while self.client.output.len() < HIGH_WATER {
            self.given_answers(read);
            match replica.wire.cutter.cut(&replica.wire.input, WHOLE).map_err(malformed)? {
                Cut::Need(_) => break,
                Cut::Whole { tag, len: size } => {
                    let message = replica.wire.input.split_to(size);
                    if tag == b'Z' {
                        let status = reply::parse_ready(&message[HEADER..]).map_err(malformed)?;
                        read.spoilt |= status != TransactionStatus::Idle;
                        read.flow.ready();
                        if !read.refused {
                            self.release(read, len);
                            self.client.output.extend_from_slice(&message);
                        }
                        return Ok(true);
                    }
                    let passes = self.held_answer(read, tag, &message[HEADER..])?;
                    if passes && !read.refused {
                        self.pass(read, tag, &message, len);
                    }
                }
                Cut::Part { tag, len: size, first, .. } => {
                    if first {
                        self.held_answer(read, tag, &[])?;
                    }
                    let piece = replica.wire.input.split_to(size);
                    if !read.refused {
                        self.release(read, len);
                        self.client.output.extend_from_slice(&piece);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Gives the answers that are ours to give and whose turn it is.
    fn given_answers(&mut self, read: &mut Read) {
        while let Some(Expect::GivenParse(..)) = read.flow.expect.front() {
            if let Some(Expect::GivenParse(name, prepared)) = read.flow.expect.pop_front() {
                self.state.prepare(&name, prepared, false);
                let out = read.held.as_mut().unwrap_or(&mut self.client.output);
                out.extend_from_slice(&[b'1', 0, 0, 0, 4]);
            }
        }
    }

    /// Takes one answer into account; whether the client gets it.
    fn held_answer(&mut self, read: &mut Read, tag: u8, body: &[u8]) -> io::Result<bool> {
        let flow = &mut read.flow;
        match tag {
            b'1' => match flow.expect.pop_front() {
                Some(Expect::Parse(name, Some(prepared))) => {
                    read.unconfirmed.retain(|key| *key != statement_key(&prepared));
                    self.state.prepare(&name, prepared, false);
                }
                Some(Expect::OurParse(_, prepared)) => {
                    read.unconfirmed.retain(|key| *key != statement_key(&prepared));
                    return Ok(false);
                }
                _ => return Err(malformed(Malformed::Unexpected(tag))),
            },
            b'2' => drop(flow.expect.pop_front()),
            b'3' => {
                if let Some(Expect::Close(Some(name))) = flow.expect.pop_front() {
                    self.state.close(&name);
                }
            }
            b'T' | b'n' if matches!(flow.expect.front(), Some(Expect::Describe)) => {
                flow.expect.pop_front();
            }
            b'C' | b'I' | b's' if matches!(flow.expect.front(), Some(Expect::Execute)) => {
                flow.expect.pop_front();
            }
            // The primary's values hold for the session; a replica's are the same or its own.
            b'S' | b'A' => return Ok(false),
            b'G' | b'H' | b'W' => return Err(malformed(Malformed::Unexpected(tag))),
            b'E' => {
                let fields = ErrorFields::parse(body).unwrap_or_default();
                flow.fatal = matches!(fields.severity, b"FATAL" | b"PANIC");
                flow.skip_to_sync();
                // Cancelled by the client, or by its time limit: it shall hear so.
                let cancelled = fields.code == sqlstate::QUERY_CANCELED.as_bytes();
                let replaceable = flow.fatal || !(read.final_word || cancelled);
                read.refused = read.held.is_some() && replaceable;
                if !read.refused {
                    self.count_error(body);
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// Gives a message to the client, or holds it back with those before.
    fn pass(&mut self, read: &mut Read, tag: u8, message: &[u8], len: usize) {
        let decides = matches!(tag, b'D' | b'C' | b'I' | b's' | b'E');
        if let Some(held) = &mut read.held {
            held.extend_from_slice(message);
            if decides || held.len() > MAX_HELD {
                self.release(read, len);
            }
        } else {
            self.client.output.extend_from_slice(message);
        }
    }

    /// From here on the answer is the replica's: the batch leaves the client's input.
    fn release(&mut self, read: &mut Read, len: usize) {
        if let Some(held) = read.held.take() {
            if self.client.input.first() == Some(&b'Q') {
                self.state.close(b"");
            }
            self.client.input.advance(len);
            self.client.output.extend_from_slice(&held);
        }
    }
}

/// Why a batch stopped midway.
enum Stopped {
    /// The client left.
    Client,
    /// The replica's connection failed.
    Member,
}
