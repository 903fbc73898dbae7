//! One phase: which rules can match at all, then those rules in their order.

use crate::engine::Engine;
use crate::expand;
use crate::filter::Watched;
use crate::operate::{self, Found};
use crate::program::{
    Effect, Link, NO_LIST, Operator, Part, Phase, Program, Rule, Select, Source, Target, Test, UNKNOWN, bit,
};
use crate::state::{Candidate, Entry, Exceeded, Hit, Matched, State};
use crate::texts::TextId;
use crate::transaction::Outside;
use regex_automata::Span;
use waf_lang::model::{AllowScope, EngineMode, Variable};

/// What a phase came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// All its rules have run.
    Done,
    /// This rule wants the transaction disrupted.
    Disrupted(u32),
}

/// Runs the rules of a phase, 1 to 5.
pub(crate) fn phase(engine: &Engine, state: &mut State, outside: &mut Outside, number: u8) -> Flow {
    if state.switches.engine == EngineMode::Off || number < state.switches.allowed_until {
        return Flow::Done;
    }
    let phase = &engine.program.phases[usize::from(number) - 1];
    let mut run = Run { engine, program: &engine.program, phase, state, outside, number, filtered: None };
    run.find_candidates();
    run.steps()
}

struct Run<'r> {
    engine: &'r Engine,
    program: &'r Program,
    phase: &'r Phase,
    state: &'r mut State,
    outside: &'r mut Outside,
    number: u8,
    /// The step whose first link runs on what the filter let through.
    filtered: Option<u32>,
}

/// Where a value comes from, and whose it is.
#[derive(Clone, Copy)]
struct Looked {
    variable: Variable,
    list: u16,
    count: bool,
    name: TextId,
    value: TextId,
}

