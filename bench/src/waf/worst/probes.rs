//! What is tried: inputs that made somebody's filter slow, for each operator,
//! transformation and body processor.

/// A text of any size: `prefix`, then `unit` as often as it fits, then `suffix`.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) prefix: &'static [u8],
    pub(super) unit: &'static [u8],
    pub(super) suffix: &'static [u8],
}

impl Shape {
    const fn of(unit: &'static [u8]) -> Self {
        Self { prefix: b"", unit, suffix: b"" }
    }

    const fn between(prefix: &'static [u8], unit: &'static [u8], suffix: &'static [u8]) -> Self {
        Self { prefix, unit, suffix }
    }

    /// About `size` bytes of it. A `#` in the unit becomes its number, so that names differ.
    pub(super) fn text(&self, size: usize) -> Vec<u8> {
        let mut text = self.prefix.to_vec();
        let mut number = 0u32;
        while text.len() < size {
            for &byte in self.unit {
                if byte == b'#' { text.extend(number.to_string().bytes()) } else { text.push(byte) }
            }
            number += 1;
        }
        text.extend_from_slice(self.suffix);
        text
    }
}

/// For every transformation and operator: what their loops could stumble over.
pub(super) const UNITS: &[Shape] = &[
    Shape::of(b"a"),
    Shape::of(b" "),
    Shape::of(b"\0"),
    Shape::of(b"\xff"),
    Shape::of(b"\\"),
    Shape::of(b"/"),
    Shape::of(b"%"),
    Shape::of(b"%25"),
    Shape::of(b"%u00"),
    Shape::of(b"&"),
    Shape::of(b"&#"),
    Shape::of(b"&#x0000000000041"),
    Shape::of(b"&am"),
    Shape::of(b"\\u00"),
    Shape::of(b"\\x"),
    Shape::of(b"\\61 "),
    Shape::of(b"../"),
    Shape::of(b"a/../"),
    Shape::of(b"./"),
    Shape::of(b"a/"),
    Shape::between(b"", b"a/", b"../../../"),
    Shape::of(b"/*"),
    Shape::of(b"/**/"),
    Shape::of(b"*/"),
    Shape::of(b"--"),
    Shape::of(b"<!--"),
    Shape::of(b"-- \n"),
    Shape::of(b"'"),
    Shape::of(b"\"^"),
    Shape::of(b"0x"),
    Shape::of(b"0x61"),
    Shape::of(b"YWFh"),
    Shape::of(b"="),
    Shape::of(b"\xc3\xa9"),
    Shape::of(b"\xe2\x82"),
    Shape::of(b"\xef\xbc\xa1"),
    Shape::of(b"4111111111111111"),
    Shape::of(b"1 "),
    Shape::of(b"("),
    Shape::of(b"1,"),
    Shape::of(b"1'"),
    Shape::of(b"`"),
    Shape::of(b"{"),
    Shape::of(b"@"),
    Shape::of(b"$a"),
    Shape::of(b"1e"),
    Shape::of(b"q'["),
    Shape::of(b"n'a"),
    Shape::of(b"select "),
    Shape::of(b"1 or "),
    Shape::of(b"a."),
    Shape::of(b"<"),
    Shape::of(b"<a "),
    Shape::of(b"<a b=c "),
    Shape::of(b"<a b='"),
    Shape::of(b"<!"),
    Shape::of(b"<![CDATA["),
    Shape::of(b"<?"),
    Shape::of(b"</a"),
    Shape::of(b"a=&#106;"),
    Shape::of(b"x=1;"),
];

/// Every transformation, by its name in rules.
pub(super) const TRANSFORMATIONS: &[&str] = &[
    "base64Decode",
    "base64DecodeExt",
    "base64Encode",
    "cmdLine",
    "compressWhitespace",
    "cssDecode",
    "escapeSeqDecode",
    "hexDecode",
    "hexEncode",
    "htmlEntityDecode",
    "jsDecode",
    "length",
    "lowercase",
    "md5",
    "normalisePath",
    "normalisePathWin",
    "parityEven7bit",
    "parityOdd7bit",
    "parityZero7bit",
    "removeComments",
    "removeCommentsChar",
    "removeNulls",
    "removeWhitespace",
    "replaceComments",
    "replaceNulls",
    "sha1",
    "sqlHexDecode",
    "trim",
    "trimLeft",
    "trimRight",
    "uppercase",
    "urlDecode",
    "urlDecodeUni",
    "urlEncode",
    "utf8toUnicode",
];

