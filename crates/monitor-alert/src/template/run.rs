//! Filling in a tree.

use super::functions;
use super::parse::{Node, Operand, Pipeline, Trees};
use super::value::{MapKind, Value};
use super::{Environment, Limits, TemplateError};
use std::rc::Rc;

/// Templates that use templates.
const MAX_DEPTH: usize = 40;

/// One rendering: its output, its variables, and what it may still spend.
pub(super) struct Run<'a> {
    pub(super) environment: &'a Environment<'a>,
    trees: &'a Trees,
    limits: Limits,
    /// Whether what is printed becomes HTML, and so is escaped.
    html: bool,
    out: String,
    /// Declared ones, the innermost last.
    variables: Vec<(String, Value)>,
    steps: usize,
    queries: usize,
    depth: usize,
}

enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    pub(super) fn new(trees: &'a Trees, environment: &'a Environment<'a>, limits: Limits) -> Self {
        let (out, variables) = (String::new(), Vec::new());
        Self { environment, trees, limits, html: false, out, variables, steps: 0, queries: 0, depth: 0 }
    }

    /// Escapes what is printed, but for what `safeHtml` lets through.
    pub(super) fn escaping(self) -> Self {
        Self { html: true, ..self }
    }

    pub(super) fn run(
        mut self,
        name: &str,
        data: Value,
        variables: &[(&str, Value)],
    ) -> Result<String, TemplateError> {
        let tree = self.trees.get(name).cloned();
        let tree = tree.ok_or_else(|| TemplateError::at(1, format!("template `{name}` is not defined")))?;
        self.variables.push((String::new(), data.clone()));
        self.variables.extend(variables.iter().map(|(n, v)| ((*n).to_owned(), v.clone())));
        self.nodes(&tree, &data)?;
        Ok(self.out)
    }

    /// Counts work done; refuses where it is too much.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps);
        match self.steps > self.limits.steps {
            true => Err(format!("it takes more than {} steps; hint: loop over less", self.limits.steps)),
            false => Ok(()),
        }
    }

    pub(super) fn one_more_query(&mut self) -> Result<(), String> {
        self.queries += 1;
        match self.queries > self.limits.queries {
            true => Err(format!("more than {} queries", self.limits.queries)),
            false => Ok(()),
        }
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.limits.bytes
    }

    /// Renders a named template into a text of its own.
    pub(super) fn render_named(&mut self, name: &str, data: Value) -> Result<String, String> {
        let outer = std::mem::take(&mut self.out);
        let result = self.template(name, data, 0).map_err(|error| error.message);
        let inner = std::mem::replace(&mut self.out, outer);
        result.map(|()| inner)
    }

    fn write(&mut self, text: &str, line: usize) -> Result<(), TemplateError> {
        if self.out.len() + text.len() > self.limits.bytes {
            return Err(TemplateError::at(line, format!("it makes more than {} bytes", self.limits.bytes)));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, TemplateError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.write(text, 0)?,
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        let text = value.show();
                        let text =
                            if self.html && !is_safe(pipeline) { functions::html(&text) } else { text };
                        self.write(&text, pipeline.line)?;
                    }
                }
                Node::If(branches, otherwise) => match self.choose(branches, otherwise, dot, false)? {
                    Flow::On => {}
                    flow => return Ok(flow),
                },
                Node::With(branches, otherwise) => match self.choose(branches, otherwise, dot, true)? {
                    Flow::On => {}
                    flow => return Ok(flow),
                },
                Node::Range(pipeline, body, otherwise) => match self.range(pipeline, body, otherwise, dot)? {
                    Flow::On => {}
                    flow => return Ok(flow),
                },
                Node::Template(name, pipeline, line) => {
                    let data = match pipeline {
                        Some(pipeline) => self.pipeline(pipeline, dot)?,
                        None => Value::Nil,
                    };
                    self.template(name, data, *line)?;
                }
                Node::Break => return Ok(Flow::Break),
                Node::Continue => return Ok(Flow::Continue),
            }
        }
        Ok(Flow::On)
    }

    fn template(&mut self, name: &str, data: Value, line: usize) -> Result<(), TemplateError> {
        let Some(tree) = self.trees.get(name).cloned() else {
            return Err(TemplateError::at(line, format!("template `{name}` is not defined")));
        };
        if self.depth >= MAX_DEPTH {
            return Err(TemplateError::at(
                line,
                format!("templates use each other more than {MAX_DEPTH} deep"),
            ));
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), data.clone())]);
        let result = self.nodes(&tree, &data);
        self.variables = outer;
        self.depth -= 1;
        result.map(|_| ())
    }

    fn choose(
        &mut self,
        branches: &[(Pipeline, Vec<Node>)],
        otherwise: &[Node],
        dot: &Value,
        with: bool,
    ) -> Result<Flow, TemplateError> {
        let known = self.variables.len();
        for (pipeline, nodes) in branches {
            let value = self.pipeline(pipeline, dot)?;
            if value.is_true() {
                let flow = self.nodes(nodes, if with { &value } else { dot });
                self.variables.truncate(known);
                return flow;
            }
        }
        let flow = self.nodes(otherwise, dot);
        self.variables.truncate(known);
        flow
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<Flow, TemplateError> {
        let known = self.variables.len();
        let over = self.value(pipeline, dot)?;
        let items: Vec<(Value, Value)> = match &over {
            Value::List(items, _) => {
                items.iter().enumerate().map(|(i, v)| (Value::Int(i as i64), v.clone())).collect()
            }
            Value::Map(map, kind) if *kind != MapKind::Fields => {
                map.iter().map(|(name, value)| (Value::text(name), value.clone())).collect()
            }
            Value::Int(n) if *n <= 0 => Vec::new(),
            // Go 1.22: `range 3`.
            Value::Int(n) => {
                let most = i64::try_from(self.limits.steps).unwrap_or(i64::MAX);
                (0..(*n).min(most)).map(|i| (Value::Int(i), Value::Int(i))).collect()
            }
            Value::Nil => Vec::new(),
            other => {
                return Err(TemplateError::at(pipeline.line, format!("`range` over a {}", other.kind())));
            }
        };
        if items.is_empty() {
            let flow = self.nodes(otherwise, dot);
            self.variables.truncate(known);
            return flow;
        }
        for (key, item) in items {
            self.spend(1).map_err(|why| TemplateError::at(pipeline.line, why))?;
            match pipeline.variables.as_slice() {
                [one] => self.set(one, item.clone(), pipeline.assigns),
                [first, second] => {
                    self.set(first, key, pipeline.assigns);
                    self.set(second, item.clone(), pipeline.assigns);
                }
                _ => {}
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(known);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool) {
        match self.variables.iter_mut().rev().find(|(n, _)| n == name).filter(|_| assigns) {
            Some((_, known)) => *known = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.value(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn value(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut last = None;
        for command in &pipeline.commands {
            last =
                Some(self.command(command, last, dot).map_err(|why| TemplateError::at(pipeline.line, why))?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &[Operand], last: Option<Value>, dot: &Value) -> Result<Value, String> {
        let Some((first, rest)) = command.split_first() else { return Err("a value is missing".to_owned()) };
        self.spend(1)?;
        let value = match first {
            // They look at no more than they need (text/template, "Functions").
            Operand::Call(name) if name == "and" || name == "or" => {
                let mut value = None;
                for operand in rest {
                    let next = self.operand(operand, dot)?;
                    let decides = next.is_true() == (name == "or");
                    value = Some(next);
                    if decides {
                        return Ok(value.unwrap_or(Value::Nil));
                    }
                }
                last.or(value).ok_or_else(|| format!("`{name}` takes one argument or more"))?
            }
            Operand::Call(name) => {
                let args = self.arguments(rest, last, dot)?;
                functions::call(self, name, &args).map_err(|why| format!("error calling `{name}`: {why}"))?
            }
            Operand::Field(fields) => {
                let args = self.arguments(rest, last, dot)?;
                chain(dot.clone(), fields, &args)?
            }
            Operand::Variable(name, fields) if !fields.is_empty() => {
                let args = self.arguments(rest, last, dot)?;
                chain(self.variable(name)?, fields, &args)?
            }
            Operand::Paren(pipeline, fields) if !fields.is_empty() => {
                let args = self.arguments(rest, last, dot)?;
                let value = self.pipeline(pipeline, dot).map_err(|error| error.message)?;
                chain(value, fields, &args)?
            }
            operand => {
                if !rest.is_empty() || last.is_some() {
                    return Err("an argument was given to a value, which is no function".to_owned());
                }
                self.operand(operand, dot)?
            }
        };
        self.spend(value.weight() / 64)?;
        Ok(value)
    }

    fn arguments(
        &mut self,
        rest: &[Operand],
        last: Option<Value>,
        dot: &Value,
    ) -> Result<Vec<Value>, String> {
        let mut args = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(last);
        // Before the call: it may make a text of all of them together.
        self.spend(args.iter().map(Value::weight).sum::<usize>() / 64)?;
        Ok(args)
    }

    fn variable(&self, name: &str) -> Result<Value, String> {
        let found = self.variables.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value.clone()).ok_or_else(|| format!("`${name}` is not declared"))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        Ok(match operand {
            Operand::Dot => dot.clone(),
            Operand::Nil => Value::Nil,
            Operand::Bool(value) => Value::Bool(*value),
            Operand::Int(value) => Value::Int(*value),
            Operand::Float(value) => Value::Float(*value),
            Operand::Text(text) => Value::text(Rc::clone(text)),
            Operand::Field(fields) => chain(dot.clone(), fields, &[])?,
            Operand::Variable(name, fields) => chain(self.variable(name)?, fields, &[])?,
            Operand::Call(name) => {
                functions::call(self, name, &[]).map_err(|why| format!("error calling `{name}`: {why}"))?
            }
            Operand::Paren(pipeline, fields) => {
                let value = self.pipeline(pipeline, dot).map_err(|error| error.message)?;
                chain(value, fields, &[])?
            }
        })
    }
}

/// Whether the author vouches for what a pipeline prints, or escaped it already.
fn is_safe(pipeline: &Pipeline) -> bool {
    let last = pipeline.commands.last().and_then(|command| command.first());
    matches!(last, Some(Operand::Call(name)) if matches!(name.as_str(), "safeHtml" | "html"))
}

/// `value.a.b`, the last one called with `args`.
fn chain(value: Value, fields: &[String], args: &[Value]) -> Result<Value, String> {
    let mut at = value;
    for (i, field) in fields.iter().enumerate() {
        let args = if i + 1 == fields.len() { args } else { &[] };
        at = at.field(field, args)?;
    }
    Ok(at)
}
