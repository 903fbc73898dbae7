//! Each kind of probe against servers of the test's own, that are well and that are not.

use super::settings::Postgres;
use super::*;
use regex::bytes::Regex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};

fn settings_of(kind: Kind) -> Settings {
    let second = Duration::from_secs(5);
    Settings { name: "x".into(), every: second, timeout: second, public: true, kind }
}

fn value(report: &Report, name: &str) -> Option<f64> {
    report.readings.iter().find(|r| r.name == name).map(|r| r.value)
}

fn phases(report: &Report, name: &str) -> Vec<String> {
    report.readings.iter().filter(|r| r.name == name).filter_map(|r| Some(r.label.clone()?.1)).collect()
}

fn http_to(url: String) -> Http {
    Http {
        url,
        statuses: Vec::new(),
        must_match: Vec::new(),
        must_not_match: Vec::new(),
        follow: true,
        insecure: false,
        roots: Vec::new(),
    }
}

/// Answers each request with what `say` makes of its target.
async fn web(say: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut first = String::new();
                let _ = stream.read_line(&mut first).await;
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).await.unwrap_or(0) <= 2 {
                        break;
                    }
                }
                let answer = say(first.split(' ').nth(1).unwrap_or_default());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

fn shop(target: &str) -> String {
    let (status, extra, body) = match target {
        "/" => ("302 Found", "Location: /home\r\n", ""),
        "/home" => ("200 OK", "", "<h1>Add to cart</h1>"),
        "/loop" => ("301 Moved", "Location: loop\r\n", ""),
        "/login" => ("401 Unauthorized", "", ""),
        _ => ("500 Oops", "", "broken"),
    };
    format!("HTTP/1.1 {status}\r\n{extra}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn pages() {
    let address = web(shop).await;
    let at = |path: &str| http_to(format!("http://{address}{path}"));
    let regex = |text: &str| vec![Regex::new(text).unwrap()];
    let report =
        attempt(&settings_of(Kind::Http(Http { must_match: regex("Add to cart"), ..at("/") }))).await;
    assert_eq!(report.failed, None);
    for (name, expected) in [
        ("probe_success", 1.0),
        ("probe_http_status_code", 200.0),
        ("probe_http_redirects", 1.0),
        ("probe_http_ssl", 0.0),
        ("probe_http_version", 1.1),
        ("probe_http_content_length", 20.0),
        ("probe_http_uncompressed_body_length", 20.0),
        ("probe_failed_due_to_regex", 0.0),
        ("probe_ip_protocol", 4.0),
    ] {
        assert_eq!(value(&report, name), Some(expected), "{name}");
    }
    let expected = ["resolve", "connect", "tls", "processing", "transfer"];
    assert_eq!(phases(&report, "probe_http_duration_seconds"), expected);
    assert!(value(&report, "probe_duration_seconds").unwrap() > 0.0);

    let cases: Vec<(Http, &str)> = vec![
        (Http { follow: false, ..at("/") }, "the status is 302"),
        (at("/loop"), "more than 10 redirects"),
        (at("/login"), "the status is 401"),
        (Http { statuses: vec![200], ..at("/other") }, "the status is 500"),
        (Http { must_match: regex("sold out"), ..at("/home") }, "does not match"),
        (Http { must_not_match: regex("cart"), ..at("/home") }, "the page matches"),
        (http_to("http://127.0.0.1:1/".into()), "cannot connect"),
        (http_to("http://nowhere.invalid/".into()), "cannot be looked up"),
        (http_to(format!("https://{address}/")), "TLS"),
    ];
    for (http, why) in cases {
        let url = http.url.clone();
        let report = attempt(&settings_of(Kind::Http(http))).await;
        assert!(report.failed.as_ref().is_some_and(|text| text.contains(why)), "{url}: {:?}", report.failed);
        assert_eq!(value(&report, "probe_success"), Some(0.0));
    }
    let well = attempt(&settings_of(Kind::Http(Http { statuses: vec![401], ..at("/login") }))).await;
    assert_eq!(well.failed, None);
}

/// A server that speaks TLS after `before` lines, then says what it got.
async fn secure() -> (SocketAddr, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let root = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut first = [0; 1];
                if stream.peek(&mut first).await.is_err() {
                    return;
                }
                // A handshake record begins with 22; a line asks for STARTTLS.
                if first[0] != 22 {
                    let mut line = Vec::new();
                    while !line.ends_with(b"\n") {
                        let mut byte = [0];
                        if stream.read_exact(&mut byte).await.is_err() {
                            return;
                        }
                        line.push(byte[0]);
                    }
                    let _ = stream.write_all(b"250-hello\r\n220 go ahead\r\n").await;
                }
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                let mut rest = [0; 1_024];
                while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
            });
        }
    });
    (address, root)
}

