//! What is declared of each key holds: examples and defaults are accepted, the
//! schema says what the parser says, the committed reference is in step.

use config::declare::{Key, Kind, Presence, TableDoc};
use config::sections::{Form, SECTIONS};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The lines that a key's line needs around it to be accepted: in its table, and elsewhere in the file.
fn companions(section: &str, key: &str) -> (&'static [&'static str], &'static str) {
    const ROUTE: &str = "[[route]]\nfiles = \".\"\n";
    const POOL: &str = "[pool.app]\nrun = \"./app\"\n";
    match (section, key) {
        ("pool", "run" | "servers") => (&[], "[[route]]\npool = \"app\"\n"),
        ("pool", _) => (&["run = \"./app\""], "[[route]]\npool = \"app\"\n[database.main]\n"),
        ("route", "pool" | "strip_prefix") => (&["pool = \"app\""], POOL),
        ("route", "redirect" | "status") => (&["redirect = \"/x\""], ""),
        ("route", "host") => (&["files = \".\""], "[site]\ndomains = [\"www.shop.example\"]\n"),
        ("route", "waf") => (&["files = \".\""], "[waf]\nrules = [\"a.conf\"]\n"),
        ("route", _) => (&["files = \".\""], ""),
        ("waf", "rules") => (&[], ROUTE),
        ("waf", "ban") => (&["mode = \"block\"", "rules = [\"a.conf\"]"], ROUTE),
        ("waf", _) => (&["rules = [\"a.conf\"]"], ROUTE),
        ("firewall", "allow") => (&[], ROUTE),
        ("firewall", _) => (&["allow = [\"22/tcp\"]"], ROUTE),
        ("database", "primary" | "password") => {
            (&["primary = \"10.0.0.9:5432\"", "password = { env = \"P\" }"], ROUTE)
        }
        ("database", "durability") => (&["replicas = 1"], ROUTE),
        ("alert", "expr") => (&[], ROUTE),
        ("alert", _) => {
            (&["expr = \"up == 0\""], "[[route]]\nfiles = \".\"\n[receiver.ops]\nwebhook = { env = \"U\" }\n")
        }
        ("probe", "http" | "tcp" | "tls" | "icmp") => (&[], ROUTE),
        ("probe", "dns") => (&["server = \"9.9.9.9:53\""], ROUTE),
        ("probe", "postgres") => (&[], ROUTE),
        ("probe", "server" | "record") => (&["dns = \"x.example\"", "server = \"9.9.9.9:53\""], ROUTE),
        ("probe", "user" | "password") => {
            (&["postgres = \"10.0.0.9:5432\"", "user = \"u\"", "password = { env = \"P\" }"], ROUTE)
        }
        ("probe", "starttls" | "send" | "expect") => (&["tls = \"x.example:465\""], ROUTE),
        ("probe", "timeout") => (&["http = \"https://x.example/\"", "every = \"1h\""], ROUTE),
        ("probe", _) => (&["http = \"https://x.example/\""], ROUTE),
        ("receiver", "webhook") => (&[], ROUTE),
        ("receiver", "pagerduty_url") => (&["pagerduty = { env = \"K\" }"], ROUTE),
        ("receiver", _) => (&["webhook = { env = \"U\" }"], ROUTE),
        ("machine", _) => (&["address = \"10.0.0.2\"", "runs = [\"edge\", \"monitor\"]"], ROUTE),
        _ => (&[], ROUTE),
    }
}

/// A file in which a line stands in its table.
fn file_with(section: &str, form: Form, key: &str, line: &str) -> String {
    let header = match (form, section) {
        (Form::Single, _) => format!("[{section}]"),
        (Form::Named, "pool") => "[pool.app]".to_owned(),
        (Form::Named, _) => format!("[{section}.main]"),
        (Form::Ordered, _) => format!("[[{section}]]"),
    };
    let (beside, elsewhere) = companions(section, key);
    let mut file = format!("{header}\n");
    for other in beside.iter().filter(|other| !other.starts_with(&format!("{key} "))) {
        file.push_str(other);
        file.push('\n');
    }
    format!("{file}{line}\n{elsewhere}")
}

fn accepted(file: &str) -> Result<(), String> {
    match config::parse("declared.toml", file) {
        Ok(parsed) if parsed.warnings.is_empty() => Ok(()),
        Ok(parsed) => Err(parsed.warnings.iter().map(|warning| warning.render(false)).collect()),
        Err(findings) => Err(findings.iter().map(|finding| finding.render(false)).collect()),
    }
}

