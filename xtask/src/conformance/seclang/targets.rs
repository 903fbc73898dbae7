//! What rules look at: half of the cases that expect only ModSecurity's debug log
//! ask it for `Target value: "…" (Variable: …)`, and that can be asked of any
//! engine. Before each rule stands another with the same targets and
//! transformations that matches everything; its matches, written as that engine
//! writes targets, are what the case's expression is looked for in.

use base::events::RuleMatch;

/// Ids from here on are ours.
const FIRST_ID: u64 = 9_000_000;

/// The rules with their witnesses, where a case asks for targets alone, nothing in
/// the rules counts its neighbours or names the rule it stands in, and no secret is
/// asked for: matches do not tell them.
pub(super) fn witnessed(expression: &str, rules: &[String]) -> Option<Vec<String>> {
    let any = |words: &[&str]| rules.iter().any(|rule| words.iter().any(|word| rule.contains(word)));
    let secret =
        any(&["REQUEST_COOKIES"]) || (expression.contains("PHPSESSID") && !expression.contains("TX:"));
    let more = ["Added", "returned"].iter().any(|word| expression.contains(word));
    if !expression.contains("Target value") || more || secret || any(&["skip:", "chain", "SecRule RULE:"]) {
        return None;
    }
    let mut all = Vec::with_capacity(rules.len() * 2);
    let mut id = FIRST_ID;
    for rule in rules {
        if let Some(witness) = witness(rule, id) {
            all.push(witness);
            id += 1;
        }
        all.push(rule.clone());
    }
    (id > FIRST_ID).then_some(all)
}

/// `SecRule ARGS "@contains a" "id:1,phase:2,t:trim,deny"` → a rule over the same
/// values that lets everything pass.
fn witness(rule: &str, id: u64) -> Option<String> {
    let rest = rule.trim().strip_prefix("SecRule ")?.trim_start();
    let (targets, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => rest.split_once(char::is_whitespace)?,
    };
    // What follows the last opening quote are the actions.
    let actions =
        rest.trim_end().strip_suffix('"').and_then(|rest| rest.rsplit_once('"')).map_or("", |(_, a)| a);
    let phase =
        actions.split(',').map(str::trim).find(|action| action.starts_with("phase:")).unwrap_or("phase:2");
    let transformations: String = actions
        .split(',')
        .map(str::trim)
        .filter(|action| action.starts_with("t:"))
        .map(|t| format!(",{t}"))
        .collect();
    Some(format!(
        "SecRule \"{targets}\" \"@unconditionalMatch\" \"id:{id},{phase},pass,log,t:none{transformations}\""
    ))
}

/// What the witnesses saw, a line a target; a count is told by what it counts.
pub(super) fn log(matches: &[RuleMatch]) -> String {
    matches
        .iter()
        .filter(|one| one.rule >= FIRST_ID)
        .map(|one| {
            format!(
                " Target value: \"{}\" (Variable: {})\n",
                one.transformed,
                one.variable.trim_start_matches('&')
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_looks_at_the_same() {
        let check =
            |rule: &str, expected: Option<&str>| assert_eq!(witness(rule, 7).as_deref(), expected, "{rule}");
        check(
            r#"SecRule ARGS:a|!ARGS:b "@contains x" "id:1,phase:1,t:trim,deny,t:lowercase""#,
            Some(
                r#"SecRule "ARGS:a|!ARGS:b" "@unconditionalMatch" "id:7,phase:1,pass,log,t:none,t:trim,t:lowercase""#,
            ),
        );
        check(
            r#"SecRule "XML:/a/b" "@rx x" "id:1""#,
            Some(r#"SecRule "XML:/a/b" "@unconditionalMatch" "id:7,phase:2,pass,log,t:none""#),
        );
        check("SecAction \"id:1\"", None);
    }

    #[test]
    fn only_where_targets_are_asked_for() {
        let rules = [r#"SecRule ARGS "x" "id:1""#.to_owned()];
        assert_eq!(witnessed("Target value: \"a\"", &rules).map(|all| all.len()), Some(2));
        assert_eq!(witnessed("Rule returned 1", &rules), None);
        assert_eq!(witnessed("Target value: \"a\".*Rule returned 1", &rules), None);
        let rules = [r#"SecRule ARGS "x" "id:1,chain""#.to_owned(), r#"SecRule ARGS "y""#.to_owned()];
        assert_eq!(witnessed("Target value: \"a\"", &rules), None);
    }
}
