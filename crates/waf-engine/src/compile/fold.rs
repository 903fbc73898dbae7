//! What can be decided when rules are loaded is not decided for every request.
//!
//! The rules are walked once with what is known of `TX`. As long as no rule has
//! been met whose outcome depends on the request (the prefix), what rules set is
//! kept as the state in which every transaction begins, and the rules are dropped;
//! only those of the first phase, which always runs.
//! After that, a rule whose condition is known to be false is dropped, and so is
//! what a rule certainly jumps over: the gates of paranoia levels.
//!
//! What keeps this sound: a variable that a rule may or may not set is unknown
//! from there on; a variable set after the prefix is unknown again in the next
//! phase, since an interruption may have come before; a gate that `ctl` may remove
//! is followed only if everything behind it is removed with it.

use super::lower::{Lowered, constant};
use crate::program::{
    Comparison, Disruptive, Effect, Link, Macro, Name, Operator, Piece, Program, Rule, Select, Set, Source,
    Test, TextTest, Value, bit,
};

pub(crate) fn fold(lowered: &mut Lowered) {
    let program = &mut lowered.program;
    let count = program.names.all.len();
    let mut walk = Walk {
        known: program.tx.iter().copied().map(Some).collect(),
        written: vec![false; count],
        prefix: true,
        maybe_until: 0,
    };
    for phase in 0..5 {
        walk.begin_phase();
        // The engine's own rules may end a transaction after any phase: what later ones
        // set is not there from the beginning.
        walk.prefix &= phase == 0;
        let order = std::mem::take(&mut lowered.order[phase]);
        let mut kept = Vec::with_capacity(order.len());
        let mut dead_until = 0;
        for (at, &number) in order.iter().enumerate() {
            if number < dead_until {
                continue;
            }
            let rule = &program.rules[number as usize];
            let decided = if loses_targets(program, number) { None } else { walk.decide(program, rule) };
            match decided {
                Some(false) => continue,
                Some(true) => {
                    let skip = lowered.skips[number as usize];
                    let behind = order[at + 1..].iter().take_while(|&&other| Some(other) < skip);
                    let certain = number >= walk.maybe_until && removed_together(program, number, behind);
                    if certain && let Some(to) = skip {
                        dead_until = to;
                    }
                    if certain && is_quiet(rule) && walk.try_apply(program, number) {
                        continue;
                    }
                    // It runs, for its effects.
                    kept.push(number);
                    walk.prefix &= !sees_tx(&program.rules[number as usize]);
                    walk.forget(program, number, skip);
                }
                None => {
                    kept.push(number);
                    walk.prefix &= !sees_tx(rule);
                    walk.forget(program, number, lowered.skips[number as usize]);
                }
            }
            if kept.last() == Some(&number) {
                walk.fill_in(program, number);
            }
        }
        lowered.order[phase] = kept;
    }
}

struct Walk {
    /// `TX` as far as it is known, by slot.
    known: Vec<Option<Value>>,
    /// Slots that something after the prefix sets.
    written: Vec<bool>,
    prefix: bool,
    /// Rules before this one may have been jumped over.
    maybe_until: u32,
}

impl Walk {
    fn begin_phase(&mut self) {
        self.maybe_until = 0;
        for (known, written) in self.known.iter_mut().zip(&self.written) {
            if *written {
                *known = None;
            }
        }
    }

    /// Whether all links match, if that is known.
    fn decide(&self, program: &Program, rule: &Rule) -> Option<bool> {
        let mut effects_before = false;
        for link in &rule.links {
            match self.decide_link(program, link) {
                Some(true) => effects_before |= !link.effects.is_empty() || link.capture,
                Some(false) if !effects_before => return Some(false),
                _ => return None,
            }
        }
        // What an earlier link sets, a later one may have looked at.
        (rule.links.len() == 1 || !effects_before).then_some(true)
    }

    fn decide_link(&self, program: &Program, link: &Link) -> Option<bool> {
        let Some(test) = &link.test else { return Some(true) };
        if link.chain != crate::chains::ChainId::NONE || link.multi_match {
            return None;
        }
        let mut any = false;
        for target in &test.targets {
            if target.source != Source::Tx || target.narrowed {
                return None;
            }
            let Select::Slot(slot) = target.select else { return None };
            let value = self.known[slot as usize]?;
            let value = match (target.count, value) {
                (true, Value::Absent) => Value::Number(0),
                (true, _) => Value::Number(1),
                (false, Value::Absent) => continue,
                (false, value) => value,
            };
            any |= self.decide_test(program, test, value)? != test.negated;
        }
        Some(any)
    }

