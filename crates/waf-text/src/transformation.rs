//! Transformations.

mod base64;
mod bytes;
mod comment;
mod digest;
mod entity;
mod escape;
mod facts;
mod hex;
mod path;
#[cfg(test)]
mod slow;
mod space;
#[cfg(test)]
mod tests;
mod url;
mod utf8;

use crate::UnicodeMap;

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

/// What a transformation may need besides the value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// What `urlDecodeUni` makes of `%uHHHH` (`SecUnicodeMapFile`); without
    /// one, the best fit to US-ASCII, code page 20127, as configurations that
    /// follow the Core Rule Set's choose.
    pub unicode_map: Option<&'a UnicodeMap>,
}

impl Transformation {
    /// Every one, with its name as the manual spells it.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Base64Decode, "base64Decode"),
        (Self::Base64DecodeExt, "base64DecodeExt"),
        (Self::Base64Encode, "base64Encode"),
        (Self::CmdLine, "cmdLine"),
        (Self::CompressWhitespace, "compressWhitespace"),
        (Self::CssDecode, "cssDecode"),
        (Self::EscapeSeqDecode, "escapeSeqDecode"),
        (Self::HexDecode, "hexDecode"),
        (Self::HexEncode, "hexEncode"),
        (Self::HtmlEntityDecode, "htmlEntityDecode"),
        (Self::JsDecode, "jsDecode"),
        (Self::Length, "length"),
        (Self::Lowercase, "lowercase"),
        (Self::Md5, "md5"),
        (Self::NormalizePath, "normalizePath"),
        (Self::NormalizePathWin, "normalizePathWin"),
        (Self::ParityEven7bit, "parityEven7bit"),
        (Self::ParityOdd7bit, "parityOdd7bit"),
        (Self::ParityZero7bit, "parityZero7bit"),
        (Self::RemoveComments, "removeComments"),
        (Self::RemoveCommentsChar, "removeCommentsChar"),
        (Self::RemoveNulls, "removeNulls"),
        (Self::RemoveWhitespace, "removeWhitespace"),
        (Self::ReplaceComments, "replaceComments"),
        (Self::ReplaceNulls, "replaceNulls"),
        (Self::Sha1, "sha1"),
        (Self::SqlHexDecode, "sqlHexDecode"),
        (Self::Trim, "trim"),
        (Self::TrimLeft, "trimLeft"),
        (Self::TrimRight, "trimRight"),
        (Self::Uppercase, "uppercase"),
        (Self::UrlDecode, "urlDecode"),
        (Self::UrlDecodeUni, "urlDecodeUni"),
        (Self::UrlEncode, "urlEncode"),
        (Self::Utf8ToUnicode, "utf8toUnicode"),
    ];

    /// By its name, in any case; both spellings of `normalisePath`.
    pub fn parse(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("normalisePath") {
            return Some(Self::NormalizePath);
        }
        if name.eq_ignore_ascii_case("normalisePathWin") {
            return Some(Self::NormalizePathWin);
        }
        Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|&(found, _)| found)
    }

    /// Its name: `urlDecodeUni`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|&&(known, _)| known == self).map_or("", |&(_, name)| name)
    }

    /// Appends the transformed value to `out` and answers `true`, or appends
    /// nothing and answers `false` where it is the value itself.
    pub fn apply(self, value: &[u8], out: &mut Vec<u8>) -> bool {
        self.apply_with(value, out, &Context::default())
    }

    /// [`Self::apply`] with what the configuration adds.
    pub fn apply_with(self, value: &[u8], out: &mut Vec<u8>, context: &Context<'_>) -> bool {
        if !self.may_change(value) {
            return false;
        }
        let start = out.len();
        out.reserve(value.len());
        self.write(value, out, context);
        // A trigger need not change anything: `50%` stays itself. Comparing is
        // cheaper than each function's keeping count, and cannot be wrong.
        if out[start..] == *value {
            out.truncate(start);
            return false;
        }
        true
    }

    /// Whether the value holds a trigger; `true` may be a false alarm.
    fn may_change(self, value: &[u8]) -> bool {
        match self {
            Self::Length | Self::Md5 | Self::Sha1 => true,
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::HexDecode
            | Self::HexEncode => !value.is_empty(),
            Self::CssDecode | Self::EscapeSeqDecode | Self::JsDecode => {
                memchr::memchr(b'\\', value).is_some()
            }
            Self::HtmlEntityDecode => memchr::memchr(b'&', value).is_some(),
            Self::RemoveNulls | Self::ReplaceNulls => memchr::memchr(0, value).is_some(),
            Self::RemoveComments | Self::RemoveCommentsChar => {
                memchr::memchr3(b'*', b'-', b'#', value).is_some()
            }
            Self::ReplaceComments => memchr::memchr(b'*', value).is_some(),
            Self::SqlHexDecode => memchr::memchr2(b'x', b'X', value).is_some(),
            Self::UrlDecode | Self::UrlDecodeUni => memchr::memchr2(b'%', b'+', value).is_some(),
            Self::NormalizePath => memchr::memchr2(b'/', b'.', value).is_some(),
            Self::NormalizePathWin => memchr::memchr3(b'/', b'.', b'\\', value).is_some(),
            Self::Lowercase => bytes::any(value, |byte| byte.is_ascii_uppercase()),
            Self::Uppercase => bytes::any(value, |byte| byte.is_ascii_lowercase()),
            Self::Utf8ToUnicode => !value.is_ascii(),
            Self::CompressWhitespace => bytes::any(value, space::is),
            Self::RemoveWhitespace => bytes::any(value, space::removed),
            Self::Trim => {
                value.first().is_some_and(|&b| space::is(b)) || value.last().is_some_and(|&b| space::is(b))
            }
            Self::TrimLeft => value.first().is_some_and(|&b| space::is(b)),
            Self::TrimRight => value.last().is_some_and(|&b| space::is(b)),
            Self::CmdLine
            | Self::ParityEven7bit
            | Self::ParityOdd7bit
            | Self::ParityZero7bit
            | Self::UrlEncode => {
                let triggers = self.triggers();
                value.iter().any(|&byte| triggers.contains(byte))
            }
        }
    }

    fn write(self, value: &[u8], out: &mut Vec<u8>, context: &Context<'_>) {
        match self {
            Self::Base64Decode => base64::decode(value, out),
            Self::Base64DecodeExt => base64::decode_ext(value, out),
            Self::Base64Encode => base64::encode(value, out),
            Self::CmdLine => space::cmd_line(value, out),
            Self::CompressWhitespace => space::compress(value, out),
            Self::CssDecode => escape::css(value, out),
            Self::EscapeSeqDecode => escape::ansi_c(value, out),
            Self::HexDecode => hex::decode(value, out),
            Self::HexEncode => hex::encode(value, out),
            Self::HtmlEntityDecode => entity::decode(value, out),
            Self::JsDecode => escape::js(value, out),
            Self::Length => bytes::length(value, out),
            Self::Lowercase => bytes::map(value, out, bytes::lower),
            Self::Md5 => digest::md5(value, out),
            Self::NormalizePath => path::normalize(value, false, out),
            Self::NormalizePathWin => path::normalize(value, true, out),
            Self::ParityEven7bit => bytes::map(value, out, bytes::parity_even),
            Self::ParityOdd7bit => bytes::map(value, out, bytes::parity_odd),
            Self::ParityZero7bit => bytes::map(value, out, bytes::parity_zero),
            Self::RemoveComments => comment::remove(value, out),
            Self::RemoveCommentsChar => comment::remove_chars(value, out),
            Self::RemoveNulls => bytes::remove(value, out, |byte| byte == 0),
            Self::RemoveWhitespace => bytes::remove(value, out, space::removed),
            Self::ReplaceComments => comment::replace(value, out),
            Self::ReplaceNulls => bytes::map(value, out, |byte| if byte == 0 { b' ' } else { byte }),
            Self::Sha1 => digest::sha1(value, out),
            Self::SqlHexDecode => hex::decode_sql(value, out),
            Self::Trim => out.extend_from_slice(space::trim_left(space::trim_right(value))),
            Self::TrimLeft => out.extend_from_slice(space::trim_left(value)),
            Self::TrimRight => out.extend_from_slice(space::trim_right(value)),
            Self::Uppercase => bytes::map(value, out, bytes::upper),
            Self::UrlDecode => url::decode(value, out),
            Self::UrlDecodeUni => url::decode_uni(value, out, context.unicode_map),
            Self::UrlEncode => url::encode(value, out),
            Self::Utf8ToUnicode => utf8::to_unicode(value, out),
        }
    }
}