/// An operator with an argument, and what the argument is bad at beyond [`UNITS`].
pub(super) struct OperatorProbe {
    pub(super) name: &'static str,
    pub(super) written: &'static str,
    pub(super) shapes: &'static [Shape],
}

const fn operator(name: &'static str, written: &'static str, shapes: &'static [Shape]) -> OperatorProbe {
    OperatorProbe { name, written, shapes }
}

/// Operators. Where an argument is `%{ARGS.w}`, the request holds the same value
/// there too, so that needle and haystack grow together.
pub(super) const OPERATORS: &[OperatorProbe] = &[
    operator("rx nested", "@rx ^(a+)+$", &[Shape::between(b"", b"a", b"!")]),
    operator("rx alternation", "@rx ^(?:a|aa|a?)*b$", &[Shape::between(b"", b"a", b"c")]),
    operator("rx dots", "@rx .*,.*,.*,.*;", &[Shape::of(b","), Shape::between(b"", b",", b"x")]),
    operator(
        "rx counted",
        r"@rx (?i)select.{0,200}?from.{0,200}?where",
        &[Shape::of(b"select from "), Shape::of(b"select ")],
    ),
    operator(
        "rx many counted",
        r"@rx (?:[a-z]{1,50}[0-9]){3}",
        &[Shape::of(b"abcdefgh"), Shape::of(b"abc1")],
    ),
    operator("rx word", r"@rx \b\w+\s*=\s*\w+\s*;$", &[Shape::of(b"a = b "), Shape::of(b"a=")]),
    operator("rx look-ahead", r"@rx a(?=[^b]*b)[^c]*c", &[Shape::of(b"a"), Shape::of(b"ab")]),
    operator("rx look-ahead start", r"@rx (?!.*z)x.*y$", &[Shape::of(b"x"), Shape::of(b"xz")]),
    operator("rx backreference", r"@rx (\w+) \1 \1x", &[Shape::of(b"a"), Shape::of(b"a ")]),
    operator("rxGlobal", "@rxGlobal .*[^A-Z]|[A-Z]", &[Shape::of(b"A")]),
    operator("rxGlobal simple", "@rxGlobal a", &[]),
    operator("pm", "@pm aaaaaaab select union insert ../ <script 1' 4111", &[]),
    operator("contains", "@contains aaaaaaaaaaaaaaab", &[Shape::of(b"aaaaaaaaaaaaaaa")]),
    operator("contains of request", "@contains %{ARGS.w}x", &[Shape::of(b"a")]),
    operator("containsWord", "@containsWord aa", &[Shape::of(b"aaa")]),
    operator("containsWord of request", "@containsWord %{ARGS.h}", &[Shape::of(b"a")]),
    operator("strmatch", "@strmatch aaaaaaaaaaaaaaab", &[]),
    operator("strmatch of request", "@strmatch %{ARGS.w}x", &[]),
    operator("streq of request", "@streq %{ARGS.w}x", &[]),
    operator("within of request", "@within x%{ARGS.w}", &[]),
    operator("beginsWith of request", "@beginsWith %{ARGS.w}x", &[]),
    operator("endsWith of request", "@endsWith x%{ARGS.w}", &[]),
    operator("eq", "@eq 7", &[Shape::of(b"9")]),
    operator("gt", "@gt 7", &[Shape::of(b"9")]),
    operator(
        "ipMatch",
        "@ipMatch 10.0.0.0/8,2001:db8::/32",
        &[Shape::of(b"1."), Shape::of(b"1:"), Shape::of(b":")],
    ),
    operator("detectSQLi", "@detectSQLi", &[]),
    operator("detectXSS", "@detectXSS", &[]),
    operator("validateByteRange", "@validateByteRange 1-255", &[]),
    operator("validateUrlEncoding", "@validateUrlEncoding", &[]),
    operator("validateUtf8Encoding", "@validateUtf8Encoding", &[]),
    operator("verifyCC", r"@verifyCC \d{13,16}", &[Shape::of(b"4"), Shape::of(b"4111-")]),
    operator("verifySSN", r"@verifySSN \d{3}-?\d{2}-?\d{4}", &[Shape::of(b"9"), Shape::of(b"123-45-")]),
    operator("verifyCPF", r"@verifyCPF \d{3}\.?\d{3}\.?\d{3}-?\d{2}", &[Shape::of(b"1")]),
    operator("verifySVNR", r"@verifySVNR \d{10}", &[Shape::of(b"1")]),
];

