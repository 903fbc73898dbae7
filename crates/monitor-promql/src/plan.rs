//! A query's tree made ready for one evaluation: spans computed, what is the same
//! at each step marked, and what each part is to its parent.

use crate::Error;
use crate::functions::{self, Function};
use monitor_lang::ast::{
    AggregateOp, At, BinaryOp, Expr, Kind as Ast, Matching, Place, Selector as AstSelector, Shift, Span, Type,
};
use monitor_model::{METRIC_NAME, Matcher};

/// A part of a query.
#[derive(Debug)]
pub(crate) struct Part<'e> {
    pub(crate) kind: Kind<'e>,
    /// Where it stands; of a part in parentheses what is inside them.
    pub(crate) place: Place,
    pub(crate) gives: Type,
}

#[derive(Debug)]
pub(crate) enum Kind<'e> {
    Number(f64),
    Text(&'e str),
    Selector(Box<Selector<'e>>),
    Range(Box<Range<'e>>),
    Negate(Box<Part<'e>>),
    Binary(Box<Binary<'e>>),
    Aggregate(Box<Aggregate<'e>>),
    Call(Box<Call<'e>>),
    /// The same at each step.
    Constant(Box<Part<'e>>),
}

#[derive(Debug)]
pub(crate) struct Selector<'e> {
    pub(crate) matchers: &'e [Matcher],
    pub(crate) time: TimeShift,
    pub(crate) anchored: bool,
    pub(crate) smoothed: bool,
    /// Only count and sum of its histograms are asked for; Prometheus then tells
    /// resets between samples by itself.
    pub(crate) stats_only: bool,
    pub(crate) place: Place,
}

/// `offset` and `@`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeShift {
    /// How much earlier.
    pub(crate) offset_ms: i64,
    /// Instead of the time of evaluation.
    pub(crate) at_ms: Option<i64>,
}

impl TimeShift {
    pub(crate) fn apply(self, at_ms: i64) -> i64 {
        self.at_ms.unwrap_or(at_ms) - self.offset_ms
    }

    /// Both as one, this one first. Equal where they always give the same time.
    fn then(self, next: Self) -> Self {
        match next.at_ms.or(self.at_ms.map(|at_ms| at_ms - self.offset_ms)) {
            Some(at_ms) => Self { offset_ms: 0, at_ms: Some(at_ms - next.offset_ms) },
            None => Self { offset_ms: self.offset_ms + next.offset_ms, at_ms: None },
        }
    }
}

#[derive(Debug)]
pub(crate) struct Range<'e> {
    pub(crate) of: RangeOf<'e>,
    pub(crate) range_ms: i64,
    pub(crate) time: TimeShift,
}

#[derive(Debug)]
pub(crate) enum RangeOf<'e> {
    Series(Selector<'e>),
    Subquery { part: Box<Part<'e>>, step_ms: Option<i64> },
}

#[derive(Debug)]
pub(crate) struct Binary<'e> {
    pub(crate) op: BinaryOp,
    pub(crate) left: Part<'e>,
    pub(crate) right: Part<'e>,
    pub(crate) matching: Option<&'e Matching>,
    pub(crate) bool: bool,
}

#[derive(Debug)]
pub(crate) struct Aggregate<'e> {
    pub(crate) op: AggregateOp,
    pub(crate) param: Option<Part<'e>>,
    pub(crate) of: Part<'e>,
    /// Ascending, each once.
    pub(crate) labels: Vec<&'e str>,
    pub(crate) without: bool,
}

#[derive(Debug)]
pub(crate) struct Call<'e> {
    pub(crate) function: Function,
    pub(crate) args: Vec<Part<'e>>,
}

/// The times that a whole query is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryTimes {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// 0 for an instant query.
    pub(crate) step_ms: i64,
}

/// Times and spans are kept below 2⁵³ ms, so that sums of a few of them never overflow.
pub(crate) const MAX_TIME_MS: i64 = 1 << 53;

/// Makes a tree ready.
pub(crate) fn prepare(expr: &Expr, times: QueryTimes) -> Result<Part<'_>, Error> {
    let ready = Preparer { times }.part(expr, Above::default())?;
    Ok(ready.finished())
}

/// A part came to the wrong one of the methods below; that is a mistake in them.
fn misplaced() -> Error {
    Error::Execution("a part of the query was taken for something else".into())
}

/// A part with what its parent must know.
struct Ready<'e> {
    part: Part<'e>,
    /// The same at each step.
    constant: bool,
    /// To be evaluated once where its parent is not constant.
    wrap: bool,
}

impl<'e> Ready<'e> {
    fn new(expr: &Expr, kind: Kind<'e>, constant: bool, wrap: bool) -> Self {
        Self { part: Part { kind, place: expr.place, gives: expr.gives() }, constant, wrap }
    }

    fn finished(self) -> Part<'e> {
        if !(self.constant && self.wrap) {
            return self.part;
        }
        let (place, gives) = (self.part.place, self.part.gives);
        Part { kind: Kind::Constant(Box::new(self.part)), place, gives }
    }
}

