//! Durations in brackets and after `offset`, and arithmetic on them. Source:
//! Prometheus manual, "Feature flags", "PromQL arithmetic expressions in time
//! durations".

use super::{Binding, LOOSEST, POWER, Parser, Result};
use crate::ast::{BinaryOp, MAX_SPAN_SECONDS, Place, Span, SpanExpr};
use crate::token::{Preprocessor, Token, TokenKind};

/// What an error says: in which context, and what was expected.
type Context = (&'static str, &'static str);

/// A duration expression and where it stands.
type Placed = (SpanExpr, Place);

impl Parser<'_> {
    /// A range or a step.
    pub(super) fn positive_span(&mut self, context: Context) -> Result<Span> {
        let placed = self.span(LOOSEST, context)?;
        if let (SpanExpr::Seconds(seconds, _), place) = placed
            && seconds <= 0.0
        {
            return Err(self.wrong(place, "duration must be greater than 0"));
        }
        Ok(finish(placed))
    }

    /// After `offset` a number or duration stands alone: `x offset 1m + 1` is
    /// `(x offset 1m) + 1`, and only what is in parentheses is computed with.
    pub(super) fn offset_span(&mut self) -> Result<Span> {
        let context = ("offset", "number, duration, step(), or range()");
        let sign = self.peek();
        let placed = match sign.kind {
            TokenKind::LeftParen => self.span(LOOSEST, context)?,
            TokenKind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.take();
                let of = self.span_operand(context)?;
                self.signed(sign, op, of)?
            }
            _ => self.span_operand(context)?,
        };
        Ok(finish(placed))
    }

    fn span(&mut self, loosest: Binding, context: Context) -> Result<Placed> {
        self.enter()?;
        let sign = self.peek();
        let (mut left, mut place) = match sign.kind {
            TokenKind::Binary(op @ (BinaryOp::Add | BinaryOp::Sub)) => {
                self.take();
                let of = self.span(POWER, context)?;
                self.signed(sign, op, of)?
            }
            _ => self.span_operand(context)?,
        };
        let mut height = 0;
        while let TokenKind::Binary(op) = self.peek().kind {
            use BinaryOp::{Add, Div, Mod, Mul, Pow, Sub};
            let binding = Binding::of(op);
            if !matches!(op, Add | Sub | Mul | Div | Mod | Pow) || binding < loosest {
                break;
            }
            let sign = self.take();
            let (right, end) = self.span(binding.of_right_side(), context)?;
            if let (Div | Mod, SpanExpr::Seconds(0.0, _)) = (op, &right) {
                let what = if op == Div { "division" } else { "modulo" };
                return Err(self.wrong(sign.place, format!("{what} by zero")));
            }
            height += 1;
            if height > self.options.max_nesting {
                return Err(self.wrong(place, "duration expression is too long"));
            }
            place = place.to(end);
            left = SpanExpr::Binary(op, Box::new(left), Box::new(right), place);
        }
        self.nesting -= 1;
        Ok((left, place))
    }

    fn signed(&self, sign: Token, op: BinaryOp, (of, end): Placed) -> Result<Placed> {
        let place = sign.place.to(end);
        Ok((
            match of {
                of if op == BinaryOp::Add => of,
                SpanExpr::Seconds(seconds, duration) => SpanExpr::Seconds(-seconds, duration),
                of => SpanExpr::Minus(Box::new(of)),
            },
            place,
        ))
    }

    fn span_operand(&mut self, context: Context) -> Result<Placed> {
        let token = self.peek();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                self.take();
                let seconds = self.number(token)?;
                if seconds.is_nan() || seconds.abs() > MAX_SPAN_SECONDS {
                    return Err(self.wrong(token.place, "duration out of range"));
                }
                Ok((SpanExpr::Seconds(seconds, token.kind == TokenKind::Duration), token.place))
            }
            TokenKind::LeftParen => {
                self.take();
                let (of, _) = self.span(LOOSEST, context)?;
                let close = self.span_part(TokenKind::RightParen, context)?;
                Ok((SpanExpr::Paren(Box::new(of)), token.place.to(close.place)))
            }
            TokenKind::Preprocessor(word @ (Preprocessor::Step | Preprocessor::Range)) => {
                self.take();
                self.span_part(TokenKind::LeftParen, context)?;
                let close = self.span_part(TokenKind::RightParen, context)?;
                let of = if word == Preprocessor::Step { SpanExpr::Step } else { SpanExpr::Range };
                Ok((of, token.place.to(close.place)))
            }
            TokenKind::Preprocessor(word @ (Preprocessor::MinOf | Preprocessor::MaxOf)) => {
                self.take();
                self.span_part(TokenKind::LeftParen, context)?;
                let (a, _) = self.span(LOOSEST, context)?;
                self.span_part(TokenKind::Comma, context)?;
                let (b, _) = self.span(LOOSEST, context)?;
                let close = self.span_part(TokenKind::RightParen, context)?;
                let of = if word == Preprocessor::MinOf { SpanExpr::Min } else { SpanExpr::Max };
                Ok((of(Box::new(a), Box::new(b)), token.place.to(close.place)))
            }
            _ => Err(self.unexpected(context.0, context.1)),
        }
    }

    fn span_part(&mut self, kind: TokenKind, context: Context) -> Result<Token> {
        self.taken(kind).ok_or_else(|| self.unexpected(context.0, context.1))
    }
}

/// Nanoseconds are rounded, then whole milliseconds count.
fn finish((expr, place): Placed) -> Span {
    match expr {
        SpanExpr::Seconds(seconds, _) => Span::Fixed((seconds * 1e9).round() as i64 / 1_000_000),
        expr => Span::Computed(Box::new(expr), place),
    }
}
