//! Short runs of bytes that every match has one of: two or three bytes in a row, in
//! any case of their letters. Where an operator needs one of a few words, most texts
//! lack even a piece of each.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Two or three bytes in lower case: `len << 24 | first << 16 | second << 8 | third`.
pub(crate) type Gram = u32;

/// More than this many say too little.
const MOST: usize = 1_500;

/// A class of bytes of at most this many stands in a run.
const CLASS: usize = 4;

/// Texts that are longer are not looked at piece by piece.
pub(crate) const TEXT_MAX: usize = 256;

/// A text up to this length is looked at for the sake of one operator.
pub(crate) const SHORT: usize = 40;

/// One of which every match of an expression has; none where nothing can be said.
pub(crate) fn of_hir(hir: &Hir) -> Option<Vec<Gram>> {
    let found = walk(hir).best?;
    (found.grams.len() <= MOST).then_some(found.grams)
}

/// One of which every text has that contains one of these.
pub(crate) fn of_literals<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Option<Vec<Gram>> {
    let mut all = Choice::default();
    for text in texts {
        let run: Vec<Vec<u8>> = text.iter().map(|byte| vec![byte.to_ascii_lowercase()]).collect();
        all.join(best_of_run(&run)?);
    }
    (!all.grams.is_empty() && all.grams.len() <= MOST).then_some(all.grams)
}

/// Runs of bytes in `text`, in lower case.
pub(crate) fn each(text: &[u8], mut take: impl FnMut(Gram)) {
    let (mut before, mut last) = (None, None);
    for byte in text.iter().map(u8::to_ascii_lowercase) {
        if let Some(last) = last {
            take(pair(last, byte));
            if let Some(before) = before {
                take(triple(before, last, byte));
            }
        }
        before = last;
        last = Some(byte);
    }
}

#[inline]
fn pair(first: u8, second: u8) -> Gram {
    2 << 24 | u32::from(first) << 16 | u32::from(second) << 8
}

#[inline]
fn triple(first: u8, second: u8, third: u8) -> Gram {
    3 << 24 | u32::from(first) << 16 | u32::from(second) << 8 | u32::from(third)
}

/// Alternatives, and how likely a benign text has one of them.
#[derive(Clone, Debug, Default)]
struct Choice {
    grams: Vec<Gram>,
    weight: f64,
}

impl Choice {
    fn join(&mut self, other: Self) {
        for gram in other.grams {
            if !self.grams.contains(&gram) {
                self.grams.push(gram);
                self.weight += weight(gram);
            }
        }
    }
}

/// What a part of an expression is.
#[derive(Default)]
struct Walked {
    /// The best choice within it.
    best: Option<Choice>,
    /// What it is if it is exactly a run of small classes.
    run: Option<Vec<Vec<u8>>>,
}

fn walk(hir: &Hir) -> Walked {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Walked { best: None, run: Some(Vec::new()) },
        HirKind::Literal(literal) => {
            let run: Vec<Vec<u8>> = literal.0.iter().map(|byte| vec![byte.to_ascii_lowercase()]).collect();
            Walked { best: best_of_run(&run), run: Some(run) }
        }
        HirKind::Class(Class::Bytes(class)) => {
            let mut bytes: Vec<u8> = Vec::new();
            for range in class.ranges() {
                for byte in range.start()..=range.end() {
                    let byte = byte.to_ascii_lowercase();
                    if !bytes.contains(&byte) {
                        bytes.push(byte);
                    }
                    if bytes.len() > CLASS {
                        return Walked::default();
                    }
                }
            }
            Walked { best: None, run: Some(vec![bytes]) }
        }
        HirKind::Class(Class::Unicode(_)) => Walked::default(),
        HirKind::Capture(capture) => walk(&capture.sub),
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max) {
            (0, _) => Walked::default(),
            (1, Some(1)) => walk(&repetition.sub),
            _ => Walked { best: walk(&repetition.sub).best, run: None },
        },
        HirKind::Concat(parts) => concat(parts),
        HirKind::Alternation(branches) => {
            let mut all = Choice::default();
            for branch in branches {
                let Some(choice) = walk(branch).best else { return Walked::default() };
                all.join(choice);
                if all.grams.len() > MOST {
                    return Walked::default();
                }
            }
            Walked { best: Some(all), run: None }
        }
    }
}

