//! The audit log: what `SecAudit…` and `ctl:audit…` ask to be kept of a transaction,
//! in ModSecurity v3's formats, so that what reads its logs reads these.
//!
//! It never writes: a [`Record`] says what is to be written where. Nothing is kept of
//! a transaction where no rule and no directive can turn the log on; where one can,
//! its body is copied, up to the limits of inspection. Values that a rule sanitises
//! and those with names of secrets are masked with `*`, byte for byte.
//!
//! Sources: ModSecurity Reference Manual v3, `SecAuditLogParts` and the directives
//! around it; the layout of lines and keys as libmodsecurity 3.0 writes them. Where
//! that leaves a part of the manual out (I, J, K), it is as the manual says.

mod json;
mod line;
mod mask;
mod native;
mod places;
mod rule;
mod text;

use crate::engine::Engine;
use crate::expression::Expression;
use crate::program::{Effect, Program, Rule};
use crate::state::State;
use crate::transaction::{Connection, Outside, Verdict};
use base::events::RuleMatch;
pub use line::{LogContext, error_log_line};
use mask::Masks;
use std::net::IpAddr;
use waf_lang::model::{self, AuditMode, Control, EngineMode, PartsChange, Variable as V};
use waf_text::Transformation;

/// One transaction, for the audit log.
///
/// With `SecAuditLogType Serial`, or none, `text` is appended to the file of
/// `SecAuditLog` ([`Engine::audit`] has its name). With `Concurrent`, `text` is the
/// content of a file of its own below `SecAuditLogStorageDir`, and a line about it is
/// appended to `SecAuditLog`, where that is given: see [`Concurrent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The transaction's name.
    pub id: String,
    /// The whole entry, in the format that `SecAuditLogFormat` asks for, with its last
    /// line's end.
    pub text: String,
    /// Where it goes if it has a file of its own.
    pub concurrent: Option<Concurrent>,
    /// `SecAuditLogFileMode`: of files that are made; 0600 where it is not said.
    pub file_mode: u32,
    /// `SecAuditLogDirMode`: of folders that are made; 0700 where it is not said.
    pub dir_mode: u32,
}

/// `SecAuditLogType Concurrent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrent {
    /// The file, from the storage folder: `20261123/20261123-1008/20261123-100819-ID`,
    /// in UTC. It has no part but these three, whatever the transaction is called.
    pub file: String,
    /// The line for `SecAuditLog`, with its end.
    pub index: String,
}

/// What is known of the log when rules are loaded.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Some transaction may be recorded.
    possible: bool,
    /// A rule may turn the log on.
    by_rules: bool,
    /// Request bodies may be asked for, and responses'.
    request_body: bool,
    response_body: bool,
    /// By status, whether it is relevant.
    relevant: Box<[bool; 1_000]>,
}

impl Setup {
    /// Also has what records tell filled in, where there may be some.
    pub(crate) fn new(audit: &model::Audit, program: &mut Program) -> Result<Self, String> {
        let mut relevant = Box::new([false; 1_000]);
        if let Some(text) = &audit.relevant_status {
            let expression = Expression::new(text.as_bytes())
                .map_err(|what| format!("`SecAuditLogRelevantStatus {text}`: {what}"))?;
            let mut scratch = expression.scratch();
            for (status, relevant) in relevant.iter_mut().enumerate() {
                *relevant = expression.is_match(&mut scratch, status.to_string().as_bytes());
            }
        }
        let mut parts = audit.parts.clone().unwrap_or_else(|| DEFAULT_PARTS.to_owned());
        let mut by_rules = false;
        for effect in program.rules.iter().flat_map(|rule| &rule.links).flat_map(|link| &link.effects) {
            match effect {
                Effect::Control(Control::AuditEngine(mode)) => by_rules |= *mode != AuditMode::Off,
                Effect::Control(Control::AuditLogParts(PartsChange::Add(more) | PartsChange::Set(more))) => {
                    parts.push_str(more);
                }
                _ => {}
            }
        }
        let possible = by_rules || audit.engine.is_some_and(|mode| mode != AuditMode::Off);
        if possible {
            TOLD.iter().for_each(|variable| program.used[*variable as usize] = true);
        }
        let has = |letters: &[char]| parts.to_ascii_uppercase().contains(letters);
        Ok(Self { possible, by_rules, request_body: has(&['C', 'I']), response_body: has(&['E']), relevant })
    }

    fn is_relevant(&self, status: u16) -> bool {
        self.relevant.get(usize::from(status)).is_some_and(|relevant| *relevant)
    }
}

/// `SecAuditLogParts` where no file says it, as in libmodsecurity.
pub(crate) const DEFAULT_PARTS: &str = "ABCFHZ";

