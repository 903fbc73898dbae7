//! Coraza's unit cases: a transformation or an operator, an input, what comes out.

use super::super::{Failure, Outcome};
use super::play::{Exchange, Fault, play};
use serde::Deserialize;
use std::path::Path;
use waf_engine::settings::{Mode, RuleFile, Settings};
use waf_text::Transformation;
use waf_text::operator::ByteRange;

/// One case. What is text in it stands for bytes: see [`bytes`].
#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    input: String,
    #[serde(default)]
    output: String,
    #[serde(default)]
    param: String,
    #[serde(default)]
    ret: i64,
    #[serde(default)]
    re_groups: Vec<String>,
}

/// The bytes that a text of the suite means: itself in UTF-8, but for `\u0000`,
/// which is a NUL, and `\xHH`, which is a byte. The suite's own runner reads them so.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(br"\u0000") {
            out.push(0);
            rest = after;
        } else if let [b'\\', b'x', high, low, after @ ..] = rest
            && let Ok(digits) = std::str::from_utf8(&[*high, *low])
            && let Ok(byte) = u8::from_str_radix(digits, 16)
        {
            out.push(byte);
            rest = after;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

/// Every case of a file of transformations.
pub(super) fn transformations(file: &Path, outcome: &mut Outcome) -> Result<(), String> {
    for (index, case) in super::read::<Case>(file)?.iter().enumerate() {
        // Some cases are named by what they try; then the file says of what.
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let found = Transformation::parse(&case.name).or_else(|| Transformation::parse(&stem));
        let judged = match found {
            Some(found) => transformation(found, case),
            None => Err(format!("no transformation `{}`", case.name)),
        };
        record(outcome, file, index, case, judged);
    }
    Ok(())
}

fn transformation(transformation: Transformation, case: &Case) -> Result<(), String> {
    let (input, expected) = (bytes(&case.input), bytes(&case.output));
    let mut out = Vec::new();
    let changed = transformation.apply(&input, &mut out);
    let result = if changed { &out } else { &input };
    if *result != expected {
        return Err(format!("expected {}\ngot      {}", expected.escape_ascii(), result.escape_ascii()));
    }
    if changed != (expected != input) {
        return Err(format!("says {changed} of whether the value changed"));
    }
    Ok(())
}

/// Every case of a file of operators.
pub(super) fn operators(file: &Path, outcome: &mut Outcome) -> Result<(), String> {
    for (index, case) in super::read::<Case>(file)?.iter().enumerate() {
        let judged = operator(case, file);
        record(outcome, file, index, case, judged);
    }
    Ok(())
}

/// The operator in a rule of its own, over a header that holds the input: an
/// engine takes any byte there, and decodes nothing.
fn operator(case: &Case, file: &Path) -> Result<(), String> {
    if case.name == "validateByteRange" && case.param.is_empty() {
        // No rule loads with this; the operator itself allows no byte.
        let range = ByteRange::parse(&case.param).map_err(|error| error.to_string())?;
        let outside = range.first_outside(&bytes(&case.input)).is_some();
        return if outside == (case.ret == 1) { Ok(()) } else { Err(format!("says {outside}")) };
    }
    let settings = Settings {
        mode: Mode::Rules,
        files: vec![RuleFile { name: "case.conf".to_owned(), text: rule(case) }],
        data: data(case, file),
        tx: Vec::new(),
        exclude: Vec::new(),
        processors_by_content_type: false,
        raw_body: Default::default(),
        limits: waf_engine::settings::Limits::default(),
    };
    let headers = [("v".into(), bytes(&case.input)), ("p".into(), bytes(&case.param))];
    let exchange = Exchange { method: "GET", target: "/", headers: &headers, ..Exchange::default() };
    let played = match play(&settings, &exchange) {
        // A rule that does not load matches nothing: `10.0.0.0/100`.
        Err(Fault::Load(_)) if case.name == "ipMatch" && case.ret == 0 => return Ok(()),
        Err(fault) => return Err(fault.to_string()),
        Ok(played) => played,
    };
    let matched = played.report.matched_ids.contains(&1);
    if matched != (case.ret == 1) {
        let expected = if case.ret == 1 { "a match" } else { "no match" };
        return Err(format!(
            "expected {expected}: `@{} {}` of {}",
            case.name,
            case.param,
            bytes(&case.input).escape_ascii()
        ));
    }
    if matched && !case.re_groups.is_empty() {
        let expected = waf_engine::escape(case.re_groups.join("|").as_bytes(), 256);
        let got = played.report.matches.first().map_or("", |first| &first.data);
        if got != expected {
            return Err(format!("expected groups {expected}\ngot             {got}"));
        }
    }
    Ok(())
}

/// The operators whose argument may hold variables.
const WITH_VARIABLES: [&str; 13] = [
    "beginsWith",
    "contains",
    "containsWord",
    "endsWith",
    "eq",
    "ge",
    "gt",
    "le",
    "lt",
    "streq",
    "strmatch",
    "within",
    "rx",
];

/// What an engine that reads rules strictly takes for a mistake as an argument:
/// none, or no number where one is compared with. It can come about at run time.
fn only_at_run_time(case: &Case) -> bool {
    let numeric = matches!(case.name.as_str(), "eq" | "ge" | "gt" | "le" | "lt");
    WITH_VARIABLES.contains(&case.name.as_str())
        && (case.param.is_empty() || (numeric && case.param.parse::<i64>().is_err()))
}

fn rule(case: &Case) -> String {
    let param = if matches!(case.name.as_str(), "noMatch" | "unconditionalMatch") {
        // They take none; what the case says there means nothing.
        String::new()
    } else if only_at_run_time(case) {
        "%{REQUEST_HEADERS.p}".to_owned()
    } else {
        // A rule is one line; in an expression `\n` means the same.
        case.param.replace('\n', "\\n").replace('"', "\\\"")
    };
    let groups: Vec<String> = (0..case.re_groups.len()).map(|group| format!("%{{TX.{group}}}")).collect();
    let capture =
        if groups.is_empty() { String::new() } else { format!(",capture,logdata:'{}'", groups.join("|")) };
    format!(
        "SecRuleEngine On\nSecRule REQUEST_HEADERS:v \"@{} {param}\" \"id:1,phase:1,pass,log,t:none{capture}\"\n",
        case.name
    )
}

/// The files that cases name and that are not among them, as their suite has them.
const FILES: [(&str, &str); 2] = [
    ("pmFromFile-01.dat", "abc\ndef\nghi\nxxx yyy zzz\n"),
    (
        "testdata/schema.json",
        r#"{
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
            "required": ["name", "age"]
        }"#,
    ),
];

