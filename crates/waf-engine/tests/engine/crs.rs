//! The Core Rule Set 4, where a copy lies beside the repository: its own regression
//! requests and mutations of them match the same rules with folding and filtering and
//! without; and what loading decides is as much as its paranoia levels promise.

#![allow(clippy::print_stderr)] // What is skipped is said.

use crate::chance::{Chance, seeds};
use crate::exchange::{Exchange, Request, Response};
use crate::soundness::{encoded, told};
use edge_http::http1::{BodyLimits, HeadParser, Lines, read_body};
use edge_http::{GuardLimits, RequestHead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waf_engine::settings::{Limits, Mode, RawBody, RuleFile, Settings};
use waf_engine::{Engine, Workspace};
use waf_ftw::Previous;

fn folder(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/crs").join(name);
    if !folder.is_dir() {
        eprintln!("skipped: no Core Rule Set beside the repository");
        return None;
    }
    Some(folder)
}

/// The rule set as it is, at a paranoia level.
fn settings(folder: &Path, level: u8) -> Settings {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).expect("the rules").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    let mut files = vec![read(&folder.join("crs-setup.conf.example"))];
    let mut data = Vec::new();
    for path in names {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("conf") => files.push(read(&path)),
            Some("data") => data.push(read(&path)),
            _ => {}
        }
    }
    Settings {
        mode: Mode::Detect,
        files,
        data,
        tx: vec![("blocking_paranoia_level".to_owned(), level.to_string())],
        exclude: Vec::new(),
        processors_by_content_type: true,
        raw_body: RawBody::Forms,
        limits: Limits { time_us: u64::MAX, ..Limits::default() },
    }
}

fn read(path: &Path) -> RuleFile {
    let bytes = std::fs::read(path).expect("a file");
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| error.as_bytes().iter().map(|&byte| char::from(byte)).collect());
    RuleFile { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text }
}

fn engine(load: Result<Engine, Vec<waf_engine::LoadError>>) -> Arc<Engine> {
    match load {
        Ok(engine) => Arc::new(engine),
        Err(errors) => panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>()),
    }
}

#[test]
fn much_is_decided_when_rules_are_loaded() {
    let Some(folder) = folder("rules") else { return };
    let left: Vec<_> = (1..=4)
        .map(|level| {
            let (all, left) = engine(Engine::load(&settings(&folder, level))).rules();
            assert!(left * 10 < all * 9, "level {level}: {left} of {all} rules are left to run");
            left
        })
        .collect();
    // Each level has rules of its own, which the levels below do not run.
    assert!(left.is_sorted() && left[0] * 10 < left[3] * 7, "{left:?}");
    let plain = Engine::load_plain(&settings(&folder, 1)).expect("it loads").rules();
    assert_eq!(plain.0, plain.1);
}

#[test]
fn mutated_attacks_at_paranoia_level_1() {
    mutated_attacks(1);
}

#[test]
fn mutated_attacks_at_paranoia_level_4() {
    mutated_attacks(4);
}

fn mutated_attacks(level: u8) {
    let (Some(rules), Some(cases)) = (folder("rules"), folder("regression")) else { return };
    let requests = requests(&cases);
    assert!(requests.len() > 3_000, "{} requests", requests.len());
    let settings = settings(&rules, level);
    let (fast, plain) = (engine(Engine::load(&settings)), engine(Engine::load_plain(&settings)));
    let (mut fast_workspace, mut plain_workspace) = (Workspace::default(), Workspace::default());
    let (mut matched, mut count) = (0, 0);
    let seeds = seeds(ROUNDS);
    for seed in seeds.clone() {
        let mut chance = Chance::new(seed);
        let exchange = exchange(&mut chance, &requests);
        let (with, back) = exchange.run(&fast, std::mem::take(&mut fast_workspace));
        fast_workspace = back;
        let (without, back) = exchange.run(&plain, std::mem::take(&mut plain_workspace));
        plain_workspace = back;
        matched += usize::from(with.report.score.inbound > 0);
        count += 1;
        let (with, without) = (told(&with, &fast), told(&without, &fast));
        assert!(
            with == without,
            "paranoia level {level}, WAF_SEED={seed}:\n{exchange}\n{}",
            differences(&with, &without)
        );
    }
    assert!(count < 50 || matched * 4 > count, "of {count} requests only {matched} look like attacks");
}

/// Requests of one run; `WAF_ROUNDS` runs more.
const ROUNDS: u64 = 2_000;

fn differences(with: &str, without: &str) -> String {
    let only = |these: &str, those: &str, sign: &str| -> String {
        these
            .lines()
            .filter(|line| !those.lines().any(|other| other == *line))
            .map(|line| format!("{sign} {line}\n"))
            .collect()
    };
    format!("{}{}", only(with, without, "with short cuts:   "), only(without, with, "without short cuts:"))
}

/// The requests of all regression cases that our parser takes.
fn requests(folder: &Path) -> Vec<Request> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the cases") {
        for file in std::fs::read_dir(entry.expect("an entry").path()).expect("a rule file's cases") {
            files.push(file.expect("a file").path());
        }
    }
    files.sort();
    let mut requests = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file of cases");
        let cases = waf_ftw::read(&file.to_string_lossy(), &text).expect("cases");
        for stage in cases.iter().flat_map(|case| &case.stages) {
            for raw in stage.input.requests(&Previous::default()).unwrap_or_default() {
                requests.extend(request(&raw));
            }
        }
    }
    requests
}

