//! ModSecurity v3's regression cases: rules, a request and its answer, a status or
//! what the log says.
//!
//! Portable is what expects a status, a redirect, that rules do not load, or fields
//! of the error or audit log; and, of what expects only that engine's debug log, what
//! asks it for the values that rules look at (`targets`). The rest is counted and not
//! run, and so is what needs another language or a database.

use super::super::{Failure, Outcome};
use super::judge::{Expected, judge, judge_targets};
use super::play::{Exchange, Fault, load, run as play};
use super::targets;
use edge_http::Version;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use waf_engine::settings::{BeyondLimit, Limits, Mode, RuleFile, Settings};

/// One case.
#[derive(Deserialize)]
struct Case {
    title: String,
    #[serde(default)]
    resource: Option<String>,
    expected: Expected,
    rules: Vec<String>,
    #[serde(default)]
    client: Peer,
    #[serde(default)]
    server: Peer,
    #[serde(default)]
    request: Request,
    #[serde(default)]
    response: Response,
}

#[derive(Default, Deserialize)]
struct Peer {
    #[serde(default)]
    ip: String,
    #[serde(default)]
    port: u16,
}

impl Peer {
    fn address(&self) -> (IpAddr, u16) {
        (self.ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), self.port)
    }
}

#[derive(Default, Deserialize)]
struct Request {
    #[serde(default)]
    method: String,
    #[serde(default)]
    uri: String,
    #[serde(default)]
    http_version: Option<serde_json::Number>,
    #[serde(default)]
    headers: Headers,
    #[serde(default)]
    body: Lines,
}

#[derive(Default, Deserialize)]
struct Response {
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    headers: Headers,
    #[serde(default)]
    body: Lines,
}

/// A JSON object whose keys may come twice, as header lines may.
#[derive(Default)]
struct Headers(Vec<(String, Vec<u8>)>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Headers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("header lines")
            }
            // Some cases say `""` for none.
            fn visit_str<E>(self, _: &str) -> Result<Headers, E> {
                Ok(Headers::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    pairs.push((name, value.into_bytes()));
                }
                Ok(Headers(pairs))
            }
        }
        deserializer.deserialize_any(Pairs)
    }
}

/// A body: lines, each with its end; or nothing.
#[derive(Default)]
struct Lines(Vec<u8>);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut body = Vec::new();
        // The suite's runner takes a body that is no list for an empty one.
        if let serde_json::Value::Array(lines) = serde_json::Value::deserialize(deserializer)? {
            for line in &lines {
                body.extend_from_slice(line.as_str().unwrap_or_default().as_bytes());
                body.push(b'\n');
            }
        }
        Ok(Self(body))
    }
}

/// Every case of a file.
pub(super) fn run(file: &Path, outcome: &mut Outcome) -> Result<(), String> {
    for (index, case) in super::read::<Case>(file)?.iter().enumerate() {
        let name = super::name(file);
        let settings = settings(case, &name, file);
        if let Some(reason) = not_portable(case, &settings) {
            outcome.skipped += 1;
            *outcome.needs.entry(format!("ModSecurity cases are not portable: {reason}")).or_default() += 1;
            continue;
        }
        match tried(case, &settings) {
            Ok(()) => outcome.passed += 1,
            Err(why) => {
                outcome.failed += 1;
                let name = format!("{name}:{} {}", index + 1, case.title);
                outcome.failures.push(Failure { name, why });
            }
        }
    }
    Ok(())
}

/// The rules with what shows their targets, where the case asks for nothing else.
fn witnesses(case: &Case) -> Option<Vec<String>> {
    if case.expected.says_something() {
        return None;
    }
    targets::witnessed(&case.expected.debug_log, &case.rules)
}

/// A body that cannot be read is refused here where no rule looks at the error; that
/// engine lets it pass. This looks.
const READS_ERRORS: &str = "SecRule REQBODY_ERROR \"@eq 2\" \"id:8999999,phase:2,pass,nolog\"\n";

