//! Who the client is, and how the web server learns it.
//!
//! RFC 7239 (`Forwarded`) and the older `X-Forwarded-*`, which frameworks still
//! read first. Both are written with the same content.

use crate::RequestHead;
use crate::guard::trim;
use base::net::{IpNet, canonical};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The client behind a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// Whether a trusted proxy told us, so that the connection's own address is not the client's.
    pub behind_proxy: bool,
    /// Whether the client's own connection was encrypted, as far as known.
    pub https: bool,
}

/// Whether `ip` is one of the trusted proxies.
pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    !trusted.is_empty() && trusted.iter().any(|net| net.contains(&ip))
}

/// Finds the client: the connection's peer; where that is a trusted proxy, the
/// rightmost address in its list that is not itself trusted. An entry that is no
/// address ends the search: what stands left of it is hearsay of the unknown.
pub fn resolve(peer: IpAddr, https: bool, trusted: &[IpNet], head: &RequestHead<'_>) -> Client {
    let peer = canonical(peer);
    if !is_trusted(peer, trusted) {
        return Client { ip: peer, behind_proxy: false, https };
    }
    let mut client = Client { ip: peer, behind_proxy: true, https };
    let has_x = head.header("x-forwarded-for").is_some();
    let header = if has_x { "x-forwarded-for" } else { "forwarded" };
    let entries = head.header_all(header).flat_map(|line| line.split(|&b| b == b','));
    // Lists are short; the head's limit bounds them.
    for entry in entries.collect::<Vec<_>>().into_iter().rev() {
        let address = if has_x { read_address(trim(entry)) } else { forwarded_for(entry) };
        let Some(address) = address else { break };
        client.ip = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    if let Some(proto) = head.header_all("x-forwarded-proto").last() {
        let last = proto.rsplit(|&b| b == b',').next().map(trim);
        client.https = last.is_some_and(|p| p.eq_ignore_ascii_case(b"https"));
    }
    client
}

/// `10.0.0.1`, `10.0.0.1:80`, `::1`, `[::1]`, `[::1]:80`.
fn read_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|s| s.ip())).map(canonical)
}

/// The `for` of one element (RFC 7239 §4): a token or a quoted string.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    for pair in element.split(|&b| b == b';') {
        let pair = trim(pair);
        let Some(equals) = pair.iter().position(|&b| b == b'=') else { continue };
        if pair[..equals].eq_ignore_ascii_case(b"for") {
            let value = &pair[equals + 1..];
            let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
            return read_address(value);
        }
    }
    None
}

/// The values of the headers that tell a web server who asked, ready to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedHeaders {
    /// `Forwarded`.
    pub forwarded: String,
    /// `X-Forwarded-For`.
    pub x_for: String,
    /// `X-Forwarded-Proto`.
    pub x_proto: &'static str,
}

/// Writes what goes upstream. A trusted proxy's lists are kept and its own
/// address appended; anyone else's are dropped.
pub fn write(peer: IpAddr, client: &Client, head: &RequestHead<'_>) -> ForwardedHeaders {
    let peer = canonical(peer);
    let mut x_for = String::with_capacity(48);
    let mut forwarded = String::with_capacity(96);
    if client.behind_proxy {
        append_list(&mut x_for, head, "x-forwarded-for");
        append_list(&mut forwarded, head, "forwarded");
        if forwarded.is_empty() && client.ip != peer {
            // The proxy speaks X-Forwarded-For only: tell the rest what it said.
            write_for(&mut forwarded, client.ip);
            forwarded.push_str(", ");
        }
    }
    let x_proto = if client.https { "https" } else { "http" };
    // Formatting into a String cannot fail.
    let _ = write!(x_for, "{peer}");
    write_for(&mut forwarded, peer);
    if let Ok(host) = std::str::from_utf8(head.authority)
        && !host.is_empty()
    {
        // A port's colon needs quotes (RFC 7239 §4); `check` leaves no quote in it.
        let quote = if host.contains([':', '[']) { "\"" } else { "" };
        let _ = write!(forwarded, ";host={quote}{host}{quote}");
    }
    let _ = write!(forwarded, ";proto={x_proto}");
    ForwardedHeaders { forwarded, x_for, x_proto }
}

