//! Compressed bodies.

use std::borrow::Cow;
use std::io::Read;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// Snappy's block format, which remote write has.
    Snappy,
    /// Zstandard: remote write as VictoriaMetrics' agent sends it, OTLP.
    Zstd,
    /// RFC 1952: OTLP.
    Gzip,
}

impl Encoding {
    /// From a `Content-Encoding`.
    pub fn from_header(value: &str) -> Option<Self> {
        let value = value.trim();
        [
            ("", Self::Identity),
            ("identity", Self::Identity),
            ("snappy", Self::Snappy),
            ("zstd", Self::Zstd),
            ("gzip", Self::Gzip),
        ]
        .into_iter()
        .find_map(|(name, encoding)| value.eq_ignore_ascii_case(name).then_some(encoding))
    }

    /// Undoes the compression. `limit` is the most bytes that may come out; what
    /// a body says of itself is checked against it before anything is allocated.
    /// `spare` is memory to use, and use again.
    pub fn decode<'a>(
        self,
        body: &'a [u8],
        limit: usize,
        spare: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], BodyError> {
        match self {
            Self::Identity if body.len() > limit => {
                Err(BodyError::TooLarge { size: body.len() as u64, limit })
            }
            Self::Identity => Ok(body),
            Self::Snappy => snappy(body, limit, spare),
            Self::Gzip => stream(flate2::read::MultiGzDecoder::new(body), "gzip", limit, spare),
            Self::Zstd => {
                let corrupt = |error: std::io::Error| BodyError::Corrupt {
                    encoding: "zstd",
                    why: error.to_string().into(),
                };
                let mut decoder = zstd::stream::read::Decoder::new(body).map_err(corrupt)?;
                // 8 MiB: the window that every decoder should take (RFC 8878
                // §3.1.1.1.2); a frame's header alone could claim 128 MiB.
                decoder.window_log_max(23).map_err(corrupt)?;
                stream(decoder, "zstd", limit, spare)
            }
        }
    }
}

/// Why a body cannot be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More comes out than is taken.
    #[error("body has {size} bytes or more when decompressed; at most {limit} are taken")]
    TooLarge {
        /// What it says, or what came out so far.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// Not what its encoding says.
    #[error("body is not {encoding}: {why}")]
    Corrupt {
        /// The encoding.
        encoding: &'static str,
        /// The decoder's words.
        why: Cow<'static, str>,
    },
}

/// Snappy's block format begins with the decompressed length (Snappy format
/// description §1).
fn snappy<'a>(body: &[u8], limit: usize, spare: &'a mut Vec<u8>) -> Result<&'a [u8], BodyError> {
    let corrupt =
        |error: snap::Error| BodyError::Corrupt { encoding: "snappy", why: error.to_string().into() };
    let length = snap::raw::decompress_len(body).map_err(corrupt)?;
    if length > limit {
        return Err(BodyError::TooLarge { size: length as u64, limit });
    }
    // The densest element makes 64 bytes of three; a header that claims more
    // than that is a lie, and not worth the memory.
    if length / 22 > body.len() {
        let why = format!("{} bytes cannot make the {length} that the header claims", body.len());
        return Err(BodyError::Corrupt { encoding: "snappy", why: why.into() });
    }
    if spare.len() < length {
        spare.resize(length, 0);
    }
    let written = snap::raw::Decoder::new().decompress(body, &mut spare[..length]).map_err(corrupt)?;
    Ok(&spare[..written])
}

fn stream<'a>(
    decoder: impl Read,
    encoding: &'static str,
    limit: usize,
    spare: &'a mut Vec<u8>,
) -> Result<&'a [u8], BodyError> {
    spare.clear();
    let read = decoder.take(limit as u64 + 1).read_to_end(spare);
    read.map_err(|error| BodyError::Corrupt { encoding, why: error.to_string().into() })?;
    if spare.len() > limit {
        return Err(BodyError::TooLarge { size: spare.len() as u64, limit });
    }
    Ok(spare)
}

/// Compresses with snappy's block format.
pub fn snappy_encode(bytes: &[u8]) -> Vec<u8> {
    // It fails for inputs above 2^32 − 1 bytes only; no request is that large.
    snap::raw::Encoder::new().compress_vec(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn there_and_back_within_limits() {
        let text = b"abcdefgh".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let bodies = [
            (Encoding::Identity, text.clone()),
            (Encoding::Snappy, snappy_encode(&text)),
            (Encoding::Gzip, gzip.finish().unwrap()),
            (Encoding::Zstd, zstd::bulk::compress(&text, 1).unwrap()),
        ];
        for (encoding, body) in bodies {
            let mut spare = Vec::new();
            assert_eq!(encoding.decode(&body, 8000, &mut spare), Ok(&text[..]), "{encoding:?}");
            let error = encoding.decode(&body, 7999, &mut spare).unwrap_err();
            assert!(matches!(error, BodyError::TooLarge { .. }), "{encoding:?}: {error}");
            // Memory that was used before is used again.
            assert_eq!(encoding.decode(&body, 9000, &mut spare), Ok(&text[..]), "{encoding:?}");
            if encoding != Encoding::Identity {
                let cut = encoding.decode(&body[..body.len() / 2], 8000, &mut spare);
                assert!(matches!(cut, Err(BodyError::Corrupt { .. })), "{encoding:?}: {cut:?}");
            }
        }
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        // Says 2^31 bytes, has three.
        let body = [0x80, 0x80, 0x80, 0x80, 0x08, 0, 0, 0];
        let mut spare = Vec::new();
        let error = Encoding::Snappy.decode(&body, usize::MAX, &mut spare).unwrap_err();
        assert!(error.to_string().contains("cannot make"), "{error}");
        assert_eq!(spare.capacity(), 0);
    }

    #[test]
    fn names() {
        for (name, encoding) in
            [("snappy", Some(Encoding::Snappy)), (" GZIP ", Some(Encoding::Gzip)), ("br", None)]
        {
            assert_eq!(Encoding::from_header(name), encoding);
        }
    }
}
