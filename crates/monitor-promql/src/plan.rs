//! From the parser's tree to ours: selectors compiled, functions looked up, what
//! does not change from step to step marked.

use crate::functions::{self, Function};
use crate::{Error, Labels, METRIC_NAME, Matcher, guard};
use promql_parser::label::MatchOp;
use promql_parser::parser::token::{self, TokenId};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self as ast, AtModifier, Expr, LabelModifier, VectorMatchCardinality};
use std::time::{Duration, SystemTime};

/// A part of a query.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Number(f64),
    Text(String),
    Vector(Selector),
    /// Only as a function's argument, or as a whole instant query.
    Range(Box<Range>),
    Negate(Box<Node>),
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Call),
    /// The same at each step: evaluated once.
    Constant(Box<Node>),
}

/// `up{job="a"} offset 5m @ 100`.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) time: TimeShift,
}

/// `offset` and `@`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeShift {
    pub(crate) offset_ms: i64,
    pub(crate) at: Option<At>,
}

/// The time that `@` gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Ms(i64),
    Start,
    End,
}

/// `up[5m]` or `expression[5m:10s]`.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) of: RangeOf,
    pub(crate) range_ms: i64,
    pub(crate) time: TimeShift,
}

#[derive(Clone, Debug)]
pub(crate) enum RangeOf {
    Series(Vec<Matcher>),
    Subquery { expr: Node, step_ms: Option<i64> },
}

#[derive(Clone, Debug)]
pub(crate) struct Binary {
    pub(crate) op: Op,
    pub(crate) left: Node,
    pub(crate) right: Node,
    /// Whether each side is a number at each step, not series.
    pub(crate) scalars: (bool, bool),
    pub(crate) return_bool: bool,
    pub(crate) matching: Matching,
}

/// How the series of two sides find one another.
#[derive(Clone, Debug)]
pub(crate) struct Matching {
    /// Whether `labels` are those that must agree, or those that need not.
    pub(crate) on: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) many: Many,
    /// Labels taken over from the side that has one.
    pub(crate) include: Vec<String>,
    pub(crate) fill_left: Option<f64>,
    pub(crate) fill_right: Option<f64>,
}

/// Which side may have several series for one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Many {
    Neither,
    Left,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
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
}

impl Op {
    pub(crate) fn is_comparison(self) -> bool {
        use Op::*;
        matches!(self, Equal | NotEqual | Greater | Less | GreaterEqual | LessEqual)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) expr: Node,
    pub(crate) param: Option<Node>,
    pub(crate) grouping: Grouping,
}

/// `by` or `without`.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    pub(crate) without: bool,
    pub(crate) labels: Vec<String>,
}

