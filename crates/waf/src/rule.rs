//! From directives to rules.

use crate::action::{Actions, Phase};
use crate::error::{LoadError, Wrong};
use crate::limits::RULES_MAX;
use crate::operator::Test;
use crate::parse::{self, Directive};
use crate::settings::{Exclusion, RuleFile};
use crate::transform::{Transformation, url_decode};
use crate::variable::{OF_BODY, Targets};
use std::collections::HashMap;

/// One rule: it matches when each of its links does.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: u64,
    pub(crate) phase: Phase,
    /// The status, where a match denies.
    pub(crate) deny: Option<u16>,
    pub(crate) log: bool,
    pub(crate) message: String,
    pub(crate) severity: Option<&'static str>,
    pub(crate) tags: Vec<String>,
    pub(crate) links: Vec<Link>,
    pub(crate) exclusions: Vec<Excluded>,
}

/// One `SecRule` of a rule.
#[derive(Debug)]
pub(crate) struct Link {
    /// `waf/sqli.conf:12`.
    pub(crate) source: String,
    pub(crate) targets: Targets,
    /// An index into [`Rules::pipelines`].
    pub(crate) pipeline: usize,
    pub(crate) test: Test,
}

/// Where a rule, or an argument of it, is let pass.
#[derive(Clone, Debug)]
pub(crate) struct Excluded {
    path: Option<String>,
    pub(crate) arg: Option<String>,
}

/// All rules of all files.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    /// The lists of transformations that occur, each once; the first is empty.
    pub(crate) pipelines: Vec<Vec<Transformation>>,
    /// Exclusions of the engine's own rules.
    pub(crate) builtin_exclusions: HashMap<u64, Vec<Excluded>>,
}

impl Rules {
    /// Compiles all files; all errors at once.
    pub(crate) fn load(files: &[RuleFile], exclude: &[Exclusion]) -> Result<Self, Vec<LoadError>> {
        let mut rules = Self { pipelines: vec![Vec::new()], ..Self::default() };
        let mut errors = Vec::new();
        let mut known: HashMap<u64, String> = HashMap::new();
        for file in files {
            rules.load_file(file, &mut known, &mut errors);
        }
        if rules.rules.len() > RULES_MAX {
            let what = format!("{} rules are more than {RULES_MAX}", rules.rules.len());
            errors.push(LoadError { file: "rules".into(), line: 0, what, hint: "use fewer rules".into() });
        }
        let broken = !errors.is_empty();
        for exclusion in exclude {
            if let Err(wrong) = rules.exclude(exclusion, broken) {
                errors.push(LoadError {
                    file: "exclude".into(),
                    line: 0,
                    what: wrong.what,
                    hint: wrong.hint,
                });
            }
        }
        if errors.is_empty() { Ok(rules) } else { Err(errors) }
    }

    fn load_file(&mut self, file: &RuleFile, known: &mut HashMap<u64, String>, errors: &mut Vec<LoadError>) {
        let mut fail = |line: u32, wrong: Wrong| {
            errors.push(LoadError { file: file.name.clone(), line, what: wrong.what, hint: wrong.hint });
        };
        // The rule whose chain is open; a link that does not parse still counts.
        let mut open: Option<Rule> = None;
        let mut chained = false;
        for read in parse::directives(&file.text) {
            let line = read.as_ref().map_or_else(|(line, _)| *line, |directive| directive.line);
            let source = format!("{}:{line}", file.name);
            let built = read.map_err(|(_, wrong)| wrong).and_then(|d| self.link(d, source.clone()));
            let (link, actions) = match built {
                Ok(both) => both,
                Err(wrong) => {
                    fail(line, wrong);
                    (open, chained) = (None, false);
                    continue;
                }
            };
            let goes_on = actions.chain;
            let rule =
                if chained { next_link(open.take(), link, actions) } else { first_link(link, actions) };
            match rule {
                Ok(rule) => {
                    if let Some(first) = (!chained).then(|| known.insert(rule.id, source)).flatten() {
                        let what = format!("the id {} is already that of the rule at `{first}`", rule.id);
                        fail(line, Wrong::new(what, "give each rule a number of its own"));
                    }
                    open = Some(rule);
                }
                Err(wrong) => {
                    fail(line, wrong);
                    open = None;
                }
            }
            chained = goes_on;
            if !chained {
                self.rules.extend(open.take());
            }
        }
        if chained {
            let wrong =
                Wrong::new("the last rule says `chain` and none follows", "add the rule it is chained to");
            fail(file.text.lines().count() as u32, wrong);
        }
    }

