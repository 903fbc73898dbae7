//! The tree of a query.

use crate::ParseError;
use monitor_model::Matcher;
use std::fmt;

/// Where a part of the text lies, in bytes: `start` inclusive, `end` exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Place {
    /// From the start of one to the end of the other.
    pub fn to(self, end: Self) -> Self {
        Self { start: self.start, end: end.end }
    }
}

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A number.
    Scalar,
    /// A text.
    String,
    /// One sample a series.
    Vector,
    /// Samples over a range, for each series.
    Matrix,
}

/// As Prometheus' manual names it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        })
    }
}

/// An expression and where it stands.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub place: Place,
}

impl Expr {
    /// What it gives. The tree's depth is bounded, so is the work.
    pub fn gives(&self) -> Type {
        match &self.kind {
            Kind::Number { .. } => Type::Scalar,
            Kind::Text(_) => Type::String,
            Kind::Selector(_) | Kind::Aggregate { .. } => Type::Vector,
            Kind::Range { .. } | Kind::Subquery { .. } => Type::Matrix,
            Kind::Call { function, .. } => function.gives,
            Kind::Binary { left, right, .. } => match (left.gives(), right.gives()) {
                (Type::Scalar, Type::Scalar) => Type::Scalar,
                _ => Type::Vector,
            },
            Kind::Unary { of, .. } | Kind::Paren(of) => of.gives(),
        }
    }

    /// The expression inside of any parentheses around it.
    pub fn unparenthesised(&self) -> &Self {
        let mut inner = self;
        while let Kind::Paren(of) = &inner.kind {
            inner = of;
        }
        inner
    }
}

/// The kinds of expressions.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A number; written as a duration (`5m` = 300) or not.
    Number {
        /// The number.
        value: f64,
        /// Whether it was written as a duration.
        duration: bool,
    },
    /// A text.
    Text(String),
    /// `up{job="a"} offset 5m @ end()`.
    Selector(Selector),
    /// `up[5m] anchored`.
    Range {
        /// What is selected, offset and `@` included.
        selector: Selector,
        /// How far back.
        range: Span,
    },
    /// `expr[1h:1m] offset 5m @ start()`.
    Subquery {
        /// What is evaluated again and again.
        of: Box<Expr>,
        /// How far back.
        range: Span,
        /// At which step; none means the default one.
        step: Option<Span>,
        /// Moved in time.
        shift: Shift,
    },
    /// `rate(x[5m])`.
    Call {
        /// What is called.
        function: &'static crate::Function,
        /// With what.
        args: Vec<Expr>,
    },
    /// `sum by (job) (x)`, `topk(3, x)`.
    Aggregate {
        /// Which.
        op: AggregateOp,
        /// `k`, the quantile, the label's name.
        param: Option<Box<Expr>>,
        /// What is aggregated.
        of: Box<Expr>,
        /// The labels of `by` or `without`, as written.
        labels: Vec<String>,
        /// Whether the labels are those that go.
        without: bool,
    },
    /// `a + on (x) group_left (y) fill (0) b`.
    Binary {
        /// Which.
        op: BinaryOp,
        /// The left side.
        left: Box<Expr>,
        /// The right side.
        right: Box<Expr>,
        /// Where both sides are vectors.
        matching: Option<Matching>,
        /// `bool` of a comparison.
        bool: bool,
    },
    /// `-x`, `+x`.
    Unary {
        /// Whether it is a minus.
        minus: bool,
        /// Of what.
        of: Box<Expr>,
    },
    /// `(x)`.
    Paren(Box<Expr>),
}

/// A series selector.
#[derive(Clone, Debug)]
pub struct Selector {
    /// The metric's name where it stands before the braces.
    pub name: Option<String>,
    /// All conditions, the name's included.
    pub matchers: Vec<Matcher>,
    /// Moved in time.
    pub shift: Shift,
    /// `anchored`: the range's edges are the samples at or before them.
    pub anchored: bool,
    /// `smoothed`: values at the range's edges are interpolated.
    pub smoothed: bool,
    /// Where selector, modifiers left out, stands.
    pub place: Place,
}

/// `offset` and `@`.
#[derive(Clone, Debug, Default)]
pub struct Shift {
    /// `offset`: how much earlier.
    pub offset: Option<Span>,
    /// `@`: at which time instead.
    pub at: Option<At>,
}

/// What `@` names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Unix milliseconds.
    Time(i64),
    /// The query's start.
    Start,
    /// The query's end.
    End,
}

/// A span of time: fixed, or computed from the query's step and range.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// Milliseconds.
    Fixed(i64),
    /// To be computed when the query's step and range are known, by
    /// [`Span::resolve`].
    Computed(Box<SpanExpr>, Place),
}

