//! Texts that want stack, memory or a panic.

use monitor_lang::{ParseOptions, parse, parse_selector, pretty};
use proptest::prelude::*;
use std::thread;

/// What a thread of the monitor has.
const STACK: usize = 2 << 20;

#[test]
fn deep_texts_cost_an_error_and_no_stack() {
    let kinds: [(&str, &str, &str); 12] = [
        ("(", "x", ")"),
        ("-", "x", ""),
        ("sum(", "x", ")"),
        ("abs(", "x", ")"),
        ("topk(1,", "x", ")"),
        ("1 + ", "x", ""),
        ("1 ^ ", "x", ""),
        ("", "x", " + 1"),
        ("", "x", "[5m:1m]"),
        ("", "x", " offset 1m"),
        ("max_over_time((", "x", ")[5m:])"),
        ("", "x", " or x"),
    ];
    let spans: [(&str, &str, &str); 6] = [
        ("x[(", "5m", ")]"),
        ("x[-", "5m", "]"),
        ("x[", "5m", "+1]"),
        ("x[2^", "5m", "]"),
        ("x[max_of(1,", "5m", ")]"),
        ("x offset (", "5m", ")"),
    ];
    let check = move || {
        for depth in [10, 100, 140, 400, 490, 1000, 100_000] {
            for (before, middle, after) in kinds {
                walk(&[&before.repeat(depth), middle, &after.repeat(depth)].concat());
            }
            for (before, middle, after) in spans {
                // Only what is inside of the brackets is repeated.
                let (open, inner) = before.split_at(before.find(['[', ' ']).unwrap() + 1);
                let (inner_after, close) = after.split_at(after.find(']').unwrap_or(after.len()));
                let text = [open, &inner.repeat(depth), middle, &inner_after.repeat(depth), close].concat();
                walk(&text);
            }
        }
    };
    thread::Builder::new().stack_size(STACK).spawn(check).unwrap().join().unwrap();
}

/// Reads a text and, where that works, all that walks its tree.
fn walk(text: &str) {
    if let Ok(expr) = parse(text, &ParseOptions::default()) {
        let _ = (expr.gives(), expr.to_string(), pretty(&expr), expr.clone(), format!("{expr:?}"));
    }
}

#[test]
fn limits_are_told() {
    let options = ParseOptions { max_bytes: 40, max_nesting: 5, max_height: 5, max_regexes: 1 };
    for (text, expected) in [
        ("((((x))))", None),
        ("(((((x)))))", Some("1:6: parse error: expression is nested more than 5 deep")),
        ("x+x+x+x+x", None),
        ("x+x+x+x+x+x", Some("1:1: parse error: expression has more than 5 operations in one another")),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            Some("1:1: parse error: expression of 45 bytes is longer than the limit of 40"),
        ),
        // The same one is compiled once, and a plain one costs little.
        ("x{a=~'.a{2}',b!~'.a{2}',c=~'a.+'}", None),
        ("x{a=~'.a{2}',b!~'.a{3}'}", Some("1:14: parse error: more than 1 different regular expressions")),
    ] {
        let found = parse(text, &options).err().map(|error| error.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}

/// Pieces of queries, so that chance makes queries of them.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "foo",
        "a:b",
        "sum",
        "rate",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "=",
        "=~",
        "!~",
        "!=",
        "==",
        "<",
        "</",
        ">/",
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "@",
        "and",
        "or",
        "unless",
        "on",
        "ignoring",
        "group_left",
        "fill",
        "bool",
        "by",
        "without",
        "offset",
        "anchored",
        "smoothed",
        "5m",
        "1h30m",
        "1",
        "0x1f",
        "1_0",
        "inf",
        "nan",
        "1e3",
        "'a'",
        "\"b\"",
        "`c`",
        "\\",
        "\"",
        "#",
        "\n",
        " ",
        " ",
        "start()",
        "end()",
        "step()",
        "range()",
        "max_of(1,2)",
        "foo[5m]",
        "x{a='b'}",
        "é",
        "\u{fffd}",
        "histogram_quantile",
    ]);
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat())
}

