//! The functions: Go's own, Prometheus' (its "Template reference") and
//! Alertmanager's (its "Notification template reference").

use super::go_time::Moment;
use super::run::Run;
use super::value::{ListKind, MapKind, Value};
use super::{Environment, format};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use regex::{Regex, RegexBuilder};
use std::net::IpAddr;
use std::sync::Arc;

/// Whose functions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus', for labels and annotations of rules.
    Rule,
    /// Alertmanager's, for notifications.
    Message,
}

const GO: &[&str] = &[
    "and", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

const RULE: &[&str] = &[
    "args",
    "externalURL",
    "first",
    "graphLink",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "label",
    "match",
    "now",
    "parseDuration",
    "pathPrefix",
    "query",
    "reReplaceAll",
    "safeHtml",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "tmpl",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "urlQueryEscape",
    "value",
];

const MESSAGE: &[&str] = &[
    "date",
    "humanizeDuration",
    "join",
    "match",
    "now",
    "reReplaceAll",
    "safeHtml",
    "safeUrl",
    "since",
    "stringSlice",
    "title",
    "toJson",
    "toLower",
    "toUpper",
    "trimSpace",
    "tz",
    "urlUnescape",
];

/// A regular expression's compiled form, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// What compiling one costs of the steps a template may take.
const REGEX_STEPS: usize = 1_000;

/// RFC 3986's unreserved characters stay, as in Go's `url.QueryEscape`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Go's `url.QueryEscape`: a space is `+`.
pub(crate) fn query_escape(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string().replace("%20", "+")
}

impl Dialect {
    pub(super) fn knows(self, name: &str) -> bool {
        GO.contains(&name) || self.own().contains(&name)
    }

    fn own(self) -> &'static [&'static str] {
        match self {
            Self::Rule => RULE,
            Self::Message => MESSAGE,
        }
    }

    pub(super) fn names(self) -> Vec<&'static str> {
        let mut all: Vec<&str> = GO.iter().chain(self.own()).copied().collect();
        all.sort_unstable();
        all
    }
}

/// Calls a function. `and` and `or` are not here: they look at no more
/// arguments than they need.
pub(super) fn call(run: &mut Run<'_>, name: &str, args: &[Value]) -> Result<Value, String> {
    match go(name, args)? {
        Some(value) => Ok(value),
        None => prometheus(run, name, args),
    }
}

fn count<'v, const N: usize>(name: &str, args: &'v [Value]) -> Result<&'v [Value; N], String> {
    <&[Value; N]>::try_from(args).map_err(|_| format!("`{name}` takes {N} arguments, not {}", args.len()))
}

fn go(name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    Ok(Some(match name {
        "not" => Value::Bool(!count::<1>(name, args)?[0].is_true()),
        "len" => Value::Int(length(&count::<1>(name, args)?[0])?),
        "index" => index(args)?,
        "slice" => slice(args)?,
        "print" => Value::text(print(args)),
        "println" => {
            let words: Vec<String> = args.iter().map(Value::show).collect();
            Value::text(words.join(" ") + "\n")
        }
        "printf" => match args.split_first() {
            Some((Value::Text(format), rest)) => Value::text(format::printf(format, rest)?),
            _ => return Err("`printf` begins with a format in quotes".to_owned()),
        },
        "html" => Value::text(html(&print(args))),
        "js" => Value::text(js(&print(args))),
        "urlquery" => Value::text(query_escape(&print(args))),
        "eq" => match args.split_first() {
            Some((first, rest)) if !rest.is_empty() => {
                let mut any = false;
                for other in rest {
                    any |= equal(first, other)?;
                }
                Value::Bool(any)
            }
            _ => return Err("`eq` takes two arguments or more".to_owned()),
        },
        "ne" => {
            let [a, b] = count::<2>(name, args)?;
            Value::Bool(!equal(a, b)?)
        }
        "lt" | "le" | "gt" | "ge" => {
            let [a, b] = count::<2>(name, args)?;
            let order = order(a, b)?;
            Value::Bool(match (name, order) {
                (_, None) => false, // NaN
                ("lt", Some(order)) => order.is_lt(),
                ("le", Some(order)) => order.is_le(),
                ("gt", Some(order)) => order.is_gt(),
                (_, Some(order)) => order.is_ge(),
            })
        }
        _ => return Ok(None),
    }))
}

