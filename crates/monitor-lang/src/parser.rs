//! Reads a query's text: recursive descent, binary operators by their
//! precedence.
//!
//! Prometheus' parser is made from a grammar with rules for errors; which of
//! them speaks depends on what encloses the mistake. Here each reading function
//! knows what its rule says, and what no function knows is said for the
//! innermost aggregation or the whole query ([`Parser::unexpected_here`]).

mod call;
mod selector;
mod span;

use crate::ast::{BinaryOp, Cardinality, Expr, Kind, Matching, Place};
use crate::lexer::Lexer;
use crate::quote::{quote, unquote};
use crate::token::{Keyword, Token, TokenKind};
use crate::{ParseError, ParseOptions, number};
use monitor_model::Matcher;
use std::collections::BTreeMap;

pub(crate) type Result<T> = std::result::Result<T, ParseError>;

pub(crate) struct Parser<'a> {
    text: &'a str,
    options: &'a ParseOptions,
    lexer: Lexer<'a>,
    /// The next token, where it has been read already.
    next: Option<Token>,
    /// Where the token before it ended.
    last_end: u32,
    /// How many aggregations are open.
    aggregations: usize,
    /// How many functions of this parser are inside of each other.
    nesting: usize,
    /// The costly regular expressions so far, by what is written.
    regexes: BTreeMap<String, Matcher>,
}

/// An expression and the height of its tree.
pub(crate) struct Tree {
    expr: Expr,
    height: usize,
}

/// How tightly an operator binds; the larger the tighter. Source: Prometheus
/// manual, "Operators", "Binary operator precedence".
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Binding(u8);

const LOOSEST: Binding = Binding(1);
const POWER: Binding = Binding(6);

impl Binding {
    fn of(op: BinaryOp) -> Self {
        use BinaryOp::{Add, And, Atan2, Div, Mod, Mul, Or, Pow, Sub, Unless};
        match op {
            Or => LOOSEST,
            And | Unless => Self(2),
            Add | Sub => Self(4),
            Mul | Div | Mod | Atan2 => Self(5),
            Pow => POWER,
            // Comparisons and trims.
            _ => Self(3),
        }
    }

    /// What the right side must bind by at least; only `^` goes to the right.
    fn of_right_side(self) -> Self {
        if self == POWER { self } else { Self(self.0 + 1) }
    }
}

impl<'a> Parser<'a> {
    pub(crate) fn new(text: &'a str, options: &'a ParseOptions) -> Result<Self> {
        if text.len() > options.max_bytes.min(u32::MAX as usize) {
            let place = Place { start: 0, end: text.len().min(u32::MAX as usize) as u32 };
            let message = format!(
                "expression of {} bytes is longer than the limit of {}",
                text.len(),
                options.max_bytes
            );
            return Err(ParseError::new(text, place, message));
        }
        Ok(Self {
            text,
            options,
            lexer: Lexer::new(text),
            next: None,
            last_end: 0,
            aggregations: 0,
            nesting: 0,
            regexes: BTreeMap::new(),
        })
    }

    /// The whole text as an expression.
    pub(crate) fn whole(mut self) -> Result<Expr> {
        if self.peek().kind == TokenKind::End {
            return Err(self.wrong(Place::default(), "no expression found in input"));
        }
        let tree = self.expr(LOOSEST)?;
        self.end()?;
        Ok(tree.expr)
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek().kind {
            TokenKind::End => Ok(()),
            _ => Err(self.unexpected_here()),
        }
    }

