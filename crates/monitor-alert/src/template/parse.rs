//! Template text to a tree (Go, package `text/template`: "Text and spaces",
//! "Actions", "Arguments", "Pipelines", "Variables").

use super::TemplateError;
use super::functions::Dialect;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Blocks within blocks, parentheses within parentheses.
const MAX_DEPTH: usize = 64;

/// What stands in a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    /// A pipeline whose value is printed, unless it declares or assigns.
    Print(Pipeline),
    If(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    With(Vec<(Pipeline, Vec<Node>)>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    Template(Rc<str>, Option<Pipeline>, usize),
    Break,
    Continue,
}

/// `$x := command | command`.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    /// Variables declared or assigned, without `$`.
    pub(super) variables: Vec<String>,
    pub(super) assigns: bool,
    pub(super) commands: Vec<Vec<Operand>>,
    /// The line it stands in, from 1.
    pub(super) line: usize,
}

/// A word of a command.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`, without `$`; the empty name is `$`.
    Variable(String, Vec<String>),
    Call(String),
    /// `(pipeline).a.b`
    Paren(Box<Pipeline>, Vec<String>),
}

/// Trees by name; the root has the empty one.
pub(super) type Trees = BTreeMap<Rc<str>, Rc<Vec<Node>>>;

/// Reads `text` into `trees`. `variables` may be used without being declared.
pub(super) fn parse(
    name: &str,
    text: &str,
    dialect: Dialect,
    variables: &[&str],
    trees: &mut Trees,
) -> Result<(), TemplateError> {
    let mut parser = Parser {
        items: lex(text)?.into_iter().peekable(),
        dialect,
        variables: variables.iter().map(|v| (*v).to_owned()).collect(),
        trees,
        loops: 0,
        last_line: 1,
    };
    parser.variables.push(String::new());
    let (nodes, end) = parser.block(0)?;
    if let Some(end) = end {
        return Err(TemplateError::at(end.line, format!("`{}` without a beginning", end.word)));
    }
    // As in Go, a template of nothing but definitions and space replaces none of its name.
    let empty = nodes.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()));
    if !empty || !trees.contains_key(name) {
        trees.insert(Rc::from(name), Rc::new(nodes));
    }
    Ok(())
}

enum Item {
    Text(String),
    Action(Vec<Token>, usize),
}

#[derive(Clone, Debug, PartialEq)]
struct Token {
    kind: Kind,
    /// Whether white space stands before it.
    spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Word(String),
    /// `.name`, without the dot.
    Field(String),
    Dot,
    /// `$name`, without `$`.
    Variable(String),
    Text(String),
    Int(i64),
    Float(f64),
    Pipe,
    Open,
    Close,
    Comma,
    Declare,
    Assign,
}

/// Text and actions, trimmed as the markers say.
fn lex(text: &str) -> Result<Vec<Item>, TemplateError> {
    let mut items = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    let line_of = |rest: &str| 1 + text[..text.len() - rest.len()].matches('\n').count();
    while let Some(open) = rest.find("{{") {
        let line = line_of(&rest[open..]);
        let mut literal = &rest[..open];
        let mut inner = &rest[open + 2..];
        if std::mem::take(&mut trim_next) {
            literal = literal.trim_start();
        }
        // "{{- " and " -}}": the white space belongs to the marker.
        let after_dash = inner.strip_prefix('-').filter(|r| r.starts_with([' ', '\t', '\r', '\n']));
        if let Some(after) = after_dash {
            inner = after;
            literal = literal.trim_end();
        }
        if !literal.is_empty() {
            items.push(Item::Text(literal.to_owned()));
        }
        let comment = if after_dash.is_some() { inner.trim_start() } else { inner };
        if let Some(comment) = comment.strip_prefix("/*") {
            let end =
                comment.find("*/").ok_or_else(|| TemplateError::at(line, "a comment that does not end"))?;
            let after = &comment[end + 2..];
            let trimmed = after.trim_start();
            if let Some(after) = after.strip_prefix("}}") {
                rest = after;
            } else if let Some(after) = trimmed.strip_prefix("-}}").filter(|_| trimmed.len() < after.len()) {
                trim_next = true;
                rest = after;
            } else {
                return Err(TemplateError::at(line, "a comment ends with `*/}}`"));
            }
            continue;
        }
        let mut tokens = Vec::new();
        rest = lex_action(inner, line, &mut tokens, &mut trim_next)?;
        items.push(Item::Action(tokens, line));
    }
    let rest = if trim_next { rest.trim_start() } else { rest };
    if !rest.is_empty() {
        items.push(Item::Text(rest.to_owned()));
    }
    Ok(items)
}

