//! Actions of a rule: `id:1,phase:2,t:none,msg:'…'`.

use std::borrow::Cow;
use std::sync::Arc;

use waf_text::Transformation;

use crate::control;
use crate::error::{Wrong, shown};
use crate::macros;
use crate::model::{AllowScope, Disruptive, Effect, Macro, Set, Skip, Variable};
use crate::target::utf8;

/// One action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Accuracy(u8),
    AuditLog(bool),
    Block,
    Capture,
    Chain,
    Disruptive(Disruptive),
    Effect(Effect),
    Id(u64),
    Log(bool),
    LogData(Macro),
    Maturity(u8),
    Msg(Macro),
    MultiMatch,
    Namespace(String, String),
    Phase(u8),
    Rev(String),
    Severity(u8),
    Skip(Skip),
    Status(u16),
    Tag(Macro),
    Transformation(Transformation),
    TransformationNone,
    Ver(String),
}

/// An action's value: bytes, quotes taken off.
type Value<'a> = Cow<'a, [u8]>;
type Build = fn(&[u8]) -> Result<Action, Wrong>;

/// What an action has after its name.
enum Form {
    /// Nothing.
    Alone(fn() -> Action),
    /// A value.
    With(Build),
    /// Either.
    May(fn(Option<&[u8]>) -> Result<Action, Wrong>),
}
use Form::{Alone, May, With};

const ACTIONS: &[(&str, Form)] = &[
    ("accuracy", With(|v| Ok(Action::Accuracy(small("accuracy", v, 1, 9)?)))),
    ("allow", May(allow)),
    ("auditlog", Alone(|| Action::AuditLog(true))),
    ("block", Alone(|| Action::Block)),
    ("capture", Alone(|| Action::Capture)),
    ("chain", Alone(|| Action::Chain)),
    ("ctl", With(|v| Ok(Action::Effect(Effect::Control(control::parse(v)?))))),
    ("deny", Alone(|| Action::Disruptive(Disruptive::Deny))),
    ("drop", Alone(|| Action::Disruptive(Disruptive::Drop))),
    ("expirevar", With(expire_var)),
    ("id", With(id)),
    ("initcol", With(init_collection)),
    ("log", Alone(|| Action::Log(true))),
    ("logdata", With(|v| Ok(Action::LogData(macros::parse(v)?)))),
    ("maturity", With(|v| Ok(Action::Maturity(small("maturity", v, 1, 9)?)))),
    ("msg", With(|v| Ok(Action::Msg(macros::parse(v)?)))),
    ("multiMatch", Alone(|| Action::MultiMatch)),
    ("noauditlog", Alone(|| Action::AuditLog(false))),
    ("nolog", Alone(|| Action::Log(false))),
    ("pass", Alone(|| Action::Disruptive(Disruptive::Pass))),
    ("phase", With(phase)),
    ("redirect", With(|v| Ok(Action::Disruptive(Disruptive::Redirect(macros::parse(v)?))))),
    ("rev", With(|v| Ok(Action::Rev(utf8(v)?.to_owned())))),
    ("sanitiseArg", With(|v| sanitise(Variable::Args, v))),
    ("sanitiseMatched", Alone(|| Action::Effect(Effect::Sanitise(Variable::MatchedVar, None)))),
    ("sanitiseMatchedBytes", May(sanitise_matched_bytes)),
    ("sanitiseRequestHeader", With(|v| sanitise(Variable::RequestHeaders, v))),
    ("sanitiseResponseHeader", With(|v| sanitise(Variable::ResponseHeaders, v))),
    ("sanitizeArg", With(|v| sanitise(Variable::Args, v))),
    ("sanitizeMatched", Alone(|| Action::Effect(Effect::Sanitise(Variable::MatchedVar, None)))),
    ("sanitizeMatchedBytes", May(sanitise_matched_bytes)),
    ("sanitizeRequestHeader", With(|v| sanitise(Variable::RequestHeaders, v))),
    ("sanitizeResponseHeader", With(|v| sanitise(Variable::ResponseHeaders, v))),
    ("setenv", With(set_env)),
    ("setrsc", With(|v| Ok(Action::Effect(Effect::SetResource(macros::parse(v)?))))),
    ("setsid", With(|v| Ok(Action::Effect(Effect::SetSession(macros::parse(v)?))))),
    ("setuid", With(|v| Ok(Action::Effect(Effect::SetUser(macros::parse(v)?))))),
    ("setvar", With(set_var)),
    ("severity", With(severity)),
    ("skip", With(skip)),
    ("skipAfter", With(skip_after)),
    ("status", With(status)),
    ("t", With(transformation)),
    ("tag", With(|v| Ok(Action::Tag(macros::parse(v)?)))),
    ("ver", With(|v| Ok(Action::Ver(utf8(v)?.to_owned())))),
    ("xmlns", With(namespace)),
];

