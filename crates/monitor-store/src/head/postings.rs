//! The head's inverted index: which slots have a label's value.

use hashbrown::HashMap;
use monitor_model::{Labels, Matcher};
use smallvec::SmallVec;

/// For each label name and value the slots of the series that have it.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    names:
        HashMap<Box<str>, HashMap<Box<str>, List, foldhash::fast::RandomState>, foldhash::fast::RandomState>,
    /// Lists that are not ascending may be among them.
    unsorted: bool,
}

/// Slots; few lists of many series have more than some of them.
#[derive(Debug, Default)]
struct List {
    slots: SmallVec<[u32; 4]>,
    /// Slots are used again, so that a new one may be smaller than the last.
    unsorted: bool,
}

impl List {
    fn push(&mut self, slot: u32) -> bool {
        let behind = self.slots.last().is_some_and(|last| *last > slot);
        self.unsorted |= behind;
        self.slots.push(slot);
        behind
    }
}

impl Postings {
    /// Adds a series.
    pub(crate) fn add(&mut self, labels: &Labels, slot: u32) {
        for (name, value) in labels {
            let values = match self.names.get_mut(name) {
                Some(values) => values,
                None => self.names.entry(name.into()).or_default(),
            };
            let list = match values.get_mut(value) {
                Some(list) => list,
                None => values.entry(value.into()).or_default(),
            };
            self.unsorted |= list.push(slot);
        }
    }

    /// Takes series out. `gone` ascends.
    pub(crate) fn remove(&mut self, gone: &[(u32, Labels)]) {
        let slots: Vec<u32> = gone.iter().map(|(slot, _)| *slot).collect();
        let mut touched: Vec<(&str, &str)> = gone.iter().flat_map(|(_, labels)| labels).collect();
        touched.sort_unstable();
        touched.dedup();
        // Each list once, however many of its series go.
        for (name, value) in touched {
            let Some(values) = self.names.get_mut(name) else { continue };
            if let Some(list) = values.get_mut(value) {
                list.slots.retain(|slot| slots.binary_search(slot).is_err());
                if list.slots.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.names.remove(name);
            }
        }
    }

    pub(crate) fn is_unsorted(&self) -> bool {
        self.unsorted
    }

    /// Makes all lists ascending.
    pub(crate) fn sort(&mut self) {
        for list in self.names.values_mut().flat_map(HashMap::values_mut).filter(|list| list.unsorted) {
            list.slots.sort_unstable();
            list.unsorted = false;
        }
        self.unsorted = false;
    }

    /// The slots that the conditions which name values select, ascending; the
    /// other conditions are given back, to be tested on each. `None` where every
    /// series may match.
    pub(crate) fn candidates<'m>(&self, matchers: &'m [Matcher]) -> (Option<Vec<u32>>, Vec<&'m Matcher>) {
        let mut found: Option<Vec<u32>> = None;
        let mut rest = Vec::new();
        let mut exact = Vec::new();
        for matcher in matchers {
            match matcher.exact_values().filter(|_| !matcher.matches_empty()) {
                Some(values) => exact.push(self.of_values(&matcher.name, &values)),
                None => rest.push(matcher),
            }
        }
        exact.sort_by_key(|lists| lists.iter().map(|l| l.slots.len()).sum::<usize>());
        for lists in exact {
            match &mut found {
                None => found = Some(gathered(&lists)),
                Some(found) => keep(found, &lists),
            }
        }
        if found.is_none() {
            // The expression is tested on each value of its label, not on each series.
            let demanding = rest.iter().position(|m| !m.matches_empty());
            if let Some(matcher) = demanding.map(|at| rest.remove(at)) {
                found = Some(gathered(&self.of_tested(matcher)));
            }
        }
        (found, rest)
    }

    fn of_values(&self, name: &str, values: &[&str]) -> Vec<&List> {
        let Some(known) = self.names.get(name) else { return Vec::new() };
        values.iter().filter_map(|value| known.get(*value)).collect()
    }

    fn of_tested(&self, matcher: &Matcher) -> Vec<&List> {
        let Some(known) = self.names.get(matcher.name.as_str()) else { return Vec::new() };
        known.iter().filter(|(value, _)| matcher.is_match(value)).map(|(_, list)| list).collect()
    }

    /// Each label name with the number of its values and of the series that have it.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        self.names
            .iter()
            .map(|(name, values)| (&**name, values.len(), values.values().map(|list| list.slots.len()).sum()))
    }

    /// Each value of a label with the number of its series.
    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, usize)> + use<'a> {
        let values = self.names.get(name).into_iter().flatten();
        values.map(|(value, list)| (&**value, list.slots.len()))
    }
}

/// All slots of some lists, ascending.
fn gathered(lists: &[&List]) -> Vec<u32> {
    let mut slots: Vec<u32> = lists.iter().flat_map(|list| list.slots.iter().copied()).collect();
    if lists.len() != 1 || lists[0].unsorted {
        slots.sort_unstable();
    }
    slots
}

/// Keeps the slots that one of the lists has.
fn keep(found: &mut Vec<u32>, lists: &[&List]) {
    let all: usize = lists.iter().map(|list| list.slots.len()).sum();
    if lists.len() == 1 && !lists[0].unsorted && found.len() * 16 < all {
        found.retain(|slot| lists[0].slots.binary_search(slot).is_ok());
        return;
    }
    let other = gathered(lists);
    let mut at = 0;
    found.retain(|slot| {
        while other.get(at).is_some_and(|o| o < slot) {
            at += 1;
        }
        other.get(at) == Some(slot)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_and_the_rest_select_what_matches() {
        let mut postings = Postings::default();
        let series: Vec<Labels> = (0..20u32)
            .map(|i| Labels::from_pairs([("a", format!("{}", i % 3)), ("b", format!("{i}"))]))
            .collect();
        // A slot that is used again makes lists descend.
        let order: Vec<u32> = (10..20).chain(0..10).collect();
        order.iter().for_each(|slot| postings.add(&series[*slot as usize], *slot));
        assert!(postings.is_unsorted());
        let regex = |name, text| Matcher::regex(name, text, false).unwrap();
        let cases = [
            (vec![Matcher::equal("a", "1")], 7),
            (vec![Matcher::equal("a", "1"), Matcher::equal("b", "4")], 1),
            (vec![regex("b", "1|2|nine")], 2),
            (vec![regex("b", "1.*")], 11),
            (vec![regex("b", "1.*"), regex("a", "0|1")], 8),
            (vec![Matcher::not_equal("a", "")], 20),
            (vec![Matcher::not_equal("a", "1")], 13),
            (vec![Matcher::equal("c", "1")], 0),
            (vec![Matcher::equal("c", "")], 20),
        ];
        for sorted in [false, true] {
            if sorted {
                postings.sort();
            }
            for (matchers, expected) in &cases {
                let (found, rest) = postings.candidates(matchers);
                let found = found.unwrap_or_else(|| (0..20).collect());
                assert!(found.is_sorted());
                let matching = |slot: &&u32| {
                    rest.iter().all(|m| m.is_match(series[**slot as usize].get(&m.name).unwrap_or_default()))
                };
                assert_eq!(found.iter().filter(matching).count(), *expected, "{matchers:?}");
            }
        }
        postings.remove(&[(1, series[1].clone()), (4, series[4].clone())]);
        assert_eq!(postings.candidates(&[Matcher::equal("a", "1")]).0.unwrap().len(), 5);
        assert_eq!(postings.values("b").count(), 18);
    }
}
