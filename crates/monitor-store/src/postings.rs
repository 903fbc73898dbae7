//! The inverted index: which series have a label's value.

use monitor_promql::{Labels, Matcher};
use std::collections::{BTreeMap, BTreeSet};

/// For each label name and value the series that have it, ascending.
#[derive(Clone, Debug)]
pub(crate) struct Postings<T> {
    names: BTreeMap<Box<str>, BTreeMap<Box<str>, Vec<T>>>,
}

impl<T> Default for Postings<T> {
    fn default() -> Self {
        Self { names: BTreeMap::new() }
    }
}

impl<T: Copy + Ord> Postings<T> {
    /// Adds a series whose id is larger than those before.
    pub(crate) fn add(&mut self, labels: &Labels, id: T) {
        for (name, value) in labels {
            let list = self.names.get_mut(name).and_then(|values| values.get_mut(value));
            match list {
                Some(list) => list.push(id),
                None => self.insert(name, value, vec![id]),
            }
        }
    }

    /// Sets the whole list of a value.
    pub(crate) fn insert(&mut self, name: &str, value: &str, list: Vec<T>) {
        match self.names.get_mut(name) {
            Some(values) => drop(values.insert(value.into(), list)),
            None => drop(self.names.insert(name.into(), BTreeMap::from([(value.into(), list)]))),
        }
    }

    /// Takes series out.
    pub(crate) fn remove(&mut self, gone: &[(T, Labels)]) {
        let mut ids: Vec<T> = gone.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        // Each list once, however many of its series go.
        let touched: BTreeSet<(&str, &str)> = gone.iter().flat_map(|(_, labels)| labels).collect();
        for (name, value) in touched {
            let Some(values) = self.names.get_mut(name) else { continue };
            if let Some(list) = values.get_mut(value) {
                list.retain(|id| ids.binary_search(id).is_err());
                if list.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.names.remove(name);
            }
        }
    }

    /// A set of series that has all that match and as few others as is cheap to
    /// say; the caller tests each. `None` where every series may match.
    pub(crate) fn candidates(&self, matchers: &[Matcher]) -> Option<Vec<T>> {
        let demanding: Vec<&Matcher> = matchers.iter().filter(|m| !m.matches_empty()).collect();
        let exact = demanding.iter().filter_map(|m| Some((m, m.exact_values()?)));
        let lists = exact.map(|(m, values)| self.of_values(&m.name, &values));
        let smallest = lists.min_by_key(|lists| lists.iter().map(|l| l.len()).sum::<usize>());
        let lists = match smallest {
            Some(lists) => lists,
            None => self.of_tested(demanding.first()?),
        };
        let mut ids: Vec<T> = lists.into_iter().flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    fn of_values(&self, name: &str, values: &[&str]) -> Vec<&Vec<T>> {
        let Some(known) = self.names.get(name) else { return Vec::new() };
        values.iter().filter_map(|value| known.get(*value)).collect()
    }

    fn of_tested(&self, matcher: &Matcher) -> Vec<&Vec<T>> {
        let Some(known) = self.names.get(matcher.name.as_str()) else { return Vec::new() };
        known.iter().filter(|(value, _)| matcher.is_match(value)).map(|(_, list)| list).collect()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a, T> {
        self.names.get(name).into_iter().flat_map(|values| values.keys().map(|value| &**value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &BTreeMap<Box<str>, Vec<T>>)> {
        self.names.iter().map(|(name, values)| (&**name, values))
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_have_all_that_match() {
        let mut postings = Postings::default();
        let series: Vec<Labels> = (0..20u32)
            .map(|i| Labels::from_pairs([("a", format!("{}", i % 3)), ("b", format!("{i}"))]))
            .collect();
        series.iter().zip(0u32..).for_each(|(labels, id)| postings.add(labels, id));
        let cases = [
            (vec![Matcher::equal("a", "1")], 7),
            (vec![Matcher::equal("a", "1"), Matcher::equal("b", "4")], 1),
            (vec![Matcher::regex("b", "1|2|nine", false).unwrap()], 2),
            (vec![Matcher::regex("b", "1.*", false).unwrap()], 11),
            (vec![Matcher::not_equal("a", "")], 20),
            (vec![Matcher::equal("c", "1")], 0),
        ];
        for (matchers, expected) in cases {
            let found = postings.candidates(&matchers).unwrap();
            let matching = |id: &u32| Matcher::all_match(&matchers, &series[*id as usize]);
            assert_eq!(found.iter().filter(|id| matching(id)).count(), expected, "{matchers:?}");
        }
        assert!(postings.candidates(&[Matcher::equal("c", "")]).is_none());
        postings.remove(&[(1, series[1].clone()), (4, series[4].clone())]);
        assert_eq!(postings.candidates(&[Matcher::equal("a", "1")]).unwrap().len(), 5);
        assert_eq!(postings.values("b").count(), 18);
    }
}
