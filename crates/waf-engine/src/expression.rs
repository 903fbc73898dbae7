//! Regular expressions as `@rx` means them: over bytes, `.` matches a newline
//! (DOTALL), `^` and `$` match at lines too (MULTILINE), as in ModSecurity v3's
//! `Regex` class.
//!
//! Those that can, run in time linear in the value. The few with look-around or
//! back-references run on a backtracking engine: on a kilobyte at a time, each half
//! looked at with the one before and the one behind it, with a bound on the steps for
//! each. So their work is linear in the value, too; what they may miss is a match of
//! more than half a kilobyte in a longer value, and one that takes too many steps.

use crate::dialect::{Translated, translate};
use crate::requirement::Requirement;
use regex_automata::meta::{self, Cache};
use regex_automata::util::syntax;
use regex_automata::{Input, Span};

/// Steps of the backtracking engine for one window.
const BACKTRACK_STEPS: usize = 20_000;

/// So much of a value the backtracking engine looks at once, bytes.
const WINDOW: usize = 1_024;

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
        Ok(Self {
            engine: Engine::Backtracking(Box::new(regex)),
            groups,
            requirement: Requirement::default(),
        })
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
                windows(start, value.len()).find_map(|(from, to)| {
                    let found = regex.find_from_pos(wide.until(to), wide.in_text(from)).ok().flatten()?;
                    Some(Span { start: wide.in_bytes(found.start()), end: wide.in_bytes(found.end()) })
                })
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
                let found = windows(start, value.len()).find_map(|(from, to)| {
                    regex.captures_from_pos(wide.until(to), wide.in_text(from)).ok().flatten()
                });
                let Some(captures) = found else { return false };
                groups.extend((0..captures.len().min(GROUPS)).map(|group| {
                    let found = captures.get(group)?;
                    Some(Span { start: wide.in_bytes(found.start()), end: wide.in_bytes(found.end()) })
                }));
                true
            }
            _ => false,
        }
    }
}

/// From where to where a value of so many bytes is looked at, one after the other.
fn windows(start: usize, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let last = len.saturating_sub(WINDOW / 2).max(start);
    (start..=last).step_by(WINDOW / 2).map(move |from| (from, (from + WINDOW).min(len)))
}

/// Bytes as text in which each is one character.
struct Wide {
    text: String,
    /// By byte, where its character begins; and where the text ends.
    places: Vec<u32>,
}

impl Wide {
    fn new(value: &[u8]) -> Self {
        let mut text = String::with_capacity(value.len());
        let mut places = Vec::with_capacity(value.len() + 1);
        for &byte in value {
            places.push(text.len() as u32);
            text.push(byte as char);
        }
        places.push(text.len() as u32);
        Self { text, places }
    }

    /// The text of the first bytes.
    fn until(&self, at: usize) -> &str {
        &self.text[..self.in_text(at)]
    }

    /// The place in the text of a place in the bytes.
    fn in_text(&self, at: usize) -> usize {
        self.places[at] as usize
    }

    /// The place in the bytes of a place in the text.
    fn in_bytes(&self, at: usize) -> usize {
        self.places.partition_point(|&place| (place as usize) < at)
    }
}

/// The last lines of the crates' long messages say what is wrong.
fn short(message: &str) -> String {
    let last = message.trim().rsplit('\n').next().unwrap_or(message);
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pattern: &str, value: &[u8]) -> Option<(usize, usize)> {
        let expression = Expression::new(pattern.as_bytes()).ok()?;
        let found = expression.find_at(&mut expression.scratch(), value, 0)?;
        Some((found.start, found.end))
    }

    #[test]
    fn lines_and_bytes() {
        assert_eq!(find("a.b", b"a\nb"), Some((0, 3)), "a dot matches a newline");
        assert_eq!(find("^b$", b"a\nb\nc"), Some((2, 3)), "anchors match at lines");
        assert_eq!(find("\\xff", b"a\xff"), Some((1, 2)));
        assert_eq!(find("\\w", "é".as_bytes()), None, "classes are ASCII");
    }

    #[test]
    fn look_around() {
        assert_eq!(find("(?<!a)b", b"ab\xe9b"), Some((3, 4)));
        assert_eq!(find("x(?!y)", b"xyx"), Some((2, 3)));
        assert_eq!(find(r"(a|b)\1", b"abb"), Some((1, 3)));
        let mut long = vec![b'.'; 5_000];
        long.extend_from_slice(b"ab.b");
        assert_eq!(find("(?<!a)b", &long), Some((5_003, 5_004)));
        assert_eq!(find("(?<!a)b", b""), None);
    }

    #[test]
    fn windows_cover_a_value() {
        for len in [0, 1, 511, 512, 513, 1_024, 1_025, 5_000] {
            let all: Vec<_> = windows(0, len).collect();
            assert_eq!(all.first().map(|(from, _)| *from), Some(0));
            assert_eq!(all.last().map(|(_, to)| *to), Some(len));
            assert!(all.windows(2).all(|two| two[1].0 < two[0].1 || two[0].1 == len), "{len}");
        }
    }
}