fn inline_tables(kind: &Kind) -> Vec<&'static TableDoc> {
    match kind {
        Kind::Table(doc) => vec![*doc],
        Kind::List(item) | Kind::OneOrMore(item) => inline_tables(item),
        Kind::Map { values, .. } => inline_tables(values),
        Kind::OneOf(kinds) => kinds.iter().flat_map(inline_tables).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_example_is_accepted() {
    let mut tried = 0;
    for section in SECTIONS {
        for key in section.doc.keys {
            let inner = inline_tables(&(key.kind)());
            // A secret's examples are a password's.
            let inner = inner.iter().filter(|doc| doc.title != "secret").flat_map(|doc| doc.keys);
            for example in std::iter::once(key.example).chain(inner.map(|key| key.example)) {
                let name = example.split(' ').next().unwrap_or_default();
                assert_eq!(name, key.name, "the example of a key is a line of its table: {example}");
                let file = file_with(section.key, section.form, key.name, example);
                accepted(&file).unwrap_or_else(|findings| panic!("{file}\n{findings}"));
                tried += 1;
            }
        }
    }
    assert!(tried > 90, "only {tried} examples were found");
}

#[test]
fn every_default_is_accepted_as_it_is_shown() {
    for section in SECTIONS {
        for key in section.doc.keys {
            let mut lines = Vec::new();
            if let Presence::Default(default) = key.presence {
                lines.push(format!("{} = {}", key.name, default()));
            }
            if matches!(key.presence, Presence::Nested) {
                for inner in inline_tables(&(key.kind)()).iter().flat_map(|doc| doc.keys) {
                    if let Presence::Default(default) = inner.presence {
                        lines.push(format!("{} = {{ {} = {} }}", key.name, inner.name, default()));
                    }
                }
            }
            for line in lines {
                let file = file_with(section.key, section.form, key.name, &line);
                // An empty list of rules is warned of, but it is what absence means.
                if config::parse("declared.toml", &file).is_err() {
                    accepted(&file).unwrap_or_else(|findings| panic!("{file}\n{findings}"));
                }
            }
        }
    }
}

#[test]
fn the_ends_of_every_range_are_accepted_and_what_lies_beyond_is_not() {
    let mut ranges = 0;
    for section in SECTIONS {
        for key in section.doc.keys {
            let inline = matches!(key.presence, Presence::Nested);
            let inner: Vec<&Key> = if inline {
                inline_tables(&(key.kind)()).iter().flat_map(|doc| doc.keys).collect()
            } else {
                vec![key]
            };
            for ranged in inner {
                let Some(range) = ranged.range else { continue };
                let line = |value: &str| match inline {
                    true => format!("{} = {{ {} = {value} }}", key.name, ranged.name),
                    false => format!("{} = {value}", key.name),
                };
                let (low, high) = range();
                for end in [&low, &high] {
                    let file = file_with(section.key, section.form, key.name, &line(end));
                    accepted(&file).unwrap_or_else(|findings| panic!("{file}\n{findings}"));
                }
                let beyond = match high.trim_matches('"').split_at(high.trim_matches('"').len() - 1) {
                    _ if !high.starts_with('"') => {
                        format!("{}", high.parse::<u64>().expect("an integer") + 1)
                    }
                    (_, "B") => "\"9999TiB\"".to_owned(),
                    _ => "\"99999d\"".to_owned(),
                };
                let file = file_with(section.key, section.form, key.name, &line(&beyond));
                let findings = config::parse("declared.toml", &file).expect_err(&file);
                assert!(findings.iter().any(|f| f.code == config::Code::OutOfRange), "{file}\n{findings:?}");
                ranges += 1;
            }
        }
    }
    assert!(ranges > 25, "only {ranges} ranges were found");
}

#[test]
fn the_reference_is_in_step() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/file.md");
    let reference = config::reference();
    if std::env::var_os("BASTIDE_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(&path, &reference).expect("the reference can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == reference, "docs/reference/file.md is out of step; BASTIDE_BLESS=1 writes it anew");
}

#[test]
fn keys_are_explained() {
    let pool = config::explain("pool.instances").expect("a key");
    assert!(pool.contains("How many processes"), "{pool}");
    assert!(config::explain("site.timeouts.head").expect("an inner key").contains("request head"));
    assert!(config::explain("waf").expect("a table").contains("`beyond_limit`"));
    for unknown in ["", "x", "pool.x", "site.timeouts.x", "pool.instances.x"] {
        assert!(config::explain(unknown).is_none(), "{unknown}");
    }
}

/// A validator of the part of draft 7 that the schema uses.
fn valid(schema: &Value, value: &Value) -> bool {
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        return any.iter().any(|one| valid(one, value));
    }
    if schema.get("enum").and_then(Value::as_array).is_some_and(|known| !known.contains(value)) {
        return false;
    }
    let number = |name: &str| schema.get(name).and_then(Value::as_i64);
    match schema.get("type").and_then(Value::as_str) {
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_i64().is_some_and(|n| {
            number("minimum").is_none_or(|least| n >= least) && number("maximum").is_none_or(|most| n <= most)
        }),
        Some("array") => {
            value.as_array().is_some_and(|items| items.iter().all(|item| valid(&schema["items"], item)))
        }
        Some("object") => value.as_object().is_some_and(|object| {
            let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            required.iter().all(|name| object.contains_key(name.as_str().unwrap_or_default()))
                && object.iter().all(|(name, value)| match schema["properties"].get(name) {
                    Some(known) => valid(known, value),
                    None => match &schema["additionalProperties"] {
                        Value::Bool(allowed) => *allowed,
                        other => valid(other, value),
                    },
                })
        }),
        other => panic!("the schema has the type {other:?}"),
    }
}

