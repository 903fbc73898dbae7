//! Plain proxying: what arrives at a web server, and what comes back.

use crate::harness::*;
use edge_route::settings::Action;
use hyper::header::HeaderValue;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_request_reaches_the_web_server_written_anew() {
    let origin = Origin::echo().await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let mut client = edge.http1().await;
    let mut asked = request("POST", "/a/b?q=1", "hello");
    let headers = asked.headers_mut();
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("x-request-id", "mine"),
        ("x-keep", "kept"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let (status, headers, body) = read(client.send_request(asked).await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(headers.contains_key("date"));
    assert!(body.starts_with("POST /a/b?q=1\n"), "{body}");
    assert!(body.ends_with("\nhello"), "{body}");
    for line in [
        "host: shop.example",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: shop.example",
        "forwarded: for=127.0.0.1;host=shop.example;proto=https",
        "via: 1.1 bastide",
        "x-keep: kept",
        "content-length: 5",
    ] {
        assert!(body.contains(&format!("\n{line}\n")), "{line} is missing in {body}");
    }
    for gone in ["6.6.6.6", "x-hop", "keep-alive", "proxy-authorization", "x-request-id: mine", "connection"]
    {
        assert!(!body.contains(gone), "{gone} is in {body}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn http2_streams_side_by_side() {
    let origin = Origin::echo().await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let client = edge.http2().await;
    let mut asked = Vec::new();
    for n in 0..50 {
        let mut client = client.clone();
        asked.push(tokio::spawn(async move {
            let mut request = request2("PUT", &format!("/{n}"), &format!("body {n}"));
            request.headers_mut().append("cookie", HeaderValue::from_static("a=1"));
            request.headers_mut().append("cookie", HeaderValue::from_static("b=2"));
            read(client.send_request(request).await.unwrap()).await
        }));
    }
    for (n, answer) in asked.into_iter().enumerate() {
        let (status, _, body) = answer.await.unwrap();
        assert_eq!(status, 200);
        assert!(body.starts_with(&format!("PUT /{n}\n")), "{body}");
        assert!(body.ends_with(&format!("\nbody {n}")), "{body}");
        assert!(body.contains("\ncookie: a=1; b=2\n"), "{body}");
        assert!(body.contains("\nvia: 2.0 bastide\n"), "{body}");
    }
    wait_for("all are counted", async || {
        edge.metric("bastide_edge_requests_total{pool=\"app\",code=\"200\"}").await == 50.0
    })
    .await;
    edge.stop().await;
}

#[tokio::test]
async fn counters_are_exact_and_sessions_resume() {
    let origin = Origin::named("ok").await;
    let edge = Arc::new(Edge::start(settings(&[origin.address])).await);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let edge = edge.clone();
        clients.push(tokio::spawn(async move {
            let mut client = edge.http1().await;
            for _ in 0..50 {
                client.ready().await.unwrap();
                let (status, _, body) = read(client.send_request(get("/")).await.unwrap()).await;
                assert_eq!((status, body.as_str()), (200, "ok"));
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    wait_for("200 are counted", async || {
        edge.metric("bastide_edge_requests_total{pool=\"app\",code=\"200\"}").await == 200.0
    })
    .await;
    assert_eq!(edge.sum("bastide_edge_requests_total").await, 200.0);
    assert_eq!(edge.metric("bastide_edge_request_duration_seconds_count{pool=\"app\"}").await, 200.0);
    let server = "bastide_edge_server_requests_total{pool=\"app\",server=\"app/1\",code=\"200\"}";
    assert_eq!(edge.metric(server).await, 200.0);
    assert_eq!(edge.metric("bastide_edge_sent_bytes_total").await, 400.0);
    wait_for("none is in flight", async || edge.metric("bastide_edge_requests_in_flight").await == 0.0).await;
    let connects = "bastide_edge_server_connects_total{pool=\"app\",server=\"app/1\",result=\"ok\"}";
    let connects = edge.metric(connects).await;
    assert!(connects <= 4.0, "connections to servers are kept, but there were {connects}");

    // A client of TLS 1.3 is done before the server is; an answer proves that both are.
    let mut last = edge.http1().await;
    read(last.send_request(get("/")).await.unwrap()).await;
    let full = edge.metric("bastide_edge_tls_handshakes_total{result=\"full\"}").await;
    let resumed = edge.metric("bastide_edge_tls_handshakes_total{result=\"resumed\"}").await;
    assert_eq!(full + resumed, 5.0);
    assert!(resumed >= 1.0, "no session was resumed");
    Arc::into_inner(edge).unwrap().stop().await;
}

#[tokio::test]
async fn plain_http_is_redirected_for_the_sites_own_hosts() {
    let origin = Origin::named("ok").await;
    let mut site = settings(&[origin.address]);
    site.serve_plain_http = false;
    let edge = Edge::start(site).await;
    let port = edge.https.port();
    let cases = [
        ("shop.example", "/a?b=c", 308, format!("https://shop.example:{port}/a?b=c")),
        ("shop.example:8080", "/", 308, format!("https://shop.example:{port}/")),
        ("localhost", "/", 308, format!("https://localhost:{port}/")),
        ("evil.example", "/", 421, String::new()),
    ];
    for (host, target, status, location) in cases {
        let answer =
            edge.raw(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        if !location.is_empty() {
            assert!(answer.contains(&format!("location: {location}\r\n")), "{host}: {answer}");
        }
    }
    edge.stop().await;
}

#[tokio::test]
async fn routes_by_host_path_and_method_with_prefixes_and_redirects() {
    let (app, api) = (Origin::echo().await, Origin::echo().await);
    let mut site = settings(&[app.address]);
    site.pools.push(pool("api", &[api.address]));
    let mut only_get = to_pool("/read", "app");
    only_get.methods = vec!["GET".into()];
    site.routes.routes = vec![
        route("/api/*", Action::Pool { pool: "api".into(), strip_prefix: true }),
        route("/old/*", Action::Redirect { to: "https://shop.example/new{path}{query}".into(), status: 301 }),
        only_get,
        to_pool("/app/*", "app"),
    ];
    let edge = Edge::start(site).await;
    let mut client = edge.http1().await;
    let cases = [
        ("GET", "/api/x/y?z", 200, "GET /x/y?z\n"),
        ("GET", "/%61pi/x", 200, "GET /x\n"),
        ("GET", "/app/../api/x", 200, "GET /x\n"),
        ("GET", "/app/%78", 200, "GET /app/%78\n"),
        ("GET", "/old/a?b", 301, "301"),
        ("POST", "/read", 405, "405"),
        ("GET", "/nothing", 404, "404"),
    ];
    for (method, path, expected, begins) in cases {
        client.ready().await.unwrap();
        let (status, headers, body) =
            read(client.send_request(request(method, path, "")).await.unwrap()).await;
        assert_eq!(status, expected, "{method} {path}: {body}");
        if status == 200 {
            assert!(body.starts_with(begins), "{method} {path}: {body}");
        } else {
            assert!(body.contains(begins), "{method} {path}: {body}");
        }
        match status {
            301 => assert_eq!(headers["location"], "https://shop.example/new/old/a?b"),
            405 => assert_eq!(headers["allow"], "GET"),
            _ => {}
        }
    }
    edge.stop().await;
}

#[tokio::test]
async fn the_web_servers_hop_by_hop_headers_end_here() {
    let origin = Origin::start(|_| async {
        let mut response = text("x");
        let headers = response.headers_mut();
        headers.insert("connection", HeaderValue::from_static("x-private"));
        headers.insert("x-private", HeaderValue::from_static("1"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=1"));
        headers.insert("proxy-authenticate", HeaderValue::from_static("Basic"));
        headers.insert("x-public", HeaderValue::from_static("1"));
        response
    })
    .await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let mut client = edge.http1().await;
    let (_, headers, _) = read(client.send_request(get("/")).await.unwrap()).await;
    for gone in ["x-private", "keep-alive", "proxy-authenticate"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    assert!(headers.contains_key("x-public"));
    edge.stop().await;
}

#[tokio::test]
async fn pages_are_json_for_programs_and_html_for_people() {
    let edge = Edge::start(settings(&[])).await;
    let mut client = edge.http1().await;
    let mut asked = request("TRACE", "/", "");
    asked.headers_mut().insert("accept", HeaderValue::from_static("application/json"));
    let (status, headers, body) = read(client.send_request(asked).await.unwrap()).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (405, "application/json"));
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["status"], 405);
    let mut client = edge.http1().await;
    let (_, headers, body) = read(client.send_request(request("TRACE", "/", "")).await.unwrap()).await;
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert!(body.contains("color-scheme"), "{body}");
    edge.stop().await;
}

#[tokio::test]
async fn old_clients_and_pipelines_are_served_in_order() {
    let origin = Origin::start(|r| async move { text(r.uri().path().to_owned()) }).await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let answer = edge.raw("GET /old HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\n/old"), "{answer}");
    let mut stream = tokio::net::TcpStream::connect(edge.http).await.unwrap();
    let one = |n: u32| format!("GET /{n} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let last = "GET /last HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{}{}{last}", one(1), one(2)).as_bytes()).await.unwrap();
    let answers = read_to_end(&mut stream).await;
    let places: Vec<_> = ["/1", "/2", "/last"].iter().map(|p| answers.find(p)).collect();
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{answers}");
    edge.stop().await;
}
