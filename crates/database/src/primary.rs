//! Running a batch on the primary: messages go on as they come, answers come
//! back as they are. What we add: statements that this connection does not have
//! are prepared first, and after a write its position is noted before the
//! client hears that it is done.

use crate::backend::{self, Backend};
use crate::flow::{Expect, Flow};
use crate::member::Lease;
use crate::session::{End, Session, unseen};
use crate::wire::{HIGH_WATER, Moved, WHOLE, exchange, malformed};
use bytes::BytesMut;
use database_route::Effect;
use database_route::session::{Broken, Prepared, Remedy, after_break};
use database_wire::backend::{self as reply, TransactionStatus};
use database_wire::error::sqlstate;
use database_wire::frame::{self, HEADER};
use database_wire::frontend::{self, Frontend, Target};
use database_wire::{Cut, ErrorFields, Malformed, Report};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The client is read ahead this far while its batch runs, so that its leaving is noticed.
pub(crate) const READ_AHEAD: usize = 2 * HIGH_WATER;

/// For the position after a write.
const POSITION_TIMEOUT: Duration = Duration::from_secs(5);

/// A message too long to be kept begins with its names: this much must be there.
const NAMES: usize = 4 * 1024;

/// Why a batch stopped midway.
pub(crate) enum Break {
    /// The client left.
    Client,
    /// The client broke the protocol.
    Protocol(Malformed),
    /// The member's connection failed.
    Member,
}

impl Session {
    /// Runs the batch at the front of the client's input. `kept` is a copy of a
    /// batch that was proved to be plain reads: should the primary go away before
    /// the client has seen anything, it is put back, and the answer is false.
    pub(crate) async fn run_on_primary(&mut self, kept: Option<BytesMut>) -> Result<bool, End> {
        let Some(mut lease) = self.primary.take() else { return Ok(false) };
        self.registration.runs_at(&lease.member.address, lease.backend.key).await;
        let mut flow = Flow { read_only: kept.is_some(), ..Flow::default() };
        let began = Instant::now();
        let outcome = self.pump(&mut lease.backend, &mut flow).await;
        let kind = if flow.read_only { "read" } else { "write" };
        self.shared.stats.ran(&lease.member.name, kind, flow.statements, began.elapsed());
        match outcome {
            Ok(status) => self.finish(lease, &flow, status).await.map(|()| true),
            Err(stopped) => self.stopped(lease, &flow, stopped, kept).await,
        }
    }

    /// The batch is over: note where its write ended, then tell the client.
    async fn finish(&mut self, mut lease: Lease, flow: &Flow, status: TransactionStatus) -> Result<(), End> {
        self.state.in_transaction = status != TransactionStatus::Idle;
        for verdict in &flow.verdicts {
            self.state.apply(verdict, flow.completed);
        }
        let mut keep = true;
        if status == TransactionStatus::Idle && !flow.read_only {
            let position = lease.backend.insert_position(POSITION_TIMEOUT).await;
            self.shared.note_write(&self.login, position.as_ref().ok().copied());
            // A refusal (a time limit of the session's) leaves the connection in order.
            keep = !matches!(position, Err(backend::Failure::Io(_)));
        }
        reply::ready(&mut self.client.output, status);
        self.primary = Some(lease);
        if keep { Ok(()) } else { self.lost_idle_primary().await }
    }