/// What stands above a part.
#[derive(Clone, Copy, Default)]
struct Above {
    /// Something that wants only count or sum of histograms.
    wants_stats: bool,
    /// Something that wants all of them.
    wants_all: bool,
}

struct Preparer {
    times: QueryTimes,
}

impl Preparer {
    /// Small on the stack, as queries are deep.
    fn part<'e>(&self, expr: &'e Expr, above: Above) -> Result<Ready<'e>, Error> {
        match &expr.kind {
            Ast::Paren(inner) | Ast::Unary { minus: false, of: inner } => self.part(inner, above),
            Ast::Binary { .. } => self.binary(expr, above),
            Ast::Aggregate { .. } => self.aggregate(expr, above),
            Ast::Call { function, args } => self.call(expr, function.name, args, above),
            _ => self.other(expr, above),
        }
    }

    fn other<'e>(&self, expr: &'e Expr, above: Above) -> Result<Ready<'e>, Error> {
        let (kind, constant, wrap) = match &expr.kind {
            Ast::Number { value, .. } => (Kind::Number(*value), true, false),
            Ast::Text(text) => (Kind::Text(text), true, false),
            Ast::Selector(selector) => {
                let selector = self.selector(selector, above)?;
                let fixed = selector.time.at_ms.is_some();
                (Kind::Selector(Box::new(selector)), fixed, fixed)
            }
            Ast::Range { selector, range } => {
                let selector = self.selector(selector, above)?;
                let time = selector.time;
                let range = Range { of: RangeOf::Series(selector), range_ms: self.span(range, false)?, time };
                (Kind::Range(Box::new(range)), time.at_ms.is_some(), false)
            }
            Ast::Subquery { of, range, step, shift } => {
                let part = self.part(of, Above { wants_all: true, ..above })?.finished();
                let step_ms = step.as_ref().map(|step| self.span(step, false)).transpose()?;
                let time = self.shift(shift)?;
                let of = RangeOf::Subquery { part: Box::new(part), step_ms };
                let range = Range { of, range_ms: self.span(range, false)?, time };
                (Kind::Range(Box::new(range)), time.at_ms.is_some(), false)
            }
            Ast::Unary { of, .. } => {
                let of = self.part(of, above)?;
                (Kind::Negate(Box::new(of.part)), of.constant, of.constant)
            }
            Ast::Paren(_) | Ast::Binary { .. } | Ast::Aggregate { .. } | Ast::Call { .. } => {
                return Err(misplaced());
            }
        };
        Ok(Ready::new(expr, kind, constant, wrap))
    }

    fn binary<'e>(&self, expr: &'e Expr, above: Above) -> Result<Ready<'e>, Error> {
        let Ast::Binary { op, left, right, matching, bool } = &expr.kind else {
            return Err(misplaced());
        };
        // What is trimmed needs its buckets (prometheus#18263).
        let trims = matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
        let above = Above { wants_all: above.wants_all || trims, ..above };
        let (left, right) = (self.part(left, above)?, self.part(right, above)?);
        let constant = left.constant && right.constant;
        let side = |side: Ready<'e>| if constant { side.part } else { side.finished() };
        let (left, right) = (side(left), side(right));
        let binary = Binary { op: *op, left, right, matching: matching.as_ref(), bool: *bool };
        Ok(Ready::new(expr, Kind::Binary(Box::new(binary)), constant, true))
    }

    fn aggregate<'e>(&self, expr: &'e Expr, above: Above) -> Result<Ready<'e>, Error> {
        let Ast::Aggregate { op, param, of, labels, without } = &expr.kind else {
            return Err(misplaced());
        };
        let param = param.as_ref().map(|param| self.part(param, above)).transpose()?;
        let of = self.part(of, above)?;
        let constant = of.constant && param.as_ref().is_none_or(|param| param.constant);
        let side = |side: Ready<'e>| if constant { side.part } else { side.finished() };
        let mut labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        labels.sort_unstable();
        labels.dedup();
        let aggregate =
            Aggregate { op: *op, param: param.map(side), of: side(of), labels, without: *without };
        Ok(Ready::new(expr, Kind::Aggregate(Box::new(aggregate)), constant, true))
    }

    fn call<'e>(
        &self,
        expr: &'e Expr,
        name: &str,
        args: &'e [Expr],
        above: Above,
    ) -> Result<Ready<'e>, Error> {
        let function = functions::find(name)
            .ok_or_else(|| Error::Execution(format!("the function `{name}` cannot be evaluated")))?;
        let below = Above {
            wants_stats: above.wants_stats || function.wants_stats(),
            wants_all: above.wants_all || function.wants_buckets(),
        };
        let args = args.iter().map(|arg| self.part(arg, below)).collect::<Result<Vec<_>, _>>()?;
        // What `info()` adds may depend on the time even where its argument does not.
        let sees_time = match function.kind {
            functions::Kind::Info => {
                args.first().and_then(|arg| sampled_at(&arg.part)).is_none_or(|time| time.at_ms.is_none())
            }
            _ => function.sees_time,
        };
        let constant = !sees_time && args.iter().all(|arg| arg.constant);
        let args = args.into_iter().map(|arg| if constant { arg.part } else { arg.finished() }).collect();
        Ok(Ready::new(expr, Kind::Call(Box::new(Call { function, args })), constant, true))
    }

    fn selector<'e>(&self, selector: &'e AstSelector, above: Above) -> Result<Selector<'e>, Error> {
        Ok(Selector {
            matchers: &selector.matchers,
            time: self.shift(&selector.shift)?,
            anchored: selector.anchored,
            smoothed: selector.smoothed,
            stats_only: above.wants_stats && !above.wants_all,
            place: selector.place,
        })
    }

    fn shift(&self, shift: &Shift) -> Result<TimeShift, Error> {
        let offset_ms = shift.offset.as_ref().map_or(Ok(0), |offset| self.span(offset, true))?;
        let at_ms = shift.at.map(|at| match at {
            At::Time(ms) => ms,
            At::Start => self.times.start_ms,
            At::End => self.times.end_ms,
        });
        if at_ms.is_some_and(|at| at.unsigned_abs() >= MAX_TIME_MS as u64) {
            return Err(Error::Parse("the time of an `@` is out of range".into()));
        }
        Ok(TimeShift { offset_ms, at_ms })
    }

    /// Milliseconds of a span.
    fn span(&self, span: &Span, may_be_negative: bool) -> Result<i64, Error> {
        let ms = spans::resolve(span, self.times, may_be_negative)?;
        if ms.unsigned_abs() >= MAX_TIME_MS as u64 {
            return Err(Error::Parse("a duration of the query is out of range".into()));
        }
        Ok(ms)
    }
}

