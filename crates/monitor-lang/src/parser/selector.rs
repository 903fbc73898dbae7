//! Series selectors and what may follow them: ranges, subqueries, `offset`,
//! `@`, `anchored`, `smoothed`.

use super::{Parser, Result, Tree, leaf};
use crate::ast::{At, BinaryOp, Expr, Kind, Place, Selector, Shift, Span};
use crate::token::{Keyword, Preprocessor, Token, TokenKind};
use monitor_model::{METRIC_NAME, Matcher};

impl Parser<'_> {
    /// `name{…}`, its name read; `{…}`.
    pub(super) fn selector(&mut self, name: Option<Token>) -> Result<Tree> {
        let selector = self.bare_selector(name)?;
        let place = selector.place;
        Ok(leaf(Kind::Selector(selector), place))
    }

    /// A whole text that is nothing but a selector.
    pub(crate) fn whole_selector(mut self) -> Result<Selector> {
        let token = self.peek();
        let name = token.kind.is_metric_name().then(|| self.take());
        if name.is_none() && token.kind != TokenKind::LeftBrace {
            return Err(self.unexpected_here());
        }
        let selector = self.bare_selector(name)?;
        self.end()?;
        Ok(selector)
    }

    fn bare_selector(&mut self, name: Option<Token>) -> Result<Selector> {
        let braces = self.peek();
        let mut place = name.unwrap_or(braces).place;
        let mut matchers = Vec::new();
        if self.taken(TokenKind::LeftBrace).is_some() {
            self.matchers(&mut matchers)?;
            place.end = self.last_end;
        }
        let name = name.map(|token| self.written(token).to_owned());
        matchers.extend(name.iter().map(|name| Matcher::equal(METRIC_NAME, name)));
        Ok(Selector { name, matchers, shift: Shift::default(), anchored: false, smoothed: false, place })
    }

    /// What is between braces, the `{` read, and the `}`.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<()> {
        const CONTEXT: &str = "label matching";
        if self.taken(TokenKind::RightBrace).is_some() {
            return Ok(());
        }
        loop {
            let label = self.peek();
            let name = match label.kind {
                TokenKind::Identifier => self.written(label).to_owned(),
                TokenKind::Text => self.unquoted(label)?,
                _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
            };
            self.take();
            let op = self.peek().kind;
            if matches!(op, ASSIGN | NOT_EQUAL | TokenKind::EqualRegex | TokenKind::NotRegex) {
                self.take();
                let Some(value) = self.taken(TokenKind::Text) else {
                    return Err(self.unexpected(CONTEXT, "string"));
                };
                matchers.push(self.matcher(label, &name, op, value)?);
            } else if label.kind == TokenKind::Text {
                matchers.push(Matcher::equal(METRIC_NAME, &name));
            } else {
                return Err(self.unexpected(CONTEXT, "label matching operator"));
            }
            let comma = self.taken(TokenKind::Comma).is_some();
            if self.taken(TokenKind::RightBrace).is_some() {
                return Ok(());
            }
            if !comma {
                return Err(self.unexpected(CONTEXT, "\",\" or \"}\""));
            }
        }
    }

    fn matcher(&mut self, label: Token, name: &str, op: TokenKind, value: Token) -> Result<Matcher> {
        let text = self.unquoted(value)?;
        match op {
            ASSIGN => Ok(Matcher::equal(name, &text)),
            NOT_EQUAL => Ok(Matcher::not_equal(name, &text)),
            op => self.regex(label.place.to(value.place), name, &text, op == TokenKind::NotRegex),
        }
    }

    fn regex(&mut self, place: Place, name: &str, text: &str, negated: bool) -> Result<Matcher> {
        if let Some(known) = self.regexes.get(text) {
            let mut matcher = known.clone();
            matcher.name = name.to_owned();
            matcher.negated = negated;
            return Ok(matcher);
        }
        let costly = text.contains(['\\', '{']);
        if costly && self.regexes.len() >= self.options.max_regexes {
            let limit = self.options.max_regexes;
            return Err(self.wrong(place, format!("more than {limit} different regular expressions")));
        }
        let matcher = Matcher::regex(name, text, negated).map_err(|error| {
            // What is wrong stands on the last line, below a drawing of where.
            let why = error.0.lines().last().unwrap_or_default().trim_start_matches("error: ");
            self.wrong(place, format!("error parsing regexp: {why}: `{text}`"))
        })?;
        if costly {
            self.regexes.insert(text.to_owned(), matcher.clone());
        }
        Ok(matcher)
    }

    /// What may follow an expression, again and again.
    pub(super) fn postfix(&mut self, mut tree: Tree) -> Result<Tree> {
        loop {
            tree = match self.peek().kind {
                TokenKind::LeftBracket => self.bracket(tree)?,
                TokenKind::At => self.at(tree)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(tree)?,
                TokenKind::Keyword(word @ (Keyword::Anchored | Keyword::Smoothed)) => {
                    self.take();
                    self.edges(tree, word)?
                }
                _ => return Ok(tree),
            };
        }
    }

    /// `[5m]` or `[1h:1m]`.
    fn bracket(&mut self, tree: Tree) -> Result<Tree> {
        let open = self.take();
        const SPANS: &str = "number, duration, step(), or range()";
        let range = self.positive_span(("subquery or range selector", SPANS))?;
        if self.taken(TokenKind::Colon).is_none() {
            let Some(close) = self.taken(TokenKind::RightBracket) else {
                return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
            };
            return self.range(tree, range, open, close);
        }
        let context = ("subquery selector", "number, duration, step(), range(), or \"]\"");
        let step = match self.peek().kind {
            TokenKind::RightBracket => None,
            _ => Some(self.positive_span(context)?),
        };
        let Some(close) = self.taken(TokenKind::RightBracket) else {
            return Err(self.unexpected("subquery selector", "\"]\""));
        };
        let place = tree.expr.place.to(close.place);
        let of = Box::new(tree.expr);
        let kind = Kind::Subquery { of, range, step, shift: Shift::default() };
        self.over(tree.height, Expr { kind, place })
    }

    fn range(&self, tree: Tree, range: Span, open: Token, close: Token) -> Result<Tree> {
        let place = tree.expr.place.to(close.place);
        let wrong = |message| Err(self.wrong(open.place.to(close.place), message));
        let Kind::Selector(selector) = tree.expr.kind else {
            return wrong("ranges only allowed for vector selectors");
        };
        // As in Prometheus, `start()`, `end()` and what is computed may stand before.
        if matches!(selector.shift.offset, Some(Span::Fixed(_))) {
            return wrong("no offset modifiers allowed before range");
        }
        if matches!(selector.shift.at, Some(At::Time(_))) {
            return wrong("no @ modifiers allowed before range");
        }
        Ok(leaf(Kind::Range { selector, range }, place))
    }

    fn offset(&mut self, mut tree: Tree) -> Result<Tree> {
        self.take();
        let span = self.offset_span()?;
        let end = self.last_end;
        let place = tree.expr.place;
        let Some(shift) = shift_of(&mut tree.expr) else {
            return Err(self.wrong(place, format!("offset modifier {AFTER}")));
        };
        if shift.offset.is_some() {
            return Err(self.wrong(place, "offset may not be set multiple times"));
        }
        // No offset is the same as one of nothing.
        shift.offset = Some(span).filter(|span| *span != Span::Fixed(0));
        tree.expr.place.end = end;
        Ok(tree)
    }

    fn at(&mut self, mut tree: Tree) -> Result<Tree> {
        self.take();
        let place = tree.expr.place;
        let at = self.at_time(&tree.expr)?;
        let end = self.last_end;
        let Some(shift) = shift_of(&mut tree.expr) else {
            return Err(self.wrong(place, format!("@ modifier {AFTER}")));
        };
        if shift.at.is_some() {
            return Err(self.wrong(place, "@ <timestamp> may not be set multiple times"));
        }
        shift.at = Some(at);
        tree.expr.place.end = end;
        Ok(tree)
    }

    fn at_time(&mut self, of: &Expr) -> Result<At> {
        let at = match self.peek().kind {
            TokenKind::Preprocessor(Preprocessor::Start) => At::Start,
            TokenKind::Preprocessor(Preprocessor::End) => At::End,
            _ => {
                let Some(seconds) = self.signed_number()? else {
                    return Err(self.unexpected("@", "timestamp"));
                };
                // Nothing beyond 64 bits of milliseconds can be a sample's time.
                let ms = (seconds * 1e3).round();
                if ms.abs() < i64::MAX as f64 {
                    return Ok(At::Time(ms as i64));
                }
                let seconds = match () {
                    () if seconds.is_nan() => "NaN".into(),
                    () if seconds == f64::INFINITY => "+Inf".into(),
                    () if seconds == f64::NEG_INFINITY => "-Inf".into(),
                    () => format!("{seconds:.6}"),
                };
                let message = format!("timestamp out of bounds for @ modifier: {seconds}");
                return Err(self.wrong(of.place, message));
            }
        };
        self.take();
        for paren in [TokenKind::LeftParen, TokenKind::RightParen] {
            if self.taken(paren).is_none() {
                return Err(self.unexpected("@", "timestamp"));
            }
        }
        Ok(at)
    }

    /// `anchored` and `smoothed`.
    fn edges(&mut self, mut tree: Tree, word: Keyword) -> Result<Tree> {
        let name = if word == Keyword::Anchored { "anchored" } else { "smoothed" };
        let place = tree.expr.place;
        let selector = match &mut tree.expr.kind {
            Kind::Selector(selector) | Kind::Range { selector, .. } => selector,
            Kind::Subquery { .. } => {
                let message = format!("{name} modifier is not supported for subqueries");
                return Err(self.wrong(place, message));
            }
            _ => return Err(self.wrong(place, format!("{name} modifier not implemented"))),
        };
        match word {
            Keyword::Anchored => selector.anchored = true,
            _ => selector.smoothed = true,
        }
        if selector.anchored && selector.smoothed {
            let message = "anchored and smoothed modifiers cannot be used together";
            return Err(self.wrong(place, message));
        }
        Ok(tree)
    }
}

const ASSIGN: TokenKind = TokenKind::Assign;
const NOT_EQUAL: TokenKind = TokenKind::Binary(BinaryOp::NotEqual);
const AFTER: &str = "must be preceded by an instant vector selector or range vector selector or a subquery";

fn shift_of(expr: &mut Expr) -> Option<&mut Shift> {
    match &mut expr.kind {
        Kind::Selector(selector) | Kind::Range { selector, .. } => Some(&mut selector.shift),
        Kind::Subquery { shift, .. } => Some(shift),
        _ => None,
    }
}