    /// The batch stopped midway. False where it is to run elsewhere.
    async fn stopped(
        &mut self,
        lease: Lease,
        flow: &Flow,
        stopped: Break,
        kept: Option<BytesMut>,
    ) -> Result<bool, End> {
        if !flow.read_only {
            self.shared.note_write(&self.login, None);
        }
        self.state.lost_primary();
        match stopped {
            Break::Client => {
                // Or it would work on for nobody.
                let _ = backend::cancel(&lease.member.address, lease.backend.key).await;
                return Err(End::Closed);
            }
            Break::Protocol(error) => return Err(End::Protocol(error)),
            Break::Member => self.registration.runs_nowhere().await,
        }
        let broken = Broken {
            primary: true,
            in_flight: true,
            read_only: flow.read_only,
            answered: flow.answered,
            in_transaction: self.state.in_transaction,
            pinned: self.state.pinned().is_some(),
        };
        let remedy = after_break(broken);
        if let (Remedy::RunElsewhere, Some(mut batch)) = (remedy, kept) {
            batch.unsplit(self.client.input.split());
            self.client.input = batch;
            return Ok(false);
        }
        if flow.fatal || lease.backend.wire.cutter.inside_message() {
            // It said why itself, or the client is in the middle of a message.
            return Err(End::Closed);
        }
        let member = &lease.member.name;
        match remedy {
            Remedy::EndUnknown => Err(End::Fatal(
                Report::fatal(
                    sqlstate::TRANSACTION_RESOLUTION_UNKNOWN,
                    format!(
                        "the primary `{member}` went away while a statement ran; \
                         whether it took effect is not known"
                    ),
                )
                .hint("connect again and look before you repeat it"),
            )),
            Remedy::FailStatement => {
                self.read_failed(member);
                Ok(true)
            }
            Remedy::RunElsewhere | Remedy::CarryOn | Remedy::EndLost => Err(End::Fatal(
                Report::fatal(
                    sqlstate::ADMIN_SHUTDOWN,
                    format!("the primary `{member}` went away, and with it this session's state"),
                )
                .hint("connect again"),
            )),
        }
    }

    /// A read of which the client has seen a part cannot be run again for it.
    pub(crate) fn read_failed(&mut self, member: &str) {
        let report = Report::error(
            sqlstate::CONNECTION_FAILURE,
            format!("`{member}` went away in the middle of an answer"),
        );
        self.shared.stats.error(&report.code[..2]);
        report.hint("ask again").write(&mut self.client.output);
        reply::ready(&mut self.client.output, TransactionStatus::Idle);
    }

    /// Moves bytes both ways until the batch is answered; gives the transaction status.
    async fn pump(&mut self, primary: &mut Backend, flow: &mut Flow) -> Result<TransactionStatus, Break> {
        loop {
            self.forward(primary, flow).map_err(Break::Protocol)?;
            if let Some(status) = self.digest(primary, flow).map_err(|_| Break::Member)? {
                return Ok(status);
            }
            if flow.fatal {
                return Err(Break::Member);
            }
            match exchange(&mut self.client, &mut primary.wire, READ_AHEAD).await {
                Moved::FromClient(Ok(1..)) | Moved::ToClient(Ok(_)) => {}
                Moved::FromClient(_) | Moved::ToClient(Err(_)) => return Err(Break::Client),
                Moved::FromMember(Ok(1..)) | Moved::ToMember(Ok(_)) => {}
                Moved::FromMember(_) => return Err(Break::Member),
                // It may have said why before it stopped listening: read on.
                Moved::ToMember(Err(_)) => primary.wire.output.clear(),
            }
        }
    }

    /// Takes messages of the batch from the client's input to the primary's output.
    fn forward(&mut self, primary: &mut Backend, flow: &mut Flow) -> Result<(), Malformed> {
        while (!flow.sent_end || flow.copying_in && !flow.copy_ended)
            && primary.wire.output.len() < HIGH_WATER
        {
            let long = !self.client.cutter.inside_message()
                && frame::header(&self.client.input)?.is_some_and(|(_, total)| total > WHOLE);
            if long && self.client.input.len() < NAMES {
                break;
            }
            match self.client.cutter.cut(&self.client.input, WHOLE)? {
                Cut::Need(_) => break,
                Cut::Whole { tag, len } => {
                    let message = self.client.input.split_to(len);
                    self.forward_message(primary, flow, tag, &message)?;
                }
                Cut::Part { tag, len, first, .. } => {
                    let piece = self.client.input.split_to(len);
                    if first {
                        self.begin_long(primary, flow, tag, &piece)?;
                    }
                    if !flow.dropping {
                        primary.wire.output.extend_from_slice(&piece);
                    }
                }
            }
        }
        Ok(())
    }