#[tokio::test]
async fn certificates() {
    let (address, root) = secure().await;
    let tcp =
        |insecure, roots| Tcp { address: address.to_string(), tls: true, insecure, roots, talk: Vec::new() };
    let trusted = attempt(&settings_of(Kind::Tcp(tcp(false, vec![root.clone()])))).await;
    assert_eq!(trusted.failed, None);
    assert_eq!(value(&trusted, "probe_tls_version_info"), Some(1.0));
    let end = value(&trusted, "probe_ssl_earliest_cert_expiry").unwrap();
    assert!(end > 1.7e9, "{end}");
    // Nobody trusts it: that is a failure, and its end is told all the same.
    let stranger = attempt(&settings_of(Kind::Tcp(tcp(false, Vec::new())))).await;
    assert!(
        stranger.failed.as_ref().is_some_and(|why| why.contains("TLS") || why.contains("root")),
        "{:?}",
        stranger.failed
    );
    let anyone = attempt(&settings_of(Kind::Tcp(tcp(true, Vec::new())))).await;
    assert_eq!(anyone.failed, None);
    let page = Http { roots: vec![root.clone()], ..http_to(format!("https://{address}/")) };
    let report = attempt(&settings_of(Kind::Http(page))).await;
    assert_eq!(report.failed, None);
    assert_eq!(
        (value(&report, "probe_http_ssl"), value(&report, "probe_ssl_earliest_cert_expiry")),
        (Some(1.0), Some(end))
    );

    let talk = vec![
        Step::Send("STARTTLS".into()),
        Step::Expect(Regex::new("^220 ").unwrap()),
        Step::StartTls,
        Step::Expect(Regex::new("^HTTP/1.1 200").unwrap()),
    ];
    let mail = Tcp { tls: false, talk, ..tcp(false, vec![root]) };
    let report = attempt(&settings_of(Kind::Tcp(mail))).await;
    assert_eq!(report.failed, None);
    assert_eq!(value(&report, "probe_failed_due_to_regex"), Some(0.0));
}

