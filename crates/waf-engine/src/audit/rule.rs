//! A rule as its file could have it, with everything that defaults say: part K.

use std::fmt::Write;
use waf_lang::model::{AllowScope, Disruptive, Link, Macro, Part, Rule, Selector, Target};

/// The whole chain, its links separated by ` ; `: a log has one rule a line.
pub(super) fn text(rule: &Rule) -> String {
    let mut out = String::new();
    let last = rule.links.len().saturating_sub(1);
    for (at, link) in rule.links.iter().enumerate() {
        if at > 0 {
            out.push_str(" ; ");
        }
        match &link.test {
            None => out.push_str("SecAction"),
            Some(test) => {
                let targets: Vec<String> = test.targets.iter().map(target).collect();
                let _ = write!(out, "SecRule \"{}\" \"{}\"", targets.join("|"), test.written);
            }
        }
        let mut actions = if at == 0 { first(rule) } else { Vec::new() };
        actions.extend(of_link(link));
        if at < last {
            actions.push("chain".to_owned());
        }
        let _ = write!(out, " \"{}\"", actions.join(","));
    }
    super::text::one_line(out.as_bytes())
}

fn first(rule: &Rule) -> Vec<String> {
    let disruptive = match &rule.disruptive {
        Disruptive::Pass => "pass".to_owned(),
        Disruptive::Deny => "deny".to_owned(),
        Disruptive::Drop => "drop".to_owned(),
        Disruptive::Redirect(to) => format!("redirect:'{}'", plain(to)),
        Disruptive::Allow(AllowScope::Transaction) => "allow".to_owned(),
        Disruptive::Allow(AllowScope::Phase) => "allow:phase".to_owned(),
        Disruptive::Allow(AllowScope::Request) => "allow:request".to_owned(),
    };
    let mut actions = vec![format!("phase:{}", rule.phase), disruptive];
    actions.push(if rule.log { "log" } else { "nolog" }.to_owned());
    actions.push(if rule.auditlog { "auditlog" } else { "noauditlog" }.to_owned());
    actions.push(format!("id:{}", rule.id));
    actions.extend(rule.status.map(|status| format!("status:{status}")));
    actions.extend(rule.severity.map(|severity| format!("severity:{severity}")));
    actions.extend(rule.rev.as_ref().map(|rev| format!("rev:'{rev}'")));
    actions.extend(rule.ver.as_ref().map(|ver| format!("ver:'{ver}'")));
    actions.extend(rule.maturity.map(|maturity| format!("maturity:{maturity}")));
    actions.extend(rule.accuracy.map(|accuracy| format!("accuracy:{accuracy}")));
    actions.extend(rule.tags.iter().map(|tag| format!("tag:'{}'", plain(tag))));
    actions
}

fn of_link(link: &Link) -> Vec<String> {
    let mut actions: Vec<String> =
        link.transformations.iter().map(|step| format!("t:{}", step.name())).collect();
    if link.multi_match {
        actions.push("multiMatch".to_owned());
    }
    if link.capture {
        actions.push("capture".to_owned());
    }
    actions.extend(link.msg.as_ref().map(|msg| format!("msg:'{}'", plain(msg))));
    actions.extend(link.logdata.as_ref().map(|data| format!("logdata:'{}'", plain(data))));
    actions
}

fn target(target: &Target) -> String {
    let sign = match (target.exclude, target.count) {
        (true, _) => "!",
        (false, true) => "&",
        (false, false) => "",
    };
    let name = target.variable.name();
    match &target.selector {
        Selector::All => format!("{sign}{name}"),
        Selector::Name(member) => format!("{sign}{name}:{}", String::from_utf8_lossy(member)),
        Selector::Regex(text) => format!("{sign}{name}:/{text}/"),
        Selector::XPath(path) => format!("{sign}{name}:{path}"),
    }
}

/// A text with its macros as they are written.
fn plain(text: &Macro) -> String {
    let mut out = String::new();
    for part in &text.0 {
        match part {
            Part::Text(text) => out.push_str(&String::from_utf8_lossy(text)),
            Part::Variable(variable, None) => {
                let _ = write!(out, "%{{{}}}", variable.name());
            }
            Part::Variable(variable, Some(member)) => {
                let _ = write!(out, "%{{{}.{}}}", variable.name(), String::from_utf8_lossy(member));
            }
        }
    }
    out
}
