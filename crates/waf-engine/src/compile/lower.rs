//! Names become numbers, expressions are compiled, jumps get their places.

use crate::chains::Chains;
use crate::expression::Expression;
use crate::program::{
    Comparison, Disruptive, Effect, Link, Macro, NO_LIST, Name, Names, Operator, Part, Phase, Piece, Program,
    Removal, Rule, Select, Set, Source, Target, Test, TextTest, VARIABLES, Value, Verify, lists,
};
use crate::requirement::Requirement;
use crate::settings::{Exclusion, Settings};
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use rustc_hash::FxHashMap;
use std::sync::Arc;
use waf_body::xml;
use waf_lang::LoadError;
use waf_lang::model::{self, Control, Item, Note, Place, RuleSet, Selector, Skip, Variable};
use waf_text::IpSet;

/// Rules lowered, in order, and where they jump to.
pub(crate) struct Lowered {
    pub(crate) program: Program,
    /// By phase, the rules in it.
    pub(crate) order: [Vec<u32>; 5],
    /// By rule, the rule before which its jump lands.
    pub(crate) skips: Vec<Option<u32>>,
}

pub(crate) fn lower(
    set: RuleSet,
    settings: &Settings,
    notes: &mut Vec<Note>,
) -> Result<Lowered, Vec<LoadError>> {
    let mut lowering = Lowering::new(&set, settings, notes);
    let mut rules = Vec::new();
    // A marker stands before the rule of this number.
    let mut markers: FxHashMap<Arc<str>, Vec<u32>> = FxHashMap::default();
    for item in set.items {
        match item {
            Item::Marker(name) => markers.entry(name).or_default().push(rules.len() as u32),
            Item::Rule(rule) => rules.push(rule),
        }
    }
    let mut skips = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        skips.push(skip(rule, number as u32, &rules, &markers));
    }
    let mut order: [Vec<u32>; 5] = Default::default();
    for rule in rules {
        let number = lowering.program.rules.len() as u32;
        let phase = usize::from(rule.phase.clamp(1, 5)) - 1;
        let lowered = lowering.rule(rule);
        order[phase].push(number);
        lowering.program.rules.push(lowered);
    }
    lowering.resolve_removals();
    lowering.resolve_slots();
    lowering.exclusions(&settings.exclude);
    let Lowering { program, errors, .. } = lowering;
    if errors.is_empty() { Ok(Lowered { program, order, skips }) } else { Err(errors) }
}

/// The number of the rule before which a jump lands.
fn skip(
    rule: &model::Rule,
    number: u32,
    rules: &[Box<model::Rule>],
    markers: &FxHashMap<Arc<str>, Vec<u32>>,
) -> Option<u32> {
    match rule.skip.as_ref()? {
        Skip::Rules(count) => {
            let mut left = *count;
            let rest = rules.iter().enumerate().skip(number as usize + 1);
            for (at, _) in rest.filter(|(_, other)| other.phase == rule.phase) {
                if left == 0 {
                    return Some(at as u32);
                }
                left -= 1;
            }
            Some(rules.len() as u32)
        }
        Skip::After(name) => {
            let marker = markers.get(name).and_then(|all| all.iter().find(|&&at| at > number).copied());
            // A rule's id is a place to jump after, too.
            let by_id = || {
                let id: u64 = name.parse().ok()?;
                let at = rules.iter().skip(number as usize + 1).position(|other| other.id == id)?;
                Some(number + 1 + at as u32 + 1)
            };
            // Without the marker, the rest of the phase is jumped over.
            Some(marker.or_else(by_id).unwrap_or(rules.len() as u32))
        }
    }
}

struct Lowering<'a> {
    program: Program,
    errors: Vec<LoadError>,
    notes: &'a mut Vec<Note>,
    expressions: FxHashMap<Vec<u8>, u32>,
    xpaths: FxHashMap<String, u16>,
    /// `TX` names that no rule's plain `setvar` changes.
    locked: Vec<u32>,
    /// Removals whose rules are known only when all are lowered.
    pending: Vec<(u32, Control)>,
}

