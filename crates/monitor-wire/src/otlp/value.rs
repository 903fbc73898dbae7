//! Attribute values as the texts of labels.

use std::fmt::Write as _;

/// The value of an attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value {
    #[default]
    Empty,
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    /// As a label has it: texts as they are, lists and maps as JSON.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => base64_text(bytes),
            other => {
                let mut text = String::new();
                other.json(&mut text);
                text
            }
        }
    }

    fn json(&self, out: &mut String) {
        match self {
            Self::Empty => out.push_str("null"),
            Self::Text(text) => quoted(text, out),
            Self::Bytes(bytes) => quoted(&base64_text(bytes), out),
            Self::Bool(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Int(value) => {
                let _ = write!(out, "{value}");
            }
            Self::Double(value) => {
                let _ = write!(out, "{value}");
            }
            Self::List(values) => {
                out.push('[');
                for (i, value) in values.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    value.json(out);
                }
                out.push(']');
            }
            Self::Map(pairs) => {
                out.push('{');
                for (i, (name, value)) in pairs.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    quoted(name, out);
                    out.push(':');
                    value.json(out);
                }
                out.push('}');
            }
        }
    }
}

fn quoted(text: &str, out: &mut String) {
    // Writing a text as JSON cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// RFC 4648 §4.
fn base64_text(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = 0u32;
        for i in 0..3 {
            bits = bits << 8 | u32::from(group.get(i).copied().unwrap_or(0));
        }
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let cases = [
            (Value::Empty, ""),
            (Value::Text("a\"b".into()), "a\"b"),
            (Value::Bool(true), "true"),
            (Value::Int(-7), "-7"),
            (Value::Double(0.5), "0.5"),
            (Value::Bytes(b"any carnal pleas".to_vec()), "YW55IGNhcm5hbCBwbGVhcw=="),
            (
                Value::List(vec![Value::Text("a\"b".into()), Value::Map(vec![("k".into(), Value::Empty)])]),
                r#"["a\"b",{"k":null}]"#,
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(value.to_text(), expected);
        }
    }
}