/// Variables that records tell; a response's body only where it is recorded.
const TOLD: [V; 12] = [
    V::ArgsPost,
    V::Files,
    V::FilesSizes,
    V::MultipartPartHeaders,
    V::RequestFilename,
    V::RequestHeaders,
    V::RequestMethod,
    V::RequestProtocol,
    V::RequestUriRaw,
    V::ResponseContentType,
    V::ResponseHeaders,
    V::ServerName,
];

/// What is kept of a transaction until it ends.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    client: Option<(IpAddr, u16)>,
    server: Option<(IpAddr, u16)>,
    /// When it began.
    at_us: u64,
    id: String,
    request_body: Vec<u8>,
    messages: Vec<Message>,
    /// What is masked beside secrets; names in lower case, none for the whole variable.
    sanitise: Vec<(V, Option<Box<[u8]>>)>,
}

/// A rule that matched, with all its links.
#[derive(Debug)]
struct Message {
    told: RuleMatch,
    /// Of the rule, but for the engine's own.
    number: Option<u32>,
    /// It refuses, and may.
    refuses: bool,
    /// Whose values it found.
    looked: Vec<(V, Box<[u8]>)>,
    reference: String,
}

/// Matches that are told one by one, and names that rules may sanitise.
const MOST: usize = crate::report::MATCHES;

impl Kept {
    pub(crate) fn clear(&mut self) {
        self.id.clear();
        self.request_body.clear();
        self.request_body.shrink_to(256 << 10);
        self.messages.clear();
        self.sanitise.clear();
    }

    pub(crate) fn begin(&mut self, connection: &Connection<'_>) {
        self.client = Some((connection.client, connection.client_port));
        self.server = Some((connection.server, connection.server_port));
        self.at_us = connection.now_us;
        self.id.push_str(connection.unique_id);
    }

    /// Keeps the body, as rules see it.
    pub(crate) fn request_body(&mut self, engine: &Engine, state: &State, body: &[u8]) {
        let setup = &engine.audit_setup;
        if setup.request_body && (state.switches.audit != AuditMode::Off || setup.by_rules) {
            self.request_body.clear();
            self.request_body.extend_from_slice(body);
        }
    }
}

/// Whether the response's body is wanted for the log, though no rule looks at it: only
/// where what is known with the head makes the transaction relevant.
pub(crate) fn wants_response_body(engine: &Engine, state: &State, outside: &Outside) -> bool {
    let setup = &engine.audit_setup;
    setup.response_body
        && has_part(outside, 'E')
        && match state.switches.audit {
            AuditMode::On => true,
            AuditMode::RelevantOnly => outside.audited || setup.is_relevant(outside.status),
            AuditMode::Off => false,
        }
}

/// Whether a match of this rule is told in the log, though perhaps nowhere else.
pub(crate) fn tells(engine: &Engine, rule: &Rule) -> bool {
    rule.model.auditlog && engine.audit_setup.possible
}

/// A rule matched; its matches are the last ones that were told, from `first` on.
pub(crate) fn matched(engine: &Engine, state: &mut State, outside: &mut Outside, number: u32, first: usize) {
    let rule = &engine.program.rules[number as usize];
    if !tells(engine, rule) || outside.audit.messages.len() >= MOST {
        return;
    }
    // One line a rule, of the last value of the last link, as in libmodsecurity.
    let Some(told) = outside.matches[first..].last().cloned() else { return };
    let looked = state.hits.iter().map(|hit| (hit.variable, state.texts.get(hit.name).into())).collect();
    let message = Message {
        told,
        number: Some(number),
        refuses: crate::run::is_disruptive(rule) && state.switches.engine == EngineMode::On,
        looked,
        reference: places::reference(engine, state, rule),
    };
    outside.audit.messages.push(message);
}

/// `sanitise…`: the member of that name, or what was matched.
pub(crate) fn sanitise(state: &State, outside: &mut Outside, variable: V, name: Option<&[u8]>) {
    let what = match (variable, name, &state.matched) {
        (V::MatchedVar, _, None) => return,
        (V::MatchedVar, _, Some(matched)) => {
            let name = state.texts.get(matched.name).to_ascii_lowercase();
            (matched.variable, (!name.is_empty()).then(|| name.into_boxed_slice()))
        }
        (variable, name, _) => (variable, name.map(|name| name.to_ascii_lowercase().into_boxed_slice())),
    };
    let all = &mut outside.audit.sanitise;
    if !all.contains(&what) && all.len() < MOST {
        all.push(what);
    }
}

fn has_part(outside: &Outside, part: char) -> bool {
    outside.audit_parts.chars().any(|letter| letter.eq_ignore_ascii_case(&part))
}