    fn decide_test(&self, program: &Program, test: &Test, value: Value) -> Option<bool> {
        match &test.operator {
            Operator::Unconditional => Some(true),
            Operator::Never => Some(false),
            Operator::Number(comparison, other) => {
                let other = number_of(&self.expand(program, other)?);
                let value = number_of(&text_of(program, value));
                Some(compare(*comparison, value, other))
            }
            Operator::Text(TextTest::Equal, other) => {
                Some(text_of(program, value) == self.expand(program, other)?)
            }
            _ => None,
        }
    }

    /// A text with all its pieces known.
    fn expand(&self, program: &Program, text: &Macro) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        for piece in &text.0 {
            match piece {
                Piece::Text(text) => all.extend_from_slice(text),
                Piece::Tx(slot) => all.extend(text_of(program, self.known[*slot as usize]?)),
                Piece::Variable(..) | Piece::Find(..) => return None,
            }
        }
        Some(all)
    }

    /// Applies a rule's effects to what is known, and in the prefix to the state in
    /// which transactions begin. False: the rule must run.
    fn try_apply(&mut self, program: &mut Program, number: u32) -> bool {
        if is_excluded_somewhere(program, number) {
            return false;
        }
        let rule = &program.rules[number as usize];
        if !self.prefix {
            return rule.links.iter().all(|link| link.effects.is_empty());
        }
        let mut sets = Vec::new();
        for effect in rule.links.iter().flat_map(|link| &link.effects) {
            let Effect::SetTx(Name::Slot(slot), set) = effect else { return false };
            let before =
                sets.iter().rev().find(|(other, _)| other == slot).map(|(_, value): &(u32, Vec<u8>)| value);
            let before = match (before, self.known[*slot as usize]) {
                (Some(before), _) => before.clone(),
                (None, Some(known)) => text_of(program, known),
                (None, None) => return false,
            };
            let value = match set {
                Set::To(text) => self.expand(program, text),
                Set::ToNumber(number) => Some(number.to_string().into_bytes()),
                Set::Add(text) => self.expand(program, text).map(|n| sum(&before, number_of(&n))),
                Set::Subtract(text) => self.expand(program, text).map(|n| sum(&before, -number_of(&n))),
                Set::Unset => None,
            };
            let Some(value) = value else { return false };
            sets.push((*slot, value));
        }
        for (slot, text) in sets {
            let value = constant(&mut program.constants, &text);
            program.tx[slot as usize] = value;
            self.known[slot as usize] = Some(value);
        }
        true
    }

    /// What a rule that runs may change is not known any more.
    fn forget(&mut self, program: &Program, number: u32, skip: Option<u32>) {
        let rule = &program.rules[number as usize];
        for link in &rule.links {
            if link.capture {
                (0..10).for_each(|slot| self.lose(slot));
            }
            for effect in &link.effects {
                match effect {
                    Effect::SetTx(Name::Slot(slot), _) => self.lose(*slot as usize),
                    Effect::SetTx(Name::Macro(name), _) => {
                        let beginning = match name.0.first() {
                            Some(Piece::Text(text)) => text.to_ascii_lowercase(),
                            _ => Vec::new(),
                        };
                        for slot in 0..self.known.len() {
                            if program.names.all[slot].starts_with(&beginning) {
                                self.lose(slot);
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        if let Some(to) = skip {
            self.maybe_until = self.maybe_until.max(to);
        }
        if matches!(rule.disruptive, Disruptive::Allow(_)) {
            self.maybe_until = u32::MAX;
        }
    }

    fn lose(&mut self, slot: usize) {
        self.known[slot] = None;
        self.written[slot] = true;
    }

    /// Known variables in a rule's texts become text.
    fn fill_in(&self, program: &mut Program, number: u32) {
        let mut rule = std::mem::replace(
            &mut program.rules[number as usize],
            Rule {
                model: Box::new(empty_model()),
                links: Vec::new(),
                disruptive: Disruptive::Pass,
                skip_to: None,
                tags: Vec::new(),
            },
        );
        for link in &mut rule.links {
            if let Some(test) = &mut link.test {
                match &mut test.operator {
                    Operator::Text(_, text) | Operator::Number(_, text) | Operator::RxMacro(text) => {
                        self.fill(program, text);
                    }
                    _ => {}
                }
            }
            for effect in &mut link.effects {
                if let Effect::SetTx(_, set) | Effect::SetKept(_, _, set) = effect {
                    match set {
                        Set::To(text) | Set::Add(text) | Set::Subtract(text) => self.fill(program, text),
                        Set::ToNumber(_) | Set::Unset => {}
                    }
                }
            }
        }
        program.rules[number as usize] = rule;
    }

    fn fill(&self, program: &Program, text: &mut Macro) {
        for piece in &mut text.0 {
            if let Piece::Tx(slot) = piece
                && let Some(known) = self.known[*slot as usize]
            {
                *piece = Piece::Text(text_of(program, known).into_boxed_slice());
            }
        }
        let constant = text.0.iter().all(|piece| matches!(piece, Piece::Text(_)));
        if constant && text.0.len() > 1 {
            let all = text.0.iter().flat_map(|piece| match piece {
                Piece::Text(text) => text.to_vec(),
                _ => Vec::new(),
            });
            text.0 = vec![Piece::Text(all.collect())];
        }
    }
}

fn empty_model() -> waf_lang::model::Rule {
    waf_lang::model::Rule {
        id: 0,
        at: waf_lang::model::Place { file: "".into(), line: 0 },
        phase: 1,
        disruptive: waf_lang::model::Disruptive::Pass,
        is_block: false,
        status: None,
        log: false,
        auditlog: false,
        skip: None,
        severity: None,
        tags: Vec::new(),
        rev: None,
        ver: None,
        maturity: None,
        accuracy: None,
        links: Vec::new(),
    }
}

/// Whether a rule that runs reads or writes `TX`, jumps, disrupts or removes rules:
/// what stands behind it may then not be done before it.
fn sees_tx(rule: &Rule) -> bool {
    let tx = |text: &Macro| {
        text.0.iter().any(|piece| {
            matches!(
                piece,
                Piece::Tx(_) | Piece::Find(..) | Piece::Variable(waf_lang::model::Variable::Tx, _)
            )
        })
    };
    let of_link = |link: &Link| {
        let test = link.test.as_ref().is_some_and(|test| {
            let argument = match &test.operator {
                Operator::Text(_, text) | Operator::Number(_, text) | Operator::RxMacro(text) => tx(text),
                _ => false,
            };
            argument || test.targets.iter().any(|target| target.source == Source::Tx)
        });
        let effects = link.effects.iter().any(|effect| {
            matches!(effect, Effect::SetTx(..) | Effect::Remove(_))
                || matches!(effect, Effect::SetKept(_, name, _) if tx(name))
                || matches!(effect, Effect::SetKept(_, _, Set::To(value) | Set::Add(value) | Set::Subtract(value)) if tx(value))
                || matches!(effect, Effect::Init(_, key) | Effect::SetUser(key) | Effect::SetSession(key) | Effect::SetResource(key) if tx(key))
        });
        test || effects || link.capture || [&link.msg, &link.logdata].into_iter().flatten().any(tx)
    };
    rule.model.skip.is_some()
        || !matches!(rule.disruptive, Disruptive::Pass)
        || rule.tags.iter().any(tx)
        || rule.links.iter().any(of_link)
}

/// Nobody would see whether it ran: nothing is written down, nothing disrupted, no
/// severity that `HIGHEST_SEVERITY` would have.
fn is_quiet(rule: &Rule) -> bool {
    !rule.model.log && matches!(rule.disruptive, Disruptive::Pass) && rule.model.severity.is_none()
}

/// Whether the site's file lets a rule pass on some path: what it sets is not set there.
fn is_excluded_somewhere(program: &Program, number: u32) -> bool {
    let mut removals =
        program.removals.iter().filter(|removal| removal.exact_case && removal.target.is_none());
    removals.any(|removal| bit(&removal.rules, number as usize))
}

/// Whether a rule may be told at run time not to look at members of `TX`.
fn loses_targets(program: &Program, number: u32) -> bool {
    program.removals.iter().any(|removal| {
        removal.target.as_ref().is_some_and(|target| target.source == Source::Tx)
            && bit(&removal.rules, number as usize)
    })
}

/// Whether whatever removes a rule at run time removes all of those behind it too.
fn removed_together<'r>(program: &Program, number: u32, mut behind: impl Iterator<Item = &'r u32>) -> bool {
    let removals: Vec<_> = program
        .removals
        .iter()
        .filter(|removal| removal.target.is_none() && bit(&removal.rules, number as usize))
        .collect();
    behind.all(|&other| removals.iter().all(|removal| bit(&removal.rules, other as usize)))
}

pub(crate) fn text_of(program: &Program, value: Value) -> Vec<u8> {
    match value {
        Value::Number(number) => number.to_string().into_bytes(),
        Value::Constant(index) => program.constants[index as usize].to_vec(),
        Value::Absent | Value::Text(_) => Vec::new(),
    }
}

fn number_of(text: &[u8]) -> i64 {
    crate::number::parse(text)
}

fn sum(text: &[u8], number: i64) -> Vec<u8> {
    number_of(text).saturating_add(number).to_string().into_bytes()
}

/// One number beside another.
pub(crate) fn compare(comparison: Comparison, value: i64, other: i64) -> bool {
    match comparison {
        Comparison::Eq => value == other,
        Comparison::Gt => value > other,
        Comparison::Ge => value >= other,
        Comparison::Lt => value < other,
        Comparison::Le => value <= other,
    }
}
