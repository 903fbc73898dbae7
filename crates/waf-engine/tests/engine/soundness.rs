//! What makes rules fast must not change what they do: rules put together by
//! chance, run with folding and filtering and without.
//!
//! Left out of the comparison are the ids of rules that nobody can see any more:
//! those that were decided when they were loaded.

use crate::chance::{Chance, seeds};
use crate::exchange::{Exchange, Outcome, Request, Response};
use std::fmt::Write as _;
use std::sync::Arc;
use waf_engine::settings::{Exclusion, Limits, Mode, RawBody, RuleFile, Settings};
use waf_engine::{Engine, Workspace};

/// Tells all of `TX` in the end.
const TELLS_TX: &str =
    "SecRule TX:/./ \"@unconditionalMatch\" \"id:9999,phase:5,pass,log,msg:'%{HIGHEST_SEVERITY}'\"\n";

#[test]
fn rules_by_chance() {
    let mut workspace = Workspace::default();
    let (mut matched, mut folded) = (0, 0);
    let seeds = seeds(400);
    for seed in seeds.clone() {
        let mut chance = Chance::new(seed);
        let settings = settings(&mut chance);
        let rules = &settings.files[0].text;
        let load = |engine: Result<Engine, Vec<waf_engine::LoadError>>| match engine {
            Ok(engine) => Arc::new(engine),
            Err(errors) => {
                let errors: String = errors.iter().map(|error| format!("{error}\n")).collect();
                panic!("WAF_SEED={seed}: the generator writes rules that load:\n{errors}\n{rules}")
            }
        };
        let fast = load(Engine::load(&settings));
        let plain = load(Engine::load_plain(&settings));
        let (all, left) = fast.rules();
        folded += all - left;
        for number in 0..12 {
            let exchange = exchange(&mut chance);
            let (with, back) = exchange.run(&fast, std::mem::take(&mut workspace));
            workspace = back;
            let (without, _) = exchange.run(&plain, Workspace::default());
            matched += with.report.matched_ids.len();
            // A body that only rules decided at load would look at is not wanted.
            assert!(without.wanted_response_body || !with.wanted_response_body, "WAF_SEED={seed}");
            let (with, without) = (told(&with, &fast), told(&without, &fast));
            assert!(
                with == without,
                "WAF_SEED={seed}, request {number}:\n{exchange}\nrules:\n{rules}\n{:#?}\nwith short cuts:\n{with}\nwithout:\n{without}",
                (&settings.tx, &settings.exclude),
            );
        }
    }
    // A test that finds nothing to compare is none.
    if seeds.end - seeds.start > 10 {
        assert!(matched > 1_000 && folded > 20, "{matched} matches, {folded} rules folded");
    }
}

/// What can be seen of an outcome.
pub(crate) fn told(outcome: &Outcome, fast: &Engine) -> String {
    let left: Vec<u64> = fast.ids_left().collect();
    let report = &outcome.report;
    let mut text = String::new();
    let ids: Vec<u64> = report.matched_ids.iter().filter(|id| left.contains(id)).copied().collect();
    for (step, verdict) in &outcome.verdicts {
        writeln!(text, "{step}: {verdict:?}").expect("room");
    }
    writeln!(text, "wanted {}", outcome.wanted_request_body).expect("room");
    writeln!(text, "ids {ids:?}, {:?}, {:?}, {:?}", report.disrupted_by, report.score, report.exceeded)
        .expect("room");
    for told in &report.matches {
        writeln!(
            text,
            "{} {} = {} -> {} matched {} | {} | {}",
            told.rule, told.variable, told.value, told.transformed, told.matched, told.message, told.operator
        )
        .expect("room");
    }
    text
}

fn settings(chance: &mut Chance) -> Settings {
    let mut text = String::new();
    // Now and then more than one word of the filter, or more than its short ways take.
    let count = match chance.below(40) {
        0 => chance.within(400..460),
        1 | 2 => chance.within(65..200),
        _ => chance.within(3..14),
    };
    for id in 1..=count {
        if chance.once_in(4) {
            writeln!(text, "SecMarker M{}", chance.below(3)).expect("room");
        }
        rule(chance, id, count, &mut text);
    }
    writeln!(text, "SecMarker M{}", chance.below(3)).expect("room");
    text.push_str(TELLS_TX);
    let tx = if chance.once_in(3) { vec![("a".to_owned(), chance.below(3).to_string())] } else { Vec::new() };
    let mut exclude = Vec::new();
    if chance.once_in(4) {
        exclude.push(Exclusion {
            rule: chance.within(1..count + 1) as u64,
            path: chance.once_in(2).then(|| "/p".to_owned()),
            arg: chance.once_in(2).then(|| "a".to_owned()),
        });
    }
    Settings {
        mode: *chance.of(&[Mode::Block, Mode::Block, Mode::Detect]),
        files: vec![RuleFile { name: "chance.conf".to_owned(), text }],
        data: Vec::new(),
        tx,
        exclude,
        processors_by_content_type: true,
        raw_body: *chance.of(&[RawBody::Forms, RawBody::Always]),
        limits: Limits::default(),
    }
}