/// Reads one action's tokens; gives what stands behind `}}`.
fn lex_action<'t>(
    mut rest: &'t str,
    line: usize,
    tokens: &mut Vec<Token>,
    trim_next: &mut bool,
) -> Result<&'t str, TemplateError> {
    let wrong = |why: String| TemplateError::at(line, why);
    loop {
        let trimmed = rest.trim_start();
        let spaced = trimmed.len() < rest.len() || tokens.is_empty();
        rest = trimmed;
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok(after);
        }
        if spaced && let Some(after) = rest.strip_prefix("-}}") {
            *trim_next = true;
            return Ok(after);
        }
        let Some(first) = rest.chars().next() else {
            return Err(wrong("`{{` has no `}}`".to_owned()));
        };
        let word_len =
            |text: &str| text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (kind, length) = match first {
            '|' => (Kind::Pipe, 1),
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            ',' => (Kind::Comma, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            '=' => (Kind::Assign, 1),
            '"' | '`' => {
                let (text, length) = quoted(rest).ok_or_else(|| {
                    wrong("a text in quotes does not end, or has an escape that Go does not know".to_owned())
                })?;
                (Kind::Text(text), length)
            }
            '\'' => {
                let (c, length) =
                    character(rest).ok_or_else(|| wrong("`'` begins a character, as in `'x'`".to_owned()))?;
                (Kind::Int(i64::from(u32::from(c))), length)
            }
            '$' => {
                let length = word_len(&rest[1..]);
                (Kind::Variable(rest[1..=length].to_owned()), 1 + length)
            }
            '.' if rest[1..].starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                let length = word_len(&rest[1..]);
                (Kind::Field(rest[1..=length].to_owned()), 1 + length)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => (Kind::Dot, 1),
            c if c.is_ascii_digit() || matches!(c, '.' | '-' | '+') => {
                number(rest).ok_or_else(|| wrong(format!("`{}` is no number", clip(rest))))?
            }
            c if c.is_alphabetic() || c == '_' => {
                let length = word_len(rest);
                (Kind::Word(rest[..length].to_owned()), length)
            }
            _ => return Err(wrong(format!("`{}` is not understood", clip(rest)))),
        };
        rest = &rest[length..];
        tokens.push(Token { kind, spaced });
    }
}

fn clip(text: &str) -> String {
    text.chars().take(20).take_while(|c| !c.is_whitespace() && *c != '}').collect()
}

fn number(text: &str) -> Option<(Kind, usize)> {
    let length = text
        .char_indices()
        .find(|(i, c)| {
            let sign = matches!(c, '+' | '-') && (*i == 0 || text[..*i].ends_with(['e', 'E']));
            !(c.is_alphanumeric() || *c == '_' || *c == '.' || sign)
        })
        .map_or(text.len(), |(i, _)| i);
    let written: String = text[..length].chars().filter(|c| *c != '_').collect();
    let digits = written.trim_start_matches(['+', '-']);
    let kind = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let value = i64::from_str_radix(hex, 16).ok()?;
        Kind::Int(if written.starts_with('-') { -value } else { value })
    } else if digits.contains(['.', 'e', 'E']) {
        // No `inf` and `nan`, which Go has no literal for.
        Kind::Float(
            written.parse().ok().filter(|_| digits.starts_with(|c: char| c.is_ascii_digit() || c == '.'))?,
        )
    } else {
        Kind::Int(written.parse().ok()?)
    };
    Some((kind, length))
}

