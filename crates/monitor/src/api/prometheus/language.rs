//! What a query's text is: `format_query` and `parse_query`.

use super::Failure;
use crate::api::{Params, json};
use monitor_lang::ParseOptions;
use monitor_lang::ast::{At, Cardinality, Expr, Kind, Matching, Selector, Shift, Span, Type};
use monitor_promql::{Matcher, format_value};
use serde_json::{Value, json};

/// `/api/v1/format_query`.
pub(super) fn format(params: &Params) -> Result<String, Failure> {
    let pretty = monitor_lang::pretty(&expr(params)?);
    Ok(json::success(|out| json::text(out, &pretty)))
}

/// `/api/v1/parse_query`.
pub(super) fn parse(params: &Params) -> Result<String, Failure> {
    let tree = tree(&expr(params)?);
    Ok(json::success(|out| out.push_str(&tree.to_string())))
}

fn expr(params: &Params) -> Result<Expr, Failure> {
    let query = params.get("query").unwrap_or_default();
    monitor_lang::parse(query, &ParseOptions::default()).map_err(|why| Failure::parameter("query", why))
}

/// The tree as Prometheus' page takes it (`web/api/v1/translate_ast.go`), the
/// keys in its order. A computed duration, which it has as 0, stands beside it
/// as text.
fn tree(expr: &Expr) -> Value {
    match &expr.kind {
        Kind::Aggregate { op, param, of, labels, without } => json!({
            "expr": tree(of),
            "grouping": labels,
            "op": op.word(),
            "param": param.as_deref().map(tree),
            "type": "aggregation",
            "without": without,
        }),
        Kind::Binary { op, left, right, matching, bool } => json!({
            "bool": bool,
            "lhs": tree(left),
            "matching": matching.as_ref().map(matching_of),
            "op": op.sign(),
            "rhs": tree(right),
            "type": "binaryExpr",
        }),
        Kind::Call { function, args } => json!({
            "args": args.iter().map(tree).collect::<Vec<_>>(),
            "func": {
                "argTypes": function.args.iter().map(|t| type_name(*t)).collect::<Vec<_>>(),
                "name": function.name,
                "returnType": type_name(function.gives),
                "variadic": function.variadic,
            },
            "type": "call",
        }),
        Kind::Selector(of) => selector("vectorSelector", of),
        Kind::Range { selector: of, range } => {
            let mut value = selector("matrixSelector", of);
            span(&mut value, "range", Some(range));
            value
        }
        Kind::Subquery { of, range, step, shift: moved } => {
            let mut value = json!({ "expr": tree(of), "type": "subquery" });
            span(&mut value, "range", Some(range));
            span(&mut value, "step", step.as_ref());
            shift(&mut value, moved);
            value
        }
        Kind::Number { value, .. } => json!({ "type": "numberLiteral", "val": format_value(*value) }),
        Kind::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        Kind::Unary { minus, of } => {
            json!({ "expr": tree(of), "op": if *minus { "-" } else { "+" }, "type": "unaryExpr" })
        }
        Kind::Paren(of) => json!({ "expr": tree(of), "type": "parenExpr" }),
    }
}

fn selector(kind: &str, of: &Selector) -> Value {
    let mut value = json!({
        "anchored": of.anchored,
        "matchers": of.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "name": of.name.as_deref().unwrap_or_default(),
        "smoothed": of.smoothed,
        "type": kind,
    });
    shift(&mut value, &of.shift);
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

fn shift(value: &mut Value, of: &Shift) {
    span(value, "offset", of.offset.as_ref());
    value["timestamp"] = match of.at {
        Some(At::Time(ms)) => ms.into(),
        _ => Value::Null,
    };
    value["startOrEnd"] = match of.at {
        Some(At::Start) => "start".into(),
        Some(At::End) => "end".into(),
        _ => Value::Null,
    };
}

/// Milliseconds; 0 where there is none.
fn span(value: &mut Value, name: &str, of: Option<&Span>) {
    value[name] = match of {
        Some(Span::Fixed(ms)) => (*ms).into(),
        _ => 0.into(),
    };
    if let Some(computed @ Span::Computed(..)) = of {
        value[format!("{name}Expr")] = computed.to_string().into();
    }
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