/// One rule; sometimes a setting as at the beginning of a rule set, sometimes a gate.
fn rule(chance: &mut Chance, id: usize, count: usize, out: &mut String) {
    let phase = *chance.of(&[1, 1, 2, 2, 2, 2, 3, 4]);
    let name = *chance.of(&["a", "b", "s1", "s2"]);
    match chance.below(10) {
        0 | 1 => {
            let phase = *chance.of(&[1, 1, 1, 2]);
            let log = *chance.of(&["nolog", "nolog", "log"]);
            let severity =
                if chance.once_in(3) { format!(",severity:{}", chance.below(8)) } else { String::new() };
            let value = value_to_set(chance, false);
            writeln!(
                out,
                "SecAction \"id:{id},phase:{phase},pass,{log}{severity},setvar:'tx.{name}{value}'\""
            )
        }
        2 | 3 => {
            let (count, operator) =
                *chance.of(&[("&", "@eq 0"), ("", "@eq 0"), ("", "@lt 2"), ("", "@ge 1"), ("", "!@eq 1")]);
            let log = *chance.of(&["nolog", "nolog", "log"]);
            let then = match chance.below(4) {
                0 => format!("setvar:'tx.{name}{}'", value_to_set(chance, false)),
                1 => format!("skip:{}", chance.within(1..4)),
                _ => format!("skipAfter:M{}", chance.below(3)),
            };
            writeln!(
                out,
                "SecRule {count}TX:{name} \"{operator}\" \"id:{id},phase:{phase},pass,{log},{then}\""
            )
        }
        _ => {
            let links = *chance.of(&[1, 1, 1, 2, 3]);
            let mut result = Ok(());
            for link in 0..links {
                result = result.and(self::link(chance, (id, count), phase, link, link + 1 < links, out));
            }
            result
        }
    }
    .expect("room");
}

fn link(
    chance: &mut Chance,
    (id, count): (usize, usize),
    phase: u32,
    link: usize,
    chained: bool,
    out: &mut String,
) -> std::fmt::Result {
    let targets = targets(chance, link);
    let negated = if chance.once_in(6) { "!" } else { "" };
    let operator = operator(chance);
    let mut actions = Vec::new();
    if link == 0 {
        actions.push(format!("id:{id},phase:{phase}"));
        let disruptive = [
            "pass",
            "pass",
            "pass",
            "pass",
            "pass",
            "deny",
            "deny,status:406",
            "allow",
            "allow:phase",
            "drop",
        ];
        actions.push((*chance.of(&disruptive)).to_owned());
        actions.push((*chance.of(&["log", "log", "nolog"])).to_owned());
        if chance.once_in(3) {
            actions.push(format!("severity:{}", chance.below(8)));
        }
        if chance.once_in(3) {
            actions.push(format!("tag:t{}", chance.below(2)));
        }
        if chance.once_in(5) {
            actions.push(match chance.below(2) {
                0 => format!("skip:{}", chance.within(1..3)),
                _ => format!("skipAfter:M{}", chance.below(3)),
            });
        }
    }
    actions.push("t:none".to_owned());
    for _ in 0..*chance.of(&[0, 0, 1, 1, 2, 3]) {
        actions.push(format!("t:{}", chance.of(TRANSFORMATIONS)));
    }
    for (action, times) in [("capture", 4), ("multiMatch", 6)] {
        if chance.once_in(times) {
            actions.push(action.to_owned());
        }
    }
    if chance.once_in(3) {
        actions.push("msg:'%{tx.a} %{MATCHED_VAR_NAME} %{TX.1}'".to_owned());
    }
    if chance.once_in(2) {
        let name = *chance.of(&["a", "b", "s1", "s2", "s%{tx.a}", "%{MATCHED_VAR_NAME}"]);
        actions.push(match chance.below(9) {
            0 => format!("setvar:!tx.{name}"),
            _ => format!("setvar:'tx.{name}{}'", value_to_set(chance, true)),
        });
    }
    if chance.once_in(8) {
        let other = chance.within(1..count + 1);
        actions.push(match chance.below(6) {
            0 => format!("ctl:ruleRemoveById={other}"),
            1 => format!("ctl:ruleRemoveByTag=t{}", chance.below(2)),
            2 => format!("ctl:ruleRemoveTargetById={other};{}", chance.of(REMOVED)),
            3 => format!("ctl:ruleRemoveTargetByTag=t{};{}", chance.below(2), chance.of(REMOVED)),
            4 => "ctl:forceRequestBodyVariable=On".to_owned(),
            _ => format!("ctl:ruleEngine={}", chance.of(&["DetectionOnly", "On", "Off"])),
        });
    }
    if chained {
        actions.push("chain".to_owned());
    }
    writeln!(out, "SecRule {targets} \"{negated}{operator}\" \"{}\"", actions.join(","))
}

