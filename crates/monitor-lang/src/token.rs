//! The words and signs that a query is made of.

use crate::ast::{AggregateOp, BinaryOp, Place};
use crate::quote::quote;

/// A word or sign and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    End,
    /// The lexer has said what is wrong.
    Wrong,
    Identifier,
    /// An identifier with a colon, which only a metric's name may have.
    MetricIdentifier,
    Text,
    Number,
    Duration,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`; the others that match labels are next to it.
    Assign,
    EqualRegex,
    NotRegex,
    At,
    Binary(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    Preprocessor(Preprocessor),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Anchored,
    Bool,
    By,
    Fill,
    FillLeft,
    FillRight,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Smoothed,
    Without,
}

/// Words that are functions, parts of durations and of `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

impl TokenKind {
    /// What a word is; words are told in any case.
    pub(crate) fn of_word(word: &str) -> Self {
        use {AggregateOp as A, BinaryOp as B, Keyword as K, Preprocessor as P};
        // No key word is longer.
        if word.len() > "count_values".len() {
            return Self::of_name(word);
        }
        match word.to_ascii_lowercase().as_str() {
            "and" => Self::Binary(B::And),
            "or" => Self::Binary(B::Or),
            "unless" => Self::Binary(B::Unless),
            "atan2" => Self::Binary(B::Atan2),
            "sum" => Self::Aggregate(A::Sum),
            "avg" => Self::Aggregate(A::Avg),
            "count" => Self::Aggregate(A::Count),
            "min" => Self::Aggregate(A::Min),
            "max" => Self::Aggregate(A::Max),
            "group" => Self::Aggregate(A::Group),
            "stddev" => Self::Aggregate(A::Stddev),
            "stdvar" => Self::Aggregate(A::Stdvar),
            "topk" => Self::Aggregate(A::Topk),
            "bottomk" => Self::Aggregate(A::Bottomk),
            "count_values" => Self::Aggregate(A::CountValues),
            "quantile" => Self::Aggregate(A::Quantile),
            "limitk" => Self::Aggregate(A::Limitk),
            "limit_ratio" => Self::Aggregate(A::LimitRatio),
            "anchored" => Self::Keyword(K::Anchored),
            "bool" => Self::Keyword(K::Bool),
            "by" => Self::Keyword(K::By),
            "fill" => Self::Keyword(K::Fill),
            "fill_left" => Self::Keyword(K::FillLeft),
            "fill_right" => Self::Keyword(K::FillRight),
            "group_left" => Self::Keyword(K::GroupLeft),
            "group_right" => Self::Keyword(K::GroupRight),
            "ignoring" => Self::Keyword(K::Ignoring),
            "offset" => Self::Keyword(K::Offset),
            "on" => Self::Keyword(K::On),
            "smoothed" => Self::Keyword(K::Smoothed),
            "without" => Self::Keyword(K::Without),
            "start" => Self::Preprocessor(P::Start),
            "end" => Self::Preprocessor(P::End),
            "step" => Self::Preprocessor(P::Step),
            "range" => Self::Preprocessor(P::Range),
            "min_of" => Self::Preprocessor(P::MinOf),
            "max_of" => Self::Preprocessor(P::MaxOf),
            "inf" | "nan" => Self::Number,
            _ => Self::of_name(word),
        }
    }

    fn of_name(word: &str) -> Self {
        if word.contains(':') { Self::MetricIdentifier } else { Self::Identifier }
    }

    /// Whether it may be a metric's name before braces or alone.
    pub(crate) fn is_metric_name(self) -> bool {
        use Keyword as K;
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Preprocessor(_) => true,
            Self::Binary(op) => op.is_set(),
            Self::Keyword(word) => {
                !matches!(word, K::Bool | K::GroupLeft | K::GroupRight | K::Ignoring | K::On)
            }
            _ => false,
        }
    }

    /// Whether it may be a label's name in `by (…)` and the like.
    pub(crate) fn is_label(self) -> bool {
        match self {
            Self::Keyword(word) => word != Keyword::Without,
            other => other.is_metric_name() || other == Self::Binary(BinaryOp::Atan2),
        }
    }

    /// Whether an expression can begin with it.
    pub(crate) fn begins_expr(self) -> bool {
        let sign = matches!(self, Self::Binary(BinaryOp::Add | BinaryOp::Sub));
        let literal = matches!(self, Self::Number | Self::Duration | Self::Text);
        let bracket = matches!(self, Self::LeftParen | Self::LeftBrace);
        sign || literal || bracket || self.is_metric_name()
    }

    /// As Prometheus' messages name it.
    pub(crate) fn describe(self, written: &str) -> String {
        match self {
            Self::End => "end of input".into(),
            Self::Wrong => "error".into(),
            Self::Identifier => format!("identifier {}", quote(written)),
            Self::MetricIdentifier => format!("metric identifier {}", quote(written)),
            Self::Text => format!("string {}", shortened(written)),
            Self::Number => format!("number {}", shortened(written)),
            Self::Duration => format!("duration {}", shortened(written)),
            Self::At | Self::EqualRegex | Self::NotRegex | Self::Binary(_) => format!("<op:{written}>"),
            Self::Aggregate(_) => format!("<aggr:{written}>"),
            Self::Keyword(_) => format!("<{written}>"),
            _ => quote(written),
        }
    }
}

/// What is longer than ten bytes is cut after ten characters.
fn shortened(written: &str) -> String {
    if written.len() <= 10 {
        return quote(written);
    }
    let cut: String = written.chars().take(10).collect();
    format!("{}...", quote(&cut))
}
