//! A schema's JSON into nodes, references resolved.

use super::{Bound, Condition, Contains, Id, Node, SchemaError, Types};
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Keywords that describe and assert nothing (Validation §7, §8, §9; Core §8).
static ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
    "definitions",
    "$defs",
];

/// All nodes; the root is the first.
pub(super) fn compile(root: &Value) -> Result<Vec<Node>, SchemaError> {
    let mut compiler = Compiler { root, nodes: Vec::new(), known: HashMap::new() };
    compiler.schema(String::new(), root)?;
    compiler.no_circles()?;
    Ok(compiler.nodes)
}

struct Compiler<'v> {
    root: &'v Value,
    nodes: Vec<Node>,
    /// Nodes by where they stand: a reference may point at one twice, or at itself.
    known: HashMap<String, Id>,
}

type Compiled<T> = Result<T, SchemaError>;

fn wrong<T>(at: &str, what: impl Into<String>) -> Compiled<T> {
    Err(SchemaError { at: at.to_owned(), what: what.into() })
}

fn below(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl<'v> Compiler<'v> {
    fn schema(&mut self, at: String, value: &'v Value) -> Compiled<Id> {
        if let Some(&id) = self.known.get(&at) {
            return Ok(id);
        }
        let id = self.nodes.len();
        self.known.insert(at.clone(), id);
        self.nodes.push(Node::default());
        let mut node = Node::default();
        match value {
            Value::Bool(all) => node.never = !all,
            Value::Object(keywords) => {
                for (name, value) in keywords {
                    self.keyword(&mut node, &at, name, value, keywords)?;
                }
            }
            _ => return wrong(&at, "a schema is an object, `true` or `false`"),
        }
        node.properties.sort_by(|a, b| a.0.cmp(&b.0));
        self.nodes[id] = node;
        Ok(id)
    }

    fn keyword(
        &mut self,
        node: &mut Node,
        parent: &str,
        name: &str,
        value: &'v Value,
        siblings: &'v Map<String, Value>,
    ) -> Compiled<()> {
        let at = below(parent, name);
        match name {
            "$ref" => node.reference = Some(self.reference(&at, value)?),
            "type" => node.types = Some(types(&at, value)?),
            "enum" => node.one_of_values.push(("enum", array(&at, value)?.clone())),
            "const" => node.one_of_values.push(("const", vec![value.clone()])),
            "pattern" => node.pattern = Some(expression(&at, text(&at, value)?)?),
            "uniqueItems" => match value {
                Value::Bool(unique) => node.unique = *unique,
                _ => return wrong(&at, "is `true` or `false`"),
            },
            "required" => node.required = texts(&at, value)?,
            "dependentRequired" => {
                for (property, needed) in object(&at, value)? {
                    node.dependent_required.push((property.clone(), texts(&below(&at, property), needed)?));
                }
            }
            "dependentSchemas" => node.dependent_schemas = self.named(&at, value)?,
            "dependencies" => self.dependencies(node, &at, value)?,
            "properties" => node.properties = self.named(&at, value)?,
            "patternProperties" => {
                for (pattern, schema) in self.named(&at, value)? {
                    node.pattern_properties.push((expression(&at, &pattern)?, schema));
                }
            }
            "additionalProperties" => node.additional_properties = Some(self.schema(at, value)?),
            "propertyNames" => node.property_names = Some(self.schema(at, value)?),
            "prefixItems" => node.prefix_items = self.list(&at, value)?,
            // Draft 7: a list is what `prefixItems` is now, and `additionalItems` the rest.
            "items" if value.is_array() => node.prefix_items = self.list(&at, value)?,
            "items" => node.items = Some(self.schema(at, value)?),
            "additionalItems" => {
                if siblings.get("items").is_some_and(Value::is_array) {
                    node.items = Some(self.schema(at, value)?);
                }
            }
            "contains" => node.contains = Some(self.contains(parent, &at, value, siblings)?),
            "minContains" | "maxContains" if siblings.contains_key("contains") => {}
            "minContains" | "maxContains" => return wrong(&at, "says nothing without `contains`"),
            "allOf" => node.all_of = self.list(&at, value)?,
            "anyOf" => node.any_of = self.list(&at, value)?,
            "oneOf" => node.one_of = self.list(&at, value)?,
            "not" => node.not = Some(self.schema(at, value)?),
            "if" => node.condition = Some(self.condition(parent, &at, value, siblings)?),
            "then" | "else" if siblings.contains_key("if") => {}
            "then" | "else" => return wrong(&at, "says nothing without `if`"),
            _ if ANNOTATIONS.contains(&name) => {}
            _ => match bound(&at, name, value)? {
                Some(bound) => node.bounds.push(bound),
                None => return wrong(&at, format!("the keyword `{name}` is not known")),
            },
        }
        Ok(())
    }

    /// `#`, `#/definitions/a`: within this document (RFC 6901 §6).
    fn reference(&mut self, at: &str, value: &'v Value) -> Compiled<Id> {
        let target = text(at, value)?;
        let Some(pointer) = target.strip_prefix('#') else {
            return wrong(at, format!("`{target}` is in another document; write `#/$defs/name`"));
        };
        match self.root.pointer(pointer) {
            Some(schema) => self.schema(pointer.to_owned(), schema),
            None => wrong(at, format!("`{target}` points nowhere")),
        }
    }

    fn named(&mut self, at: &str, value: &'v Value) -> Compiled<Vec<(String, Id)>> {
        let mut all = Vec::new();
        for (name, schema) in object(at, value)? {
            all.push((name.clone(), self.schema(below(at, name), schema)?));
        }
        Ok(all)
    }

    fn list(&mut self, at: &str, value: &'v Value) -> Compiled<Vec<Id>> {
        let mut all = Vec::new();
        for (index, schema) in array(at, value)?.iter().enumerate() {
            all.push(self.schema(below(at, &index.to_string()), schema)?);
        }
        if all.is_empty() { wrong(at, "is empty") } else { Ok(all) }
    }

    /// Draft 7's `dependencies`: names, or a schema.
    fn dependencies(&mut self, node: &mut Node, at: &str, value: &'v Value) -> Compiled<()> {
        for (property, needed) in object(at, value)? {
            let at = below(at, property);
            if needed.is_array() {
                node.dependent_required.push((property.clone(), texts(&at, needed)?));
            } else {
                node.dependent_schemas.push((property.clone(), self.schema(at, needed)?));
            }
        }
        Ok(())
    }

    fn contains(
        &mut self,
        parent: &str,
        at: &str,
        value: &'v Value,
        siblings: &Map<String, Value>,
    ) -> Compiled<Contains> {
        let count =
            |name: &str| siblings.get(name).map(|value| whole(&below(parent, name), value)).transpose();
        let (least, most) = (count("minContains")?.unwrap_or(1), count("maxContains")?);
        Ok(Contains { schema: self.schema(at.to_owned(), value)?, least, most })
    }

    fn condition(
        &mut self,
        parent: &str,
        at: &str,
        value: &'v Value,
        siblings: &'v Map<String, Value>,
    ) -> Compiled<Condition> {
        let when = self.schema(at.to_owned(), value)?;
        let mut branch = |name: &str| {
            siblings.get(name).map(|schema| self.schema(below(parent, name), schema)).transpose()
        };
        Ok(Condition { when, then: branch("then")?, otherwise: branch("else")? })
    }

    /// References that lead back without a step into the value would never end.
    fn no_circles(&self) -> Compiled<()> {
        // 0 not seen, 1 under way, 2 done.
        let mut state = vec![0u8; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut stack = vec![(start, false)];
            while let Some((id, left)) = stack.pop() {
                if left {
                    state[id] = 2;
                    continue;
                }
                if state[id] == 2 {
                    continue;
                }
                if state[id] == 1 {
                    let at = self.known.iter().find(|(_, known)| **known == id).map_or("", |(at, _)| at);
                    return wrong(at, "refers to itself in a circle");
                }
                state[id] = 1;
                stack.push((id, true));
                stack.extend(self.nodes[id].same_value().map(|next| (next, false)));
            }
        }
        Ok(())
    }
}

impl Node {
    /// The schemas that look at the same value.
    fn same_value(&self) -> impl Iterator<Item = Id> {
        let condition =
            self.condition.iter().flat_map(|c| [Some(c.when), c.then, c.otherwise].into_iter().flatten());
        let single = [self.reference, self.not].into_iter().flatten();
        let lists = self.all_of.iter().chain(&self.any_of).chain(&self.one_of).copied();
        single.chain(lists).chain(self.dependent_schemas.iter().map(|(_, id)| *id)).chain(condition)
    }
}

fn types(at: &str, value: &Value) -> Compiled<Types> {
    let names = if value.is_string() { vec![text(at, value)?.to_owned()] } else { texts(at, value)? };
    let mut types = Types::default();
    for name in names {
        match Types::NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, bit)) => types.0 |= bit,
            None => return wrong(at, format!("`{name}` is no type")),
        }
    }
    Ok(types)
}

