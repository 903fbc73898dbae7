//! What changes while rules run: variables found out when asked for, `%{…}` filled
//! in, and what matches do.

use crate::engine::Engine;
use crate::expression::Expression;
use crate::number;
use crate::program::{Effect, Macro, NO_LIST, Name, Part, Piece, Program, Select, Set, Target, Value, lists};
use crate::state::{EXTRA_NAMES, Entry, Made, Matched, State};
use crate::texts::TextId;
use crate::transaction::Outside;
use regex_automata::Span;
use waf_lang::model::{Control, Variable};

/// Expressions with macros that a worker keeps compiled.
const MADE: usize = 16;

/// Appends a text with its pieces filled in.
pub(crate) fn text(
    engine: &Engine,
    state: &mut State,
    outside: &mut Outside,
    text: &Macro,
    out: &mut Vec<u8>,
) {
    for piece in &text.0 {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Tx(slot) => write(&engine.program, state, state.tx.slots[*slot as usize], out),
            Piece::Variable(variable, name) => {
                first(engine, state, outside, *variable, name.as_deref(), out);
            }
            Piece::Find(variable, index) => find(engine, state, outside, *variable, *index, out),
        }
    }
}

/// Appends a value of `TX`.
fn write(program: &Program, state: &State, value: Value, out: &mut Vec<u8>) {
    match value {
        Value::Absent => {}
        Value::Number(number) => number::write(number, out),
        Value::Constant(index) => out.extend_from_slice(&program.constants[index as usize]),
        Value::Text(text) => out.extend_from_slice(state.texts.get(text)),
    }
}

/// Appends the first value of a variable, or nothing.
fn first(
    engine: &Engine,
    state: &mut State,
    outside: &mut Outside,
    variable: Variable,
    name: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    if let Some((lists, part)) = lists(variable) {
        let wanted = |state: &State, entry: &Entry| {
            name.is_none_or(|name| state.texts.get(entry.name).eq_ignore_ascii_case(name))
        };
        for list in lists.into_iter().filter(|&list| list != NO_LIST) {
            let found = state.lists[list as usize].iter().find(|entry| wanted(state, entry));
            if let Some(entry) = found {
                let text = if part == Part::Name { entry.name } else { entry.value };
                out.extend_from_slice(state.texts.get(text));
                return;
            }
        }
        return;
    }
    let select = name.map_or(Select::All, |name| Select::Name(name.into(), crate::program::UNKNOWN));
    let target =
        Target { variable, source: crate::program::Source::Live, select, count: false, narrowed: false };
    let mut live = std::mem::take(&mut state.live_too);
    live.clear();
    members(engine, state, outside, &target, &mut live);
    if let Some(entry) = live.first() {
        out.extend_from_slice(state.texts.get(entry.value));
    }
    state.live_too = live;
}

/// Appends the first member of a variable whose name an expression finds.
fn find(
    engine: &Engine,
    state: &mut State,
    outside: &mut Outside,
    variable: Variable,
    index: u32,
    out: &mut Vec<u8>,
) {
    let source = match lists(variable) {
        Some((lists, part)) => crate::program::Source::Lists(lists, part),
        None => crate::program::Source::Live,
    };
    let select = match variable {
        Variable::Tx => {
            let expression = &engine.program.expressions[index as usize];
            let mut scratch = expression.scratch();
            let names = engine.program.names.all.iter().enumerate();
            let found = names
                .filter(|(_, name)| expression.is_match(&mut scratch, name))
                .map(|(slot, _)| slot as u32);
            Select::Slots(found.collect(), index)
        }
        _ => Select::Regex(index),
    };
    let target = Target { variable, source, select, count: false, narrowed: false };
    if let crate::program::Source::Lists(lists, part) = source {
        for list in lists.into_iter().filter(|&list| list != NO_LIST) {
            for at in 0..state.lists[list as usize].len() {
                let entry = state.lists[list as usize][at];
                if crate::run::selects(&engine.program, state, &target, entry.name, false) {
                    let text = if part == Part::Name { entry.name } else { entry.value };
                    out.extend_from_slice(state.texts.get(text));
                    return;
                }
            }
        }
        return;
    }
    let mut live = std::mem::take(&mut state.live_too);
    live.clear();
    members(engine, state, outside, &target, &mut live);
    if let Some(entry) = live.first() {
        out.extend_from_slice(state.texts.get(entry.value));
    }
    state.live_too = live;
}

