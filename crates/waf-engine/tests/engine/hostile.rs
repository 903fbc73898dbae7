//! Whatever bytes come: no panic, no work beyond the budget, and nothing of one
//! transaction in the next one that uses the same workspace.

use crate::chance::{Chance, seeds};
use crate::exchange::{Exchange, Outcome, Request, Response};
use edge_http::Version;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use waf_engine::settings::{BeyondLimit, Limits, Mode, RawBody, RuleFile, Settings};
use waf_engine::{Engine, Verdict, Workspace};

/// Rules that look at everything and do everything.
const RULES: &str = r#"
SecRequestBodyAccess On
SecResponseBodyAccess On
SecAction "id:101,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR},initcol:global=global,setsid:%{REQUEST_COOKIES.s}"
SecRule REQUEST_HEADERS|REQUEST_LINE|REQUEST_COOKIES "@rx (?i)(a+)(b)?(?:c|%)" "id:102,phase:1,pass,capture,setvar:'tx.%{MATCHED_VAR_NAME}=%{TX.1}',setvar:ip.n=+1,msg:'%{MATCHED_VAR}',logdata:'%{TX.0}'"
SecRule REQUEST_URI|REQUEST_FILENAME|REQUEST_BASENAME|QUERY_STRING "@rx (?<!x)a(?=b)" "id:103,phase:1,pass,t:urlDecodeUni,t:normalizePathWin"
SecRule ARGS|ARGS_NAMES|FILES|FILES_NAMES|MULTIPART_PART_HEADERS|XML:/*|XML://@* "@pm a b <script union %" "id:104,phase:2,pass,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:cssDecode,t:replaceComments,multiMatch,capture,setvar:tx.n=+1"
SecRule ARGS|REQUEST_BODY|FULL_REQUEST "@detectSQLi" "id:105,phase:2,pass,t:removeNulls,chain"
  SecRule MATCHED_VARS|MATCHED_VARS_NAMES "@rx %{ARGS.a}" "setvar:session.x=+1,setvar:'global.y=%{MATCHED_VAR}'"
SecRule ARGS|REQUEST_HEADERS "@detectXSS" "id:106,phase:2,pass,t:utf8toUnicode,t:escapeSeqDecode,t:base64DecodeExt"
SecRule ARGS|REQUEST_URI_RAW "@validateByteRange 1-126" "id:107,phase:2,pass,t:cmdLine,t:sqlHexDecode"
SecRule ARGS|ARGS_NAMES "@validateUtf8Encoding" "id:108,phase:2,pass"
SecRule REQUEST_URI_RAW "@validateUrlEncoding" "id:109,phase:2,pass"
SecRule ARGS "@verifyCC \d{13,16}" "id:110,phase:2,pass"
SecRule TX:/./ "@rx ." "id:111,phase:2,pass,setvar:'tx.x%{MATCHED_VAR}=+1'"
SecRule ARGS:to "@rx ." "id:112,phase:2,redirect:'/%{ARGS.to}%{MATCHED_VAR}'"
SecRule REQBODY_ERROR|MULTIPART_STRICT_ERROR|URLENCODED_ERROR "!@eq 0" "id:113,phase:2,pass,msg:'%{REQBODY_ERROR_MSG}',ctl:ruleRemoveTargetById=115;RESPONSE_BODY"
SecRule RESPONSE_HEADERS|RESPONSE_STATUS "@rx a" "id:114,phase:3,pass,t:md5,t:hexEncode"
SecRule RESPONSE_BODY "@rx (?i)sql.{0,9}error" "id:115,phase:4,deny"
SecRule IP|GLOBAL|SESSION|ENV|TX "@rx a" "id:116,phase:5,pass,setenv:a=%{MATCHED_VAR}"
"#;

fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        files: vec![RuleFile { name: "all.conf".to_owned(), text: RULES.to_owned() }],
        data: Vec::new(),
        tx: Vec::new(),
        exclude: Vec::new(),
        processors_by_content_type: true,
        raw_body: RawBody::Always,
        limits: Limits {
            values: 60,
            inspected: base::Bytes(300_000),
            beyond: BeyondLimit::Refuse,
            ..Limits::default()
        },
    }
}

fn engine(mode: Mode) -> Arc<Engine> {
    let engine = Engine::load(&settings(mode)).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    });
    Arc::new(engine)
}

static BLOCKING: LazyLock<Arc<Engine>> = LazyLock::new(|| engine(Mode::Block));
static DETECTING: LazyLock<Arc<Engine>> = LazyLock::new(|| engine(Mode::Detect));

/// What holds whatever was sent.
fn judge(exchange: &Exchange, outcome: &Outcome, mode: Mode) {
    let report = &outcome.report;
    if mode == Mode::Detect {
        assert_eq!(*outcome.verdict(), Verdict::Pass, "{exchange}");
    }
    // A budget that is used up is told, and refused where it is to be.
    let told = report.matched_ids.contains(&waf_engine::builtin::TOO_MUCH);
    // Told is what some phase before the last used up; frames begin anew.
    assert!(report.exceeded.is_some() || !told || !exchange.frames.is_empty(), "{exchange}");
    if mode == Mode::Block && told {
        assert_ne!(*outcome.verdict(), Verdict::Pass, "{exchange}");
    }
    // What is told of values is bounded and printable.
    assert!(report.matches.len() <= 201, "{} matches", report.matches.len());
    for told in &report.matches {
        let all = [
            &told.message,
            &told.data,
            &told.variable,
            &told.value,
            &told.transformed,
            &told.matched,
            &told.operator,
        ];
        for text in all {
            assert!(text.len() <= 8 * 1_024 && !text.contains(char::is_control), "{text:?}");
        }
    }
    if let Verdict::Redirect { to, .. } = outcome.verdict() {
        assert!(to.bytes().all(|byte| byte.is_ascii_graphic()), "{to:?}");
    }
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let pieces = proptest::sample::select(vec![
        &b"a=1&b=2"[..],
        b"%41%",
        b"{\"a\":[",
        b"]}",
        b"<a b=\"c\">",
        b"</a>",
        b"<!DOCTYPE",
        b"--B\r\n",
        b"--B--",
        b"\r\n\r\n",
        b"Content-Disposition: form-data; name=\"a\"",
        b"; filename=",
        b"\n",
        b"\0",
        b"\xFF\xFE",
        b"\x1f\x8b\x08\0",
        b"'",
        b"\\u",
        b"query { a(b: \"",
        b"/*",
        b"../",
        b"a",
        b"%u0061",
        b"&#x61;",
        b"4111111111111111",
        b"=",
        b";",
        b"s=abc; t",
        b"&to=x",
    ]);
    let any = proptest::collection::vec(any::<u8>(), 0..12);
    let piece = prop_oneof![3 => pieces.prop_map(<[u8]>::to_vec), 1 => any];
    proptest::collection::vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

fn header() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let names = proptest::sample::select(vec![
        &b"Host"[..],
        b"Cookie",
        b"Content-Type",
        b"Content-Encoding",
        b"grpc-encoding",
        b"Authorization",
        b"X",
        b"",
    ]);
    let kinds = proptest::sample::select(vec![
        &b"application/json"[..],
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=B",
        b"text/xml",
        b"application/graphql",
        b"application/x-ndjson",
        b"application/grpc",
        b"application/x-protobuf",
        b"multipart/form-data",
        b"gzip",
        b"deflate, br",
        b"zstd",
        b"Basic YTpi",
        b"identity",
    ]);
    let value = prop_oneof![2 => kinds.prop_map(<[u8]>::to_vec), 1 => bytes(6)];
    (names.prop_map(<[u8]>::to_vec), value)
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let versions = proptest::sample::select(vec![Version::Http10, Version::Http11, Version::Http2]);
    let request =
        (bytes(2), bytes(8), bytes(2), versions, proptest::collection::vec(header(), 0..8), bytes(30))
            .prop_map(|(method, target, authority, version, headers, body)| Request {
                method,
                target,
                version,
                authority,
                headers,
                body,
            });
    let response = (any::<u16>(), proptest::collection::vec(header(), 0..4), bytes(20))
        .prop_map(|(status, headers, body)| Response { status, headers, body });
    let frames = proptest::collection::vec(bytes(6), 0..3);
    (request, proptest::option::of(response), frames).prop_map(|(request, response, frames)| Exchange {
        response,
        frames,
        ..Exchange::of(request)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(exchange in exchanges()) {
        for (engine, mode) in [(&*BLOCKING, Mode::Block), (&*DETECTING, Mode::Detect)] {
            let (outcome, _) = exchange.run(engine, Workspace::default());
            judge(&exchange, &outcome, mode);
        }
    }
}

/// One workspace for many transactions, of two engines in turn, beside a new one each.
#[test]
fn a_workspace_used_again_is_as_good_as_new() {
    let seeds = seeds(60);
    for seed in seeds {
        let mut chance = Chance::new(seed);
        let mut used = Workspace::default();
        // Each time engines of their own, or their collections would remember.
        let make = || [engine(Mode::Block), engine(Mode::Detect)];
        let (mine, other) = (make(), make());
        for number in 0..20 {
            let exchange = random(&mut chance);
            let which = chance.below(2);
            let (with_used, back) = exchange.run(&mine[which], std::mem::take(&mut used));
            used = back;
            let (with_new, _) = exchange.run(&other[which], Workspace::default());
            let (a, b) = (format!("{with_used:?}"), format!("{with_new:?}"));
            assert!(a == b, "WAF_SEED={seed}, request {number}:\n{exchange}\nused: {a}\nnew:  {b}");
            judge(&exchange, &with_used, if which == 0 { Mode::Block } else { Mode::Detect });
        }
    }
}

fn random(chance: &mut Chance) -> Exchange {
    let mut exchange = crate::soundness::exchange(chance);
    if chance.once_in(5) {
        let kind = *chance.of(&[
            "multipart/form-data; boundary=B",
            "application/graphql",
            "application/grpc",
            "application/x-ndjson",
        ]);
        let value = crate::soundness::value(chance);
        let body = [
            b"--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"b\"\r\n\r\n".to_vec(),
            value,
            b"\r\n--B--\r\n".to_vec(),
        ];
        exchange.request = Request::post("/p", kind, body.concat());
    }
    if chance.once_in(6) {
        let coding = *chance.of(&[&b"gzip"[..], b"br", b"identity"]);
        exchange.request.headers.push((b"Content-Encoding".to_vec(), coding.to_vec()));
    }
    if chance.once_in(6) {
        exchange.frames.push(crate::soundness::value(chance));
    }
    exchange
}
