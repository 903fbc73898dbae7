//! Rules as they are put together: links into chains, default actions, removals
//! and updates, which apply to all rules wherever they stand, as in libmodsecurity.

use std::collections::HashMap;
use std::sync::Arc;

use crate::action::Action;
use crate::build::{Defaults, build};
use crate::error::Wrong;
use crate::model::{Item, Note, Operator, Place, Skip, Target, Test};

/// One `SecRule` or `SecAction` as written.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) at: Place,
    pub(crate) test: Option<Test>,
    pub(crate) actions: Vec<Action>,
}

/// A chain of them.
#[derive(Debug)]
pub(crate) struct DraftRule {
    pub(crate) id: u64,
    pub(crate) links: Vec<Draft>,
}

#[derive(Debug)]
pub(crate) enum DraftItem {
    Rule(DraftRule),
    Marker(Arc<str>),
}

/// Which rules a removal or an update means.
#[derive(Debug)]
pub(crate) enum Which {
    Ids(Vec<(u64, u64)>),
    /// Of one of the tags, the whole text, in the same case.
    Tag(Vec<u8>),
    /// Of the message.
    Msg(Vec<u8>),
}

/// A change to rules that stand before or after it.
#[derive(Debug)]
pub(crate) enum Change {
    Remove(Which),
    Targets(Which, Vec<Target>),
    /// The rule's id, which link of its chain, and the actions.
    Actions(u64, usize, Vec<Action>),
}

/// What has been read so far.
#[derive(Default)]
pub(crate) struct Drafts {
    items: Vec<DraftItem>,
    /// Where each id was given.
    ids: HashMap<u64, Place>,
    /// The last link said `chain`.
    open: Option<Place>,
    /// The rule that is being put together has an error: its links are dropped.
    broken: bool,
    /// A rule before could not be read at all, and may have said `chain`.
    unsure: bool,
    /// By phase, 1 to 5.
    defaults: Defaults,
    changes: Vec<(Place, String, Change)>,
}

type Found = Vec<(Place, Wrong)>;

impl Drafts {
    /// Adds a link; `None` where it did not parse, with whether `chain` stood in it.
    pub(crate) fn link(&mut self, at: &Place, draft: Option<Draft>, chain: bool) -> Result<(), Wrong> {
        let first = self.open.is_none();
        self.open = chain.then(|| at.clone());
        if first {
            self.broken = false;
        }
        let Some(draft) = draft else {
            self.broken = true;
            return Ok(());
        };
        let checked = if first { self.check_first(&draft) } else { check_later(&draft).map(|()| 0) };
        match checked {
            Err(wrong) => {
                self.broken = true;
                Err(wrong)
            }
            Ok(_) if self.broken => Ok(()),
            Ok(id) if first => {
                self.items.push(DraftItem::Rule(DraftRule { id, links: vec![draft] }));
                Ok(())
            }
            Ok(_) => {
                if let Some(DraftItem::Rule(rule)) = self.items.last_mut() {
                    rule.links.push(draft);
                }
                Ok(())
            }
        }
    }

    /// A line that is a rule and could not be split: it may have said `chain`, so that
    /// what follows is not held against it.
    pub(crate) fn unreadable(&mut self, is_rule: bool) {
        if is_rule {
            self.broken = true;
            self.unsure = true;
            self.open = None;
        }
    }

    /// What holds of the first link of a rule: its id.
    fn check_first(&mut self, draft: &Draft) -> Result<u64, Wrong> {
        let id = draft.actions.iter().rev().find_map(|action| match action {
            Action::Id(id) => Some(*id),
            _ => None,
        });
        let Some(id) = id else {
            if self.unsure {
                self.broken = true;
                return Ok(0);
            }
            // libmodsecurity asks for one of `SecRule` alone.
            if draft.test.is_none() {
                return Ok(0);
            }
            return Err(Wrong::new("the rule has no id", "give it one: `id:1`; local rules use 1 to 99999"));
        };
        if let Some(before) = self.ids.get(&id) {
            return Err(Wrong::new(
                format!("rule id {id} is used before, at {}:{}", before.file, before.line),
                "give one of them another id; a file included twice does this too",
            ));
        }
        self.ids.insert(id, draft.at.clone());
        self.unsure = false;
        Ok(id)
    }

    pub(crate) fn marker(&mut self, name: Arc<str>) -> Result<(), Wrong> {
        self.not_in_chain("SecMarker")?;
        self.items.push(DraftItem::Marker(name));
        Ok(())
    }

    /// Refuses what cannot stand between the links of a chain.
    fn not_in_chain(&self, directive: &str) -> Result<(), Wrong> {
        match &self.open {
            None => Ok(()),
            Some(open) => Err(Wrong::new(
                format!("`{directive}` stands inside the chain that continues at line {}", open.line),
                "put the chain's next `SecRule` right after it, or take `chain` out",
            )),
        }
    }

