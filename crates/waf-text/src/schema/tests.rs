use super::*;

/// Texts that a schema takes, and texts with the keyword that each breaks.
#[track_caller]
fn check(schema: &str, valid: &[&str], invalid: &[(&str, &'static str)]) {
    let compiled = Schema::parse(schema.as_bytes()).unwrap_or_else(|error| panic!("{schema}: {error}"));
    for text in valid {
        assert_eq!(compiled.check(text.as_bytes()), None, "{text} by {schema}");
    }
    for &(text, keyword) in invalid {
        assert_eq!(compiled.check(text.as_bytes()), Some(Violation::Keyword(keyword)), "{text} by {schema}");
    }
}

#[test]
fn one_keyword_at_a_time() {
    check("true", &["1", "{}"], &[]);
    check("false", &[], &[("1", "false")]);
    check(
        r#"{"type": "integer"}"#,
        &["1", "-7", "1.0"],
        &[("1.5", "type"), ("\"1\"", "type"), ("null", "type")],
    );
    check(r#"{"type": ["string", "null"]}"#, &["\"a\"", "null"], &[("1", "type"), ("{}", "type")]);
    check(r#"{"enum": [1, "a", [2]]}"#, &["1", "1.0", "\"a\"", "[2]"], &[("2", "enum"), ("[]", "enum")]);
    check(r#"{"const": {"a": 1, "b": 2}}"#, &[r#"{"b": 2, "a": 1.0}"#], &[(r#"{"a": 1}"#, "const")]);
    check(
        r#"{"minimum": 1, "exclusiveMaximum": 3}"#,
        &["1", "2.9", "\"a\""],
        &[("0", "minimum"), ("3", "exclusiveMaximum")],
    );
    check(
        r#"{"maximum": 1, "exclusiveMinimum": 0}"#,
        &["1", "0.1"],
        &[("2", "maximum"), ("0", "exclusiveMinimum")],
    );
    check(r#"{"multipleOf": 0.1}"#, &["0.3", "7", "\"a\""], &[("0.35", "multipleOf")]);
    check(
        r#"{"minLength": 2, "maxLength": 3}"#,
        &["\"äö\"", "\"abc\""],
        &[("\"a\"", "minLength"), ("\"abcd\"", "maxLength")],
    );
    check(r#"{"pattern": "^a+$"}"#, &["\"aa\"", "1"], &[("\"ab\"", "pattern")]);
    check(
        r#"{"minItems": 1, "maxItems": 2}"#,
        &["[1]", "{}"],
        &[("[]", "minItems"), ("[1,2,3]", "maxItems")],
    );
    check(
        r#"{"uniqueItems": true}"#,
        &["[1, \"1\", true]"],
        &[("[1, 1.0]", "uniqueItems"), (r#"[{"a":1,"b":2},{"b":2,"a":1}]"#, "uniqueItems")],
    );
    check(r#"{"items": {"type": "string"}}"#, &["[]", "[\"a\"]"], &[("[\"a\", 1]", "type")]);
    check(
        r#"{"prefixItems": [{"type": "string"}], "items": false}"#,
        &["[\"a\"]"],
        &[("[1]", "type"), ("[\"a\", 1]", "false")],
    );
    check(
        r#"{"items": [{"type": "string"}], "additionalItems": {"type": "null"}}"#,
        &["[\"a\", null]"],
        &[("[\"a\", 1]", "type")],
    );
    check(
        r#"{"contains": {"const": 1}, "maxContains": 2}"#,
        &["[1]", "[1, 2, 1]"],
        &[("[2]", "contains"), ("[1,1,1]", "contains")],
    );
    check(
        r#"{"minProperties": 1, "maxProperties": 1}"#,
        &[r#"{"a":1}"#],
        &[("{}", "minProperties"), (r#"{"a":1,"b":1}"#, "maxProperties")],
    );
    check(r#"{"required": ["a"]}"#, &[r#"{"a":1}"#, "1"], &[("{}", "required")]);
    check(
        r#"{"dependentRequired": {"a": ["b"]}}"#,
        &["{}", r#"{"a":1,"b":1}"#],
        &[(r#"{"a":1}"#, "dependentRequired")],
    );
    check(
        r#"{"dependencies": {"a": ["b"], "c": {"maxProperties": 1}}}"#,
        &[r#"{"c":1}"#],
        &[(r#"{"a":1}"#, "dependentRequired"), (r#"{"c":1,"d":1}"#, "maxProperties")],
    );
    check(
        r#"{"properties": {"a": {"type": "integer"}}, "patternProperties": {"^x": true}, "additionalProperties": false}"#,
        &[r#"{"a":1,"xy":2}"#],
        &[(r#"{"a":"1"}"#, "type"), (r#"{"b":1}"#, "additionalProperties")],
    );
    check(r#"{"propertyNames": {"maxLength": 1}}"#, &[r#"{"a":1}"#], &[(r#"{"ab":1}"#, "maxLength")]);
    check(r#"{"allOf": [{"minimum": 1}, {"maximum": 2}]}"#, &["1"], &[("3", "maximum")]);
    check(r#"{"anyOf": [{"minimum": 5}, {"maximum": 2}]}"#, &["1", "7"], &[("3", "anyOf")]);
    check(r#"{"oneOf": [{"minimum": 1}, {"maximum": 2}]}"#, &["0", "7"], &[("1", "oneOf")]);
    check(r#"{"not": {"type": "string"}}"#, &["1"], &[("\"a\"", "not")]);
    check(
        r#"{"if": {"minimum": 1}, "then": {"maximum": 2}, "else": {"const": 0}}"#,
        &["1", "0"],
        &[("3", "maximum"), ("-1", "const")],
    );
}

#[test]
fn references() {
    let tree = r##"{"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["v"],
        "properties": {"v": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}}}}}"##;
    check(tree, &[r#"{"v":1,"next":{"v":2}}"#], &[(r#"{"v":1,"next":{}}"#, "required")]);
    check(
        r##"{"properties": {"a": {"$ref": "#"}}, "additionalProperties": false}"##,
        &[r#"{"a":{"a":{}}}"#],
        &[(r#"{"a":{"b":1}}"#, "additionalProperties")],
    );
}

#[test]
fn what_cannot_be_used_is_an_error() {
    let check = |schema: &str, at: &str| {
        let error = Schema::parse(schema.as_bytes()).err();
        assert_eq!(error.map(|error| error.at).as_deref(), Some(at), "{schema}");
    };
    check("{", "");
    check("1", "");
    check(r#"{"typ": "string"}"#, "/typ");
    check(r#"{"type": "text"}"#, "/type");
    check(r#"{"properties": {"a/b": {"minLength": -1}}}"#, "/properties/a~1b/minLength");
    check(r#"{"pattern": "("}"#, "/pattern");
    check(r#"{"$ref": "other.json"}"#, "/$ref");
    check(r##"{"$ref": "#/nowhere"}"##, "/$ref");
    check(r##"{"$ref": "#"}"##, "");
    check(
        r##"{"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}"##,
        "/$defs/a",
    );
    check(r#"{"anyOf": []}"#, "/anyOf");
    check(r#"{"then": true}"#, "/then");
    check(r#"{"unevaluatedProperties": false}"#, "/unevaluatedProperties");
    check(r#"{"multipleOf": 0}"#, "/multipleOf");
}

#[test]
fn what_is_no_document() {
    let schema = Schema::parse(br#"{"type": "object"}"#).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(schema.check(b""), None);
    assert_eq!(schema.check(b" \n"), None);
    assert_eq!(schema.check(b"{"), Some(Violation::NotJson));
    assert_eq!(schema.check(b"{} {}"), Some(Violation::NotJson));
    assert_eq!(schema.check(b"{\"a\":\xff}"), Some(Violation::NotJson));
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert_eq!(schema.check(&deep), Some(Violation::NotJson));
}

/// Each level asks twice of the next, so that 40 levels would ask 2^40 times.
#[test]
fn work_is_bounded() {
    let twice = r##"{"anyOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}], "$defs": {
        "b": {"type": "array", "items": {"$ref": "#"}}}}"##;
    let schema = Schema::parse(twice.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    assert_eq!(schema.check(deep.as_bytes()), Some(Violation::TooMuch));
}