/// The members of a variable that changes while rules run.
pub(crate) fn members(
    engine: &Engine,
    state: &mut State,
    outside: &mut Outside,
    target: &Target,
    out: &mut Vec<Entry>,
) {
    use Variable as V;
    match target.variable {
        V::Tx => tx_members(&engine.program, state, target, out),
        V::Ip | V::Global | V::Session | V::User | V::Resource => {
            kept_members(engine, state, outside, target, out)
        }
        V::Env => {
            for at in 0..state.env.len() {
                let entry = state.env[at];
                if crate::run::selects(&engine.program, state, target, entry.name, false) {
                    out.push(entry);
                }
            }
        }
        V::MatchedVars | V::MatchedVarsNames => {
            for at in 0..state.matched_vars.len() {
                let matched = state.matched_vars[at];
                let label = label(state, &matched);
                let value = if target.variable == V::MatchedVars { matched.value } else { label };
                if crate::run::selects(&engine.program, state, target, label, false) {
                    out.push(Entry::new(label, value));
                }
            }
        }
        V::MatchedVar | V::MatchedVarName => {
            let Some(matched) = state.matched else { return };
            let value = if target.variable == V::MatchedVar { matched.value } else { label(state, &matched) };
            out.push(Entry::new(TextId::EMPTY, value));
        }
        V::Rule => rule_members(engine, state, outside, target, out),
        _ => {
            let mut buffer = state.buffer();
            scalar(engine, state, outside, target.variable, &mut buffer);
            let value = state.texts.intern(&buffer);
            state.give_back(buffer);
            out.push(Entry::new(TextId::EMPTY, value));
        }
    }
}

/// `ARGS:q`, as `MATCHED_VAR_NAME` has it.
fn label(state: &mut State, matched: &Matched) -> TextId {
    let mut buffer = state.buffer();
    if matched.count {
        buffer.push(b'&');
    }
    buffer.extend_from_slice(crate::report::name_of(matched.variable).as_bytes());
    if matched.name != TextId::EMPTY {
        buffer.push(b':');
        buffer.extend_from_slice(state.texts.get(matched.name));
    }
    let text = state.texts.intern(&buffer);
    state.give_back(buffer);
    text
}

fn tx_members(program: &Program, state: &mut State, target: &Target, out: &mut Vec<Entry>) {
    if let Select::Slot(slot) = target.select {
        let value = state.tx.slots[slot as usize];
        if value == Value::Absent {
            return;
        }
        let name = state.texts.intern(&program.names.all[slot as usize]);
        let value = tx_text(program, state, value);
        out.push(Entry::new(name, value));
        return;
    }
    let mut slot_of = |state: &mut State, slot: usize| {
        let value = state.tx.slots[slot];
        if value != Value::Absent {
            let name = state.texts.intern(&program.names.all[slot]);
            let value = tx_text(program, state, value);
            out.push(Entry::new(name, value));
        }
    };
    match &target.select {
        Select::Slots(slots, _) => slots.iter().for_each(|&slot| slot_of(state, slot as usize)),
        Select::All => (0..state.tx.slots.len()).for_each(|slot| slot_of(state, slot)),
        Select::Name(..) | Select::Slot(_) | Select::Regex(_) => {}
    }
    for at in 0..state.tx.extra.len() {
        let (name, value) = state.tx.extra[at];
        if value != Value::Absent && crate::run::selects(program, state, target, name, false) {
            let value = tx_text(program, state, value);
            out.push(Entry::new(name, value));
        }
    }
}

fn tx_text(program: &Program, state: &mut State, value: Value) -> TextId {
    if let Value::Text(text) = value {
        return text;
    }
    let mut buffer = state.buffer();
    write(program, state, value, &mut buffer);
    let text = state.texts.intern(&buffer);
    state.give_back(buffer);
    text
}