impl<'a> Lowering<'a> {
    fn new(set: &RuleSet, settings: &Settings, notes: &'a mut Vec<Note>) -> Self {
        let mut names = Names::default();
        // What groups and finds are kept in: `TX:0` to `TX:9` are the first ten.
        for digit in 0..10u8 {
            names.add(&[b'0' + digit]);
        }
        let program = Program {
            rules: Vec::new(),
            phases: std::array::from_fn(|_| Phase::default()),
            chains: Chains::new(set.directives.unicode_map.clone()),
            expressions: Vec::new(),
            names,
            known: Names::default(),
            named_lists: [false; VARIABLES],
            constants: Vec::new(),
            tx: vec![Value::Absent; 10],
            xpaths: Vec::new(),
            xpath_texts: Vec::new(),
            removals: Vec::new(),
            used: [false; VARIABLES],
            variables: Vec::new(),
        };
        let mut lowering = Self {
            program,
            errors: Vec::new(),
            notes,
            expressions: FxHashMap::default(),
            xpaths: FxHashMap::default(),
            locked: Vec::new(),
            pending: Vec::new(),
        };
        // The first number stands for no name.
        lowering.program.known.add(b"\0");
        for (name, value) in &settings.tx {
            let slot = lowering.slot(name.as_bytes());
            let value = lowering.value(value.as_bytes());
            lowering.program.tx[slot as usize] = value;
            lowering.locked.push(slot);
        }
        lowering
    }

    fn uses(&mut self, variable: Variable) {
        if !std::mem::replace(&mut self.program.used[variable as usize], true) {
            self.program.variables.push(variable);
        }
    }

    fn slot(&mut self, name: &[u8]) -> u32 {
        let slot = self.program.names.add(name);
        let count = self.program.names.all.len();
        self.program.tx.resize(count, Value::Absent);
        slot
    }

    /// A constant as `TX` keeps it: a number where it is written like one.
    fn value(&mut self, text: &[u8]) -> Value {
        constant(&mut self.program.constants, text)
    }

    fn error(&mut self, at: &Place, what: String, hint: Option<&str>) {
        self.errors.push(LoadError {
            file: at.file.to_string(),
            line: at.line,
            what,
            hint: hint.map(str::to_owned),
        });
    }

    fn rule(&mut self, rule: Box<model::Rule>) -> Rule {
        let disruptive = match &rule.disruptive {
            model::Disruptive::Pass => Disruptive::Pass,
            model::Disruptive::Deny => Disruptive::Deny,
            model::Disruptive::Drop => Disruptive::Drop,
            model::Disruptive::Redirect(to) => Disruptive::Redirect(self.text(to)),
            model::Disruptive::Allow(scope) => Disruptive::Allow(*scope),
        };
        let links = rule.links.iter().map(|link| self.link(link)).collect();
        let tags = rule.tags.iter().map(|tag| self.text(tag)).collect();
        Rule { links, disruptive, skip_to: None, tags, model: rule }
    }

    fn link(&mut self, link: &model::Link) -> Link {
        let chain = self.program.chains.add(&link.transformations);
        let test = link.test.as_ref().map(|test| self.test(test, link));
        let effects: Vec<Effect> =
            link.effects.iter().filter_map(|effect| self.effect(effect, link)).collect();
        let msg = link.msg.as_ref().map(|text| self.text(text));
        let logdata = link.logdata.as_ref().map(|text| self.text(text));
        Link { test, chain, multi_match: link.multi_match, capture: link.capture, msg, logdata, effects }
    }

    fn test(&mut self, test: &model::Test, link: &model::Link) -> Test {
        let mut targets = Vec::new();
        let mut excluded = Vec::new();
        for target in &test.targets {
            if let Some(lowered) = self.target(target, link) {
                if target.exclude { excluded.push(lowered) } else { targets.push(lowered) }
            }
        }
        for target in &mut targets {
            let target: &mut Target = target;
            target.narrowed =
                excluded.iter().any(|one: &Target| crate::run::leaves_out(one.variable, target.variable));
        }
        let (operator, needs) = self.operator(&test.operator, &link.at);
        Test { targets, excluded, negated: test.negated, operator, written: test.written.clone(), needs }
    }