    fn link(&mut self, directive: Directive, source: String) -> Result<(Link, Actions), Wrong> {
        if !directive.name.eq_ignore_ascii_case("SecRule") {
            let known = std::iter::once("SecRule");
            let mut wrong = Wrong::unknown("the directive", "", &directive.name, known);
            if directive.name.eq_ignore_ascii_case("SecRuleEngine") {
                wrong.hint = "take it out and set `mode` of the firewall's settings instead".into();
            }
            return Err(wrong);
        }
        let [targets, test, rest @ ..] = directive.arguments.as_slice() else {
            let what = "`SecRule` needs variables and an operator";
            return Err(Wrong::new(what, "write `SecRule ARGS \"@rx …\" \"id:…,deny\"`"));
        };
        let actions = match rest {
            [] => Actions::default(),
            [actions] => Actions::parse(actions)?,
            [_, extra, ..] => {
                let what = format!("`SecRule` takes three arguments; `{extra}` is one more");
                return Err(Wrong::new(what, "quote an argument that holds blanks"));
            }
        };
        let link = Link {
            source,
            targets: Targets::parse(targets)?,
            pipeline: self.pipeline(&actions.transformations),
            test: Test::parse(test)?,
        };
        Ok((link, actions))
    }

    fn pipeline(&mut self, wanted: &[Transformation]) -> usize {
        let found = self.pipelines.iter().position(|known| known == wanted);
        found.unwrap_or_else(|| {
            self.pipelines.push(wanted.to_vec());
            self.pipelines.len() - 1
        })
    }

    fn exclude(&mut self, exclusion: &Exclusion, broken: bool) -> Result<(), Wrong> {
        let path = exclusion.path.clone();
        if let Some(path) = path.as_deref().filter(|p| !p.starts_with('/')) {
            let what = format!("the path `{path}` of an exclusion does not begin with `/`");
            return Err(Wrong::new(what, "write it as `/search`, or `/admin/*` for all below"));
        }
        let excluded = Excluded { path, arg: exclusion.arg.clone() };
        let id = exclusion.rule;
        if (crate::builtin::TOO_MUCH..=crate::builtin::BODY_TOO_LARGE).contains(&id) {
            self.builtin_exclusions.entry(id).or_default().push(excluded);
            return Ok(());
        }
        match self.rules.iter_mut().find(|rule| rule.id == id) {
            Some(rule) => rule.exclusions.push(excluded),
            // Where a rule did not load, its exclusion is not to blame.
            None if broken => {}
            None => {
                let what = format!("the rule {id} of an exclusion is in no rule file");
                return Err(Wrong::new(what, "correct the number, or take the exclusion out"));
            }
        }
        Ok(())
    }
}

fn first_link(link: Link, actions: Actions) -> Result<Rule, Wrong> {
    let id =
        actions.id.ok_or_else(|| Wrong::new("the rule has no id", "add `id:` with a number of its own"))?;
    // Phase 2 is ModSecurity's default.
    let phase = actions.phase.unwrap_or(Phase::Body);
    check_phase(phase, &link)?;
    if actions.status.is_some() && actions.deny != Some(true) {
        return Err(Wrong::new("`status` without `deny` does nothing", "add `deny` or take `status` out"));
    }
    Ok(Rule {
        id,
        phase,
        deny: (actions.deny == Some(true)).then(|| actions.status.unwrap_or(403)),
        log: actions.log.unwrap_or(true),
        message: actions.msg.unwrap_or_else(|| format!("rule {id} matched")),
        severity: actions.severity,
        tags: actions.tags,
        links: vec![link],
        exclusions: Vec::new(),
    })
}

fn next_link(open: Option<Rule>, link: Link, actions: Actions) -> Result<Rule, Wrong> {
    let own = Actions { transformations: Vec::new(), chain: false, ..actions };
    if own != Actions::default() {
        let what = "a rule that another is chained to says more than `t` and `chain`";
        return Err(Wrong::new(
            what,
            "move id, phase, message and what a match does to the first of the chain",
        ));
    }
    let beginning = || Wrong::new("the beginning of this chain is wrong", "correct it first");
    let mut rule = open.ok_or_else(beginning)?;
    check_phase(rule.phase, &link)?;
    rule.links.push(link);
    Ok(rule)
}

fn check_phase(phase: Phase, link: &Link) -> Result<(), Wrong> {
    let bodily = |t: &&crate::variable::Target| t.places() & !OF_BODY == 0;
    match link.targets.wanted.iter().find(bodily).filter(|_| phase == Phase::Head) {
        Some(target) => {
            let what = format!("`{}` is not known in phase 1", target.variable.name);
            Err(Wrong::new(what, "use `phase:2`"))
        }
        None => Ok(()),
    }
}

