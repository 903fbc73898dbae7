//! The JSON format: one object a line, with libmodsecurity's keys.

use super::Entry;
use super::text::{one_line, or_dash};
use std::fmt::Write;
use waf_lang::model::{EngineMode, Variable as V};
use waf_text::Transformation;

pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

pub(super) fn entry(entry: &Entry<'_>) -> String {
    let mut json = Json::default();
    json.open("", '{');
    json.open("transaction", '{');
    who(entry, &mut json);
    request(entry, &mut json);
    response(entry, &mut json);
    if entry.has('H') {
        producer(entry, &mut json);
        messages(entry, &mut json);
    }
    // libmodsecurity leaves these two out; the manual's parts J and K.
    if entry.has('J') {
        json.open("uploads", '[');
        for (size, name, kind) in entry.uploads() {
            json.open("", '{');
            json.raw("size", &size);
            json.text("name", &name);
            json.text("content_type", &kind);
            json.close('}');
        }
        json.close(']');
    }
    if entry.has('K') {
        json.open("rules", '[');
        entry.rules().iter().for_each(|rule| json.text("", rule));
        json.close(']');
    }
    json.close('}');
    json.close('}');
    json.0.push('\n');
    json.0
}

fn who(entry: &Entry<'_>, json: &mut Json) {
    let kept = entry.kept();
    let utc = crate::time::Utc::of((kept.at_us / 1_000_000) as i64);
    // As C's `asctime` has it.
    let stamp = format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        DAYS[utc.weekday as usize],
        MONTHS[(utc.month - 1) as usize],
        utc.day,
        utc.hour,
        utc.minute,
        utc.second,
        utc.year
    );
    let address = |side: Option<(std::net::IpAddr, u16)>| {
        side.map(|(address, _)| address.to_string()).unwrap_or_default()
    };
    let port = |side: Option<(std::net::IpAddr, u16)>| side.map_or(0, |(_, port)| port).to_string();
    json.text("client_ip", &address(kept.client));
    json.text("time_stamp", &stamp);
    json.text("server_id", &server_id(&address(kept.server)));
    json.raw("client_port", &port(kept.client));
    json.text("host_ip", &address(kept.server));
    json.raw("host_port", &port(kept.server));
    json.text("unique_id", &kept.id);
}

/// Forty hexadecimal digits that stay the same for a server: of its address.
fn server_id(address: &str) -> String {
    let (mut digest, mut hex) = (Vec::new(), Vec::new());
    Transformation::Sha1.apply(address.as_bytes(), &mut digest);
    Transformation::HexEncode.apply(&digest, &mut hex);
    String::from_utf8_lossy(&hex).into_owned()
}

fn request(entry: &Entry<'_>, json: &mut Json) {
    json.open("request", '{');
    json.text("method", &or_dash(one_line(entry.scalar(V::RequestMethod))));
    let version = entry.version();
    match version.parse::<f32>() {
        Ok(_) => json.raw("http_version", &version),
        Err(_) => json.text("http_version", &version),
    }
    json.text("uri", &entry.target());
    if let Some(body) = entry.request_body() {
        json.text("body", &body);
    } else if entry.has('C') {
        json.text("body", "");
    }
    if entry.has('B') {
        headers(json, entry.request_headers());
    }
    json.close('}');
}

fn response(entry: &Entry<'_>, json: &mut Json) {
    json.open("response", '{');
    if entry.has('E') {
        json.text("body", &entry.response_body().unwrap_or_default());
    }
    json.raw("http_code", &entry.status.to_string());
    if entry.has('F') {
        headers(json, entry.response_headers());
    }
    json.close('}');
}

/// Lines of the same name are one key: RFC 9110 §5.3 joins them with a comma.
fn headers(json: &mut Json, headers: Vec<(String, String)>) {
    let mut merged: Vec<(String, String)> = Vec::with_capacity(headers.len());
    let mut places = rustc_hash::FxHashMap::default();
    for (name, value) in headers {
        match places.get(&name.to_ascii_lowercase()) {
            Some(&at) => {
                let (_, known): &mut (String, String) = &mut merged[at];
                known.push_str(", ");
                known.push_str(&value);
            }
            None => {
                places.insert(name.to_ascii_lowercase(), merged.len());
                merged.push((name, value));
            }
        }
    }
    json.open("headers", '{');
    for (name, value) in merged {
        json.text(if name.is_empty() { "-" } else { &name }, &value);
    }
    json.close('}');
}

fn producer(entry: &Entry<'_>, json: &mut Json) {
    json.open("producer", '{');
    json.text("modsecurity", concat!("Bastide ", env!("CARGO_PKG_VERSION"), " (ModSecurity v3 language)"));
    json.text("connector", "bastide-edge");
    let mode = match entry.state.switches.engine {
        EngineMode::On => "Enabled",
        EngineMode::DetectionOnly => "DetectionOnly",
        EngineMode::Off => "Disabled",
    };
    json.text("secrules_engine", mode);
    json.open("components", '[');
    entry.engine.directives.component_signatures.iter().for_each(|signature| json.text("", signature));
    json.close(']');
    json.close('}');
}

fn messages(entry: &Entry<'_>, json: &mut Json) {
    json.open("messages", '[');
    for message in entry.messages() {
        let (file, line) = message.place();
        json.open("", '{');
        json.text("message", &message.message());
        json.open("details", '{');
        json.text("match", &message.found());
        json.text("reference", message.reference);
        json.text("ruleId", &message.told.rule.to_string());
        json.text("file", file);
        json.text("lineNumber", line);
        json.text("data", &message.data());
        json.text("severity", &message.severity().to_string());
        json.text("ver", message.ver());
        json.text("rev", message.rev());
        json.open("tags", '[');
        message.tags().for_each(|tag| json.text("", &tag));
        json.close(']');
        json.text("maturity", &message.maturity().to_string());
        json.text("accuracy", &message.accuracy().to_string());
        json.close('}');
        json.close('}');
    }
    json.close(']');
}

/// A JSON text that grows; an empty key is of an array's element.
#[derive(Default)]
struct Json(String);

impl Json {
    fn key(&mut self, key: &str) {
        if !self.0.is_empty() && !self.0.ends_with(['{', '[', ':']) {
            self.0.push(',');
        }
        if !key.is_empty() {
            self.string(key);
            self.0.push(':');
        }
    }

    fn open(&mut self, key: &str, bracket: char) {
        self.key(key);
        self.0.push(bracket);
    }

    fn close(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.string(value);
    }

    /// A number that is written as one.
    fn raw(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push_str(value);
    }

    fn string(&mut self, text: &str) {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                c if c.is_control() => {
                    let _ = write!(self.0, "\\u{:04x}", c as u32);
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }
}