    fn target(&mut self, target: &model::Target, link: &model::Link) -> Option<Target> {
        let variable = target.variable;
        self.uses(variable);
        let mut source = match (variable, lists(variable)) {
            (Variable::Tx, _) => Source::Tx,
            (_, Some((lists, part))) => Source::Lists(lists, part),
            (_, None) => Source::Live,
        };
        let select = match &target.selector {
            Selector::All => Select::All,
            Selector::Name(name) if variable == Variable::Tx => Select::Slot(self.slot(name)),
            Selector::Name(name) => {
                let known = self.program.known.add(name);
                if known >= u32::from(crate::program::NOT_LOOKED_UP) {
                    self.error(&link.at, "more than 65,534 names of members are spelt out".to_owned(), None);
                    return None;
                }
                if let Source::Lists(lists, _) = source {
                    for list in lists.into_iter().map(usize::from).filter(|&list| list < VARIABLES) {
                        self.program.named_lists[list] = true;
                    }
                }
                Select::Name(name.to_ascii_lowercase().into_boxed_slice(), known as u16)
            }
            Selector::Regex(text) => match self.expression(format!("(?i){text}").as_bytes()) {
                Ok(index) => Select::Regex(index),
                Err(what) => {
                    self.error(&link.at, format!("the expression `{text}` of a selector: {what}"), None);
                    return None;
                }
            },
            Selector::XPath(path) => {
                source = Source::Lists([self.xpath(path, link)?, NO_LIST], Part::Value);
                Select::All
            }
        };
        Some(Target { variable, source, select, count: target.count, narrowed: false })
    }

    fn xpath(&mut self, path: &str, link: &model::Link) -> Option<u16> {
        let namespaces = &link.namespaces;
        let key = format!("{path} {namespaces:?}");
        if let Some(&list) = self.xpaths.get(&key) {
            return Some(list);
        }
        let pairs: Vec<(&str, &str)> = namespaces.iter().map(|(p, u)| (p.as_str(), u.as_str())).collect();
        match xml::Selector::parse(path, &pairs) {
            Ok(selector) => {
                let list = (VARIABLES + self.program.xpaths.len()) as u16;
                self.program.xpaths.push(selector);
                self.program.xpath_texts.push(path.into());
                self.xpaths.insert(key, list);
                Some(list)
            }
            Err(error) => {
                let hint = "the paths that are understood are listed in docs/reference/seclang.md";
                self.error(
                    &link.at,
                    format!("the XPath `{path}` at {}: {}", error.at, error.what),
                    Some(hint),
                );
                None
            }
        }
    }

    /// The number of a compiled expression.
    fn expression(&mut self, pattern: &[u8]) -> Result<u32, String> {
        if let Some(&index) = self.expressions.get(pattern) {
            return Ok(index);
        }
        let expression = Expression::new(pattern)?;
        let index = self.program.expressions.len() as u32;
        self.program.expressions.push(Arc::new(expression));
        self.expressions.insert(pattern.to_vec(), index);
        Ok(index)
    }

    fn checked_expression(&mut self, pattern: &[u8], at: &Place) -> u32 {
        self.expression(pattern).unwrap_or_else(|what| {
            let shown = String::from_utf8_lossy(pattern);
            self.error(at, format!("the regular expression `{shown}`: {what}"), None);
            0
        })
    }

