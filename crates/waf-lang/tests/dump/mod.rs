//! Rules as a person reads them, one line for each thing that is set.

use std::fmt::Write as _;

use waf_lang::model::{
    Effect, Item, Link, Macro, Operator, Part, Rule, RuleSet, Selector, Set, Skip, Target,
};

pub(crate) fn rules(rules: &RuleSet) -> String {
    let mut out = String::new();
    for item in &rules.items {
        match item {
            Item::Marker(name) => writeln!(out, "marker {name}").expect("room"),
            Item::Rule(rule) => self::rule(&mut out, rule),
        }
    }
    let set = format!("{:?}", rules.directives);
    let none = format!("{:?}", waf_lang::model::Directives::default());
    if set != none {
        directives(&mut out, &set, &none);
    }
    for note in &rules.notes {
        writeln!(out, "note {}:{}: {}", note.at.file, note.at.line, note.text).expect("room");
    }
    out
}

/// The fields that differ from an empty one.
fn directives(out: &mut String, set: &str, none: &str) {
    let fields = |text: &str| -> Vec<String> {
        let mut depth = 0;
        let mut fields = vec![String::new()];
        for c in text.chars() {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                _ => {}
            }
            if matches!(c, ',' | '{' | '}') && depth == 0 {
                fields.push(String::new());
            } else {
                fields.last_mut().expect("one").push(c);
            }
        }
        fields.into_iter().map(|field| field.trim().to_owned()).collect()
    };
    for (set, none) in fields(set).iter().zip(fields(none)) {
        if *set != none {
            writeln!(out, "{}", set.replace("Some(", "(")).expect("room");
        }
    }
}

fn rule(out: &mut String, rule: &Rule) {
    write!(out, "rule {} line {} phase {} {:?}", rule.id, rule.at.line, rule.phase, rule.disruptive)
        .expect("room");
    if rule.is_block {
        out.push_str(" block");
    }
    if let Some(status) = rule.status {
        write!(out, " status {status}").expect("room");
    }
    if !rule.log {
        out.push_str(" nolog");
    }
    if !rule.auditlog {
        out.push_str(" noauditlog");
    }
    match &rule.skip {
        Some(Skip::Rules(n)) => write!(out, " skip {n}").expect("room"),
        Some(Skip::After(name)) => write!(out, " skip after {name}").expect("room"),
        None => {}
    }
    for (name, value) in [
        ("severity", rule.severity.map(|n| n.to_string())),
        ("maturity", rule.maturity.map(|n| n.to_string())),
        ("accuracy", rule.accuracy.map(|n| n.to_string())),
        ("rev", rule.rev.clone()),
        ("ver", rule.ver.clone()),
    ] {
        if let Some(value) = value {
            write!(out, " {name} {value}").expect("room");
        }
    }
    for tag in &rule.tags {
        write!(out, " tag {}", text(tag)).expect("room");
    }
    out.push('\n');
    for link in &rule.links {
        self::link(out, link);
    }
}

fn link(out: &mut String, link: &Link) {
    out.push(' ');
    match &link.test {
        None => out.push_str(" always"),
        Some(test) => {
            for target in &test.targets {
                write!(out, " {}", self::target(target)).expect("room");
            }
            write!(out, " {}{}", if test.negated { "!" } else { "" }, operator(&test.operator))
                .expect("room");
        }
    }
    for transformation in &link.transformations {
        write!(out, " t:{}", transformation.name()).expect("room");
    }
    if link.multi_match {
        out.push_str(" multiMatch");
    }
    if link.capture {
        out.push_str(" capture");
    }
    for (name, value) in [("msg", &link.msg), ("logdata", &link.logdata)] {
        if let Some(value) = value {
            write!(out, " {name} {}", text(value)).expect("room");
        }
    }
    for tag in &link.tags {
        write!(out, " tag {}", text(tag)).expect("room");
    }
    for (prefix, name) in &link.namespaces {
        write!(out, " xmlns {prefix} {name}").expect("room");
    }
    out.push('\n');
    for effect in &link.effects {
        writeln!(out, "    {}", self::effect(effect)).expect("room");
    }
}

