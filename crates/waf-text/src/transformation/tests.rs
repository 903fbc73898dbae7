//! Each transformation against its slow version, and what is said of it against
//! what it does.

use super::{Context, Transformation, slow};
use crate::{ByteSet, UnicodeMap};
use proptest::prelude::*;

fn transformed(transformation: Transformation, value: &[u8]) -> Vec<u8> {
    // What is there already must be left alone.
    let mut out = b"before".to_vec();
    let changed = transformation.apply(value, &mut out);
    assert!(out.starts_with(b"before"));
    let result = out.split_off(6);
    if changed {
        assert_ne!(result, value, "{} says that it changed", transformation.name());
        result
    } else {
        assert!(result.is_empty(), "{} appended and says that it did not change", transformation.name());
        value.to_vec()
    }
}

/// Pieces that mean something to some transformation, and bytes that do not.
fn values() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"%41",
        b"%u0041",
        b"%uFF21",
        b"%u00e9",
        b"%",
        b"+",
        b"u",
        b"\\",
        b"\\x41",
        b"\\u0041",
        b"\\uff01",
        b"\\101",
        b"\\477",
        b"\\0",
        b"\\n",
        b"\\41 ",
        b"\\00ff21",
        b"\\110000",
        b"\r\n",
        b"&",
        b"&#",
        b"&#x",
        b"&lt;",
        b"&LT",
        b"&amp;",
        b"&nbsp",
        b"&#65;",
        b"&#x41",
        b"&#99999999999999999999",
        b";",
        b"/*",
        b"*/",
        b"*",
        b"<!--",
        b"-->",
        b"--",
        b"-",
        b"<!",
        b"#",
        b">",
        b"/",
        b"//",
        b".",
        b"..",
        b"./",
        b"../",
        b"..\\",
        b" ",
        b"  ",
        b"\t",
        b"\x0b",
        b"\xa0",
        b"\xc2",
        b"\0",
        b"'",
        b"\"",
        b"^",
        b",",
        b"(",
        b"0x",
        b"0X41",
        b"4",
        b"41",
        b"QUJD",
        b"=",
        b"==",
        b"_",
        b"A",
        b"z",
        b"\xc3\xa9",
        b"\xc0\xaf",
        b"\xe2\x82\xac",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5",
        b"\x80",
        b"\xe2",
        b"x",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::collection::vec(any::<u8>(), 30..40),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn transformations() -> impl Strategy<Value = Transformation> {
    prop::sample::select(Transformation::ALL).prop_map(|(transformation, _)| transformation)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30_000, ..ProptestConfig::default() })]

    #[test]
    fn quick_is_what_slow_is(transformation in transformations(), value in values()) {
        let quick = transformed(transformation, &value);
        if let Some(slow) = slow::apply(transformation, &value) {
            prop_assert_eq!(
                quick.escape_ascii().to_string(),
                slow.escape_ascii().to_string(),
                "{} of {}", transformation.name(), value.escape_ascii()
            );
        }
    }

    #[test]
    fn without_triggers_nothing_changes(transformation in transformations(), value in values()) {
        let triggers = transformation.triggers();
        let value: Vec<u8> = value.into_iter().filter(|&byte| !triggers.contains(byte)).collect();
        if value.is_empty() && transformation.opaque() {
            return Ok(());
        }
        prop_assert_eq!(transformed(transformation, &value), value);
    }

    #[test]
    fn what_comes_out_has_its_sources(
        transformation in transformations(),
        value in values(),
        wanted in prop::collection::vec(any::<u8>(), 0..3),
        from_result in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        // Both bytes at random and bytes that do come out.
        let result = transformed(transformation, &value);
        let mut wanted = ByteSet::of(&wanted);
        for index in from_result {
            if !result.is_empty() {
                wanted.insert(result[index.index(result.len())]);
            }
        }
        let sources = transformation.sources(&wanted);
        let without: Vec<u8> = value.iter().copied().filter(|&byte| !sources.contains(byte)).collect();
        for value in [value, without] {
            if ByteSet::of(&value).meets(&sources) || (value.is_empty() && transformation.opaque()) {
                continue;
            }
            let result = transformed(transformation, &value);
            prop_assert!(
                !ByteSet::of(&result).meets(&wanted),
                "{} of {} is {}", transformation.name(), value.escape_ascii(), result.escape_ascii()
            );
        }
    }

    #[test]
    fn what_comes_out_is_not_too_long(transformation in transformations(), value in values()) {
        let result = transformed(transformation, &value);
        prop_assert!(
            transformation.min_input_len(result.len()) <= value.len(),
            "{} of {} bytes has {}", transformation.name(), value.len(), result.len()
        );
        prop_assert_eq!(transformation.min_input_len(0), 0);
    }
}