    /// `SecDefaultAction`.
    pub(crate) fn default_action(
        &mut self,
        at: Place,
        actions: Vec<Action>,
        notes: &mut Vec<Note>,
    ) -> Result<(), Wrong> {
        let mut phase = None;
        let mut disruptive = false;
        for action in &actions {
            match action {
                Action::Phase(n) => phase = Some(usize::from(*n)),
                Action::Disruptive(_) => disruptive = true,
                Action::AuditLog(_)
                | Action::Block
                | Action::Capture
                | Action::Effect(_)
                | Action::Log(_)
                | Action::LogData(_)
                | Action::Msg(_)
                | Action::MultiMatch
                | Action::Severity(_)
                | Action::Status(_)
                | Action::Tag(_)
                | Action::Transformation(_) => {}
                Action::TransformationNone => {
                    return Err(Wrong::new(
                        "`t:none` is not suitable for `SecDefaultAction`",
                        "name the transformations that every rule should have, or none",
                    ));
                }
                _ => {
                    return Err(Wrong::new(
                        "`SecDefaultAction` has an action that is a rule's own (`id`, `chain`, `skip`, `rev` and the like)",
                        "write it in the rules; here: a disruptive action, `log`, `auditlog`, `status`, `msg`, `tag`, `t:…`, `setvar` and the like",
                    ));
                }
            }
        }
        let phase = phase.unwrap_or_else(|| {
            // libmodsecurity's parser takes the phase of request headers then, though
            // rules without a phase are of phase 2.
            let text =
                "this `SecDefaultAction` names no phase: it is taken for phase 1, as in libmodsecurity";
            notes.push(Note { at: at.clone(), text: text.to_owned() });
            1
        });
        if !disruptive {
            return Err(Wrong::new(
                "`SecDefaultAction` has no disruptive action",
                "write `pass`, `deny`, `drop`, `redirect` or `allow`: it is what `block` means",
            ));
        }
        if let Some((before, _)) = &self.defaults[phase] {
            return Err(Wrong::new(
                format!(
                    "`SecDefaultAction` for phase {phase} is given before, at {}:{}",
                    before.file, before.line
                ),
                "keep one for each phase",
            ));
        }
        self.defaults[phase] = Some((at, actions));
        Ok(())
    }

    pub(crate) fn change(&mut self, at: Place, directive: &str, change: Change) -> Result<(), Wrong> {
        if let Change::Actions(_, link, actions) = &change {
            check_update(*link, actions)?;
        }
        self.changes.push((at, directive.to_owned(), change));
        Ok(())
    }

    /// At the end of the files: a chain that is still open never matches, as in
    /// libmodsecurity; its links are looked at all the same.
    pub(crate) fn end(&mut self, notes: &mut Vec<Note>) {
        let Some(at) = self.open.take() else { return };
        if let Some(DraftItem::Rule(rule)) = self.items.last_mut()
            && !self.broken
        {
            let operator = Operator::Never;
            let test = Test { targets: Vec::new(), negated: false, operator, written: "@noMatch".to_owned() };
            rule.links.push(Draft { at: at.clone(), test: Some(test), actions: Vec::new() });
            let text = format!("rule {} never acts: it says `chain`, and no rule follows it", rule.id);
            notes.push(Note { at, text });
        }
    }

    /// Applies removals, updates and defaults.
    pub(crate) fn finish(mut self, notes: &mut Vec<Note>) -> Result<Vec<Item>, Found> {
        let mut wrongs = Vec::new();
        self.check_markers(notes);
        for (at, directive, change) in std::mem::take(&mut self.changes) {
            if let Err(text) = self.apply(change, &at, &mut wrongs) {
                notes.push(Note { at, text: format!("`{directive}` has no effect: {text}") });
            }
        }
        let mut items = Vec::with_capacity(self.items.len());
        for item in self.items {
            items.push(match item {
                DraftItem::Marker(name) => Item::Marker(name),
                DraftItem::Rule(rule) if rule.id == 0 => {
                    let text = "this `SecAction` has no id: it cannot be removed, updated or named in events";
                    notes.push(Note { at: rule.links[0].at.clone(), text: text.to_owned() });
                    Item::Rule(Box::new(build(rule, &self.defaults, notes)))
                }
                DraftItem::Rule(rule) => Item::Rule(Box::new(build(rule, &self.defaults, notes))),
            });
        }
        if wrongs.is_empty() { Ok(items) } else { Err(wrongs) }
    }

    /// Tells of every `skipAfter` that leads nowhere behind it: as in libmodsecurity
    /// it leaves out the rest of the phase, which is seldom what is meant.
    fn check_markers(&self, notes: &mut Vec<Note>) {
        // The last place of each marker and each rule's id.
        let mut last: HashMap<&str, usize> = HashMap::new();
        let ids: Vec<String> = self
            .items
            .iter()
            .map(|item| match item {
                DraftItem::Marker(_) => String::new(),
                DraftItem::Rule(rule) => rule.id.to_string(),
            })
            .collect();
        for (n, item) in self.items.iter().enumerate() {
            match item {
                DraftItem::Marker(name) => last.insert(name, n),
                DraftItem::Rule(_) => last.insert(&ids[n], n),
            };
        }
        for (n, item) in self.items.iter().enumerate() {
            let DraftItem::Rule(rule) = item else { continue };
            for link in &rule.links {
                for action in &link.actions {
                    if let Action::Skip(Skip::After(name)) = action
                        && last.get(&**name).is_none_or(|at| *at <= n)
                    {
                        let why = match last.get(&**name) {
                            Some(_) => "the marker stands before it".to_owned(),
                            None => {
                                match Wrong::unknown("marker", name.as_bytes(), last.keys().copied()).hint {
                                    Some(hint) => hint,
                                    None => "there is none of that name".to_owned(),
                                }
                            }
                        };
                        let text = format!(
                            "`skipAfter:{name}` leaves out the rest of its phase: no such marker follows ({why})"
                        );
                        notes.push(Note { at: link.at.clone(), text });
                    }
                }
            }
        }
    }

