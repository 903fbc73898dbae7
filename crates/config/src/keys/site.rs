//! `[site]`: names, certificates, ports, limits.

use crate::declare::{Kind, choice, table};
use crate::defaults;
use crate::diagnostic::{Code, quote};
use crate::read::{Context, Node, Text, Value, Wrong};
use crate::span::Spanned;
use crate::values::{FilePath, OneOrMore, read_text, text_value};
use base::net::{IpNet, is_host_name};
use base::{Bytes, Millis};
use std::net::{IpAddr, SocketAddr};

table! {
    /// The site itself: its names, its certificate, its ports, and what a client may do to it.
    pub struct Site: "[site]";

    /// The host names and addresses that the site answers to; requests for others are answered 421.
    /// The certificate carries them. `*.example.com` stands for one label below `example.com`.
    default domains: Vec<Spanned<Domain>> = vec![Spanned { value: Domain(defaults::DOMAIN.to_owned()), span: Default::default(), given: false }];
    why "the site has a name of its own"; example r#"domains = ["shop.example", "www.shop.example"]"#;

    /// The name of the site's state and run directories, and of its user interface. Absent: the first
    /// of `domains` that is given, or else the name of this file.
    optional name: SiteName;
    why "two sites of one machine would have the same name, or a domain changes and the data stay"; example r#"name = "shop""#;

    /// Where the certificate comes from: `"internal"` is a certificate authority of this site's own,
    /// whose root `bastide cert` exports and trusts; `{ cert, key }` are PEM files.
    default tls: Tls = Tls::Internal;
    why "visitors who are not you should trust the site"; example r#"tls = { cert = "/etc/ssl/shop.pem", key = "/etc/ssl/shop.key" }"#;

    /// Where HTTPS is served and where plain HTTP is answered. Absent: as root 443 and 80, otherwise
    /// 8443 and 8080, on all addresses.
    nested listen: Listen;
    why "the ports are taken, or only one address should serve the site"; example r#"listen = { https = 9443, http = "127.0.0.1:9080" }"#;

    /// What plain HTTP does.
    default plain_http: PlainHttp = PlainHttp::Redirect;
    why "a proxy before the site ends TLS"; example r#"plain_http = "serve""#;

    /// The port that redirects to HTTPS name. Absent: the one listened on.
    optional public_https_port: u16, in 1..=65535;
    why "a firewall or container maps another port to ours"; example "public_https_port = 443";

    /// Whether each request is written to the access log, a line of JSON in the site's state directory. The
    /// monitor counts requests without it.
    default access_log: bool = true;
    why "the disk is slow or small, or nothing about visitors may be kept"; example "access_log = false";

    /// Worker threads of the edge; 0 is one for each processor that the process may use.
    default workers: u16 = defaults::WORKERS, in 0..=256;
    why "the edge shares its processors with programs that must not wait for it"; example "workers = 2";

    /// Proxies and CDNs in front of the site. From these addresses alone `X-Forwarded-For` and `Forwarded`
    /// are believed; bans and limits then follow the real client.
    default trusted_proxies: Vec<Spanned<IpNet>> = vec![];
    why "a load balancer or CDN stands before the site"; example r#"trusted_proxies = ["10.0.0.0/8"]"#;

    /// What still runs when a process is told to stop may go on for this long.
    default drain: Millis = defaults::DRAIN, in Millis(0)..=Millis(3_600_000);
    why "downloads or WebSockets should end by themselves when the site restarts"; example r#"drain = "1m""#;

    /// How long each step of a request may take.
    nested timeouts: Timeouts;
    why "a web server answers slowly by nature"; example r#"timeouts = { response = "5m" }"#;

    /// What a client may send and hold.
    nested limits: Limits;
    why "the site takes uploads, or serves many clients behind one address"; example r#"limits = { body = "1GiB" }"#;
}

table! {
    /// Addresses to listen on.
    pub struct Listen: "listen";

    /// Where HTTPS is served: a port on all addresses, an address with its port, or a list of these.
    /// Port 0 is chosen and printed; `[]` is nowhere, and only with `plain_http = "serve"`.
    optional https: OneOrMore<ListenAddress>;
    why "another port or address than 443 (8443 without root)"; example "listen = { https = 9443 }";

    /// Where plain HTTP is answered; `[]` is nowhere.
    optional http: OneOrMore<ListenAddress>;
    why "another port or address than 80 (8080 without root), or none"; example "listen = { http = [] }";
}