impl Grouping {
    /// The labels of the group that a series belongs to.
    pub(crate) fn group(&self, labels: &Labels) -> Labels {
        let named = |name: &str| self.labels.iter().any(|l| l == name);
        match self.without {
            true => labels.without(|name| named(name) || name == METRIC_NAME),
            false => labels.without(|name| !named(name)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Quantile,
    Topk,
    Bottomk,
    Limitk,
    LimitRatio,
    CountValues,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) args: Vec<Node>,
}

/// A read query.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) root: Node,
    pub(crate) kind: ValueType,
}

/// Reads a query.
pub(crate) fn read(text: &str) -> Result<Plan, Error> {
    let expr = parse(text)?;
    let kind = expr.value_type();
    let mut root = lower(&expr)?;
    if mark_constants(&mut root).wrap {
        wrap(&mut root);
    }
    Ok(Plan { root, kind })
}

/// Reads a selector alone.
pub(crate) fn read_selector(text: &str) -> Result<Vec<Matcher>, Error> {
    match parse(text)? {
        Expr::VectorSelector(selector) if selector.offset.is_none() && selector.at.is_none() => {
            matchers(&selector)
        }
        _ => Err(Error::Parse(format!("`{text}` is not a series selector such as `up{{job=\"a\"}}`"))),
    }
}

/// The parser behind its guard. A panic in it is a defect of the parser that the
/// guard does not know; the client still gets an error.
fn parse(text: &str) -> Result<Expr, Error> {
    guard::check(text)?;
    match std::panic::catch_unwind(|| ast::parse(text)) {
        Ok(Ok(expr)) => Ok(expr),
        Ok(Err(why)) => Err(Error::Parse(why)),
        Err(_) => Err(Error::Parse("the query cannot be read".into())),
    }
}

fn lower(expr: &Expr) -> Result<Node, Error> {
    match expr {
        Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
        Expr::StringLiteral(text) => Ok(Node::Text(text.val.clone())),
        Expr::Paren(paren) => lower(&paren.expr),
        Expr::Unary(unary) => Ok(Node::Negate(Box::new(lower(&unary.expr)?))),
        Expr::VectorSelector(selector) => Ok(Node::Vector(Selector {
            matchers: matchers(selector)?,
            time: time_shift(selector.offset.as_ref(), selector.at.as_ref())?,
        })),
        Expr::MatrixSelector(matrix) => Ok(Node::Range(Box::new(Range {
            of: RangeOf::Series(matchers(&matrix.vs)?),
            range_ms: millis(matrix.range)?,
            time: time_shift(matrix.vs.offset.as_ref(), matrix.vs.at.as_ref())?,
        }))),
        Expr::Subquery(subquery) => lower_subquery(subquery),
        Expr::Binary(binary) => lower_binary(binary),
        Expr::Aggregate(aggregate) => lower_aggregate(aggregate),
        Expr::Call(call) => lower_call(call),
        Expr::Extension(_) => Err(Error::NotImplemented("extension".into())),
    }
}

fn lower_subquery(subquery: &ast::SubqueryExpr) -> Result<Node, Error> {
    let step_ms = subquery.step.map(millis).transpose()?;
    Ok(Node::Range(Box::new(Range {
        of: RangeOf::Subquery { expr: lower(&subquery.expr)?, step_ms },
        range_ms: millis(subquery.range)?,
        time: time_shift(subquery.offset.as_ref(), subquery.at.as_ref())?,
    })))
}

fn lower_call(call: &ast::Call) -> Result<Node, Error> {
    let function = functions::find(call.func.name)
        .ok_or_else(|| Error::NotImplemented(format!("{}()", call.func.name)))?;
    let args = call.args.args.iter().map(|arg| lower(arg)).collect::<Result<_, _>>()?;
    Ok(Node::Call(Call { function, args }))
}

fn lower_aggregate(aggregate: &ast::AggregateExpr) -> Result<Node, Error> {
    use AggregateOp::*;
    let op = match aggregate.op.id() {
        token::T_SUM => Sum,
        token::T_AVG => Avg,
        token::T_COUNT => Count,
        token::T_MIN => Min,
        token::T_MAX => Max,
        token::T_GROUP => Group,
        token::T_STDDEV => Stddev,
        token::T_STDVAR => Stdvar,
        token::T_QUANTILE => Quantile,
        token::T_TOPK => Topk,
        token::T_BOTTOMK => Bottomk,
        token::T_LIMITK => Limitk,
        token::T_LIMIT_RATIO => LimitRatio,
        token::T_COUNT_VALUES => CountValues,
        _ => return Err(Error::NotImplemented(aggregate.op.to_string())),
    };
    let (without, labels) = label_list(aggregate.modifier.as_ref());
    Ok(Node::Aggregate(Box::new(Aggregate {
        op,
        expr: lower(&aggregate.expr)?,
        param: aggregate.param.as_ref().map(|param| lower(param)).transpose()?,
        grouping: Grouping { without: without && aggregate.modifier.is_some(), labels },
    })))
}

/// Whether a list leaves labels out, and the list.
fn label_list(modifier: Option<&LabelModifier>) -> (bool, Vec<String>) {
    match modifier {
        Some(LabelModifier::Include(list)) => (false, list.labels.clone()),
        Some(LabelModifier::Exclude(list)) => (true, list.labels.clone()),
        None => (true, Vec::new()),
    }
}

fn lower_binary(binary: &ast::BinaryExpr) -> Result<Node, Error> {
    let op = operator(binary.op.id()).ok_or_else(|| Error::NotImplemented(binary.op.to_string()))?;
    let scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
    let modifier = binary.modifier.as_ref();
    let (ignoring, labels) = label_list(modifier.and_then(|m| m.matching.as_ref()));
    let (many, include) = match modifier.map(|m| &m.card) {
        Some(VectorMatchCardinality::ManyToOne(include)) => (Many::Left, include.labels.clone()),
        Some(VectorMatchCardinality::OneToMany(include)) => (Many::Right, include.labels.clone()),
        _ => (Many::Neither, Vec::new()),
    };
    Ok(Node::Binary(Box::new(Binary {
        op,
        left: lower(&binary.lhs)?,
        right: lower(&binary.rhs)?,
        scalars: (scalar(&binary.lhs), scalar(&binary.rhs)),
        return_bool: modifier.is_some_and(|m| m.return_bool),
        matching: Matching {
            on: !ignoring,
            labels,
            many,
            include,
            fill_left: modifier.and_then(|m| m.fill_values.lhs),
            fill_right: modifier.and_then(|m| m.fill_values.rhs),
        },
    })))
}

fn operator(id: TokenId) -> Option<Op> {
    Some(match id {
        token::T_ADD => Op::Add,
        token::T_SUB => Op::Sub,
        token::T_MUL => Op::Mul,
        token::T_DIV => Op::Div,
        token::T_MOD => Op::Mod,
        token::T_POW => Op::Pow,
        token::T_ATAN2 => Op::Atan2,
        token::T_EQLC => Op::Equal,
        token::T_NEQ => Op::NotEqual,
        token::T_GTR => Op::Greater,
        token::T_LSS => Op::Less,
        token::T_GTE => Op::GreaterEqual,
        token::T_LTE => Op::LessEqual,
        token::T_LAND => Op::And,
        token::T_LOR => Op::Or,
        token::T_LUNLESS => Op::Unless,
        _ => return None,
    })
}

/// The conditions of a selector, its metric name among them.
fn matchers(selector: &ast::VectorSelector) -> Result<Vec<Matcher>, Error> {
    if !selector.matchers.or_matchers.is_empty() {
        // The parser reads this extension of VictoriaMetrics; Prometheus does not.
        return Err(Error::Parse("`or` between label matchers is not PromQL".into()));
    }
    let name = selector.name.iter().map(|name| Ok(Matcher::equal(METRIC_NAME, name)));
    let others = selector.matchers.matchers.iter().map(|matcher| match &matcher.op {
        MatchOp::Equal => Ok(Matcher::equal(&matcher.name, &matcher.value)),
        MatchOp::NotEqual => Ok(Matcher::not_equal(&matcher.name, &matcher.value)),
        MatchOp::Re(_) => Ok(Matcher::regex(&matcher.name, &matcher.value, false)?),
        MatchOp::NotRe(_) => Ok(Matcher::regex(&matcher.name, &matcher.value, true)?),
    });
    name.chain(others).collect()
}

fn time_shift(offset: Option<&ast::Offset>, at: Option<&AtModifier>) -> Result<TimeShift, Error> {
    let offset_ms = match offset {
        Some(ast::Offset::Pos(duration)) => millis(*duration)?,
        Some(ast::Offset::Neg(duration)) => -millis(*duration)?,
        None => 0,
    };
    let at = match at {
        Some(AtModifier::Start) => Some(At::Start),
        Some(AtModifier::End) => Some(At::End),
        Some(AtModifier::At(time)) => Some(At::Ms(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => millis(after)?,
            Err(before) => -millis(before.duration())?,
        })),
        None => None,
    };
    Ok(TimeShift { offset_ms, at })
}