fn value_to_set(chance: &mut Chance, macros: bool) -> String {
    match chance.below(if macros { 9 } else { 6 }) {
        0 | 1 => format!("={}", chance.below(3)),
        2 => format!("=+{}", chance.below(3)),
        3 => format!("=-{}", chance.below(3)),
        4 => "=x".to_owned(),
        5 => "=%{tx.b}".to_owned(),
        6 => "=+%{tx.a}".to_owned(),
        7 => "=%{MATCHED_VAR}".to_owned(),
        _ => "=%{TX.0}".to_owned(),
    }
}

/// What `ctl` may take away from other rules.
const REMOVED: &[&str] = &[
    "ARGS:a",
    "ARGS:/^b/",
    "ARGS",
    "REQUEST_HEADERS:x-one",
    "TX:a",
    "REQUEST_COOKIES",
    "ARGS_NAMES",
    "REQUEST_URI",
];

const VARIABLES: &[&str] = &[
    "ARGS",
    "ARGS",
    "ARGS",
    "ARGS_NAMES",
    "ARGS_GET",
    "ARGS_POST",
    "ARGS_GET_NAMES",
    "ARGS_POST_NAMES",
    "ARGS:a",
    "ARGS:b",
    "ARGS_POST:a",
    "ARGS:/^a/",
    "REQUEST_HEADERS",
    "REQUEST_HEADERS:x-one",
    "REQUEST_HEADERS_NAMES",
    "REQUEST_COOKIES",
    "REQUEST_COOKIES:/^s/",
    "REQUEST_COOKIES_NAMES",
    "REQUEST_URI",
    "REQUEST_URI_RAW",
    "REQUEST_FILENAME",
    "REQUEST_BASENAME",
    "QUERY_STRING",
    "REQUEST_METHOD",
    "REQUEST_BODY",
    "REQUEST_LINE",
    "ARGS_COMBINED_SIZE",
    "TX:a",
    "TX:/^s/",
    "TX:s1",
    "&ARGS",
    "&ARGS:a",
    "&TX:a",
    "&TX:/^s/",
    "REMOTE_ADDR",
    "FILES",
    "XML:/*",
    "XML://@*",
    "RESPONSE_BODY",
    "RESPONSE_HEADERS",
    "RESPONSE_STATUS",
    "RESPONSE_HEADERS:x-one",
    "URLENCODED_ERROR",
];

const EXCLUDED: &[&str] = &[
    "!ARGS:a",
    "!ARGS:/b/",
    "!ARGS_NAMES:a",
    "!REQUEST_HEADERS:x-one",
    "!REQUEST_HEADERS:/^h/",
    "!REQUEST_COOKIES:s",
    "!TX:a",
    "!ARGS_GET:a",
    "!ARGS_POST:b",
    "!REQUEST_COOKIES",
    "!TX:s1",
];

fn targets(chance: &mut Chance, link: usize) -> String {
    let mut all = Vec::new();
    for _ in 0..*chance.of(&[1, 1, 1, 2, 3]) {
        all.push(*chance.of(VARIABLES));
    }
    if link > 0 && chance.once_in(3) {
        all.push(*chance.of(&[
            "MATCHED_VAR",
            "MATCHED_VARS",
            "MATCHED_VAR_NAME",
            "MATCHED_VARS_NAMES",
            "TX:0",
            "TX:1",
        ]));
    }
    if chance.once_in(4) {
        all.push(*chance.of(EXCLUDED));
    }
    all.join("|")
}

