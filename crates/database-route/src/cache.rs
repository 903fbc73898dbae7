//! Verdicts remembered by statement text.

use crate::class::{MAX_STATEMENT, Verdict, classify};
use std::collections::HashMap;
use std::sync::Arc;

/// Texts kept in each of the two generations, in bytes.
const GENERATION: usize = 4 * 1024 * 1024;

/// Longer texts are rarely repeated, and not kept.
const MAX_KEPT: usize = MAX_STATEMENT / 4;

/// A cache bounded in bytes: when the young generation is full, it becomes the
/// old one, and what was not asked for since is forgotten. The whole text is the
/// key, so no two statements can be taken for one another.
#[derive(Default)]
pub struct Cache {
    young: HashMap<Box<str>, Arc<Verdict>>,
    old: HashMap<Box<str>, Arc<Verdict>>,
    young_bytes: usize,
}

impl Cache {
    /// The verdict on `sql`, from memory or from [`classify`].
    pub fn classify(&mut self, sql: &str) -> Arc<Verdict> {
        if let Some(verdict) = self.young.get(sql) {
            return verdict.clone();
        }
        let verdict = match self.old.remove(sql) {
            Some(verdict) => verdict,
            None => Arc::new(classify(sql)),
        };
        if sql.len() <= MAX_KEPT {
            self.keep(sql, verdict.clone());
        }
        verdict
    }

    fn keep(&mut self, sql: &str, verdict: Arc<Verdict>) {
        // The text, the map's slot and the verdict.
        let cost = sql.len() + 128;
        if self.young_bytes + cost > GENERATION {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += cost;
        self.young.insert(sql.into(), verdict);
    }

    /// Statements remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_as_classify_does_and_stays_bounded() {
        let mut cache = Cache::default();
        for round in 0..3 {
            for (sql, read) in [("select 1", true), ("delete from t", false)] {
                assert_eq!(cache.classify(sql).is_read(), read, "round {round}: {sql}");
            }
        }
        assert_eq!(cache.len(), 2);
        let padding = " ".repeat(MAX_KEPT - 30);
        for n in 0..1_000 {
            cache.classify(&format!("select {n}{padding}"));
            assert!(cache.young_bytes <= GENERATION);
        }
        assert!(cache.len() * MAX_KEPT <= 2 * GENERATION + 2 * MAX_KEPT);
        assert!(!cache.is_empty());
    }
}
