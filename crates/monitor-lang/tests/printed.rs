//! What an expression is, seen by how it is written again, and where it stands.

use monitor_lang::ast::{At, Cardinality, Kind, Place, Span, Type};
use monitor_lang::{ParseOptions, parse, parse_selector, pretty};

fn read(text: &str) -> monitor_lang::Expr {
    parse(text, &ParseOptions::default()).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

#[test]
fn on_one_line() {
    let cases = [
        // Literals.
        ("1", "1"),
        ("-1", "-1"),
        ("--1", "1"),
        ("1_000", "1000"),
        ("0x1f", "31"),
        ("1e-3", "0.001"),
        ("+Inf", "+Inf"),
        ("-inf", "-Inf"),
        ("nAn", "NaN"),
        ("5m", "5m"),
        ("-1h30m", "-1h30m"),
        (r#"'a"b'"#, r#""a\"b""#),
        ("`a\\b`", r#""a\\b""#),
        // Precedence.
        ("1+2*3", "1 + 2 * 3"),
        ("-foo^2", "-foo ^ 2"),
        ("(1 + 2) # comment\n * 3", "(1 + 2) * 3"),
        ("a and b or c unless d", "a and b or c unless d"),
        ("1 < bool 2", "1 < bool 2"),
        ("a </ 0.5 >/ 0.1", "a </ 0.5 >/ 0.1"),
        ("a atan2 b", "a atan2 b"),
        // Selectors.
        ("foo{}", "foo"),
        (r#"foo{b="1",a!="2",}"#, r#"foo{a!="2",b="1"}"#),
        (r#"{"foo bar", 'a.b'=~`x\d`}"#, r#"{"a.b"=~"x\\d",__name__="foo bar"}"#),
        (r#"{__name__=~"a.+"}"#, r#"{__name__=~"a.+"}"#),
        ("sum", "sum"),
        ("offset{step='1s'}[5m]", r#"offset{step="1s"}[5m]"#),
        ("start + end", "start + end"),
        ("foo + fill", "foo + fill"),
        ("foo == bool fill_left{a='b'}", r#"foo == bool fill_left{a="b"}"#),
        ("fill + on(a) group_left fill (1) fill_right", "fill + on (a) group_left () fill (1) fill_right"),
        ("a:b:c", "a:b:c"),
        // Shifts and ranges.
        ("foo[300]", "foo[5m]"),
        ("foo[5m] offset -1d", "foo[5m] offset -1d"),
        ("foo offset 0s", "foo"),
        ("foo offset 5m @ 1.5", "foo @ 1.500 offset 5m"),
        ("foo @ -0.001", "foo @ -0.001"),
        ("foo[1w] @ start() offset 1y", "foo[1w] @ start() offset 1y"),
        ("foo[5m] anchored @ end()", "foo[5m] anchored @ end()"),
        ("foo smoothed[5m]", "foo[5m] smoothed"),
        ("foo @ end()[5m]", "foo[5m] @ end()"),
        ("foo[1h:]", "foo[1h:]"),
        ("foo[1h:5m] offset 1m", "foo[1h:5m] offset 1m"),
        ("(foo + bar)[1h:5m]", "(foo + bar)[1h:5m]"),
        ("foo[5m+step()]", "foo[5m + step()]"),
        ("foo[1800*(2-1):max_of(10,range())]", "foo[1800 * (2 - 1):max_of(10, range())]"),
        ("foo offset -(2*step())", "foo offset -(2 * step())"),
        ("foo offset step() * 2", "foo offset step() * 2"),
        ("foo offset -2 ^ 2", "foo offset -2s ^ 2"),
        ("foo offset 100 + 2", "foo offset 1m40s + 2"),
        ("foo offset (-2 * 2)", "foo offset (-2 * 2)"),
        // Calls and aggregations.
        ("rate( foo [5m] )", "rate(foo[5m])"),
        ("min_of(1,2)", "min_of(1, 2)"),
        ("sum(x) by (a, 'b c')", r#"sum by (a, "b c") (x)"#),
        ("sum by (a:b) (x)", r#"sum by ("a:b") (x)"#),
        ("sum by () (x)", "sum(x)"),
        ("SUM WITHOUT () (x)", "sum without () (x)"),
        ("topk by (sum, on,) (5, x)", "topk by (sum, on) (5, x)"),
        ("limit_ratio(-0.5, x)", "limit_ratio(-0.5, x)"),
        ("info(x, {a=~'.*'})", r#"info(x, {a=~".*"})"#),
        ("info(x, {})", "info(x, {})"),
        ("hour()", "hour()"),
        // Matching.
        ("a * on() b", "a * on () b"),
        ("a * ignoring() b", "a * b"),
        ("a * ignoring(x) group_left b", "a * ignoring (x) group_left () b"),
        ("a == bool on(x, y) group_right(z) b", "a == bool on (x, y) group_right (z) b"),
        ("a + fill(-1) b", "a + fill (-1) b"),
        ("a + on(x) fill_right(Inf) fill_left(5m) b", "a + on (x) fill_left (300) fill_right (+Inf) b"),
    ];
    for (text, expected) in cases {
        let printed = read(text).to_string();
        assert_eq!(printed, expected, "{text}");
        assert_eq!(read(&printed).to_string(), expected, "again: {text}");
    }
}

#[test]
fn pretty_lines() {
    let metric = "a_metric_with_a_long_name_that_takes_half_of_the_line_and_more_x";
    let cases = [
        ("1+1".to_owned(), "1 + 1".to_owned()),
        (
            format!("sum by (job) ({metric}+{metric})"),
            format!("sum by (job) (\n    {metric}\n  +\n    {metric}\n)"),
        ),
        (
            format!("topk(5, {metric}) / on(x) ({metric}) > 1"),
            format!("    topk(5, {metric})\n  / on (x)\n    ({metric})\n>\n  1"),
        ),
        (
            format!("-label_replace({metric}, 'a', '$1', 'b', '(.*) and a long expression')"),
            format!(
                "-label_replace(\n  {metric},\n  \"a\",\n  \"$1\",\n  \"b\",\n  \"(.*) and a long expression\"\n)"
            ),
        ),
        (
            format!("(rate({metric}[5m]) + rate({metric}[5m]))[1h:1m]"),
            format!("(\n    rate({metric}[5m])\n  +\n    rate({metric}[5m])\n)[1h:1m]"),
        ),
    ];
    for (text, expected) in &cases {
        let printed = pretty(&read(text));
        assert_eq!(&printed, expected, "{text}");
        assert_eq!(read(&printed).to_string(), read(text).to_string());
    }
}

#[test]
fn places() {
    // The text, and which part of it the whole expression says it is.
    let cases = [
        ("  foo ", "foo"),
        (" foo{a='b'} offset 5m ", "foo{a='b'} offset 5m"),
        (" foo[5m] @ end() ", "foo[5m] @ end()"),
        (" foo [5m] anchored", "foo [5m]"),
        (" (-foo)[5m:1m] offset 1m", "(-foo)[5m:1m] offset 1m"),
        (" ( 1 ) ", "( 1 )"),
        (" sum ( x ) by ( a ) ", "sum ( x ) by ( a )"),
        (" rate ( x[5m] ) ", "rate ( x[5m] )"),
        (" (a) + rate(b[5m]) ", "(a) + rate(b[5m])"),
        ("'é' ", "'é'"),
        (" - 5 ", "- 5"),
    ];
    for (text, expected) in &cases {
        let Place { start, end } = read(text).place;
        assert_eq!(&&text[start as usize..end as usize], expected, "{text}");
    }
}

#[test]
fn the_tree() {
    let expr = read("foo{a='b'}[5m] offset 1m @ 1.5");
    assert_eq!(expr.gives(), Type::Matrix);
    let Kind::Range { selector, range } = expr.kind else { panic!("no range") };
    assert_eq!(selector.name.as_deref(), Some("foo"));
    assert_eq!(selector.matchers.len(), 2);
    assert_eq!(selector.matchers[1].name, "__name__");
    assert_eq!(selector.shift.offset, Some(Span::Fixed(60_000)));
    assert_eq!(selector.shift.at, Some(At::Time(1500)));
    assert_eq!(range, Span::Fixed(300_000));

    let cardinality = |text| match read(text).kind {
        Kind::Binary { matching, .. } => matching.map(|m| m.cardinality),
        _ => panic!("{text} is not binary"),
    };
    assert_eq!(cardinality("a + b"), Some(Cardinality::OneToOne));
    assert_eq!(cardinality("a and b"), Some(Cardinality::ManyToMany));
    assert_eq!(cardinality("a + on(x) group_right b"), Some(Cardinality::OneToMany));
    assert_eq!(cardinality("a + 1"), None);

    // What binds to what: the outermost operator.
    let outermost = |text| match read(text).kind {
        Kind::Binary { op, .. } => op.to_string(),
        Kind::Unary { .. } => "unary".into(),
        _ => "other".into(),
    };
    for (text, op) in [
        ("1 + 2 * 3", "+"),
        ("1 * 2 + 3", "+"),
        ("a - b - c", "-"),
        ("a ^ b ^ c", "^"),
        ("-a ^ b", "unary"),
        ("-a * b", "*"),
        ("a ^ -b * c", "*"),
        ("a == b + c", "=="),
        ("a and b == c", "and"),
        ("a or b and c", "or"),
        ("a unless b and c", "and"),
        ("a % b atan2 c", "atan2"),
        ("a </ b + c", "</"),
    ] {
        assert_eq!(outermost(text), op, "{text}");
    }
    let Kind::Binary { right, .. } = read("a ^ b ^ c").kind else { panic!("no operator") };
    assert!(matches!(right.kind, Kind::Binary { .. }), "`^` goes to the right");
}

#[test]
fn computed_spans() {
    let cases = [
        ("x[5m+step()]", Ok(315_000)),
        ("x[1h/2]", Ok(1_800_000)),
        ("x[1h30m % 1h]", Ok(1_800_000)),
        ("x[2 ^ 3 ^ 2]", Ok(512_000)),
        ("x[-5m+35m]", Ok(1_800_000)),
        ("x[min_of(step(), range())]", Ok(15_000)),
        ("x[max_of(step(), range())]", Ok(60_000)),
        ("x[24m+((1.5*2m)+2m)]", Ok(29 * 60_000)),
        ("x[step()-15]", Err("2:11: duration must be greater than 0")),
        ("x[1/(step()-15)]", Err("2:15: division by zero")),
        ("x[step()*1e9]", Err("2:12: duration is out of range")),
    ];
    for (text, expected) in cases {
        let Kind::Range { range, .. } = read(text).kind else { panic!("no range: {text}") };
        let found = range.resolve(15_000, 60_000, false).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }
    let Kind::Selector(selector) = read("x offset -(2*step())").kind else { panic!("no selector") };
    assert_eq!(selector.shift.offset.unwrap().resolve(15_000, 0, true), Ok(-30_000));
}

#[test]
fn selectors_alone() {
    let matchers = parse_selector(r#"up{job="a", x=~"b"}"#).unwrap();
    assert_eq!(matchers.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["job", "x", "__name__"]);
    assert!(parse_selector("{}").unwrap().is_empty());
    for (text, error) in [
        ("", "unknown position: parse error: unexpected end of input"),
        ("up[5m]", r#"1:3: parse error: unexpected "[""#),
        ("up offset 5m", "1:4: parse error: unexpected <offset>"),
        ("1", r#"1:1: parse error: unexpected number "1""#),
    ] {
        assert_eq!(parse_selector(text).unwrap_err().to_string(), error);
    }
}