fn kept_members(
    engine: &Engine,
    state: &mut State,
    outside: &Outside,
    target: &Target,
    out: &mut Vec<Entry>,
) {
    let State { keys, texts, .. } = &mut *state;
    let Some(key) = keys.get(target.variable) else { return };
    let mut found = Vec::new();
    engine.collections.each(target.variable, key, outside.now_us, |name, value| {
        found.push(Entry::new(texts.intern(name), texts.intern(value)));
    });
    for entry in found {
        if crate::run::selects(&engine.program, state, target, entry.name, false) {
            out.push(entry);
        }
    }
}

/// `RULE:id`, `RULE:msg`, …: of the rule that runs.
fn rule_members(
    engine: &Engine,
    state: &mut State,
    outside: &Outside,
    target: &Target,
    out: &mut Vec<Entry>,
) {
    let Some(rule) = outside.running.map(|number| &engine.program.rules[number as usize]) else { return };
    let facts = [
        (&b"id"[..], rule.model.id.to_string()),
        (b"rev", rule.model.rev.clone().unwrap_or_default()),
        (b"severity", rule.model.severity.map(|s| s.to_string()).unwrap_or_default()),
        (b"msg", crate::report::plain(rule.links.first().and_then(|link| link.msg.as_ref()))),
        (b"logdata", crate::report::plain(rule.links.first().and_then(|link| link.logdata.as_ref()))),
    ];
    for (name, value) in facts {
        let name = state.texts.intern(name);
        if crate::run::selects(&engine.program, state, target, name, false) {
            let value = state.texts.intern(value.as_bytes());
            out.push(Entry::new(name, value));
        }
    }
}

/// A variable with one value that is found out when asked for.
fn scalar(engine: &Engine, state: &State, outside: &mut Outside, variable: Variable, out: &mut Vec<u8>) {
    use Variable as V;
    let seconds = (outside.now_us / 1_000_000) as i64;
    let time = crate::time::Utc::of(seconds);
    match variable {
        V::Duration => number::write(outside.elapsed_us() as i64 / 1_000, out),
        V::HighestSeverity => number::write(i64::from(state.switches.highest_severity), out),
        V::ModsecBuild => out.extend_from_slice(b"030000000"),
        V::Time => {
            let text = format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
            out.extend_from_slice(text.as_bytes());
        }
        V::TimeDay => number::write(time.day, out),
        V::TimeEpoch => number::write(seconds, out),
        V::TimeHour => number::write(time.hour, out),
        V::TimeMin => number::write(time.minute, out),
        // Months and weekdays count from 0, as in C's `struct tm`.
        V::TimeMon => number::write(time.month - 1, out),
        V::TimeSec => number::write(time.second, out),
        V::TimeWday => number::write(time.weekday, out),
        V::TimeYear => number::write(time.year, out),
        V::SessionId => out.extend_from_slice(state.keys.get(V::Session).unwrap_or_default()),
        V::UserId => out.extend_from_slice(state.keys.get(V::User).unwrap_or_default()),
        V::WebAppId => {
            let id = engine.directives.web_app_id.as_deref().unwrap_or("default");
            out.extend_from_slice(id.as_bytes());
        }
        _ => {}
    }
}

/// Where the expression of a text finds something in another.
pub(crate) fn made(state: &mut State, pattern: &[u8], seen: TextId) -> Option<Span> {
    let at = match state.made.iter().position(|made| *made.pattern == *pattern) {
        Some(at) => at,
        None => {
            if state.made.len() >= MADE {
                state.made.remove(0);
            }
            // One that does not compile matches nothing; the rule was accepted with a macro in it.
            let compiled = Expression::new(pattern).ok().map(|expression| {
                let scratch = expression.scratch();
                (expression, scratch)
            });
            state.made.push(Made { pattern: pattern.into(), compiled });
            state.made.len() - 1
        }
    };
    let State { made, texts, .. } = state;
    let (expression, scratch) = made[at].compiled.as_mut()?;
    expression.find_at(scratch, texts.get(seen), 0)
}

