use super::*;
use proptest::prelude::*;

#[test]
fn words() {
    let check = |value: &str, word: &str, expected| {
        assert_eq!(contains_word(value.as_bytes(), word.as_bytes()), expected, "{word} in {value}");
    };
    check("", "", true);
    check("", "abc", false);
    check("abc", "abc", true);
    check("abcdefghi", "abc", false);
    check("abcdefghi", "def", false);
    check("abcdefghi", "ghi", false);
    check("abc def ghi", "def", true);
    check("abc\0def ghi", "abc", true);
    check("xyz", "y", false);
    check("1def2", "def", true);
    check("xdef def", "def", true);
    check("aaab aa", "aa", true);
}

/// A long word is searched for another way, and found in the same places.
#[test]
fn long_words() {
    for period in 1..5 {
        let word: Vec<u8> = (0..OVERLAPPING + 9).map(|at| b"'na-x"[at % period]).collect();
        for (before, after, alone) in [("", "", true), ("a", "", false), ("", "a", false), ("1", "-", true)] {
            let value = [before.as_bytes(), &word, after.as_bytes()].concat();
            let all: Vec<usize> = (0..value.len()).filter(|&at| value[at..].starts_with(&word)).collect();
            assert_eq!(every_hit(&value, &word).collect::<Vec<_>>(), all);
            if period > 1 {
                assert_eq!(contains_word(&value, &word), alone || all.len() > 1, "{before}…{after}");
            }
        }
    }
    let word = vec![b'a'; 100];
    assert!(!contains_word(&[b'a'; 300], &word));
}

#[test]
fn numbers() {
    let check = |text: &str, expected| assert_eq!(number(text.as_bytes()), expected, "{text:?}");
    check("", 0);
    check("xxx", 0);
    check("5", 5);
    check("-5", -5);
    check("+5x", 5);
    check(" \t12 34", 12);
    check("--5", 0);
    check("007", 7);
    check("9223372036854775807", i64::MAX);
    check("9223372036854775808", i64::MAX);
    check("-9223372036854775808", i64::MIN);
    check("-99999999999999999999", i64::MIN);
}

#[test]
fn url_encoding() {
    let check =
        |text: &str, expected| assert_eq!(invalid_url_encoding(text.as_bytes()), expected, "{text:?}");
    check("", None);
    check("a%20b%ff", None);
    check("%f", Some(0));
    check("a%", Some(1));
    check("%%41", Some(0));
    check("%0%", Some(0));
    check("x=new %w20$", Some(6));
}

#[test]
fn utf8() {
    let check = |text: &[u8], expected| assert_eq!(invalid_utf8(text), expected, "{text:x?}");
    check(b"", None);
    check("a\u{e9}\u{20ac}\u{10ffff}".as_bytes(), None);
    check(b"a\xe4", Some((1, Utf8Error::Missing)));
    check(b"\xc9\x3b", Some((0, Utf8Error::Invalid)));
    check(b"\xff\0", Some((0, Utf8Error::Invalid)));
    check(b"ab\x80", Some((2, Utf8Error::Invalid)));
    check(b"\xc0\xaf", Some((0, Utf8Error::Overlong)));
    check(b"\xe0\x80\xaf", Some((0, Utf8Error::Overlong)));
    check(b"\xf0\x80\x80\xaf", Some((0, Utf8Error::Overlong)));
    check(b"\xed\xa0\x80", Some((0, Utf8Error::Restricted)));
    check(b"\xf4\x90\x80\x80", Some((0, Utf8Error::Restricted)));
    check(b"\xf5\x80\x80\x80", Some((0, Utf8Error::Restricted)));
}

#[test]
fn byte_ranges() {
    let check = |text: &str, value: &[u8], expected| {
        let range = ByteRange::parse(text).map(|range| range.first_outside(value));
        assert_eq!(range, Ok(expected), "{value:?} in {text}");
    };
    check("0-255", b"\0\xff", None);
    check("1-255", b"a\0", Some(1));
    check("9, 10,13,32-126", b"a\tb\x7f", Some(3));
    check("", b"", None);
    check("", b"a", Some(0));
    for text in ["256", "a", "5-4", "1-", "-1", "1,,2", "1-2-3", "0-256"] {
        assert!(ByteRange::parse(text).is_err(), "{text}");
    }
}

#[test]
fn phrase_lists() {
    let check = |text: &str, expected: &[&str]| {
        let expected: Vec<_> = expected.iter().map(|one| one.as_bytes().to_vec()).collect();
        assert_eq!(phrases(text.as_bytes()), expected, "{text:?}");
    };
    check("", &[]);
    check(" a  b\tc ", &["a", "b", "c"]);
    check("a|20|b c", &["a b", "c"]);
    check("|41 42|", &["AB"]);
    check("|4142|c |43|", &["ABc", "C"]);
    check("a|4", &["a|4"]);
    check("|4g|", &["|4g|"]);
    check("|414| || |", &["|414|", "||", "|"]);
    check(r"a\b c\:d", &[r"a\b", r"c\:d"]);
    check(r"a\\b c\:d", &[r"a\b", "c:d"]);
    let lines: [&[u8]; 2] = [b"one two", b"three #"];
    assert_eq!(phrases_from_file(b"# a list\r\n\r\n one two \r\nthree #\n\n"), lines);
}

proptest! {
    #[test]
    fn utf8_is_what_std_says(value in prop::collection::vec(prop_oneof![any::<u8>(), 0x80u8..=0xff], 0..12)) {
        prop_assert_eq!(invalid_utf8(&value).is_none(), std::str::from_utf8(&value).is_ok());
    }

    #[test]
    fn numbers_are_read_as_written(number in any::<i64>()) {
        prop_assert_eq!(super::number(number.to_string().as_bytes()), number);
    }
}