impl Run<'_> {
    /// Asks the filter about every text that filtered steps look at.
    fn find_candidates(&mut self) {
        let filter = &self.phase.filter;
        let state = &mut *self.state;
        state.texts.forget_candidates();
        state.bits.clear();
        state.active.clear();
        state.active.extend_from_slice(&filter.always);
        state.found.clear();
        state.know_names(self.program);
        for (index, watched) in filter.watched.iter().enumerate() {
            for entry in 0..state.lists[watched.list as usize].len() {
                let Entry { name, value, known } = state.lists[watched.list as usize][entry];
                let text = if watched.part == Part::Name { name } else { value };
                let lookers = watched.lookers(known);
                let (steps, number) = (lookers.steps.as_slice(), lookers.number);
                let known = state.texts.text(text);
                let at = if known.candidates == 0 || known.asked != number {
                    let at = state.bits.len();
                    let bytes = known.bytes;
                    let grams = filter.candidates(state.texts.get(text), &bytes, steps, &mut state.bits);
                    state.texts.set_candidates(text, at as u32 + 1, number);
                    if grams {
                        state.texts.set_grams(text, (at + filter.words) as u32 + 1);
                    }
                    at
                } else {
                    known.candidates as usize - 1
                };
                for (word, (bits, steps)) in state.bits[at..].iter().zip(steps).enumerate() {
                    let mut both = bits & steps;
                    state.active[word] |= both;
                    while both != 0 {
                        let step = (word * 64) as u32 + both.trailing_zeros();
                        both &= both - 1;
                        state.found.push(Candidate { step, watched: index as u32, entry: entry as u32 });
                    }
                }
            }
        }
        order(state, self.phase.steps.len());
    }

    fn steps(&mut self) -> Flow {
        let mut step = 0;
        while let Some(next) = self.next_active(step) {
            let number = self.phase.steps[next];
            step = next + 1;
            if bit(&self.state.removed, number as usize) {
                continue;
            }
            let rule = &self.program.rules[number as usize];
            self.state.hits.clear();
            let filtered = !bit(&self.phase.filter.always, next);
            let matched = self.rule(number, rule, filtered.then_some(next as u32));
            if self.state.work.exceeded.is_some() {
                return Flow::Done;
            }
            if !matched {
                continue;
            }
            if let Some(to) = rule.skip_to {
                step = to as usize;
            }
            if self.full_match(number, rule) {
                return Flow::Disrupted(number);
            }
            if self.state.switches.engine == EngineMode::Off
                || self.number < self.state.switches.allowed_until
            {
                return Flow::Done;
            }
        }
        Flow::Done
    }

    fn next_active(&self, from: usize) -> Option<usize> {
        let mut word = from >> 6;
        let mut bits = self.state.active.get(word)? & (u64::MAX << (from & 63));
        loop {
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
            word += 1;
            bits = *self.state.active.get(word)?;
        }
    }

    /// Whether all links of a rule match.
    fn rule(&mut self, number: u32, rule: &Rule, filtered: Option<u32>) -> bool {
        self.state.matched_vars.clear();
        for (index, link) in rule.links.iter().enumerate() {
            let matched = match (&link.test, filtered) {
                (None, _) => {
                    self.effects(link);
                    true
                }
                (Some(test), Some(step)) if index == 0 => {
                    self.filtered = Some(step);
                    let matched = self.on_candidates(number, link, test, step);
                    self.filtered = None;
                    matched
                }
                (Some(test), _) => self.on_all(number, index as u32, link, test),
            };
            if !matched {
                return false;
            }
        }
        true
    }

    /// The first link of a filtered rule: only the values that the filter let through.
    fn on_candidates(&mut self, number: u32, link: &Link, test: &Test, step: u32) -> bool {
        let mut any = false;
        self.state.in_vain.clear();
        let first = step.checked_sub(1).map_or(0, |before| self.state.ends[before as usize]) as usize;
        let last = self.state.ends[step as usize] as usize;
        // The candidates of each list stand together.
        let mut groups = smallvec::SmallVec::<[(u32, usize); 16]>::new();
        for (at, candidate) in self.state.candidates[first..last].iter().enumerate() {
            if groups.last().is_none_or(|(watched, _)| *watched != candidate.watched) {
                groups.push((candidate.watched, first + at));
            }
        }
        for target in &test.targets {
            let Source::Lists(lists, part) = target.source else { continue };
            for (index, &(watched, from)) in groups.iter().enumerate() {
                let watched = &self.phase.filter.watched[watched as usize];
                if watched.part != part || !lists.contains(&watched.list) {
                    continue;
                }
                let to = groups.get(index + 1).map_or(last, |&(_, next)| next);
                any |= self.on_range(number, link, (test, target), watched, from..to);
                if self.state.work.exceeded.is_some() {
                    return false;
                }
            }
        }
        any
    }

    /// Candidates of one list.
    fn on_range(
        &mut self,
        number: u32,
        link: &Link,
        (test, target): (&Test, &Target),
        watched: &Watched,
        range: std::ops::Range<usize>,
    ) -> bool {
        let mut any = false;
        let plain =
            matches!(target.select, Select::All) && !target.narrowed && !self.is_narrowed(number, target);
        for at in range {
            let candidate = self.state.candidates[at];
            let entry = self.state.lists[watched.list as usize][candidate.entry as usize];
            if !plain && (!self.selects(target, entry) || self.left_out(number, test, target, entry.name)) {
                continue;
            }
            let value = if watched.part == Part::Name { entry.name } else { entry.value };
            let looked = Looked {
                variable: target.variable,
                list: watched.list,
                count: false,
                name: entry.name,
                value,
            };
            any |= self.value(0, link, test, looked);
        }
        any
    }

    /// A link, on every value of its targets.
    fn on_all(&mut self, number: u32, index: u32, link: &Link, test: &Test) -> bool {
        let mut any = false;
        self.state.in_vain.clear();
        for target in &test.targets {
            any |= match target.source {
                Source::Lists(lists, part) => self.on_lists(number, index, link, test, target, (lists, part)),
                Source::Tx | Source::Live => self.on_live(number, index, link, test, target),
            };
            if self.state.work.exceeded.is_some() {
                return false;
            }
        }
        any
    }

    fn on_lists(
        &mut self,
        number: u32,
        index: u32,
        link: &Link,
        test: &Test,
        target: &Target,
        (lists, part): ([u16; 2], Part),
    ) -> bool {
        let mut any = false;
        let mut count = 0;
        for list in lists.into_iter().filter(|&list| list != NO_LIST) {
            for at in 0..self.state.lists[list as usize].len() {
                let entry = self.state.lists[list as usize][at];
                if !self.selects(target, entry) || self.left_out(number, test, target, entry.name) {
                    continue;
                }
                count += 1;
                if target.count {
                    continue;
                }
                let value = if part == Part::Name { entry.name } else { entry.value };
                let looked =
                    Looked { variable: target.variable, list, count: false, name: entry.name, value };
                any |= self.value(index, link, test, looked);
                if self.state.work.exceeded.is_some() {
                    return false;
                }
            }
        }
        if target.count { self.counted(index, link, test, target, count) } else { any }
    }

    /// Values that rules change, or that are found out when asked for.
    fn on_live(&mut self, number: u32, index: u32, link: &Link, test: &Test, target: &Target) -> bool {
        let mut live = std::mem::take(&mut self.state.live);
        live.clear();
        expand::members(self.engine, self.state, self.outside, target, &mut live);
        live.retain(|entry| !self.left_out(number, test, target, entry.name));
        let any = if target.count {
            self.counted(index, link, test, target, live.len() as i64)
        } else {
            let mut any = false;
            for entry in &live {
                let looked = Looked {
                    variable: target.variable,
                    list: NO_LIST,
                    count: false,
                    name: entry.name,
                    value: entry.value,
                };
                any |= self.value(index, link, test, looked);
            }
            any
        };
        self.state.live = live;
        any
    }

    fn counted(&mut self, index: u32, link: &Link, test: &Test, target: &Target, count: i64) -> bool {
        let mut buffer = self.state.buffer();
        crate::number::write(count, &mut buffer);
        let value = self.state.texts.intern(&buffer);
        buffer.clear();
        if let Select::Name(name, _) = &target.select {
            buffer.extend_from_slice(name);
        }
        let name = self.state.texts.intern(&buffer);
        self.state.give_back(buffer);
        self.value(
            index,
            link,
            test,
            Looked { variable: target.variable, list: NO_LIST, count: true, name, value },
        )
    }

    #[inline]
    fn selects(&mut self, target: &Target, entry: Entry) -> bool {
        selects_entry(self.program, self.state, target, entry)
    }

    /// Whether some removal means this target of a rule.
    fn is_narrowed(&self, number: u32, target: &Target) -> bool {
        self.state.removed_targets.iter().any(|&at| {
            let removal = &self.program.removals[at as usize];
            bit(&removal.rules, number as usize)
                && removal
                    .target
                    .as_ref()
                    .is_some_and(|t| is_removed(t.variable, target.variable, removal.exact_case))
        })
    }

    /// Whether a value is not to be looked at: by the rule itself, or by a removal.
    fn left_out(&mut self, number: u32, test: &Test, target: &Target, name: TextId) -> bool {
        let by_rule = target.narrowed
            && test.excluded.iter().any(|excluded| {
                leaves_out(excluded.variable, target.variable)
                    && selects(self.program, self.state, excluded, name, false)
            });
        if by_rule {
            return true;
        }
        if self.state.removed_targets.is_empty() {
            return false;
        }
        for at in 0..self.state.removed_targets.len() {
            let removal = &self.program.removals[self.state.removed_targets[at] as usize];
            let Some(removed) = &removal.target else { continue };
            if bit(&removal.rules, number as usize)
                && is_removed(removed.variable, target.variable, removal.exact_case)
                && selects(self.program, self.state, removed, name, removal.exact_case)
            {
                return true;
            }
        }
        false
    }

    /// Whether a text, as the operator of a filtered step sees it, has one of its grams.
    fn has_gram(&mut self, step: u32, seen: TextId) -> bool {
        let state = &mut *self.state;
        let known = state.texts.text(seen).grams;
        let at = if known == 0 {
            if state.texts.len_of(seen) > crate::grams::SHORT {
                return true;
            }
            let at = state.bits.len();
            self.phase.filter.grams(state.texts.get(seen), &mut state.bits);
            state.texts.set_grams(seen, at as u32 + 1);
            at
        } else {
            known as usize - 1
        };
        bit(&state.bits[at..], step as usize)
    }

    /// One value: transformed, looked at, and acted upon if it matches.
    fn value(&mut self, index: u32, link: &Link, test: &Test, looked: Looked) -> bool {
        if link.multi_match {
            return self.value_at_each_step(index, link, test, looked);
        }
        let seen = self.state.texts.transformed(looked.value, link.chain, &self.program.chains);
        if self.state.texts.inspected > self.state.work.inspected_max {
            self.state.work.exceeded.get_or_insert(Exceeded::Inspected);
            return false;
        }
        if !test.negated
            && !test.needs.allows(&self.state.texts.text(seen).bytes, self.state.texts.len_of(seen))
        {
            return false;
        }
        if let Some(step) = self.filtered
            && test.needs.grams.is_some()
            && !self.has_gram(step, seen)
        {
            return false;
        }
        self.operator(index, link, test, looked, seen)
    }

    /// `multiMatch`: the value as it came, and after every transformation that changed it.
    fn value_at_each_step(&mut self, index: u32, link: &Link, test: &Test, looked: Looked) -> bool {
        let mut seen = looked.value;
        let mut any = self.operator(index, link, test, looked, seen);
        let chains = &self.program.chains;
        for &beginning in chains.beginnings(link.chain) {
            let next = self.state.texts.step(seen, beginning, chains);
            if next != seen {
                seen = next;
                if !test.negated
                    && !test.needs.allows(&self.state.texts.text(seen).bytes, self.state.texts.len_of(seen))
                {
                    continue;
                }
                if let Some(step) = self.filtered
                    && !self.has_gram(step, seen)
                {
                    continue;
                }
                any |= self.operator(index, link, test, looked, seen);
            }
        }
        any
    }

    fn operator(&mut self, index: u32, link: &Link, test: &Test, looked: Looked, seen: TextId) -> bool {
        let state = &mut *self.state;
        if !test.negated {
            let text = state.texts.text(seen);
            let multiple = link.multi_match && !test.needs.allows(&text.bytes, state.texts.len_of(seen));
            if multiple || state.in_vain.contains(&seen) {
                return false;
            }
        }
        if !self.within_budget(seen) {
            return false;
        }
        self.state.groups.clear();
        let found = self.look(test, link.capture, seen);
        if found.is_some() == test.negated {
            if !test.negated && self.state.in_vain.len() < 16 && test.constant() {
                self.state.in_vain.push(seen);
            }
            return false;
        }
        let span = match found {
            Some(Found::Part(span)) => {
                if link.capture {
                    self.keep_groups(seen, span);
                }
                span
            }
            Some(Found::Said(fingerprint)) => {
                if link.capture {
                    let text = self.state.texts.intern(fingerprint.as_str().as_bytes());
                    self.state.tx.slots[0] = crate::program::Value::Text(text);
                }
                operate::whole(self.state.texts.get(seen))
            }
            Some(Found::Somewhere) => Span { start: 0, end: usize::MAX },
            None => operate::whole(self.state.texts.get(seen)),
        };
        let matched =
            Matched { variable: looked.variable, count: looked.count, name: looked.name, value: seen };
        self.state.matched = Some(matched);
        self.state.matched_vars.push(matched);
        if self.state.hits.len() < crate::report::HITS_PER_RULE {
            self.state.hits.push(Hit {
                link: index,
                variable: looked.variable,
                list: looked.list,
                count: looked.count,
                name: looked.name,
                value: looked.value,
                seen,
                span,
            });
        }
        self.effects(link);
        true
    }

    /// Charges a look at a text; false where the budget is used up.
    fn within_budget(&mut self, seen: TextId) -> bool {
        let state = &mut *self.state;
        let work = &mut state.work;
        work.inspected += state.texts.len_of(seen) as u64 + 8;
        work.unclocked += 1;
        if work.inspected + state.texts.inspected > work.inspected_max {
            work.exceeded.get_or_insert(Exceeded::Inspected);
        } else if state.texts.overflowed {
            work.exceeded.get_or_insert(Exceeded::Memory);
        } else if work.unclocked >= 256 {
            work.unclocked = 0;
            if (self.outside.clock)() > work.until_us {
                work.exceeded.get_or_insert(Exceeded::Time);
            }
        }
        work.exceeded.is_none()
    }

    fn look(&mut self, test: &Test, capture: bool, seen: TextId) -> Option<Found> {
        match &test.operator {
            Operator::Rx(index) | Operator::RxGlobal(index) => self.expression(*index, capture, seen),
            Operator::RxMacro(text) => self.made_expression(text, seen),
            Operator::Text(kind, text) => {
                if let Some(argument) = text.constant() {
                    return operate::on_text(*kind, self.state.texts.get(seen), argument).map(Found::Part);
                }
                let argument = self.expanded(text);
                let found = operate::on_text(*kind, self.state.texts.get(seen), &argument);
                self.state.give_back(argument);
                found.map(Found::Part)
            }
            Operator::Number(comparison, text) => {
                let value = self.state.texts.get(seen);
                let found = if let Some(argument) = text.constant() {
                    operate::on_number(*comparison, value, argument)
                } else {
                    let argument = self.expanded(text);
                    let found = operate::on_number(*comparison, self.state.texts.get(seen), &argument);
                    self.state.give_back(argument);
                    found
                };
                found.then(|| Found::Part(operate::whole(self.state.texts.get(seen))))
            }
            Operator::Verify(index, verify) => {
                let expression = &self.program.expressions[*index as usize];
                let State { texts, scratches, .. } = &mut *self.state;
                let scratch = scratches[*index as usize].get_or_insert_with(|| expression.scratch());
                operate::verified(expression, scratch, *verify, texts.get(seen)).map(Found::Part)
            }
            fixed => operate::fixed(fixed, self.state.texts.get(seen)),
        }
    }

    fn expression(&mut self, index: u32, capture: bool, seen: TextId) -> Option<Found> {
        let expression = &self.program.expressions[index as usize];
        let State { texts, scratches, groups, .. } = &mut *self.state;
        let scratch = scratches[index as usize].get_or_insert_with(|| expression.scratch());
        let value = texts.get(seen);
        if !expression.is_match(scratch, value) {
            return None;
        }
        if !capture {
            return Some(Found::Somewhere);
        }
        expression.captures_at(scratch, value, 0, groups);
        groups.first().copied().flatten().map(Found::Part)
    }

    /// `@rx` with a macro: compiled now, and kept for the next time.
    fn made_expression(&mut self, text: &crate::program::Macro, seen: TextId) -> Option<Found> {
        let pattern = self.expanded(text);
        let found = expand::made(self.state, &pattern, seen);
        self.state.give_back(pattern);
        found.map(Found::Part)
    }

    fn expanded(&mut self, text: &crate::program::Macro) -> Vec<u8> {
        let mut out = self.state.buffer();
        expand::text(self.engine, self.state, self.outside, text, &mut out);
        out
    }

    /// `capture`: what was found is `TX:0`, its groups `TX:1` to `TX:9`.
    fn keep_groups(&mut self, seen: TextId, span: Span) {
        let mut buffer = self.state.buffer();
        if self.state.groups.is_empty() {
            self.state.groups.push(Some(span));
        }
        for group in 0..self.state.groups.len().min(10) {
            let Some(span) = self.state.groups[group] else { continue };
            buffer.clear();
            buffer.extend_from_slice(&self.state.texts.get(seen)[span.start..span.end]);
            let text = self.state.texts.intern(&buffer);
            self.state.tx.slots[group] = crate::program::Value::Text(text);
        }
        self.state.give_back(buffer);
    }

    fn effects(&mut self, link: &Link) {
        for effect in &link.effects {
            if let Effect::Remove(removal) = effect {
                self.remove(*removal);
            } else {
                expand::apply(self.engine, self.state, self.outside, effect);
            }
        }
    }

    fn remove(&mut self, removal: u32) {
        remove(self.program, self.state, removal);
    }

    /// All links matched. Whether the transaction is disrupted.
    fn full_match(&mut self, number: u32, rule: &Rule) -> bool {
        if let Some(severity) = rule.model.severity {
            let highest = &mut self.state.switches.highest_severity;
            *highest = (*highest).min(severity);
        }
        self.outside.matched_ids.push(rule.model.id);
        let acts = self.state.switches.engine == EngineMode::On;
        if rule.model.log || is_disruptive(rule) || crate::audit::tells(self.engine, rule) {
            crate::report::matched(self.engine, self.state, self.outside, number, rule);
        }
        if is_disruptive(rule) {
            self.outside.disrupted_by.get_or_insert(rule.model.id);
        }
        use crate::program::Disruptive as D;
        match &rule.disruptive {
            D::Pass => false,
            D::Allow(scope) if acts => {
                self.state.switches.allowed_until = match scope {
                    AllowScope::Phase => self.number + 1,
                    AllowScope::Request => 3.max(self.number + 1),
                    AllowScope::Transaction => 5,
                };
                false
            }
            D::Allow(_) => false,
            D::Deny | D::Drop | D::Redirect(_) => acts,
        }
    }
}

