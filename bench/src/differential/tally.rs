//! Counts and groups of what the two engines said.

use super::Judgement;
use super::carry;
use super::classes::{Case, Side, explain};
use crate::waf::request::Request;
use std::collections::BTreeMap;

/// One paranoia level's outcome.
#[derive(Default)]
pub(super) struct Tally {
    compared: usize,
    agree: usize,
    missed: usize,
    extra: usize,
    unexplained_missed: usize,
    unexplained_extra: usize,
    blocked: usize,
    same_rules: usize,
    other_status: usize,
    /// Requests that libmodsecurity did not survive.
    pub(super) crashed: usize,
    groups: BTreeMap<(u64, Side, &'static str), Group>,
    decisions: Vec<String>,
}

/// Disagreements about one rule.
#[derive(Default)]
struct Group {
    count: usize,
    /// Where the payloads stood, with counts.
    places: BTreeMap<String, usize>,
    examples: Vec<String>,
}

/// Examples that are kept of each group; fewer are shown.
const KEPT: usize = 5;

impl Tally {
    /// Counts one request.
    pub(super) fn add(
        &mut self,
        index: usize,
        origin: &str,
        request: &Request,
        theirs: &Judgement,
        ours: &Judgement,
    ) {
        self.compared += 1;
        self.blocked += usize::from(theirs.blocked);
        let (their_rules, our_rules) = (rules(theirs), rules(ours));
        let mut explained = true;
        let mut differ = Vec::new();
        for (side, from, other) in [(Side::Missed, theirs, &our_rules), (Side::Extra, ours, &their_rules)] {
            for rule in rules(from) {
                if other.contains(&rule) {
                    continue;
                }
                let line = from.matches.iter().find(|(id, _)| *id == rule).map_or("", |(_, line)| line);
                let case = Case { rule, side, request, line };
                let class = explain(&case).map_or("", |class| class.name);
                // The evaluation rules only follow from the others.
                if !FOLLOWS.contains(&rule) {
                    explained &= !class.is_empty();
                    differ.push(format!("{} {rule}", side.name()));
                    let group = self.groups.entry((rule, side, class)).or_default();
                    group.count += 1;
                    let place = origin.split(' ').next().unwrap_or_default();
                    *group.places.entry(place.to_owned()).or_default() += 1;
                    if group.examples.len() < KEPT {
                        group.examples.push(example(index, origin, line, request));
                    }
                }
            }
        }
        self.same_rules += usize::from(differ.is_empty());
        if theirs.blocked == ours.blocked {
            self.agree += 1;
            self.other_status += usize::from(theirs.status != ours.status);
            return;
        }
        let explained = explained && !differ.is_empty();
        let side = if theirs.blocked { Side::Missed } else { Side::Extra };
        match side {
            Side::Missed => {
                self.missed += 1;
                self.unexplained_missed += usize::from(!explained);
            }
            Side::Extra => {
                self.extra += 1;
                self.unexplained_extra += usize::from(!explained);
            }
        }
        let score = |judged: &Judgement| {
            let line = judged.matches.iter().find(|(id, _)| *id == SCORE).map_or("", |(_, line)| line);
            line.split_once("[msg \"score ")
                .map_or(line, |(_, rest)| rest.split('"').next().unwrap_or(""))
                .to_owned()
        };
        self.decisions.push(format!(
            "{} block{}: #{index} ({origin}): theirs {} (score {}), ours {} (score {}): {}",
            side.name(),
            if explained { ", explained" } else { "" },
            theirs.status,
            score(theirs),
            ours.status,
            score(ours),
            if differ.is_empty() { "the same rules".to_owned() } else { differ.join(", ") }
        ));
    }

    /// `N compared, N agree, N missed, N extra`.
    pub(super) fn closing(&self) -> String {
        format!(
            "{} compared, {} agree, {} missed, {} extra",
            self.compared, self.agree, self.missed, self.extra
        )
    }

    /// Decisions that agree, in a hundred.
    pub(super) fn agreement(&self) -> f64 {
        self.agree as f64 * 100.0 / self.compared.max(1) as f64
    }