    fn forward_message(
        &mut self,
        primary: &mut Backend,
        flow: &mut Flow,
        tag: u8,
        message: &[u8],
    ) -> Result<(), Malformed> {
        if !frontend::is_known(tag) {
            return Err(Malformed::Unexpected(tag));
        }
        if flow.copying_in && !flow.copy_ended {
            // In COPY the member ignores `Sync` and `Flush` (manual 55.2.6): they are not passed on, so
            // that nobody has to count them.
            match tag {
                b'd' => {}
                b'c' | b'f' => flow.copy_ended = true,
                b'S' | b'H' => return Ok(()),
                other => return Err(Malformed::Unexpected(other)),
            }
            primary.wire.output.extend_from_slice(message);
            return Ok(());
        }
        match frontend::parse(tag, &message[HEADER..])? {
            // Left over from a COPY that failed.
            Frontend::CopyData | Frontend::CopyDone | Frontend::CopyFail => return Ok(()),
            Frontend::Query { sql } => {
                let verdict = self.shared.classify(sql);
                if let Effect::NeedsStatement { name, .. } = &verdict.effect {
                    self.prepare_first(primary, flow, name.as_bytes(), true);
                }
                self.state.close(b"");
                flow.statements += 1;
                flow.verdicts.push(verdict);
                flow.expect.push_back(Expect::Query);
                (flow.sent_end, flow.simple) = (true, true);
            }
            Frontend::FunctionCall => {
                flow.statements += 1;
                flow.verdicts.push(unseen());
                flow.expect.push_back(Expect::Query);
                (flow.sent_end, flow.simple) = (true, true);
            }
            Frontend::Parse { name, sql, types } => {
                let verdict = self.shared.classify(sql);
                flow.verdicts.push(verdict.clone());
                flow.parsed.insert(name.into());
                let prepared = Arc::new(Prepared { sql: sql.into(), types: types.into(), verdict });
                flow.expect.push_back(Expect::Parse(name.into(), Some(prepared)));
            }
            Frontend::Bind { statement, .. } => {
                self.prepare_first(primary, flow, statement, false);
                self.runs(flow, statement);
                flow.expect.push_back(Expect::Bind);
            }
            Frontend::Describe(target, name) => {
                if target == Target::Statement {
                    self.prepare_first(primary, flow, name, false);
                }
                flow.expect.push_back(Expect::Describe);
            }
            Frontend::Execute { .. } => {
                flow.statements += 1;
                flow.expect.push_back(Expect::Execute);
            }
            Frontend::Close(target, name) => {
                let statement = (target == Target::Statement).then(|| name.into());
                flow.expect.push_back(Expect::Close(statement));
            }
            Frontend::Sync => {
                flow.expect.push_back(Expect::Sync);
                flow.sent_end = true;
            }
            Frontend::Flush => {}
            Frontend::Terminate | Frontend::Password(_) => return Err(Malformed::Unexpected(tag)),
        }
        primary.wire.output.extend_from_slice(message);
        Ok(())
    }

    /// A bound statement's effect counts as if it had been sent now.
    fn runs(&self, flow: &mut Flow, statement: &[u8]) {
        let known = self.state.statement(statement).map(|p| p.verdict.clone());
        // Not known: prepared by SQL, where its functions were looked at, or just now, where it was counted.
        flow.verdicts.extend(known);
    }

    /// The first piece of a message too long to be kept.
    fn begin_long(
        &mut self,
        primary: &mut Backend,
        flow: &mut Flow,
        tag: u8,
        piece: &BytesMut,
    ) -> Result<(), Malformed> {
        flow.dropping = false;
        if flow.copying_in && !flow.copy_ended {
            return if tag == b'd' { Ok(()) } else { Err(Malformed::Unexpected(tag)) };
        }
        match tag {
            b'd' => flow.dropping = true,
            b'Q' | b'F' => {
                self.state.close(b"");
                flow.statements += 1;
                flow.verdicts.push(unseen());
                flow.expect.push_back(Expect::Query);
                (flow.sent_end, flow.simple) = (true, true);
            }
            b'P' => {
                let name = first_string(&piece[HEADER..])?;
                flow.verdicts.push(unseen());
                flow.parsed.insert(name.into());
                // Only this connection will have it.
                self.state.pin("too_long");
                flow.expect.push_back(Expect::Parse(name.into(), None));
            }
            b'B' => {
                let portal = first_string(&piece[HEADER..])?;
                let statement = first_string(&piece[HEADER + portal.len() + 1..])?;
                self.prepare_first(primary, flow, statement, false);
                self.runs(flow, statement);
                flow.expect.push_back(Expect::Bind);
            }
            other => return Err(Malformed::Unexpected(other)),
        }
        Ok(())
    }