impl Excluded {
    /// Whether it applies to a request's path, as sent. The path must match both
    /// as sent and with its percent-encoding and dots resolved, so that no spelling
    /// borrows the exclusion of another place.
    pub(crate) fn applies(&self, raw_path: &[u8]) -> bool {
        let Some(pattern) = &self.path else {
            return true;
        };
        let matches = |path: &[u8]| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix.as_bytes()),
            None => path == pattern.as_bytes(),
        };
        let (mut decoded, mut plain) = (Vec::new(), Vec::new());
        url_decode(raw_path, false, &mut decoded);
        Transformation::NormalizePathWin.apply(&decoded, &mut plain);
        matches(raw_path) && matches(&plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, exclude: &[Exclusion]) -> Result<Rules, Vec<String>> {
        let file = RuleFile { name: "a.conf".into(), text: text.into() };
        Rules::load(&[file], exclude).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rules_and_chains_load() {
        let text = "SecRule ARGS \"@rx a\" \"id:101,t:lowercase,deny,chain\"\n\
                    SecRule REQUEST_METHOD \"@streq POST\" \"t:none,chain\"\n\
                    SecRule REQUEST_URI b t:lowercase\n\
                    SecRule REQUEST_HEADERS:Host c \"id:102,phase:1,pass,nolog\"";
        let rules = load(text, &[]).unwrap();
        let shape: Vec<_> = rules.rules.iter().map(|r| (r.id, r.links.len(), r.deny, r.log)).collect();
        assert_eq!(shape, [(101, 3, Some(403), true), (102, 1, None, false)]);
        assert_eq!(rules.pipelines.len(), 2);
        assert_eq!(rules.rules[0].links[2].source, "a.conf:3");
    }

    #[test]
    fn every_error_names_its_line() {
        let text = "SecAction \"id:1\"\n\
                    SecRule ARGS\n\
                    SecRule ARGS a \"deny\"\n\
                    SecRule ARGS a \"id:101,status:403\"\n\
                    SecRule ARGS a \"id:101\" more\n\
                    SecRule ARGS_POST a \"id:103,phase:1\"\n\
                    SecRule ARGS a \"id:104\"\n\
                    SecRule ARGS a \"id:104\"\n\
                    SecRuleEngine On\n\
                    SecRule ARGS a \"id:105,chain\"\n\
                    SecRule ARGS a \"id:106\"\n\
                    SecRule ARGS \"@within a\" \"id:107,chain\"\n\
                    SecRule ARGS a \"id:108,chain\"";
        let errors = load(text, &[]).unwrap_err();
        let expected = [
            "a.conf:1: the directive `SecAction` is not supported",
            "a.conf:2: `SecRule` needs variables and an operator",
            "a.conf:3: the rule has no id",
            "a.conf:4: `status` without `deny`",
            "a.conf:5: `SecRule` takes three arguments",
            "a.conf:6: `ARGS_POST` is not known in phase 1",
            "a.conf:8: the id 104 is already that of the rule at `a.conf:7`",
            "a.conf:9: the directive `SecRuleEngine` is not supported",
            "a.conf:11: a rule that another is chained to says more",
            "a.conf:12: operator `@within` is not supported",
            "a.conf:13: the last rule says `chain` and none follows",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, beginning) in errors.iter().zip(expected) {
            assert!(error.starts_with(beginning) && error.contains("\nhint: "), "{error}");
        }
    }

    #[test]
    fn exclusions_hold_only_where_the_path_is_plain() {
        let exclusion = |rule, path: &str| Exclusion { rule, path: Some(path.into()), arg: None };
        let rule = "SecRule ARGS a id:101";
        assert!(load(rule, &[exclusion(101, "/a*"), exclusion(11, "/b")]).is_ok());
        let errors = load(rule, &[exclusion(102, "/a"), exclusion(101, "a")]).unwrap_err();
        assert!(errors[0].starts_with("exclude: the rule 102"), "{errors:?}");
        assert!(errors[1].contains("does not begin with `/`"), "{errors:?}");

        let cases: &[(&str, &[u8], bool)] = &[
            ("/search", b"/search", true),
            ("/search", b"/search/", false),
            ("/search", b"/%73earch", false),
            ("/search*", b"/search/x", true),
            ("/search*", b"/search/../admin", false),
            ("/search*", b"/search/%2e%2e/admin", false),
            ("/search*", b"/search/..%5cadmin", false),
            ("/*", b"/anything", true),
        ];
        for (pattern, path, expected) in cases {
            let excluded = Excluded { path: Some((*pattern).into()), arg: None };
            assert_eq!(excluded.applies(path), *expected, "{pattern} {:?}", String::from_utf8_lossy(path));
        }
    }
}
