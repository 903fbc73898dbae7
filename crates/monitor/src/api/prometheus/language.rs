//! What a query's text is: `format_query` and `parse_query`.

use super::Failure;
use crate::api::{Params, json};
use monitor_lang::Function;
use monitor_lang::ast::{At, Cardinality, Expr, Kind, Matching, Selector, Shift, Span, Type};
use monitor_promql::{Matcher, Query, format_value};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// `/api/v1/format_query`.
pub(super) fn format(params: &Params) -> Result<String, Failure> {
    let pretty = monitor_lang::pretty(query(params)?.expr());
    Ok(json::success(|out| json::text(out, &pretty)))
}

/// `/api/v1/parse_query`.
pub(super) fn parse(params: &Params) -> Result<String, Failure> {
    let query = query(params)?;
    Ok(json::success(|out| tree(out, query.expr())))
}

/// As deep as what can be evaluated, so that walking it fits the stack.
fn query(params: &Params) -> Result<Query, Failure> {
    Query::parse(params.get("query").unwrap_or_default()).map_err(|why| Failure::parameter("query", why))
}

/// The tree as Prometheus' page takes it (`web/api/v1/translate_ast.go`), the
/// keys in its order. A computed duration, which it has as 0, stands beside it
/// as text.
///
/// Written as it is walked: a tree of JSON values would take more stack than the
/// query's own.
fn tree(out: &mut String, expr: &Expr) {
    match &expr.kind {
        Kind::Aggregate { op, param, of, labels, without } => {
            out.push_str("{\"expr\":");
            tree(out, of);
            member(out, "grouping", labels);
            member(out, "op", op.word());
            out.push_str(",\"param\":");
            match param {
                Some(param) => tree(out, param),
                None => out.push_str("null"),
            }
            member(out, "type", "aggregation");
            member(out, "without", without);
            out.push('}');
        }
        Kind::Binary { op, left, right, matching, bool } => {
            out.push_str(if *bool { "{\"bool\":true,\"lhs\":" } else { "{\"bool\":false,\"lhs\":" });
            tree(out, left);
            member(out, "matching", matching.as_ref().map(matching_of));
            member(out, "op", op.sign());
            out.push_str(",\"rhs\":");
            tree(out, right);
            out.push_str(",\"type\":\"binaryExpr\"}");
        }
        Kind::Call { function, args } => {
            out.push_str("{\"args\":");
            json::separated(out, args, tree);
            member(out, "func", signature(function));
            out.push_str(",\"type\":\"call\"}");
        }
        Kind::Subquery { of, range, step, shift } => {
            out.push_str("{\"expr\":");
            tree(out, of);
            members(out, subquery(range, step.as_ref(), shift));
            out.push_str(",\"type\":\"subquery\"}");
        }
        Kind::Unary { minus, of } => {
            out.push_str("{\"expr\":");
            tree(out, of);
            member(out, "op", if *minus { "-" } else { "+" });
            out.push_str(",\"type\":\"unaryExpr\"}");
        }
        Kind::Paren(of) => {
            out.push_str("{\"expr\":");
            tree(out, of);
            out.push_str(",\"type\":\"parenExpr\"}");
        }
        leaf => out.push_str(&leaf_of(leaf).to_string()),
    }
}

fn member(out: &mut String, name: &str, value: impl Serialize) {
    let _ = write!(out, ",\"{name}\":");
    // Neither texts nor numbers of a query can fail to be written.
    out.push_str(&serde_json::to_string(&value).unwrap_or_default());
}

fn members(out: &mut String, of: Map<String, Value>) {
    for (name, value) in of {
        member(out, &name, value);
    }
}

/// What has no expression inside.
fn leaf_of(kind: &Kind) -> Value {
    match kind {
        Kind::Selector(of) => Value::Object(selector("vectorSelector", of, None)),
        Kind::Range { selector: of, range } => Value::Object(selector("matrixSelector", of, Some(range))),
        Kind::Number { value, .. } => json!({ "type": "numberLiteral", "val": format_value(*value) }),
        Kind::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        _ => Value::Null,
    }
}

fn selector(kind: &str, of: &Selector, range: Option<&Span>) -> Map<String, Value> {
    let mut value = Map::new();
    value.insert("anchored".into(), of.anchored.into());
    value.insert("matchers".into(), of.matchers.iter().map(matcher).collect());
    value.insert("name".into(), of.name.as_deref().unwrap_or_default().into());
    span(&mut value, "offset", of.shift.offset.as_ref());
    if range.is_some() {
        span(&mut value, "range", range);
    }
    value.insert("smoothed".into(), of.smoothed.into());
    at(&mut value, &of.shift);
    value.insert("type".into(), kind.into());
    value
}

fn subquery(range: &Span, step: Option<&Span>, shift: &Shift) -> Map<String, Value> {
    let mut value = Map::new();
    span(&mut value, "offset", shift.offset.as_ref());
    span(&mut value, "range", Some(range));
    at(&mut value, shift);
    span(&mut value, "step", step);
    value
}

fn matcher(of: &Matcher) -> Value {
    let kind = match (of.is_regex(), of.negated) {
        (false, false) => "=",
        (false, true) => "!=",
        (true, false) => "=~",
        (true, true) => "!~",
    };
    json!({ "name": of.name, "type": kind, "value": of.value })
}