fn value_to_json(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => json!(text.value()),
        toml_edit::Value::Integer(number) => json!(number.value()),
        toml_edit::Value::Float(number) => json!(number.value()),
        toml_edit::Value::Boolean(on) => json!(on.value()),
        toml_edit::Value::Datetime(date) => json!(date.value().to_string()),
        toml_edit::Value::Array(items) => items.iter().map(value_to_json).collect(),
        toml_edit::Value::InlineTable(table) => {
            Value::Object(table.iter().map(|(key, inner)| (key.to_owned(), value_to_json(inner))).collect())
        }
    }
}

fn to_json(item: &toml_edit::Item) -> Value {
    match item {
        toml_edit::Item::None => Value::Null,
        toml_edit::Item::Value(inner) => value_to_json(inner),
        toml_edit::Item::Table(table) => {
            Value::Object(table.iter().map(|(key, inner)| (key.to_owned(), to_json(inner))).collect())
        }
        toml_edit::Item::ArrayOfTables(tables) => {
            tables.iter().map(|table| to_json(&toml_edit::Item::Table(table.clone()))).collect()
        }
    }
}

/// The schema accepts what the parser accepts, and refuses what it refuses for
/// an unknown key, a missing one or another type.
#[test]
fn the_schema_agrees_with_the_parser() {
    let schema = config::schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let (mut accepted, mut refused) = (0, 0);
    for entry in fs::read_dir(folder).expect("the cases").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a case is UTF-8");
        let Ok(document) = toml_edit::Document::parse(text.as_str()) else { continue };
        let by_schema = valid(&schema, &to_json(document.as_item()));
        match config::parse("x", &text) {
            Ok(_) => {
                assert!(by_schema, "the schema refuses {}", path.display());
                accepted += 1;
            }
            Err(findings) if findings.iter().any(|f| f.code == config::Code::UnknownKey) => {
                assert!(!by_schema, "the schema accepts {}", path.display());
                refused += 1;
            }
            Err(_) => {}
        }
    }
    assert!(accepted >= 8 && refused >= 4, "{accepted} accepted, {refused} refused");
}

/// Where a pure crate has the same setting, its default is the file's.
#[test]
fn defaults_are_those_of_the_crates() {
    use config::defaults as d;
    let limits = edge_http::Limits::default();
    assert_eq!(limits.head, d::LIMIT_HEAD);
    assert_eq!(limits.header_lines, d::LIMIT_HEADER_LINES);
    assert_eq!(limits.body, d::LIMIT_BODY);
    assert_eq!(limits.connections, d::LIMIT_CONNECTIONS);
    assert_eq!(limits.connections_per_ip, d::LIMIT_CONNECTIONS_PER_IP);
    assert_eq!(limits.streams, d::LIMIT_STREAMS);
    let timeouts = edge_http::Timeouts::default();
    assert_eq!(timeouts.handshake, d::TIMEOUT_HANDSHAKE);
    assert_eq!(timeouts.head, d::TIMEOUT_HEAD);
    assert_eq!(timeouts.body, d::TIMEOUT_BODY);
    assert_eq!(timeouts.keep_alive, d::TIMEOUT_KEEP_ALIVE);
    assert_eq!(timeouts.connect, d::TIMEOUT_CONNECT);
    assert_eq!(timeouts.response, d::TIMEOUT_RESPONSE);
    assert_eq!(timeouts.idle, d::TIMEOUT_IDLE);
    assert_eq!(timeouts.drain, d::DRAIN);
    let route = database_route::settings::Settings::default();
    assert_eq!(route.max_lag, d::MAX_LAG);
    assert_eq!(route.pool_size, d::POOL_SIZE);
    assert_eq!(route.max_clients, d::MAX_CLIENTS);
    assert_eq!(route.pool_wait, d::POOL_WAIT);
    assert_eq!(route.read_wait, d::READ_WAIT);
    assert_eq!(balance::settings::Policy::default(), balance::settings::Policy::LeastRequests);
}

/// The file knows each ready-made alert by its name, and no other.
#[test]
fn ready_made_alerts_are_those_of_the_monitor() {
    let database =
        monitor_alert::ready_made::DatabaseFacts { name: "main".to_owned(), max_lag: base::Millis(2_000) };
    let facts = monitor_alert::Facts { databases: vec![database], ..Default::default() };
    let mut made: Vec<String> =
        monitor_alert::ready_made(&facts).alerts.into_iter().map(|alert| alert.name).collect();
    let mut known: Vec<&str> = config::defaults::READY_MADE_ALERTS.iter().map(|(name, _)| *name).collect();
    made.sort();
    made.dedup();
    known.sort();
    assert_eq!(made, known);
}
