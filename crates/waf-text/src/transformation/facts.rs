//! What is known of a transformation without running it: the engine's prefilter
//! rests on these answers, and `tests` holds them against [`Transformation::apply`].

use super::{Transformation, bytes, hex, space, url};
use crate::ByteSet;

const WHITESPACE: ByteSet = ByteSet::new(b" \t\n\x0b\x0c\r");
const HIGH: ByteSet = ByteSet::range(0x80, 0xff);
const LETTERS: ByteSet = ByteSet::range(b'a', b'z').union(&ByteSet::range(b'A', b'Z'));
const DIGITS: ByteSet = ByteSet::range(b'0', b'9');
const BASE64: ByteSet = LETTERS.union(&DIGITS).union(&ByteSet::new(b"+/"));

impl Transformation {
    /// A value with none of these bytes is not changed, but that [`Self::opaque`]
    /// ones change the empty value too.
    pub fn triggers(self) -> ByteSet {
        match self {
            Self::Base64Decode
            | Self::Base64DecodeExt
            | Self::Base64Encode
            | Self::HexDecode
            | Self::HexEncode
            | Self::Length
            | Self::Md5
            | Self::Sha1 => ByteSet::ALL,
            Self::CmdLine => ByteSet::new(b"\"'\\^ ,;\t\r\n").union(&ByteSet::range(b'A', b'Z')),
            Self::CompressWhitespace | Self::Trim | Self::TrimLeft | Self::TrimRight => WHITESPACE,
            Self::CssDecode | Self::EscapeSeqDecode | Self::JsDecode => ByteSet::new(b"\\"),
            Self::HtmlEntityDecode => ByteSet::new(b"&"),
            Self::Lowercase => ByteSet::range(b'A', b'Z'),
            Self::Uppercase => ByteSet::range(b'a', b'z'),
            Self::NormalizePath => ByteSet::new(b"/."),
            Self::NormalizePathWin => ByteSet::new(b"/.\\"),
            Self::ParityEven7bit => ByteSet::filter(|byte| bytes::parity_even(byte) != byte),
            Self::ParityOdd7bit => ByteSet::filter(|byte| bytes::parity_odd(byte) != byte),
            Self::ParityZero7bit => HIGH,
            // `/*`, `*/`; `<!--`, `--`; `#`.
            Self::RemoveComments | Self::RemoveCommentsChar => ByteSet::new(b"*-#"),
            Self::ReplaceComments => ByteSet::new(b"*"),
            Self::RemoveNulls | Self::ReplaceNulls => ByteSet::new(&[0]),
            Self::RemoveWhitespace => ByteSet::filter(space::removed),
            Self::SqlHexDecode => ByteSet::new(b"xX"),
            Self::UrlDecode | Self::UrlDecodeUni => ByteSet::new(b"%+"),
            Self::UrlEncode => ByteSet::filter(|byte| !url::plain(byte)),
            Self::Utf8ToUnicode => HIGH,
        }
    }

