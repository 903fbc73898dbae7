//! What is refused: ambiguous HTTP above all, each with its reason counted and
//! nothing behind it reaching a web server.

use crate::harness::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn smuggling_gets_400_and_nothing_reaches_the_web_server() {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = reached.clone();
    let origin = Origin::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async { text("reached") }
    })
    .await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    let cases = [
        ("content_length", 400, "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("content_length", 400, "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("content_length", 400, "Content-Length: 5, 5\r\n"),
        ("content_length", 400, "Content-Length: +5\r\n"),
        ("length_and_encoding", 400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("length_and_encoding", 400, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("transfer_encoding", 400, "Transfer-Encoding: xchunked\r\n"),
        ("transfer_encoding", 400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("transfer_encoding", 400, "Transfer-Encoding: gzip, chunked\r\n"),
        ("header_syntax", 400, "Transfer-Encoding : chunked\r\n"),
        ("header_syntax", 400, "X: a\r\n folded\r\n"),
        ("header_syntax", 400, "X: a\0b\r\n"),
        ("line_end", 400, "X: a\nTransfer-Encoding: chunked\r\n"),
        ("several_hosts", 400, "Host: other.example\r\n"),
        ("expect", 417, "Expect: wonders\r\n"),
    ];
    for (reason, status, lines) in cases {
        let metric = format!("bastide_edge_refused_total{{reason=\"{reason}\"}}");
        let before = edge.metric(&metric).await;
        let head = format!("POST / HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n");
        let answer = edge.raw(format!("{head}5\r\nhello\r\n0\r\n\r\n{smuggled}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines:?}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{lines:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lines:?}: {answer}");
        assert_eq!(edge.metric(&metric).await, before + 1.0, "{lines:?}");
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    // One that is well formed is answered, the one behind it refused.
    let answer = edge.raw(format!("{smuggled}GET / HTTP/1.1\r\n\r\n{smuggled}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400").count(), 1, "{answer}");
    assert_eq!(reached.load(Ordering::SeqCst), 1);
    edge.stop().await;
}

#[tokio::test]
async fn heads_that_cannot_be_understood() {
    let origin = Origin::named("reached").await;
    let mut site = settings(&[origin.address]);
    site.limits.head = bytes(4_096);
    site.limits.header_lines = 20;
    let edge = Edge::start(site).await;
    let long = "x".repeat(5_000);
    let cases = [
        ("no_host", 400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        ("bad_host", 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned()),
        ("bad_host", 400, "GET / HTTP/1.1\r\nHost: user@shop.example\r\n\r\n".to_owned()),
        ("bad_host", 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned()),
        ("unknown_host", 421, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned()),
        (
            "authority_mismatch",
            400,
            "GET http://evil.example/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned(),
        ),
        ("request_line", 400, "GET /\r\nHost: shop.example\r\n\r\n".to_owned()),
        ("request_line", 400, "\x16\x03\x01\x02\x00\x01\r\n\r\n".to_owned()),
        ("version", 505, "GET / HTTP/3.0\r\nHost: shop.example\r\n\r\n".to_owned()),
        ("target", 400, "GET /<script> HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned()),
        ("target", 400, "GET /a#b HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned()),
        ("target", 400, "GET * HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned()),
        ("method", 405, "CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n".to_owned()),
        ("method", 405, "TRACE / HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_owned()),
        ("target_too_long", 414, format!("GET /{long} HTTP/1.1\r\nHost: shop.example\r\n\r\n")),
        ("head_too_large", 431, format!("GET / HTTP/1.1\r\nHost: shop.example\r\nX: {long}\r\n\r\n")),
        (
            "too_many_headers",
            431,
            format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{}\r\n", "X: y\r\n".repeat(30)),
        ),
        (
            "loop",
            508,
            format!(
                "GET / HTTP/1.1\r\nHost: shop.example\r\nVia: {}1.1 bastide\r\n\r\n",
                "1.1 bastide, ".repeat(7)
            ),
        ),
    ];
    for (reason, status, head) in cases {
        let metric = format!("bastide_edge_refused_total{{reason=\"{reason}\"}}");
        let before = edge.metric(&metric).await;
        let answer = edge.raw(&head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{reason}: {head:.80}: {answer}");
        assert!(!answer.contains("reached"), "{head:.80}");
        assert_eq!(edge.metric(&metric).await, before + 1.0, "{reason}: {head:.80}");
    }
    // An absolute form that agrees with Host is taken (RFC 9112 §3.2.2).
    let answer = edge
        .raw("GET http://shop.example/x HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    edge.stop().await;
}

#[tokio::test]
async fn a_body_out_of_frame_breaks_the_request_off() {
    let origin = Origin::echo().await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let head = "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = edge.raw(format!("{head}5\r\nhelloX\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_eq!(edge.metric("bastide_edge_refused_total{reason=\"chunk\"}").await, 1.0);
    edge.stop().await;
}

#[tokio::test]
async fn http2_refuses_foreign_and_contradictory_hosts() {
    let origin = Origin::named("reached").await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let client = edge.http2().await;
    let mut foreign = request2("GET", "/", "");
    *foreign.uri_mut() = "https://evil.example/".parse().unwrap();
    let (status, _, _) = read(client.clone().send_request(foreign).await.unwrap()).await;
    assert_eq!(status, 421);
    let mut two = request2("GET", "/", "");
    two.headers_mut().insert("host", "evil.example".parse().unwrap());
    let (status, _, _) = read(client.clone().send_request(two).await.unwrap()).await;
    assert_eq!(status, 400);
    let (status, _, _) = read(client.clone().send_request(request2("GET", "/", "")).await.unwrap()).await;
    assert_eq!(status, 200, "the connection goes on");
    edge.stop().await;
}

#[tokio::test]
async fn noise_on_the_tls_port_is_a_failed_handshake() {
    let edge = Edge::start(settings(&[])).await;
    let mut stream = tokio::net::TcpStream::connect(edge.https).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    read_to_end(&mut stream).await;
    wait_for("it is counted", async || {
        edge.metric("bastide_edge_tls_handshakes_total{result=\"failed\"}").await == 1.0
    })
    .await;
    edge.stop().await;
}

/// Seeded noise that resembles HTTP: the edge answers or closes, and serves on.
#[tokio::test]
async fn noise_does_not_stop_the_edge() {
    let origin = Origin::named("ok").await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let words = [
        "GET ",
        "/",
        " HTTP/1.1",
        "\r\n",
        "\n",
        "Host: shop.example",
        "Content-Length: 3",
        "\r\n\r\n",
        "abc",
        "Transfer-Encoding: chunked",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "\0",
        "\u{ff}",
        "Upgrade: websocket",
        "Connection: upgrade",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ":",
        " ",
        "Expect: 100-continue",
    ];
    for seed in 0..150u64 {
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut noise = String::new();
        for _ in 0..20 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            noise.push_str(words[(x % words.len() as u64) as usize]);
        }
        let mut stream = tokio::net::TcpStream::connect(edge.http).await.unwrap();
        let _ = stream.write_all(noise.as_bytes()).await;
        let _ = stream.shutdown().await;
        read_to_end(&mut stream).await;
    }
    let mut client = edge.http1().await;
    let (status, _, _) = read(client.send_request(get("/")).await.unwrap()).await;
    assert_eq!(status, 200);
    edge.stop().await;
}
