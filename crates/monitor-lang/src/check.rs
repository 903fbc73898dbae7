//! Whether types fit, once the whole text has been read. Source: Prometheus
//! manual, "Querying basics", "Operators", "Query functions".

use crate::ast::{BinaryOp, Cardinality, Expr, Kind, Matching, Place, Selector, Type};
use crate::quote::quote;
use crate::{Function, ParseError};
use monitor_model::METRIC_NAME;

/// Checks an expression from the leaves upward and left to right, as the first
/// mistake is the one that is told. Takes matching away where not both sides
/// are vectors.
pub(crate) fn check(text: &str, expr: &mut Expr) -> Result<Type, ParseError> {
    let place = expr.place;
    let wrong = |place: Place, message: String| Err(ParseError::new(text, place, message));
    match &mut expr.kind {
        Kind::Number { .. } => Ok(Type::Scalar),
        Kind::Text(_) => Ok(Type::String),
        Kind::Selector(selector) => {
            check_selector(text, selector, place)?;
            Ok(Type::Vector)
        }
        Kind::Range { selector, .. } => {
            check_selector(text, selector, selector.place)?;
            Ok(Type::Matrix)
        }
        Kind::Subquery { of, .. } => match check(text, of)? {
            Type::Vector => Ok(Type::Matrix),
            other => {
                let other = match other {
                    Type::Matrix => "matrix",
                    Type::String => "string",
                    _ => "scalar",
                };
                wrong(place, format!("subquery is only allowed on instant vector, got {other} instead"))
            }
        },
        Kind::Call { function, args } => check_call(text, function, args, place),
        Kind::Aggregate { op, param, of, .. } => {
            expect(text, of, Type::Vector, "aggregation expression")?;
            if let (Some(param), Some(expected)) = (param, op.param()) {
                expect(text, param, expected, "aggregation parameter")?;
            }
            Ok(Type::Vector)
        }
        Kind::Binary { op, left, right, matching, bool } => {
            let binary = Binary { text, place, op: *op, bool: *bool, left: left.place, right: right.place };
            let sides = (check(text, left)?, check(text, right)?);
            binary.check(sides, matching)
        }
        Kind::Unary { of, .. } => match check(text, of)? {
            fits @ (Type::Scalar | Type::Vector) => Ok(fits),
            other => wrong(
                place,
                format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got \"{other}\""
                ),
            ),
        },
        Kind::Paren(of) => check(text, of),
    }
}

fn expect(text: &str, expr: &mut Expr, expected: Type, what: &str) -> Result<(), ParseError> {
    let found = check(text, expr)?;
    if found == expected {
        return Ok(());
    }
    let message = format!("expected type {expected} in {what}, got {found}");
    Err(ParseError::new(text, expr.place, message))
}

fn check_selector(text: &str, selector: &Selector, place: Place) -> Result<(), ParseError> {
    let wrong = |message: String| Err(ParseError::new(text, place, message));
    let Some(name) = &selector.name else {
        // So that no typo selects everything.
        return match selector.matchers.iter().any(|m| !m.matches_empty()) {
            true => Ok(()),
            false => wrong("vector selector must contain at least one non-empty matcher".into()),
        };
    };
    // The last is that of the name before the braces.
    let inside = selector.matchers.iter().rev().skip(1);
    match inside.rev().find(|m| m.name == METRIC_NAME) {
        None => Ok(()),
        Some(other) => {
            let (name, other) = (quote(name), quote(&other.value));
            wrong(format!("metric name must not be set twice: {name} or {other}"))
        }
    }
}

