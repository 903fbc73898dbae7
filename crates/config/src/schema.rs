//! The JSON schema of the file, for editors: draft 7, which Taplo (Even Better
//! TOML) and the YAML/JSON language servers read.

use crate::declare::{Key, Kind, Presence, TableDoc};
use crate::sections::{Form, SECTIONS};
use serde_json::{Map, Value, json};

/// The schema.
pub fn schema() -> Value {
    let properties: Map<String, Value> = SECTIONS
        .iter()
        .map(|section| {
            let one = table(section.doc);
            let value = match section.form {
                Form::Single => one,
                Form::Named => json!({
                    "type": "object",
                    "description": text(section.doc.about),
                    "propertyNames": { "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$" },
                    "additionalProperties": one,
                }),
                Form::Ordered => {
                    json!({ "type": "array", "description": text(section.doc.about), "items": one })
                }
            };
            (section.key.to_owned(), value)
        })
        .collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Bastide: the one file",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn table(doc: &TableDoc) -> Value {
    let properties: Map<String, Value> =
        doc.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = doc
        .keys
        .iter()
        .filter(|key| matches!(key.presence, Presence::Required))
        .map(|key| key.name)
        .collect();
    let mut value = json!({
        "type": "object",
        "description": text(doc.about),
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        value["required"] = json!(required);
    }
    value
}

fn property(key: &Key) -> Value {
    let mut value = kind(&(key.kind)());
    let mut about = text(key.meaning);
    if let Some(range) = key.range {
        let (low, high) = range();
        if let (Ok(low), Ok(high)) = (low.parse::<i64>(), high.parse::<i64>()) {
            value["minimum"] = json!(low);
            value["maximum"] = json!(high);
        } else {
            about.push_str(&format!(" From {low} to {high}."));
        }
    }
    if let Presence::Default(default) = key.presence {
        about.push_str(&format!(" Default: {}.", default()));
        if let Some(default) = toml_value(&default()) {
            value["default"] = default;
        }
    }
    about.push_str(&format!(" Example: {}", key.example));
    value["description"] = json!(about);
    value
}

fn kind(kind_of: &Kind) -> Value {
    match kind_of {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer { min, max } => {
            let mut value = json!({ "type": "integer" });
            if *min != i64::MIN {
                value["minimum"] = json!(min);
            }
            if *max != i64::MAX {
                value["maximum"] = json!(max);
            }
            value
        }
        Kind::Number => json!({ "type": "number" }),
        Kind::Codes(codes) => json!({ "type": "integer", "enum": codes }),
        Kind::Text { .. } => json!({ "type": "string" }),
        Kind::Choice(options) => {
            let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
            json!({ "type": "string", "enum": names })
        }
        Kind::List(item) => json!({ "type": "array", "items": kind(item) }),
        Kind::OneOrMore(item) => {
            json!({ "anyOf": [kind(item), { "type": "array", "items": kind(item) }] })
        }
        Kind::Map { values, .. } => json!({ "type": "object", "additionalProperties": kind(values) }),
        Kind::Table(doc) => table(doc),
        Kind::OneOf(kinds) => json!({ "anyOf": kinds.iter().map(kind).collect::<Vec<_>>() }),
    }
}

/// A value of TOML as JSON.
fn toml_value(written: &str) -> Option<Value> {
    fn convert(value: &toml_edit::Value) -> Option<Value> {
        Some(match value {
            toml_edit::Value::String(text) => json!(text.value()),
            toml_edit::Value::Integer(number) => json!(number.value()),
            toml_edit::Value::Float(number) => json!(number.value()),
            toml_edit::Value::Boolean(on) => json!(on.value()),
            toml_edit::Value::Datetime(_) => return None,
            toml_edit::Value::Array(items) => Value::Array(items.iter().map(convert).collect::<Option<_>>()?),
            toml_edit::Value::InlineTable(table) => Value::Object(
                table
                    .iter()
                    .map(|(key, value)| Some((key.to_owned(), convert(value)?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }
    convert(&written.parse().ok()?)
}

/// A doc comment as one paragraph.
pub(crate) fn text(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}