impl Span {
    /// The span in milliseconds, where the query's step and range (end minus
    /// start; both 0 for an instant query) are known. A span of `offset` may be
    /// zero or negative, the others must not.
    ///
    /// The errors are Prometheus' own, without line and column: what is wrong
    /// depends on the query's parameters, not only on its text.
    pub fn resolve(&self, step_ms: i64, range_ms: i64, offset: bool) -> Result<i64, ParseError> {
        let (expr, place) = match self {
            Self::Fixed(ms) => return Ok(*ms),
            Self::Computed(expr, place) => (expr, *place),
        };
        let seconds = expr.seconds(step_ms as f64 / 1e3, range_ms as f64 / 1e3)?;
        if !offset && seconds <= 0.0 {
            return Err(ParseError::unplaced("duration must be greater than 0", place));
        }
        if seconds.is_nan() || seconds.abs() > MAX_SPAN_SECONDS {
            return Err(ParseError::unplaced("duration is out of range", place));
        }
        Ok((seconds * 1e3) as i64)
    }
}

impl SpanExpr {
    fn seconds(&self, step: f64, range: f64) -> Result<f64, ParseError> {
        Ok(match self {
            Self::Seconds(seconds, _) => *seconds,
            Self::Step => step,
            Self::Range => range,
            Self::Min(a, b) => a.seconds(step, range)?.min(b.seconds(step, range)?),
            Self::Max(a, b) => a.seconds(step, range)?.max(b.seconds(step, range)?),
            Self::Minus(of) => -of.seconds(step, range)?,
            Self::Paren(of) => of.seconds(step, range)?,
            Self::Binary(op, a, b, place) => {
                let (a, b) = (a.seconds(step, range)?, b.seconds(step, range)?);
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div if b == 0.0 => {
                        return Err(ParseError::unplaced("division by zero", *place));
                    }
                    BinaryOp::Mod if b == 0.0 => return Err(ParseError::unplaced("modulo by zero", *place)),
                    BinaryOp::Div => a / b,
                    BinaryOp::Mod => a % b,
                    _ => a.powf(b),
                }
            }
        })
    }
}

/// A span is at most what 64 bits of nanoseconds hold, 292 years.
pub const MAX_SPAN_SECONDS: f64 = (1u64 << 63) as f64 / 1e9;

/// A duration expression: `5m + step()`, `max_of(range(), 1h)`. Numbers count in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanExpr {
    /// Seconds, and whether they were written as a duration.
    Seconds(f64, bool),
    /// The query's step.
    Step,
    /// The query's range, its end minus its start.
    Range,
    /// `min_of`: the smaller.
    Min(Box<SpanExpr>, Box<SpanExpr>),
    /// `max_of`: the larger.
    Max(Box<SpanExpr>, Box<SpanExpr>),
    /// The negative.
    Minus(Box<SpanExpr>),
    /// In parentheses.
    Paren(Box<SpanExpr>),
    /// Two spans and what is between them, `+ - * / % ^`, and where all that stands.
    Binary(BinaryOp, Box<SpanExpr>, Box<SpanExpr>, Place),
}

/// How the series of two vectors find each other.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    /// How many of which side.
    pub cardinality: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether it is `on`.
    pub on: bool,
    /// The labels of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// `fill`, `fill_left`: what stands for a missing sample of the left side.
    pub fill_left: Option<f64>,
    /// `fill`, `fill_right`: likewise of the right side.
    pub fill_right: Option<f64>,
}

/// How many series of each side match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// One and one.
    #[default]
    OneToOne,
    /// Many of the left: `group_left`.
    ManyToOne,
    /// Many of the right: `group_right`.
    OneToMany,
    /// `and`, `or`, `unless`.
    ManyToMany,
}

/// Between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is its PromQL sign or word
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
    /// `</`: the part of a histogram below a bound.
    TrimUpper,
    /// `>/`: the part of a histogram above a bound.
    TrimLower,
}

/// Aggregations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is its PromQL word
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl BinaryOp {
    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterEqual => ">=",
            Self::LessEqual => "<=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
        }
    }

    /// Whether it is `== != > < >= <=`.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | Less | GreaterEqual | LessEqual)
    }

    /// Whether it is `and`, `or` or `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

impl AggregateOp {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The type of its parameter, where it takes one.
    pub fn param(self) -> Option<Type> {
        use AggregateOp::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        match self {
            CountValues => Some(Type::String),
            Topk | Bottomk | Quantile | Limitk | LimitRatio => Some(Type::Scalar),
            _ => None,
        }
    }
}

impl fmt::Display for BinaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}

impl fmt::Display for AggregateOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