/// How far the samples of a part are from the time of evaluation; `None` where not
/// all of its vectors come from selectors, or these look at different times.
pub(crate) fn sampled_at(part: &Part<'_>) -> Option<TimeShift> {
    let same = |parts: &mut dyn Iterator<Item = &Part<'_>>| {
        let mut times =
            parts.filter(|part| matches!(part.gives, Type::Vector | Type::Matrix)).map(sampled_at);
        let first = times.next()??;
        times.all(|time| time == Some(first)).then_some(first)
    };
    match &part.kind {
        Kind::Number(_) | Kind::Text(_) => None,
        Kind::Selector(selector) => Some(TimeShift::default().then(selector.time)),
        Kind::Range(range) => {
            let inner = match &range.of {
                RangeOf::Series(_) => TimeShift::default(),
                RangeOf::Subquery { part, .. } => sampled_at(part)?,
            };
            Some(range.time.then(inner))
        }
        Kind::Negate(inner) | Kind::Constant(inner) => sampled_at(inner),
        Kind::Binary(binary) => same(&mut [&binary.left, &binary.right].into_iter()),
        Kind::Aggregate(aggregate) => sampled_at(&aggregate.of),
        // The second argument selects labels only.
        Kind::Call(call) if matches!(call.function.kind, functions::Kind::Info) => {
            call.args.first().and_then(sampled_at)
        }
        Kind::Call(call) => same(&mut call.args.iter()),
    }
}

/// Whether the label sets that a part gives differ in more than the metric's name.
pub(crate) fn distinct_without_name(part: &Part<'_>) -> bool {
    match &part.kind {
        Kind::Selector(selector) => has_one_name(selector.matchers),
        Kind::Range(range) => match &range.of {
            RangeOf::Series(selector) => has_one_name(selector.matchers),
            RangeOf::Subquery { part, .. } => distinct_without_name(part),
        },
        Kind::Negate(inner) | Kind::Constant(inner) => distinct_without_name(inner),
        Kind::Aggregate(aggregate) => match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                distinct_without_name(&aggregate.of)
            }
            _ => aggregate.without || !aggregate.labels.contains(&METRIC_NAME),
        },
        Kind::Call(call) => call.function.keeps_series_apart() && call.args.iter().all(distinct_without_name),
        Kind::Binary(binary) => match (binary.left.gives, binary.right.gives) {
            (Type::Vector, Type::Scalar) => distinct_without_name(&binary.left),
            (Type::Scalar, Type::Vector) => distinct_without_name(&binary.right),
            _ => false,
        },
        Kind::Number(_) | Kind::Text(_) => true,
    }
}

fn has_one_name(matchers: &[Matcher]) -> bool {
    matchers.iter().any(|m| m.name == METRIC_NAME && m.is_equality())
}

/// Duration expressions.
mod spans {
    use super::{QueryTimes, Span};
    use crate::Error;

    pub(super) fn resolve(span: &Span, times: QueryTimes, may_be_negative: bool) -> Result<i64, Error> {
        span.resolve(times.step_ms, times.end_ms - times.start_ms, may_be_negative)
            .map_err(|error| Error::Execution(error.to_string()))
    }
}
