//! From what rules saw to the narrowest exclusions: rule × path × argument. Pure, so
//! that what it proposes can be tried on made-up traffic.

use super::seen::{Seen, argument, families, is_beside};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// So many paths under one prefix, each with a name of its own, are taken for a
/// pattern (`/product/*`): ids and slugs, which no list will ever be complete of.
pub(crate) const MANY_PATHS: usize = 4;

/// A request with so many different rules is an attack: honest text that reads like
/// one kind of attack does not read like five.
const RULES_OF_AN_ATTACK: usize = 5;
/// So is one whose score is so many times the threshold (20 of 5).
const TIMES_THE_THRESHOLD: i64 = 4;
/// And what a client sends whose requests match so many kinds of attack,
const KINDS_OF_AN_ATTACKER: usize = 3;
/// or so many different rules: someone tries what gets through.
const RULES_OF_AN_ATTACKER: usize = 8;
/// The Core Rule Set's threshold where nothing says another.
const USUAL_THRESHOLD: i64 = 5;

/// What is let pass: `{ rule = …, path = …, arg = … }` of the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exclusion {
    pub(crate) rule: u64,
    pub(crate) path: Option<String>,
    pub(crate) arg: Option<String>,
}

impl Exclusion {
    /// As the file writes it.
    pub(crate) fn toml(&self) -> String {
        let mut parts = vec![format!("rule = {}", self.rule)];
        parts.extend(self.path.as_ref().map(|path| format!("path = {}", quoted(path))));
        parts.extend(self.arg.as_ref().map(|arg| format!("arg = {}", quoted(arg))));
        format!("{{ {} }}", parts.join(", "))
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "rule": self.rule, "path": self.path, "arg": self.arg })
    }

    /// Whether all that `other` lets pass, this lets pass.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let path = match (&self.path, &other.path) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => match mine.strip_suffix('*') {
                Some(prefix) => theirs.starts_with(prefix),
                None => mine == theirs,
            },
        };
        self.rule == other.rule && path && (self.arg.is_none() || self.arg == other.arg)
    }
}

/// As TOML writes a string; JSON's escapes are TOML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// What lets one request of one rule pass, and nothing else that can be helped. None:
/// its path is spelt so that no exclusion applies to it.
pub(crate) fn narrowest(seen: &Seen, rule: u64) -> Option<Vec<Exclusion>> {
    if !can_be_named(&seen.path) {
        return None;
    }
    let variables: BTreeSet<&str> =
        seen.matches.iter().filter(|m| m.rule == rule).map(|m| m.variable.as_str()).collect();
    let arguments: BTreeSet<&str> = variables.iter().filter_map(|v| argument(v)).collect();
    let elsewhere = variables.iter().any(|v| argument(v).is_none() && !is_beside(v));
    let path = Some(seen.path.clone());
    if arguments.is_empty() || elsewhere {
        return Some(vec![Exclusion { rule, path, arg: None }]);
    }
    let one = |arg: &str| Exclusion { rule, path: path.clone(), arg: Some(arg.to_owned()) };
    Some(arguments.into_iter().map(one).collect())
}

/// The engine lets no path pass that could be read as another one.
pub(crate) fn can_be_named(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains(['%', '\\', '…', '*'])
        && !path.contains("//")
        && !path.split('/').any(|part| part == "." || part == "..")
}

/// A proposal with what speaks for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) exclusion: Exclusion,
    pub(crate) message: String,
    pub(crate) requests: usize,
    pub(crate) clients: usize,
    /// The distinct paths that it is for.
    pub(crate) paths: usize,
    /// Requests of attackers that it lets through, too, as far as this rule goes.
    pub(crate) attacks: usize,
    /// One value that matched, and the event's id.
    pub(crate) example: String,
    pub(crate) id: Option<String>,
}

/// What is not proposed, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Withheld {
    pub(crate) rule: u64,
    pub(crate) message: String,
    pub(crate) path: String,
    pub(crate) requests: usize,
    pub(crate) why: String,
    pub(crate) example: String,
    pub(crate) id: Option<String>,
}

/// A request, and the path that it is to be let pass on.
type Found<'s> = (&'s Seen, String);

/// What came of all that was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Findings {
    pub(crate) proposals: Vec<Proposal>,
    pub(crate) withheld: Vec<Withheld>,
    /// Requests that were, or would be, refused.
    pub(crate) refused: usize,
}