/// Actions that this engine does not have: why, and what to do.
const REFUSED: &[(&str, &str, &str)] = &[
    ("append", "answers are not rewritten", "let the application add it"),
    ("deprecatevar", "counters do not decay", "use `expirevar`"),
    ("exec", "rules run no program", "follow the events instead: each match is one line"),
    ("pause", "holding a request ties up memory for the attacker", "use `deny`, or a rate limit of the site"),
    ("prepend", "answers are not rewritten", "let the application add it"),
    ("proxy", "rules do not choose where a request goes", "use a route of the site, or `redirect`"),
];

/// All actions of a text, and what is wrong in it: each with where it stands.
pub(crate) fn parse(text: &[u8]) -> (Vec<Action>, Vec<(usize, Wrong)>) {
    let mut actions = Vec::with_capacity(16);
    let mut wrongs = Vec::new();
    let mut at = 0;
    loop {
        while at < text.len() && text[at].is_ascii_whitespace() {
            at += 1;
        }
        if at == text.len() {
            return (actions, wrongs);
        }
        match split(text, at) {
            Err(wrong) => {
                wrongs.push((at, wrong));
                return (actions, wrongs);
            }
            Ok((name, value, end)) => {
                match action(name, value.as_deref()) {
                    Ok(action) => actions.push(action),
                    Err(wrong) => wrongs.push((at, wrong)),
                }
                // `end` is at a comma, or the text's end.
                at = end + usize::from(end < text.len());
            }
        }
    }
}

/// The action at `at`: its name, its value, and where the comma after it stands.
fn split(text: &[u8], at: usize) -> Result<(&[u8], Option<Value<'_>>, usize), Wrong> {
    let end_of = |from: usize, what: &[u8]| {
        text[from..].iter().position(|b| what.contains(b)).map_or(text.len(), |n| from + n)
    };
    let end = end_of(at, b",:");
    let name = text[at..end].trim_ascii_end();
    if text.get(end) != Some(&b':') {
        return Ok((name, None, end));
    }
    let mut from = end + 1;
    while text.get(from).is_some_and(u8::is_ascii_whitespace) {
        from += 1;
    }
    if text.get(from) == Some(&b'\'') {
        let close = quote_end(text, from + 1).ok_or_else(|| {
            Wrong::new(
                format!("the quote in `{}` is never closed", shown(&text[at..])),
                "close it; a quote inside is written `\\'`",
            )
        })?;
        let mut after = close + 1;
        while text.get(after).is_some_and(u8::is_ascii_whitespace) {
            after += 1;
        }
        if text.get(after).is_some_and(|&b| b != b',') {
            return Err(Wrong::new(
                format!("`{}` follows the closing quote of `{}`", shown(&text[after..]), shown(name)),
                "separate actions with commas; a quote inside a value is written `\\'`",
            ));
        }
        return Ok((name, Some(unescape(&text[from + 1..close])), after));
    }
    // Up to the next comma that no quote after `=` holds: `xmlns:a='b,c'`.
    let mut end = from;
    while end < text.len() && text[end] != b',' {
        if text[end] == b'\''
            && text[end - 1] == b'='
            && let Some(close) = quote_end(text, end + 1)
        {
            end = close;
        }
        end += 1;
    }
    Ok((name, Some(Cow::Borrowed(text[from..end].trim_ascii_end())), end))
}

/// Where the quote stands that closes the one before `from`.
fn quote_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < text.len() {
        match text[at] {
            b'\'' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// `\'` becomes `'`; every other backslash stays.
fn unescape(text: &[u8]) -> Value<'_> {
    if memchr::memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'\\' && text.get(at + 1) == Some(&b'\'') {
            at += 1;
        } else if text[at] == b'\\' && at + 1 < text.len() {
            out.push(text[at]);
            at += 1;
        }
        out.push(text[at]);
        at += 1;
    }
    Cow::Owned(out)
}