/// How a body is sent, and its shapes.
pub(super) struct BodyProbe {
    pub(super) name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) processor: &'static str,
    pub(super) shapes: &'static [Shape],
}

pub(super) const BODIES: &[BodyProbe] = &[
    BodyProbe {
        name: "urlencoded",
        content_type: "application/x-www-form-urlencoded",
        processor: "URLENCODED",
        shapes: &[
            Shape::of(b"&"),
            Shape::of(b"a=1&"),
            Shape::of(b"a#=1&"),
            Shape::of(b"="),
            Shape::of(b"%"),
            Shape::of(b"%41"),
            Shape::of(b"+"),
            Shape::of(b"a[]=%&"),
        ],
    },
    BodyProbe {
        name: "json",
        content_type: "application/json",
        processor: "JSON",
        shapes: &[
            Shape::between(b"[1", b",1", b"]"),
            Shape::between(b"[[]", b",[]", b"]"),
            Shape::between(b"{\"a\":1", b",\"a\":1", b"}"),
            Shape::between(b"{\"a\":1", b",\"a#\":1", b"}"),
            Shape::of(b"["),
            Shape::of(b"{\"a\":"),
            Shape::between(b"\"", b"\\u0041", b"\""),
            Shape::between(b"\"", b"\\\\", b"\""),
            Shape::between(b"\"", b"a", b""),
            Shape::of(b" "),
            Shape::between(b"[", b"9", b"]"),
        ],
    },
    BodyProbe {
        name: "multipart",
        content_type: "multipart/form-data; boundary=b",
        processor: "MULTIPART",
        shapes: &[
            Shape::between(
                b"",
                b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n",
                b"--b--\r\n",
            ),
            Shape::between(
                b"",
                b"--b\r\nContent-Disposition: form-data; name=\"a#\"; filename=\"f#\"\r\n\r\n1\r\n",
                b"--b--\r\n",
            ),
            Shape::between(
                b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
                b"\r\n--",
                b"\r\n--b--\r\n",
            ),
            Shape::between(
                b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
                b"\r\n--c",
                b"\r\n--b--\r\n",
            ),
            Shape::between(
                b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
                b"\n",
                b"\r\n--b--\r\n",
            ),
            Shape::between(
                b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n",
                b"X-#: 1\r\n",
                b"\r\n1\r\n--b--\r\n",
            ),
            Shape::between(
                b"--b\r\nContent-Disposition: form-data; name=\"a\"",
                b"\r\n x",
                b"\r\n\r\n1\r\n--b--\r\n",
            ),
            Shape::between(
                b"--b\r\nContent-Disposition: form-data; name=\"",
                b"\\\"",
                b"\"\r\n\r\n1\r\n--b--\r\n",
            ),
            Shape::between(b"--b\r\nContent-Disposition: form-data", b"; a#=1", b"\r\n\r\n1\r\n--b--\r\n"),
            Shape::of(b"--b\r\n"),
            Shape::of(b"preamble\r\n"),
        ],
    },
    BodyProbe {
        name: "xml",
        content_type: "text/xml",
        processor: "XML",
        shapes: &[
            Shape::between(b"<a>", b"<b/>", b"</a>"),
            Shape::between(b"<a>", b"<b c=\"1\">x</b>", b"</a>"),
            Shape::between(b"<a", b" b#=\"1\"", b"/>"),
            Shape::between(b"<a", b" xmlns:n#=\"u\"", b"/>"),
            Shape::of(b"<a>"),
            Shape::between(b"<a>", b"&amp;", b"</a>"),
            Shape::between(b"<a>", b"&#65;", b"</a>"),
            Shape::between(b"<a>", b"<!-- -->", b"</a>"),
            Shape::between(b"<a>", b"<![CDATA[x]]>", b"</a>"),
            Shape::between(b"<a>", b"]]", b"</a>"),
            Shape::between(b"<!DOCTYPE a [", b"<!ENTITY e# \"x\">", b"]><a/>"),
            Shape::of(b"<!"),
        ],
    },
    BodyProbe {
        name: "ndjson",
        content_type: "application/x-ndjson",
        processor: "NDJSON",
        shapes: &[Shape::of(b"1\n"), Shape::of(b"\n"), Shape::of(b"{\"a\":1}\n")],
    },
    BodyProbe {
        name: "graphql",
        content_type: "application/graphql",
        processor: "GRAPHQL",
        shapes: &[
            Shape::of(b"{a"),
            Shape::of(b"{a(b:\"c\")}"),
            Shape::of(b"query a{b} "),
            Shape::of(b"\"\"\""),
            Shape::of(b"# \n"),
            Shape::between(b"{a(b:", b"[", b""),
        ],
    },
    BodyProbe {
        name: "protobuf",
        content_type: "application/grpc",
        processor: "PROTOBUF",
        shapes: &[
            Shape::of(b"\0\0\0\0\0"),
            Shape::of(b"\0\0\0\0\x02\x08\x01"),
            Shape::of(b"\x0a\x7f"),
            Shape::of(b"\x08\x01"),
        ],
    },
];