const TRANSFORMATIONS: &[&str] = &[
    "lowercase",
    "lowercase",
    "uppercase",
    "urlDecode",
    "urlDecodeUni",
    "urlDecodeUni",
    "htmlEntityDecode",
    "removeNulls",
    "replaceNulls",
    "compressWhitespace",
    "removeWhitespace",
    "replaceComments",
    "removeComments",
    "removeCommentsChar",
    "jsDecode",
    "cssDecode",
    "base64Decode",
    "base64DecodeExt",
    "base64Encode",
    "hexDecode",
    "hexEncode",
    "length",
    "md5",
    "sha1",
    "normalizePath",
    "normalizePathWin",
    "trim",
    "trimLeft",
    "trimRight",
    "cmdLine",
    "utf8toUnicode",
    "escapeSeqDecode",
    "sqlHexDecode",
    "urlEncode",
    "parityEven7bit",
    "parityOdd7bit",
    "parityZero7bit",
];

fn operator(chance: &mut Chance) -> String {
    match chance.below(20) {
        0..=8 => format!("@rx {}", expression(chance, 3)),
        9 | 10 => {
            let mut words = Vec::new();
            for _ in 0..chance.within(1..5) {
                words.push(word(chance));
            }
            format!("@pm {}", words.join(" "))
        }
        11 => format!("@{} {}", chance.of(&["contains", "strmatch", "containsWord"]), word(chance)),
        12 => format!("@{} {}", chance.of(&["beginsWith", "endsWith", "streq"]), word(chance)),
        13 => format!("@within {} {}", word(chance), word(chance)),
        14 => format!(
            "@{} {}",
            chance.of(&["eq", "gt", "ge", "lt", "le"]),
            chance.of(&["0", "1", "2", "%{tx.a}", "10"])
        ),
        15 => (*chance.of(&["@detectSQLi", "@detectXSS"])).to_owned(),
        16 => (*chance.of(&[
            "@validateByteRange 32-126",
            "@validateByteRange 1-255",
            "@validateUrlEncoding",
            "@validateUtf8Encoding",
        ]))
        .to_owned(),
        17 => (*chance.of(&[
            "@unconditionalMatch",
            "@noMatch",
            "@ipMatch 203.0.113.0/24",
            "@verifyCC \\d{13,16}",
        ]))
        .to_owned(),
        18 => format!("@{} %{{tx.a}}", chance.of(&["streq", "contains", "beginsWith", "rx"])),
        _ => "@streq %{ARGS.a}".to_owned(),
    }
}

/// A word without blanks, out of few letters, so that it is often found.
fn word(chance: &mut Chance) -> String {
    let pieces = ["a", "b", "A", "ab", "0", "1", "<", "or", "script", "select", "x", "-", "%", "/", "k"];
    (0..chance.within(1..4)).map(|_| *chance.of(&pieces)).collect()
}

/// A regular expression.
fn expression(chance: &mut Chance, depth: usize) -> String {
    let mut text = String::new();
    if depth == 3 && chance.once_in(4) {
        text.push_str("(?i)");
    }
    if chance.once_in(8) {
        text.push('^');
    }
    for _ in 0..chance.within(1..4) {
        let mut piece = match chance.below(if depth == 0 { 8 } else { 11 }) {
            0..=3 => (*chance.of(&[
                "a", "b", "ab", "or", "script", "0", "x", "k", "s", "select", "AB", "\\xff", "<", "'", "%",
            ]))
            .to_owned(),
            4 => (*chance.of(&["[ab]", "[^ab]", "[a-z0-9]", "[<>'\\x22]", "[[:space:]]", "[kK]"])).to_owned(),
            5 => (*chance.of(&["\\d", "\\w", "\\s", "\\W", "\\b", "."])).to_owned(),
            6 => ".".to_owned(),
            7 => (*chance.of(&["a(?=b)", "(?!a)b", "(?<=a)b", "(?:a|b)"])).to_owned(),
            8 => format!("({})", expression(chance, depth - 1)),
            9 => format!("(?:{}|{})", expression(chance, depth - 1), expression(chance, depth - 1)),
            _ => format!(
                "(?:{}|{}|{})",
                expression(chance, depth - 1),
                expression(chance, depth - 1),
                expression(chance, depth - 1)
            ),
        };
        if chance.once_in(5) && !piece.ends_with("\\b") {
            piece =
                format!("(?:{piece}){}", chance.of(&["*", "+", "?", "{2}", "{0,3}", "{2,}", "*?", "{3,5}"]));
        }
        text.push_str(&piece);
    }
    if chance.once_in(8) {
        text.push('$');
    }
    text
}

