//! What attackers and customers send, as data (`examples/shop/waf/cases`), against the rules that
//! the shop runs behind: the OWASP Core Rule Set at paranoia level 1, version 4 and
//! Debian's 3.3, and the shop's own rules where neither is installed.

mod requests;

use requests::{Engine, cases, engines, inspect, requests, sessions, unescape};

/// The requests of a case file that the rules refuse, those that they let pass, and why.
fn sorted(engine: &Engine, file: &str, columns: usize) -> (Vec<String>, Vec<String>) {
    let (mut refused, mut passed) = (Vec::new(), Vec::new());
    for (line, case) in cases(file, columns) {
        let [place, value] = &case[columns - 2..] else { unreachable!() };
        for request in requests(place, &unescape(value)) {
            let seen = inspect(engine, &request);
            let told = format!("{file}:{line}: {value} as {}: {:?}", request.line(), seen.matches);
            if seen.refused { &mut refused } else { &mut passed }.push(told);
        }
    }
    (refused, passed)
}

#[test]
fn attacks_are_refused() {
    for engine in engines() {
        let (refused, passed) = sorted(&engine, "attacks.txt", 3);
        assert!(passed.is_empty(), "{}: {} passed:\n{}", engine.name, passed.len(), passed.join("\n"));
        assert!(refused.len() > 400, "{}", refused.len());
    }
}

/// What no paranoia level can be blamed for is known, and not hidden.
#[test]
fn attacks_beyond_level_1_are_refused_by_the_shop_s_own_rules() {
    let (refused, passed) = sorted(&engines()[0], "attacks-beyond-level-1.txt", 3);
    assert!(passed.is_empty(), "{} passed:\n{}", passed.len(), passed.join("\n"));
    assert!(refused.len() > 30, "{}", refused.len());
}

#[test]
fn what_customers_write_passes() {
    for engine in engines() {
        let (refused, passed) = sorted(&engine, "benign.txt", 2);
        assert!(refused.is_empty(), "{}: {} refused:\n{}", engine.name, refused.len(), refused.join("\n"));
        assert!(passed.len() > 300, "{}", passed.len());
    }
}

#[test]
fn harmless_texts_that_look_like_attacks_pass_the_shop_s_own_rules() {
    let (refused, passed) = sorted(&engines()[0], "taken-for-attacks.txt", 2);
    assert!(refused.is_empty(), "{} refused:\n{}", refused.len(), refused.join("\n"));
    assert!(passed.len() > 60, "{}", passed.len());
}

#[test]
fn sessions_of_customers_pass() {
    let all = sessions();
    assert!(all.len() >= 155, "{} requests", all.len());
    for engine in engines() {
        let refused: Vec<String> = all
            .iter()
            .filter_map(|(what, request)| {
                let seen = inspect(&engine, request);
                seen.refused.then(|| format!("{what}: {}: {:?}", request.line(), seen.matches))
            })
            .collect();
        assert!(
            refused.is_empty(),
            "{}: {} of {} refused:\n{}",
            engine.name,
            refused.len(),
            all.len(),
            refused.join("\n")
        );
    }
}
