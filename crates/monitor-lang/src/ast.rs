//! The tree of a query.

use monitor_model::Matcher;

/// Where a part of the text lies, in bytes: `start` inclusive, `end` exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
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

/// An expression and where it stands.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub place: Place,
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
#[derive(Clone, Debug)]
pub enum Span {
    /// Milliseconds.
    Fixed(i64),
    /// To be computed when the query's step and range are known.
    Computed(Box<SpanExpr>, Place),
}

/// A duration expression: `5m + step()`, `max(range(), 1h)`. Numbers count in seconds.
#[derive(Clone, Debug)]
pub enum SpanExpr {
    /// Seconds.
    Seconds(f64),
    /// The query's step.
    Step,
    /// The query's range, its end minus its start.
    Range,
    /// The smaller.
    Min(Box<SpanExpr>, Box<SpanExpr>),
    /// The larger.
    Max(Box<SpanExpr>, Box<SpanExpr>),
    /// The negative.
    Minus(Box<SpanExpr>),
    /// Two spans and what is between them: `+ - * / % ^`.
    Binary(BinaryOp, Box<SpanExpr>, Box<SpanExpr>),
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