    /// A value with no byte of the answer has, transformed, no byte of `wanted`;
    /// but for the empty value of an [`Self::opaque`] one.
    pub fn sources(self, wanted: &ByteSet) -> ByteSet {
        if wanted.is_empty() {
            return ByteSet::EMPTY;
        }
        match self {
            Self::Length if !wanted.meets(&DIGITS) => ByteSet::EMPTY,
            Self::Length | Self::Md5 | Self::Sha1 => ByteSet::ALL,
            Self::Base64Encode if !wanted.meets(&BASE64.union(&ByteSet::new(b"="))) => ByteSet::EMPTY,
            Self::Base64Encode => ByteSet::ALL,
            Self::Base64Decode => BASE64,
            Self::Base64DecodeExt => BASE64.union(&ByteSet::new(b"-_")),
            Self::HexDecode => nibbles(wanted),
            Self::HexEncode => ByteSet::filter(|byte| wanted.meets(&ByteSet::new(&hex::digits(byte)))),

            // Each byte has its own image, or none.
            Self::Lowercase => preimage(wanted, bytes::lower),
            Self::Uppercase => preimage(wanted, bytes::upper),
            Self::ParityEven7bit => preimage(wanted, bytes::parity_even),
            Self::ParityOdd7bit => preimage(wanted, bytes::parity_odd),
            Self::ParityZero7bit => preimage(wanted, bytes::parity_zero),
            Self::ReplaceNulls => preimage(wanted, |byte| if byte == 0 { b' ' } else { byte }),
            Self::NormalizePathWin => preimage(wanted, |byte| if byte == b'\\' { b'/' } else { byte }),
            Self::CompressWhitespace => preimage(wanted, |byte| if space::is(byte) { b' ' } else { byte }),
            Self::CmdLine => preimage(wanted, |byte| match byte {
                b',' | b';' | b'\t' | b'\r' | b'\n' => b' ',
                _ => byte.to_ascii_lowercase(),
            })
            .difference(&ByteSet::new(b"\"'\\^")),
            Self::UrlEncode => ByteSet::filter(|byte| match byte {
                b' ' => wanted.contains(b'+'),
                _ if url::plain(byte) => wanted.contains(byte),
                _ => wanted.contains(b'%') || wanted.meets(&ByteSet::new(&hex::digits(byte))),
            }),

            // Nothing new comes out.
            Self::Trim
            | Self::TrimLeft
            | Self::TrimRight
            | Self::NormalizePath
            | Self::RemoveCommentsChar => *wanted,
            Self::RemoveNulls | Self::RemoveWhitespace => wanted.difference(&self.triggers()),

            // A space or a NUL may stand for a comment.
            Self::RemoveComments if wanted.meets(&ByteSet::new(b" \0")) => wanted.union(&ByteSet::new(b"*<")),
            Self::ReplaceComments if wanted.contains(b' ') => wanted.union(&ByteSet::new(b"*")),
            Self::RemoveComments | Self::ReplaceComments => *wanted,

            // Anything may be spelt, with the mark that says so.
            Self::CssDecode | Self::EscapeSeqDecode | Self::JsDecode => wanted.union(&ByteSet::new(b"\\")),
            Self::HtmlEntityDecode => wanted.union(&ByteSet::new(b"&")),
            Self::SqlHexDecode => wanted.union(&ByteSet::new(b"xX")),
            Self::UrlDecode | Self::UrlDecodeUni => {
                let plus: &[u8] = if wanted.contains(b' ') { b"%+" } else { b"%" };
                wanted.difference(&ByteSet::new(b"+")).union(&ByteSet::new(plus))
            }
            Self::Utf8ToUnicode => {
                let spelt = ByteSet::new(b"%u0123456789abcdef").union(&HIGH);
                if wanted.meets(&spelt) { wanted.union(&HIGH) } else { *wanted }
            }
        }
    }

    /// No value shorter than the answer becomes one of `len` bytes or more.
    pub fn min_input_len(self, len: usize) -> usize {
        match self {
            Self::Length => match len {
                0 | 1 => 0,
                _ => 10usize.checked_pow(u32::try_from(len - 1).unwrap_or(u32::MAX)).unwrap_or(usize::MAX),
            },
            Self::Md5 if len <= 16 => 0,
            Self::Sha1 if len <= 20 => 0,
            Self::Md5 | Self::Sha1 => usize::MAX,
            // Six bits a byte; four bytes for three.
            Self::Base64Decode | Self::Base64DecodeExt => len.saturating_mul(4).div_ceil(3),
            Self::Base64Encode => len.div_ceil(4).saturating_sub(1) * 3 + usize::from(len > 0),
            Self::HexDecode => len.saturating_mul(2),
            Self::HexEncode => len.div_ceil(2),
            // `\0` becomes U+FFFD, three bytes.
            Self::CssDecode => len.saturating_mul(2).div_ceil(3),
            Self::UrlEncode => len.div_ceil(3),
            // An overlong form of two bytes becomes `%uHHHH` and its first byte.
            Self::Utf8ToUnicode => len.saturating_mul(2).div_ceil(7),
            _ => len,
        }
    }

    /// Whether it makes something of nothing: the length and the digests, which
    /// the empty value has too. The prefilter must not skip a rule for a value
    /// that passes through one of these.
    pub fn opaque(self) -> bool {
        matches!(self, Self::Length | Self::Md5 | Self::Sha1)
    }
}

/// The bytes whose image is wanted.
fn preimage(wanted: &ByteSet, image: impl Fn(u8) -> u8) -> ByteSet {
    ByteSet::filter(|byte| wanted.contains(image(byte)))
}

/// The digits of which a wanted byte needs at least one: all possible first
/// ones, or all possible second ones, whichever are fewer.
fn nibbles(wanted: &ByteSet) -> ByteSet {
    let [mut first, mut second] = [ByteSet::EMPTY; 2];
    for byte in wanted.iter() {
        let [high, low] = hex::digits(byte);
        first.insert(high);
        first.insert(high.to_ascii_uppercase());
        second.insert(low);
        second.insert(low.to_ascii_uppercase());
    }
    if first.len() <= second.len() { first } else { second }
}
