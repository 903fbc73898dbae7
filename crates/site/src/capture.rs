//! A request as the edge captured it, for `bastide waf learn`: one JSON object a
//! line of [`crate::waf::CAPTURE`]. Secrets are masked before it is written.

use base::EventId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What stands in place of a secret: letters alone, so that no rule takes it for
/// an attack when the request is replayed.
pub const MASK: &str = "masked";

/// A captured request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// Unix milliseconds.
    pub at_ms: u64,
    /// The id that the web server and the access log have for it.
    pub request_id: String,
    /// The event, where a rule matched.
    #[serde(default)]
    pub event: Option<EventId>,
    /// The real client.
    pub client: IpAddr,
    /// The route that took it, as metrics name it.
    pub route: String,
    /// `GET`.
    pub method: String,
    /// Path and query, in the form of [`encode`].
    pub target: String,
    /// The host that was asked for.
    pub host: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// Header lines: names in lower case, values in the form of [`encode`].
    pub headers: Vec<(String, String)>,
    /// The body as far as it was inspected, in the form of [`encode`].
    pub body: String,
    /// Whether that is all of it, and none of it was left out to hide a secret.
    pub whole: bool,
}

/// Bytes as a JSON string: UTF-8 as it is; anything else byte by byte as Latin-1
/// behind `latin1:`. A text that begins with either mark stands behind `utf8:`.
pub fn encode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.starts_with("latin1:") || text.starts_with("utf8:") => format!("utf8:{text}"),
        Ok(text) => text.to_owned(),
        Err(_) => "latin1:".chars().chain(bytes.iter().map(|&byte| char::from(byte))).collect(),
    }
}

/// The bytes that [`encode`] wrote.
pub fn decode(text: &str) -> Vec<u8> {
    if let Some(text) = text.strip_prefix("utf8:") {
        return text.as_bytes().to_vec();
    }
    match text.strip_prefix("latin1:") {
        Some(text) => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
        None => text.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive() {
        let cases: [(&[u8], &str); 5] = [
            (b"", ""),
            ("café".as_bytes(), "café"),
            (b"caf\xe9", "latin1:café"),
            (b"latin1:x", "utf8:latin1:x"),
            (b"utf8:x", "utf8:utf8:x"),
        ];
        for (bytes, text) in cases {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text), bytes);
        }
    }
}
