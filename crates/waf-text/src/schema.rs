//! JSON Schema, for `@validateSchema`: whether a JSON text is as a schema says.
//!
//! Understood are the assertions and applicators of drafts 7 and 2020-12 (JSON
//! Schema Core §10, Validation §6) but for what needs another document or a
//! second pass: `$ref` reaches within the schema only; `unevaluated…` and
//! `$dynamicRef` are errors, as is any other keyword that is not known. `format`
//! and what describes is an annotation and asserts nothing, as draft 2020-12 has it.
//!
//! Work is bounded: expressions are linear, and a check takes at most
//! [`MAX_STEPS`] looks of a schema at a value; beyond, the text is not valid.

mod compile;
#[cfg(test)]
mod tests;

use regex::Regex;
use serde_json::{Map, Number, Value};
use std::collections::HashSet;
use std::fmt;

/// Looks of a schema at a value in one check.
pub const MAX_STEPS: u32 = 200_000;

/// A compiled schema.
#[derive(Clone, Debug)]
pub struct Schema {
    nodes: Vec<Node>,
}

/// Why a schema cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// Where in the schema, as a JSON pointer (RFC 6901).
    pub at: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the schema at `#{}`: {}", self.at, self.what)
    }
}

impl std::error::Error for SchemaError {}

/// Which keyword a text breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The text is no JSON (RFC 8259), or nests deeper than 128.
    NotJson,
    /// This keyword of the schema.
    Keyword(&'static str),
    /// [`MAX_STEPS`] are used up.
    TooMuch,
}

/// A place in [`Schema::nodes`].
type Id = usize;

/// One (sub)schema.
#[derive(Clone, Debug, Default)]
struct Node {
    /// `false`: nothing is valid.
    never: bool,
    reference: Option<Id>,
    types: Option<Types>,
    /// `enum` and `const`.
    one_of_values: Vec<(&'static str, Vec<Value>)>,
    bounds: Vec<(&'static str, Bound)>,
    pattern: Option<Regex>,
    unique: bool,
    required: Vec<String>,
    dependent_required: Vec<(String, Vec<String>)>,
    dependent_schemas: Vec<(String, Id)>,
    properties: Vec<(String, Id)>,
    pattern_properties: Vec<(Regex, Id)>,
    additional_properties: Option<Id>,
    property_names: Option<Id>,
    prefix_items: Vec<Id>,
    items: Option<Id>,
    contains: Option<Contains>,
    all_of: Vec<Id>,
    any_of: Vec<Id>,
    one_of: Vec<Id>,
    not: Option<Id>,
    condition: Option<Condition>,
}

#[derive(Clone, Debug)]
struct Contains {
    schema: Id,
    least: u64,
    most: Option<u64>,
}

#[derive(Clone, Debug)]
struct Condition {
    when: Id,
    then: Option<Id>,
    otherwise: Option<Id>,
}

/// A keyword that compares with a number.
#[derive(Clone, Debug)]
enum Bound {
    Minimum(f64),
    Maximum(f64),
    ExclusiveMinimum(f64),
    ExclusiveMaximum(f64),
    MultipleOf(f64),
    MinLength(u64),
    MaxLength(u64),
    MinItems(u64),
    MaxItems(u64),
    MinProperties(u64),
    MaxProperties(u64),
}

/// The primitive types, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Types(u8);

impl Types {
    const NAMES: [(&'static str, u8); 7] = [
        ("null", 1),
        ("boolean", 2),
        ("object", 4),
        ("array", 8),
        ("number", 16),
        ("integer", 32),
        ("string", 64),
    ];

    fn allow(self, value: &Value) -> bool {
        let bits = match value {
            Value::Null => 1,
            Value::Bool(_) => 2,
            Value::Object(_) => 4,
            Value::Array(_) => 8,
            // 1.0 is an integer (Validation §6.1.1).
            Value::Number(number) if is_integer(number) => 16 | 32,
            Value::Number(_) => 16,
            Value::String(_) => 64,
        };
        self.0 & bits != 0
    }
}

fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// Where and why it cannot be: no JSON, a keyword that is not known or not of
    /// its type, a reference to nowhere or in a circle, an expression that does not compile.
    pub fn parse(text: &[u8]) -> Result<Self, SchemaError> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| SchemaError { at: String::new(), what: format!("no JSON: {error}") })?;
        compile::compile(&value).map(|nodes| Self { nodes })
    }

