//! A chain of links as written, with its phase's default actions, into a rule.

use crate::action::Action;
use crate::model::{Control, Disruptive, Effect, Link, Note, Place, Rule};
use crate::rules::{Draft, DraftRule};

/// What `SecDefaultAction` says, and where, by phase: 1 to 5.
pub(crate) type Defaults = [Option<(Place, Vec<Action>)>; 6];

/// The rule that a chain of drafts says.
pub(crate) fn build(draft: DraftRule, defaults: &Defaults, notes: &mut Vec<Note>) -> Rule {
    let mut rule = Rule {
        id: draft.id,
        at: draft.links[0].at.clone(),
        phase: 2,
        disruptive: Disruptive::Pass,
        is_block: false,
        status: None,
        log: true,
        auditlog: true,
        skip: None,
        severity: None,
        tags: Vec::new(),
        rev: None,
        ver: None,
        maturity: None,
        accuracy: None,
        links: Vec::with_capacity(draft.links.len()),
    };
    for action in &draft.links[0].actions {
        if let Action::Phase(phase) = action {
            rule.phase = *phase;
        }
    }
    let default: &[Action] = defaults[usize::from(rule.phase)].as_ref().map_or(&[], |(_, actions)| actions);
    let mut kept = Logging::default();
    // What a later link says is said first, so that an earlier one overrides it.
    settle(&mut rule, &mut kept, default, notes, Role::Default);
    // `block` among them makes every rule of the phase one that blocks.
    let mut by_default = std::mem::replace(&mut rule.disruptive, Disruptive::Pass);
    for link in draft.links[1..].iter().rev() {
        settle(&mut rule, &mut kept, &link.actions, notes, Role::Later(&link.at));
    }
    let explicit = settle(&mut rule, &mut kept, &draft.links[0].actions, notes, Role::First);
    if rule.is_block && !explicit {
        rule.disruptive = std::mem::replace(&mut by_default, Disruptive::Pass);
    }
    rule.is_block &= !explicit;
    if let Some(status) = rule.status.filter(|status| *status < 200) {
        let text = format!("`status:{status}` has no effect: it is not the status of an answer; 403 is sent");
        notes.push(Note { at: rule.at.clone(), text });
        rule.status = None;
    }
    (rule.log, rule.auditlog) = (kept.log, kept.saved && !kept.unaudited);

    let last = draft.links.len() - 1;
    for (n, link) in draft.links.into_iter().enumerate() {
        let built = build_link(link, default, n, n == last, notes);
        rule.links.push(built);
    }
    rule
}

/// Whose actions are looked at.
#[derive(Clone, Copy)]
enum Role<'a> {
    Default,
    Later(&'a Place),
    First,
}

/// What `log`, `nolog`, `auditlog` and `noauditlog` come to.
struct Logging {
    log: bool,
    saved: bool,
    unaudited: bool,
}

impl Default for Logging {
    fn default() -> Self {
        Self { log: true, saved: true, unaudited: false }
    }
}

/// Takes what is the whole rule's from a link; answers whether it has a disruptive
/// action other than `block`.
fn settle(
    rule: &mut Rule,
    kept: &mut Logging,
    actions: &[Action],
    notes: &mut Vec<Note>,
    role: Role<'_>,
) -> bool {
    let mut explicit = false;
    for action in actions {
        match action {
            Action::Block => rule.is_block = true,
            Action::Disruptive(disruptive) => {
                rule.disruptive = disruptive.clone();
                explicit = true;
            }
            Action::Status(status) => rule.status = Some(*status),
            Action::Severity(severity) => rule.severity = Some(*severity),
            Action::Skip(skip) => rule.skip = Some(skip.clone()),
            // `nolog` is of both logs; `auditlog` after it of the one alone.
            Action::Log(log) => (kept.log, kept.saved) = (*log, *log),
            Action::AuditLog(true) => (kept.saved, kept.unaudited) = (true, false),
            Action::AuditLog(false) => kept.unaudited = true,
            Action::Tag(tag) if !matches!(role, Role::Later(_)) => rule.tags.push(tag.clone()),
            Action::Id(_)
            | Action::Phase(_)
            | Action::Rev(_)
            | Action::Ver(_)
            | Action::Maturity(_)
            | Action::Accuracy(_) => match role {
                Role::Later(at) => note_later(rule, action, at, notes),
                Role::First => settle_metadata(rule, action),
                Role::Default => {}
            },
            _ => {}
        }
    }
    explicit
}

fn settle_metadata(rule: &mut Rule, action: &Action) {
    match action {
        Action::Rev(rev) => rule.rev = Some(rev.clone()),
        Action::Ver(ver) => rule.ver = Some(ver.clone()),
        Action::Maturity(n) => rule.maturity = Some(*n),
        Action::Accuracy(n) => rule.accuracy = Some(*n),
        _ => {}
    }
}

/// A chained rule's own id and the like mean nothing.
fn note_later(rule: &Rule, action: &Action, at: &Place, notes: &mut Vec<Note>) {
    let name = match action {
        Action::Phase(phase) if *phase == rule.phase => return,
        Action::Phase(_) => "phase",
        Action::Id(_) => "id",
        Action::Rev(_) => "rev",
        Action::Ver(_) => "ver",
        Action::Maturity(_) => "maturity",
        _ => "accuracy",
    };
    let text =
        format!("`{name}` of a chained rule has no effect: the first rule of chain {} says it", rule.id);
    notes.push(Note { at: at.clone(), text });
}

fn build_link(draft: Draft, default: &[Action], n: usize, last: bool, notes: &mut Vec<Note>) -> Link {
    let mut link = Link {
        at: draft.at,
        test: draft.test,
        transformations: Vec::new(),
        multi_match: false,
        capture: false,
        msg: None,
        logdata: None,
        effects: Vec::new(),
        tags: Vec::new(),
        namespaces: Vec::new(),
    };
    for action in default {
        match action {
            Action::Transformation(transformation) => link.transformations.push(*transformation),
            Action::Capture => link.capture = true,
            Action::MultiMatch => link.multi_match = true,
            Action::Msg(msg) if n == 0 => link.msg = Some(msg.clone()),
            Action::LogData(logdata) if n == 0 => link.logdata = Some(logdata.clone()),
            // Default effects are of the whole chain's match.
            Action::Effect(effect) if last => link.effects.push(effect.clone()),
            _ => {}
        }
    }
    for action in draft.actions {
        match action {
            Action::Transformation(transformation) => link.transformations.push(transformation),
            Action::TransformationNone => link.transformations.clear(),
            Action::MultiMatch => link.multi_match = true,
            Action::Capture => link.capture = true,
            Action::Msg(msg) => link.msg = Some(msg),
            Action::LogData(logdata) => link.logdata = Some(logdata),
            Action::Tag(tag) if n > 0 => link.tags.push(tag),
            Action::Namespace(prefix, name) => link.namespaces.push((prefix, name)),
            Action::Effect(effect) => {
                if effect == Effect::Control(Control::Nothing) {
                    let text = "`ctl` of the debug log or of hashes has no effect: there are none".to_owned();
                    notes.push(Note { at: link.at.clone(), text });
                }
                link.effects.push(effect);
            }
            _ => {}
        }
    }
    link
}