    /// Missed blocks that no class explains.
    pub(super) fn unexplained_missed(&self) -> usize {
        self.unexplained_missed
    }

    /// Groups, the largest first, and decisions that differ.
    pub(super) fn shown(&self, examples: usize) -> String {
        let mut text = format!(
            "{:.2} % of decisions agree; libmodsecurity blocks {}; unexplained: {} missed, {} extra; \
             the same rules matched on {}; same decision with another status {}; libmodsecurity crashed on {}\n",
            self.agreement(),
            self.blocked,
            self.unexplained_missed,
            self.unexplained_extra,
            self.same_rules,
            self.other_status,
            self.crashed
        );
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|((rule, side, class), group)| {
            (!class.is_empty(), std::cmp::Reverse(group.count), *rule, *side)
        });
        for ((rule, side, class), group) in &groups {
            let class = if class.is_empty() { String::new() } else { format!(" ({class})") };
            let mut places: Vec<_> = group.places.iter().collect();
            places.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let places: Vec<String> =
                places.iter().take(4).map(|(place, count)| format!("{place} {count}")).collect();
            let places = places.join(", ");
            text.push_str(&format!("{} {rule} × {}: {places}{class}\n", side.name(), group.count));
            for example in
                group.examples.iter().take(if class.is_empty() { examples } else { examples.min(1) })
            {
                text.push_str(&format!("    {}\n", example.replace('\n', "\n    ")));
            }
        }
        for decision in self.decisions.iter().take(40) {
            text.push_str(&format!("{decision}\n"));
        }
        text
    }
}

/// The rule of the differential's own that writes the score.
const SCORE: u64 = 9_999_999;

/// Rules that match because of others: evaluation of the score, and reporting.
const FOLLOWS: [u64; 8] = [949_110, 949_111, 980_170, 980_130, 980_099, 959_100, 980_100, SCORE];

/// The rules that matched, each once, in order.
fn rules(judged: &Judgement) -> Vec<u64> {
    let mut rules: Vec<u64> = judged.matches.iter().map(|(rule, _)| *rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

fn example(index: usize, origin: &str, line: &str, request: &Request) -> String {
    // The library repeats the expression, which may be long; `[data "…"]` tells what it found.
    let data =
        line.split_once("[data \"").map_or(line, |(_, rest)| rest.split("\"] [").next().unwrap_or(rest));
    let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    // Without the headers that all of them have.
    let plain = |line: &&str| !carry::HEADERS.iter().any(|(name, value)| *line == format!("{name}: {value}"));
    let shown: Vec<String> = request.shown().lines().filter(plain).map(|line| cut(line, 300)).collect();
    format!("#{index} ({origin}) data `{}`\n  {}", cut(data, 200), shown.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(blocked: bool, rules: &[u64]) -> Judgement {
        Judgement {
            blocked,
            status: if blocked { 403 } else { 200 },
            matches: rules.iter().map(|rule| (*rule, String::new())).collect(),
        }
    }

    #[test]
    fn decisions_and_rules_are_counted_apart() {
        let mut tally = Tally::default();
        let request = Request::new("GET", "/", &[]);
        let cases = [
            (judged(true, &[942_100, 949_110]), judged(true, &[942_100, 949_110])),
            (judged(true, &[942_100, 949_110]), judged(false, &[])),
            (judged(false, &[]), judged(true, &[941_100, 949_110])),
            (judged(true, &[1, 2]), judged(true, &[2])),
        ];
        for (index, (theirs, ours)) in cases.iter().enumerate() {
            tally.add(index, "", &request, theirs, ours);
        }
        assert_eq!(tally.closing(), "4 compared, 2 agree, 1 missed, 1 extra");
        assert_eq!((tally.same_rules, tally.unexplained_missed), (1, 1));
        let groups: Vec<_> = tally.groups.keys().map(|(rule, side, _)| (*rule, *side)).collect();
        assert_eq!(groups, [(1, Side::Missed), (941_100, Side::Extra), (942_100, Side::Missed)]);
    }
}
