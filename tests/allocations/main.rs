//! What promises to ask for no memory is counted, in a program of its own whose
//! allocator counts; `exposition.rs` does it for what targets serve.
//!
//! Once a worker's memory is warm, the WAF asks for none to inspect a benign GET:
//! counted, in a program of its own whose allocator counts. (It is here and not
//! beside the engine because a pure crate does not stand on `sys`.)

#![allow(clippy::print_stderr)] // What is skipped is said.

mod exposition;

use edge_http::{RequestHead, Version};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use waf_engine::settings::{Limits, Mode, RawBody, RuleFile, Settings};
use waf_engine::{Connection, Engine, Verdict, Workspace};

#[global_allocator]
static ALLOCATOR: sys::allocations::Counting = sys::allocations::Counting;

/// A little of all that rules do to a request that they let pass.
const RULES: &str = r#"
SecAction "id:101,phase:1,pass,nolog,setvar:tx.level=1,setvar:tx.score=0"
SecRule &TX:other "@eq 0" "id:102,phase:1,pass,nolog,setvar:tx.other=5"
SecRule REQUEST_HEADERS:User-Agent "@rx ^(.*)$" "id:103,phase:1,pass,nolog,t:sha1,t:hexEncode,setvar:'tx.agent=%{MATCHED_VAR}'"
SecRule REQUEST_METHOD "!@within GET HEAD POST" "id:104,phase:1,deny"
SecRule ARGS|ARGS_NAMES|REQUEST_COOKIES|REQUEST_HEADERS "@rx (?i)union\s+select" "id:105,phase:2,block,capture,t:urlDecodeUni,t:replaceComments,setvar:tx.score=+5"
SecRule ARGS|REQUEST_COOKIES "@detectSQLi" "id:106,phase:2,block,t:urlDecodeUni,setvar:tx.score=+5"
SecRule ARGS|REQUEST_HEADERS "@detectXSS" "id:107,phase:2,block,t:htmlEntityDecode,setvar:tx.score=+5"
SecRule ARGS|REQUEST_URI "@pm /etc/passwd cmd.exe" "id:108,phase:2,block,t:normalizePath,setvar:tx.score=+5"
SecRule TX:score "@ge %{tx.other}" "id:109,phase:2,deny"
"#;

fn settings(files: Vec<RuleFile>, data: Vec<RuleFile>, level: u8) -> Settings {
    Settings {
        mode: Mode::Block,
        files,
        data,
        tx: vec![("blocking_paranoia_level".to_owned(), level.to_string())],
        exclude: Vec::new(),
        processors_by_content_type: true,
        raw_body: RawBody::Forms,
        limits: Limits::default(),
    }
}

/// The Core Rule Set, where a copy lies beside the repository.
fn core_rule_set(level: u8) -> Option<Settings> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/testdata/crs/rules");
    if !folder.is_dir() {
        eprintln!("skipped: no Core Rule Set beside the repository");
        return None;
    }
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("the rules").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let (mut files, mut data) = (vec![read(&folder.join("crs-setup.conf.example"))], Vec::new());
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("conf") => files.push(read(&path)),
            Some("data") => data.push(read(&path)),
            _ => {}
        }
    }
    Some(settings(files, data, level))
}

fn read(path: &Path) -> RuleFile {
    let bytes = std::fs::read(path).expect("a file");
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| error.as_bytes().iter().map(|&byte| char::from(byte)).collect());
    RuleFile { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text }
}

fn clock() -> u64 {
    0
}

/// Inspects one request whole, and gives the workspace back.
fn inspect(engine: &Arc<Engine>, workspace: Workspace, head: &RequestHead<'_>) -> Workspace {
    let connection = Connection {
        client: IpAddr::from([203, 0, 113, 9]),
        client_port: 40_000,
        server: IpAddr::from([192, 0, 2, 1]),
        server_port: 443,
        now_us: 1_790_000_000_000_000,
        unique_id: "a-unique-id",
        clock,
    };
    let mut transaction = engine.begin(workspace, connection);
    assert_eq!(transaction.request_head(head), Verdict::Pass);
    assert_eq!(transaction.request_body(b"", true), Verdict::Pass);
    let answer: &[(&[u8], &[u8])] = &[(b"Content-Type", b"image/png"), (b"Content-Length", b"5")];
    assert_eq!(transaction.response_head(200, "HTTP/1.1", answer), Verdict::Pass);
    assert!(!transaction.wants_response_body());
    assert_eq!(transaction.response_body(b"", true), Verdict::Pass);
    let (report, workspace) = transaction.finish(1_790_000_000_001_000);
    assert!(report.matches.is_empty() && report.exceeded.is_none(), "{:?}", report.matches);
    workspace
}

fn none_once_warm(settings: &Settings) {
    let engine = Arc::new(Engine::load(settings).expect("the rules load"));
    let headers: &[(&[u8], &[u8])] = &[
        (b"Host", b"shop.example"),
        (b"User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        (b"Accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        (b"Accept-Language", b"en-GB,en;q=0.9"),
        (b"Accept-Encoding", b"gzip, deflate, br"),
        (b"Cookie", b"session=8f14e45fceea167a5a36dedd4bea2543; theme=dark"),
        (b"Connection", b"keep-alive"),
    ];
    let targets =
        ["/products?category=shoes&page=2&sort=price", "/", "/search?q=blue+shoes%2C+size+42&in=all"];
    let heads = targets.map(|target| RequestHead {
        method: b"GET",
        target: target.as_bytes(),
        authority: b"shop.example",
        version: Version::Http11,
        headers,
    });
    let mut workspace = Workspace::default();
    let before = sys::allocations::of_this_thread();
    for _ in 0..8 {
        for head in &heads {
            workspace = inspect(&engine, workspace, head);
        }
    }
    let warm = sys::allocations::of_this_thread();
    assert!(warm > before, "the allocator counts");
    for _ in 0..20 {
        for head in &heads {
            workspace = inspect(&engine, workspace, head);
        }
    }
    assert_eq!(sys::allocations::of_this_thread() - warm, 0, "allocations for 60 requests");
}

#[test]
fn none_with_a_few_rules() {
    none_once_warm(&settings(
        vec![RuleFile { name: "few.conf".to_owned(), text: RULES.to_owned() }],
        Vec::new(),
        1,
    ));
}

#[test]
fn none_with_the_core_rule_set_at_paranoia_level_1() {
    core_rule_set(1).iter().for_each(none_once_warm);
}

#[test]
fn none_with_the_core_rule_set_at_paranoia_level_3() {
    core_rule_set(3).iter().for_each(none_once_warm);
}
