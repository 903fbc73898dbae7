//! What a pool's discovery has found so far, and what changes for its targets.

use crate::Group;
use crate::settings::Pool;
use crate::target::{Found, Target, of_group};
use monitor_model::Labels;
use std::collections::BTreeMap;

/// What changes when groups do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Every target there is, each once.
    pub targets: Vec<Target>,
    /// Labels of what relabelling dropped, as discovered; as many as are kept.
    pub dropped: Vec<Labels>,
    /// How many were dropped.
    pub dropped_count: usize,
    /// What was discovered and cannot be a target, with the reason.
    pub wrong: Vec<(Labels, String)>,
    /// Why no target is scraped: there are more than `target_limit`.
    pub exceeded: Option<String>,
}

impl Change {
    /// Of all groups that there are now.
    pub fn of_groups<'a>(pool: &Pool, groups: impl IntoIterator<Item = &'a Group>) -> Self {
        let mut change = Self::default();
        let mut targets: BTreeMap<(Labels, String), Target> = BTreeMap::new();
        for found in groups.into_iter().flat_map(|group| of_group(pool, group)) {
            match found {
                // The same labels and URL twice are one target.
                Found::Target(target) => drop(targets.entry(target.key()).or_insert(*target)),
                Found::Dropped(labels) => {
                    change.dropped_count += 1;
                    if pool.limits.dropped == 0 || change.dropped.len() < pool.limits.dropped {
                        change.dropped.push(labels);
                    }
                }
                Found::Wrong { discovered, why } => change.wrong.push((discovered, why)),
            }
        }
        change.targets = targets.into_values().collect();
        let (count, limit) = (change.targets.len(), pool.limits.targets);
        if limit > 0 && count > limit {
            change.exceeded =
                Some(format!("target_limit exceeded (number of targets: {count}, limit: {limit})"));
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_there_once() {
        let mut pool = Pool::named("p");
        let groups = [Group::of_addresses("a", ["h:1", "h:2"]), Group::of_addresses("b", ["h:1", "h/3"])];
        let change = Change::of_groups(&pool, &groups);
        assert_eq!((change.targets.len(), change.wrong.len(), change.exceeded), (2, 1, None));
        pool.limits.targets = 1;
        let change = Change::of_groups(&pool, &groups);
        assert_eq!(change.exceeded.unwrap(), "target_limit exceeded (number of targets: 2, limit: 1)");
    }
}
