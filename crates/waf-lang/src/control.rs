//! `ctl:name=value`, and the values that directives share with it.

use crate::action::whole;
use crate::error::{Wrong, shown};
use crate::model::{AuditMode, Control, EngineMode, PartsChange, Processor, Target, XmlIntoArgs};
use crate::target::{target, utf8};

type Build = fn(&[u8]) -> Result<Control, Wrong>;

const CONTROLS: &[(&str, Build)] = &[
    ("auditEngine", |v| Ok(Control::AuditEngine(audit_mode(v)?))),
    ("auditLogParts", |v| Ok(Control::AuditLogParts(parts(v)?))),
    ("debugLogLevel", |v| number(v).map(|_| Control::Nothing)),
    ("forceRequestBodyVariable", |v| Ok(Control::ForceRequestBodyVariable(switch(v)?))),
    ("hashEnforcement", |v| off("hashEnforcement", v)),
    ("hashEngine", |v| off("hashEngine", v)),
    ("parseXmlIntoArgs", |v| Ok(Control::ParseXmlIntoArgs(xml_into_args(v)?))),
    ("requestBodyAccess", |v| Ok(Control::RequestBodyAccess(switch(v)?))),
    ("requestBodyLimit", |v| Ok(Control::RequestBodyLimit(number(v)?))),
    ("requestBodyProcessor", |v| Ok(Control::RequestBodyProcessor(processor(v)?))),
    ("responseBodyAccess", |v| Ok(Control::ResponseBodyAccess(switch(v)?))),
    ("responseBodyLimit", |v| Ok(Control::ResponseBodyLimit(number(v)?))),
    ("responseBodyProcessor", |v| Ok(Control::ResponseBodyProcessor(processor(v)?))),
    ("ruleEngine", |v| Ok(Control::RuleEngine(engine_mode(v)?))),
    ("ruleRemoveById", |v| Ok(Control::RuleRemoveById(ids(v)?))),
    ("ruleRemoveByMsg", |v| Ok(Control::RuleRemoveByMsg(text(v)?))),
    ("ruleRemoveByTag", |v| Ok(Control::RuleRemoveByTag(text(v)?))),
    ("ruleRemoveTargetById", |v| {
        let (ids_text, target) = with_target("ruleRemoveTargetById", v)?;
        Ok(Control::RuleRemoveTargetById(ids(ids_text)?, target))
    }),
    ("ruleRemoveTargetByMsg", |v| {
        let (msg, target) = with_target("ruleRemoveTargetByMsg", v)?;
        Ok(Control::RuleRemoveTargetByMsg(text(msg)?, target))
    }),
    ("ruleRemoveTargetByTag", |v| {
        let (tag, target) = with_target("ruleRemoveTargetByTag", v)?;
        Ok(Control::RuleRemoveTargetByTag(text(tag)?, target))
    }),
];

pub(crate) fn parse(value: &[u8]) -> Result<Control, Wrong> {
    let equals = value.iter().position(|&b| b == b'=').unwrap_or(value.len());
    let name = value[..equals].trim_ascii();
    let Some((known, build)) = CONTROLS.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
    else {
        return Err(Wrong::unknown("setting of `ctl`", name, CONTROLS.iter().map(|(known, _)| *known)));
    };
    let value = value.get(equals + 1..).unwrap_or_default().trim_ascii();
    let value = value.strip_prefix(b"'").and_then(|value| value.strip_suffix(b"'")).unwrap_or(value);
    if value.is_empty() {
        return Err(Wrong::new(format!("`ctl:{known}` has no value"), format!("write `ctl:{known}=…`")));
    }
    build(value).map_err(|wrong| Wrong { what: format!("`ctl:{known}`: {}", wrong.what), ..wrong })
}

/// One of several words, in any case.
fn word<T: Copy>(value: &[u8], words: &[(&str, T)]) -> Result<T, Wrong> {
    match words.iter().find(|(word, _)| word.as_bytes().eq_ignore_ascii_case(value)) {
        Some((_, meaning)) => Ok(*meaning),
        None => {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            Err(Wrong::new(format!("`{}` is not known", shown(value)), format!("write {}", all.join(" or "))))
        }
    }
}

pub(crate) fn switch(value: &[u8]) -> Result<bool, Wrong> {
    word(value, &[("On", true), ("Off", false)])
}

pub(crate) fn engine_mode(value: &[u8]) -> Result<EngineMode, Wrong> {
    word(
        value,
        &[("On", EngineMode::On), ("Off", EngineMode::Off), ("DetectionOnly", EngineMode::DetectionOnly)],
    )
}