/// A Go string literal and its length in the source.
fn quoted(text: &str) -> Option<(String, usize)> {
    if let Some(raw) = text.strip_prefix('`') {
        let end = raw.find('`')?;
        return Some((raw[..end].to_owned(), end + 2));
    }
    let mut out = String::new();
    let mut at = 1;
    loop {
        let rest = &text[at..];
        match rest.chars().next()? {
            '"' => return Some((out, at + 1)),
            '\n' => return None,
            '\\' => {
                let (c, length) = escape(rest)?;
                out.push(c);
                at += length;
            }
            c => {
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
}

fn character(text: &str) -> Option<(char, usize)> {
    let rest = &text[1..];
    let (c, length) = match rest.chars().next()? {
        '\\' => escape(rest)?,
        c => (c, c.len_utf8()),
    };
    rest[length..].starts_with('\'').then_some((c, length + 2))
}

/// An escape that begins with a backslash (Go specification, "Rune literals").
fn escape(text: &str) -> Option<(char, usize)> {
    let digits = |from: usize, count: usize, radix: u32| {
        let part = text.get(from..from + count)?;
        u32::from_str_radix(part, radix).ok().and_then(char::from_u32).map(|c| (c, from + count))
    };
    Some(match text[1..].chars().next()? {
        'a' => ('\x07', 2),
        'b' => ('\x08', 2),
        'f' => ('\x0c', 2),
        'n' => ('\n', 2),
        'r' => ('\r', 2),
        't' => ('\t', 2),
        'v' => ('\x0b', 2),
        c @ ('\\' | '"' | '\'') => (c, 2),
        'x' => digits(2, 2, 16)?,
        'u' => digits(2, 4, 16)?,
        'U' => digits(2, 8, 16)?,
        '0'..='7' => digits(1, 3, 8)?,
        _ => return None,
    })
}

struct Parser<'p> {
    items: std::iter::Peekable<std::vec::IntoIter<Item>>,
    dialect: Dialect,
    /// What is declared here.
    variables: Vec<String>,
    trees: &'p mut Trees,
    loops: usize,
    last_line: usize,
}

/// What ended a block: `end`, or `else` with what follows it.
struct End {
    word: &'static str,
    rest: Vec<Token>,
    line: usize,
}

impl Parser<'_> {
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, Option<End>), TemplateError> {
        if depth > MAX_DEPTH {
            return Err(TemplateError::at(self.last_line, format!("blocks nested deeper than {MAX_DEPTH}")));
        }
        let mut nodes = Vec::new();
        while let Some(item) = self.items.next() {
            let (mut tokens, line) = match item {
                Item::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Item::Action(tokens, line) => (tokens, line),
            };
            self.last_line = line;
            let word = match tokens.first() {
                Some(Token { kind: Kind::Word(word), .. }) => word.clone(),
                Some(_) => String::new(),
                None => return Err(TemplateError::at(line, "an action without content: `{{}}`")),
            };
            let keyword = matches!(
                word.as_str(),
                "if" | "with"
                    | "range"
                    | "else"
                    | "end"
                    | "define"
                    | "block"
                    | "template"
                    | "break"
                    | "continue"
            );
            if !keyword {
                let pipeline = self.pipeline(&tokens, line)?;
                nodes.push(Node::Print(pipeline));
                continue;
            }
            tokens.remove(0);
            match word.as_str() {
                "end" if tokens.is_empty() => {
                    return Ok((nodes, Some(End { word: "end", rest: tokens, line })));
                }
                "else" => return Ok((nodes, Some(End { word: "else", rest: tokens, line }))),
                "break" | "continue" if tokens.is_empty() && self.loops > 0 => {
                    nodes.push(if word == "break" { Node::Break } else { Node::Continue });
                }
                "if" | "with" => nodes.push(self.branches(&word, &tokens, line, depth)?),
                "range" => nodes.push(self.range(&tokens, line, depth)?),
                "define" => self.define(&tokens, line, depth)?,
                "block" => nodes.push(self.define_here(&tokens, line, depth)?),
                "template" => nodes.push(self.template(&tokens, line)?),
                other => return Err(TemplateError::at(line, format!("`{other}` does not belong here"))),
            }
        }
        Ok((nodes, None))
    }

    fn ended(&self, end: Option<End>, word: &str, line: usize) -> Result<End, TemplateError> {
        end.ok_or_else(|| TemplateError::at(line, format!("`{{{{ {word} }}}}` has no `{{{{ end }}}}`")))
    }

    fn branches(
        &mut self,
        word: &str,
        tokens: &[Token],
        line: usize,
        depth: usize,
    ) -> Result<Node, TemplateError> {
        let known = self.variables.len();
        let mut branches = vec![];
        let mut pipeline = self.pipeline(tokens, line)?;
        let otherwise = loop {
            let (nodes, end) = self.block(depth + 1)?;
            branches.push((pipeline, nodes));
            let end = self.ended(end, word, line)?;
            if end.word == "end" {
                break Vec::new();
            }
            if end.rest.is_empty() {
                let (nodes, last) = self.block(depth + 1)?;
                let last = self.ended(last, word, line)?;
                if last.word != "end" {
                    return Err(TemplateError::at(last.line, "a second `else`"));
                }
                break nodes;
            }
            // `else if …` and, since Go 1.23, `else with …`.
            if end.rest[0].kind != Kind::Word(word.to_owned()) {
                return Err(TemplateError::at(
                    end.line,
                    format!("after `else` of `{word}` stands `{word}` or nothing"),
                ));
            }
            pipeline = self.pipeline(&end.rest[1..], end.line)?;
        };
        self.variables.truncate(known);
        Ok(if word == "if" { Node::If(branches, otherwise) } else { Node::With(branches, otherwise) })
    }

    fn range(&mut self, tokens: &[Token], line: usize, depth: usize) -> Result<Node, TemplateError> {
        let known = self.variables.len();
        let pipeline = self.pipeline(tokens, line)?;
        self.loops += 1;
        let (body, end) = self.block(depth + 1)?;
        self.loops -= 1;
        let end = self.ended(end, "range", line)?;
        let mut otherwise = Vec::new();
        if end.word == "else" {
            if !end.rest.is_empty() {
                return Err(TemplateError::at(end.line, "after `else` of `range` stands nothing"));
            }
            let (nodes, last) = self.block(depth + 1)?;
            if self.ended(last, "range", line)?.word != "end" {
                return Err(TemplateError::at(line, "a second `else`"));
            }
            otherwise = nodes;
        }
        self.variables.truncate(known);
        Ok(Node::Range(pipeline, body, otherwise))
    }

    /// `{{ define "name" }}`: a tree of its own, where only `$` is known.
    fn define(&mut self, tokens: &[Token], line: usize, depth: usize) -> Result<(), TemplateError> {
        let [Token { kind: Kind::Text(name), .. }] = tokens else {
            return Err(TemplateError::at(line, "`define` takes a name in quotes"));
        };
        let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
        let loops = std::mem::take(&mut self.loops);
        let (nodes, end) = self.block(depth + 1)?;
        self.variables = outer;
        self.loops = loops;
        if self.ended(end, "define", line)?.word != "end" {
            return Err(TemplateError::at(line, "`else` in a `define`"));
        }
        self.trees.insert(Rc::from(name.as_str()), Rc::new(nodes));
        Ok(())
    }

    /// `{{ block "name" pipeline }}`: defined and used at once.
    fn define_here(&mut self, tokens: &[Token], line: usize, depth: usize) -> Result<Node, TemplateError> {
        let Some((name, rest)) = tokens.split_first() else {
            return Err(TemplateError::at(line, "`block` takes a name in quotes and a value"));
        };
        let pipeline = self.pipeline(rest, line)?;
        self.define(std::slice::from_ref(name), line, depth)?;
        match &name.kind {
            Kind::Text(name) => Ok(Node::Template(Rc::from(name.as_str()), Some(pipeline), line)),
            _ => Err(TemplateError::at(line, "`block` takes a name in quotes and a value")),
        }
    }

    fn template(&mut self, tokens: &[Token], line: usize) -> Result<Node, TemplateError> {
        let Some((Token { kind: Kind::Text(name), .. }, rest)) = tokens.split_first() else {
            return Err(TemplateError::at(line, "`template` takes a name in quotes"));
        };
        let pipeline = if rest.is_empty() { None } else { Some(self.pipeline(rest, line)?) };
        Ok(Node::Template(Rc::from(name.as_str()), pipeline, line))
    }

    fn pipeline(&mut self, tokens: &[Token], line: usize) -> Result<Pipeline, TemplateError> {
        let (pipeline, rest) = self.pipeline_until(tokens, line, 0)?;
        match rest {
            [] => Ok(pipeline),
            _ => Err(TemplateError::at(line, "`)` without `(`")),
        }
    }

    fn pipeline_until<'t>(
        &mut self,
        tokens: &'t [Token],
        line: usize,
        depth: usize,
    ) -> Result<(Pipeline, &'t [Token]), TemplateError> {
        if depth > MAX_DEPTH {
            return Err(TemplateError::at(line, format!("parentheses nested deeper than {MAX_DEPTH}")));
        }
        let mut pipeline = Pipeline { variables: Vec::new(), assigns: false, commands: Vec::new(), line };
        let kinds: Vec<&Kind> = tokens.iter().take(4).map(|t| &t.kind).collect();
        let (declared, mut rest) = match kinds.as_slice() {
            [Kind::Variable(a), end @ (Kind::Declare | Kind::Assign), ..] => {
                pipeline.assigns = **end == Kind::Assign;
                (vec![a.clone()], &tokens[2..])
            }
            [Kind::Variable(a), Kind::Comma, Kind::Variable(b), end @ (Kind::Declare | Kind::Assign)] => {
                pipeline.assigns = **end == Kind::Assign;
                (vec![a.clone(), b.clone()], &tokens[4..])
            }
            _ => (Vec::new(), tokens),
        };
        let mut command = Vec::new();
        while let Some((token, after)) = rest.split_first() {
            match &token.kind {
                Kind::Close => break,
                Kind::Pipe => {
                    if command.is_empty() {
                        return Err(TemplateError::at(line, "nothing stands before `|`"));
                    }
                    pipeline.commands.push(std::mem::take(&mut command));
                    rest = after;
                    if rest.is_empty() {
                        return Err(TemplateError::at(line, "nothing stands after `|`"));
                    }
                }
                _ => {
                    let (operand, after) = self.operand(rest, line, depth)?;
                    command.push(operand);
                    rest = after;
                }
            }
        }
        if command.is_empty() {
            return Err(TemplateError::at(line, "a value is missing"));
        }
        pipeline.commands.push(command);
        self.check_commands(&pipeline)?;
        // Known from here on; what is assigned must be known already.
        for name in &declared {
            if pipeline.assigns && !self.variables.contains(name) {
                return Err(self.unknown_variable(name, line));
            }
        }
        if !pipeline.assigns {
            self.variables.extend(declared.iter().cloned());
        }
        pipeline.variables = declared;
        Ok((pipeline, rest))
    }

    /// Only functions, methods and fields take what a pipe gives them.
    fn check_commands(&self, pipeline: &Pipeline) -> Result<(), TemplateError> {
        for (index, command) in pipeline.commands.iter().enumerate() {
            let callable = matches!(
                command.first(),
                Some(Operand::Call(_) | Operand::Field(_) | Operand::Variable(..) | Operand::Paren(..))
            );
            if (index > 0 || command.len() > 1) && !callable {
                return Err(TemplateError::at(
                    pipeline.line,
                    "a value stands alone, a function first; hint: `{{ $value | humanize }}`",
                ));
            }
            if matches!(command.as_slice(), [Operand::Nil]) {
                return Err(TemplateError::at(pipeline.line, "`nil` is not a command"));
            }
        }
        Ok(())
    }

    fn unknown_variable(&self, name: &str, line: usize) -> TemplateError {
        let known: Vec<String> = self.variables.iter().map(|v| format!("`${v}`")).collect();
        TemplateError::at(line, format!("`${name}` is not declared; hint: known here: {}", known.join(", ")))
    }

    fn operand<'t>(
        &mut self,
        tokens: &'t [Token],
        line: usize,
        depth: usize,
    ) -> Result<(Operand, &'t [Token]), TemplateError> {
        let (first, mut rest) =
            tokens.split_first().ok_or_else(|| TemplateError::at(line, "a value is missing"))?;
        // `.a.b` is one word, `.a .b` are two.
        let chain = |rest: &mut &'t [Token]| {
            let mut fields = Vec::new();
            while let Some((Token { kind: Kind::Field(name), spaced: false }, after)) = rest.split_first() {
                fields.push(name.clone());
                *rest = after;
            }
            fields
        };
        let operand = match &first.kind {
            Kind::Field(name) => {
                let mut fields = vec![name.clone()];
                fields.extend(chain(&mut rest));
                Operand::Field(fields)
            }
            Kind::Variable(name) => {
                if !self.variables.contains(name) {
                    return Err(self.unknown_variable(name, line));
                }
                Operand::Variable(name.clone(), chain(&mut rest))
            }
            Kind::Dot => Operand::Dot,
            Kind::Text(text) => Operand::Text(Rc::from(text.as_str())),
            Kind::Int(value) => Operand::Int(*value),
            Kind::Float(value) => Operand::Float(*value),
            Kind::Open => {
                let (pipeline, after) = self.pipeline_until(rest, line, depth + 1)?;
                let Some((Token { kind: Kind::Close, .. }, after)) = after.split_first() else {
                    return Err(TemplateError::at(line, "`(` without `)`"));
                };
                rest = after;
                Operand::Paren(Box::new(pipeline), chain(&mut rest))
            }
            Kind::Word(word) => match word.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "nil" => Operand::Nil,
                name if self.dialect.knows(name) => Operand::Call(name.to_owned()),
                name => {
                    return Err(TemplateError::at(
                        line,
                        format!(
                            "function `{name}` is not defined; hint: one of {}",
                            self.dialect.names().join(", ")
                        ),
                    ));
                }
            },
            Kind::Pipe | Kind::Close | Kind::Comma | Kind::Declare | Kind::Assign => {
                return Err(TemplateError::at(line, "`,`, `:=` or `=` where a value is wanted"));
            }
        };
        Ok((operand, rest))
    }
}
