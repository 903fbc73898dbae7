//! What is told of a transaction: which rule matched what, and why.

use crate::engine::Engine;
use crate::expand;
use crate::program::{Macro, Operator, Piece, Rule, Test};
use crate::state::{Exceeded, Hit, State};
use crate::texts::TextId;
use crate::transaction::Outside;
use base::events::{RuleMatch, is_secret_name};
use waf_lang::model::Variable;

/// Matches of one rule that are told one by one.
pub(crate) const HITS_PER_RULE: usize = 16;

/// Matches of one transaction that are told one by one.
pub(crate) const MATCHES: usize = 200;

/// The longest part of a value that is told, bytes.
const SHOWN: usize = 256;

/// Ids of rules; few of them need no memory of their own: of the Core Rule Set's own
/// bookkeeping more than 24 match any request and answer at paranoia level 3.
pub type MatchedIds = smallvec::SmallVec<[u64; 64]>;

/// What came of a transaction.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each value that a rule matched, in order, at most 200. Rules that say `nolog`
    /// are not among them, but for those that refuse.
    pub matches: Vec<RuleMatch>,
    /// Each rule that matched with all its links, logged or not, in order.
    pub matched_ids: MatchedIds,
    /// What the rules counted.
    pub score: Score,
    /// Which budget was used up, if one was.
    pub exceeded: Option<Exceeded>,
    /// What could not be read of the request's body, if so.
    pub body_error: Option<String>,
    /// The rule that refused, redirected or dropped, whether or not it may act.
    pub disrupted_by: Option<u64>,
    /// What the audit log is to hold, where it is to hold something.
    pub audit: Option<crate::audit::Record>,
    /// Time that the rules took, in microseconds of the caller's clock.
    pub spent_us: u64,
}

/// Anomaly scores, as the Core Rule Set counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// `tx.blocking_inbound_anomaly_score` (`tx.anomaly_score` of CRS 3).
    pub inbound: i64,
    /// `tx.blocking_outbound_anomaly_score` (`tx.outbound_anomaly_score` of CRS 3).
    pub outbound: i64,
}

/// A rule matched: tells of each value.
pub(crate) fn matched(engine: &Engine, state: &mut State, outside: &mut Outside, number: u32, rule: &Rule) {
    outside.audited |= rule.model.auditlog;
    if outside.matches.len() >= MATCHES {
        return;
    }
    let first = outside.matches.len();
    outside.running = Some(number);
    let hits = std::mem::take(&mut state.hits);
    let mut message = last(engine, state, outside, rule, |link| link.msg.as_ref());
    let mut data = last(engine, state, outside, rule, |link| link.logdata.as_ref());
    // Both may tell the value that was matched.
    if hits.iter().any(|hit| is_secret(state, hit)) {
        let said = rule.links.iter().rev().find_map(|link| link.msg.as_ref());
        if said.is_some_and(|said| said.constant().is_none()) {
            message = escape(plain(said).as_bytes(), 1_024);
        }
        if !data.is_empty() {
            "[secret]".clone_into(&mut data);
        }
    }
    let mut tags = Vec::with_capacity(rule.tags.len());
    for tag in &rule.tags {
        tags.push(expanded(engine, state, outside, tag));
    }
    let about = About { rule, message, data, tags };
    if hits.is_empty() {
        outside.matches.push(about.action());
    }
    for hit in hits.iter().take(MATCHES - outside.matches.len()) {
        let argument = argument(engine, state, outside, rule, hit);
        let hit = &located(engine, state, rule, hit);
        outside.matches.push(about.of_hit(engine, state, hit, argument.as_deref()));
    }
    state.hits = hits;
    outside.running = None;
    crate::audit::matched(engine, state, outside, number, first);
    if !rule.model.log && !crate::run::is_disruptive(rule) {
        outside.matches.truncate(first);
    }
}

/// The same hit with the place of what was found.
pub(crate) fn located(engine: &Engine, state: &mut State, rule: &Rule, hit: &Hit) -> Hit {
    let mut hit = *hit;
    let operator = rule.links[hit.link as usize].test.as_ref().map(|test| &test.operator);
    if let (usize::MAX, Some(Operator::Rx(index) | Operator::RxGlobal(index))) = (hit.span.end, operator) {
        let State { texts, scratches, .. } = state;
        let expression = &engine.program.expressions[*index as usize];
        let scratch = scratches[*index as usize].get_or_insert_with(|| expression.scratch());
        let value = texts.get(hit.seen);
        hit.span = expression.find_at(scratch, value, 0).unwrap_or_else(|| crate::operate::whole(value));
    }
    hit
}

/// An operator's argument with its macros filled in, where it has some.
fn argument(
    engine: &Engine,
    state: &mut State,
    outside: &mut Outside,
    rule: &Rule,
    hit: &Hit,
) -> Option<String> {
    let test = rule.links[hit.link as usize].test.as_ref()?;
    let (Operator::Text(_, text) | Operator::Number(_, text) | Operator::RxMacro(text)) = &test.operator
    else {
        return None;
    };
    if text.constant().is_some() && !test.written.contains("%{") {
        return None;
    }
    Some(expanded(engine, state, outside, text))
}

