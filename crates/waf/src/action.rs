//! A rule's actions.

use crate::error::Wrong;
use crate::parse::split_outside_quotes;
use crate::transform::Transformation;

/// When a rule runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// As soon as the head is known.
    Head,
    /// With the body, or without one when the head is all there is.
    Body,
}

/// The actions of one `SecRule`, as written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Actions {
    pub(crate) id: Option<u64>,
    pub(crate) phase: Option<Phase>,
    /// `deny` is true, `pass` is false.
    pub(crate) deny: Option<bool>,
    pub(crate) status: Option<u16>,
    pub(crate) msg: Option<String>,
    pub(crate) severity: Option<&'static str>,
    pub(crate) tags: Vec<String>,
    pub(crate) transformations: Vec<Transformation>,
    pub(crate) log: Option<bool>,
    pub(crate) chain: bool,
}

const NAMES: &[&str] =
    &["id", "phase", "deny", "pass", "status", "msg", "severity", "tag", "t", "log", "nolog", "chain"];

/// Syslog's severities (RFC 5424 §6.2.1) as SecLang spells them.
const SEVERITIES: &[&str] =
    &["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

impl Actions {
    /// Reads `id:1,phase:2,t:none,deny,msg:'…'`.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut actions = Self::default();
        for item in split_outside_quotes(text, ',') {
            let (name, value) = match item.split_once(':') {
                Some((name, value)) => (name.trim(), Some(unquote(value.trim())?)),
                None => (item, None),
            };
            actions.add(&name.to_ascii_lowercase(), name, value)?;
        }
        Ok(actions)
    }

    fn add(&mut self, name: &str, shown: &str, value: Option<String>) -> Result<(), Wrong> {
        let needs = |value: Option<String>| {
            let missing = || Wrong::new(format!("`{name}` needs a value"), format!("write `{name}:…`"));
            value.filter(|v| !v.is_empty()).ok_or_else(missing)
        };
        let twice = match name {
            "id" => self.id.replace(id(&needs(value)?)?).is_some(),
            "phase" => self.phase.replace(phase(&needs(value)?)?).is_some(),
            "status" => self.status.replace(status(&needs(value)?)?).is_some(),
            "msg" => self.msg.replace(needs(value)?).is_some(),
            "severity" => self.severity.replace(severity(&needs(value)?)?).is_some(),
            "tag" => {
                self.tags.push(needs(value)?);
                false
            }
            "t" => {
                let value = needs(value)?;
                if value.eq_ignore_ascii_case("none") {
                    self.transformations.clear();
                } else {
                    self.transformations.push(Transformation::parse(&value)?);
                }
                false
            }
            "deny" | "pass" | "log" | "nolog" | "chain" if value.is_some() => {
                return Err(Wrong::new(format!("`{name}` takes no value"), format!("write `{name}` alone")));
            }
            "deny" | "pass" => self.deny.replace(name == "deny").is_some(),
            "log" | "nolog" => self.log.replace(name == "log").is_some(),
            "chain" => std::mem::replace(&mut self.chain, true),
            _ => return Err(Wrong::unknown("action", "", shown, NAMES.iter().copied())),
        };
        if twice {
            let what = format!("the rule says twice what `{name}` says");
            return Err(Wrong::new(what, "say it once"));
        }
        Ok(())
    }
}

fn unquote(value: &str) -> Result<String, Wrong> {
    let Some(rest) = value.strip_prefix('\'') else {
        return Ok(value.to_owned());
    };
    match rest.strip_suffix('\'').filter(|inner| !inner.ends_with('\\') || inner.ends_with("\\\\")) {
        Some(inner) => Ok(inner.replace("\\'", "'")),
        None => Err(Wrong::new(format!("the quote in `{value}` is not closed"), "close it with `'`")),
    }
}

fn id(text: &str) -> Result<u64, Wrong> {
    let wrong = || Wrong::new(format!("`id:{text}` is not a number"), "give the rule a number of its own");
    let id: u64 = text.parse().map_err(|_| wrong())?;
    let first = crate::builtin::FIRST_FREE;
    if id < first {
        let what = format!("the id {id} is one of the engine's own");
        return Err(Wrong::new(what, format!("use {first} or more")));
    }
    Ok(id)
}

fn phase(text: &str) -> Result<Phase, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "1" => Ok(Phase::Head),
        "2" | "request" => Ok(Phase::Body),
        _ => {
            let what = format!("`phase:{text}` is not supported");
            Err(Wrong::new(what, "this version inspects requests: phase 1 (the head) or 2 (with the body)"))
        }
    }
}

fn status(text: &str) -> Result<u16, Wrong> {
    let parsed = text.parse().ok().filter(|status| (400..600).contains(status));
    parsed.ok_or_else(|| {
        Wrong::new(format!("`status:{text}` is not an error status"), "use one of 400 to 599, such as 403")
    })
}

fn severity(text: &str) -> Result<&'static str, Wrong> {
    let by_number = text.parse().ok().and_then(|n: usize| SEVERITIES.get(n));
    let by_name = || SEVERITIES.iter().find(|name| name.eq_ignore_ascii_case(text));
    let found = by_number.or_else(by_name).copied();
    found.ok_or_else(|| Wrong::unknown("severity", "", text, SEVERITIES.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_read() {
        let text = r"id:942100, phase:2,DENY,status:406,t:none,t:urlDecodeUni , t:lowercase,msg:'a, \'b\'',
                     severity:'CRITICAL',tag:x,tag:'y z',nolog,chain";
        let actions = Actions::parse(text).unwrap();
        assert_eq!(actions.id, Some(942_100));
        assert_eq!((actions.phase, actions.deny, actions.status), (Some(Phase::Body), Some(true), Some(406)));
        assert_eq!(actions.transformations, [Transformation::UrlDecodeUni, Transformation::Lowercase]);
        assert_eq!(actions.msg.as_deref(), Some("a, 'b'"));
        assert_eq!((actions.severity, actions.log, actions.chain), (Some("CRITICAL"), Some(false), true));
        assert_eq!(actions.tags, ["x", "y z"]);
        let actions = Actions::parse("t:lowercase,t:none,severity:4").unwrap();
        assert_eq!((actions.transformations.len(), actions.severity), (0, Some("WARNING")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("id:x", "not a number"),
            ("id:7", "engine's own"),
            ("id", "needs a value"),
            ("id:101,id:102", "twice"),
            ("deny,pass", "twice"),
            ("deny:1", "takes no value"),
            ("phase:3", "`phase:3` is not supported"),
            ("status:200", "not an error status"),
            ("msg:'x", "not closed"),
            ("severity:BAD", "`BAD` is not supported"),
            ("block", "`block` is not supported"),
            ("setvar:tx.a=1", "`setvar` is not supported"),
            ("t:sha1", "`t:sha1` is not supported"),
            ("id:101,,deny", "`` is not supported"),
        ];
        for (text, part) in cases {
            let wrong = Actions::parse(text).unwrap_err();
            assert!(wrong.what.contains(part), "{text}: {wrong:?}");
        }
    }
}