fn request(raw: &[u8]) -> Option<Request> {
    let mut lines = Lines::with_capacity(100);
    let head =
        HeadParser::new(GuardLimits { head: 1 << 20, header_lines: 1_000 }).read(raw, &mut lines).ok()??;
    let limits = BodyLimits { content: u64::MAX, trailers: 1 << 16, trailer_lines: 100 };
    let body = read_body(&raw[head.length..], head.framing, limits).ok()??;
    let RequestHead { method, target, authority, version, headers } = head.request().ok()?;
    Some(Request {
        method: method.to_vec(),
        target: target.to_vec(),
        version,
        authority: authority.to_vec(),
        headers: headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
        body: body.content.into_owned(),
    })
}

/// A case's request as it is, a mutation of it, or its attack in another place.
fn exchange(chance: &mut Chance, requests: &[Request]) -> Exchange {
    let original = chance.of(requests).clone();
    let mut request = match chance.below(4) {
        0 => original,
        1 => {
            let mut request = original;
            let at = chance.below(request.headers.len() + 2);
            match at.checked_sub(2) {
                Some(header) => mutate(chance, &mut request.headers[header].1),
                None if at == 0 => mutate(chance, &mut request.target),
                None => mutate(chance, &mut request.body),
            }
            request
        }
        _ => moved(chance, &original, requests),
    };
    // What no parser lets through is no request.
    request.target.retain(|byte| byte.is_ascii_graphic());
    request.headers.iter_mut().for_each(|(_, value)| value.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    let mut exchange = Exchange::of(request);
    if chance.once_in(4) {
        let mut body = chance.of(requests).body.clone();
        mutate(chance, &mut body);
        exchange.response = Some(Response {
            status: *chance.of(&[200, 404, 500]),
            headers: vec![(b"Content-Type".to_vec(), b"text/html".to_vec())],
            body,
        });
    }
    exchange
}

/// Some attack of a request, in an argument, a form, JSON, a cookie or a header.
fn moved(chance: &mut Chance, original: &Request, requests: &[Request]) -> Request {
    let mut attack = attack(chance, original);
    for _ in 0..chance.below(3) {
        mutate(chance, &mut attack);
    }
    if chance.once_in(4) {
        let other = self::attack(chance, chance.clone().of(requests));
        attack.extend(other);
    }
    let text = String::from_utf8_lossy(&attack).into_owned();
    match chance.below(6) {
        0 | 1 => Request::get([b"/p?q=".to_vec(), encoded(&attack, chance), b"&page=2".to_vec()].concat()),
        2 => Request::post(
            "/p",
            "application/x-www-form-urlencoded",
            [b"a=1&b=".to_vec(), encoded(&attack, chance)].concat(),
        ),
        3 => {
            let quoted =
                text.replace('\\', "\\\\").replace('"', "\\\"").replace(|c: char| c.is_control(), " ");
            Request::post("/p", "application/json", format!("{{\"a\": [\"{quoted}\"], \"b\": 1}}"))
        }
        4 => {
            let mut request = Request::get("/p");
            request.headers.push((b"Cookie".to_vec(), [b"s=".to_vec(), attack].concat()));
            request
        }
        _ => {
            let mut request = Request::get([b"/".to_vec(), encoded(&attack, chance)].concat());
            let name = *chance.of(&[&b"User-Agent"[..], b"Referer", b"X-Thing"]);
            request.headers.push((name.to_vec(), attack));
            request
        }
    }
}

/// What looks like the attack of a request: the value of a pair, a header, the body.
fn attack(chance: &mut Chance, request: &Request) -> Vec<u8> {
    let query = request.target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
    let pairs = query.split(|byte| *byte == b'&').chain(request.body.split(|byte| *byte == b'&'));
    let mut all: Vec<Vec<u8>> = pairs
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let value = pair.splitn(2, |byte| *byte == b'=').nth(1).unwrap_or(pair);
            let mut decoded = Vec::new();
            let changed = waf_text::Transformation::UrlDecode.apply(value, &mut decoded);
            if changed { decoded } else { value.to_vec() }
        })
        .collect();
    all.extend(request.headers.iter().map(|(_, value)| value.clone()));
    all.push(request.target.clone());
    chance.of(&all).clone()
}

const SPICES: &[&[u8]] = &[
    b"'",
    b"\"",
    b"<",
    b">",
    b"/*",
    b"*/",
    b"--",
    b"%00",
    b"\0",
    b"\\",
    b"../",
    b" or ",
    b";",
    b"|",
    b"`",
    b"$(",
    b"{{",
    b"}}",
    b"<script",
    b"javascript:",
    b"union select ",
    b"\xFF",
    b"\xC0\xAF",
    b"&#x27;",
    b"%u0027",
    b"\\x27",
    b"\r\n",
    b"\t",
    b"^",
    b"@",
];

fn mutate(chance: &mut Chance, value: &mut Vec<u8>) {
    let at = chance.below(value.len() + 1);
    let to = (at + chance.below(6)).min(value.len());
    match chance.below(9) {
        0 => drop(value.drain(at..to)),
        1 => {
            let spice = *chance.of::<&[u8]>(SPICES);
            value.splice(at..at, spice.iter().copied()).for_each(drop);
        }
        2 => value[at..to].iter_mut().for_each(|byte| *byte ^= 0x20),
        3 => {
            let escaped: Vec<u8> =
                value[at..to].iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect();
            value.splice(at..to, escaped).for_each(drop);
        }
        4 => {
            let again = value[at..to].to_vec();
            value.splice(at..at, again).for_each(drop);
        }
        5 => value.insert(at, chance.next() as u8),
        6 => {
            let entity: Vec<u8> =
                value[at..to].iter().flat_map(|byte| format!("&#{byte};").into_bytes()).collect();
            value.splice(at..to, entity).for_each(drop);
        }
        7 => value.truncate(at),
        _ => value.splice(at..at, b"/**/".iter().copied()).for_each(drop),
    }
    value.truncate(20_000);
}