fn concat(parts: &[Hir]) -> Walked {
    let mut best: Option<Choice> = None;
    let mut run: Vec<Vec<u8>> = Vec::new();
    let mut whole = true;
    let mut better = |choice: Option<Choice>| {
        if let Some(choice) = choice
            && best.as_ref().is_none_or(|best| choice.weight < best.weight)
        {
            best = Some(choice);
        }
    };
    for part in parts {
        let walked = walk(part);
        better(walked.best);
        match walked.run {
            Some(more) => run.extend(more),
            None => {
                better(best_of_run(&run));
                run.clear();
                whole = false;
            }
        }
    }
    better(best_of_run(&run));
    Walked { best, run: whole.then_some(run) }
}

/// The rarest two or three in a row of a run of classes.
fn best_of_run(run: &[Vec<u8>]) -> Option<Choice> {
    let mut best: Option<(&[Vec<u8>], f64)> = None;
    for window in run.windows(3).chain(run.windows(2)) {
        let mut sum = 0.0;
        each_of(window, |gram| sum += weight(gram));
        if best.is_none_or(|(_, least)| sum < least) {
            best = Some((window, sum));
        }
    }
    let (window, weight) = best?;
    let mut grams = Vec::new();
    each_of(window, |gram| grams.push(gram));
    Some(Choice { grams, weight })
}

/// Every gram that two or three classes in a row can be.
fn each_of(window: &[Vec<u8>], mut take: impl FnMut(Gram)) {
    match window {
        [firsts, seconds] => {
            for &first in firsts {
                seconds.iter().for_each(|&second| take(pair(first, second)));
            }
        }
        [firsts, seconds, thirds] => {
            for &first in firsts {
                for &second in seconds {
                    thirds.iter().for_each(|&third| take(triple(first, second, third)));
                }
            }
        }
        _ => {}
    }
}

/// How likely a benign text has a gram, roughly: the product of its bytes' shares,
/// more where the two often follow one another in English.
fn weight(gram: Gram) -> f64 {
    let bytes = [(gram >> 16) as u8, (gram >> 8) as u8, gram as u8];
    let bytes = &bytes[..(gram >> 24) as usize];
    let mut weight = 10_000.0;
    for &byte in bytes {
        weight *= f64::from(crate::requirement::share(byte)) / 4_000.0;
    }
    for two in bytes.windows(2) {
        if COMMON.chunks(2).any(|common| common == two) {
            weight *= 4.0;
        }
    }
    weight
}

/// The most frequent pairs of letters in English text.
const COMMON: &[u8] = b"thheinerannreatndonnthaesstenedtoitouheaaiisorttiasteetngofaldeselesasiarveraldurmeomprocolileunicioceemptapeh";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(grams: Option<Vec<Gram>>) -> Vec<String> {
        let mut all: Vec<String> = grams
            .unwrap_or_default()
            .into_iter()
            .map(|gram| {
                let bytes = [(gram >> 16) as u8, (gram >> 8) as u8, gram as u8];
                String::from_utf8_lossy(&bytes[..(gram >> 24) as usize]).into_owned()
            })
            .collect();
        all.sort();
        all
    }

    fn of(pattern: &str) -> Vec<String> {
        let config = regex_automata::util::syntax::Config::new().utf8(false).unicode(false);
        let Ok(hir) = regex_automata::util::syntax::parse_with(pattern, &config) else { return Vec::new() };
        shown(of_hir(&hir))
    }

    #[test]
    fn of_expressions() {
        assert_eq!(of("xyz"), ["xyz"]);
        assert_eq!(of("(?i)xyz"), ["xyz"]);
        assert_eq!(of("ab|xy"), ["ab", "xy"]);
        assert_eq!(of("ab|x"), [""; 0]);
        assert_eq!(of("a.*b"), [""; 0]);
        assert_eq!(of("(?:ab)?c"), [""; 0]);
        assert_eq!(of("a(?:bx|cy)+"), ["bx", "cy"]);
        assert_eq!(of("<[xz]"), ["<x", "<z"]);
        assert_eq!(of("th.q[xy]z"), ["qxz", "qyz"]);
    }

    #[test]
    fn of_phrases() {
        assert_eq!(shown(of_literals([&b"Union"[..], b"/etc"].into_iter())), ["/et", "uni"]);
        assert_eq!(shown(of_literals([&b"a"[..], b"/etc"].into_iter())), [""; 0]);
    }

    #[test]
    fn every_match_has_one() {
        let mut count = 0;
        each(b"aBc", |gram| {
            count += 1;
            assert!([pair(b'a', b'b'), pair(b'b', b'c'), triple(b'a', b'b', b'c')].contains(&gram));
        });
        assert_eq!(count, 3);
    }
}