/// The text of the last link that has one, filled in.
fn last<'r>(
    engine: &Engine,
    state: &mut State,
    outside: &mut Outside,
    rule: &'r Rule,
    which: impl Fn(&'r crate::program::Link) -> Option<&'r Macro>,
) -> String {
    let text = rule.links.iter().rev().find_map(which);
    text.map(|text| expanded(engine, state, outside, text)).unwrap_or_default()
}

fn expanded(engine: &Engine, state: &mut State, outside: &mut Outside, from: &Macro) -> String {
    let mut out = state.buffer();
    expand::text(engine, state, outside, from, &mut out);
    let text = escape(&out, 1_024);
    state.give_back(out);
    text
}

/// What all matches of a rule have in common.
struct About<'r> {
    rule: &'r Rule,
    message: String,
    data: String,
    tags: Vec<String>,
}

impl About<'_> {
    fn base(&self) -> RuleMatch {
        let model = &self.rule.model;
        RuleMatch {
            rule: model.id,
            source: format!("{}:{}", model.at.file, model.at.line),
            message: self.message.clone(),
            data: self.data.clone(),
            severity: model.severity.map(|severity| severity_name(severity).to_owned()),
            tags: self.tags.clone(),
            variable: String::new(),
            value: String::new(),
            transformed: String::new(),
            transformations: Vec::new(),
            operator: String::new(),
            matched: String::new(),
        }
    }

    /// `SecAction`: nothing was looked at.
    fn action(&self) -> RuleMatch {
        self.base()
    }

    fn of_hit(&self, engine: &Engine, state: &State, hit: &Hit, argument: Option<&str>) -> RuleMatch {
        let link = &self.rule.links[hit.link as usize];
        let secret = is_secret(state, hit);
        let show = |bytes: &[u8]| match hit.variable {
            _ if secret => "[secret]".to_owned(),
            Variable::RequestUri | Variable::RequestUriRaw | Variable::RequestLine => {
                escape(&without_secret_pairs(bytes, true), SHOWN)
            }
            Variable::QueryString => escape(&without_secret_pairs(bytes, false), SHOWN),
            // Of a form the pairs are known; of anything else not which part is a secret.
            Variable::RequestBody if state.scalar(Variable::ReqbodyProcessor) == b"URLENCODED" => {
                escape(&without_secret_pairs(bytes, false), SHOWN)
            }
            Variable::RequestBody => "[body]".to_owned(),
            Variable::RequestHeaders | Variable::ResponseHeaders if is_address(state.texts.get(hit.name)) => {
                escape(&without_secret_pairs(bytes, true), SHOWN)
            }
            _ => escape(bytes, SHOWN),
        };
        let seen = state.texts.get(hit.seen);
        let part = seen.get(hit.span.start..hit.span.end).unwrap_or_default();
        let test = link.test.as_ref();
        let tells = test.is_some_and(tells_the_part);
        let mut told = self.base();
        told.variable = variable_of(&engine.program, state, hit);
        told.value = show(state.texts.get(hit.value));
        told.transformed = show(seen);
        let steps = engine.program.chains.steps(link.chain);
        told.transformations = steps.into_iter().map(|step| step.name().to_owned()).collect();
        told.operator = match (test, argument) {
            (Some(test), Some(argument)) => {
                let name = test.written.split(' ').next().unwrap_or_default();
                format!("{name} {argument}")
            }
            (Some(test), None) => escape(test.written.as_bytes(), SHOWN),
            (None, _) => String::new(),
        };
        told.matched = if tells { show(part) } else { String::new() };
        told
    }
}

/// Whether a header's value is an address with a query of its own.
fn is_address(name: &[u8]) -> bool {
    [&b"referer"[..], b"location", b"origin"].iter().any(|address| name.eq_ignore_ascii_case(address))
}

pub(crate) fn tells_the_part(test: &Test) -> bool {
    use crate::program::TextTest as T;
    !test.negated
        && matches!(
            test.operator,
            Operator::Rx(_)
                | Operator::RxGlobal(_)
                | Operator::RxMacro(_)
                | Operator::Pm(_)
                | Operator::ByteRange(_)
                | Operator::Verify(..)
                | Operator::Text(T::Contains | T::StrMatch, _)
        )
}

fn variable_of(program: &crate::program::Program, state: &State, hit: &Hit) -> String {
    let count = if hit.count { "&" } else { "" };
    let name = name_of(hit.variable);
    let path = usize::from(hit.list).checked_sub(crate::program::VARIABLES);
    if let Some(path) = path.and_then(|at| program.xpath_texts.get(at)) {
        return format!("{count}{name}:{path}");
    }
    match hit.name {
        TextId::EMPTY => format!("{count}{name}"),
        member => format!("{count}{name}:{}", escape(state.texts.get(member), SHOWN)),
    }
}