/// Proposes exclusions for what was refused; with `below`, also for what rules matched
/// without refusing. What `existing` lets pass already is not proposed.
pub(crate) fn propose(all: &[Seen], below: bool, existing: &[Exclusion]) -> Findings {
    let attackers = attackers(all);
    let mut findings = Findings { refused: all.iter().filter(|s| s.refused).count(), ..Findings::default() };
    let mut honest: BTreeMap<(u64, Option<String>), Vec<Found<'_>>> = BTreeMap::new();
    let mut withheld: BTreeMap<(u64, String, String), Vec<&Seen>> = BTreeMap::new();
    let mut attacks: Vec<Exclusion> = Vec::new();
    for seen in all.iter().filter(|s| s.refused || below) {
        let evidence = evidence(seen, &attackers);
        for rule in seen.rules() {
            let mut withhold = |why: &str| {
                withheld.entry((rule, why.to_owned(), seen.path.clone())).or_default().push(seen);
            };
            match (&evidence, narrowest(seen, rule)) {
                (Some(why), narrow) => {
                    withhold(why);
                    attacks.extend(narrow.into_iter().flatten());
                }
                (None, None) => withhold("its path is spelt so that no exclusion applies to it"),
                (None, Some(exclusions)) => {
                    for exclusion in
                        exclusions.into_iter().filter(|new| !existing.iter().any(|e| e.covers(new)))
                    {
                        let path = exclusion.path.unwrap_or_default();
                        honest.entry((rule, exclusion.arg)).or_default().push((seen, path));
                    }
                }
            }
        }
    }
    let mut proposals = Vec::new();
    for ((rule, arg), found) in honest {
        proposals.extend(merged(rule, arg.as_deref(), &found));
    }
    for mut one in proposals {
        one.attacks = attacks.iter().filter(|attack| one.exclusion.covers(attack)).count();
        match one.attacks < one.requests {
            true => findings.proposals.push(one),
            // Whoever attacks the site must not teach it what to let pass.
            false => findings.withheld.push(contested(one)),
        }
    }
    // An exclusion of the whole rule on a path makes those of its arguments idle.
    let kept = findings.proposals.clone();
    let idle = |one: &Proposal| {
        kept.iter().any(|other| other.exclusion != one.exclusion && other.exclusion.covers(&one.exclusion))
    };
    findings.proposals.retain(|one| !idle(one));
    findings
        .proposals
        .sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.exclusion.cmp(&b.exclusion)));
    for ((rule, why, path), seen) in withheld {
        findings.withheld.push(Withheld {
            rule,
            message: message(seen[0], rule),
            path,
            requests: seen.len(),
            why,
            example: example(seen[0], rule, None),
            id: seen[0].id.clone(),
        });
    }
    findings.withheld.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.rule.cmp(&b.rule)));
    findings
}

/// A proposal that attackers would gain more by than others.
fn contested(one: Proposal) -> Withheld {
    Withheld {
        rule: one.exclusion.rule,
        why: format!("{} of attackers met it in the same place", requests(one.attacks)),
        message: one.message,
        path: one.exclusion.path.unwrap_or_default(),
        requests: one.requests,
        example: one.example,
        id: one.id,
    }
}

/// `1 request`, `2 requests`.
pub(crate) fn requests(count: usize) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

/// Clients whose requests, taken together, are those of an attacker: with why.
fn attackers(all: &[Seen]) -> BTreeMap<&str, String> {
    let mut by_client: BTreeMap<&str, (BTreeSet<u64>, BTreeSet<String>)> = BTreeMap::new();
    for seen in all {
        let Some(client) = &seen.client else { continue };
        let (rules, kinds) = by_client.entry(client).or_default();
        rules.extend(seen.rules());
        kinds.extend(families(&seen.matches));
    }
    by_client
        .into_iter()
        .filter_map(|(client, (rules, kinds))| Some((client, attacker(client, &rules, &kinds)?)))
        .collect()
}

/// Why a client is an attacker, if it is one.
fn attacker(client: &str, rules: &BTreeSet<u64>, kinds: &BTreeSet<String>) -> Option<String> {
    if kinds.len() >= KINDS_OF_AN_ATTACKER {
        let kinds = kinds.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Some(format!("{client} sent several kinds of attack: {kinds}"));
    }
    (rules.len() >= RULES_OF_AN_ATTACKER).then(|| format!("{client} met {} different rules", rules.len()))
}

