//! What is wrong with a text, word for word as Prometheus says it.

use monitor_lang::{ParseOptions, parse};

#[test]
fn errors() {
    let cases = [
        // Nothing, or no end.
        ("", "unknown position: parse error: no expression found in input"),
        (" \n", "1:1: parse error: no expression found in input"),
        ("# comment", "1:1: parse error: no expression found in input"),
        ("1+", "1:3: parse error: unexpected end of input"),
        ("(1", "1:3: parse error: unclosed left parenthesis"),
        ("foo\n + \n )", "3:3: parse error: unexpected right parenthesis ')'"),
        (
            "999e999",
            r#"1:1: parse error: error parsing number: strconv.ParseFloat: parsing "999e999": value out of range"#,
        ),
        ("5e", r#"1:1: parse error: bad number or duration syntax: "5e""#),
        ("5mm", r#"1:1: parse error: bad number or duration syntax: "5mm""#),
        ("0xz", r#"1:1: parse error: bad number or duration syntax: "0x""#),
        // Characters and words.
        ("1 && 1", "1:3: parse error: unexpected character: '&'"),
        ("1 !~ 1", "1:3: parse error: unexpected character after '!': '~'"),
        ("1 =~ 1", "1:3: parse error: unexpected character after '=': '~'"),
        ("1 = 1", r#"1:3: parse error: unexpected "=""#),
        ("!", "1:1: parse error: unexpected character after '!': '\u{fffd}'"),
        ("*1", "1:1: parse error: unexpected <op:*>"),
        ("1 foo", r#"1:3: parse error: unexpected identifier "foo""#),
        (
            "1 offset",
            "1:9: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        ("foo bar:baz", r#"1:5: parse error: unexpected metric identifier "bar:baz""#),
        (r#"foo "a long string""#, r#"1:5: parse error: unexpected string "\"a long st"..."#),
        ("foo on", "1:5: parse error: unexpected <on>"),
        ("bool", "1:1: parse error: unexpected <bool>"),
        ("foo]", "1:4: parse error: unexpected right bracket ']'"),
        ("foo @@", "1:6: parse error: unexpected <op:@> in @, expected timestamp"),
        ("foo @ start", "1:12: parse error: unexpected end of input in @, expected timestamp"),
        ("foo @ +Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"),
        ("foo @ 10 @ 20", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        (
            "1 @ 5",
            "1:1: parse error: @ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        // Texts.
        (r#""foo"#, "1:1: parse error: unterminated quoted string"),
        ("`foo", "1:1: parse error: unterminated raw string"),
        (r#""\q""#, "1:1: parse error: unknown escape sequence U+0071 'q'"),
        (r#""\xg0""#, "1:1: parse error: illegal character U+0067 'g' in escape sequence"),
        (r#""\ud800""#, "1:1: parse error: escape sequence is an invalid Unicode code point"),
        (r#""\xff""#, r#"1:1: parse error: error unquoting string "\"\\xff\"": invalid syntax"#),
        // Selectors.
        ("{", "1:2: parse error: unexpected end of input inside braces"),
        ("foo{", "1:5: parse error: unexpected end of input inside braces"),
        ("foo{a}", r#"1:6: parse error: unexpected "}" in label matching, expected label matching operator"#),
        ("foo{a=}", r#"1:7: parse error: unexpected "}" in label matching, expected string"#),
        ("foo{a=b}", r#"1:7: parse error: unexpected identifier "b" in label matching, expected string"#),
        (
            r#"foo{a="b" c="d"}"#,
            r#"1:11: parse error: unexpected identifier "c" in label matching, expected "," or "}""#,
        ),
        (r#"foo{,}"#, r#"1:5: parse error: unexpected "," in label matching, expected identifier or "}""#),
        (
            r#"foo{a="b",,}"#,
            r#"1:11: parse error: unexpected "," in label matching, expected identifier or "}""#,
        ),
        (r#"foo{a!"b"}"#, r#"1:6: parse error: unexpected character after '!' inside braces: '"'"#),
        (r#"foo{1}"#, "1:5: parse error: unexpected character inside braces: '1'"),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        (r#"{x=""}"#, "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        (r#"{x=~".*"}"#, "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        (r#"{x!="a"}"#, "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        (r#"rate({}[5m])"#, "1:6: parse error: vector selector must contain at least one non-empty matcher"),
        (r#"foo{__name__="bar"}"#, r#"1:1: parse error: metric name must not be set twice: "foo" or "bar""#),
        (r#"foo{"bar"}"#, r#"1:1: parse error: metric name must not be set twice: "foo" or "bar""#),
        // Ranges, subqueries, offsets.
        (
            "foo[]",
            r#"1:5: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
        ),
        ("foo[5m", "1:7: parse error: unclosed left bracket"),
        ("foo[bar]", "1:5: parse error: unexpected character in duration expression: 'b'"),
        ("foo[5m bar]", "1:8: parse error: unexpected character: 'b', expected ':'"),
        (
            "foo[5m 5m]",
            r#"1:8: parse error: unexpected duration "5m" in subquery or range, expected ":" or "]""#,
        ),
        (
            "foo[5m:5m 5m]",
            r#"1:11: parse error: unexpected duration "5m" in subquery selector, expected "]""#,
        ),
        ("foo[5m:)]", r#"1:9: parse error: unexpected right parenthesis ')'"#),
        (
            "(foo[5m:)]",
            r#"1:9: parse error: unexpected ")" in subquery selector, expected number, duration, step(), range(), or "]""#,
        ),
        ("foo[:5m]", "1:6: parse error: unexpected colon before duration in duration expression"),
        ("foo[5m::5m]", "1:8: parse error: unexpected colon ':'"),
        ("foo[0]", "1:5: parse error: duration must be greater than 0"),
        ("foo[-5m]", "1:5: parse error: duration must be greater than 0"),
        ("foo[5m:0s]", "1:8: parse error: duration must be greater than 0"),
        ("foo[1m1h]", r#"1:5: parse error: not a valid duration string: "1m1h""#),
        ("foo[1hs]", r#"1:5: parse error: unknown unit "hs" in duration "1hs""#),
        ("foo[1e99]", "1:5: parse error: duration out of range"),
        ("foo[5m/0]", "1:7: parse error: division by zero"),
        ("foo[5m%0]", "1:7: parse error: modulo by zero"),
        (
            "foo[5m+]",
            r#"1:8: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
        ),
        ("foo[[5m]]", "1:5: parse error: unexpected character in duration expression: '['"),
        ("foo[5m[", "1:7: parse error: unexpected left bracket '['"),
        ("foo offset 1m[5m]", "1:14: parse error: no offset modifiers allowed before range"),
        ("foo @ 1[5m]", "1:8: parse error: no @ modifiers allowed before range"),
        ("sum()]", "1:6: parse error: unexpected right bracket ']'"),
        ("foo[5m][5m]", "1:8: parse error: ranges only allowed for vector selectors"),
        ("(foo)[5m]", "1:6: parse error: ranges only allowed for vector selectors"),
        ("foo offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        (
            "sum(foo) offset 1m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "foo offset foo",
            r#"1:12: parse error: unexpected identifier "foo" in offset, expected number, duration, step(), or range()"#,
        ),
        (
            "foo[5m] anchored smoothed",
            "1:1: parse error: anchored and smoothed modifiers cannot be used together",
        ),
        ("foo[5m:1m] smoothed", "1:1: parse error: smoothed modifier is not supported for subqueries"),
        ("sum(foo) anchored", "1:1: parse error: anchored modifier not implemented"),
        (
            "foo[5m:1m][5m:1m]",
            "1:1: parse error: subquery is only allowed on instant vector, got matrix instead",
        ),
        // Aggregations.
        ("sum(", "1:5: parse error: unclosed left parenthesis"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        (
            "sum(a, b)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
        ),
        (
            "topk(a)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        ("topk(a,)", "1:7: parse error: trailing commas not allowed in function call args"),
        ("topk(a, b)", "1:6: parse error: expected type scalar in aggregation parameter, got instant vector"),
        (
            "count_values(5, b)",
            "1:14: parse error: expected type string in aggregation parameter, got scalar",
        ),
        (
            "sum(foo[5m])",
            "1:5: parse error: expected type instant vector in aggregation expression, got range vector",
        ),
        ("sum(foo bar)", r#"1:9: parse error: unexpected identifier "bar" in aggregation"#),
        ("sum(rate(foo[5m] bar))", r#"1:18: parse error: unexpected identifier "bar" in aggregation"#),
        ("sum by foo (x)", r#"1:8: parse error: unexpected identifier "foo" in grouping opts, expected "(""#),
        (
            "sum by (a b) (x)",
            r#"1:11: parse error: unexpected identifier "b" in grouping opts, expected "," or ")""#,
        ),
        ("sum by (==) (x)", "1:9: parse error: unexpected <op:==> in grouping opts, expected label"),
        ("sum by (without) (x)", "1:9: parse error: unexpected <without> in grouping opts, expected label"),
        (r#"sum by ("") (x)"#, r#"1:9: parse error: invalid label name for grouping: """#),
        (
            "a * on(x) group_left",
            r#"1:21: parse error: unexpected end of input in grouping opts, expected "(""#,
        ),
        ("(a * on(x) group_left)", r#"1:22: parse error: unexpected ")" in grouping opts, expected "(""#),
        (r#"foo{a=~"("}"#, "1:5: parse error: error parsing regexp: unclosed group: `(`"),
        ("sum by (a) x", r#"1:12: parse error: unexpected identifier "x" in aggregation"#),
        ("sum(x) by (a) (x)", r#"1:15: parse error: unexpected "(""#),
        ("sum x", r#"1:5: parse error: unexpected identifier "x""#),
        // Functions.
        ("foo(1)", r#"1:1: parse error: unknown function with name "foo""#),
        ("FLOOR(x)", r#"1:1: parse error: unknown function with name "FLOOR""#),
        ("floor()", r#"1:1: parse error: expected 1 argument(s) in call to "floor", got 0"#),
        ("floor(a, b)", r#"1:1: parse error: expected 1 argument(s) in call to "floor", got 2"#),
        ("hour(a, b)", r#"1:1: parse error: expected at most 1 argument(s) in call to "hour", got 2"#),
        ("round()", r#"1:1: parse error: expected at least 1 argument(s) in call to "round", got 0"#),
        (
            "label_join(a)",
            r#"1:1: parse error: expected at least 3 argument(s) in call to "label_join", got 1"#,
        ),
        (
            "rate(foo)",
            r#"1:6: parse error: expected type range vector in call to function "rate", got instant vector"#,
        ),
        (
            "floor(1)",
            r#"1:7: parse error: expected type instant vector in call to function "floor", got scalar"#,
        ),
        (
            r#"label_join(a, "b", "c", "d", 1)"#,
            r#"1:30: parse error: expected type string in call to function "label_join", got scalar"#,
        ),
        ("time(1)", r#"1:1: parse error: expected 0 argument(s) in call to "time", got 1"#),
        ("floor(,)", r#"1:7: parse error: unexpected ",""#),
        ("info(a, b)", "1:9: parse error: expected label selectors only, got vector selector instead"),
        (
            "info(a, 1)",
            r#"1:1: parse error: expected type instant vector in call to function "info", got scalar"#,
        ),
        ("info(a, sum(b))", "1:9: parse error: expected label selectors only"),
        // Operators.
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("1   == \n 1", "1:5: parse error: comparisons between scalars must use BOOL modifier"),
        ("foo + bool bar", "1:5: parse error: bool modifier can only be used on comparison operators"),
        ("foo + bool 10", "1:5: parse error: bool modifier can only be used on comparison operators"),
        ("1 or 1", r#"1:1: parse error: set operator "or" not allowed in binary scalar expression"#),
        ("foo or 1", r#"1:1: parse error: set operator "or" not allowed in binary scalar expression"#),
        (
            "1 + foo[5m]",
            "1:5: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            r#""a" + 1"#,
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        (
            "-foo[5m]",
            r#"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "range vector""#,
        ),
        (
            r#"-"a""#,
            r#"1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "string""#,
        ),
        ("foo + on(a) 1", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("foo + on a", r#"1:10: parse error: unexpected identifier "a" in grouping opts, expected "(""#),
        (
            "foo + on(a) group_left(a) bar",
            r#"1:5: parse error: label "a" must not occur in ON and GROUP clause at once"#,
        ),
        ("foo and on(a) group_left(b) bar", r#"1:1: parse error: no grouping allowed for "and" operation"#),
        ("foo and fill(0) bar", "1:1: parse error: filling in missing series not allowed for set operators"),
        (
            "foo + fill(0) 1",
            "1:1: parse error: filling in missing series only allowed between instant vectors",
        ),
        (r#"count_values("a\xc5z", foo)"#, r#"invalid label name "a\xc5z""#),
        ("foo + fill(a) 1", r#"1:12: parse error: unexpected identifier "a""#),
        ("foo + fill 1", r#"1:12: parse error: unexpected number "1""#),
        ("foo + group_left(a) bar", "1:7: parse error: unexpected <group_left>"),
        ("foo + on(a) fill_left(1) fill_left(1) bar", r#"1:35: parse error: unexpected "(""#),
    ];
    for (text, expected) in cases {
        match parse(text, &ParseOptions::default()) {
            Ok(expr) => panic!("`{text}` was read as `{expr}`, not: {expected}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
        }
    }
}