    /// What of a JSON text is not as the schema says. The empty text breaks
    /// nothing, as in Coraza: there is no document.
    pub fn check(&self, text: &[u8]) -> Option<Violation> {
        if text.trim_ascii().is_empty() {
            return None;
        }
        let Ok(value) = serde_json::from_slice::<Value>(text) else { return Some(Violation::NotJson) };
        let mut check = Check { nodes: &self.nodes, steps: MAX_STEPS };
        check.node(0, &value).err()
    }
}

/// One check under way.
struct Check<'s> {
    nodes: &'s [Node],
    steps: u32,
}

type Checked = Result<(), Violation>;

/// A keyword's verdict.
fn hold(holds: bool, keyword: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(Violation::Keyword(keyword)) }
}

impl Check<'_> {
    fn node(&mut self, id: Id, value: &Value) -> Checked {
        self.steps = self.steps.checked_sub(1).ok_or(Violation::TooMuch)?;
        let nodes = self.nodes;
        let node = &nodes[id];
        hold(!node.never, "false")?;
        if let Some(reference) = node.reference {
            self.node(reference, value)?;
        }
        hold(node.types.is_none_or(|types| types.allow(value)), "type")?;
        for (keyword, values) in &node.one_of_values {
            hold(values.iter().any(|known| equal(known, value)), keyword)?;
        }
        for (keyword, bound) in &node.bounds {
            hold(bound.allows(value), keyword)?;
        }
        match value {
            Value::String(text) => hold(node.pattern.as_ref().is_none_or(|p| p.is_match(text)), "pattern")?,
            Value::Object(object) => self.object(node, object, value)?,
            Value::Array(array) => self.array(node, array)?,
            _ => {}
        }
        self.combined(node, value)
    }

    fn object(&mut self, node: &Node, object: &Map<String, Value>, whole: &Value) -> Checked {
        hold(node.required.iter().all(|name| object.contains_key(name)), "required")?;
        for (name, needed) in &node.dependent_required {
            let all = !object.contains_key(name) || needed.iter().all(|other| object.contains_key(other));
            hold(all, "dependentRequired")?;
        }
        for (name, schema) in &node.dependent_schemas {
            if object.contains_key(name) {
                self.node(*schema, whole)?;
            }
        }
        for (name, value) in object {
            let mut known = false;
            if let Ok(at) = node.properties.binary_search_by(|(known, _)| known.cmp(name)) {
                known = true;
                self.node(node.properties[at].1, value)?;
            }
            for (pattern, schema) in &node.pattern_properties {
                if pattern.is_match(name) {
                    known = true;
                    self.node(*schema, value)?;
                }
            }
            if let (Some(schema), false) = (node.additional_properties, known) {
                self.node(schema, value).map_err(|error| named(error, "additionalProperties"))?;
            }
            if let Some(schema) = node.property_names {
                self.node(schema, &Value::String(name.clone()))
                    .map_err(|error| named(error, "propertyNames"))?;
            }
        }
        Ok(())
    }

    fn array(&mut self, node: &Node, array: &[Value]) -> Checked {
        if node.unique {
            let mut seen = HashSet::with_capacity(array.len());
            hold(array.iter().all(|value| seen.insert(canonical(value))), "uniqueItems")?;
        }
        for (at, value) in array.iter().enumerate() {
            if let Some(schema) = node.prefix_items.get(at).copied().or(node.items) {
                self.node(schema, value)?;
            }
        }
        if let Some(contains) = &node.contains {
            let mut count = 0;
            for value in array {
                count += u64::from(self.holds(contains.schema, value)?);
            }
            let few = contains.most.is_none_or(|most| count <= most);
            hold(count >= contains.least && few, "contains")?;
        }
        Ok(())
    }

    /// The schemas that look at the same value again.
    fn combined(&mut self, node: &Node, value: &Value) -> Checked {
        for &schema in &node.all_of {
            self.node(schema, value)?;
        }
        if !node.any_of.is_empty() {
            let mut any = false;
            for &schema in &node.any_of {
                any = any || self.holds(schema, value)?;
            }
            hold(any, "anyOf")?;
        }
        if !node.one_of.is_empty() {
            let mut count = 0;
            for &schema in &node.one_of {
                count += u32::from(self.holds(schema, value)?);
            }
            hold(count == 1, "oneOf")?;
        }
        if let Some(schema) = node.not {
            hold(!self.holds(schema, value)?, "not")?;
        }
        if let Some(condition) = &node.condition {
            let branch =
                if self.holds(condition.when, value)? { condition.then } else { condition.otherwise };
            if let Some(schema) = branch {
                self.node(schema, value)?;
            }
        }
        Ok(())
    }

    /// Whether a value is as a schema says; an error only where steps are used up.
    fn holds(&mut self, id: Id, value: &Value) -> Result<bool, Violation> {
        match self.node(id, value) {
            Ok(()) => Ok(true),
            Err(Violation::TooMuch) => Err(Violation::TooMuch),
            Err(_) => Ok(false),
        }
    }
}

