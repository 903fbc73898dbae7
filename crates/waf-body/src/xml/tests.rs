//! Values and verdicts were tried on libmodsecurity 3.0.9 (libxml2), but for
//! what the module says differs.

use super::*;
use crate::ErrorKind;
use crate::testing::{Collected, Rng, lossy};

const DOCUMENT: &str = "<?xml version=\"1.0\"?>\n<a x=\"1\" xmlns:s=\"http://s\" s:y=\"2\">\
    <b z=\"&lt;q&#65;\">t1<!-- c -->t2<![CDATA[<cd>]]>t3</b> <s:c>u</s:c><b>v</b>\
    <d xmlns=\"http://s\">w<b>dd</b></d></a>";

fn selected(document: &Document, path: &str, limits: &Limits) -> Result<Vec<String>, Error> {
    let selector =
        Selector::parse(path, &[("s", "http://s")]).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut values = Vec::new();
    document.select(&selector, limits, &mut |value| {
        values.push(lossy(value));
        Ok(())
    })?;
    Ok(values)
}

#[track_caller]
fn check(text: &str, path: &str, expected: &[&str]) {
    let mut document = Document::default();
    let limits = Limits::default();
    assert_eq!(document.parse(text.as_bytes(), true, &limits), Ok(()), "{text}");
    assert_eq!(selected(&document, path, &limits).unwrap(), expected, "{path}");
}

#[test]
fn selectors_select_what_libxml2_selects() {
    let all = "t1t2<cd>t3 uvwdd";
    for (path, expected) in [
        ("/*", &[all][..]),
        ("//@*", &["1", "2", "<qA"]),
        ("//*", &[all, "t1t2<cd>t3", "u", "v", "wdd", "dd"]),
        ("/a/b", &["t1t2<cd>t3", "v"]),
        ("/a/b/text()", &["t1", "t2", "<cd>", "t3", "v"]),
        ("//b", &["t1t2<cd>t3", "v"]),
        ("//@z", &["<qA"]),
        ("//s:*", &["u", "wdd", "dd"]),
        ("/a/b[2]", &["v"]),
        ("//b[1]", &["t1t2<cd>t3"]),
        ("//*[local-name()='d']", &["wdd"]),
        ("/a/@s:y", &["2"]),
        ("//text()", &["t1", "t2", "<cd>", "t3", " ", "u", "v", "w", "dd"]),
        ("/a/b[@z]", &["t1t2<cd>t3"]),
        ("/a/b[last()]", &["v"]),
        ("/a/s:c/..", &[all]),
        ("//b[text()]", &["t1t2<cd>t3", "v"]),
        ("/", &[all]),
        (".", &[all]),
        ("//*[@x]", &[all]),
        // XPath 1.0 itself.
        ("/a/b[@z='<qA']", &["t1t2<cd>t3"]),
        ("/a/b[@z='other']", &[]),
        ("//b[.='v']", &["v"]),
        ("//b[text()='t2']", &["t1t2<cd>t3"]),
        ("//b[not(@z)]", &["v"]),
        ("//*[contains(., '<cd>') and not(self::a)]", &["t1t2<cd>t3"]),
        ("//*[starts-with(., 'w') or @z]", &["t1t2<cd>t3", "wdd"]),
        ("/descendant::s:b", &["dd"]),
        ("//s:d/*", &["dd"]),
        ("/a/child::b[position()=2]", &["v"]),
        ("/a/attribute::x", &["1"]),
        ("//d", &[]),
        ("//*[namespace-uri()='http://s'][1]", &["u", "dd"]),
        ("//*[name()='s:c']", &["u"]),
        ("//*[normalize-space()='u']", &["u"]),
        ("//b//text()", &["t1", "t2", "<cd>", "t3", "v"]),
        ("//*//*", &["t1t2<cd>t3", "u", "v", "wdd", "dd"]),
        ("//@*/..", &[all, "t1t2<cd>t3"]),
        ("//*[@x!='2']", &[all]),
        ("b", &[]),
        ("a/b", &["t1t2<cd>t3", "v"]),
        ("/a/b/@*", &["<qA"]),
        ("//s:c/text()", &["u"]),
    ] {
        check(DOCUMENT, path, expected);
    }
}