/// Go's `fmt.Sprint`: a space between two operands of which neither is a text.
fn print(args: &[Value]) -> String {
    let mut out = String::new();
    let mut text_before = true;
    for (i, arg) in args.iter().enumerate() {
        let text = matches!(arg, Value::Text(_));
        if i > 0 && !text && !text_before {
            out.push(' ');
        }
        out.push_str(&arg.show());
        text_before = text;
    }
    out
}

fn length(value: &Value) -> Result<i64, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items, _) => items.len(),
        Value::Map(map, kind) if *kind != MapKind::Fields => map.len(),
        other => return Err(format!("`len` of a {}", other.kind())),
    };
    Ok(length as i64)
}

fn index(args: &[Value]) -> Result<Value, String> {
    let Some((first, keys)) = args.split_first() else {
        return Err("`index` takes a list or a map".to_owned());
    };
    let mut at = first.clone();
    for key in keys {
        at = match (&at, key) {
            (Value::List(items, _), Value::Int(n)) => {
                let item = usize::try_from(*n).ok().and_then(|n| items.get(n));
                item.cloned().ok_or_else(|| format!("index `{n}` of a list of {}", items.len()))?
            }
            (Value::Text(text), Value::Int(n)) => {
                let byte = usize::try_from(*n).ok().and_then(|n| text.as_bytes().get(n));
                Value::Int(i64::from(
                    *byte.ok_or_else(|| format!("index `{n}` of a text of {} bytes", text.len()))?,
                ))
            }
            (Value::Map(map, kind), Value::Text(name)) if *kind != MapKind::Fields => {
                match (map.get(&**name), kind) {
                    (Some(value), _) => value.clone(),
                    (None, MapKind::Any) => Value::Nil,
                    (None, _) => Value::text(""),
                }
            }
            (value, key) => return Err(format!("`index` of a {} with a {}", value.kind(), key.kind())),
        };
    }
    Ok(at)
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let Some((value, bounds)) = args.split_first() else {
        return Err("`slice` takes a list or a text".to_owned());
    };
    let length = usize::try_from(length(value)?).unwrap_or(0);
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Value::Int(n)) => usize::try_from(*n)
            .ok()
            .filter(|n| *n <= length)
            .ok_or_else(|| format!("`slice` at `{n}` of {length}")),
        Some(other) => Err(format!("`slice` at a {}", other.kind())),
    };
    let (start, end) = (bound(0, 0)?, bound(1, length)?);
    let wrong = || format!("`slice` from {start} to {end} of {length}");
    match value {
        Value::Text(text) => text.get(start..end).map(Value::text).ok_or_else(wrong),
        Value::List(items, kind) => {
            let part = items.get(start..end).ok_or_else(wrong)?;
            Ok(Value::List(Arc::new(part.to_vec()), *kind))
        }
        other => Err(format!("`slice` of a {}", other.kind())),
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::Nil, Value::Nil) => true,
        (Value::Nil, _) | (_, Value::Nil) => false,
        (Value::Time(a), Value::Time(b)) => a.ms() == b.ms(),
        _ => match numbers(a, b) {
            Some((a, b)) => a == b,
            None => return Err(format!("a {} and a {} cannot be compared", a.kind(), b.kind())),
        },
    })
}

fn order(a: &Value, b: &Value) -> Result<Option<std::cmp::Ordering>, String> {
    Ok(match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => match numbers(a, b) {
            Some((a, b)) => a.partial_cmp(&b),
            None => return Err(format!("a {} and a {} cannot be compared", a.kind(), b.kind())),
        },
    })
}

/// Two numbers of any kind: `gt $value 1` means what it says, where Go asks for `1.0`.
fn numbers(a: &Value, b: &Value) -> Option<(f64, f64)> {
    let number = |v: &Value| match v {
        Value::Int(_) | Value::Float(_) | Value::Span(_) => match v {
            Value::Span(ms) => Some(*ms as f64 * 1e6), // Go's nanoseconds.
            v => v.number().ok(),
        },
        _ => None,
    };
    Some((number(a)?, number(b)?))
}