fn settings(case: &Case, name: &str, file: &Path) -> Settings {
    let rules = witnesses(case);
    let mut text = rules.as_ref().unwrap_or(&case.rules).join("\n");
    text.push('\n');
    let mut data = Vec::new();
    let mut unread = waf_lang::referenced(name, text.as_bytes());
    while let Some(reference) = unread.pop() {
        let named = &reference.name_or_pattern;
        let known = data.iter().any(|known: &RuleFile| known.name == *named);
        let place = file.parent().unwrap_or(file).join(named);
        if !known && let Ok(bytes) = std::fs::read(place) {
            if reference.kind == waf_lang::Kind::Rules {
                unread.extend(waf_lang::referenced(named, &bytes));
            }
            data.push(RuleFile { name: named.clone(), text: String::from_utf8_lossy(&bytes).into_owned() });
        }
    }
    Settings {
        mode: Mode::Rules,
        files: vec![
            RuleFile { name: "before.conf".to_owned(), text: READS_ERRORS.to_owned() },
            RuleFile { name: name.to_owned(), text },
        ],
        data,
        tx: Vec::new(),
        exclude: Vec::new(),
        processors_by_content_type: false,
        raw_body: Default::default(),
        // That engine inspects what is within a limit where no directive says otherwise.
        limits: Limits { beyond: BeyondLimit::Pass, ..Limits::default() },
    }
}

/// Why a case cannot be asked of another engine.
fn not_portable(case: &Case, settings: &Settings) -> Option<String> {
    match case.resource.as_deref() {
        Some("lua") => return Some("they run Lua".to_owned()),
        Some("geoip" | "maxmind") => return Some("they need a database of places".to_owned()),
        Some("curl") => return Some("they load rules from a server".to_owned()),
        Some("ssdeep") => return Some("they need ssdeep".to_owned()),
        _ => {}
    }
    if !case.expected.says_something() && witnesses(case).is_none() {
        return Some("they expect only the debug log of that engine".to_owned());
    }
    if case.rules.iter().any(|rule| rule.contains("SecPcreMatchLimit")) {
        return Some(
            "they expect an expression to exceed PCRE's limits, which linear ones have not".to_owned(),
        );
    }
    // `@validateDTD` and `@validateSchema` read a file that is not among the cases,
    // and are refused here, with whatever else reads files for a document.
    let documents = ["@validatedtd", "@validateschema", "secxmlexternalentity on"];
    if case.rules.iter().any(|rule| documents.iter().any(|word| rule.to_ascii_lowercase().contains(word))) {
        return Some("they have XML read schemas or external entities, which is refused here".to_owned());
    }
    let missing = |file: &RuleFile| {
        waf_lang::referenced(&file.name, file.text.as_bytes()).into_iter().find(|reference| {
            let named = &reference.name_or_pattern;
            !settings.data.iter().any(|known| known.name == *named)
        })
    };
    if case.expected.parser_error.is_none()
        && settings.files.iter().chain(&settings.data).find_map(missing).is_some()
    {
        return Some("they name a file that is not among the cases".to_owned());
    }
    None
}

fn tried(case: &Case, settings: &Settings) -> Result<(), String> {
    let engine = match (load(settings), &case.expected.parser_error) {
        (Ok(engine), None) => engine,
        (Ok(_), Some(error)) => return Err(format!("expected that the rules do not load: {error}")),
        (Err(Fault::Load(errors)), Some(expected)) => return super::judge::load_error(expected, &errors),
        (Err(fault), _) => return Err(fault.to_string()),
    };
    let request = &case.request;
    let version = request.http_version.as_ref().map(ToString::to_string);
    let exchange = Exchange {
        client: case.client.address(),
        server: case.server.address(),
        method: &request.method,
        target: &request.uri,
        version: match version.as_deref() {
            Some("1.0" | "1") => Version::Http10,
            Some("2.0" | "2") => Version::Http2,
            _ => Version::Http11,
        },
        headers: &request.headers.0,
        body: &request.body.0,
        response_version: case.response.protocol.as_deref().unwrap_or("HTTP/1.1"),
        response_headers: &case.response.headers.0,
        response_body: &case.response.body.0,
    };
    let played = play(&engine, &exchange).map_err(|fault| fault.to_string())?;
    if witnesses(case).is_some() {
        return judge_targets(&case.expected, &played);
    }
    judge(&case.expected, &played)
}