#[tokio::test]
async fn connections_and_talks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(b"hello\r\n+OK ready\r\n").await;
                let mut bytes = [0; 100];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    let _ = stream.write_all(&bytes[..count]).await;
                }
            });
        }
    });
    let tcp = |talk| {
        let address = address.to_string();
        settings_of(Kind::Tcp(Tcp { address, tls: false, insecure: false, roots: Vec::new(), talk }))
    };
    let expect = |text: &str| Step::Expect(Regex::new(text).unwrap());
    assert_eq!(attempt(&tcp(Vec::new())).await.failed, None);
    let talk = vec![expect(r"^\+OK"), Step::Send("QUIT".into()), expect("^QUIT$")];
    assert_eq!(attempt(&tcp(talk)).await.failed, None);
    let silent = Settings { timeout: Duration::from_millis(200), ..tcp(vec![expect("^never")]) };
    let report = attempt(&silent).await;
    assert!(
        report.failed.as_ref().is_some_and(|why| why.contains("no answer within 200ms")),
        "{:?}",
        report.failed
    );
    assert!(value(&report, "probe_duration_seconds").is_some_and(|took| took >= 0.2));
    for wrong in ["nothing", "::1", "host:99999", ":80"] {
        let settings = settings_of(Kind::Tcp(Tcp {
            address: wrong.into(),
            tls: false,
            insecure: false,
            roots: Vec::new(),
            talk: Vec::new(),
        }));
        assert!(
            attempt(&settings).await.failed.is_some_and(|why| why.contains("is not `host:port`")),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn names() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    let reply = |question: &[u8]| {
        let mut out = question[..2].to_vec();
        let refuses = question.windows(5).any(|w| w == b"\x04none");
        out.extend_from_slice(&[0x81, if refuses { 3 } else { 0 }, 0, 1, 0, u8::from(!refuses), 0, 0, 0, 0]);
        out.extend_from_slice(&question[12..]);
        if !refuses {
            out.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        }
        out
    };
    tokio::spawn(async move {
        let mut bytes = [0; 600];
        while let Ok((count, from)) = udp.recv_from(&mut bytes).await {
            let question = &bytes[..count];
            let mut out = reply(question);
            if question.windows(4).any(|w| w == b"\x03big") {
                out.truncate(question.len());
                out[2] |= 2; // Cut: TCP must be asked.
                out[7] = 0;
            }
            let _ = udp.send_to(b"nonsense", from).await;
            let _ = udp.send_to(&out, from).await;
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let Ok(length) = stream.read_u16().await else { continue };
            let mut question = vec![0; usize::from(length)];
            if stream.read_exact(&mut question).await.is_ok() {
                let out = reply(&question);
                let _ = stream.write_u16(out.len() as u16).await;
                let _ = stream.write_all(&out).await;
            }
        }
    });
    let ask = |name: &str, expected: Option<&str>| {
        settings_of(Kind::Dns(Dns {
            server: address.to_string(),
            name: name.into(),
            record: "A".into(),
            must_match: expected.iter().map(|text| Regex::new(text).unwrap()).collect(),
        }))
    };
    for name in ["shop.example", "big.example"] {
        let report = attempt(&ask(name, Some(r"^192\.0\.2\.7$"))).await;
        assert_eq!(report.failed, None, "{name}");
        assert_eq!(value(&report, "probe_dns_answer_rrs"), Some(1.0));
        assert_eq!(value(&report, "probe_dns_query_succeeded"), Some(1.0));
        assert_eq!(phases(&report, "probe_dns_duration_seconds"), ["resolve", "connect", "request"]);
    }
    for (name, expected, why) in
        [("none.example", None, "NXDOMAIN"), ("shop.example", Some("^10"), "matches `^10`")]
    {
        let report = attempt(&ask(name, expected)).await;
        assert!(report.failed.as_ref().is_some_and(|text| text.contains(why)), "{name}: {:?}", report.failed);
    }
}

#[tokio::test]
async fn echoes() {
    let report = attempt(&settings_of(Kind::Icmp("127.0.0.1".into()))).await;
    match report.failed {
        // Where this machine lets nobody send echoes, the error says how to change that.
        Some(why) => assert!(why.contains("ping_group_range"), "{why}"),
        None => assert_eq!(phases(&report, "probe_icmp_duration_seconds"), ["resolve", "setup", "rtt"]),
    }
}

#[tokio::test]
async fn databases() {
    // A server that asks for SCRAM, and one that starts up.
    for (answer, well) in [
        (&b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"[..], true),
        (b"E\0\0\0\x1eSFATAL\0C28P01\0Mwrong one\0\0", true),
        (b"E\0\0\0\x1eSFATAL\0C57P03\0Mstarts up\0\0", false),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", false),
        (b"", false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 500];
            let _ = stream.read(&mut bytes).await;
            let _ = stream.write_all(answer).await;
        });
        let postgres = Postgres { address: address.to_string(), login: None, database: "postgres".into() };
        let report = attempt(&settings_of(Kind::Postgres(postgres))).await;
        assert_eq!(
            report.failed.is_none(),
            well,
            "{:?}: {:?}",
            answer.escape_ascii().to_string(),
            report.failed
        );
        server.await.unwrap();
    }
}