/// Texts that are queries more often than not.
fn queries() -> impl Strategy<Value = String> {
    let selector = prop::sample::select(vec![
        "x",
        "a:b",
        "{a=~'b.*',c!='\\n'}",
        "x{'é.y'='z'}",
        "{'a b'}",
        "x offset 1h",
        "x @ 5 offset -1m",
        "x offset -(step() + 1)",
        "sum",
        "x @ start()",
        "x anchored",
    ]);
    let range = prop::sample::select(vec![
        "x[5m]",
        "x{a='b'}[1h30m] @ end() offset 1d",
        "x[5m + step() * 2] smoothed",
        "x[1w] anchored",
        "x[-(-5m)]",
        "(x + y)[1h:5m] offset 2m",
        "x[1d:]",
        "x[range():min_of(step(), 5)]",
    ]);
    let number =
        prop::sample::select(vec!["1", "-2.5", "0x10", "1e10", "Inf", "-NaN", "5m", "time()", "0.1"]);
    let leaf = prop_oneof![
        selector.prop_map(str::to_owned),
        range.prop_map(|r| format!("rate({r})")),
        number.prop_map(|n| format!("vector({n})")),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        let sign = prop::sample::select(vec![
            "+",
            "-",
            "*",
            "^",
            "%",
            "/",
            "atan2",
            "== bool",
            "> on (a)",
            "</",
            ">/",
            "and",
            "or ignoring (b)",
            "unless on ()",
            "* on (a, 'b c') group_left (d)",
            "/ ignoring (x) group_right",
            "+ fill (0)",
            "- on (a) fill_left (-Inf) fill_right (5m)",
            "<= fill_right (1)",
        ]);
        let aggregate = prop::sample::select(vec![
            "sum",
            "avg by (a)",
            "max without (a, 'b.c')",
            "topk by (x) (3,",
            "count_values('l',",
            "group by ()",
            "quantile(0.9,",
            "limit_ratio(-0.5,",
        ]);
        prop_oneof![
            (inner.clone(), sign, inner.clone()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("max_over_time(({a})[1h:1m])")),
            (aggregate, inner).prop_map(|(op, a)| match op.ends_with(',') {
                true => format!("{op} {a})"),
                false => format!("{op} ({a})"),
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_a_tree_or_an_error(text in prop_oneof![pieces(), ".{0,60}"]) {
        let _ = parse_selector(&text);
        match parse(&text, &ParseOptions::default()) {
            Ok(expr) => {
                prop_assert!(expr.place.start < expr.place.end && expr.place.end as usize <= text.len());
                stable(&expr.to_string())?;
            }
            Err(error) => {
                prop_assert!(error.place.start as usize <= text.len());
                prop_assert!(error.place.end as usize <= text.len());
                prop_assert!(!error.message.is_empty());
            }
        }
    }

    #[test]
    fn what_is_written_reads_the_same(text in queries()) {
        // Sets between scalars and the like are no queries; that is rare.
        if let Ok(expr) = parse(&text, &ParseOptions::default()) {
            stable(&expr.to_string())?;
            stable(&pretty(&expr))?;
        }
    }
}

/// A text that was written reads as something that is written the same.
fn stable(printed: &str) -> Result<(), TestCaseError> {
    let again = parse(printed, &ParseOptions::default());
    let again = again.map_err(|error| TestCaseError::fail(format!("`{printed}`: {error}")))?;
    let one_line = again.to_string();
    let second = parse(&one_line, &ParseOptions::default()).map(|expr| expr.to_string());
    prop_assert_eq!(second.ok(), Some(one_line.clone()));
    prop_assert_eq!(
        printed.split_whitespace().collect::<String>(),
        one_line.split_whitespace().collect::<String>()
    );
    Ok(())
}