    fn operator(&mut self, operator: &model::Operator, at: &Place) -> (Operator, Requirement) {
        use model::Operator as O;
        let nothing = Requirement::default;
        match operator {
            O::Rx(text) | O::RxGlobal(text) => {
                let global = matches!(operator, O::RxGlobal(_));
                let text = self.text(text);
                let Some(pattern) = text.constant() else {
                    return (Operator::RxMacro(text), nothing());
                };
                let index = self.checked_expression(pattern, at);
                let needs = self
                    .program
                    .expressions
                    .get(index as usize)
                    .map(|expression| expression.requirement.clone())
                    .unwrap_or_default();
                (if global { Operator::RxGlobal(index) } else { Operator::Rx(index) }, needs)
            }
            O::Pm(phrases) => {
                let needs = Requirement::any_literal(phrases.iter().map(Vec::as_slice));
                let kind =
                    if phrases.len() <= 200 { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
                let built =
                    AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(kind)).build(phrases);
                match built {
                    Ok(automaton) => (Operator::Pm(Box::new(automaton)), needs),
                    Err(error) => {
                        self.error(at, format!("the phrases cannot be compiled: {error}"), None);
                        (Operator::Never, nothing())
                    }
                }
            }
            O::Contains(text) => self.text_test(TextTest::Contains, text),
            O::ContainsWord(text) => self.text_test(TextTest::ContainsWord, text),
            O::StrMatch(text) => self.text_test(TextTest::StrMatch, text),
            O::StrEq(text) => self.text_test(TextTest::Equal, text),
            O::Within(text) => self.text_test(TextTest::Within, text),
            O::BeginsWith(text) => self.text_test(TextTest::BeginsWith, text),
            O::EndsWith(text) => self.text_test(TextTest::EndsWith, text),
            O::Eq(text) => (Operator::Number(Comparison::Eq, self.text(text)), nothing()),
            O::Gt(text) => (Operator::Number(Comparison::Gt, self.text(text)), nothing()),
            O::Ge(text) => (Operator::Number(Comparison::Ge, self.text(text)), nothing()),
            O::Lt(text) => (Operator::Number(Comparison::Lt, self.text(text)), nothing()),
            O::Le(text) => (Operator::Number(Comparison::Le, self.text(text)), nothing()),
            O::IpMatch(networks) => (Operator::IpMatch(IpSet::new(networks.iter().copied())), nothing()),
            O::DetectSqli => (Operator::DetectSqli, nothing()),
            O::DetectXss => (Operator::DetectXss, nothing()),
            O::ValidateByteRange(allowed) => {
                (Operator::ByteRange(*allowed), Requirement::one_of(allowed.complement()))
            }
            O::ValidateUrlEncoding => (Operator::UrlEncoding, Requirement::literal(b"%", false)),
            O::ValidateUtf8Encoding => {
                (Operator::Utf8Encoding, Requirement::one_of(waf_text::ByteSet::range(0x80, 0xff)))
            }
            O::VerifyCc(text) => self.verify(Verify::Card, text, at),
            O::VerifySsn(text) => self.verify(Verify::Ssn, text, at),
            O::VerifyCpf(text) => self.verify(Verify::Cpf, text, at),
            O::VerifySvnr(text) => self.verify(Verify::Svnr, text, at),
            O::ValidateNid(nid, text) => self.verify(Verify::Nid(*nid), text, at),
            O::ValidateSchema(schema) => (Operator::Schema(Arc::clone(schema)), nothing()),
            O::Unconditional => (Operator::Unconditional, nothing()),
            O::Never => (Operator::Never, nothing()),
        }
    }

    fn text_test(&mut self, test: TextTest, text: &model::Macro) -> (Operator, Requirement) {
        let text = self.text(text);
        let needs = match (test, text.constant()) {
            (TextTest::Within, _) | (_, None) => Requirement::default(),
            (_, Some(literal)) => Requirement::literal(literal, false),
        };
        let mut needs = needs;
        needs.sets.truncate(crate::requirement::SETS);
        (Operator::Text(test, text), needs)
    }

    fn verify(&mut self, verify: Verify, pattern: &str, at: &Place) -> (Operator, Requirement) {
        let index = self.checked_expression(pattern.as_bytes(), at);
        let needs = self.program.expressions.get(index as usize).map(|e| e.requirement.clone());
        (Operator::Verify(index, verify), needs.unwrap_or_default())
    }