/// Each byte's sources are exact where a byte has one image: no longer list
/// would do.
#[test]
fn sources_are_tight() {
    let check = |name: &str, wanted: &[u8], expected: &[u8]| {
        let transformation = Transformation::parse(name);
        let sources = transformation.map(|transformation| transformation.sources(&ByteSet::new(wanted)));
        assert_eq!(sources, Some(ByteSet::new(expected)), "{name} of {}", wanted.escape_ascii());
    };
    check("lowercase", b"aB", b"aA");
    check("urlDecodeUni", b"a", b"a%");
    check("urlDecodeUni", b" +", b" +%");
    check("urlDecodeUni", b"+", b"%");
    check("htmlEntityDecode", b"<", b"<&");
    check("jsDecode", b"<", b"<\\");
    check("removeNulls", b"\0a", b"a");
    check("removeWhitespace", b" a", b"a");
    check("replaceNulls", b" ", b" \0");
    check("compressWhitespace", b"\t ", b" \t\n\x0b\x0c\r");
    check("cmdLine", b"a A'", b"aA ,;\t\r\n");
    check("normalizePathWin", b"/\\", b"/\\");
    check("hexDecode", b"AO", b"4");
    check("hexDecode", b"J", b"4");
    check("utf8toUnicode", b"<", b"<");
    check("removeComments", b"a", b"a");
    check("length", b"a", b"");
    for (transformation, name) in Transformation::ALL {
        assert!(transformation.sources(&ByteSet::EMPTY).is_empty(), "{name}");
    }
}

#[test]
fn names() {
    for &(transformation, name) in Transformation::ALL {
        assert_eq!(transformation.name(), name);
        assert_eq!(Transformation::parse(&name.to_ascii_uppercase()), Some(transformation));
    }
    assert_eq!(Transformation::parse("normalisepathwin"), Some(Transformation::NormalizePathWin));
    assert_eq!(Transformation::parse("normalisePath"), Some(Transformation::NormalizePath));
    assert_eq!(Transformation::parse("none"), None);
    assert_eq!(Transformation::parse(""), None);
}

/// RFC 1321 §A.5 and FIPS 180-2 appendix A, at each block boundary.
#[test]
fn digests() {
    let check = |transformation: Transformation, value: &str, expected: &str| {
        let mut out = Vec::new();
        transformation.apply(value.as_bytes(), &mut out);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{value}");
    };
    check(Transformation::Md5, "", "d41d8cd98f00b204e9800998ecf8427e");
    check(Transformation::Md5, "abc", "900150983cd24fb0d6963f7d28e17f72");
    check(Transformation::Md5, "message digest", "f96b697d7cb7938d525a2f31aaf161d0");
    check(Transformation::Md5, &"1234567890".repeat(8), "57edf4a22be3c955ac49da2e2107b67a");
    check(Transformation::Md5, &"a".repeat(55), "ef1772b6dff9a122358552954ad0df65");
    check(Transformation::Md5, &"a".repeat(56), "3b0c8ac703f828b04c6c197006d17218");
    check(Transformation::Md5, &"a".repeat(64), "014842d480b571495a4a0363793f7367");
    check(Transformation::Sha1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
}

#[test]
fn a_unicode_map_takes_the_place_of_the_best_fit() {
    let map = UnicodeMap { pairs: vec![(0x1234, b'!')] };
    let mut out = Vec::new();
    let context = Context { unicode_map: Some(&map) };
    Transformation::UrlDecodeUni.apply_with(b"%u1234%u00e9%uff21", &mut out, &context);
    assert_eq!(out, b"!\xe9A");
}