/// The record of a transaction, where one is to be kept.
pub(crate) fn record(
    engine: &Engine,
    state: &State,
    outside: &mut Outside,
    verdict: &Verdict,
) -> Option<Record> {
    let setup = &engine.audit_setup;
    if !setup.possible || state.switches.engine == EngineMode::Off {
        return None;
    }
    let status = match verdict {
        Verdict::Deny { status, .. } | Verdict::Redirect { status, .. } => *status,
        Verdict::Drop { .. } => 0,
        Verdict::Pass => outside.status,
    };
    let builtin = outside.matches.iter().filter(|told| told.source == "built-in");
    for told in builtin.take(MOST) {
        let refuses = matches!(verdict, Verdict::Deny { rule, .. } if *rule == told.rule);
        let (looked, reference) = (Vec::new(), String::new());
        outside.audit.messages.push(Message { told: told.clone(), number: None, refuses, looked, reference });
    }
    match state.switches.audit {
        AuditMode::Off => return None,
        AuditMode::On => {}
        AuditMode::RelevantOnly => {
            let by_rule =
                outside.audited || outside.audit.messages.iter().any(|message| message.number.is_none());
            if !by_rule && !setup.is_relevant(status) {
                return None;
            }
        }
    }
    let entry = Entry { engine, state, outside, status, dropped: matches!(verdict, Verdict::Drop { .. }) };
    Some(entry.record())
}

/// A transaction, as the formats look at it.
struct Entry<'t> {
    engine: &'t Engine,
    state: &'t State,
    outside: &'t Outside,
    /// Of the answer that the client got; 0 where there was none.
    status: u16,
    dropped: bool,
}