    fn text(&mut self, text: &model::Macro) -> Macro {
        let pieces = text.0.iter().map(|part| match part {
            model::Part::Text(text) => Piece::Text(text.to_vec().into_boxed_slice()),
            model::Part::Variable(Variable::Tx, Some(name)) if !is_expression(name) => {
                Piece::Tx(self.slot(name))
            }
            model::Part::Variable(variable, Some(name)) if is_expression(name) => {
                self.uses(*variable);
                let pattern = [b"(?i)", &name[1..name.len() - 1]].concat();
                match self.expression(&pattern) {
                    Ok(index) => Piece::Find(*variable, index),
                    // v3 fills nothing in for one that it cannot compile.
                    Err(_) => Piece::Text(Box::default()),
                }
            }
            model::Part::Variable(variable, name) => {
                self.uses(*variable);
                Piece::Variable(
                    *variable,
                    name.as_ref().map(|name| name.to_ascii_lowercase().into_boxed_slice()),
                )
            }
        });
        Macro(pieces.collect())
    }

    fn effect(&mut self, effect: &model::Effect, link: &model::Link) -> Option<Effect> {
        use model::Effect as E;
        Some(match effect {
            E::SetVar { collection: Variable::Tx, name, to } => {
                let name = self.text(name);
                let name = match name.constant() {
                    Some(name) => {
                        let name = name.to_vec();
                        Name::Slot(self.slot(&name))
                    }
                    None => Name::Macro(name),
                };
                let to = self.set(to);
                if let (Name::Slot(slot), Set::To(_) | Set::ToNumber(_)) = (&name, &to)
                    && self.locked.contains(slot)
                {
                    let shown = String::from_utf8_lossy(&self.program.names.all[*slot as usize]).into_owned();
                    self.notes.push(Note {
                        at: link.at.clone(),
                        text: format!("`setvar:tx.{shown}` has no effect: the site's file sets it"),
                    });
                    return None;
                }
                Effect::SetTx(name, to)
            }
            E::SetVar { collection, name, to } => Effect::SetKept(*collection, self.text(name), self.set(to)),
            E::ExpireVar { collection, name, seconds } => {
                Effect::Expire(*collection, self.text(name), self.text(seconds))
            }
            E::InitCollection(collection, key) => Effect::Init(*collection, self.text(key)),
            E::SetUser(key) => Effect::SetUser(self.text(key)),
            E::SetSession(key) => Effect::SetSession(self.text(key)),
            E::SetResource(key) => Effect::SetResource(self.text(key)),
            E::SetEnv(name, value) => Effect::SetEnv(self.text(name), self.text(value)),
            E::Sanitise(variable, name) => {
                Effect::Sanitise(*variable, name.as_ref().map(|n| n.to_ascii_lowercase().into_boxed_slice()))
            }
            E::Control(control) => return self.control(control, link),
        })
    }

    fn set(&mut self, set: &model::Set) -> Set {
        match set {
            model::Set::To(text) => {
                let text = self.text(text);
                match text.constant().and_then(exact_number) {
                    Some(number) => Set::ToNumber(number),
                    None => Set::To(text),
                }
            }
            model::Set::Add(text) => Set::Add(self.text(text)),
            model::Set::Subtract(text) => Set::Subtract(self.text(text)),
            model::Set::Unset => Set::Unset,
        }
    }

    fn control(&mut self, control: &Control, link: &model::Link) -> Option<Effect> {
        let target = match control {
            Control::Nothing => return None,
            Control::RuleRemoveById(_) | Control::RuleRemoveByTag(_) | Control::RuleRemoveByMsg(_) => None,
            Control::RuleRemoveTargetById(_, target)
            | Control::RuleRemoveTargetByTag(_, target)
            | Control::RuleRemoveTargetByMsg(_, target) => Some(self.target(target, link)?),
            other => return Some(Effect::Control(other.clone())),
        };
        let number = self.program.removals.len() as u32;
        self.program.removals.push(Removal { rules: Box::default(), target, exact_case: false });
        self.pending.push((number, control.clone()));
        Some(Effect::Remove(number))
    }

