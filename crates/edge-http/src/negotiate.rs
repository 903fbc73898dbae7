//! Which precompressed variant of a file a client gets (RFC 9110 §12.5.3), and
//! the content types of files.

use crate::RequestHead;
use crate::guard::trim;

/// How a variant is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `.br`, RFC 7932.
    Brotli,
    /// `.zst`, RFC 8878.
    Zstd,
    /// `.gz`, RFC 1952.
    Gzip,
}

impl Encoding {
    /// All, the one that packs best first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// The Content-Encoding.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What is appended to the file's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// The encodings a client takes, the one it likes best first; among equals the
/// one that packs best.
pub fn accepted_encodings(head: &RequestHead<'_>) -> impl Iterator<Item = Encoding> {
    let mut quality = [None::<f32>; 3];
    let mut any = None;
    for part in head.header_all("accept-encoding").flat_map(|value| value.split(|&b| b == b',')) {
        let mut pieces = part.split(|&b| b == b';').map(trim);
        let coding = pieces.next().unwrap_or_default();
        let q = self::quality(pieces);
        if coding == b"*" {
            any = Some(q);
        }
        for (i, encoding) in Encoding::ALL.iter().enumerate() {
            let alias = *encoding == Encoding::Gzip && coding.eq_ignore_ascii_case(b"x-gzip");
            if alias || coding.eq_ignore_ascii_case(encoding.name().as_bytes()) {
                quality[i] = Some(q);
            }
        }
    }
    let mut ranked: [(f32, Encoding); 3] =
        std::array::from_fn(|i| (quality[i].or(any).unwrap_or(0.0), Encoding::ALL[i]));
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().filter(|(q, _)| *q > 0.0).map(|(_, encoding)| encoding)
}

/// The `q` among a member's parameters (RFC 9110 §12.4.2): 1 where there is
/// none, 0 where it cannot be read.
pub(crate) fn quality<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> f32 {
    let weight = parameters.find_map(|p| p.strip_prefix(b"q=").or_else(|| p.strip_prefix(b"Q=")));
    match weight {
        None => 1.0,
        Some(text) => std::str::from_utf8(text)
            .ok()
            .filter(|t| t.len() <= 5 && t.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
            .and_then(|t| t.parse::<f32>().ok())
            .filter(|q| (0.0..=1.0).contains(q))
            .unwrap_or(0.0),
    }
}

/// The Content-Type of a file by its name's extension; unknown ones are bytes,
/// so that no browser guesses.
pub fn content_type(file_name: &str) -> &'static str {
    let extension = file_name.rsplit_once('.').map_or("", |(_, e)| e);
    let lower = extension.to_ascii_lowercase();
    match TYPES.binary_search_by(|(name, _)| (*name).cmp(lower.as_str())) {
        Ok(at) => TYPES[at].1,
        Err(_) => "application/octet-stream",
    }
}

/// From IANA's media type registry; text with its charset (JavaScript: RFC 9239).
const TYPES: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("eot", "application/vnd.ms-fontobject"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jxl", "image/jxl"),
    ("m4a", "audio/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let cases: &[(&str, &str)] = &[
            ("", ""),
            ("identity", ""),
            ("gzip", "gzip"),
            ("x-gzip", "gzip"),
            ("gzip, deflate, br, zstd", "br zstd gzip"),
            ("gzip;q=1.0, br;q=0.5", "gzip br"),
            ("br;q=0, gzip", "gzip"),
            ("*", "br zstd gzip"),
            ("*;q=0.1, gzip;q=0", "br zstd"),
            ("br;q=2, gzip;q=junk", ""),
            ("GZIP ; q=0.3", "gzip"),
        ];
        for (accept, expected) in cases {
            let headers: &[(&[u8], &[u8])] = &[(b"accept-encoding", accept.as_bytes())];
            let head = RequestHead {
                method: b"GET",
                target: b"/",
                authority: b"a",
                version: crate::Version::Http11,
                headers,
            };
            let names: Vec<_> = accepted_encodings(&head).map(Encoding::name).collect();
            assert_eq!(names.join(" "), *expected, "{accept}");
        }
    }

    #[test]
    fn types() {
        assert!(TYPES.is_sorted());
        assert_eq!(content_type("a.CSS"), "text/css; charset=utf-8");
        assert_eq!(content_type("a.tar.gz"), "application/gzip");
        assert_eq!(content_type("noext"), "application/octet-stream");
        assert_eq!(content_type(".html"), "text/html; charset=utf-8");
    }
}