fn action(name: &[u8], value: Option<&[u8]>) -> Result<Action, Wrong> {
    if name.is_empty() {
        return Err(Wrong::new(
            "an action is missing before a comma",
            "take the comma out, or name the action",
        ));
    }
    let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
    if let Some((known, why, instead)) = REFUSED.iter().find(|(known, ..)| is(known)) {
        return Err(Wrong::new(format!("action `{known}` is not supported: {why}"), *instead));
    }
    let Some((known, form)) = ACTIONS.iter().find(|(known, _)| is(known)) else {
        return Err(Wrong::unknown("action", name, ACTIONS.iter().map(|(known, _)| *known)));
    };
    match (form, value) {
        (Alone(build), None) => Ok(build()),
        (May(build), value) => build(value),
        (With(build), Some(value)) if !value.is_empty() || matches!(*known, "msg" | "logdata") => {
            build(value)
        }
        (With(_), _) => Err(Wrong::new(
            format!("action `{known}` has no value"),
            format!("write `{known}:…`, quoted with `'` if it has commas"),
        )),
        (Alone(_), Some(value)) => Err(Wrong::new(
            format!("action `{known}` takes no value, but `{}` follows it", shown(value)),
            format!("write `{known}` alone"),
        )),
    }
}

fn small(name: &str, value: &[u8], least: u8, most: u8) -> Result<u8, Wrong> {
    whole(value).and_then(|n| u8::try_from(n).ok()).filter(|n| (least..=most).contains(n)).ok_or_else(|| {
        Wrong::new(
            format!("`{name}` is `{}`", shown(value)),
            format!("write a whole number from {least} to {most}"),
        )
    })
}

/// A number of decimal digits alone.
pub(crate) fn whole(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn id(value: &[u8]) -> Result<Action, Wrong> {
    match whole(value) {
        Some(id) if id > 0 => Ok(Action::Id(id)),
        _ => Err(Wrong::new(
            format!("`{}` is not a rule's id", shown(value)),
            "write a whole number from 1; local rules use 1 to 99999",
        )),
    }
}

fn phase(value: &[u8]) -> Result<Action, Wrong> {
    let phase = match value.to_ascii_lowercase().as_slice() {
        b"request" => 2,
        b"response" => 4,
        b"logging" => 5,
        _ => match whole(value) {
            Some(n @ 1..=5) => n as u8,
            _ => {
                return Err(Wrong::new(
                    format!("`{}` is not a phase", shown(value)),
                    "write 1 to 5, `request` (2), `response` (4) or `logging` (5)",
                ));
            }
        },
    };
    Ok(Action::Phase(phase))
}

fn severity(value: &[u8]) -> Result<Action, Wrong> {
    const WORDS: [&str; 8] =
        ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];
    let word = WORDS.iter().position(|word| word.as_bytes().eq_ignore_ascii_case(value));
    match word.map(|n| n as u64).or_else(|| whole(value)) {
        Some(n @ 0..=7) => Ok(Action::Severity(n as u8)),
        _ => Err(Wrong::new(
            format!("`{}` is not a severity", shown(value)),
            "write 0 to 7, or EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG",
        )),
    }
}

fn status(value: &[u8]) -> Result<Action, Wrong> {
    match whole(value) {
        // 44 is not one, but stands in configurations that ModSecurity shipped: the
        // rule is built with a note, and without it.
        Some(n @ 1..=599) => Ok(Action::Status(n as u16)),
        _ => Err(Wrong::new(format!("`{}` is not a status", shown(value)), "write a number from 200 to 599")),
    }
}

fn allow(value: Option<&[u8]>) -> Result<Action, Wrong> {
    let scope = match value.map(<[u8]>::to_ascii_lowercase).as_deref() {
        None => AllowScope::Transaction,
        Some(b"phase") => AllowScope::Phase,
        Some(b"request") => AllowScope::Request,
        Some(other) => {
            return Err(Wrong::new(
                format!("`allow:{}` is not known", shown(other)),
                "write `allow`, `allow:phase` or `allow:request`",
            ));
        }
    };
    Ok(Action::Disruptive(Disruptive::Allow(scope)))
}

