//! Which byte a code point is taken for, from `unicode.mapping`.

/// Code point → byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnicodeMap {
    /// Sorted by code point.
    pub pairs: Vec<(u32, u8)>,
}