/// `additionalProperties: false` says more than `false`.
fn named(error: Violation, keyword: &'static str) -> Violation {
    match error {
        Violation::Keyword("false") => Violation::Keyword(keyword),
        error => error,
    }
}

impl Bound {
    /// Whether it holds; of values of another type it says nothing.
    fn allows(&self, value: &Value) -> bool {
        let number = |such: &dyn Fn(f64) -> bool| value.as_f64().is_none_or(such);
        let length = |such: &dyn Fn(u64) -> bool| match value {
            // Characters, not bytes (Validation §6.3.1).
            Value::String(text) => such(text.chars().count() as u64),
            _ => true,
        };
        let items =
            |such: &dyn Fn(u64) -> bool| value.as_array().is_none_or(|array| such(array.len() as u64));
        let properties =
            |such: &dyn Fn(u64) -> bool| value.as_object().is_none_or(|object| such(object.len() as u64));
        match *self {
            Self::Minimum(bound) => number(&|number| number >= bound),
            Self::Maximum(bound) => number(&|number| number <= bound),
            Self::ExclusiveMinimum(bound) => number(&|number| number > bound),
            Self::ExclusiveMaximum(bound) => number(&|number| number < bound),
            Self::MultipleOf(step) => number(&|number| {
                let times = number / step;
                (times - times.round()).abs() <= f64::EPSILON * times.abs().max(1.0)
            }),
            Self::MinLength(bound) => length(&|length| length >= bound),
            Self::MaxLength(bound) => length(&|length| length <= bound),
            Self::MinItems(bound) => items(&|count| count >= bound),
            Self::MaxItems(bound) => items(&|count| count <= bound),
            Self::MinProperties(bound) => properties(&|count| count >= bound),
            Self::MaxProperties(bound) => properties(&|count| count <= bound),
        }
    }
}

/// Equality as JSON Schema has it (Core §4.2.2): 1 and 1.0 are the same.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64() == b.as_f64() && a.as_f64().is_some()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// A text that equal values share: members by name, whole numbers without a point.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float)
                if !number.is_i64() && !number.is_u64() && float.fract() == 0.0 && float.abs() < 1e15 =>
            {
                format!("{}", float as i64)
            }
            _ => number.to_string(),
        },
        Value::Array(array) => {
            let items: Vec<String> = array.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(object) => {
            let mut members: Vec<String> = object
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::String(name.clone()), canonical(value)))
                .collect();
            members.sort_unstable();
            format!("{{{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}