/// Rules whose work could grow with the number of values, and the values' shapes.
pub(super) struct ValuesProbe {
    pub(super) name: &'static str,
    pub(super) rules: &'static str,
}

/// Each is given a form, a query and cookies of many values.
pub(super) const VALUES: &[ValuesProbe] = &[
    ValuesProbe {
        name: "selector by expression",
        rules: r#"SecRule ARGS:/^a.*9$/ "@rx 1" "id:1,phase:2,pass,nolog""#,
    },
    ValuesProbe {
        name: "exclusions",
        rules: r#"SecRule ARGS|!ARGS:/^b/|!ARGS:a1|!ARGS:a2 "@rx 1" "id:1,phase:2,pass,nolog""#,
    },
    ValuesProbe { name: "count", rules: r#"SecRule &ARGS:/^a/ "@gt 7" "id:1,phase:2,pass,nolog""# },
    ValuesProbe {
        name: "setvar of each",
        rules: r#"SecRule ARGS "@rx 1" "id:1,phase:2,pass,nolog,setvar:tx.x_%{MATCHED_VAR_NAME}=%{MATCHED_VAR}""#,
    },
    ValuesProbe {
        name: "setvar and read",
        rules: "SecRule ARGS \"@rx 1\" \"id:1,phase:2,pass,nolog,setvar:tx.x_%{MATCHED_VAR_NAME}=%{MATCHED_VAR}\"\nSecRule TX:/^x_/ \"@rx 2\" \"id:2,phase:2,pass,nolog\"",
    },
    ValuesProbe {
        name: "chain on matched",
        rules: "SecRule ARGS \"@rx 1\" \"id:1,phase:2,pass,nolog,chain\"\nSecRule MATCHED_VARS|MATCHED_VARS_NAMES \"@rx 2\" \"t:none\"",
    },
    ValuesProbe {
        name: "log of each",
        rules: r#"SecRule ARGS|ARGS_NAMES "@rx 1" "id:1,phase:2,pass,log,logdata:'%{MATCHED_VAR}'""#,
    },
    ValuesProbe {
        name: "removed target",
        rules: "SecAction \"id:1,phase:1,pass,nolog,ctl:ruleRemoveTargetById=2;ARGS:a7\"\nSecRule ARGS \"@rx 1\" \"id:2,phase:2,pass,nolog\"",
    },
    ValuesProbe {
        name: "multiMatch",
        rules: r#"SecRule ARGS "@rx 2" "id:1,phase:2,pass,nolog,multiMatch,t:none,t:urlDecodeUni,t:lowercase,t:htmlEntityDecode""#,
    },
    ValuesProbe {
        name: "combined size",
        rules: r#"SecRule ARGS_COMBINED_SIZE "@gt 7" "id:1,phase:2,pass,nolog""#,
    },
];