fn target(target: &Target) -> String {
    let mark = match (target.exclude, target.count) {
        (true, _) => "!",
        (_, true) => "&",
        _ => "",
    };
    let selector = match &target.selector {
        Selector::All => String::new(),
        Selector::Name(name) => format!(":{}", String::from_utf8_lossy(name)),
        Selector::Regex(regex) => format!("/{regex}/"),
        Selector::XPath(path) => format!("[{path}]"),
    };
    format!("{mark}{}{selector}", target.variable.name())
}

fn operator(operator: &Operator) -> String {
    match operator {
        Operator::Pm(phrases) => {
            let all: Vec<_> = phrases.iter().map(|phrase| String::from_utf8_lossy(phrase)).collect();
            format!("Pm({})", all.join(" | "))
        }
        Operator::IpMatch(networks) => {
            let all: Vec<_> = networks.iter().map(|n| format!("{}/{}", n.address, n.bits)).collect();
            format!("IpMatch({})", all.join(" "))
        }
        Operator::ValidateSchema(_) => "ValidateSchema".to_owned(),
        Operator::ValidateByteRange(set) => format!("ValidateByteRange({} bytes)", set.len()),
        Operator::Rx(m) => format!("Rx({})", text(m)),
        Operator::RxGlobal(m) => format!("RxGlobal({})", text(m)),
        Operator::Contains(m) => format!("Contains({})", text(m)),
        Operator::ContainsWord(m) => format!("ContainsWord({})", text(m)),
        Operator::StrMatch(m) => format!("StrMatch({})", text(m)),
        Operator::StrEq(m) => format!("StrEq({})", text(m)),
        Operator::Within(m) => format!("Within({})", text(m)),
        Operator::BeginsWith(m) => format!("BeginsWith({})", text(m)),
        Operator::EndsWith(m) => format!("EndsWith({})", text(m)),
        Operator::Eq(m) => format!("Eq({})", text(m)),
        Operator::Gt(m) => format!("Gt({})", text(m)),
        Operator::Ge(m) => format!("Ge({})", text(m)),
        Operator::Lt(m) => format!("Lt({})", text(m)),
        Operator::Le(m) => format!("Le({})", text(m)),
        other => format!("{other:?}"),
    }
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::SetVar { collection, name, to } => {
            let to = match to {
                Set::To(value) => format!("= {}", text(value)),
                Set::Add(value) => format!("+= {}", text(value)),
                Set::Subtract(value) => format!("-= {}", text(value)),
                Set::Unset => "unset".to_owned(),
            };
            format!("{}.{} {to}", collection.name(), text(name))
        }
        Effect::ExpireVar { collection, name, seconds } => {
            format!("expire {}.{} in {}", collection.name(), text(name), text(seconds))
        }
        Effect::InitCollection(variable, key) => format!("init {} {}", variable.name(), text(key)),
        Effect::SetUser(value) => format!("user {}", text(value)),
        Effect::SetSession(value) => format!("session {}", text(value)),
        Effect::SetResource(value) => format!("resource {}", text(value)),
        Effect::SetEnv(name, value) => format!("env {} = {}", text(name), text(value)),
        Effect::Sanitise(variable, name) => {
            let name = name.as_ref().map_or("", |name| std::str::from_utf8(name).unwrap_or("?"));
            format!("sanitise {} {name}", variable.name())
        }
        Effect::Control(control) => {
            // Targets and texts as they are read, everything else as it is.
            let text = format!("{control:?}");
            format!("ctl {text}").replace("variable: ", "").replace(", count: false, exclude: false", "")
        }
    }
}

/// Macros in braces, so that a `%{…}` that is text can be told from one that is not.
fn text(text: &Macro) -> String {
    let mut out = String::new();
    for part in &text.0 {
        match part {
            Part::Text(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
            Part::Variable(variable, None) => write!(out, "{{{}}}", variable.name()).expect("room"),
            Part::Variable(variable, Some(name)) => {
                write!(out, "{{{}.{}}}", variable.name(), String::from_utf8_lossy(name)).expect("room");
            }
        }
    }
    format!("«{out}»")
}