    /// Prepares a statement on the primary's connection if only replicas have it.
    fn prepare_first(&mut self, primary: &mut Backend, flow: &mut Flow, name: &[u8], with_sync: bool) {
        if flow.parsed.contains(name) {
            return;
        }
        let Some(prepared) = self.state.missing_on_primary(name).cloned() else { return };
        let out = &mut primary.wire.output;
        frontend::parse_message(out, name, &prepared.sql, &prepared.types);
        flow.parsed.insert(name.into());
        flow.expect.push_back(Expect::OurParse(name.into(), prepared));
        if with_sync {
            frontend::sync(out);
            flow.expect.push_back(Expect::OurSync);
        }
    }

    /// Takes what the primary said to the client's output; the status once the batch is over.
    fn digest(&mut self, primary: &mut Backend, flow: &mut Flow) -> io::Result<Option<TransactionStatus>> {
        while self.client.output.len() < HIGH_WATER {
            match primary.wire.cutter.cut(&primary.wire.input, WHOLE).map_err(malformed)? {
                Cut::Need(_) => break,
                Cut::Whole { tag, len } => {
                    let message = primary.wire.input.split_to(len);
                    if tag == b'Z' {
                        let status = reply::parse_ready(&message[HEADER..]).map_err(malformed)?;
                        let ours = matches!(flow.ready(), Some(Expect::OurSync));
                        if flow.is_over() {
                            return Ok(Some(status));
                        }
                        if !ours {
                            self.client.output.extend_from_slice(&message);
                        }
                    } else if self.answer(flow, tag, &message[HEADER..])? {
                        flow.answered = true;
                        self.client.output.extend_from_slice(&message);
                    }
                }
                Cut::Part { tag, len, first, .. } => {
                    if first {
                        self.answer(flow, tag, &[])?;
                    }
                    flow.answered = true;
                    let piece = primary.wire.input.split_to(len);
                    self.client.output.extend_from_slice(&piece);
                }
            }
        }
        Ok(None)
    }

    /// Takes one answer into account; whether the client gets it. `body` is empty where it is too long.
    fn answer(&mut self, flow: &mut Flow, tag: u8, body: &[u8]) -> io::Result<bool> {
        match tag {
            b'1' => match flow.expect.pop_front() {
                Some(Expect::Parse(name, Some(prepared))) => self.state.prepare(&name, prepared, true),
                Some(Expect::Parse(name, None)) => self.state.close(&name),
                Some(Expect::OurParse(name, _)) => {
                    self.state.now_on_primary(&name);
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
            b'C' | b'I' | b's' => {
                flow.completed |= tag == b'C';
                (flow.copying_in, flow.copy_ended) = (false, false);
                if matches!(flow.expect.front(), Some(Expect::Execute)) {
                    flow.expect.pop_front();
                }
            }
            b'G' => self.copy_in_begins(flow),
            b'W' => return Err(malformed(Malformed::Unexpected(tag))),
            b'S' => {
                let (name, value) = reply::parse_parameter_status(body).map_err(malformed)?;
                let (name, value) = (name.to_vec(), value.to_vec());
                self.parameter_changed(&name, &value);
            }
            b'E' => {
                self.count_error(body);
                let fields = ErrorFields::parse(body).unwrap_or_default();
                flow.fatal = matches!(fields.severity, b"FATAL" | b"PANIC");
                let ours = matches!(flow.expect.front(), Some(Expect::OurParse(..)))
                    && flow.expect.iter().any(|e| matches!(e, Expect::OurSync));
                (flow.copying_in, flow.copy_ended) = (false, false);
                flow.skip_to_sync();
                // Its good-bye is not the answer to a read that another member can answer.
                let replaceable = flow.fatal && flow.read_only && !flow.answered;
                return Ok(!replaceable && (!ours || flow.fatal));
            }
            _ => {}
        }
        Ok(true)
    }

    /// `CopyInResponse`. A `Sync` that the client sent behind its `Execute` is
    /// read by the member as part of the COPY and ignored: the one that counts
    /// comes after the data.
    fn copy_in_begins(&self, flow: &mut Flow) {
        (flow.copying_in, flow.copy_ended) = (true, false);
        if !flow.simple && flow.sent_end {
            flow.sent_end = false;
            flow.expect.retain(|e| !matches!(e, Expect::Sync));
        }
    }
}

fn first_string(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let end = bytes.iter().position(|&b| b == 0).ok_or(Malformed::Truncated("name"))?;
    Ok(&bytes[..end])
}
