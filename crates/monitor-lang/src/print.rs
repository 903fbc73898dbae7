//! Writes expressions as Prometheus does: on one line ([`Display`](fmt::Display))
//! or broken ([`pretty`]).

use crate::ast::{
    AggregateOp, At, BinaryOp, Cardinality, Expr, Kind, Matching, Selector, Shift, Span, SpanExpr,
};
use crate::quote::quote;
use crate::{format_duration, number};
use monitor_model::{METRIC_NAME, Matcher, labels::is_label_name};
use std::fmt::{self, Formatter, Result, Write};

/// On one line, as Prometheus has it in rules and messages.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            Kind::Number { value, duration: true } if value.is_finite() => {
                f.write_str(&format_duration((value * 1e3).round() as i64))
            }
            Kind::Number { value, .. } => f.write_str(&number::format(*value)),
            Kind::Text(text) => f.write_str(&quote(text)),
            Kind::Selector(selector) => {
                write_selector(f, selector)?;
                write_edges(f, selector)?;
                write_shift(f, &selector.shift)
            }
            Kind::Range { selector, range } => {
                write_selector(f, selector)?;
                write!(f, "[{range}]")?;
                write_edges(f, selector)?;
                write_shift(f, &selector.shift)
            }
            Kind::Subquery { of, range, step, shift } => {
                write!(f, "{of}")?;
                write_subquery(f, range, step.as_ref(), shift)
            }
            Kind::Call { function, args } => {
                write!(f, "{}(", function.name)?;
                write_list(f, args, |f, arg| write!(f, "{arg}"))?;
                f.write_char(')')
            }
            Kind::Aggregate { op, param, of, labels, without } => {
                write_aggregate(f, *op, labels, *without)?;
                f.write_char('(')?;
                if let Some(param) = param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{of})")
            }
            Kind::Binary { op, left, right, matching, bool } => {
                write!(f, "{left} ")?;
                write_operator(f, *op, *bool, matching.as_ref())?;
                write!(f, " {right}")
            }
            Kind::Unary { minus, of } => write!(f, "{}{of}", if *minus { '-' } else { '+' }),
            Kind::Paren(of) => write!(f, "({of})"),
        }
    }
}

/// As it stands in brackets and after `offset`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Fixed(ms) => f.write_str(&format_duration(*ms)),
            Self::Computed(expr, _) => write!(f, "{expr}"),
        }
    }
}

impl fmt::Display for SpanExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Seconds(seconds, true) => f.write_str(&format_duration((seconds * 1e3).round() as i64)),
            Self::Seconds(seconds, false) => f.write_str(&number::format(*seconds)),
            Self::Step => f.write_str("step()"),
            Self::Range => f.write_str("range()"),
            Self::Min(a, b) => write!(f, "min_of({a}, {b})"),
            Self::Max(a, b) => write!(f, "max_of({a}, {b})"),
            Self::Minus(of) => write!(f, "-{of}"),
            Self::Paren(of) => write!(f, "({of})"),
            Self::Binary(op, a, b, _) => write!(f, "{a} {op} {b}"),
        }
    }
}

/// The name and, sorted, the conditions beside it.
fn write_selector(f: &mut Formatter<'_>, selector: &Selector) -> Result {
    let name = selector.name.as_deref().unwrap_or_default();
    f.write_str(name)?;
    let is_name = |m: &&Matcher| m.name == METRIC_NAME && m.is_equality() && m.value == name;
    let beside = selector.matchers.iter().filter(|m| name.is_empty() || !is_name(m));
    let mut conditions: Vec<String> = beside.map(matcher).collect();
    if conditions.is_empty() {
        return f.write_str(if name.is_empty() { "{}" } else { "" });
    }
    conditions.sort_unstable();
    write!(f, "{{{}}}", conditions.join(","))
}

/// `name="value"`, the name in quotes where it must be.
fn matcher(matcher: &Matcher) -> String {
    let op = match (matcher.is_regex(), matcher.negated) {
        (false, false) => "=",
        (false, true) => "!=",
        (true, false) => "=~",
        (true, true) => "!~",
    };
    format!("{}{op}{}", label(&matcher.name), quote(&matcher.value))
}

fn label(name: &str) -> String {
    if is_label_name(name) { name.to_owned() } else { quote(name) }
}

fn write_edges(f: &mut Formatter<'_>, selector: &Selector) -> Result {
    match selector {
        Selector { anchored: true, .. } => f.write_str(" anchored"),
        Selector { smoothed: true, .. } => f.write_str(" smoothed"),
        _ => Ok(()),
    }
}

fn write_shift(f: &mut Formatter<'_>, shift: &Shift) -> Result {
    match shift.at {
        None => {}
        Some(At::Start) => f.write_str(" @ start()")?,
        Some(At::End) => f.write_str(" @ end()")?,
        Some(At::Time(ms)) => {
            let sign = if ms < 0 { "-" } else { "" };
            let (seconds, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
            write!(f, " @ {sign}{seconds}.{rest:03}")?;
        }
    }
    match &shift.offset {
        None => Ok(()),
        Some(offset) => write!(f, " offset {offset}"),
    }
}

fn write_subquery(f: &mut impl Write, range: &Span, step: Option<&Span>, shift: &Shift) -> Result {
    let step = step.map(ToString::to_string).unwrap_or_default();
    write!(f, "[{range}:{step}]{}", Shown(shift))
}

struct Shown<'a>(&'a Shift);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write_shift(f, self.0)
    }
}

