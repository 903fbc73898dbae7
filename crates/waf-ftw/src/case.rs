//! From a file to cases.

use crate::backend::Reflection;
use crate::node::{self, Read as _};
use std::fmt;
use yaml_tree::Node;

/// One case: the stages are sent one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The rule that it tests.
    pub rule_id: u64,
    /// Its number within the file.
    pub test_id: u64,
    /// What it is about; may be empty.
    pub desc: String,
    /// What to send, and what must follow.
    pub stages: Vec<Stage>,
}

impl Case {
    /// `920100-2`, as people and filters name it.
    pub fn id(&self) -> String {
        format!("{}-{}", self.rule_id, self.test_id)
    }
}

/// One request and its expectations.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The request.
    pub input: Input,
    /// The expectations.
    pub output: Output,
}

/// What a stage sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Where to: an address or a name.
    pub dest_addr: String,
    /// Its port.
    pub port: u16,
    /// `http` or `https`.
    pub protocol: String,
    /// The request line's first word.
    pub method: String,
    /// The request target, or several: the request is sent once for each.
    pub uris: Vec<String>,
    /// The request line's last word.
    pub version: String,
    /// Header lines in the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// The body before it is completed.
    pub data: Vec<u8>,
    /// Whether Connection, Content-Length and Content-Type are added where
    /// missing, and a form's values escaped.
    pub autocomplete_headers: bool,
    /// All bytes of the request; nothing else of the input counts then.
    pub encoded_request: Option<Vec<u8>>,
    /// What the back end is to answer, whatever the request.
    pub response: Option<Reflection>,
    /// Whether the target is the Location of the stage before.
    pub follow_redirect: bool,
    /// Whether cookies set by the stage before are sent.
    pub save_cookie: bool,
}

/// What must follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// The response has one of these; none: any will do.
    pub status: Vec<u16>,
    /// A regular expression that the response, head and body, matches.
    pub response_contains: Option<String>,
    /// About the rules that matched.
    pub log: Logged,
    /// There is no response at all; nothing else is looked at then.
    pub expect_error: bool,
    /// No rule but the expected one matched.
    pub isolated: bool,
    /// A failure may be tried again: the entry of a late phase may be written
    /// behind the end of the stage.
    pub retry_once: bool,
}

/// Expectations about the rules that matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logged {
    /// These did.
    pub expect_ids: Vec<u64>,
    /// These did not.
    pub no_expect_ids: Vec<u64>,
    /// A line of the log matches.
    pub match_regex: Option<String>,
    /// No line of the log matches.
    pub no_match_regex: Option<String>,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// From 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl ReadError {
    pub(crate) fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ReadError {}

/// Reads a file's cases. `name` is the file's name without its path: where the
/// text gives no `rule_id`, its first number is the rule.
pub fn read(name: &str, text: &str) -> Result<Vec<Case>, ReadError> {
    let root = node::parse(text)?;
    let mut rule_id = None;
    let mut tests: &[Node] = &[];
    for (key, _, node) in root.entries()? {
        match key.as_str() {
            "rule_id" => rule_id = Some(node.number()?),
            "tests" => tests = node.items(),
            // About the file; some have it one level too high. go-ftw ignores `enabled`.
            "meta" | "author" | "description" | "enabled" | "name" => {}
            _ => return Err(unknown(key, node)),
        }
    }
    let rule_id = match rule_id.or_else(|| first_number(name)) {
        Some(rule_id) => rule_id,
        None => return Err(root.wrong("no `rule_id`; hint: is this a file of tests?")),
    };
    tests.iter().enumerate().map(|(i, node)| case(node, rule_id, i as u64 + 1)).collect()
}