fn at(value: &mut Map<String, Value>, of: &Shift) {
    let (time, edge) = match of.at {
        Some(At::Time(ms)) => (Value::from(ms), Value::Null),
        Some(At::Start) => (Value::Null, "start".into()),
        Some(At::End) => (Value::Null, "end".into()),
        None => (Value::Null, Value::Null),
    };
    value.insert("startOrEnd".into(), edge);
    value.insert("timestamp".into(), time);
}

/// Milliseconds; 0 where there is none.
fn span(value: &mut Map<String, Value>, name: &str, of: Option<&Span>) {
    let ms = match of {
        Some(Span::Fixed(ms)) => *ms,
        _ => 0,
    };
    value.insert(name.into(), ms.into());
    if let Some(computed @ Span::Computed(..)) = of {
        value.insert(format!("{name}Expr"), computed.to_string().into());
    }
}

fn signature(of: &Function) -> Value {
    json!({
        "argTypes": of.args.iter().map(|t| type_name(*t)).collect::<Vec<_>>(),
        "name": of.name,
        "returnType": type_name(of.gives),
        "variadic": of.variadic,
    })
}

fn matching_of(of: &Matching) -> Value {
    let card = match of.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    // JSON has neither infinities nor NaN.
    let fill = |value: Option<f64>| match value {
        Some(value) if value.is_finite() => Value::from(value),
        Some(value) => Value::from(format_value(value)),
        None => Value::Null,
    };
    json!({
        "card": card,
        "fillValues": { "lhs": fill(of.fill_left), "rhs": fill(of.fill_right) },
        "include": of.include,
        "labels": of.labels,
        "on": of.on,
    })
}

fn type_name(of: Type) -> &'static str {
    match of {
        Type::Scalar => "scalar",
        Type::String => "string",
        Type::Vector => "vector",
        Type::Matrix => "matrix",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params(vec![("query".into(), query.into())])
    }

    #[test]
    fn formatted() {
        let formatted = format(&params("sum by(a)(rate(x[300s]))")).unwrap();
        assert_eq!(formatted, r#"{"status":"success","data":"sum by (a) (rate(x[5m]))"}"#);
        let wrong = format(&params("sum(")).unwrap_err();
        assert_eq!(
            (wrong.kind, wrong.why.as_str()),
            ("bad_data", "invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis")
        );
    }

    #[test]
    fn the_deepest_fit_the_stack_of_a_thread() {
        let deepest = || {
            let mut longest = 0;
            for depth in 1..250 {
                let chain = format!("x{}", " + x".repeat(depth));
                let nest = format!("{}x{}", "sum(-(".repeat(depth), "))".repeat(depth));
                for query in [chain, nest] {
                    if let Ok(answer) = parse(&params(&query)) {
                        longest = longest.max(answer.len());
                        format(&params(&query)).unwrap();
                    }
                }
            }
            assert!(longest > 20_000, "{longest}");
        };
        std::thread::Builder::new().stack_size(2 << 20).spawn(deepest).unwrap().join().unwrap();
    }

    #[test]
    fn trees() {
        let cases = [
            ("1", json!({ "type": "numberLiteral", "val": "1" })),
            ("'a'", json!({ "type": "stringLiteral", "val": "a" })),
            (
                "-x{a!='b'}",
                json!({ "type": "unaryExpr", "op": "-", "expr": {
                    "type": "vectorSelector", "name": "x", "offset": 0, "timestamp": null, "startOrEnd": null,
                    "anchored": false, "smoothed": false,
                    "matchers": [
                        { "name": "a", "type": "!=", "value": "b" },
                        { "name": "__name__", "type": "=", "value": "x" },
                    ],
                } }),
            ),
            (
                "max_over_time(x[5m:step()] @ end() offset -1m)",
                json!({ "type": "call", "args": [{
                    "type": "subquery", "range": 300_000, "step": 0, "stepExpr": "step()", "offset": -60_000,
                    "timestamp": null, "startOrEnd": "end",
                    "expr": {
                        "type": "vectorSelector", "name": "x", "offset": 0, "timestamp": null,
                        "startOrEnd": null, "anchored": false, "smoothed": false,
                        "matchers": [{ "name": "__name__", "type": "=", "value": "x" }],
                    },
                }], "func": {
                    "name": "max_over_time", "argTypes": ["matrix"], "returnType": "vector", "variadic": 0,
                } }),
            ),
        ];
        for (query, expected) in cases {
            let answer: Value = serde_json::from_str(&parse(&params(query)).unwrap()).unwrap();
            assert_eq!(answer, json!({ "status": "success", "data": expected }), "{query}");
        }
        let query = "(topk by (a) (1, x @ 1.5)) * on (a) group_left (b) fill_right (NaN) y";
        let answer: Value = serde_json::from_str(&parse(&params(query)).unwrap()).unwrap();
        let data = &answer["data"];
        assert_eq!(
            data["matching"],
            json!({
                "card": "many-to-one", "labels": ["a"], "on": true, "include": ["b"],
                "fillValues": { "lhs": null, "rhs": "NaN" },
            })
        );
        let aggregation = &data["lhs"]["expr"];
        assert_eq!((&aggregation["op"], &aggregation["grouping"]), (&json!("topk"), &json!(["a"])));
        assert_eq!(aggregation["param"]["val"], "1");
        assert_eq!(aggregation["expr"]["timestamp"], 1500);
    }
}