/// Why a request is an attack, if it is one.
fn evidence(seen: &Seen, attackers: &BTreeMap<&str, String>) -> Option<String> {
    let kinds = families(&seen.matches);
    if kinds.contains("reputation-scanner") {
        return Some("it came from a program that looks for holes".to_owned());
    }
    if let Some(why) = seen.client.as_deref().and_then(|client| attackers.get(client)) {
        return Some(why.clone());
    }
    let threshold = seen.threshold.unwrap_or(USUAL_THRESHOLD).max(1);
    if let Some(score) = seen.score.filter(|score| *score >= threshold * TIMES_THE_THRESHOLD) {
        return Some(format!("the score {score} is far above the threshold {threshold}"));
    }
    let rules = seen.rules().len();
    (rules >= RULES_OF_AN_ATTACK).then(|| format!("{rules} different rules matched one request"))
}

/// One proposal a path, or one for many paths under a common prefix.
fn merged(rule: u64, arg: Option<&str>, found: &[Found<'_>]) -> Vec<Proposal> {
    let paths: BTreeSet<&str> = found.iter().map(|(_, path)| path.as_str()).collect();
    let mut patterns = Vec::new();
    group(&paths.iter().copied().collect::<Vec<_>>(), "/", &mut patterns);
    patterns
        .into_iter()
        .map(|pattern| {
            let exclusion = Exclusion { rule, path: Some(pattern), arg: arg.map(str::to_owned) };
            let fits = |path: &str| {
                exclusion.covers(&Exclusion {
                    rule,
                    path: Some(path.to_owned()),
                    arg: arg.map(str::to_owned),
                })
            };
            let mine: Vec<&Found<'_>> = found.iter().filter(|(_, path)| fits(path)).collect();
            let clients: BTreeSet<&str> = mine.iter().filter_map(|(s, _)| s.client.as_deref()).collect();
            let first = mine[0].0;
            Proposal {
                message: message(first, rule),
                requests: mine.len(),
                attacks: 0,
                clients: clients.len(),
                paths: mine.iter().map(|(_, path)| path).collect::<BTreeSet<_>>().len(),
                example: example(first, rule, arg),
                id: first.id.clone(),
                exclusion,
            }
        })
        .collect()
}

/// Patterns for paths that all begin with `prefix`, which ends in `/`: `prefix*` where
/// many names follow it directly, never at the root.
fn group(paths: &[&str], prefix: &str, patterns: &mut Vec<String>) {
    let mut by_next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in paths {
        let rest = &path[prefix.len()..];
        by_next.entry(rest.split_inclusive('/').next().unwrap_or("")).or_default().push(path);
    }
    if prefix != "/" && by_next.len() >= MANY_PATHS {
        patterns.push(format!("{prefix}*"));
        return;
    }
    for (next, below) in by_next {
        match next.ends_with('/') && below.iter().any(|path| path.len() > prefix.len() + next.len()) {
            true => group(&below, &format!("{prefix}{next}"), patterns),
            false => patterns.extend(below.iter().map(|path| (*path).to_owned())),
        }
    }
}

fn message(seen: &Seen, rule: u64) -> String {
    let found = seen.matches.iter().find(|m| m.rule == rule);
    found.map(|m| crate::terminal::escape(&m.message)).unwrap_or_default()
}

fn example(seen: &Seen, rule: u64, arg: Option<&str>) -> String {
    let mut of_rule = seen.matches.iter().filter(|m| m.rule == rule);
    let wanted = of_rule.clone().find(|m| arg.is_some() && argument(&m.variable) == arg);
    let value = wanted.or_else(|| of_rule.next()).map(|m| crate::terminal::escape(&m.value));
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::seen::tests::matched;
    use super::*;

    fn seen(client: &str, path: &str, matches: &[(u64, &str)]) -> Seen {
        Seen {
            client: Some(client.to_owned()),
            path: path.to_owned(),
            refused: true,
            score: Some(5),
            matches: matches
                .iter()
                .map(|(rule, variable)| matched(*rule, variable, &["attack-sqli"]))
                .collect(),
            ..Seen::default()
        }
    }

    fn proposed(all: &[Seen]) -> Vec<String> {
        let mut list: Vec<String> =
            propose(all, false, &[]).proposals.iter().map(|p| p.exclusion.toml()).collect();
        list.sort();
        list
    }

    #[test]
    fn the_narrowest_is_an_argument_of_a_path() {
        let one = seen(
            "a",
            "/search",
            &[
                (1, "ARGS:q"),
                (1, "TX:0"),
                (2, "REQUEST_HEADERS:Referer"),
                (3, "ARGS:q"),
                (3, "REQUEST_FILENAME"),
            ],
        );
        assert_eq!(
            proposed(&[one]),
            [
                "{ rule = 1, path = \"/search\", arg = \"q\" }",
                "{ rule = 2, path = \"/search\" }",
                "{ rule = 3, path = \"/search\" }"
            ]
        );
    }

    #[test]
    fn many_paths_below_one_become_a_pattern_and_few_do_not() {
        let under = |prefix: &str, n: usize, end: &str| -> Vec<Seen> {
            (0..n).map(|i| seen("a", &format!("{prefix}{i}{end}"), &[(1, "ARGS:q")])).collect()
        };
        assert_eq!(
            proposed(&under("/product/", MANY_PATHS, "")),
            ["{ rule = 1, path = \"/product/*\", arg = \"q\" }"]
        );
        assert_eq!(proposed(&under("/a/b/", 5, "/edit")), ["{ rule = 1, path = \"/a/b/*\", arg = \"q\" }"]);
        assert_eq!(proposed(&under("/product/", MANY_PATHS - 1, "")).len(), MANY_PATHS - 1);
        assert_eq!(proposed(&under("/p", 9, "")).len(), 9, "never all of the site");
        let mut both = under("/blog/", 6, "");
        both.push(seen("a", "/search", &[(1, "ARGS:q")]));
        let findings = propose(&both, false, &[]);
        assert_eq!(findings.proposals.len(), 2);
        assert_eq!((findings.proposals[0].requests, findings.proposals[0].paths), (6, 6));
    }

    #[test]
    fn attacks_are_not_proposed_and_it_says_why() {
        let high = Seen { score: Some(25), ..seen("a", "/x", &[(1, "ARGS:q")]) };
        let many =
            seen("b", "/x", &[(1, "ARGS:q"), (2, "ARGS:q"), (3, "ARGS:q"), (4, "ARGS:q"), (5, "ARGS:q")]);
        let kinds = ["sqli", "xss", "lfi"].map(|kind| Seen {
            matches: vec![matched(7, "ARGS:z", &[&format!("attack-{kind}")])],
            ..seen("c", "/y", &[])
        });
        let odd = seen("d", "/a%2fb", &[(1, "ARGS:q")]);
        for (all, word) in [
            (vec![high], "far above"),
            (vec![many], "5 different rules"),
            (kinds.to_vec(), "kinds of attack"),
            (vec![odd], "spelt"),
        ] {
            let findings = propose(&all, false, &[]);
            assert!(findings.proposals.is_empty(), "{:?}", findings.proposals);
            assert!(findings.withheld.iter().all(|w| w.why.contains(word)), "{:?}", findings.withheld);
            assert!(!findings.withheld.is_empty());
        }
        // The same rule in the same place for honest clients is proposed where they are more.
        let mut all = kinds.to_vec();
        for client in ["e", "f", "g"] {
            all.push(seen(client, "/y", &[(7, "ARGS:z")]));
            assert!(propose(&all, false, &[]).proposals.is_empty());
        }
        assert!(
            propose(&all, false, &[])
                .withheld
                .iter()
                .any(|w| w.why == "3 requests of attackers met it in the same place")
        );
        all.push(seen("h", "/y", &[(7, "ARGS:z")]));
        assert_eq!(propose(&all, false, &[]).proposals[0].attacks, 3);
    }

    #[test]
    fn what_passes_already_and_what_was_not_refused_is_not_proposed() {
        let one = seen("a", "/search", &[(1, "ARGS:q")]);
        let wide = Exclusion { rule: 1, path: Some("/s*".into()), arg: None };
        assert!(propose(std::slice::from_ref(&one), false, &[wide]).proposals.is_empty());
        let below = Seen { refused: false, ..one };
        assert!(propose(std::slice::from_ref(&below), false, &[]).proposals.is_empty());
        assert_eq!(propose(std::slice::from_ref(&below), true, &[]).proposals.len(), 1);
    }

    #[test]
    fn covering() {
        let e = |path: Option<&str>, arg: Option<&str>| Exclusion {
            rule: 1,
            path: path.map(str::to_owned),
            arg: arg.map(str::to_owned),
        };
        assert!(e(None, None).covers(&e(Some("/a"), Some("q"))));
        assert!(e(Some("/a/*"), None).covers(&e(Some("/a/b/*"), None)));
        assert!(!e(Some("/a/b"), None).covers(&e(Some("/a/*"), None)));
        assert!(!e(Some("/a"), Some("q")).covers(&e(Some("/a"), None)));
        assert!(!e(Some("/a"), None).covers(&Exclusion { rule: 2, path: None, arg: None }));
    }
}