/// The file that a case names: the folder's own, or the known one.
fn data(case: &Case, file: &Path) -> Vec<RuleFile> {
    let known = FILES.iter().find(|(name, _)| *name == case.param).map(|&(_, text)| text.to_owned());
    let folder = file.parent().unwrap_or(file);
    let place = folder.join("op").join(&case.param);
    let text = known.and_then(|known| std::fs::read_to_string(place).ok().or(Some(known)));
    text.map(|text| RuleFile { name: case.param.clone(), text }).into_iter().collect()
}

fn record(outcome: &mut Outcome, file: &Path, index: usize, case: &Case, judged: Result<(), String>) {
    match judged {
        Ok(()) => outcome.passed += 1,
        Err(why) => {
            outcome.failed += 1;
            outcome
                .failures
                .push(Failure { name: format!("{}:{} {}", super::name(file), index + 1, case.name), why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_means() {
        let check = |text: &str, expected: &[u8]| assert_eq!(bytes(text), expected, "{text}");
        check("a\u{e9}", b"a\xc3\xa9");
        check(r"\u0000\x41\xff", b"\0A\xff");
        check(r"\u0001\n\xg1\x4", br"\u0001\n\xg1\x4");
    }

    #[test]
    fn a_case_that_is_wrong_fails() {
        let case = |name: &str, param: &str, input: &str, output: &str, ret| Case {
            name: name.to_owned(),
            input: input.to_owned(),
            output: output.to_owned(),
            param: param.to_owned(),
            ret,
            re_groups: Vec::new(),
        };
        let lowercase =
            |output| transformation(Transformation::Lowercase, &case("lowercase", "", "A", output, 1));
        assert_eq!(lowercase("a"), Ok(()));
        assert!(lowercase("A").is_err());
        let file = Path::new("rx.json");
        assert_eq!(operator(&case("rx", "^a\nb$", "a\nb", "", 1), file), Ok(()));
        assert_eq!(operator(&case("rx", "\"", "a\"b", "", 1), file), Ok(()));
        assert!(operator(&case("rx", "^a$", "a", "", 0), file).is_err());
        assert!(operator(&case("rx", "^b$", "a", "", 1), file).is_err());
        assert!(operator(&case("rx", "(", "a", "", 1), file).is_err());
        let groups = |groups: &[&str]| Case {
            re_groups: groups.iter().map(|&group| group.to_owned()).collect(),
            ..case("rx", "(a)(b)", "ab", "", 1)
        };
        assert_eq!(operator(&groups(&["ab", "a", "b"]), file), Ok(()));
        assert!(operator(&groups(&["ab", "b", "a"]), file).is_err());
    }
}