/// The bookstore of the regression tests (action-xmlns, config-xml_external_entity).
#[test]
fn modsecuritys_own_selectors() {
    let store = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<bookstore>\n<book category=\"WEB\">\n\
        <price>49.99</price>\n</book>\n<book category=\"WEB\">\n<price>39.95</price>\n</book>\n</bookstore>";
    check(store, "/bookstore/book/price[text()]", &["49.99", "39.95"]);
    check(store, "/bookstore/book[text()]", &["\n49.99\n", "\n39.95\n"]);
    check(store, "/bookstore/book[@category='WEB'][2]/price/text()", &["39.95"]);
}

#[track_caller]
fn check_refused(text: &[u8], what: &str) {
    let mut document = Document::default();
    let result = document.parse(text, true, &Limits::default());
    let error = result.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains(what) && error.is_empty() == what.is_empty(), "{}: {error}", lossy(text));
}

#[test]
fn well_formedness_is_judged_as_libxml2_judges_it() {
    for (text, what) in [
        (&b"<a>&unk;</a>"[..], "not defined"),
        (b"<a>&lt</a>", "without its semicolon"),
        (b"<a>&#x0;</a>", "not defined"),
        (b"<a>&#1114112;</a>", "not defined"),
        (b"<a>&#99999999999;</a>", "not defined"),
        (b"<a>]]></a>", "`]]>`"),
        (b"<a/>x", "something follows"),
        (b"x<a/>", "text outside"),
        (b"<a/><b/>", "something follows"),
        (b"<a x=1/>", "without quotes"),
        (b"<a x/>", "without a value"),
        (b"<a x=\"1\" x=\"2\"/>", "there twice"),
        (b"<a x=\"1\"y=\"2\"/>", "malformed tag"),
        (b"<a x=\"<\"/>", "`<` in an attribute"),
        (b" <?xml version=\"1.0\"?><a/>", "not at the beginning"),
        (b"<a><?xml version=\"1.0\"?></a>", "not at the beginning"),
        (b"<a><b></a>", "fits no start tag"),
        (b"<a></a ><!-- x --> <?pi x?>", ""),
        (b"<!DOCTYPE a><a/>", ""),
        (b"<!DOCTYPE a SYSTEM \"x.dtd\"><a/>", ""),
        (b"<!DOCTYPE a PUBLIC '-//x' \"x.dtd\"><a/>", ""),
        // Beyond libxml2: we read no declarations.
        (b"<!DOCTYPE a [<!ENTITY e \"v\">]><a>&e;</a>", "declarations of its own"),
        (b"<!DOCTYPE a SYSTEM \"x.dtd\"><a>&e;</a>", "not defined"),
        (b"<a>\x01</a>", "control character"),
        (b"<a>\xFF</a>", "not UTF-8"),
        (b"<p:a/>", ""),
        (b"", ""),
        (b" ", "ends too early"),
        (b"<a><!-- -- --></a>", "two dashes"),
        (b"<?xml version=\"1.0\" encoding=\"foo\"?><a/>", "not supported"),
        (b"<?xml version=\"1.0\" encoding=\"utf-16\"?><a/>", "not UTF-16"),
        (b"<?xml encoding=\"utf-8\"?><a/>", "malformed XML declaration"),
        (b"<?xml version=\"1.\"?><a/>", ""),
        (b"<?xml version=\"1.x\"?><a/>", "malformed XML declaration"),
        (b"<?xml version=\"1.0\"encoding=\"utf-8\"?><a/>", "malformed XML declaration"),
        (b"<?xml version=\"1.0\" standalone=\"maybe\"?><a/>", "malformed XML declaration"),
        (b"<?xml version='1.1' encoding='UTF-8' standalone='yes' ?><a/>", ""),
        (b"<?xml version='1.0' standalone='no' encoding='UTF-8'?><a/>", "malformed XML declaration"),
        (b"<a><!ELEMENT b></a>", "a declaration inside"),
        (b"<a", "ends too early"),
        (b"<a>x", "ends too early"),
        (b"<a><![CDATA[x", "ends too early"),
        (b"<1/>", "a name is due"),
        (b"<a></a", "ends too early"),
    ] {
        check_refused(text, what);
    }
}

