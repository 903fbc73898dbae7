//! Limits, rates, bans, and time.

use crate::harness::*;
use base::{Millis, Rate};
use edge_route::settings::{Limit, LimitKey};
use hyper::header::HeaderValue;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn bodies_beyond_the_limit_are_413() {
    let origin = Origin::echo().await;
    let mut site = settings(&[origin.address]);
    site.limits.body = bytes(10);
    let edge = Edge::start(site).await;
    let mut client = edge.http1().await;
    let (status, _, _) = read(client.send_request(request("POST", "/", "0123456789")).await.unwrap()).await;
    assert_eq!(status, 200);
    let mut client = edge.http1().await;
    let (status, _, _) = read(client.send_request(request("POST", "/", "0123456789a")).await.unwrap()).await;
    assert_eq!(status, 413);
    let chunked = "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n";
    let answer = edge.raw(chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(edge.metric("bastide_edge_refused_total{reason=\"body_too_large\"}").await, 2.0);
    edge.stop().await;
}

#[tokio::test]
async fn rates_are_limited_and_say_when_to_come_again() {
    let origin = Origin::named("ok").await;
    let mut site = settings(&[origin.address]);
    let limit = Limit { rate: Rate { per_second: 0.01 }, burst: 3, per: LimitKey::Ip };
    site.routes.routes[0].limit = Some(limit);
    site.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let edge = Edge::start(site.clone()).await;
    let ask = async |client_ip: &'static str| {
        let mut client = edge.http1().await;
        let mut asked = get("/");
        asked.headers_mut().insert("x-forwarded-for", HeaderValue::from_static(client_ip));
        read(client.send_request(asked).await.unwrap()).await
    };
    for _ in 0..3 {
        assert_eq!(ask("192.0.2.1").await.0, 200);
    }
    let (status, headers, _) = ask("192.0.2.1").await;
    assert_eq!(status, 429);
    let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=100).contains(&seconds), "{seconds}");
    assert_eq!(ask("192.0.2.2").await.0, 200, "another client");
    assert_eq!(edge.metric("bastide_edge_rate_limited_total{route=\"/*\"}").await, 1.0);
    edge.reload(2, site).await.unwrap();
    assert_eq!(ask("192.0.2.1").await.0, 429, "a reload is no pardon");
    edge.stop().await;
}

#[tokio::test]
async fn the_banned_are_kept_out_at_accept_and_behind_a_proxy() {
    let origin = Origin::named("ok").await;
    let mut site = settings(&[origin.address]);
    let edge = Edge::start(site.clone()).await;
    let ban = |net: &str| serde_json::json!([{ "net": net, "until_ms": 0 }]);
    let mut before = edge.http1().await;
    assert_eq!(read(before.send_request(get("/")).await.unwrap()).await.0, 200);
    assert_eq!(edge.admin.put("/bans", &ban("127.0.0.0/24")).await.unwrap()["bans"], 1);
    assert_eq!(edge.raw("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await, "", "closed at accept");
    before.ready().await.unwrap();
    let (status, _, _) = read(before.send_request(get("/")).await.unwrap()).await;
    assert_eq!(status, 403, "a kept connection, too");
    assert_eq!(edge.metric("bastide_edge_banned_total").await, 2.0);
    edge.admin.put("/bans", &serde_json::json!([{ "net": "127.0.0.1/32", "until_ms": 1 }])).await.unwrap();
    let mut client = edge.http1().await;
    assert_eq!(read(client.send_request(get("/")).await.unwrap()).await.0, 200, "it has ended");
    assert!(edge.admin.put("/bans", &serde_json::json!([{ "net": "nonsense" }])).await.is_err());

    // Behind a trusted proxy the real client is banned, never the proxy.
    site.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    edge.reload(2, site).await.unwrap();
    edge.admin
        .put("/bans", &serde_json::json!([{ "net": "192.0.2.7/32" }, { "net": "127.0.0.1/32" }]))
        .await
        .unwrap();
    for (client_ip, status) in [("192.0.2.7", 403), ("192.0.2.8", 200)] {
        let mut client = edge.http1().await;
        let mut asked = get("/");
        asked.headers_mut().insert("x-forwarded-for", HeaderValue::from_static(client_ip));
        assert_eq!(read(client.send_request(asked).await.unwrap()).await.0, status, "{client_ip}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn connections_are_limited_together_and_from_one_address() {
    for (most, per_ip, reason) in [(2, 100, "connections"), (100, 2, "connections_per_ip")] {
        let origin = Origin::named("ok").await;
        let mut site = settings(&[origin.address]);
        site.limits.connections = most;
        site.limits.connections_per_ip = per_ip;
        let edge = Edge::start(site).await;
        let (mut one, two) = (edge.http1().await, edge.http1().await);
        let asked = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
        assert_eq!(edge.raw(asked).await, "", "{reason}");
        assert_eq!(edge.metric(&format!("bastide_edge_refused_total{{reason=\"{reason}\"}}")).await, 1.0);
        assert_eq!(read(one.send_request(get("/")).await.unwrap()).await.0, 200);
        drop(two);
        wait_for("a place is free", async || edge.admin.get("/status").await.unwrap()["connections"] == 1)
            .await;
        assert!(edge.raw(asked).await.starts_with("HTTP/1.1 200 "), "{reason}");
        edge.stop().await;
    }
}

#[tokio::test]
async fn slow_clients_run_out_of_time() {
    let origin = Origin::echo().await;
    let mut site = settings(&[origin.address]);
    site.timeouts.head = Millis(150);
    site.timeouts.keep_alive = Millis(150);
    site.timeouts.body = Millis(150);
    site.timeouts.handshake = Millis(150);
    let edge = Edge::start(site).await;
    // Half a head.
    let answer = edge.raw("GET / HTTP/1.1\r\nHost: shop").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Nothing at all.
    assert_eq!(edge.raw("").await, "");
    // Half a body.
    let answer = edge.raw("POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nab").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Nothing after the first answer.
    let answer = edge.raw("GET /x HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // No handshake.
    let mut stream = TcpStream::connect(edge.https).await.unwrap();
    stream.write_all(b"\x16").await.unwrap();
    read_to_end(&mut stream).await;
    for reason in ["head_timeout", "body_timeout", "handshake_timeout"] {
        let metric = format!("bastide_edge_refused_total{{reason=\"{reason}\"}}");
        wait_for(reason, async || edge.metric(&metric).await == 1.0).await;
    }
    // An HTTP/2 connection without streams is sent away.
    let mut client = edge.http2().await;
    assert_eq!(read(client.send_request(request2("GET", "/", "")).await.unwrap()).await.0, 200);
    wait_for("the idle connection ends", async || client.is_closed()).await;
    edge.stop().await;
}
