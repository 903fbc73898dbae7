//! An alert's threshold, and what it would have fired.

use crate::{Labels, State};
use monitor_lang::ast::{BinaryOp, Expr, Kind, Type};
use monitor_model::Point;

/// `expr OP number` taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What is compared: to be charted.
    pub series: String,
    /// `>`, `<`, `>=`, `<=`, `==`, `!=`, as if the number stood on the right.
    pub operator: &'static str,
    /// The number.
    pub value: f64,
}

/// Takes the comparison out of an alert's expression: of `a > 5`, `5 < a`,
/// `(a > 5) and b` the series `a` and the number. None where the expression
/// compares no series with a number.
pub fn threshold(expr: &Expr) -> Option<Threshold> {
    let (op, left, right) = match &expr.kind {
        Kind::Paren(of) => return threshold(of),
        Kind::Binary { op: BinaryOp::And | BinaryOp::Unless, left, .. } => return threshold(left),
        Kind::Binary { op, left, right, bool: false, .. } => (*op, left, right),
        _ => return None,
    };
    let (series, value, turned) = match (number(left), number(right)) {
        (None, Some(value)) => (left, value, false),
        (Some(value), None) => (right, value, true),
        _ => return None,
    };
    if series.gives() != Type::Vector {
        return None;
    }
    let operator = match (op, turned) {
        (BinaryOp::Greater, false) | (BinaryOp::Less, true) => ">",
        (BinaryOp::Less, false) | (BinaryOp::Greater, true) => "<",
        (BinaryOp::GreaterEqual, false) | (BinaryOp::LessEqual, true) => ">=",
        (BinaryOp::LessEqual, false) | (BinaryOp::GreaterEqual, true) => "<=",
        (BinaryOp::Equal, _) => "==",
        (BinaryOp::NotEqual, _) => "!=",
        _ => return None,
    };
    let series = match &series.kind {
        Kind::Paren(inner) => inner.to_string(),
        _ => series.to_string(),
    };
    Some(Threshold { series, operator, value })
}