#[test]
fn encodings_become_utf8() {
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: bool| {
        let mark = mark.then_some(0xFEFF);
        let units = mark.into_iter().chain("<a>é😀</a>".encode_utf16());
        units.flat_map(bytes).collect::<Vec<u8>>()
    };
    for text in [
        "<a>é😀</a>".as_bytes().to_vec(),
        "\u{FEFF}<a>é😀</a>".as_bytes().to_vec(),
        utf16(u16::to_le_bytes, true),
        utf16(u16::to_be_bytes, true),
        utf16(u16::to_le_bytes, false),
        utf16(u16::to_be_bytes, false),
        "<a>&#233;&#x1F600;</a>".as_bytes().to_vec(),
    ] {
        let mut document = Document::default();
        assert_eq!(document.parse(&text, true, &Limits::default()), Ok(()), "{text:?}");
        assert_eq!(selected(&document, "/*", &Limits::default()).unwrap(), ["é😀"]);
    }
    let mut document = Document::default();
    let latin = b"<?xml version=\"1.0\" encoding='ISO-8859-1'?><a>\xE9</a>";
    assert_eq!(document.parse(latin, true, &Limits::default()), Ok(()));
    assert_eq!(selected(&document, "/*", &Limits::default()).unwrap(), ["é"]);
}

#[test]
fn blanks_are_normalised() {
    check("<a b=\"\n\t\r\n\">x\r\ny\rz</a>", "//@*", &["   "]);
    check("<a b=\"&#10;\n\">x</a>", "//@*", &["\n "]);
    check("<a b=\"\n\t\">x\r\ny\rz</a>", "/*", &["x\ny\nz"]);
}

#[test]
fn what_is_not_understood_is_an_error() {
    for (path, what) in [
        ("", "a name is due"),
        ("/a[", "a name is due"),
        ("/a]", "goes on"),
        ("count(//a)", "`count()` is not supported"),
        ("//t:a", "the prefix `t` is not declared"),
        ("following-sibling::a", "the axis `following-sibling` is not supported"),
        ("/a | /b", "goes on"),
        ("/a[@b='x]", "closing quote"),
        ("/a[99999999999]", "too large"),
        ("//comment()", "`comment()` is not supported"),
        ("/a//", "a name is due"),
        ("/a[/b]", "absolute path"),
        ("/a[(((((((((((((((((b)))))))))))))))))]", "too deep"),
    ] {
        let error = Selector::parse(path, &[("s", "http://s")]).unwrap_err();
        assert!(error.to_string().contains(what), "{path}: {error}");
    }
}

#[test]
fn a_partial_document_gives_what_it_has() {
    let limits = Limits::default();
    let mut document = Document::default();
    for length in 0..DOCUMENT.len() {
        let result = document.parse(&DOCUMENT.as_bytes()[..length], false, &limits);
        assert_eq!(result, Ok(()), "{length}: {}", &DOCUMENT[..length]);
        let values = selected(&document, "/*", &limits).unwrap();
        // The mark that ends a CDATA section may be cut, too.
        let fits = |value: &String| "t1t2<cd>t3 uvwdd".starts_with(value.trim_end_matches(']'));
        assert!(values.iter().all(fits), "{length}: {values:?}");
    }
    document.parse(b"<a>attack<b c=\"attr", false, &limits).unwrap();
    assert_eq!(selected(&document, "/*", &limits).unwrap(), ["attack"]);
    assert_eq!(selected(&document, "//@*", &limits).unwrap(), ["attr"]);
}

#[test]
fn arguments_are_named_by_path() {
    let mut document = Document::default();
    document.parse(DOCUMENT.as_bytes(), true, &Limits::default()).unwrap();
    let mut sink = Collected::default();
    document.args(&mut sink, &mut Scratch::default()).unwrap();
    assert_eq!(
        sink.lines(),
        "xml.a.@x=1\nxml.a.@y=2\nxml.a.b.@z=<qA\nxml.a.b=t1t2<cd>t3\nxml.a.c=u\nxml.a.b=v\nxml.a.d=w\nxml.a.d.b=dd"
    );
}