fn skip(value: &[u8]) -> Result<Action, Wrong> {
    match whole(value).and_then(|n| u32::try_from(n).ok()) {
        Some(n) => Ok(Action::Skip(Skip::Rules(n))),
        None => Err(Wrong::new(
            format!("`skip:{}` is not a number of rules", shown(value)),
            "write how many rules to skip, or `skipAfter:MARKER`",
        )),
    }
}

fn skip_after(value: &[u8]) -> Result<Action, Wrong> {
    Ok(Action::Skip(Skip::After(utf8(value)?.into())))
}

fn transformation(value: &[u8]) -> Result<Action, Wrong> {
    if value.eq_ignore_ascii_case(b"none") {
        return Ok(Action::TransformationNone);
    }
    match std::str::from_utf8(value).ok().and_then(Transformation::parse) {
        Some(transformation) => Ok(Action::Transformation(transformation)),
        None => {
            let known = Transformation::ALL.iter().map(|(_, name)| *name).chain(["none"]);
            Err(Wrong::unknown("transformation", value, known))
        }
    }
}

/// `soap='http://…'`.
fn namespace(value: &[u8]) -> Result<Action, Wrong> {
    let text = utf8(value)?;
    let wrong = || {
        Wrong::new(
            format!("`xmlns:{}` is not `xmlns:prefix=namespace`", shown(value)),
            "write `xmlns:soap='http://schemas.xmlsoap.org/soap/envelope/'`",
        )
    };
    let (prefix, name) = text.split_once('=').ok_or_else(wrong)?;
    let name = name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(name);
    if prefix.is_empty() || name.is_empty() {
        return Err(wrong());
    }
    if !name.contains(':') {
        return Err(Wrong::new(
            format!("the namespace `{}` of prefix `{prefix}` is not a URI", shown(name.as_bytes())),
            "write it as the documents do, with its scheme: `http://…`, `urn:…`",
        ));
    }
    Ok(Action::Namespace(prefix.to_owned(), name.to_owned()))
}

fn sanitise(variable: Variable, value: &[u8]) -> Result<Action, Wrong> {
    Ok(Action::Effect(Effect::Sanitise(variable, Some(value.into()))))
}

/// `sanitiseMatchedBytes:1/4` leaves bytes at the ends readable; here the whole value is masked.
fn sanitise_matched_bytes(value: Option<&[u8]>) -> Result<Action, Wrong> {
    match value {
        None => Ok(Action::Effect(Effect::Sanitise(Variable::MatchedVar, None))),
        Some(value) => Err(Wrong::new(
            format!("`sanitiseMatchedBytes:{}` leaves bytes readable, which is not supported", shown(value)),
            "write `sanitiseMatchedBytes` alone: the whole value is masked",
        )),
    }
}

/// `tx.name`, with macros in the name: the collection and the name.
fn member<'a>(action: &str, text: &'a [u8]) -> Result<(Variable, &'a [u8]), Wrong> {
    let end = text.iter().position(|b| matches!(b, b'.' | b':')).ok_or_else(|| {
        Wrong::new(
            format!("`{action}:{}` names no member of a collection", shown(text)),
            format!("write `{action}:tx.name…`"),
        )
    })?;
    let (name, member) = (text[..end].trim_ascii(), text[end + 1..].trim_ascii());
    let collection = stored(action, name)?;
    if member.is_empty() {
        return Err(Wrong::new(
            format!("`{action}` names no member of `{}`", collection.name()),
            format!("write `{action}:{}.name…`", shown(name)),
        ));
    }
    Ok((collection, member))
}

/// A collection that rules write to.
fn stored(action: &str, name: &[u8]) -> Result<Variable, Wrong> {
    use Variable::*;
    match Variable::parse(name) {
        Some(variable @ (Tx | Ip | Global | Session | User | Resource | Env)) => Ok(variable),
        Some(variable) => Err(Wrong::new(
            format!("`{action}` cannot write to `{}`", variable.name()),
            "use `tx`, `ip`, `global`, `session`, `user`, `resource` or `env`",
        )),
        None => {
            let known = ["TX", "IP", "GLOBAL", "SESSION", "USER", "RESOURCE", "ENV"];
            Err(Wrong::unknown("collection", name, known.into_iter()))
        }
    }
}