/// Times and durations are kept below 2⁵³ ms (285,000 years), so that sums of a
/// few of them never overflow.
fn millis(duration: Duration) -> Result<i64, Error> {
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|ms| *ms < 1 << 53)
        .ok_or_else(|| Error::Parse("a time or duration in the query is out of range".into()))
}

/// What a part's parent must know about it.
struct Constancy {
    /// It is the same at each step.
    constant: bool,
    /// It is worth marking.
    wrap: bool,
}

/// Marks the largest parts that are the same at each step, as Prometheus does
/// (`PreprocessExpr`): those whose selectors are all fixed by `@`, outside
/// functions that look at the evaluation time.
fn mark_constants(node: &mut Node) -> Constancy {
    let both = |yes| Constancy { constant: yes, wrap: yes };
    match node {
        Node::Number(_) | Node::Text(_) => Constancy { constant: true, wrap: false },
        Node::Vector(selector) => both(selector.time.at.is_some()),
        Node::Range(range) => {
            if let RangeOf::Subquery { expr, .. } = &mut range.of
                && mark_constants(expr).wrap
            {
                wrap(expr);
            }
            // Its function evaluates it; it is never marked itself.
            Constancy { constant: range.time.at.is_some(), wrap: false }
        }
        Node::Negate(inner) => mark_constants(inner),
        Node::Aggregate(aggregate) => {
            let inner = mark_constants(&mut aggregate.expr);
            let param = aggregate.param.as_mut().is_none_or(|p| mark_constants(p).constant);
            if inner.wrap && !param {
                wrap(&mut aggregate.expr);
            }
            both(inner.constant && param)
        }
        Node::Binary(binary) => {
            let (left, right) = (mark_constants(&mut binary.left), mark_constants(&mut binary.right));
            if left.constant && right.constant {
                return both(true);
            }
            if left.wrap {
                wrap(&mut binary.left);
            }
            if right.wrap {
                wrap(&mut binary.right);
            }
            both(false)
        }
        Node::Call(call) => {
            let args: Vec<Constancy> = call.args.iter_mut().map(mark_constants).collect();
            if !call.function.sees_time && args.iter().all(|a| a.constant) {
                return both(true);
            }
            for (arg, constancy) in call.args.iter_mut().zip(args) {
                if constancy.wrap && !call.function.takes_selector() {
                    wrap(arg);
                }
            }
            both(false)
        }
        Node::Constant(_) => both(true),
    }
}