#[test]
fn limits_hold() {
    let mut document = Document::default();
    let limits = Limits { depth: 3, xml_nodes: 6, xml_attributes: 2, xpath_steps: 20, ..Limits::default() };
    let mut failure = |text: &str| document.parse(text.as_bytes(), true, &limits).unwrap_err().to_string();
    assert!(failure("<a><a><a><a/></a></a></a>").contains("deeper"));
    assert!(failure("<a><b/><b/><b/><b/><b/><b/></a>").contains("more nodes"));
    assert!(failure("<a b='' c='' d=''/>").contains("more attributes"));
    let many: String = (0..200).map(|n| format!(" xmlns:n{n}='u'")).collect();
    let mut free = Document::default();
    let error = free.parse(format!("<a{many}/>").as_bytes(), true, &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("more namespaces"));
    document.parse(b"<a><b/><b/><b/></a>", true, &limits).unwrap();
    let error = selected(&document, "//*[.//*]//*", &limits).unwrap_err();
    assert!(error.to_string().contains("more steps"), "{error}");
    // Long values cost by their length.
    let deep = format!("{}{}{}", "<a>".repeat(400), "x".repeat(100_000), "</a>".repeat(400));
    free.parse(deep.as_bytes(), true, &Limits::default()).unwrap();
    let limits = Limits { xpath_steps: 100_000, ..Limits::default() };
    assert!(selected(&free, "//*[contains(., 'y')]", &limits).is_err());
}

/// Whatever the bytes: no panic, spans that fit, and never more text than came.
#[test]
fn hostile_documents_are_survived() {
    let pieces: [&[u8]; 26] = [
        b"<a>",
        b"</a>",
        b"<a",
        b">",
        b"/>",
        b"<b x='1'",
        b" y=\"2\"",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"&lt;",
        b"&#x41;",
        b"&",
        b"<?pi ",
        b"?>",
        b"<!DOCTYPE a",
        b"[",
        b" xmlns='u'",
        b" xmlns:p='v'",
        b"<p:c",
        b"</p:c>",
        b"text",
        b"\xC3\xA9",
        b"\xFF",
        b"\r\n",
    ];
    let paths =
        ["/*", "//@*", "//*", "//text()", "//b[1]", "//*[@x='1']/..", "//s:*", "//*[contains(., 'e')]"];
    let selectors = paths.map(|path| Selector::parse(path, &[("s", "u")]).unwrap());
    let limits = Limits { depth: 10, xpath_steps: 5_000, ..Limits::default() };
    let mut rng = Rng::new(31);
    let mut document = Document::default();
    let mut scratch = Scratch::default();
    for round in 0..30_000 {
        let text = match round % 2 {
            0 => [b"<a>", &rng.pieces(&pieces, 25)[..]].concat(),
            _ => rng.mutate(DOCUMENT.as_bytes()),
        };
        let complete = rng.below(2) == 0;
        let _ = document.parse(&text, complete, &limits);
        for (selector, path) in selectors.iter().zip(paths) {
            let mut size = 0;
            let result = document.select(selector, &limits, &mut |value| {
                size += value.len();
                Ok(())
            });
            let bounded = path != "/*" && path != "//@*" || size <= text.len() * 3;
            assert!(bounded, "round {round}: {}", lossy(&text));
            assert!(result.is_ok_and(|()| true) || result.is_err_and(|error| error.kind != ErrorKind::Full));
        }
        let mut sink = Collected::default();
        document.args(&mut sink, &mut scratch).unwrap();
    }
}

/// Random selectors: no panic, and what parses runs.
#[test]
fn hostile_selectors_are_survived() {
    let pieces: [&[u8]; 24] = [
        b"/",
        b"//",
        b"*",
        b"@",
        b"a",
        b"s:",
        b"b",
        b"[",
        b"]",
        b"1",
        b"text()",
        b"last()",
        b"not(",
        b")",
        b"'x'",
        b"=",
        b"!=",
        b" and ",
        b" or ",
        b"contains(",
        b",",
        b".",
        b"..",
        b"local-name()",
    ];
    let mut document = Document::default();
    document.parse(DOCUMENT.as_bytes(), true, &Limits::default()).unwrap();
    let mut rng = Rng::new(41);
    let mut parsed = 0;
    for _ in 0..60_000 {
        let path = rng.pieces(&pieces, 12);
        let path = std::str::from_utf8(&path).unwrap();
        if let Ok(selector) = Selector::parse(path, &[("s", "http://s")]) {
            parsed += 1;
            let limits = Limits { xpath_steps: 10_000, ..Limits::default() };
            let _ = document.select(&selector, &limits, &mut |_| Ok(()));
        }
    }
    assert!(parsed > 500, "only {parsed} selectors parsed");
}
