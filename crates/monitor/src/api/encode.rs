//! Answers made smaller on their way: gzip and zstd, as the client asks.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use std::io::{self, Write};

/// Smaller answers fit into one packet as they are.
const WORTH_IT: usize = 1_400;

/// Larger ones are made smaller on a thread that may take its time.
const QUICK: usize = 128 << 10;

/// The lowest levels: numbers as text shrink to a tenth with them, and what
/// higher ones save costs more time than it saves.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 1;

/// How an answer is made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Zstd,
    Gzip,
}

impl Encoding {
    const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// For `Content-Encoding`.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// What the client likes most of what we have (RFC 9110 §12.5.3).
    pub(crate) fn wanted(headers: &HeaderMap) -> Option<Self> {
        let weight = |name: &str| {
            let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok());
            let mut any = 0.0;
            for coding in values.flat_map(|value| value.split(',')) {
                let (coding, parameters) = coding.split_once(';').unwrap_or((coding, ""));
                let quality = parameters.trim().strip_prefix("q=");
                let quality = quality.map_or(1.0, |q| q.trim().parse().unwrap_or(0.0));
                match coding.trim() {
                    coding if coding.eq_ignore_ascii_case(name) => return quality,
                    "*" => any = quality,
                    _ => {}
                }
            }
            any
        };
        let mut best = (None, 0.0);
        for encoding in Self::ALL {
            let weight: f32 = weight(encoding.name());
            if weight > best.1 {
                best = (Some(encoding), weight);
            }
        }
        best.0
    }

    /// The body, smaller; none where that is not worth it.
    pub(crate) async fn encode(self, body: Bytes) -> Option<Bytes> {
        if body.len() < WORTH_IT {
            return None;
        }
        let encoded = if body.len() < QUICK {
            self.pack(&body)
        } else {
            tokio::task::spawn_blocking(move || self.pack(&body)).await.ok()?
        };
        encoded.ok().map(Bytes::from)
    }

    fn pack(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let packed = Vec::with_capacity(body.len() / 8);
        match self {
            Self::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(packed, flate2::Compression::new(GZIP_LEVEL));
                writer.write_all(body)?;
                writer.finish()
            }
            Self::Zstd => {
                let mut writer = zstd::Encoder::new(packed, ZSTD_LEVEL)?;
                writer.set_pledged_src_size(Some(body.len() as u64))?;
                writer.write_all(body)?;
                writer.finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_wanted() {
        let cases = [
            ("", None),
            ("gzip", Some(Encoding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("zstd;q=0.5, GZIP", Some(Encoding::Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=0, *", Some(Encoding::Zstd)),
            ("*;q=0.1", Some(Encoding::Zstd)),
            ("identity, gzip ; q=0.001", Some(Encoding::Gzip)),
            ("gzip;q=x", None),
            ("gzipped", None),
        ];
        for (accept, expected) in cases {
            let headers = [(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))];
            assert_eq!(Encoding::wanted(&headers.into_iter().collect()), expected, "{accept}");
        }
    }

    #[tokio::test]
    async fn packed_and_unpacked() {
        for size in [WORTH_IT, QUICK + 1] {
            let body = Bytes::from(vec![b'7'; size]);
            let packed = Encoding::Gzip.encode(body.clone()).await.unwrap();
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert!(packed.len() < size / 10 && unpacked == body);
            let packed = Encoding::Zstd.encode(body.clone()).await.unwrap();
            assert_eq!(zstd::decode_all(&packed[..]).unwrap(), body);
        }
        assert_eq!(Encoding::Gzip.encode(Bytes::from_static(b"{}")).await, None);
    }
}