/// RFC 7239 §6: an IPv6 address is bracketed and quoted.
fn write_for(out: &mut String, ip: IpAddr) {
    let _ = match ip {
        IpAddr::V4(ip) => write!(out, "for={ip}"),
        IpAddr::V6(ip) => write!(out, "for=\"[{ip}]\""),
    };
}

fn append_list(out: &mut String, head: &RequestHead<'_>, name: &str) {
    for line in head.header_all(name) {
        if let Ok(text) = std::str::from_utf8(line)
            && !text.is_empty()
        {
            out.push_str(text);
            out.push_str(", ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    fn head<'a>(headers: &'a [(&'a [u8], &'a [u8])], authority: &'a str) -> RequestHead<'a> {
        RequestHead {
            method: b"GET",
            target: b"/",
            authority: authority.as_bytes(),
            version: Version::Http11,
            headers,
        }
    }

    #[test]
    fn the_client_is_the_rightmost_untrusted_address() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        type Headers<'a> = &'a [(&'a [u8], &'a [u8])];
        let cases: &[(&str, Headers<'_>, &str)] = &[
            ("192.0.2.1", &[], "192.0.2.1"),
            ("::ffff:192.0.2.1", &[], "192.0.2.1"),
            ("192.0.2.1", &[(b"x-forwarded-for", b"198.51.100.1")], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &[(b"x-forwarded-for", b"198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(b"x-forwarded-for", b"198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(b"x-forwarded-for", b"1.1.1.1, 198.51.100.1, 10.2.3.4")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"198.51.100.7:4000")],
                "198.51.100.7",
            ),
            ("10.0.0.1", &[(b"x-forwarded-for", b"1.1.1.1, unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(b"x-forwarded-for", b"1.1.1.1, junk, 10.0.0.9")], "10.0.0.9"),
            ("10.0.0.1", &[(b"x-forwarded-for", b"")], "10.0.0.1"),
            ("10.0.0.1", &[(b"x-forwarded-for", b"10.1.1.1, 10.1.1.2")], "10.1.1.1"),
            ("fd00::1", &[(b"x-forwarded-for", b"2001:db8::9")], "2001:db8::9"),
            ("10.0.0.1", &[(b"forwarded", b"for=198.51.100.1;proto=https")], "198.51.100.1"),
            ("10.0.0.1", &[(b"forwarded", b"for=1.1.1.1, FOR=\"[2001:db8::9]:80\"")], "2001:db8::9"),
            ("10.0.0.1", &[(b"forwarded", b"for=_hidden")], "10.0.0.1"),
            ("10.0.0.1", &[(b"forwarded", b"by=x")], "10.0.0.1"),
        ];
        for (peer, headers, expected) in cases {
            let client = resolve(peer.parse().unwrap(), true, &trusted, &head(headers, "a"));
            assert_eq!(client.ip.to_string(), *expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn what_the_web_server_is_told() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let spoof: &[(&[u8], &[u8])] = &[(b"x-forwarded-for", b"6.6.6.6"), (b"forwarded", b"for=6.6.6.6")];
        let told = |peer: &str, headers, authority| {
            let peer = peer.parse().unwrap();
            let head = head(headers, authority);
            write(peer, &resolve(peer, true, &trusted, &head), &head)
        };
        let direct = told("192.0.2.1", spoof, "a.example");
        assert_eq!(direct.x_for, "192.0.2.1");
        assert_eq!(direct.forwarded, "for=192.0.2.1;host=a.example;proto=https");
        let direct6 = told("2001:db8::1", &[], "a.example:8443");
        assert_eq!(direct6.forwarded, "for=\"[2001:db8::1]\";host=\"a.example:8443\";proto=https");
        let proxied = told("10.0.0.1", spoof, "a");
        assert_eq!(proxied.x_for, "6.6.6.6, 10.0.0.1");
        assert_eq!(proxied.forwarded, "for=6.6.6.6, for=10.0.0.1;host=a;proto=https");
        let only_x =
            told("10.0.0.1", &[(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"http")], "a");
        assert_eq!(only_x.forwarded, "for=6.6.6.6, for=10.0.0.1;host=a;proto=http");
        assert_eq!(only_x.x_proto, "http");
    }
}
