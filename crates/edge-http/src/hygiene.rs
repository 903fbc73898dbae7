//! Headers that end at this hop, and those that we write instead of the client.

use crate::RequestHead;
use crate::guard::trim;

/// Headers of one connection, never passed on (RFC 9110 §7.6.1; `Proxy-*` of
/// §11.7 are for us, who want none; `HTTP2-Settings` of RFC 7540 §3.2.1).
/// `Upgrade` and `TE: trailers` are written anew where they are meant to pass.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header of this (lower-case) name ends at this hop by its own nature.
pub fn is_hop_by_hop(name: &str) -> bool {
    // The first letters rule most names out without a search.
    matches!(name.as_bytes().first(), Some(b'c' | b'h' | b'k' | b'p' | b't' | b'u'))
        && HOP_BY_HOP.binary_search(&name).is_ok()
}

/// The headers that a message's `Connection` lines name, which end at this hop
/// too; without those that everything depends on: naming `host` or
/// `x-forwarded-for` there is a known way to have a proxy remove them.
pub fn named_by_connection<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values.flat_map(|value| value.split(|&b| b == b',')).map(trim).filter(|name| {
        let protected = PROTECTED.iter().any(|p| name.eq_ignore_ascii_case(p.as_bytes()));
        !name.is_empty() && !protected && !name.eq_ignore_ascii_case(b"close")
    })
}

const PROTECTED: [&str; 14] = [
    "host",
    "content-length",
    "content-type",
    "authorization",
    "cookie",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "cache-control",
    "set-cookie",
];

/// Headers that say who the client is; a client's own are removed unless it is a
/// trusted proxy. Beside what we write ourselves these are the names that
/// frameworks believe.
pub fn is_client_claim(name: &str) -> bool {
    matches!(
        name,
        "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
            | "x-forwarded-port"
            | "x-forwarded-server"
            | "x-forwarded-prefix"
            | "x-forwarded-ssl"
            | "x-forwarded-scheme"
            | "x-real-ip"
            | "x-client-ip"
            | "x-cluster-client-ip"
            | "true-client-ip"
            | "cf-connecting-ip"
            | "x-original-url"
            | "x-rewrite-url"
    )
}

/// The most times a request may pass through edges of this name before it is a loop.
pub const MAX_HOPS: usize = 8;

/// Our pseudonym in Via (RFC 9110 §7.6.3).
pub const VIA_NAME: &str = "bastide";

/// How often Via says that this request has passed through us.
pub fn hops(head: &RequestHead<'_>) -> usize {
    let ours = |part: &&[u8]| part.ends_with(VIA_NAME.as_bytes());
    head.header_all("via").flat_map(|value| value.split(|&b| b == b',')).map(trim).filter(ours).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_for_the_search() {
        assert!(HOP_BY_HOP.is_sorted());
        for name in HOP_BY_HOP {
            assert!(is_hop_by_hop(name), "{name}");
        }
        for name in ["host", "content-length", "content-type", "cookie", "trailer", "user-agent", ""] {
            assert!(!is_hop_by_hop(name), "{name}");
        }
    }

    #[test]
    fn connection_names_headers_but_not_the_vital_ones() {
        let values: [&[u8]; 2] = [b"keep-alive, X-Secret ,, close", b"X-Forwarded-For, host, x-two"];
        let named: Vec<_> = named_by_connection(values.into_iter()).collect();
        assert_eq!(named, [&b"keep-alive"[..], b"X-Secret", b"x-two"]);
    }

    #[test]
    fn loops_are_counted() {
        let headers: &[(&[u8], &[u8])] = &[(b"via", b"1.1 bastide, 1.1 other"), (b"via", b"2 bastide")];
        let head = RequestHead {
            method: b"GET",
            target: b"/",
            authority: b"a",
            version: crate::Version::Http11,
            headers,
        };
        assert_eq!(hops(&head), 2);
    }
}