impl Entry<'_> {
    fn record(&self) -> Record {
        let audit = &self.engine.directives.audit;
        let text = if audit.json == Some(true) { json::entry(self) } else { native::entry(self) };
        let concurrent = (audit.concurrent == Some(true)).then(|| {
            let file = self.file();
            let index = native::index(self, audit.storage_dir.as_deref().unwrap_or(""), &file, &text);
            Concurrent { file, index }
        });
        Record {
            id: self.kept().id.clone(),
            text,
            concurrent,
            file_mode: audit.file_mode.unwrap_or(0o600),
            dir_mode: audit.dir_mode.unwrap_or(0o700),
        }
    }

    fn kept(&self) -> &Kept {
        &self.outside.audit
    }

    fn has(&self, part: char) -> bool {
        has_part(self.outside, part)
    }

    fn masks(&self) -> Masks<'_> {
        Masks { sanitise: &self.kept().sanitise, separator: self.outside.argument_separator }
    }

    fn scalar(&self, variable: V) -> &[u8] {
        self.state.scalar(variable)
    }

    fn is_json_response(&self) -> bool {
        let kind = self.scalar(V::ResponseContentType).to_ascii_lowercase();
        kind.ends_with(b"json")
    }

    /// Names and values of a list.
    fn members(&self, variable: V) -> impl Iterator<Item = (&[u8], &[u8])> {
        let list = self.state.lists[variable as usize].iter();
        list.map(|entry| (self.state.texts.get(entry.name), self.state.texts.get(entry.value)))
    }

    fn request_headers(&self) -> Vec<(String, String)> {
        let masks = self.masks();
        self.members(V::RequestHeaders)
            .map(|(name, value)| masks.header(V::RequestHeaders, name, value))
            .collect()
    }

    fn response_headers(&self) -> Vec<(String, String)> {
        let masks = self.masks();
        self.members(V::ResponseHeaders)
            .map(|(name, value)| masks.header(V::ResponseHeaders, name, value))
            .collect()
    }

    fn target(&self) -> String {
        text::one_line(&self.masks().target(self.scalar(V::RequestUriRaw)))
    }

    /// `1.1`.
    fn version(&self) -> String {
        let protocol = self.scalar(V::RequestProtocol);
        text::one_line(protocol.strip_prefix(b"HTTP/").unwrap_or(protocol))
    }

    /// The body of part C, or of part I: without the contents of files.
    fn request_body(&self) -> Option<String> {
        let body = self.kept().request_body.as_slice();
        let whole = self.has('C');
        if body.is_empty() || !(whole || self.has('I')) {
            return None;
        }
        let processor = self.state.switches.request_processor;
        if !whole && processor == Some(model::Processor::Multipart) {
            return Some(self.compact());
        }
        Some(text::lines(&self.masks().body(processor, body, self.members(V::ArgsPost))))
    }

    /// A form that says what a multipart body says, but for files.
    fn compact(&self) -> String {
        let mut form = Vec::new();
        for (name, value) in self.members(V::ArgsPost) {
            if !form.is_empty() {
                form.push(b'&');
            }
            let masked = self.masks().hides(V::Args, name).then(|| vec![b'*'; value.len()]);
            for (text, sign) in [(name, &b"="[..]), (masked.as_deref().unwrap_or(value), b"")] {
                if !Transformation::UrlEncode.apply(text, &mut form) {
                    form.extend_from_slice(text);
                }
                form.extend_from_slice(sign);
            }
        }
        text::one_line(&form)
    }

    fn response_body(&self) -> Option<String> {
        let body = self.scalar(V::ResponseBody);
        let mask = || {
            let mut body = body.to_vec();
            if self.kept().sanitise.contains(&(V::ResponseBody, None)) {
                body.fill(b'*');
            } else if self.is_json_response() {
                mask::json(&mut body);
            }
            text::lines(&body)
        };
        (self.has('E') && !body.is_empty()).then(mask)
    }

    /// Part J: size, name and type of each file.
    fn uploads(&self) -> Vec<(String, String, String)> {
        let names: Vec<(&[u8], &[u8])> = self.members(V::Files).collect();
        let sizes: Vec<(&[u8], &[u8])> = self.members(V::FilesSizes).collect();
        let of = |(at, (field, size)): (usize, &(&[u8], &[u8]))| {
            // A file may have two names, `filename` and `filename*`: then all of its field.
            let of_field = || {
                let all =
                    names.iter().filter(|(other, _)| other == field).map(|(_, name)| text::one_line(name));
                all.collect::<Vec<_>>().join(", ")
            };
            let name = if names.len() == sizes.len() { text::one_line(names[at].1) } else { of_field() };
            let mut headers = self.members(V::MultipartPartHeaders).filter(|(part, _)| part == field);
            let kind = headers.find_map(|(_, line)| {
                let at = memchr::memchr(b':', line)?;
                line[..at]
                    .trim_ascii()
                    .eq_ignore_ascii_case(b"content-type")
                    .then(|| line[at + 1..].trim_ascii())
            });
            (text::one_line(size), name, text::one_line(kind.unwrap_or_default()))
        };
        sizes.iter().enumerate().map(of).collect()
    }

    /// Part K: every rule that matched, in order.
    fn rules(&self) -> Vec<String> {
        let find = |id: &u64| {
            let rule = self.engine.program.rules.iter().find(|rule| rule.model.id == *id);
            rule.map_or_else(|| format!("SecAction \"id:{id}\""), |rule| rule::text(&rule.model))
        };
        self.outside.matched_ids.iter().take(MOST).map(find).collect()
    }

    /// Part H: what rules found.
    fn messages(&self) -> impl Iterator<Item = line::Told<'_>> {
        let masks = self.masks();
        // Variables that hold others: what is masked in them is not masked in what is told.
        let target = self.scalar(V::RequestUriRaw);
        let hides_target = *masks.target(target) != *target;
        let body = &self.kept().request_body;
        let hides_body =
            masks.body(self.state.switches.request_processor, body, self.members(V::ArgsPost)) != *body;
        self.kept().messages.iter().map(move |message| {
            let number = message.number.map(|number| number as usize);
            let rule = number.map(|number| &*self.engine.program.rules[number].model);
            let hidden = message.looked.iter().any(|(variable, name)| match variable {
                V::RequestUri | V::RequestUriRaw | V::RequestLine | V::QueryString => hides_target,
                // A whole document as one argument.
                V::Args | V::ArgsPost if name.ends_with(b"graphql.query") && hides_body => true,
                V::RequestBody | V::Xml => hides_body || body.is_empty(),
                V::RequestHeaders | V::ResponseHeaders => self.members(*variable).any(|(known, value)| {
                    known.eq_ignore_ascii_case(name)
                        && masks.header(*variable, known, value).1 != text::one_line(value)
                }),
                variable => masks.hides(*variable, name),
            });
            let denied = message.refuses.then_some(if self.dropped {
                line::Refusal::Closed
            } else {
                line::Refusal::Status(self.status)
            });
            line::Told { told: &message.told, rule, hidden, denied, reference: &message.reference }
        })
    }

    /// `20261123/20261123-1008/20261123-100819-ID`.
    fn file(&self) -> String {
        let utc = crate::time::Utc::of((self.kept().at_us / 1_000_000) as i64);
        let date = format!("{:04}{:02}{:02}", utc.year, utc.month, utc.day);
        let minute = format!("{date}-{:02}{:02}", utc.hour, utc.minute);
        // The name may be a proxy's, and is a file's here.
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        let id: String = self.kept().id.chars().map(plain).take(128).collect();
        format!("{date}/{minute}/{minute}{:02}-{id}", utc.second)
    }
}

#[cfg(test)]
mod tests;
