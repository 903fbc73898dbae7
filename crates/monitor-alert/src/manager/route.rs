//! The routing tree, ready to be walked.

use super::config::{GroupBy, Route};
use super::matcher::{MatcherText, all_match};
use crate::Labels;
use monitor_model::Matcher;

/// A node, flat: children follow their parent in the list.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) settings: Route,
    matchers: Vec<Matcher>,
    children: Vec<usize>,
    /// Names the node in group keys: the matchers from the root to it, as in Alertmanager.
    pub(super) key: String,
}

/// The whole tree; the root is 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(pub(super) Vec<Node>);

impl Tree {
    pub(super) fn new(root: Route) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.add(root, "")?;
        // A key is a node's alone, or two nodes would share what was told.
        let mut seen = std::collections::BTreeMap::new();
        for node in &mut tree.0 {
            let times = seen.entry(node.key.clone()).or_insert(0);
            *times += 1;
            if *times > 1 {
                node.key = format!("{}/{times}", node.key);
            }
        }
        Ok(tree)
    }

    fn add(&mut self, mut route: Route, parent: &str) -> Result<usize, String> {
        let matchers = route.matchers.iter().map(MatcherText::compile).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<String> = route.matchers.iter().map(ToString::to_string).collect();
        let own = match &route.to {
            Some(receiver) => format!("{{receiver={receiver:?}}}"),
            None => format!("{{{}}}", texts.join(",")),
        };
        let key = if parent.is_empty() { own } else { format!("{parent}/{own}") };
        let at = self.0.len();
        let children = std::mem::take(&mut route.routes);
        self.0.push(Node { settings: route, matchers, children: Vec::new(), key: key.clone() });
        for child in children {
            let child = self.add(child, &key)?;
            self.0[at].children.push(child);
        }
        Ok(at)
    }

    /// The nodes an alert goes to. `to` are the receivers its rule names: with
    /// any, the routes do not count.
    pub(super) fn of(&self, labels: &Labels, to: &[String]) -> Vec<usize> {
        let mut found = Vec::new();
        if let Some(root) = self.0.first() {
            for child in &root.children {
                let node = &self.0[*child];
                match &node.settings.to {
                    Some(receiver) if to.contains(receiver) => found.push(*child),
                    None if to.is_empty() => drop(self.walk(*child, labels, &mut found)),
                    _ => {}
                }
            }
        }
        found
    }

    /// Alertmanager's `Route.Match`: the deepest nodes; a node whose children
    /// take nothing takes the alert itself.
    fn walk(&self, at: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let node = &self.0[at];
        if !all_match(&node.matchers, labels) {
            return false;
        }
        let before = found.len();
        for child in &node.children {
            if self.walk(*child, labels, found) && !self.0[*child].settings.goes_on {
                break;
            }
        }
        if found.len() == before {
            found.push(at);
        }
        true
    }

    /// The labels that make alerts one group at a node.
    pub(super) fn group_labels(&self, at: usize, labels: &Labels) -> Labels {
        match &self.0[at].settings.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => {
                labels.iter().filter(|(name, _)| names.contains(name)).cloned().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::matcher::parse;
    use super::*;

    #[test]
    fn where_alerts_go() {
        let route = |matchers: &str, receiver: &str, goes_on: bool, routes: Vec<Route>| Route {
            receiver: receiver.into(),
            matchers: parse(matchers).unwrap(),
            goes_on,
            routes,
            ..Route::default()
        };
        let file = route(
            "",
            "default",
            false,
            vec![
                route("team=db", "db", false, vec![route("severity=page", "db-page", false, vec![])]),
                route("severity=page", "page", true, vec![]),
                route("severity=~\"page|warn\"", "warn", false, vec![]),
            ],
        );
        let named =
            Route { receiver: "ops".into(), to: Some("ops".into()), goes_on: true, ..Route::default() };
        let tree = Tree::new(Route { routes: vec![named, file], ..Route::default() }).unwrap();
        let cases = [
            ("team=db,severity=page", "", "db-page"),
            ("team=db,severity=low", "", "db"),
            ("severity=page", "", "page warn"),
            ("severity=warn", "", "warn"),
            ("severity=low", "", "default"),
            ("severity=low", "ops", "ops"),
            ("severity=low", "gone", ""),
        ];
        for (labels, to, expected) in cases {
            let labels: Labels = labels
                .split(',')
                .filter_map(|p| p.split_once('='))
                .map(|(n, v)| (n.into(), v.into()))
                .collect();
            let to: Vec<String> = to.split_whitespace().map(str::to_owned).collect();
            let found: Vec<&str> =
                tree.of(&labels, &to).iter().map(|i| tree.0[*i].settings.receiver.as_str()).collect();
            assert_eq!(found.join(" "), expected, "{labels:?} {to:?}");
        }
        assert_eq!(tree.0[4].key, "{}/{}/{team=\"db\"}/{severity=\"page\"}");
    }
}