/// Does what a match does, but for removals.
pub(crate) fn apply(engine: &Engine, state: &mut State, outside: &mut Outside, effect: &Effect) {
    match effect {
        Effect::SetTx(name, set) => set_tx(engine, state, outside, name, set),
        Effect::SetKept(Variable::Env, name, set) => {
            let (name, value) = (expanded(engine, state, outside, name), set);
            let value = match value {
                Set::To(text) => expanded(engine, state, outside, text),
                Set::ToNumber(number) => number.to_string().into_bytes(),
                _ => Vec::new(),
            };
            set_env(state, &name, &value);
            state.give_back(name);
        }
        Effect::SetKept(collection, name, set) => set_kept(engine, state, outside, *collection, name, set),
        Effect::Expire(collection, name, seconds) => {
            let mut name = expanded(engine, state, outside, name);
            name.make_ascii_lowercase();
            let seconds = expanded(engine, state, outside, seconds);
            let until = outside.now_us.saturating_add(number::parse(&seconds).max(0) as u64 * 1_000_000);
            if let Some(key) = state.keys.get(*collection) {
                engine.collections.expire(*collection, key, &name, until);
            }
            state.give_back(name);
            state.give_back(seconds);
        }
        Effect::Init(collection, key) => set_key(engine, state, outside, *collection, key),
        Effect::SetUser(key) => set_key(engine, state, outside, Variable::User, key),
        Effect::SetSession(key) => set_key(engine, state, outside, Variable::Session, key),
        Effect::SetResource(key) => set_key(engine, state, outside, Variable::Resource, key),
        Effect::SetEnv(name, value) => {
            let name = expanded(engine, state, outside, name);
            let value = expanded(engine, state, outside, value);
            set_env(state, &name, &value);
            state.give_back(name);
            state.give_back(value);
        }
        Effect::Control(control) => switch(state, outside, control),
        Effect::Sanitise(variable, name) => {
            crate::audit::sanitise(state, outside, *variable, name.as_deref())
        }
        Effect::Remove(_) => {}
    }
}

fn expanded(engine: &Engine, state: &mut State, outside: &mut Outside, from: &Macro) -> Vec<u8> {
    let mut out = state.buffer();
    text(engine, state, outside, from, &mut out);
    out
}

fn set_key(engine: &Engine, state: &mut State, outside: &mut Outside, collection: Variable, key: &Macro) {
    let key = expanded(engine, state, outside, key);
    state.keys.set(collection, &key);
    state.give_back(key);
}

fn set_env(state: &mut State, name: &[u8], value: &[u8]) {
    let name = state.texts.intern(name);
    let value = state.texts.intern(value);
    state.env.retain(|entry| entry.name != name);
    state.env.push(Entry::new(name, value));
}

fn set_tx(engine: &Engine, state: &mut State, outside: &mut Outside, name: &Name, set: &Set) {
    let program = &engine.program;
    match name {
        Name::Slot(slot) => {
            let before = state.tx.slots[*slot as usize];
            let value = new_value(engine, state, outside, before, set);
            state.tx.slots[*slot as usize] = value;
        }
        Name::Macro(name) => {
            let mut name = expanded(engine, state, outside, name);
            name.make_ascii_lowercase();
            if let Some(slot) = program.names.get(&name) {
                let value = new_value(engine, state, outside, state.tx.slots[slot as usize], set);
                state.tx.slots[slot as usize] = value;
            } else {
                let id = state.texts.intern(&name);
                let place = state.tx.places.get(&id).copied();
                let before = place.map_or(Value::Absent, |place| state.tx.extra[place as usize].1);
                let value = new_value(engine, state, outside, before, set);
                match place {
                    Some(place) => state.tx.extra[place as usize].1 = value,
                    None if state.tx.extra.len() < EXTRA_NAMES => {
                        state.tx.places.insert(id, state.tx.extra.len() as u32);
                        state.tx.extra.push((id, value));
                    }
                    None => {
                        state.work.exceeded.get_or_insert(crate::state::Exceeded::Values);
                    }
                }
            }
            state.give_back(name);
        }
    }
}