fn write_list<W: Write, T>(f: &mut W, items: &[T], mut item: impl FnMut(&mut W, &T) -> Result) -> Result {
    for (i, of) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item(f, of)?;
    }
    Ok(())
}

fn write_labels(f: &mut impl Write, names: &[String]) -> Result {
    f.write_str(" (")?;
    write_list(f, names, |f, name| f.write_str(&label(name)))?;
    f.write_char(')')
}

fn write_aggregate(f: &mut impl Write, op: AggregateOp, labels: &[String], without: bool) -> Result {
    f.write_str(op.word())?;
    if without || !labels.is_empty() {
        f.write_str(if without { " without" } else { " by" })?;
        write_labels(f, labels)?;
        f.write_char(' ')?;
    }
    Ok(())
}

fn write_operator(f: &mut impl Write, op: BinaryOp, bool: bool, matching: Option<&Matching>) -> Result {
    f.write_str(op.sign())?;
    if bool {
        f.write_str(" bool")?;
    }
    let Some(matching) = matching else { return Ok(()) };
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some(" group_left"),
        Cardinality::OneToMany => Some(" group_right"),
        _ => None,
    };
    if matching.on || !matching.labels.is_empty() || group.is_some() {
        f.write_str(if matching.on { " on" } else { " ignoring" })?;
        write_labels(f, &matching.labels)?;
    }
    if let Some(group) = group {
        f.write_str(group)?;
        write_labels(f, &matching.include)?;
    }
    let bits = |fill: Option<f64>| fill.map(f64::to_bits);
    let same = bits(matching.fill_left) == bits(matching.fill_right);
    let sides = match (same, matching.fill_left, matching.fill_right) {
        (true, both, _) => [(" fill", both), ("", None)],
        (false, left, right) => [(" fill_left", left), (" fill_right", right)],
    };
    for (word, value) in sides {
        if let Some(value) = value {
            write!(f, "{word} ({})", number::format(value))?;
        }
    }
    Ok(())
}

/// What fits in so many characters stays on one line.
const WIDTH: usize = 100;

/// Broken into lines where it is long, as `format_query` of Prometheus and
/// `promtool promql format` do.
pub fn pretty(expr: &Expr) -> String {
    let mut text = String::new();
    // A `String` takes whatever is written to it.
    let _ = write_pretty(&mut text, expr, 0);
    text
}

fn write_pretty(f: &mut String, expr: &Expr, level: usize) -> Result {
    let indent = level * 2;
    if fits(expr) {
        // Prometheus does not indent a subquery that is short.
        let indent = if matches!(expr.kind, Kind::Subquery { .. }) { 0 } else { indent };
        return write!(f, "{:indent$}{expr}", "");
    }
    match &expr.kind {
        Kind::Aggregate { op, param, of, labels, without } => {
            write!(f, "{:indent$}", "")?;
            write_aggregate(f, *op, labels, *without)?;
            f.write_str("(\n")?;
            if let Some(param) = param {
                write_pretty(f, param, level + 1)?;
                f.write_str(",\n")?;
            }
            write_pretty(f, of, level + 1)?;
            write!(f, "\n{:indent$})", "")
        }
        Kind::Binary { op, left, right, matching, bool } => {
            write_pretty(f, left, level + 1)?;
            write!(f, "\n{:indent$}", "")?;
            write_operator(f, *op, *bool, matching.as_ref())?;
            f.write_char('\n')?;
            write_pretty(f, right, level + 1)
        }
        Kind::Call { function, args } => {
            write!(f, "{:indent$}{}(", "", function.name)?;
            for (i, arg) in args.iter().enumerate() {
                f.write_str(if i == 0 { "\n" } else { ",\n" })?;
                write_pretty(f, arg, level + 1)?;
            }
            write!(f, "\n{:indent$})", "")
        }
        Kind::Paren(of) => {
            writeln!(f, "{:indent$}(", "")?;
            write_pretty(f, of, level + 1)?;
            write!(f, "\n{:indent$})", "")
        }
        Kind::Subquery { of, range, step, shift } => {
            write_pretty(f, of, level)?;
            write_subquery(f, range, step.as_ref(), shift)
        }
        Kind::Unary { minus, of } => {
            let mut inner = String::new();
            write_pretty(&mut inner, of, level)?;
            write!(f, "{:indent$}{}{}", "", if *minus { '-' } else { '+' }, inner.trim())
        }
        Kind::Number { .. } | Kind::Text(_) | Kind::Selector(_) | Kind::Range { .. } => {
            write!(f, "{:indent$}{expr}", "")
        }
    }
}

/// Whether it is short; long ones are not written to their end to know it.
fn fits(expr: &Expr) -> bool {
    struct Counter(usize);
    impl Write for Counter {
        fn write_str(&mut self, text: &str) -> Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    write!(Counter(WIDTH), "{expr}").is_ok()
}
