//! Cases that a person can read: rules, a request, what must follow.
//!
//! ```text
//! == what the case shows
//! SecRule ARGS "@rx x" "id:1,phase:2,deny"
//! -- settings
//! mode rules
//! -- data phrases.data
//! one phrase a line
//! -- request from 10.0.0.1 at 60
//! POST /?a=x HTTP/1.1
//! Content-Type: text/plain
//! -- body gzip
//! the lines, joined by \n; `crlf`: each ended by \r\n
//! -- response
//! 200
//! Content-Type: text/html
//! -- response body
//! its lines
//! -- frame
//! a WebSocket's text
//! =>
//! deny 403 by 1
//! matched 1
//! %{tx.a} = 1
//! ```
//!
//! Everything up to the first `--` are the rules. Without a request it is `GET /`. In
//! requests and answers `\xHH`, `\r`, `\n`, `\t`, `\0` and `\\` stand for bytes. `at`
//! is in seconds. After `=>` another `-- request` may follow, to the same engine.
//!
//! What must follow, one a line: the verdict; `matched`, the ids of the rules that
//! matched, in order, but for those that are decided when rules are loaded; `%{…} =`,
//! what a macro is in phase 5; `msg 1 =`, `data 1 =`, of rule 1's first match; `at 1 =`,
//! `saw 1 =`, `found 1 =`, of all its matches the variables, the values after
//! transformations, and the parts found; `would be refused by 1`; `exceeded values`;
//! `error …`, a part of what is wrong with the body; `body wanted`, `body not wanted`;
//! `not loaded …`, a part of a message; `note …`, a part of a note.

use crate::exchange::{Exchange, Request, Response};
use edge_http::Version;
use std::io::Write;
use std::net::IpAddr;
use waf_engine::settings::{BeyondLimit, Exclusion, Limits, Mode, RawBody, RuleFile, Settings};

/// One case.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// A transaction and its expectations.
pub(crate) struct Step {
    pub(crate) exchange: Exchange,
    pub(crate) expected: Vec<String>,
}

/// All cases of a file's text.
pub(crate) fn read(text: &str) -> Vec<Case> {
    let (_, cases) = text.split_once("\n== ").expect("a first case");
    cases.split("\n== ").map(one).collect()
}

/// The macros whose values are expected, in order.
pub(crate) fn macros(case: &Case) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in case.steps.iter().flat_map(|step| &step.expected) {
        if let Some((name, _)) = line.split_once(" =")
            && name.starts_with("%{")
            && !all.iter().any(|known| known == name)
        {
            all.push(name.to_owned());
        }
    }
    all
}

fn one(text: &str) -> Case {
    let (name, rest) = text.split_once('\n').expect("a name");
    let mut reader = Reader {
        settings: Settings {
            mode: Mode::Rules,
            files: Vec::new(),
            data: Vec::new(),
            tx: Vec::new(),
            exclude: Vec::new(),
            processors_by_content_type: true,
            raw_body: RawBody::Forms,
            limits: Limits::default(),
        },
        rules: String::new(),
        exchange: Exchange::of(Request::get("/")),
        steps: Vec::new(),
    };
    let mut section = ("rules".to_owned(), Vec::new());
    for line in rest.lines() {
        if let Some(next) = line.strip_prefix("-- ") {
            reader.section(name, &section.0, &section.1);
            section = (next.to_owned(), Vec::new());
        } else if line == "=>" {
            reader.section(name, &section.0, &section.1);
            section = ("=>".to_owned(), Vec::new());
        } else {
            section.1.push(line);
        }
    }
    reader.section(name, &section.0, &section.1);
    let Reader { mut settings, rules, steps, .. } = reader;
    settings.files = vec![RuleFile { name: "main.conf".to_owned(), text: rules }];
    assert!(!steps.is_empty(), "`{name}` expects nothing");
    Case { name: name.to_owned(), settings, steps }
}

struct Reader {
    settings: Settings,
    rules: String,
    exchange: Exchange,
    steps: Vec<Step>,
}

impl Reader {
    fn section(&mut self, case: &str, title: &str, lines: &[&str]) {
        let mut words = title.split(' ');
        match words.next().unwrap_or_default() {
            "rules" => self.rules = lines.join("\n"),
            "settings" => lines.iter().filter(|line| !line.is_empty()).for_each(|line| self.setting(line)),
            "data" => {
                let name = words.next().expect("a name of a file").to_owned();
                self.settings.data.push(RuleFile { name, text: lines.join("\n") });
            }
            "request" => self.request(words, lines),
            "body" => {
                self.exchange.request.body = body(words, lines);
            }
            "response" if title == "response" => self.response(lines),
            "response" => {
                let response = self.exchange.response.as_mut().expect("a response before its body");
                response.body = body(words.skip(1), lines);
            }
            "frame" => self.exchange.frames.push(body(words, lines)),
            "=>" => {
                let expected =
                    lines.iter().filter(|line| !line.is_empty()).map(|&line| line.to_owned()).collect();
                let (client, now_us) = (self.exchange.client, self.exchange.now_us);
                let next = Exchange { client, now_us, ..Exchange::of(Request::get("/")) };
                let exchange = std::mem::replace(&mut self.exchange, next);
                self.steps.push(Step { exchange, expected });
            }
            other => panic!("`{case}`: no section is called `{other}`"),
        }
    }