/// Cookies, credentials and arguments named like passwords are never told.
fn is_secret(state: &State, hit: &Hit) -> bool {
    use Variable as V;
    match hit.variable {
        V::RequestCookies | V::FullRequest => true,
        V::ArgsNames
        | V::ArgsGetNames
        | V::ArgsPostNames
        | V::RequestHeadersNames
        | V::RequestCookiesNames => false,
        _ => is_secret_name(&String::from_utf8_lossy(state.texts.get(hit.name))),
    }
}

/// The text of a macro as it is written, its pieces not filled in.
pub(crate) fn plain(text: Option<&Macro>) -> String {
    let mut out = String::new();
    for piece in text.iter().flat_map(|text| &text.0) {
        match piece {
            Piece::Text(text) => out.push_str(&String::from_utf8_lossy(text)),
            Piece::Tx(_) | Piece::Variable(..) | Piece::Find(..) => {}
        }
    }
    out
}

/// The field's names of severities.
pub(crate) fn severity_name(severity: u8) -> &'static str {
    match severity {
        0 => "emergency",
        1 => "alert",
        2 => "critical",
        3 => "error",
        4 => "warning",
        5 => "notice",
        6 => "info",
        _ => "debug",
    }
}

/// A variable's name as rules write it.
pub(crate) fn name_of(variable: Variable) -> &'static str {
    variable.name()
}

/// One of the engine's own rules.
pub(crate) fn of_builtin(rule: u64, message: &str) -> RuleMatch {
    RuleMatch {
        rule,
        source: "built-in".to_owned(),
        message: message.to_owned(),
        data: String::new(),
        severity: Some("critical".to_owned()),
        tags: Vec::new(),
        variable: String::new(),
        value: String::new(),
        transformed: String::new(),
        transformations: Vec::new(),
        operator: String::new(),
        matched: String::new(),
    }
}

/// A text as the value of `Location`: what may not stand there is percent-encoded.
pub(crate) fn location(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        match byte {
            0x21..=0x7e if !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') => {
                out.push(byte as char);
            }
            _ => {
                use std::fmt::Write;
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// The first bytes of a value for a log or a terminal: letters, digits and ASCII
/// signs as they are, everything else as `\xHH` or `\u{…}`, a backslash as `\\`;
/// `…` where something was cut.
pub fn escape(value: &[u8], most: usize) -> String {
    let mut shown = String::new();
    let mut room = most;
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.len_utf8() > room {
                shown.push('…');
                return shown;
            }
            room -= c.len_utf8();
            match c {
                '\\' => shown.push_str("\\\\"),
                ' '..='~' => shown.push(c),
                c if c.is_ascii() => shown.push_str(&format!("\\x{:02x}", c as u32)),
                // Letters of any script; not what turns a line around or hides.
                c if c.is_alphanumeric() => shown.push(c),
                c => shown.push_str(&format!("\\u{{{:x}}}", c as u32)),
            }
        }
        for byte in chunk.invalid() {
            if room == 0 {
                shown.push('…');
                return shown;
            }
            room -= 1;
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// A target, query or form, with the values of secret arguments replaced.
fn without_secret_pairs(text: &[u8], is_target: bool) -> Vec<u8> {
    let at = if is_target { memchr::memchr(b'?', text).map_or(text.len(), |at| at + 1) } else { 0 };
    let (mut shown, query) = (text[..at].to_vec(), &text[at..]);
    for (i, pair) in query.split(|b| *b == b'&').enumerate() {
        if i > 0 {
            shown.push(b'&');
        }
        let mut decoded = Vec::new();
        if !waf_text::Transformation::UrlDecode.apply(pair, &mut decoded) {
            decoded.extend_from_slice(pair);
        }
        if is_secret_name(&String::from_utf8_lossy(&decoded)) {
            let name_end = memchr::memchr(b'=', pair).unwrap_or(0);
            shown.extend_from_slice(&pair[..name_end]);
            shown.extend_from_slice(b"=[secret]");
        } else {
            shown.extend_from_slice(pair);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping() {
        let cases: &[(&[u8], &str)] = &[
            (b"plain 'text' <b>", "plain 'text' <b>"),
            (b"a\\b\x1b[31m\n\0", "a\\\\b\\x1b[31m\\x0a\\x00"),
            ("café 日本 \u{202E}x\u{200B}".as_bytes(), "café 日本 \\u{202e}x\\u{200b}"),
            (b"\xFF\xFEa", "\\xff\\xfea"),
        ];
        for (value, expected) in cases {
            assert_eq!(escape(value, 256), *expected);
        }
        assert_eq!(escape(&[b'a'; 257], 256), format!("{}…", "a".repeat(256)));
        assert_eq!(escape(&[b'a'; 256], 256), "a".repeat(256));
        assert!(escape(&[0xFF; 5_000], 256).len() < 1_100);
    }

    #[test]
    fn secret_pairs_are_replaced() {
        let cases = [
            ("/x?q=1&password=hunter2&b=2", "/x?q=1&password=[secret]&b=2"),
            ("/x?q=1&pass%77ord=hunter2", "/x?q=1&pass%77ord=[secret]"),
            ("/token", "/token"),
            ("/a?q=my+token", "/a?q=[secret]"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_secret_pairs(text.as_bytes(), true), expected.as_bytes());
        }
    }
}