/// The number that an expression is, where it is one: `5`, `-5`, `(14 * 86400)`.
fn number(expr: &Expr) -> Option<f64> {
    match &expr.kind {
        Kind::Number { value, .. } => Some(*value),
        Kind::Paren(of) => number(of),
        Kind::Unary { minus, of } => number(of).map(|value| if *minus { -value } else { value }),
        Kind::Binary { op, left, right, .. } => {
            let (left, right) = (number(left)?, number(right)?);
            match op {
                BinaryOp::Add => Some(left + right),
                BinaryOp::Sub => Some(left - right),
                BinaryOp::Mul => Some(left * right),
                BinaryOp::Div => Some(left / right),
                BinaryOp::Pow => Some(left.powf(right)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A time in which an alert would have fired. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// The labels of the expression's series.
    pub labels: Labels,
    /// Since when the expression held.
    pub active_at_ms: i64,
    /// When it would have begun to fire.
    pub fired_at_ms: i64,
    /// When it would have resolved; none where it still fires at the end.
    pub resolved_at_ms: Option<i64>,
    /// The expression's last value in that time.
    pub value: f64,
}

/// What an alert would have fired: `series` are the values that its expression
/// gave from `start_ms` to `end_ms` every `step_ms`. A step that is longer than
/// the rule's interval can miss what was short. Ascending by time.
pub fn backtest(
    series: &[(Labels, Vec<Point>)],
    (start_ms, end_ms, step_ms): (i64, i64, i64),
    hold_ms: u64,
    keep_firing_ms: u64,
) -> Vec<Firing> {
    let mut found = Vec::new();
    for (labels, points) in series {
        one_series(labels, points, (start_ms, end_ms, step_ms.max(1)), (hold_ms, keep_firing_ms), &mut found);
    }
    found.sort_by(|a, b| (a.fired_at_ms, &a.labels).cmp(&(b.fired_at_ms, &b.labels)));
    found
}

fn one_series(
    labels: &Labels,
    points: &[Point],
    (start_ms, end_ms, step_ms): (i64, i64, i64),
    (hold_ms, keep_ms): (u64, u64),
    found: &mut Vec<Firing>,
) {
    let mut points = points.iter().peekable();
    let mut now: Option<(State, Firing)> = None;
    let mut kept_since_ms = None;
    let mut at_ms = start_ms;
    while at_ms <= end_ms {
        while points.next_if(|p| p.at_ms < at_ms).is_some() {}
        let given = points.next_if(|p| p.at_ms == at_ms);
        match (given, &mut now) {
            (Some(point), current) => {
                kept_since_ms = None;
                let fresh = Firing {
                    labels: labels.clone(),
                    active_at_ms: at_ms,
                    fired_at_ms: at_ms,
                    resolved_at_ms: None,
                    value: point.value,
                };
                let (state, firing) = current.get_or_insert((State::Pending, fresh));
                firing.value = point.value;
                if *state == State::Pending && (at_ms - firing.active_at_ms).unsigned_abs() >= hold_ms {
                    *state = State::Firing;
                    firing.fired_at_ms = at_ms;
                }
            }
            (None, Some((State::Firing, firing))) => {
                let since_ms = *kept_since_ms.get_or_insert(at_ms);
                if (at_ms - since_ms).unsigned_abs() >= keep_ms {
                    found.push(Firing { resolved_at_ms: Some(at_ms), ..firing.clone() });
                    now = None;
                }
            }
            (None, _) => now = None,
        }
        // Nothing holds: on to the next value, and past the gap.
        at_ms = match (&now, points.peek()) {
            (None, Some(next)) => next.at_ms.max(at_ms + step_ms),
            (None, None) => break,
            _ => at_ms + step_ms,
        };
    }
    if let Some((State::Firing, firing)) = now {
        found.push(firing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let cases = [
            ("up == 0", Some(("up", "==", 0.0))),
            ("5 < sum(rate(x[5m]))", Some(("sum(rate(x[5m]))", ">", 5.0))),
            ("(a / b) > -0.5", Some(("a / b", ">", -0.5))),
            ("a < (14 * 86400)", Some(("a", "<", 1_209_600.0))),
            ("(a >= 1e3) and on (x) b", Some(("a", ">=", 1_000.0))),
            ("a > 1 unless b", Some(("a", ">", 1.0))),
            ("a > b", None),
            ("a > bool 1", None),
            ("a > 1 or b > 1", None),
            ("vector(1)", None),
            ("1 > bool 2", None),
        ];
        for (text, expected) in cases {
            let expr = monitor_lang::parse(text, &monitor_lang::ParseOptions::default()).unwrap();
            let expected = expected.map(|(series, operator, value): (&str, _, _)| Threshold {
                series: series.to_owned(),
                operator,
                value,
            });
            assert_eq!(threshold(&expr), expected, "{text}");
        }
    }

    #[test]
    fn what_would_have_fired() {
        // One character a minute: `x` gives a value.
        let series = |drawn: &str| -> (Labels, Vec<Point>) {
            let point = |(i, _): (usize, char)| Point { at_ms: i as i64 * 60_000, value: i as f64 };
            (
                vec![("a".into(), drawn.into())],
                drawn.chars().enumerate().filter(|(_, c)| *c == 'x').map(point).collect(),
            )
        };
        let check = |drawn: &str, hold_min: u64, keep_min: u64| -> String {
            let end_ms = (drawn.len() as i64 - 1) * 60_000;
            let found = backtest(&[series(drawn)], (0, end_ms, 60_000), hold_min * 60_000, keep_min * 60_000);
            let minute = |ms: i64| ms / 60_000;
            let texts = found.iter().map(|f| {
                format!(
                    "{}>{}-{}",
                    minute(f.active_at_ms),
                    minute(f.fired_at_ms),
                    f.resolved_at_ms.map_or(-1, minute)
                )
            });
            texts.collect::<Vec<_>>().join(" ")
        };
        let cases = [
            ("..xxx..", 0, 0, "2>2-5"),
            ("..xxx..", 2, 0, "2>4-5"),
            ("..xxx..", 3, 0, ""),
            ("xx.xx.x", 1, 0, "0>1-2 3>4-5"),
            ("xx.xx.x", 1, 2, "0>1--1"),
            ("xx...xx", 1, 2, "0>1-4 5>6--1"),
            (".......", 0, 0, ""),
            ("x......................x", 0, 0, "0>0-1 23>23--1"),
        ];
        for (drawn, hold, keep, expected) in cases {
            assert_eq!(check(drawn, hold, keep), expected, "{drawn} {hold} {keep}");
        }
    }
}