table! {
    /// Each one ends the connection or the request that takes longer.
    pub struct Timeouts: "timeouts";

    /// For the TLS handshake.
    default handshake: Millis = defaults::TIMEOUT_HANDSHAKE, in Millis(100)..=Millis(600_000);
    why "clients are very far away"; example r#"timeouts = { handshake = "20s" }"#;

    /// For a whole request head, from the connection's start or the previous response's end.
    default head: Millis = defaults::TIMEOUT_HEAD, in Millis(100)..=Millis(600_000);
    why "fewer connections should be held by clients that send slowly"; example r#"timeouts = { head = "5s" }"#;

    /// Between two pieces of a request's body.
    default body: Millis = defaults::TIMEOUT_BODY, in Millis(100)..=Millis(3_600_000);
    why "uploads come over connections that pause"; example r#"timeouts = { body = "2m" }"#;

    /// For an idle connection of a client.
    default keep_alive: Millis = defaults::TIMEOUT_KEEP_ALIVE, in Millis(1_000)..=Millis(86_400_000);
    why "a load balancer before the site keeps its connections longer"; example r#"timeouts = { keep_alive = "10m" }"#;

    /// For a connection to a web server.
    default connect: Millis = defaults::TIMEOUT_CONNECT, in Millis(10)..=Millis(600_000);
    why "the web servers are far away"; example r#"timeouts = { connect = "5s" }"#;

    /// From a request sent to a web server to its response's head.
    default response: Millis = defaults::TIMEOUT_RESPONSE, in Millis(100)..=Millis(86_400_000);
    why "the application takes long to answer, or should be given up sooner"; example r#"timeouts = { response = "5m" }"#;

    /// Between two pieces of a response's body, and of a WebSocket in either direction.
    default idle: Millis = defaults::TIMEOUT_IDLE, in Millis(100)..=Millis(604_800_000);
    why "streams of events are silent for longer"; example r#"timeouts = { idle = "1h" }"#;
}

table! {
    /// Beyond a limit a client gets an error that says which (431, 413, 503), and a counter goes up.
    pub struct Limits: "limits";

    /// A request's head: request line and header lines.
    default head: Bytes = defaults::LIMIT_HEAD, in Bytes(1 << 10)..=Bytes(1 << 20);
    why "the application sets large cookies"; example r#"limits = { head = "64KiB" }"#;

    /// Header lines of a request.
    default header_lines: u32 = defaults::LIMIT_HEADER_LINES, in 10..=1_000;
    why "a proxy before the site adds many"; example "limits = { header_lines = 200 }";

    /// A request's body; `"0B"` is no limit.
    default body: Bytes = defaults::LIMIT_BODY;
    why "the site takes uploads, or none"; example r#"limits = { body = "1GiB" }"#;

    /// Client connections at once, over all workers.
    default connections: u32 = defaults::LIMIT_CONNECTIONS, in 1..=10_000_000;
    why "the machine has memory for more, or for less"; example "limits = { connections = 100000 }";

    /// Client connections at once from one address (IPv6: from one /64).
    default connections_per_ip: u32 = defaults::LIMIT_CONNECTIONS_PER_IP, in 1..=10_000_000;
    why "many clients share one address"; example "limits = { connections_per_ip = 2000 }";

    /// HTTP/2 streams at once on one connection.
    default streams: u32 = defaults::LIMIT_STREAMS, in 1..=10_000;
    why "clients load very many small files at once"; example "limits = { streams = 256 }";
}

choice! {
    /// What plain HTTP does.
    pub enum PlainHttp {
        /// clients are sent to HTTPS
        Redirect = "redirect",
        /// the site is served there, too, unencrypted
        Serve = "serve",
    }
}

text_value!(Domain, SiteName);

/// A host name in lower case, `*.` and a host name, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain(pub String);