    fn setting(&mut self, line: &str) {
        let (name, value) = line.split_once(' ').expect("a setting and its value");
        let settings = &mut self.settings;
        let number = || value.split(' ').next_back().and_then(|n| n.parse::<u64>().ok()).expect("a number");
        match name {
            "mode" => {
                settings.mode = match value {
                    "detect" => Mode::Detect,
                    "block" => Mode::Block,
                    _ => Mode::Rules,
                }
            }
            "tx" => {
                let (name, value) = value.split_once('=').expect("name=value");
                settings.tx.push((name.to_owned(), value.to_owned()));
            }
            "exclude" => {
                let part = |key: &str| {
                    let found = value.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
                    found.map(str::to_owned)
                };
                let rule = part("rule").and_then(|id| id.parse().ok()).expect("rule=id");
                settings.exclude.push(Exclusion { rule, path: part("path"), arg: part("arg") });
            }
            "processors" => settings.processors_by_content_type = value == "by type",
            "raw-body" => {
                settings.raw_body = if value == "always" { RawBody::Always } else { RawBody::Forms }
            }
            "beyond" => {
                settings.limits.beyond =
                    if value == "pass" { BeyondLimit::Pass } else { BeyondLimit::Refuse };
            }
            "values" => settings.limits.values = number() as u32,
            "depth" => settings.limits.depth = number() as u32,
            "inspected" => settings.limits.inspected.0 = number(),
            "request-body" => settings.limits.request_body.0 = number(),
            "response-body" => settings.limits.response_body.0 = number(),
            other => panic!("no setting is called `{other}`"),
        }
    }

    fn request<'t>(&mut self, mut words: impl Iterator<Item = &'t str>, lines: &[&str]) {
        while let Some(word) = words.next() {
            let value = words.next().expect("`from ADDRESS`, `at SECONDS`");
            match word {
                "from" => self.exchange.client = value.parse::<IpAddr>().expect("an address"),
                "at" => {
                    let seconds: u64 = value.parse().expect("seconds");
                    self.exchange.now_us = 1_790_000_000_000_000 + seconds * 1_000_000;
                }
                other => panic!("a request knows no `{other}`"),
            }
        }
        let mut lines = lines.iter().filter(|line| !line.is_empty());
        let first = lines.next().expect("a request line");
        let (method, rest) = first.split_once(' ').expect("a method");
        let (target, version) = rest.rsplit_once(' ').expect("a version");
        let headers: Vec<_> = lines.map(|line| header(line)).collect();
        let authority =
            headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host") || name == b":authority");
        self.exchange.request = Request {
            method: bytes(method),
            target: bytes(target),
            version: match version {
                "HTTP/1.0" => Version::Http10,
                "HTTP/1.1" => Version::Http11,
                "HTTP/2" => Version::Http2,
                other => panic!("no version `{other}`"),
            },
            authority: authority.map(|(_, value)| value.clone()).unwrap_or_default(),
            // HTTP/2's are no header lines.
            headers: headers.into_iter().filter(|(name, _)| !name.starts_with(b":")).collect(),
            body: Vec::new(),
        };
    }

    fn response(&mut self, lines: &[&str]) {
        let mut lines = lines.iter().filter(|line| !line.is_empty());
        let status = lines.next().and_then(|line| line.parse().ok()).expect("a status");
        let headers = lines.map(|line| header(line)).collect();
        self.exchange.response = Some(Response { status, headers, body: Vec::new() });
    }
}

fn header(line: &str) -> (Vec<u8>, Vec<u8>) {
    let from = usize::from(line.starts_with(':'));
    let at = from + line[from..].find(':').expect("name: value");
    (bytes(&line[..at]), bytes(line[at + 1..].trim_start()))
}

fn body<'t>(words: impl Iterator<Item = &'t str>, lines: &[&str]) -> Vec<u8> {
    // The blank line before the next section is no part of it.
    let lines = match lines {
        [lines @ .., ""] => lines,
        lines => lines,
    };
    let mut body = bytes(&lines.join("\n"));
    for word in words {
        body = match word {
            "crlf" => lines.iter().flat_map(|line| [bytes(line), b"\r\n".to_vec()].concat()).collect(),
            "gzip" => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                writer.write_all(&body).and_then(|()| writer.finish()).expect("memory does not fail")
            }
            "deflate" => {
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                writer.write_all(&body).and_then(|()| writer.finish()).expect("memory does not fail")
            }
            other => panic!("a body knows no `{other}`"),
        };
    }
    body
}

/// A text with `\xHH` and the like as bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let (kind, tail) = rest.split_first().expect("something after a backslash");
        rest = tail;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                out.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                rest = &rest[2..];
            }
            other => panic!("`\\{}` stands for nothing", *other as char),
        }
    }
    out
}
