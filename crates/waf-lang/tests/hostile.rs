//! Whatever the files hold, reading them ends in rules or in errors that have a
//! place, and in nothing else.

use std::path::Path;

use proptest::prelude::*;
use waf_lang::{Files, MAX_ERRORS, parse, referenced};

/// Lines such as rule sets have, with everything that the language has.
const LINES: &[&str] = &[
    "SecRule REQUEST_COOKIES|!REQUEST_COOKIES:/__utm/|ARGS_NAMES|ARGS|XML:/* \"@rx (?i)\\b(?:union[\\s\\x0b]+select|[\\\"'`]=)\" \\\n    \"id:942000,\\\n    phase:2,\\\n    block,\\\n    capture,\\\n    t:none,t:urlDecodeUni,\\\n    msg:'SQL \\'injection\\'',\\\n    logdata:'Matched %{TX.0} in %{MATCHED_VAR_NAME}',\\\n    tag:'attack-sqli',\\\n    severity:'CRITICAL',\\\n    setvar:'tx.score=+%{tx.critical_anomaly_score}'\"\n",
    "SecRule &TX:paranoia \"@eq 0\" \"id:1,phase:1,pass,nolog,chain\"\n    SecRule REQUEST_METHOD \"!@within %{tx.allowed_methods}\" \"t:none,ctl:ruleRemoveTargetById=942100-942199;ARGS:/^pass/\"\n",
    "SecAction \"id:2,phase:1,pass,t:none,initcol:ip=%{REMOTE_ADDR},setvar:ip.x=-1,expirevar:'ip.x=%{tx.t}'\"\n",
    "SecMarker \"END-OF-IT\"\nSecRule TX:x \"@lt 1\" \"id:3,phase:1,pass,skipAfter:END\"\nSecMarker END\n",
    "SecDefaultAction \"phase:2,log,auditlog,deny,status:403\"\n",
    "SecRuleRemoveById 1 2-3 \"4 5-6\"\nSecRuleRemoveByTag attack-sqli\nSecRuleRemoveByMsg \"SQL\"\n",
    "SecRuleUpdateTargetById 942000 \"!ARGS:a,!ARGS:'/b c/'\"\nSecRuleUpdateActionById 1:1 \"t:trim,setenv:a=b\"\n",
    "Include data/*.conf\nIncludeOptional none/[a-z]?.conf\nInclude main.conf\n",
    "SecRule REMOTE_ADDR \"@ipMatchFromFile list.data\" \"id:4,deny\"\nSecRule ARGS \"@pmf list.data\" \"id:5,deny\"\n",
    "SecRule ARGS \"@validateByteRange 1-255\" \"id:6,allow:phase,xmlns:a='urn:x',sanitiseArg:p\"\n",
    "SecUnicodeMapFile list.data 20127\nSecRequestBodyLimit 131072\nSecAuditLogParts ABZ\nSecArgumentSeparator &\n",
    "# SecRule ARGS a \\\n  \"id:7\"\n#plain \\\n<IfModule x>\nSecRule ARGS 'a\n",
];

/// What it costs to be wrong: nothing but messages.
fn read(text: &[u8]) -> Result<(), TestCaseError> {
    for reference in referenced("folder/main.conf", text) {
        prop_assert!(reference.line >= 1);
    }
    let mut files = Files { roots: vec!["main.conf".to_owned()], ..Files::default() };
    files.all.insert("main.conf".to_owned(), text.to_vec());
    files.all.insert("list.data".to_owned(), text.to_vec());
    files.all.insert("data/a.conf".to_owned(), b"SecAction \"id:900,pass\"\n".to_vec());
    if let Err(errors) = parse(&files) {
        prop_assert!(!errors.is_empty() && errors.len() <= MAX_ERRORS);
        let last = text.split(|&b| b == b'\n').count();
        for error in errors {
            prop_assert!(error.line >= 1 && error.line as usize <= last.max(1), "{error}");
            prop_assert!(!error.what.is_empty());
            prop_assert!(error.what.len() < 2_000, "a message of {} bytes", error.what.len());
        }
    }
    Ok(())
}

/// One change: at which byte (of 65,536), what is done, with what.
fn mutate(text: &mut Vec<u8>, (at, what, with): (u16, u8, Vec<u8>)) {
    let at = usize::from(at) * text.len() / 65_536;
    let end = (at + with.len()).min(text.len());
    match what % 5 {
        0 => drop(text.splice(at..end, with)),
        1 => drop(text.splice(at..at, with)),
        2 => drop(text.drain(at..end)),
        3 => text.truncate(at),
        // A piece of it once more.
        _ => {
            let piece = text[at..(at + 40).min(text.len())].to_vec();
            drop(text.splice(at..at, piece));
        }
    }
}

