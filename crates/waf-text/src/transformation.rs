//! Transformations.

use crate::ByteSet;

/// One of SecLang's transformations (`t:lowercase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Their names are the manual's.
pub enum Transformation {
    Base64Decode,
    Base64DecodeExt,
    Base64Encode,
    CmdLine,
    CompressWhitespace,
    CssDecode,
    EscapeSeqDecode,
    HexDecode,
    HexEncode,
    HtmlEntityDecode,
    JsDecode,
    Length,
    Lowercase,
    Md5,
    NormalizePath,
    NormalizePathWin,
    ParityEven7bit,
    ParityOdd7bit,
    ParityZero7bit,
    RemoveComments,
    RemoveCommentsChar,
    RemoveNulls,
    RemoveWhitespace,
    ReplaceComments,
    ReplaceNulls,
    Sha1,
    SqlHexDecode,
    Trim,
    TrimLeft,
    TrimRight,
    Uppercase,
    UrlDecode,
    UrlDecodeUni,
    UrlEncode,
    Utf8ToUnicode,
}

impl Transformation {
    /// By its name, in any case; both spellings of `normalisePath`.
    pub fn parse(_name: &str) -> Option<Self> {
        None
    }

    /// Its name: `urlDecodeUni`.
    pub fn name(self) -> &'static str {
        "none"
    }

    /// Appends the transformed value to `out` and answers `true`, or appends
    /// nothing and answers `false` where it is the value itself.
    pub fn apply(self, _value: &[u8], _out: &mut Vec<u8>) -> bool {
        false
    }

    /// A value with none of these bytes is not changed.
    pub fn triggers(self) -> ByteSet {
        ByteSet::ALL
    }

    /// A value with no byte of the answer has, transformed, no byte of `wanted`.
    pub fn sources(self, _wanted: &ByteSet) -> ByteSet {
        ByteSet::ALL
    }

    /// No value shorter than the answer becomes one of `len` bytes or more.
    pub fn min_input_len(self, _len: usize) -> usize {
        0
    }
}
