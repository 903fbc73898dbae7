//! `[ref "o5,3v10,12t:lowercase"]`: where in the request a value stands, where in the
//! value the operator found something, and which transformations it had.
//!
//! As in libmodsecurity offsets are into the head as if its lines ended in one byte:
//! `GET /?q=1 HTTP/1.1\nHost: …`. Values elsewhere have no `v`.

use crate::engine::Engine;
use crate::program::{ListId, Rule};
use crate::state::{Hit, State};
use std::fmt::Write;
use waf_lang::model::Variable as V;
use waf_text::Transformation;

/// Of all the values that a rule found.
pub(super) fn reference(engine: &Engine, state: &mut State, rule: &Rule) -> String {
    let mut out = String::new();
    for at in 0..state.hits.len() {
        let hit = state.hits[at];
        let hit = &crate::report::located(engine, state, rule, &hit);
        let link = &rule.links[hit.link as usize];
        if link.test.as_ref().is_some_and(crate::report::tells_the_part) {
            let _ = write!(out, "o{},{}", hit.span.start, hit.span.end - hit.span.start);
        }
        if let Some((at, len)) = place(state, hit) {
            let _ = write!(out, "v{at},{len}");
        }
        let steps = engine.program.chains.steps(link.chain);
        let names: Vec<String> = steps.into_iter().map(|step| format!("t:{}", step.name())).collect();
        out.push_str(&names.join(","));
    }
    out
}

/// Where a value begins in the head, and its length there.
fn place(state: &State, hit: &Hit) -> Option<(usize, usize)> {
    if hit.count {
        return None;
    }
    let method = state.scalar(V::RequestMethod).len();
    let target = state.scalar(V::RequestUriRaw);
    let query = memchr::memchr(b'?', target).map(|at| at + 1);
    let line = method + 1 + target.len() + 1 + state.scalar(V::RequestProtocol).len();
    match hit.variable {
        V::RequestMethod => Some((0, method)),
        V::RequestLine => Some((0, line)),
        V::RequestUri | V::RequestUriRaw => Some((method + 1, target.len())),
        V::RequestFilename => Some((method + 1, query.map_or(target.len(), |at| at - 1))),
        V::QueryString => query.map(|at| (method + 1 + at, target.len() - at)),
        V::RequestHeaders => header(state, hit).map(|(at, len)| (line + 1 + at, len)),
        V::Args | V::ArgsGet if hit.list == V::ArgsGet as ListId => {
            let at = query?;
            argument(state, hit, &target[at..]).map(|(inner, len)| (method + 1 + at + inner, len))
        }
        _ => None,
    }
}

fn header(state: &State, hit: &Hit) -> Option<(usize, usize)> {
    let mut at = 0;
    for entry in &state.lists[V::RequestHeaders as usize] {
        let (name, value) = (state.texts.get(entry.name).len(), state.texts.get(entry.value).len());
        if (entry.name, entry.value) == (hit.name, hit.value) {
            return Some((at + name + 2, value));
        }
        at += name + 2 + value + 1;
    }
    None
}

fn argument(state: &State, hit: &Hit, query: &[u8]) -> Option<(usize, usize)> {
    let decoded = |text: &[u8]| {
        let mut out = Vec::new();
        if Transformation::UrlDecode.apply(text, &mut out) { out } else { text.to_vec() }
    };
    let mut at = 0;
    for pair in query.split(|byte| *byte == b'&') {
        let name_end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let value_at = (name_end + 1).min(pair.len());
        if decoded(&pair[..name_end]) == state.texts.get(hit.name)
            && decoded(&pair[value_at..]) == state.texts.get(hit.value)
        {
            return Some((at + value_at, pair.len() - value_at));
        }
        at += pair.len() + 1;
    }
    None
}
