//! Regular expressions as `@rx` means them: over bytes, `.` matches a newline
//! (DOTALL), `^` and `$` match at lines too (MULTILINE), as in ModSecurity v3's
//! `Regex` class.
//!
//! Those that can, run in time linear in the value. The few with look-around or
//! back-references run on a backtracking engine with a bound on its steps; beyond
//! it the answer is "no match" and the request's budget says so.

use crate::dialect::{Translated, translate};
use crate::requirement::Requirement;
use regex_automata::meta::{self, Cache};
use regex_automata::util::syntax;
use regex_automata::{Input, Span};

/// Steps of the backtracking engine for one value.
const BACKTRACK_STEPS: usize = 200_000;

/// Groups that are kept: the whole and `TX:1` to `TX:9`.
const GROUPS: usize = 10;

/// The most memory one compiled expression may take, bytes.
const SIZE_MAX: usize = 16 << 20;

/// A compiled expression and what every match of it needs.
#[derive(Debug)]
pub(crate) struct Expression {
    engine: Engine,
    /// Whether it has groups beside the whole.
    pub(crate) groups: usize,
    pub(crate) requirement: Requirement,
}

#[derive(Debug)]
enum Engine {
    /// `^.*$` and the like: any value, the whole of it.
    Anything,
    Linear(Box<meta::Regex>),
    Backtracking(Box<fancy_regex::Regex>),
}

/// What one worker needs to run one expression.
#[derive(Debug)]
pub(crate) struct Scratch(Option<Box<Cache>>);

impl Expression {
    /// Compiles a pattern; the message says what is wrong with it.
    pub(crate) fn new(pattern: &[u8]) -> Result<Self, String> {
        if matches!(pattern, b"^.*$" | b"^.*" | b".*" | b"^(?s:.*)$") {
            return Ok(Self { engine: Engine::Anything, groups: 0, requirement: Requirement::default() });
        }
        match translate(pattern) {
            Translated::Linear(text) => Self::linear(&text),
            Translated::Backtracking(text) => Self::backtracking(&text),
        }
    }

    fn linear(text: &str) -> Result<Self, String> {
        let syntax = syntax::Config::new()
            .utf8(false)
            .unicode(false)
            .dot_matches_new_line(true)
            .multi_line(true)
            .nest_limit(200);
        let hir = syntax::parse_with(text, &syntax).map_err(|error| short(&error.to_string()))?;
        let requirement = Requirement::of(&hir);
        let config = meta::Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(SIZE_MAX))
            .onepass_size_limit(Some(64 << 10))
            .dfa(false)
            .hybrid_cache_capacity(1 << 20);
        let regex = meta::Builder::new()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|error| short(&error.to_string()))?;
        let groups = regex.captures_len().saturating_sub(1);
        Ok(Self { engine: Engine::Linear(Box::new(regex)), groups, requirement })
    }

    fn backtracking(text: &str) -> Result<Self, String> {
        let regex = fancy_regex::RegexBuilder::new(&format!("(?sm){text}"))
            .backtrack_limit(BACKTRACK_STEPS)
            .build()
            .map_err(|error| short(&error.to_string()))?;
        let groups = regex.captures_len().saturating_sub(1);
        Ok(Self { engine: Engine::Backtracking(Box::new(regex)), groups, requirement: Requirement::default() })
    }

    /// What a worker keeps for it.
    pub(crate) fn scratch(&self) -> Scratch {
        match &self.engine {
            Engine::Linear(regex) => Scratch(Some(Box::new(regex.create_cache()))),
            Engine::Anything | Engine::Backtracking(_) => Scratch(None),
        }
    }

    /// Whether it matches.
    pub(crate) fn is_match(&self, scratch: &mut Scratch, value: &[u8]) -> bool {
        match (&self.engine, &mut scratch.0) {
            (Engine::Linear(regex), Some(cache)) => {
                regex.search_half_with(cache, &Input::new(value).earliest(true)).is_some()
            }
            (Engine::Anything, _) => true,
            _ => self.find_at(scratch, value, 0).is_some(),
        }
    }

    /// The first match from `start` on.
    pub(crate) fn find_at(&self, scratch: &mut Scratch, value: &[u8], start: usize) -> Option<Span> {
        match (&self.engine, &mut scratch.0) {
            (Engine::Linear(regex), Some(cache)) => {
                let input = Input::new(value).range(start..);
                regex.search_with(cache, &input).map(|found| found.span())
            }
            (Engine::Anything, _) => (start <= value.len()).then_some(Span { start, end: value.len() }),
            (Engine::Backtracking(regex), _) => {
                let wide = Wide::new(value);
                let found = regex.find_from_pos(&wide.text, wide.in_text(start)).ok().flatten()?;
                Some(Span { start: wide.in_bytes(found.start()), end: wide.in_bytes(found.end()) })
            }
            _ => None,
        }
    }

    /// The first match from `start` on, with its groups, the whole first.
    pub(crate) fn captures_at(
        &self,
        scratch: &mut Scratch,
        value: &[u8],
        start: usize,
        groups: &mut Vec<Option<Span>>,
    ) -> bool {
        groups.clear();
        if self.groups == 0 {
            let found = self.find_at(scratch, value, start);
            groups.push(found);
            return found.is_some();
        }
        match (&self.engine, &mut scratch.0) {
            (Engine::Linear(regex), Some(cache)) => {
                let mut slots = [None; 2 * GROUPS];
                let slots = &mut slots[..2 * (self.groups + 1).min(GROUPS)];
                let found = regex.search_slots_with(cache, &Input::new(value).range(start..), slots);
                groups.extend(slots.chunks(2).map(|pair| match pair {
                    [Some(start), Some(end)] => Some(Span { start: start.get(), end: end.get() }),
                    _ => None,
                }));
                found.is_some()
            }
            (Engine::Backtracking(regex), _) => {
                let wide = Wide::new(value);
                let Some(captures) = regex.captures_from_pos(&wide.text, wide.in_text(start)).ok().flatten() else {
                    return false;
                };
                groups.extend((0..captures.len()).map(|group| {
                    let found = captures.get(group)?;
                    Some(Span { start: wide.in_bytes(found.start()), end: wide.in_bytes(found.end()) })
                }));
                true
            }
            _ => false,
        }
    }
}

/// Bytes as text in which each is one character.
struct Wide {
    text: String,
}

impl Wide {
    fn new(value: &[u8]) -> Self {
        Self { text: value.iter().map(|&b| b as char).collect() }
    }

    /// The place in the text of a place in the bytes.
    fn in_text(&self, at: usize) -> usize {
        self.text.char_indices().nth(at).map_or(self.text.len(), |(index, _)| index)
    }

    /// The place in the bytes of a place in the text.
    fn in_bytes(&self, at: usize) -> usize {
        self.text[..at].chars().count()
    }
}

/// The last lines of the crates' long messages say what is wrong.
fn short(message: &str) -> String {
    let last = message.trim().rsplit('\n').next().unwrap_or(message);
    last.trim_start_matches("error: ").to_owned()
}