/// Puts the candidates that were found in the order of steps; within a step they stay
/// in the order in which they were found.
fn order(state: &mut State, steps: usize) {
    state.ends.clear();
    state.ends.resize(steps, 0);
    for candidate in &state.found {
        state.ends[candidate.step as usize] += 1;
    }
    let mut sum = 0;
    for end in &mut state.ends {
        // For now where a step's candidates begin.
        sum += std::mem::replace(end, sum);
    }
    state.candidates.clear();
    state.candidates.resize(state.found.len(), Candidate { step: 0, watched: 0, entry: 0 });
    for candidate in &state.found {
        let end = &mut state.ends[candidate.step as usize];
        state.candidates[*end as usize] = *candidate;
        *end += 1;
    }
}

/// Whether a match is reported even with `nolog`, since every decision must be explainable.
pub(crate) fn is_disruptive(rule: &Rule) -> bool {
    use crate::program::Disruptive as D;
    matches!(rule.disruptive, D::Deny | D::Drop | D::Redirect(_))
}

/// A removal holds from now on.
pub(crate) fn remove(program: &Program, state: &mut State, removal: u32) {
    let what = &program.removals[removal as usize];
    if what.target.is_some() {
        if !state.removed_targets.contains(&removal) {
            state.removed_targets.push(removal);
        }
        return;
    }
    for (removed, rules) in state.removed.iter_mut().zip(&what.rules) {
        *removed |= rules;
    }
}