    /// Operands and the operators between them that bind at least so tightly.
    fn expr(&mut self, loosest: Binding) -> Result<Tree> {
        self.enter()?;
        let mut left = self.unary()?;
        while let TokenKind::Binary(op) = self.peek().kind {
            let binding = Binding::of(op);
            if binding < loosest {
                break;
            }
            self.take();
            let (bool, matching) = self.modifiers()?;
            let right = self.expr(binding.of_right_side())?;
            let place = left.expr.place.to(right.expr.place);
            let height = left.height.max(right.height);
            let (left_expr, right_expr) = (Box::new(left.expr), Box::new(right.expr));
            let kind =
                Kind::Binary { op, left: left_expr, right: right_expr, matching: Some(matching), bool };
            left = self.over(height, Expr { kind, place })?;
        }
        self.nesting -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Tree> {
        let token = self.peek();
        let TokenKind::Binary(sign @ (BinaryOp::Add | BinaryOp::Sub)) = token.kind else {
            let primary = self.primary()?;
            return self.postfix(primary);
        };
        self.take();
        let minus = sign == BinaryOp::Sub;
        // A sign binds as `*` does: `-2^2` is `-(2^2)`, `-2*3` is `(-2)*3`.
        let of = self.expr(POWER)?;
        let place = token.place.to(of.expr.place);
        if let Kind::Number { value, duration } = of.expr.kind {
            let value = if minus { -value } else { value };
            return Ok(Tree { expr: Expr { kind: Kind::Number { value, duration }, place }, ..of });
        }
        self.over(of.height, Expr { kind: Kind::Unary { minus, of: Box::new(of.expr) }, place })
    }

    fn primary(&mut self) -> Result<Tree> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                self.take();
                let duration = token.kind == TokenKind::Duration;
                let value = self.number(token)?;
                Ok(leaf(Kind::Number { value, duration }, token.place))
            }
            TokenKind::Text => {
                self.take();
                let text = self.unquoted(token)?;
                Ok(leaf(Kind::Text(text), token.place))
            }
            TokenKind::LeftParen => {
                self.take();
                let of = self.expr(LOOSEST)?;
                let close = self.expect(TokenKind::RightParen)?;
                let place = token.place.to(close.place);
                self.over(of.height, Expr { kind: Kind::Paren(Box::new(of.expr)), place })
            }
            TokenKind::LeftBrace => self.selector(None),
            kind if kind.is_metric_name() => {
                self.take();
                match (kind, self.peek().kind) {
                    (TokenKind::Aggregate(op), TokenKind::LeftParen | BY | WITHOUT) => {
                        self.aggregate(op, token)
                    }
                    (TokenKind::Identifier | TokenKind::Preprocessor(_), TokenKind::LeftParen) => {
                        self.call(token)
                    }
                    _ => self.selector(Some(token)),
                }
            }
            _ => Err(self.unexpected_here()),
        }
    }

    /// `bool on (…) group_left (…) fill (…)`.
    fn modifiers(&mut self) -> Result<(bool, Matching)> {
        let mut matching = Matching::default();
        let bool = self.taken(TokenKind::Keyword(Keyword::Bool)).is_some();
        if let TokenKind::Keyword(word @ (Keyword::On | Keyword::Ignoring)) = self.peek().kind {
            self.take();
            matching.on = word == Keyword::On;
            matching.labels = self.labels()?;
            if let TokenKind::Keyword(word @ (Keyword::GroupLeft | Keyword::GroupRight)) = self.peek().kind {
                self.take();
                matching.cardinality = match word {
                    Keyword::GroupLeft => Cardinality::ManyToOne,
                    _ => Cardinality::OneToMany,
                };
                // The labels may be left out where the right side follows, or `fill`.
                let next = self.peek().kind;
                if next == TokenKind::LeftParen || !next.begins_expr() {
                    matching.include = self.labels()?;
                }
            }
        }
        if self.taken(TokenKind::Keyword(Keyword::Fill)).is_some() {
            let value = self.fill_value()?;
            (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
        } else {
            // Each side once, in either order.
            loop {
                let side = match self.peek().kind {
                    TokenKind::Keyword(Keyword::FillLeft) => &mut matching.fill_left,
                    TokenKind::Keyword(Keyword::FillRight) => &mut matching.fill_right,
                    _ => break,
                };
                if side.is_some() {
                    break;
                }
                self.take();
                *side = Some(self.fill_value()?);
            }
        }
        Ok((bool, matching))
    }

    fn fill_value(&mut self) -> Result<f64> {
        self.expect(TokenKind::LeftParen)?;
        let value = self.signed_number()?.ok_or_else(|| self.unexpected_here())?;
        self.expect(TokenKind::RightParen)?;
        Ok(value)
    }

    /// A number or duration with or without a sign; none where there is none.
    fn signed_number(&mut self) -> Result<Option<f64>> {
        let sign = self.peek().kind;
        let minus = sign == TokenKind::Binary(BinaryOp::Sub);
        if minus || sign == TokenKind::Binary(BinaryOp::Add) {
            self.take();
        }
        let token = self.peek();
        if !matches!(token.kind, TokenKind::Number | TokenKind::Duration) {
            return Ok(None);
        }
        self.take();
        let value = self.number(token)?;
        Ok(Some(if minus { -value } else { value }))
    }

    /// The value of a number, or of a duration in seconds.
    fn number(&self, token: Token) -> Result<f64> {
        let written = self.written(token);
        let value = match token.kind {
            TokenKind::Duration => crate::parse_duration(written).map(|ms| ms as f64 / 1e3),
            _ => number::parse(written),
        };
        value.map_err(|message| self.wrong(token.place, message))
    }

    fn unquoted(&self, token: Token) -> Result<String> {
        let quoted = self.written(token);
        unquote(quoted).ok_or_else(|| {
            let message = format!("error unquoting string {}: invalid syntax", quote(quoted));
            self.wrong(token.place, message)
        })
    }

    /// The names in `(a, "b c")`.
    fn labels(&mut self) -> Result<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        self.taken(TokenKind::LeftParen).ok_or_else(|| self.unexpected(CONTEXT, "\"(\""))?;
        let mut labels = Vec::new();
        if self.taken(TokenKind::RightParen).is_some() {
            return Ok(labels);
        }
        loop {
            let token = self.peek();
            labels.push(match token.kind {
                TokenKind::Text => {
                    self.take();
                    let name = self.unquoted(token)?;
                    if name.is_empty() {
                        return Err(self.wrong(token.place, "invalid label name for grouping: \"\""));
                    }
                    name
                }
                kind if kind.is_label() => {
                    self.take();
                    self.written(token).to_owned()
                }
                _ => return Err(self.unexpected(CONTEXT, "label")),
            });
            let comma = self.taken(TokenKind::Comma).is_some();
            if self.taken(TokenKind::RightParen).is_some() {
                return Ok(labels);
            }
            if !comma {
                return Err(self.unexpected(CONTEXT, "\",\" or \")\""));
            }
        }
    }

    fn peek(&mut self) -> Token {
        *self.next.get_or_insert_with(|| self.lexer.next())
    }

    fn take(&mut self) -> Token {
        let token = self.peek();
        self.next = None;
        self.last_end = token.place.end;
        token
    }

    fn taken(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.take())
    }

    fn expect(&mut self, kind: TokenKind) -> Result<Token> {
        match self.taken(kind) {
            Some(token) => Ok(token),
            None => Err(self.unexpected_here()),
        }
    }

    fn written(&self, token: Token) -> &'a str {
        &self.text[token.place.start as usize..token.place.end as usize]
    }

    fn wrong(&self, place: Place, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, place, message)
    }

    /// The next token does not belong here: `unexpected … in context, expected …`.
    fn unexpected(&mut self, context: &str, expected: &str) -> ParseError {
        let token = self.peek();
        if token.kind == TokenKind::Wrong {
            return self.wrong(token.place, self.lexer.wrong());
        }
        let mut message = format!("unexpected {}", token.kind.describe(self.written(token)));
        if !context.is_empty() {
            message += " in ";
            message += context;
        }
        if !expected.is_empty() {
            message += ", expected ";
            message += expected;
        }
        self.wrong(token.place, message)
    }

    /// The next token does not belong here, and only what encloses it can say
    /// why.
    fn unexpected_here(&mut self) -> ParseError {
        let context = if self.aggregations > 0 { "aggregation" } else { "" };
        self.unexpected(context, "")
    }

    /// One deeper; left by counting down where all went well.
    fn enter(&mut self) -> Result<()> {
        self.nesting += 1;
        if self.nesting <= self.options.max_nesting {
            return Ok(());
        }
        let place = self.peek().place;
        let limit = self.options.max_nesting;
        Err(self.wrong(place, format!("expression is nested more than {limit} deep")))
    }

    /// An expression over others of some height.
    fn over(&self, height: usize, expr: Expr) -> Result<Tree> {
        let limit = self.options.max_height;
        if height < limit {
            return Ok(Tree { expr, height: height + 1 });
        }
        let message = format!("expression has more than {limit} operations in one another");
        Err(self.wrong(expr.place, message))
    }
}

const BY: TokenKind = TokenKind::Keyword(Keyword::By);
const WITHOUT: TokenKind = TokenKind::Keyword(Keyword::Without);

fn leaf(kind: Kind, place: Place) -> Tree {
    Tree { expr: Expr { kind, place }, height: 1 }
}