fn bound(at: &str, name: &str, value: &Value) -> Compiled<Option<(&'static str, Bound)>> {
    Ok(Some(match name {
        "minimum" => ("minimum", Bound::Minimum(number(at, value)?)),
        "maximum" => ("maximum", Bound::Maximum(number(at, value)?)),
        "exclusiveMinimum" => ("exclusiveMinimum", Bound::ExclusiveMinimum(number(at, value)?)),
        "exclusiveMaximum" => ("exclusiveMaximum", Bound::ExclusiveMaximum(number(at, value)?)),
        "multipleOf" => match number(at, value)? {
            step if step > 0.0 => ("multipleOf", Bound::MultipleOf(step)),
            _ => return wrong(at, "is more than zero"),
        },
        "minLength" => ("minLength", Bound::MinLength(whole(at, value)?)),
        "maxLength" => ("maxLength", Bound::MaxLength(whole(at, value)?)),
        "minItems" => ("minItems", Bound::MinItems(whole(at, value)?)),
        "maxItems" => ("maxItems", Bound::MaxItems(whole(at, value)?)),
        "minProperties" => ("minProperties", Bound::MinProperties(whole(at, value)?)),
        "maxProperties" => ("maxProperties", Bound::MaxProperties(whole(at, value)?)),
        _ => return Ok(None),
    }))
}

fn expression(at: &str, pattern: &str) -> Compiled<Regex> {
    Regex::new(pattern).or_else(|error| wrong(at, format!("`{pattern}` does not compile: {error}")))
}

fn number(at: &str, value: &Value) -> Compiled<f64> {
    value.as_f64().map_or_else(|| wrong(at, "is a number"), Ok)
}

fn whole(at: &str, value: &Value) -> Compiled<u64> {
    value.as_u64().map_or_else(|| wrong(at, "is a whole number, zero or more"), Ok)
}

fn text<'v>(at: &str, value: &'v Value) -> Compiled<&'v str> {
    value.as_str().map_or_else(|| wrong(at, "is a string"), Ok)
}

fn texts(at: &str, value: &Value) -> Compiled<Vec<String>> {
    array(at, value)?.iter().map(|value| text(at, value).map(str::to_owned)).collect()
}

fn array<'v>(at: &str, value: &'v Value) -> Compiled<&'v Vec<Value>> {
    value.as_array().map_or_else(|| wrong(at, "is an array"), Ok)
}

fn object<'v>(at: &str, value: &'v Value) -> Compiled<&'v Map<String, Value>> {
    value.as_object().map_or_else(|| wrong(at, "is an object"), Ok)
}