fn new_value(engine: &Engine, state: &mut State, outside: &mut Outside, before: Value, set: &Set) -> Value {
    match set {
        Set::Unset => Value::Absent,
        Set::ToNumber(number) => Value::Number(*number),
        Set::To(from) => {
            let text = expanded(engine, state, outside, from);
            let id = state.texts.intern(&text);
            state.give_back(text);
            Value::Text(id)
        }
        Set::Add(by) | Set::Subtract(by) => {
            let by = match by.constant() {
                Some(text) => number::parse(text),
                None => {
                    let text = expanded(engine, state, outside, by);
                    let number = number::parse(&text);
                    state.give_back(text);
                    number
                }
            };
            let before = as_number(&engine.program, state, before);
            Value::Number(match set {
                Set::Subtract(_) => before.saturating_sub(by),
                _ => before.saturating_add(by),
            })
        }
    }
}

/// A value of `TX` as a number.
pub(crate) fn as_number(program: &Program, state: &State, value: Value) -> i64 {
    match value {
        Value::Absent => 0,
        Value::Number(number) => number,
        Value::Constant(index) => number::parse(&program.constants[index as usize]),
        Value::Text(text) => number::parse(state.texts.get(text)),
    }
}

fn set_kept(
    engine: &Engine,
    state: &mut State,
    outside: &mut Outside,
    collection: Variable,
    name: &Macro,
    set: &Set,
) {
    let mut name = expanded(engine, state, outside, name);
    name.make_ascii_lowercase();
    let argument = match set {
        Set::To(text) | Set::Add(text) | Set::Subtract(text) => expanded(engine, state, outside, text),
        Set::ToNumber(number) => number.to_string().into_bytes(),
        Set::Unset => Vec::new(),
    };
    if let Some(key) = state.keys.get(collection) {
        engine.collections.change(collection, key, &name, outside.now_us, |before| {
            let before = number::parse(before.unwrap_or_default());
            match set {
                Set::Unset => None,
                Set::To(_) | Set::ToNumber(_) => Some(argument.clone()),
                Set::Add(_) => Some(before.saturating_add(number::parse(&argument)).to_string().into_bytes()),
                Set::Subtract(_) => {
                    Some(before.saturating_sub(number::parse(&argument)).to_string().into_bytes())
                }
            }
        });
    }
    state.give_back(name);
    state.give_back(argument);
}

fn switch(state: &mut State, outside: &mut Outside, control: &Control) {
    let switches = &mut state.switches;
    match control {
        Control::RuleEngine(mode) => switches.engine = outside.mode_of(*mode),
        Control::AuditEngine(mode) => switches.audit = *mode,
        Control::AuditLogParts(change) => outside.change_audit_parts(change),
        Control::RequestBodyAccess(on) => switches.request_body_access = *on,
        Control::ResponseBodyAccess(on) => switches.response_body_access = *on,
        Control::RequestBodyLimit(bytes) => {
            switches.request_body_limit =
                switches.request_body_limit.min(usize::try_from(*bytes).unwrap_or(usize::MAX));
        }
        Control::ResponseBodyLimit(bytes) => {
            switches.response_body_limit =
                switches.response_body_limit.min(usize::try_from(*bytes).unwrap_or(usize::MAX));
        }
        Control::ForceRequestBodyVariable(on) => switches.force_request_body = *on,
        Control::RequestBodyProcessor(processor) => {
            switches.request_processor = Some(*processor);
            state.set(Variable::ReqbodyProcessor, crate::request::name_of(*processor).as_bytes());
        }
        Control::ParseXmlIntoArgs(how) => switches.xml_into_args = *how,
        // Responses are inspected as text, whatever their type.
        Control::ResponseBodyProcessor(_) => {}
        Control::RuleRemoveById(_)
        | Control::RuleRemoveByTag(_)
        | Control::RuleRemoveByMsg(_)
        | Control::RuleRemoveTargetById(..)
        | Control::RuleRemoveTargetByTag(..)
        | Control::RuleRemoveTargetByMsg(..)
        | Control::Nothing => {}
    }
}