/// Whether the removal of one variable's member is of another's too: the site's file
/// means an argument wherever it stands, its name as well.
fn is_removed(removed: Variable, looked: Variable, by_site: bool) -> bool {
    use Variable as V;
    if by_site {
        return matches!(
            looked,
            V::Args | V::ArgsGet | V::ArgsPost | V::Files | V::ArgsNames | V::ArgsGetNames | V::ArgsPostNames
        );
    }
    leaves_out(removed, looked)
}

/// Whether an exclusion of one variable's members means another's: as in v3, an
/// argument's exclusion means its name, too.
pub(crate) fn leaves_out(excluded: Variable, looked: Variable) -> bool {
    excluded == looked || (excluded == Variable::Args && looked == Variable::ArgsNames)
}

/// Whether a target means an entry of its lists.
#[inline]
fn selects_entry(program: &Program, state: &mut State, target: &Target, entry: Entry) -> bool {
    match &target.select {
        Select::All => true,
        Select::Name(_, known) if *known != UNKNOWN && matches!(target.source, Source::Lists(..)) => {
            *known == entry.known
        }
        _ => selects(program, state, target, entry.name, false),
    }
}

/// Whether a target means the member of this name.
pub(crate) fn selects(
    program: &Program,
    state: &mut State,
    target: &Target,
    name: TextId,
    exact_case: bool,
) -> bool {
    match &target.select {
        Select::All => true,
        Select::Name(wanted, _) if exact_case => state.texts.get(name) == &**wanted,
        Select::Name(wanted, _) => state.texts.get(name).eq_ignore_ascii_case(wanted),
        Select::Slot(slot) => state.texts.get(name).eq_ignore_ascii_case(&program.names.all[*slot as usize]),
        Select::Regex(index) | Select::Slots(_, index) => {
            let expression = &program.expressions[*index as usize];
            let State { texts, scratches, .. } = state;
            let scratch = scratches[*index as usize].get_or_insert_with(|| expression.scratch());
            expression.is_match(scratch, texts.get(name))
        }
    }
}

impl Test {
    /// Whether the same text always gives the same answer.
    fn constant(&self) -> bool {
        match &self.operator {
            Operator::RxMacro(_) => false,
            Operator::Text(_, text) | Operator::Number(_, text) => text.constant().is_some(),
            _ => true,
        }
    }
}
