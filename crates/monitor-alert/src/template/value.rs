//! The values of templates, as Go's reflection would show them.

use super::format;
use super::go_time::Moment;
use monitor_model::Histogram;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing: prints `<no value>`.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Arc<str>),
    /// A list.
    List(Arc<Vec<Self>>, ListKind),
    /// Names with values.
    Map(Arc<BTreeMap<String, Self>>, MapKind),
    /// A point in time.
    Time(Moment),
    /// A span of time in milliseconds (Go's `time.Duration`).
    Span(i64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// What else a list can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Nothing.
    Plain,
    /// Alertmanager's `Alerts`: `.Firing`, `.Resolved`.
    Alerts,
    /// Alertmanager's `Pairs`: `.Names`, `.Values`.
    Pairs,
}

/// What a name that is not there gives, and what else a map can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// `map[string]string`: the empty text.
    Texts,
    /// `map[string]interface{}`: no value.
    Any,
    /// A struct: an error.
    Fields,
    /// Alertmanager's `KV`: the empty text; `.SortedPairs`, `.Remove`, `.Names`, `.Values`.
    Kv,
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(Arc::from(text.as_ref()))
    }

    /// A list without methods.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(items), ListKind::Plain)
    }

    /// A struct.
    pub fn fields<const N: usize>(fields: [(&str, Self); N]) -> Self {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self::Map(Arc::new(fields), MapKind::Fields)
    }

    /// Names and texts.
    pub fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, kind: MapKind) -> Self {
        let map = pairs.into_iter().map(|(name, value)| (name.to_owned(), Self::text(value))).collect();
        Self::Map(Arc::new(map), kind)
    }

    /// Whether a condition holds (text/template: "the empty values are false, 0,
    /// any nil pointer or interface value, and any array, slice, map, or string
    /// of length zero").
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Span(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items, _) => !items.is_empty(),
            Self::Map(_, MapKind::Fields) | Self::Time(_) | Self::Histogram(_) => true,
            Self::Map(map, _) => !map.is_empty(),
        }
    }

    /// As `{{ value }}` prints it: Go's `%v`.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Nil => "<no value>".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => format::plain(*value),
            Self::Text(text) => text.to_string(),
            Self::List(items, _) => {
                format!("[{}]", items.iter().map(Self::show).collect::<Vec<_>>().join(" "))
            }
            Self::Map(map, MapKind::Fields) => {
                format!("{{{}}}", map.values().map(Self::show).collect::<Vec<_>>().join(" "))
            }
            Self::Map(map, _) => {
                let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", v.show())).collect();
                format!("map[{}]", pairs.join(" "))
            }
            Self::Time(time) => time.to_string(),
            Self::Span(ms) => format::go_duration(*ms),
            Self::Histogram(histogram) => histogram.to_string(),
        }
    }

    /// What Go would call its type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(..) => "list",
            Self::Map(_, MapKind::Fields) => "struct",
            Self::Map(..) => "map",
            Self::Time(_) => "time.Time",
            Self::Span(_) => "time.Duration",
            Self::Histogram(_) => "histogram",
        }
    }

    /// About how many bytes it prints.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(items, _) => items.len() * 8,
            Self::Map(map, _) => map.len() * 8,
            _ => 8,
        }
    }

    /// A field, or a method called with `args`.
    pub(super) fn field(&self, name: &str, args: &[Self]) -> Result<Self, String> {
        let no_args = |value: Self| match args {
            [] => Ok(value),
            _ => Err(format!("`{name}` is no method but takes {} arguments here", args.len())),
        };
        match self {
            Self::Map(map, MapKind::Kv) => match kv_method(map, name, args) {
                Some(result) => result,
                None => no_args(map.get(name).cloned().unwrap_or_else(|| Self::text(""))),
            },
            Self::Map(map, kind) => match (map.get(name), kind) {
                (Some(value), _) => no_args(value.clone()),
                (None, MapKind::Texts) => no_args(Self::text("")),
                (None, MapKind::Any) => no_args(Self::Nil),
                (None, _) => Err(format!(
                    "there is no field `{name}` here; hint: one of {}",
                    map.keys().map(|k| format!("`.{k}`")).collect::<Vec<_>>().join(", ")
                )),
            },
            Self::List(items, ListKind::Alerts) if matches!(name, "Firing" | "Resolved") => {
                let wanted = name.to_ascii_lowercase();
                let fits = |alert: &Self| match alert.field("Status", &[]) {
                    Ok(Self::Text(status)) => *status == *wanted,
                    _ => false,
                };
                let kept = items.iter().filter(|alert| fits(alert)).cloned().collect();
                no_args(Self::List(Arc::new(kept), ListKind::Alerts))
            }
            Self::List(items, ListKind::Pairs) if matches!(name, "Names" | "Values") => {
                let part = if name == "Names" { "Name" } else { "Value" };
                let parts: Result<Vec<Self>, String> =
                    items.iter().map(|pair| pair.field(part, &[])).collect();
                no_args(Self::list(parts?))
            }
            Self::Time(time) => time.method(name, args),
            Self::Span(ms) => no_args(match name {
                "Seconds" => Self::Float(*ms as f64 / 1e3),
                "Minutes" => Self::Float(*ms as f64 / 6e4),
                "Hours" => Self::Float(*ms as f64 / 3.6e6),
                "Milliseconds" => Self::Int(*ms),
                "String" => Self::text(format::go_duration(*ms)),
                _ => return Err(format!("a duration has no `{name}`")),
            }),
            other => Err(format!("`.{name}` of a {}, which has no fields", other.kind())),
        }
    }

    /// A number of it, as Prometheus' functions take one: numbers, texts that
    /// are one, durations in seconds.
    pub(super) fn number(&self) -> Result<f64, String> {
        match self {
            Self::Float(value) => Ok(*value),
            Self::Int(value) => Ok(*value as f64),
            Self::Span(ms) => Ok(*ms as f64 / 1e3),
            Self::Text(text) => format::parse_float(text).ok_or_else(|| format!("`{text}` is not a number")),
            other => Err(format!("a {} is not a number", other.kind())),
        }
    }

    /// The text that it is.
    pub(super) fn as_text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("a {} where a text is wanted", other.kind())),
        }
    }
}

/// The methods of Alertmanager's `KV` (its documentation, "Notification template
/// reference"). None where `name` is no method.
fn kv_method(map: &BTreeMap<String, Value>, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let pair = |(name, value): (&String, &Value)| {
        Value::fields([("Name", Value::text(name)), ("Value", value.clone())])
    };
    let result = match (name, args) {
        ("SortedPairs", []) => {
            // `alertname` goes first.
            let first = map.iter().filter(|(name, _)| *name == "alertname");
            let rest = map.iter().filter(|(name, _)| *name != "alertname");
            Value::List(Arc::new(first.chain(rest).map(pair).collect()), ListKind::Pairs)
        }
        ("Names", []) => Value::list(map.keys().map(Value::text).collect()),
        ("Values", []) => Value::list(map.values().cloned().collect()),
        ("Remove", [Value::List(names, _)]) => {
            let gone: Vec<String> = names.iter().map(Value::show).collect();
            let kept = map.iter().filter(|(name, _)| !gone.contains(name));
            Value::Map(Arc::new(kept.map(|(n, v)| (n.clone(), v.clone())).collect()), MapKind::Kv)
        }
        ("Remove", _) => {
            return Some(Err(
                "`.Remove` takes a list of names; hint: `.Remove (stringSlice \"a\")`".to_owned()
            ));
        }
        _ => return None,
    };
    Some(Ok(result))
}