pub(crate) fn audit_mode(value: &[u8]) -> Result<AuditMode, Wrong> {
    word(value, &[("On", AuditMode::On), ("Off", AuditMode::Off), ("RelevantOnly", AuditMode::RelevantOnly)])
}

pub(crate) fn xml_into_args(value: &[u8]) -> Result<XmlIntoArgs, Wrong> {
    word(value, &[("On", XmlIntoArgs::On), ("Off", XmlIntoArgs::Off), ("OnlyArgs", XmlIntoArgs::OnlyArgs)])
}

fn processor(value: &[u8]) -> Result<Processor, Wrong> {
    word(
        value,
        &[
            ("URLENCODED", Processor::UrlEncoded),
            ("MULTIPART", Processor::Multipart),
            ("JSON", Processor::Json),
            ("XML", Processor::Xml),
            ("GRAPHQL", Processor::GraphQl),
            ("PROTOBUF", Processor::Protobuf),
            ("GRPC", Processor::Protobuf),
            ("NDJSON", Processor::NdJson),
            ("JSONSTREAM", Processor::NdJson),
            ("RAW", Processor::Raw),
        ],
    )
}

fn off(name: &str, value: &[u8]) -> Result<Control, Wrong> {
    if switch(value)? {
        return Err(Wrong::new(
            format!("`{name}` is not supported: links are not signed here"),
            "take it out",
        ));
    }
    Ok(Control::Nothing)
}

pub(crate) fn number(value: &[u8]) -> Result<u64, Wrong> {
    whole(value).ok_or_else(|| {
        Wrong::new(format!("`{}` is not a whole number", shown(value)), "write decimal digits alone")
    })
}

fn text(value: &[u8]) -> Result<String, Wrong> {
    if value.is_empty() {
        return Err(Wrong::new("there is no text to compare with", "write the whole tag or message"));
    }
    Ok(utf8(value)?.to_owned())
}

/// `+E`, `-E`, `ABIJ`.
fn parts(value: &[u8]) -> Result<PartsChange, Wrong> {
    let (letters, build): (&[u8], fn(String) -> PartsChange) = match value {
        [b'+', letters @ ..] => (letters, PartsChange::Add),
        [b'-', letters @ ..] => (letters, PartsChange::Remove),
        letters => (letters, PartsChange::Set),
    };
    Ok(build(audit_parts(letters)?))
}

/// Letters of the audit log's parts.
pub(crate) fn audit_parts(letters: &[u8]) -> Result<String, Wrong> {
    if letters.is_empty() || !letters.iter().all(|b| matches!(b, b'A'..=b'K' | b'Z')) {
        return Err(Wrong::new(
            format!("`{}` are not parts of the audit log", shown(letters)),
            "write letters from A to K, and Z",
        ));
    }
    Ok(utf8(letters)?.to_owned())
}

/// `12`, `12-34`, several separated by blanks or commas: both ends included.
pub(crate) fn ids(value: &[u8]) -> Result<Vec<(u64, u64)>, Wrong> {
    let mut found = Vec::new();
    let parts = value.split(|&b| b == b',' || b.is_ascii_whitespace()).filter(|part| !part.is_empty());
    for part in parts {
        let dash = part.iter().position(|&b| b == b'-');
        let range = match dash {
            None => whole(part).map(|id| (id, id)),
            Some(at) => whole(&part[..at]).zip(whole(&part[at + 1..])),
        };
        match range {
            Some((first, last)) if first <= last => found.push((first, last)),
            _ => {
                return Err(Wrong::new(
                    format!("`{}` is neither an id nor a range of ids", shown(part)),
                    "write `942100` or `942100-942199`; several are separated by blanks",
                ));
            }
        }
    }
    if found.is_empty() {
        return Err(Wrong::new("there is no id", "write `942100` or `942100-942199`"));
    }
    Ok(found)
}

/// `what;TARGET`.
fn with_target<'a>(name: &str, value: &'a [u8]) -> Result<(&'a [u8], Target), Wrong> {
    let Some(at) = value.iter().position(|&b| b == b';') else {
        return Err(Wrong::new(
            format!("`{}` names no variable", shown(value)),
            format!("write `ctl:{name}=…;ARGS:name`"),
        ));
    };
    let (parsed, after) = target(value[at + 1..].trim_ascii())?;
    if !after.is_empty() {
        return Err(Wrong::new(
            format!("`{}` follows the variable", shown(after)),
            format!("name one variable; write `ctl:{name}` once for each"),
        ));
    }
    if parsed.exclude || parsed.count {
        return Err(Wrong::new(
            format!("`{}` has `!` or `&` before it", shown(&value[at + 1..])),
            "the variable is what is left out: write its name alone",
        ));
    }
    Ok((value[..at].trim_ascii(), parsed))
}
