//! Which byte a code point is taken for, from `unicode.mapping`.

/// Code point → byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnicodeMap {
    /// Sorted by code point.
    pub pairs: Vec<(u32, u8)>,
}

impl UnicodeMap {
    /// Reads one code page of a `unicode.mapping` file: the page's number as a
    /// word of its own, words that are skipped, then `code:byte` words in
    /// hexadecimal up to the first word that is none.
    ///
    /// # Errors
    ///
    /// What is wrong, where the page is not there, has no pair, or a pair is
    /// not of two numbers.
    pub fn parse(text: &str, code_page: u32) -> Result<Self, String> {
        let wanted = code_page.to_string();
        let mut words = text.split_ascii_whitespace();
        if !words.by_ref().any(|word| word == wanted) {
            return Err(format!("the unicode map has no code page `{code_page}`"));
        }
        let mut pairs = Vec::new();
        for word in words.skip_while(|word| !word.contains(':')) {
            let Some((code, byte)) = word.split_once(':') else { break };
            match (u32::from_str_radix(code, 16), u8::from_str_radix(byte, 16)) {
                (Ok(code), Ok(byte)) => pairs.push((code, byte)),
                _ => {
                    return Err(format!(
                        "`{word}` in code page `{code_page}` is not `code:byte` in hexadecimal"
                    ));
                }
            }
        }
        if pairs.is_empty() {
            return Err(format!("code page `{code_page}` of the unicode map is empty"));
        }
        // Of equal code points the last one counts, as where a table is filled.
        pairs.reverse();
        pairs.sort_by_key(|&(code, _)| code);
        pairs.dedup_by_key(|pair| pair.0);
        Ok(Self { pairs })
    }

    /// The byte that a code point is taken for.
    pub fn get(&self, code: u32) -> Option<u8> {
        let at = self.pairs.binary_search_by_key(&code, |&(known, _)| known).ok()?;
        Some(self.pairs[at].1)
    }
}

/// The byte that a code point is taken for in US-ASCII, code page 20127; `None`
/// where its low byte is as good (full-width forms among them).
pub(crate) fn best_fit(code: u32) -> Option<u8> {
    let after = BEST_FIT.partition_point(|&(first, _)| first <= code);
    let (first, bytes) = BEST_FIT.get(after.checked_sub(1)?)?;
    bytes.as_bytes().get((code - first) as usize).copied()
}

/// Microsoft's best fit of code page 20127, as ModSecurity's `unicode.mapping`
/// gives it: a first code point, and the byte of it and of each that follows.
static BEST_FIT: &[(u32, &str)] = &[
    (0x00a0, " !c"),
    (0x00a4, "$Y|"),
    (0x00a9, "Ca<"),
    (0x00ad, "-R"),
    (0x00b2, "23"),
    (0x00b7, ".,1o>"),
    (0x00c0, "AAAAAAACEEEEIIIIDNOOOOO"),
    (0x00d8, "OUUUUY"),
    (0x00e0, "aaaaaaaceeeeiiii"),
    (0x00f1, "nooooo"),
    (0x00f8, "ouuuuy"),
    (0x00ff, "yAaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIi"),
    (0x0134, "JjKk"),
    (0x0139, "LlLlLl"),
    (0x0141, "LlNnNnNn"),
    (0x014c, "OoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZ"),
    (0x017b, "ZzZz"),
    (0x0180, "b"),
    (0x0189, "D"),
    (0x0191, "Ff"),
    (0x0197, "I"),
    (0x019a, "l"),
    (0x019f, "OOo"),
    (0x01ab, "t"),
    (0x01ae, "TUu"),
    (0x01b6, "z"),
    (0x01cd, "AaIiOoUuUuUuUuUu"),
    (0x01de, "Aa"),
    (0x01e4, "GgGgKkOoOo"),
    (0x01f0, "j"),
    (0x0261, "g"),
    (0x02b9, "'\""),
    (0x02bc, "'"),
    (0x02c4, "^"),
    (0x02c6, "^"),
    (0x02c8, "'"),
    (0x02cb, "`"),
    (0x02cd, "_"),
    (0x02dc, "~"),
    (0x0300, "`"),
    (0x0302, "^~"),
    (0x030e, "\""),
    (0x0331, "__"),
    (0x2000, "       "),
    (0x2010, "--"),
    (0x2013, "--"),
    (0x2018, "'',"),
    (0x201c, "\"\"\""),
    (0x2022, "."),
    (0x2026, "."),
    (0x2032, "'"),
    (0x2035, "`"),
    (0x2039, "<>"),
    (0x2122, "T"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_ascending_and_apart() {
        for pair in BEST_FIT.windows(2) {
            assert!(pair[0].0 + pair[0].1.len() as u32 <= pair[1].0, "{:#x}", pair[1].0);
        }
    }

    #[test]
    fn best_fits() {
        let check = |code, expected: Option<u8>| assert_eq!(best_fit(code), expected, "{code:#x}");
        check(0x9f, None);
        check(0xa0, Some(b' '));
        check(0xa3, None);
        check(0xe9, Some(b'e'));
        check(0x17a, None);
        check(0x2019, Some(b'\''));
        check(0x201d, Some(b'"'));
        check(0x2014, Some(b'-'));
        check(0x2122, Some(b'T'));
        check(0x2123, None);
        check(0xff01, None);
    }

    #[test]
    fn a_code_page_is_read() {
        let text = "(MAC - Roman)\n\n1252  (ANSI - Latin I)\n0100:41 0101:61\n0100:42\n\n20127 (US-ASCII)\n00a0:20 \n";
        let map = UnicodeMap::parse(text, 1252);
        assert_eq!(map, Ok(UnicodeMap { pairs: vec![(0x100, b'B'), (0x101, b'a')] }));
        let map = UnicodeMap::parse(text, 20127).unwrap_or_default();
        assert_eq!((map.get(0xa0), map.get(0xa1)), (Some(b' '), None));
        assert!(UnicodeMap::parse(text, 437).is_err_and(|error| error.contains("437")));
        assert!(UnicodeMap::parse("437\n00a0:zz", 437).is_err_and(|error| error.contains("00a0:zz")));
        assert!(UnicodeMap::parse("437", 437).is_err());
    }
}
