//! Functions and aggregations.

use super::{BY, LOOSEST, Parser, Result, Tree, WITHOUT};
use crate::ast::{AggregateOp, Expr, Kind};
use crate::quote::{quote, quote_bytes, unquoted_bytes};
use crate::token::{Token, TokenKind};
use crate::{Function, ParseError};

impl Parser<'_> {
    /// `rate(x[5m])`, its name read.
    pub(super) fn call(&mut self, name: Token) -> Result<Tree> {
        let (args, height, close) = self.args(false)?;
        let place = name.place.to(close.place);
        let written = self.written(name);
        let Some(function) = Function::named(written) else {
            let message = format!("unknown function with name {}", quote(written));
            return Err(self.wrong(name.place, message));
        };
        self.over(height, Expr { kind: Kind::Call { function, args }, place })
    }

    /// `sum by (a) (x)` or `sum(x) by (a)`, its name read.
    pub(super) fn aggregate(&mut self, op: AggregateOp, name: Token) -> Result<Tree> {
        self.aggregations += 1;
        let mut grouping = self.grouping()?;
        let (mut args, height, close) = self.args(op == AggregateOp::CountValues)?;
        self.aggregations -= 1;
        let mut place = name.place.to(close.place);
        if grouping.is_none() {
            match self.peek().kind {
                BY | WITHOUT => {
                    grouping = self.grouping()?;
                    place.end = self.last_end;
                }
                TokenKind::Wrong => return Err(self.unexpected_here()),
                _ => {}
            }
        }
        if args.is_empty() {
            return Err(self.wrong(place, "no arguments for aggregate expression provided"));
        }
        let expected = if op.param().is_some() { 2 } else { 1 };
        if args.len() != expected {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {expected}, got {}",
                args.len()
            );
            return Err(self.wrong(place, message));
        }
        let of = Box::new(args.remove(expected - 1));
        let param = args.pop().map(Box::new);
        let (without, labels) = grouping.unwrap_or_default();
        self.over(height, Expr { kind: Kind::Aggregate { op, param, of, labels, without }, place })
    }

    /// `by (…)` or `without (…)`.
    fn grouping(&mut self) -> Result<Option<(bool, Vec<String>)>> {
        let without = match self.peek().kind {
            BY => false,
            WITHOUT => true,
            _ => return Ok(None),
        };
        self.take();
        Ok(Some((without, self.labels()?)))
    }

    /// `(a, b)`: the arguments, the height of the highest and the `)`. The first
    /// of them may have to be a label's name.
    fn args(&mut self, label_first: bool) -> Result<(Vec<Expr>, usize, Token)> {
        self.expect(TokenKind::LeftParen)?;
        let mut args = Vec::new();
        let mut height = 0;
        if let Some(close) = self.taken(TokenKind::RightParen) {
            return Ok((args, height, close));
        }
        let first = self.peek();
        if label_first && first.kind == TokenKind::Text {
            let name = unquoted_bytes(self.written(first)).unwrap_or_default();
            if std::str::from_utf8(&name).is_err() {
                let message = format!("invalid label name {}", quote_bytes(&name));
                return Err(ParseError::of_evaluation(&message, first.place));
            }
        }
        loop {
            let arg = self.expr(LOOSEST)?;
            height = height.max(arg.height);
            args.push(arg.expr);
            if let Some(close) = self.taken(TokenKind::RightParen) {
                return Ok((args, height, close));
            }
            let comma = self.expect(TokenKind::Comma)?;
            let next = self.peek().kind;
            if !next.begins_expr() && next != TokenKind::Wrong {
                return Err(self.wrong(comma.place, "trailing commas not allowed in function call args"));
            }
        }
    }
}