    /// Applies one change; says why where it changes nothing.
    fn apply(&mut self, change: Change, at: &Place, wrongs: &mut Found) -> Result<(), String> {
        let rules = self.items.iter_mut().filter_map(|item| match item {
            DraftItem::Rule(rule) => Some(rule),
            DraftItem::Marker(_) => None,
        });
        let mut any = false;
        let nothing = change.names_nothing();
        match change {
            Change::Remove(which) => {
                self.items.retain(|item| {
                    let DraftItem::Rule(rule) = item else { return true };
                    let matches = which.matches(rule.id, &rule.links[0]);
                    any |= matches;
                    !matches
                });
            }
            Change::Targets(which, targets) => {
                for rule in rules {
                    let id = rule.id;
                    for (n, link) in rule.links.iter_mut().enumerate() {
                        if (n > 0 && matches!(which, Which::Ids(_))) || !which.matches(id, link) {
                            continue;
                        }
                        if let Some(test) = &mut link.test {
                            test.targets.extend_from_slice(&targets);
                            any = true;
                        }
                    }
                }
            }
            Change::Actions(id, offset, actions) => {
                for rule in rules.filter(|rule| rule.id == id) {
                    any = true;
                    let length = rule.links.len();
                    match rule.links.get_mut(offset) {
                        Some(link) => update(link, &actions),
                        None => wrongs.push((
                            at.clone(),
                            Wrong::new(
                                format!("rule {id} has {length} links, none with offset {offset}"),
                                "the first one has offset 0",
                            ),
                        )),
                    }
                }
            }
        }
        if any { Ok(()) } else { Err(nothing.to_owned()) }
    }
}

impl Change {
    /// What to say where no rule is meant.
    fn names_nothing(&self) -> &'static str {
        match self {
            Self::Remove(Which::Tag(_)) | Self::Targets(Which::Tag(_), _) => {
                "no rule has this tag; the whole text is compared, in the same case"
            }
            Self::Remove(Which::Msg(_)) | Self::Targets(Which::Msg(_), _) => {
                "no rule has this message; the whole text is compared, in the same case"
            }
            _ => "no rule has such an id",
        }
    }
}

impl Which {
    fn matches(&self, id: u64, link: &Draft) -> bool {
        match self {
            // A `SecAction` without an id has none to be meant by.
            Self::Ids(ranges) => id != 0 && ranges.iter().any(|(first, last)| (*first..=*last).contains(&id)),
            Self::Tag(tag) => link
                .actions
                .iter()
                .any(|action| matches!(action, Action::Tag(own) if own.as_text() == Some(tag.as_slice()))),
            Self::Msg(msg) => {
                let own = link.actions.iter().rev().find_map(|action| match action {
                    Action::Msg(own) => Some(own),
                    _ => None,
                });
                own.is_some_and(|own| own.as_text() == Some(msg.as_slice()))
            }
        }
    }
}

/// What holds of a link after the first.
fn check_later(draft: &Draft) -> Result<(), Wrong> {
    if draft.actions.iter().any(|action| matches!(action, Action::Disruptive(_))) {
        return Err(Wrong::new(
            "a disruptive action stands in a chained rule",
            "put it into the chain's first rule: it is done when all of them match",
        ));
    }
    Ok(())
}

/// What `SecRuleUpdateActionById` may say.
fn check_update(link: usize, actions: &[Action]) -> Result<(), Wrong> {
    for action in actions {
        let name = match action {
            Action::Id(_) => "id",
            Action::Phase(_) => "phase",
            Action::Chain => "chain",
            Action::Disruptive(_) if link > 0 => {
                return Err(Wrong::new(
                    "a disruptive action is given to a chained rule",
                    "give it to the chain's first rule: write the id without an offset",
                ));
            }
            _ => continue,
        };
        return Err(Wrong::new(
            format!("`SecRuleUpdateActionById` cannot change `{name}`"),
            "remove the rule and write it anew",
        ));
    }
    Ok(())
}

/// Later actions win when the rule is built; only `block` and what it stands for
/// have to make way for each other.
fn update(link: &mut Draft, actions: &[Action]) {
    let disrupts = |action: &Action| matches!(action, Action::Disruptive(_) | Action::Block);
    if actions.iter().any(disrupts) {
        link.actions.retain(|action| !disrupts(action));
    }
    link.actions.extend_from_slice(actions);
}