const PIECES: &[&[u8]] = &[
    b"a",
    b"b",
    b"A",
    b"B",
    b"ab",
    b"AB",
    b"0",
    b"1",
    b"10",
    b" ",
    b"\t",
    b"\r\n",
    b"'",
    b"\"",
    b"<",
    b">",
    b"<script>",
    b"or",
    b"OR",
    b"select",
    b"union select",
    b"' or 1=1 --",
    b"%61",
    b"%2561",
    b"%u0061",
    b"&#97;",
    b"&lt;",
    b"/*",
    b"*/",
    b"--",
    b"../",
    b"\\x61",
    b"\\u0061",
    b"\\",
    b"\0",
    b"\xFF",
    b"\xC3\xA9",
    b"YWI=",
    b"6162",
    b"0x6162",
    b";",
    b"%",
    b"%zz",
    b"+",
    b"x",
    b"k",
    b"\xE2\x84\xAA",
    b"\xC5\xBF",
    b"4111111111111111",
    b"script",
    b"onerror=",
    b"/",
    b"//",
    b"-",
    b"=",
];

/// A value out of pieces that expressions and transformations like.
pub(crate) fn value(chance: &mut Chance) -> Vec<u8> {
    let count = *chance.of(&[0, 1, 1, 2, 2, 3, 4, 6, 12]);
    let mut value = Vec::new();
    for _ in 0..count {
        value.extend_from_slice(chance.of::<&[u8]>(PIECES));
    }
    if chance.once_in(40) {
        value = value.repeat(chance.within(20..200));
    }
    value
}

/// A value as a query or a form has it.
pub(crate) fn encoded(value: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in value {
        let plain =
            byte.is_ascii_alphanumeric() || chance.once_in(12) && !byte.is_ascii_control() && byte != b' ';
        match byte {
            b' ' if chance.once_in(2) => out.push(b'+'),
            _ if plain => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
    out
}

fn pairs(chance: &mut Chance) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..*chance.of(&[0, 1, 2, 3]) {
        if !out.is_empty() {
            out.push(b'&');
        }
        let name: &[u8] = match chance.below(5) {
            0 | 1 => b"a",
            2 => b"b",
            3 => b"A",
            _ => &value(chance),
        };
        out.extend(encoded(name, chance));
        out.push(b'=');
        let value = value(chance);
        out.extend(encoded(&value, chance));
    }
    out
}

/// A request and its answer.
pub(crate) fn exchange(chance: &mut Chance) -> Exchange {
    let mut target = (*chance.of(&[&b"/p"[..], b"/", b"/a/b.php", b"/%61b/../x", b"//ab"])).to_vec();
    if !chance.once_in(4) {
        target.push(b'?');
        target.extend(pairs(chance));
    }
    let mut request = match chance.below(6) {
        0 | 1 => Request::get(target),
        2 | 3 => {
            let body = pairs(chance);
            Request::post(target, "application/x-www-form-urlencoded", body)
        }
        4 => {
            let (name, text) = (value(chance), value(chance));
            let plain =
                |text: &[u8]| String::from_utf8_lossy(text).replace(['\\', '"', '\0', '\r', '\n', '\t'], "");
            Request::post(
                target,
                "application/json",
                format!("{{\"{}\": [\"{}\", 1]}}", plain(&name), plain(&text)),
            )
        }
        _ => {
            let text = String::from_utf8_lossy(&value(chance)).replace(['<', '&', '\0', '"'], "");
            Request::post(target, "text/xml", format!("<a b=\"{text}\"><c>{text}</c></a>"))
        }
    };
    for name in [&b"X-One"[..], b"Cookie", b"Referer"] {
        if chance.once_in(3) {
            let mut value = value(chance);
            if name == b"Cookie" {
                value = [b"s=".to_vec(), value, b"; sid=a".to_vec()].concat();
            }
            value.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
            request.headers.push((name.to_vec(), value));
        }
    }
    let mut exchange = Exchange::of(request);
    if chance.once_in(2) {
        exchange.response = Some(Response {
            status: *chance.of(&[200, 404, 500]),
            headers: vec![
                (b"Content-Type".to_vec(), b"text/html".to_vec()),
                (b"X-One".to_vec(), value(chance)),
            ],
            body: value(chance),
        });
    }
    exchange
}
