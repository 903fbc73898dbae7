//! Which requests a page on loopback answers: those that name this machine.
//!
//! The page asks for no password, because on loopback only this machine's users
//! reach it. A browser of theirs, though, runs hostile sites' scripts, and such a
//! site can have its own name lead to 127.0.0.1 (DNS rebinding): for the browser
//! the API is then that site's. The name is still in `Host`, and an address or
//! `localhost` cannot be made to lead elsewhere.

use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Uri};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether a socket at `address` is reached from this machine alone.
pub(crate) fn is_private(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The host a request names that is not this machine, if it names one.
///
/// All that it names must be: a target in absolute form counts before `Host`
/// (RFC 9112 §3.2.2). One that names nothing is a program's, as every browser
/// sends `Host`.
pub(crate) fn stranger<B>(request: &Request<B>) -> Option<String> {
    named(request.uri(), request.headers()).find(|host| !is_this_machine(host)).map(String::from)
}

/// The site whose page made a browser send this, where that is another than ours
/// and the request may change something.
///
/// A form or a script of any site can make a browser POST here without reading the
/// answer. Browsers say where such a request comes from (Fetch Metadata, `Sec-Fetch-Site`;
/// RFC 6454 §7, `Origin`); programs say neither.
pub(crate) fn foreign<B>(request: &Request<B>) -> Option<String> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let text = |name: &str| Some(request.headers().get(name)?.to_str().unwrap_or("\u{fffd}"));
    let origin = text("origin");
    let is_ours = match text("sec-fetch-site") {
        Some(site) => matches!(site, "same-origin" | "none"),
        None => origin.is_none_or(|origin| {
            let host = origin.split_once("://").map_or(origin, |(_, host)| host);
            text("host").is_some_and(|known| known.eq_ignore_ascii_case(host))
        }),
    };
    (!is_ours).then(|| origin.unwrap_or("another site").to_owned())
}

fn named<'a>(target: &'a Uri, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
    let hosts = headers.get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or("\u{fffd}"));
    target.authority().map(hyper::http::uri::Authority::as_str).into_iter().chain(hosts)
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2) with an IP literal, `localhost` or a
/// name below it, which never leads elsewhere (RFC 6761 §6.3).
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    if let Some(literal) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<Ipv4Addr>().is_ok()
        || (base::net::is_host_name(&name) && (name == "localhost" || name.ends_with(".localhost")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_this_machine() {
        let cases = [
            ("127.0.0.1", true),
            ("127.0.0.1:9600", true),
            ("192.0.2.7:80", true),
            ("[::1]", true),
            ("[::1]:9600", true),
            ("localhost", true),
            ("LocalHost:9600", true),
            ("localhost.", true),
            ("shop.localhost:9600", true),
            ("localhost:", true),
            ("", false),
            (":9600", false),
            ("evil.example", false),
            ("evil.example:9600", false),
            ("localhost.evil.example", false),
            ("evillocalhost", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:80.evil.example", false),
            ("user@localhost", false),
            ("evil.example/.localhost", false),
            ("localhost, evil.example", false),
            ("[::1", false),
            ("[evil]:1", false),
            ("::1", false),
            (".localhost", false),
            ("\u{fffd}", false),
        ];
        for (host, expected) in cases {
            assert_eq!(is_this_machine(host), expected, "{host}");
        }
    }

    #[test]
    fn all_that_a_request_names_counts() {
        let request = |target: &str, hosts: &[&str]| {
            let named = hosts.iter().fold(Request::get(target), |r, host| r.header("host", *host));
            stranger(&named.body(()).unwrap())
        };
        assert_eq!(request("/", &[]), None);
        assert_eq!(request("/", &["localhost"]), None);
        assert_eq!(request("http://localhost:9600/", &["127.0.0.1:9600"]), None);
        assert_eq!(request("http://evil.example/", &["localhost"]).as_deref(), Some("evil.example"));
        assert_eq!(request("/", &["localhost", "evil.example"]).as_deref(), Some("evil.example"));
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let (own, other) = (Some("http://localhost:9600"), Some("https://evil.example"));
        let cases = [
            ("POST", None, None, true),
            ("POST", own, None, true),
            ("POST", Some("http://LOCALHOST:9600"), None, true),
            // A proxy that ends TLS sends another `Host` than the page has.
            ("POST", Some("https://monitor.example"), Some("same-origin"), true),
            ("POST", None, Some("none"), true),
            ("POST", other, None, false),
            ("DELETE", other, Some("cross-site"), false),
            ("POST", own, Some("same-site"), false),
            ("POST", Some("null"), None, false),
            ("POST", Some("http://localhost:9601"), None, false),
            ("PUT", None, Some("cross-site"), false),
            ("GET", other, Some("cross-site"), true),
        ];
        for (method, origin, site, expected) in cases {
            let mut request = Request::builder().method(method).uri("/").header("host", "localhost:9600");
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                request =
                    value.map(|value| (name, value)).into_iter().fold(request, |r, (n, v)| r.header(n, v));
            }
            let found = foreign(&request.body(()).unwrap());
            assert_eq!(found.is_none(), expected, "{method} {origin:?} {site:?}");
        }
    }

    #[test]
    fn sockets_that_only_this_machine_reaches() {
        let cases = [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.7:1", false),
        ];
        for (address, expected) in cases {
            assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
        }
    }
}