fn wrap(node: &mut Node) {
    let inner = std::mem::replace(node, Node::Number(0.0));
    *node = Node::Constant(Box::new(inner));
}

/// Fixes selectors and subqueries to a time; false where a function sees the
/// time of evaluation.
pub(crate) fn pin(node: &mut Node, at_ms: i64) -> bool {
    let fix = |time: &mut TimeShift| {
        let fixed = time.at.is_some();
        time.at.get_or_insert(At::Ms(at_ms));
        fixed
    };
    match node {
        Node::Number(_) | Node::Text(_) => true,
        Node::Vector(selector) => {
            fix(&mut selector.time);
            true
        }
        Node::Range(range) => {
            fix(&mut range.time);
            // What is inside a subquery follows the subquery's own times.
            match &range.of {
                RangeOf::Series(_) => true,
                RangeOf::Subquery { expr, .. } => !expr.calls(&moves),
            }
        }
        Node::Negate(inner) | Node::Constant(inner) => pin(inner, at_ms),
        Node::Binary(binary) => {
            let left = pin(&mut binary.left, at_ms);
            pin(&mut binary.right, at_ms) && left
        }
        Node::Aggregate(aggregate) => {
            let param = aggregate.param.as_mut().is_none_or(|param| pin(param, at_ms));
            pin(&mut aggregate.expr, at_ms) && param
        }
        Node::Call(call) => {
            // All arguments, whatever the first of them says.
            let mut fixed = !moves(&call.function);
            for arg in &mut call.args {
                fixed &= pin(arg, at_ms);
            }
            fixed
        }
    }
}

/// Whether a function gives something else at another time although its
/// selectors are fixed.
fn moves(function: &Function) -> bool {
    function.sees_time || function.sees_query()
}

impl Node {
    /// Whether a function of some kind is called anywhere in this part.
    pub(crate) fn calls(&self, wanted: &dyn Fn(&Function) -> bool) -> bool {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Vector(_) => false,
            Self::Range(range) => match &range.of {
                RangeOf::Series(_) => false,
                RangeOf::Subquery { expr, .. } => expr.calls(wanted),
            },
            Self::Negate(inner) | Self::Constant(inner) => inner.calls(wanted),
            Self::Binary(binary) => binary.left.calls(wanted) || binary.right.calls(wanted),
            Self::Aggregate(aggregate) => {
                aggregate.param.as_ref().is_some_and(|param| param.calls(wanted))
                    || aggregate.expr.calls(wanted)
            }
            Self::Call(call) => wanted(&call.function) || call.args.iter().any(|arg| arg.calls(wanted)),
        }
    }

    /// The conditions of each selector in this part, in order.
    pub(crate) fn selectors(&self, into: &mut Vec<Vec<Matcher>>) {
        match self {
            Self::Number(_) | Self::Text(_) => {}
            Self::Vector(selector) => into.push(selector.matchers.clone()),
            Self::Range(range) => match &range.of {
                RangeOf::Series(matchers) => into.push(matchers.clone()),
                RangeOf::Subquery { expr, .. } => expr.selectors(into),
            },
            Self::Negate(inner) | Self::Constant(inner) => inner.selectors(into),
            Self::Binary(binary) => {
                binary.left.selectors(into);
                binary.right.selectors(into);
            }
            Self::Aggregate(aggregate) => {
                if let Some(param) = &aggregate.param {
                    param.selectors(into);
                }
                aggregate.expr.selectors(into);
            }
            Self::Call(call) => call.args.iter().for_each(|arg| arg.selectors(into)),
        }
    }
}