fn check_call(text: &str, function: &Function, args: &mut [Expr], place: Place) -> Result<Type, ParseError> {
    let wrong = |place: Place, message: String| Err(ParseError::new(text, place, message));
    let (name, given) = (function.name, args.len());
    let (least, most) = (function.at_least(), function.at_most());
    let count = match most {
        Some(most) if most == least && given != least => Some(format!("expected {least}")),
        _ if given < least => Some(format!("expected at least {least}")),
        Some(most) if given > most => Some(format!("expected at most {most}")),
        _ => None,
    };
    if let Some(expected) = count {
        return wrong(place, format!("{expected} argument(s) in call to \"{name}\", got {given}"));
    }
    if name == "info"
        && let Some(labels) = args.get(1)
    {
        let found = labels.gives();
        if found != Type::Vector {
            let message = format!("expected type {} in call to function \"info\", got {found}", Type::Vector);
            return wrong(place, message);
        }
        match &labels.kind {
            Kind::Selector(Selector { name: Some(_), .. }) => {
                return wrong(
                    labels.place,
                    "expected label selectors only, got vector selector instead".into(),
                );
            }
            // It selects labels, so it may match what is empty.
            Kind::Selector(_) => {}
            _ => return wrong(labels.place, "expected label selectors only".into()),
        }
    }
    for (i, arg) in args.iter_mut().enumerate() {
        let labels_of_info = name == "info" && i == 1;
        let found = if labels_of_info { Type::Vector } else { check(text, arg)? };
        if let Some(expected) = function.arg(i).filter(|expected| *expected != found) {
            let message = format!("expected type {expected} in call to function \"{name}\", got {found}");
            return wrong(arg.place, message);
        }
    }
    Ok(function.gives)
}

/// An operator between two expressions.
struct Binary<'a> {
    text: &'a str,
    place: Place,
    op: BinaryOp,
    bool: bool,
    left: Place,
    right: Place,
}

impl Binary<'_> {
    fn check(
        &self,
        (left, right): (Type, Type),
        matching: &mut Option<Matching>,
    ) -> Result<Type, ParseError> {
        if self.bool && !self.op.is_comparison() {
            return self.wrong_op("bool modifier can only be used on comparison operators");
        }
        let scalars = left == Type::Scalar && right == Type::Scalar;
        if scalars && self.op.is_comparison() && !self.bool {
            return self.wrong_op("comparisons between scalars must use BOOL modifier");
        }
        let Some(rules) = matching else { return Ok(if scalars { Type::Scalar } else { Type::Vector }) };
        if rules.on
            && let Some(twice) = rules.labels.iter().find(|l| rules.include.contains(l))
        {
            let label = quote(twice);
            return self.wrong_op(&format!("label {label} must not occur in ON and GROUP clause at once"));
        }
        for (side, place) in [(left, self.left), (right, self.right)] {
            if !matches!(side, Type::Scalar | Type::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return Err(ParseError::new(self.text, place, message));
            }
        }
        let filled = rules.fill_left.is_some() || rules.fill_right.is_some();
        let grouped = matches!(rules.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
        let set = self.op.is_set();
        if left != Type::Vector || right != Type::Vector {
            if !rules.labels.is_empty() {
                return self.wrong("vector matching only allowed between instant vectors".into());
            }
            if filled {
                return self.wrong("filling in missing series only allowed between instant vectors".into());
            }
            if set {
                let op = self.op;
                return self.wrong(format!("set operator \"{op}\" not allowed in binary scalar expression"));
            }
            *matching = None;
        } else if set {
            if grouped {
                return self.wrong(format!("no grouping allowed for \"{}\" operation", self.op));
            }
            if filled {
                return self.wrong("filling in missing series not allowed for set operators".into());
            }
            rules.cardinality = Cardinality::ManyToMany;
        }
        Ok(if scalars { Type::Scalar } else { Type::Vector })
    }

    fn wrong(&self, message: String) -> Result<Type, ParseError> {
        Err(ParseError::new(self.text, self.place, message))
    }

    /// At the operator and its modifiers, without the space around them.
    fn wrong_op(&self, message: &str) -> Result<Type, ParseError> {
        let between = &self.text[self.left.end as usize..self.right.start as usize];
        let start = self.left.end + (between.len() - between.trim_start().len()) as u32;
        let end = start + between.trim().len() as u32;
        Err(ParseError::new(self.text, Place { start, end }, message))
    }
}