impl Text for Domain {
    const WHAT: &'static str = "a host name";
    const SAMPLE: &'static str = "\"shop.example\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(bare) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
            let host = bare.split(['/', ':']).next().unwrap_or_default();
            return Err(Wrong::new(
                format!("{} is a URL", quote(text)),
                format!("write the host alone: `\"{host}\"`"),
            ));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(ip.to_string()));
        }
        if !text.is_ascii() {
            let hint = "write an internationalised name in its ASCII form, `xn--…`";
            return Err(Wrong::new(format!("{} has characters beyond ASCII", quote(text)), hint));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        // A wildcard covers one label, and none may cover a whole top-level domain (RFC 6125 §7.2).
        let wide = text.len() != name.len() && !name.contains('.');
        match is_host_name(name) && !wide {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(Wrong::new(
                format!("{} is not a host name", quote(text)),
                "write it as `shop.example`, `*.shop.example` or an IP address, without port and path",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// Names directories: letters, digits, `.`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SiteName(pub String);

impl Text for SiteName {
    const WHAT: &'static str = "a name";
    const SAMPLE: &'static str = "\"shop\"";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        match starts_well && text.len() <= 63 && text.bytes().all(ok) {
            true => Ok(Self(text.to_owned())),
            false => Err(Wrong::new(
                format!("{} cannot name a directory of ours", quote(text)),
                "use up to 63 letters, digits, `.`, `-` and `_`, beginning with a letter or digit",
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A port on all addresses, IPv4 and IPv6.
    Port(u16),
    /// One address.
    At(SocketAddr),
}

impl ListenAddress {
    /// The port; 0 is chosen.
    pub const fn port(self) -> u16 {
        match self {
            Self::Port(port) => port,
            Self::At(address) => address.port(),
        }
    }
}

impl Value for ListenAddress {
    fn kind() -> Kind {
        Kind::OneOf(vec![Kind::Integer { min: 0, max: 65_535 }, SocketAddr::kind()])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        if node.as_integer().is_some() {
            return u16::read(node, cx).map(Self::Port);
        }
        let (text, span) = node.text(Self::kind, cx)?;
        read_text(text, span, cx).map(Self::At)
    }

    fn show(&self) -> String {
        match self {
            Self::Port(port) => port.to_string(),
            Self::At(address) => address.show(),
        }
    }
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Tls {
    /// The site's own certificate authority.
    Internal,
    /// Files.
    Files {
        /// The certificate, then its intermediates, PEM.
        cert: Spanned<FilePath>,
        /// The private key, PEM.
        key: Spanned<FilePath>,
    },
}

table! {
    /// A certificate that something else obtains and renews. It is read again at a reload.
    pub struct TlsFiles: "tls", later {
        "acme": "use `tls = \"internal\"`, or `tls = { cert = \"…\", key = \"…\" }` with certificates of certbot or lego",
    };

    /// The certificate, then its intermediates, PEM.
    required cert: FilePath;
    why "always, with `key`"; example r#"tls = { cert = "/etc/ssl/shop.pem", key = "/etc/ssl/shop.key" }"#;

    /// The private key, PEM: PKCS #8, SEC 1 or PKCS #1, without a passphrase.
    required key: FilePath;
    why "always, with `cert`"; example r#"tls = { cert = "/etc/ssl/shop.pem", key = "/etc/ssl/shop.key" }"#;
}

impl Value for Tls {
    fn kind() -> Kind {
        Kind::OneOf(vec![
            Kind::Choice(&[("internal", "the site's own certificate authority")]),
            TlsFiles::kind(),
        ])
    }

    fn read(node: Node<'_>, cx: &mut Context) -> Option<Self> {
        let Some(text) = node.as_text() else {
            if !node.is_table() {
                cx.refuse_type(node, &Self::kind());
                return None;
            }
            let keys = TlsFiles::read(node, cx)?;
            return Some(Self::Files { cert: keys.cert, key: keys.key });
        };
        match text {
            "internal" => Some(Self::Internal),
            _ => {
                let hint = "write `tls = \"internal\"` or `tls = { cert = \"…\", key = \"…\" }`";
                cx.error(Code::BadValue, node.span, format!("`tls` cannot be {}", quote(text))).hint(hint);
                None
            }
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Internal => "\"internal\"".to_owned(),
            Self::Files { cert, key } => format!("{{ cert = {}, key = {} }}", cert.show(), key.show()),
        }
    }
}