pub(super) fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn js(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn prometheus(run: &mut Run<'_>, name: &str, args: &[Value]) -> Result<Value, String> {
    let one = || count::<1>(name, args).map(|args| &args[0]);
    Ok(match name {
        "toUpper" => Value::text(one()?.show().to_uppercase()),
        "toLower" => Value::text(one()?.show().to_lowercase()),
        "title" => Value::text(format::title(&one()?.show())),
        "trimSpace" => Value::text(one()?.as_text()?.trim()),
        "humanize" => Value::text(format::humanize(one()?.number()?)),
        "humanize1024" => Value::text(format::humanize_1024(one()?.number()?)),
        "humanizeDuration" => Value::text(format::humanize_duration(one()?.number()?)),
        "humanizePercentage" => Value::text(format::humanize_percentage(one()?.number()?)),
        "humanizeTimestamp" => Value::text(format::humanize_timestamp(one()?.number()?)?),
        "toTime" => {
            let seconds = one()?.number()?;
            match seconds.is_finite() && seconds.abs() < 2.5e11 {
                true => Value::Time(Moment::of_ms((seconds * 1e3).round() as i64)),
                false => return Err(format!("`{}` is no time", format::plain(seconds))),
            }
        }
        "toDuration" => Value::Span((one()?.number()? * 1e3) as i64),
        "parseDuration" => {
            let text = one()?.as_text()?;
            Value::Float(crate::duration::parse(text)? as f64 / 1e3)
        }
        "now" => Value::Float(run.environment.now_ms as f64 / 1e3),
        "since" => match one()? {
            Value::Time(time) => Value::Span(run.environment.now_ms.saturating_sub(time.ms())),
            other => return Err(format!("`since` of a {}", other.kind())),
        },
        "date" => match count::<2>(name, args)? {
            [layout, Value::Time(time)] => Value::text(time.layout(layout.as_text()?)),
            _ => return Err("`date` takes a layout and a time".to_owned()),
        },
        "tz" => match count::<2>(name, args)? {
            [zone, Value::Time(time)] => Value::Time(time.within(zone.as_text()?)?),
            _ => return Err("`tz` takes a zone's name and a time".to_owned()),
        },
        "match" => {
            let [pattern, text] = count::<2>(name, args)?;
            Value::Bool(regex(run, pattern.as_text()?)?.is_match(text.as_text()?))
        }
        "reReplaceAll" => {
            let [pattern, with, text] = count::<3>(name, args)?;
            replace_all(run, pattern.as_text()?, with.as_text()?, text.as_text()?)?
        }
        // Rules and messages are texts; nothing here is HTML by its type.
        "safeHtml" | "safeUrl" => Value::text(one()?.show()),
        "urlUnescape" => {
            let text = one()?.as_text()?.replace('+', " ");
            Value::text(percent_decode_str(&text).decode_utf8_lossy())
        }
        "urlQueryEscape" => Value::text(query_escape(one()?.as_text()?)),
        "stripPort" => Value::text(split_port(one()?.as_text()?).map_or(one()?.as_text()?, |(host, _)| host)),
        "stripDomain" => Value::text(strip_domain(one()?.as_text()?)),
        "graphLink" => Value::text(format!("/graph?g0.expr={}&g0.tab=0", query_escape(one()?.as_text()?))),
        "tableLink" => Value::text(format!("/graph?g0.expr={}&g0.tab=1", query_escape(one()?.as_text()?))),
        "externalURL" => Value::text(run.environment.external_url),
        "pathPrefix" => Value::text(path_of(run.environment.external_url)),
        "args" => {
            let map = args.iter().enumerate().map(|(i, value)| (format!("arg{i}"), value.clone())).collect();
            Value::Map(Arc::new(map), MapKind::Any)
        }
        "tmpl" => {
            let [name, data] = count::<2>(name, args)?;
            Value::text(run.render_named(name.as_text()?, data.clone())?)
        }
        "query" => query(run, one()?.as_text()?)?,
        "first" => match one()? {
            Value::List(items, _) => {
                items.first().cloned().ok_or("first() called on vector with no elements".to_owned())?
            }
            other => return Err(format!("`first` of a {}", other.kind())),
        },
        "value" => one()?.field("Value", &[])?,
        "label" => {
            let [label, sample] = count::<2>(name, args)?;
            sample.field("Labels", &[])?.field(label.as_text()?, &[])?
        }
        "strvalue" => one()?.field("Labels", &[])?.field("__value__", &[])?,
        "sortByLabel" => match count::<2>(name, args)? {
            [label, Value::List(items, kind)] => {
                let label = label.as_text()?;
                let key = |item: &Value| {
                    item.field("Labels", &[])
                        .and_then(|l| l.field(label, &[]))
                        .map_or_else(|_| String::new(), |v| v.show())
                };
                let mut sorted = (**items).clone();
                sorted.sort_by_cached_key(key);
                Value::List(Arc::new(sorted), *kind)
            }
            _ => return Err("`sortByLabel` takes a label's name and a query's result".to_owned()),
        },
        "join" => match count::<2>(name, args)? {
            [separator, Value::List(items, _)] => {
                let words: Vec<String> = items.iter().map(Value::show).collect();
                Value::text(words.join(separator.as_text()?))
            }
            _ => return Err("`join` takes a separator and a list".to_owned()),
        },
        "stringSlice" => Value::list(args.to_vec()),
        "toJson" => Value::text(json(one()?).to_string()),
        _ => return Err(format!("function `{name}` is not defined")),
    })
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) | Value::Span(n) => (*n).into(),
        Value::Float(x) => (*x).into(),
        Value::Text(text) => (&**text).into(),
        Value::List(items, _) => items.iter().map(json).collect(),
        Value::Map(map, _) => {
            map.iter().map(|(k, v)| (k.clone(), json(v))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Time(time) => time.layout("2006-01-02T15:04:05.999999999Z07:00").into(),
        Value::Histogram(_) => value.show().into(),
    }
}

fn regex(run: &mut Run<'_>, pattern: &str) -> Result<Regex, String> {
    run.spend(REGEX_STEPS)?;
    RegexBuilder::new(&monitor_model::regex_of_go(pattern))
        .size_limit(REGEX_BYTES)
        .build()
        .map_err(|error| format!("`{}` is no regular expression: {}", pattern, last_line(&error.to_string())))
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Bounded while it grows: a short text and a long replacement make a very long one.
fn replace_all(run: &mut Run<'_>, pattern: &str, with: &str, text: &str) -> Result<Value, String> {
    let regex = regex(run, pattern)?;
    let mut out = String::new();
    let mut at = 0;
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[at..whole.start()]);
        found.expand(with, &mut out);
        at = whole.end();
        if out.len() > run.max_bytes() {
            return Err(format!("`reReplaceAll` makes more than {} bytes", run.max_bytes()));
        }
    }
    out.push_str(&text[at..]);
    Ok(Value::text(out))
}

/// Go's `net.SplitHostPort`.
fn split_port(text: &str) -> Option<(&str, &str)> {
    if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']')?;
        return Some((host, rest.strip_prefix(':')?)).filter(|(_, port)| !port.contains(':'));
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains(':')).then_some((host, port))
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_port(text).map_or((text, ""), |(host, port)| (host, port));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let name = host.split('.').next().unwrap_or_default();
    if port.is_empty() { name.to_owned() } else { format!("{name}:{port}") }
}

fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("", |at| rest[at..].trim_end_matches('/'))
}

fn query(run: &mut Run<'_>, expr: &str) -> Result<Value, String> {
    let Environment { query, .. } = run.environment;
    let Some(query) = query else { return Err("`query` cannot be asked here".to_owned()) };
    run.one_more_query()?;
    let found = query(expr)?;
    run.spend(found.len())?;
    let samples = found.into_iter().map(|sample| {
        Value::fields([
            ("Labels", Value::texts(sample.labels.iter(), MapKind::Texts)),
            ("Value", super::value_of(&sample.value)),
        ])
    });
    Ok(Value::List(Arc::new(samples.collect()), ListKind::Plain))
}