fn syntax() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..4),
        proptest::sample::select(vec![
            "\"", "'", "\\", "\\\n", "\n", ",", ":", "|", "!", "&", "%{", "}", "/", "=", "@", "#", ";",
            "chain,", "id:1,", "\\\"", "\\'", "SecRule ", "%{tx.", "(", "-", " ", "\t", "\r\n", "\0", "'/",
            "/'", "+", "@rx ",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&text)?;
    }

    #[test]
    fn any_pieces_of_syntax(pieces in proptest::collection::vec(syntax(), 0..60)) {
        read(&pieces.concat())?;
    }

    #[test]
    fn lines_that_were_changed(
        picked in proptest::collection::vec(0..LINES.len(), 1..6),
        changes in proptest::collection::vec((any::<u16>(), any::<u8>(), syntax()), 0..8),
    ) {
        let mut text: Vec<u8> = picked.iter().flat_map(|&n| LINES[n].bytes()).collect();
        for change in changes {
            mutate(&mut text, change);
        }
        read(&text)?;
    }

    #[test]
    fn rules_of_the_core_rule_set_that_were_changed(
        file in any::<u16>(),
        from in any::<u16>(),
        changes in proptest::collection::vec((any::<u16>(), any::<u8>(), syntax()), 1..12),
    ) {
        let files = core_rule_set();
        if let Some(whole) = files.get(usize::from(file) * files.len() / 65_536) {
            let from = usize::from(from) * whole.len() / 65_536;
            let mut text = whole[from..(from + 6_000).min(whole.len())].to_vec();
            for change in changes {
                mutate(&mut text, change);
            }
            read(&text)?;
        }
    }
}

/// The rule files beside the repository, if they are there.
fn core_rule_set() -> &'static [Vec<u8>] {
    static FILES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    FILES.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/crs/rules");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        paths.sort();
        paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
    })
}

#[test]
fn files_that_include_one_another_without_end() {
    // Each includes the next one twice: 2^40 readings, were there no limit.
    let mut files = Files { roots: vec!["0.conf".to_owned()], ..Files::default() };
    for n in 0..40 {
        let text = format!("Include {0}.conf\nInclude {0}.conf\n", n + 1);
        files.all.insert(format!("{n}.conf"), text.into_bytes());
    }
    files.all.insert("40.conf".to_owned(), b"SecRuleEngine On\n".to_vec());
    let errors = parse(&files).expect_err("it is refused");
    assert!(errors.iter().all(|error| error.what.contains("too many files")), "{errors:?}");

    // A chain of files deeper than the limit.
    files.all.retain(|name, _| name == "40.conf");
    for n in 0..2_000 {
        files.all.insert(format!("{n}.conf"), format!("Include {}.conf\n", n + 1).into_bytes());
    }
    let errors = parse(&files).expect_err("it is refused");
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn bytes_that_are_not_text() {
    let mut files = Files { roots: vec!["main.conf".to_owned()], ..Files::default() };
    let text = b"\xef\xbb\xbfSecRule ARGS \"@contains \xff\xfe\" \"id:1,pass,msg:'\x80'\"\r\nSecRule ARGS:\xff \"@rx \xe9\" \"id:2,pass\"\r\n";
    files.all.insert("main.conf".to_owned(), text.to_vec());
    let rules = parse(&files).expect("bytes are as good as text");
    let waf_lang::model::Item::Rule(rule) = &rules.items[0] else { panic!("a rule") };
    let test = rule.links[0].test.as_ref().expect("a test");
    let waf_lang::model::Operator::Contains(wanted) = &test.operator else { panic!("{:?}", test.operator) };
    assert_eq!(wanted.as_text(), Some(b"\xff\xfe".as_slice()));
    let waf_lang::model::Item::Rule(rule) = &rules.items[1] else { panic!("a rule") };
    let target = &rule.links[0].test.as_ref().expect("a test").targets[0];
    assert_eq!(target.selector, waf_lang::model::Selector::Name(b"\xff".as_slice().into()));
}

#[test]
fn a_long_line_is_read_in_linear_time() {
    // A million openings of macros, quotes and members; each would be looked for to
    // the line's end again if what was found were forgotten.
    for piece in ["%{a", "='", "\\'", "tx.%{", "\\\"", "ARGS:'", "/|", ",,"] {
        let long = piece.repeat(300_000);
        for text in [
            format!("SecRule ARGS \"@streq {long}\" \"id:1,pass\""),
            format!("SecAction \"id:1,pass,setvar:tx.a{long}\""),
            format!("SecAction \"id:1,pass,{long}\""),
            format!("SecRule {long} a \"id:1,pass\""),
        ] {
            let mut files = Files { roots: vec!["main.conf".to_owned()], ..Files::default() };
            files.all.insert("main.conf".to_owned(), text.into_bytes());
            // The runner's own time limit is the judge.
            let _ = parse(&files);
        }
    }
}