/// Where a byte first stands outside of `%{…}`.
fn outside_macros(text: &[u8], byte: u8) -> Option<usize> {
    let mut at = 0;
    while at < text.len() && text[at] != byte {
        if text[at..].starts_with(b"%{") {
            match text[at..].iter().position(|&b| b == b'}') {
                Some(close) => at += close,
                // None is closed from here on.
                None => return text[at..].iter().position(|&b| b == byte).map(|n| at + n),
            }
        }
        at += 1;
    }
    (at < text.len()).then_some(at)
}

fn unquote(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"'").and_then(|value| value.strip_suffix(b"'")).unwrap_or(value)
}

fn set_var(value: &[u8]) -> Result<Action, Wrong> {
    let effect = |(collection, name): (Variable, &[u8]), to| {
        Ok(Action::Effect(Effect::SetVar { collection, name: macros::parse(name)?, to }))
    };
    let value = value.trim_ascii();
    if let Some(name) = value.strip_prefix(b"!") {
        return effect(member("setvar", name)?, Set::Unset);
    }
    let Some(equals) = outside_macros(value, b'=') else {
        return effect(member("setvar", value)?, Set::To(macros::parse(b"1")?));
    };
    let to = unquote(value[equals + 1..].trim_ascii_start());
    let to = match to {
        [b'+', by @ ..] => Set::Add(macros::parse(by)?),
        [b'-', by @ ..] => Set::Subtract(macros::parse(by)?),
        to => Set::To(macros::parse(to)?),
    };
    effect(member("setvar", &value[..equals])?, to)
}

/// `name=value`, both at least one byte.
fn pair<'a>(action: &str, value: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Wrong> {
    let equals = outside_macros(value, b'=');
    match equals.map(|at| (value[..at].trim_ascii(), unquote(value[at + 1..].trim_ascii_start()))) {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name, value)),
        _ => Err(Wrong::new(
            format!("`{action}:{}` is not `name=value`", shown(value)),
            format!("write `{action}:name=value`"),
        )),
    }
}

fn expire_var(value: &[u8]) -> Result<Action, Wrong> {
    let (name, seconds) = pair("expirevar", value)?;
    let (collection, name) = member("expirevar", name)?;
    let seconds = macros::parse(seconds)?;
    if seconds.as_text().is_some_and(|text| whole(text.trim_ascii()).is_none()) {
        return Err(Wrong::new(
            format!("`{}` is not a number of seconds", seconds.written()),
            "write `expirevar:ip.name=60`",
        ));
    }
    Ok(Action::Effect(Effect::ExpireVar { collection, name: macros::parse(name)?, seconds }))
}

fn init_collection(value: &[u8]) -> Result<Action, Wrong> {
    let (name, key) = pair("initcol", value)?;
    match Variable::parse(name) {
        Some(variable @ (Variable::Ip | Variable::Global | Variable::Resource)) => {
            Ok(Action::Effect(Effect::InitCollection(variable, macros::parse(key)?)))
        }
        Some(Variable::Session) => Err(Wrong::new("`initcol` does not begin a session", "use `setsid`")),
        Some(Variable::User) => Err(Wrong::new("`initcol` does not name a user", "use `setuid`")),
        _ => Err(Wrong::new(
            format!("`initcol` does not know the collection `{}`", shown(name)),
            "write `initcol:ip=…`, `initcol:global=…` or `initcol:resource=…`",
        )),
    }
}

fn set_env(value: &[u8]) -> Result<Action, Wrong> {
    if let Some(name) = value.strip_prefix(b"!") {
        return Err(Wrong::new(
            format!("`setenv:!{}` unsets a variable, which is not supported", shown(name)),
            "set it to another value",
        ));
    }
    let (name, value) = match outside_macros(value, b'=') {
        None => (value, b"1".as_slice()),
        Some(_) => pair("setenv", value)?,
    };
    Ok(Action::Effect(Effect::SetEnv(macros::parse(name)?, macros::parse(value)?)))
}

/// A marker's name, or whatever a text is compared with, shared.
pub(crate) fn shared(text: &[u8]) -> Result<Arc<str>, Wrong> {
    Ok(utf8(text)?.into())
}