fn first_number(text: &str) -> Option<u64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = &text[start..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

fn unknown(key: &str, node: &Node) -> ReadError {
    node.wrong(format!("unknown key `{key}`"))
}

fn case(node: &Node, rule_id: u64, place: u64) -> Result<Case, ReadError> {
    let mut case = Case { rule_id, test_id: place, desc: String::new(), stages: Vec::new() };
    for (key, _, node) in node.entries()? {
        match key.as_str() {
            "test_id" => case.test_id = node.number()?,
            "desc" => case.desc = node.text()?,
            "stages" => case.stages = node.items().iter().map(stage).collect::<Result<_, _>>()?,
            // The title of the first format is `rule-test`.
            "test_title" => {
                let title = node.text()?;
                if let Some(id) = title.rsplit_once('-').and_then(|(_, id)| id.parse().ok()) {
                    case.test_id = id;
                }
            }
            "tags" => {}
            _ => return Err(unknown(key, node)),
        }
    }
    Ok(case)
}

fn stage(node: &Node) -> Result<Stage, ReadError> {
    let (mut input, mut output) = (None, None);
    for (key, _, node) in node.entries()? {
        match key.as_str() {
            // The first format has one more level.
            "stage" => return stage(node),
            "input" => input = Some(read_input(node)?),
            "output" => output = Some(read_output(node)?),
            "description" => {}
            _ => return Err(unknown(key, node)),
        }
    }
    let input = input.ok_or_else(|| node.wrong("a stage without `input`"))?;
    let output = output.ok_or_else(|| node.wrong("a stage without `output`"))?;
    Ok(Stage { input, output })
}

fn read_input(node: &Node) -> Result<Input, ReadError> {
    // Defaults: go-ftw's `test/defaults.go`.
    let mut input = Input {
        dest_addr: "localhost".to_owned(),
        port: 80,
        protocol: "http".to_owned(),
        method: "GET".to_owned(),
        uris: Vec::new(),
        version: "HTTP/1.1".to_owned(),
        headers: Vec::new(),
        data: Vec::new(),
        autocomplete_headers: true,
        encoded_request: None,
        response: None,
        follow_redirect: false,
        save_cookie: false,
    };
    let (mut uri, mut autocomplete, mut stop_magic, mut encoded_data) = (None, None, None, None);
    let mut data = None;
    for (key, _, node) in node.entries()? {
        if node.is_null() {
            continue;
        }
        match key.as_str() {
            "dest_addr" => input.dest_addr = node.text()?,
            "port" => input.port = node.number()?,
            "protocol" => input.protocol = node.text()?,
            "method" => input.method = node.text()?,
            "uri" => uri = Some(node.text()?),
            "uris" => input.uris = node.texts()?,
            "version" => input.version = node.text()?,
            "headers" => {
                input.headers = read_headers(node)?;
                // A mapping has no order; go-ftw sorts it by name.
                input.headers.sort();
            }
            "ordered_headers" => input.headers = read_ordered_headers(node)?,
            "data" => data = Some(read_data(node)?),
            "encoded_data" => encoded_data = Some(base64(node)?),
            "encoded_request" | "raw_request" => {
                input.encoded_request = Some(base64(node)?).filter(|raw| !raw.is_empty());
            }
            "autocomplete_headers" => autocomplete = Some(node.flag()?),
            "stop_magic" => stop_magic = Some(node.flag()?),
            "follow_redirect" => input.follow_redirect = node.flag()?,
            "save_cookie" => input.save_cookie = node.flag()?,
            "response" => input.response = Some(read_response(node)?),
            // About go-ftw's own marker requests, which nobody sends here.
            "virtual_host_mode" => {}
            _ => return Err(unknown(key, node)),
        }
    }
    if data.is_some() && input.encoded_request.is_some() {
        return Err(node.wrong("`data` beside `encoded_request`"));
    }
    input.data = data.or(encoded_data).unwrap_or_default();
    input.autocomplete_headers = autocomplete.or(stop_magic.map(|stop| !stop)).unwrap_or(true);
    if input.uris.is_empty() {
        input.uris.push(uri.unwrap_or_else(|| "/".to_owned()));
    }
    Ok(input)
}

/// A body as text with its template; the first format also knew a list of lines.
fn read_data(node: &Node) -> Result<Vec<u8>, ReadError> {
    let text = match &node.value {
        yaml_tree::Value::List(_) => node.texts()?.join("\r\n"),
        _ => node.text()?,
    };
    crate::template::expand(&text).map_err(|what| node.wrong(what))
}

fn read_headers(node: &Node) -> Result<Vec<(String, String)>, ReadError> {
    node.entries()?.iter().map(|(name, _, value)| Ok((name.clone(), value.text()?))).collect()
}

fn read_ordered_headers(node: &Node) -> Result<Vec<(String, String)>, ReadError> {
    let mut headers = Vec::new();
    for item in node.items() {
        let (mut name, mut text) = (None, None);
        for (key, _, node) in item.entries()? {
            match key.as_str() {
                "name" => name = Some(node.text()?),
                "value" => text = Some(node.text()?),
                _ => return Err(unknown(key, node)),
            }
        }
        let name = name.ok_or_else(|| item.wrong("a header without `name`"))?;
        headers.push((name, text.unwrap_or_default()));
    }
    Ok(headers)
}

fn read_response(node: &Node) -> Result<Reflection, ReadError> {
    let mut reflection = Reflection::default();
    let mut encoded = None;
    for (key, _, node) in node.entries()? {
        match key.as_str() {
            "status" => reflection.status = node.number()?,
            "headers" => reflection.headers = read_headers(node)?,
            "body" => reflection.body = node.text()?.into_bytes(),
            "encoded_body" => encoded = Some(base64(node)?),
            "log_message" => {}
            _ => return Err(unknown(key, node)),
        }
    }
    if reflection.body.is_empty() {
        reflection.body = encoded.unwrap_or_default();
    }
    Ok(reflection)
}

fn base64(node: &Node) -> Result<Vec<u8>, ReadError> {
    crate::request::base64(&node.text()?).ok_or_else(|| node.wrong("not base64"))
}

fn read_output(node: &Node) -> Result<Output, ReadError> {
    let mut output = Output::default();
    let (mut contains, mut no_contains) = (None, None);
    for (key, _, node) in node.entries()? {
        match key.as_str() {
            "status" => output.status = node.numbers()?,
            "response_contains" => {
                output.response_contains = Some(node.text()?).filter(|text| !text.is_empty())
            }
            "log" => output.log = read_log(node)?,
            "log_contains" => contains = Some(node.text()?),
            "no_log_contains" => no_contains = Some(node.text()?),
            "expect_error" => output.expect_error = node.flag()?,
            "isolated" => output.isolated = node.flag()?,
            "retry_once" => output.retry_once = node.flag()?,
            _ => return Err(unknown(key, node)),
        }
    }
    if output.isolated && output.log.expect_ids.len() != 1 {
        return Err(node.wrong("`isolated` needs exactly one of `expect_ids`"));
    }
    // The first format's keys are regular expressions too.
    let log = &mut output.log;
    if log.expect_ids.is_empty() && log.match_regex.is_none() {
        log.match_regex = contains.filter(|text| !text.is_empty());
    }
    if log.no_expect_ids.is_empty() && log.no_match_regex.is_none() {
        log.no_match_regex = no_contains.filter(|text| !text.is_empty());
    }
    Ok(output)
}

fn read_log(node: &Node) -> Result<Logged, ReadError> {
    let mut log = Logged::default();
    for (key, _, node) in node.entries()? {
        match key.as_str() {
            "expect_ids" => log.expect_ids = node.numbers()?,
            "no_expect_ids" => log.no_expect_ids = node.numbers()?,
            "match_regex" => log.match_regex = Some(node.text()?).filter(|text| !text.is_empty()),
            "no_match_regex" => log.no_match_regex = Some(node.text()?).filter(|text| !text.is_empty()),
            _ => return Err(unknown(key, node)),
        }
    }
    Ok(log)
}