    /// Which rules each removal means, now that all are known.
    fn resolve_removals(&mut self) {
        let rules = &self.program.rules;
        for (number, control) in &self.pending {
            let mut bits = vec![0; rules.len().div_ceil(64)];
            for (at, rule) in rules.iter().enumerate() {
                if removes(control, &rule.model) {
                    crate::filter::set(&mut bits, at);
                }
            }
            self.program.removals[*number as usize].rules = bits.into_boxed_slice();
        }
    }

    /// Which static names of `TX` each expression finds, now that all are known.
    fn resolve_slots(&mut self) {
        let Program { rules, expressions, names, .. } = &mut self.program;
        let tests = rules.iter_mut().flat_map(|rule| &mut rule.links).filter_map(|link| link.test.as_mut());
        for target in tests.flat_map(|test| test.targets.iter_mut().chain(&mut test.excluded)) {
            if let (Source::Tx, Select::Regex(index)) = (target.source, &target.select) {
                let expression = &expressions[*index as usize];
                let mut scratch = expression.scratch();
                let found = (0..names.all.len() as u32)
                    .filter(|&slot| expression.is_match(&mut scratch, &names.all[slot as usize]));
                target.select = Select::Slots(found.collect(), *index);
            }
        }
    }

    /// The site's own exclusions, which its file ties to paths.
    fn exclusions(&mut self, exclusions: &[Exclusion]) {
        for exclusion in exclusions {
            let mut bits = vec![0; self.program.rules.len().div_ceil(64)];
            for (at, rule) in self.program.rules.iter().enumerate() {
                if rule.model.id == exclusion.rule {
                    crate::filter::set(&mut bits, at);
                }
            }
            let target = exclusion.arg.as_ref().map(|arg| Target {
                variable: Variable::Args,
                source: Source::Live,
                select: Select::Name(arg.as_bytes().into(), crate::program::UNKNOWN),
                count: false,
                narrowed: false,
            });
            self.program.removals.push(Removal { rules: bits.into_boxed_slice(), target, exact_case: true });
        }
    }
}

/// `%{ARGS:/^a/}`: the first member that an expression finds.
fn is_expression(name: &[u8]) -> bool {
    name.len() > 2 && name.first() == Some(&b'/') && name.last() == Some(&b'/')
}

/// Whether a `ctl:ruleRemove…` means a rule.
fn removes(control: &Control, rule: &model::Rule) -> bool {
    let by_id = |ranges: &[(u64, u64)]| ranges.iter().any(|&(first, last)| (first..=last).contains(&rule.id));
    let plain = |text: &model::Macro| -> Vec<u8> {
        let mut all = Vec::new();
        for part in &text.0 {
            if let model::Part::Text(text) = part {
                all.extend_from_slice(text);
            }
        }
        all
    };
    let by_tag = |wanted: &str| rule.tags.iter().any(|tag| plain(tag) == wanted.as_bytes());
    let by_msg = |wanted: &str| {
        rule.links.iter().filter_map(|link| link.msg.as_ref()).any(|msg| plain(msg) == wanted.as_bytes())
    };
    match control {
        Control::RuleRemoveById(ranges) | Control::RuleRemoveTargetById(ranges, _) => by_id(ranges),
        Control::RuleRemoveByTag(tag) | Control::RuleRemoveTargetByTag(tag, _) => by_tag(tag),
        Control::RuleRemoveByMsg(msg) | Control::RuleRemoveTargetByMsg(msg, _) => by_msg(msg),
        _ => false,
    }
}

/// A constant as `TX` keeps it: a number where it is written like one.
pub(crate) fn constant(constants: &mut Vec<Box<[u8]>>, text: &[u8]) -> Value {
    match exact_number(text) {
        Some(number) => Value::Number(number),
        None => {
            constants.push(text.into());
            Value::Constant(constants.len() as u32 - 1)
        }
    }
}

/// A number that is written just as we would write it.
pub(crate) fn exact_number(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}
