//! The WAF on what clients send over WebSockets.

use crate::harness::*;
use crate::waf::with_rules;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use waf_engine::settings::Mode;

const RULES: &str = "SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,log,msg:'attack',severity:CRITICAL\"\n\
    SecRule REQUEST_URI \"@contains noted\" \"id:2,phase:1,pass,log,msg:'noted'\"\n";

const HEAD: &str = "Host: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// A server that unmasks each frame it gets and sends it back; it tells in a header
/// which extensions it was offered. `x` as the path: it answers with one that was not.
async fn echo_server() -> Origin {
    Origin::start(|mut request| async move {
        let switch = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(switch.await.unwrap());
            let mut head = [0; 6];
            while stream.read_exact(&mut head).await.is_ok() {
                let length = usize::from(head[1] & 0x7f);
                let mut payload = vec![0; length];
                stream.read_exact(&mut payload).await.unwrap();
                payload.iter_mut().zip(head[2..6].iter().cycle()).for_each(|(byte, key)| *byte ^= key);
                let mut frame = vec![head[0], length as u8];
                frame.extend_from_slice(&payload);
                if stream.write_all(&frame).await.is_err() {
                    break;
                }
            }
        });
        let mut response: Response<Body> = text("");
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let offered = request.headers().get(SEC_WEBSOCKET_EXTENSIONS);
        headers.insert("x-offered", offered.cloned().unwrap_or(HeaderValue::from_static("none")));
        if request.uri().path() == "/x" {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        }
        response
    })
    .await
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut out = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

async fn switched(edge: &Edge, path: &str) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let mut stream = edge.tls().await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{HEAD}").as_bytes()).await.unwrap();
    let head = read_until(&mut stream, |text| text.ends_with("\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("x-offered: none"), "{head}");
    assert!(!head.to_lowercase().contains("sec-websocket-extensions"), "{head}");
    stream
}

async fn bytes(stream: &mut (impl AsyncReadExt + Unpin), count: usize) -> Vec<u8> {
    let mut got = vec![0; count];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("bytes arrive").unwrap();
    got
}

#[tokio::test]
async fn text_messages_are_judged_before_they_go_on() {
    let origin = echo_server().await;
    let mut site = settings(&[origin.address]);
    let mut waf = with_rules(Mode::Block, RULES);
    waf.websocket = true;
    site.waf = Some(waf);
    let edge = Edge::start(site).await;

    let mut stream = switched(&edge, "/noted").await;
    let passes: [(u8, &[u8]); 3] = [(0x81, b"hello"), (0x82, b"an attack in bytes"), (0x89, b"attack ping")];
    for (first, payload) in passes {
        stream.write_all(&frame(first, payload)).await.unwrap();
        assert_eq!(bytes(&mut stream, 2 + payload.len()).await[2..], *payload);
    }
    // In two frames, with a ping between; the ping is answered, the message is not.
    stream.write_all(&frame(0x01, b"an att")).await.unwrap();
    stream.write_all(&frame(0x89, b"?")).await.unwrap();
    assert_eq!(bytes(&mut stream, 3).await, [0x89, 1, b'?']);
    stream.write_all(&frame(0x80, b"ack")).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the edge closes").ok();
    assert_eq!((rest[0], u16::from_be_bytes([rest[2], rest[3]])), (0x88, 1008), "{rest:?}");
    let reason = String::from_utf8(rest[4..].to_vec()).unwrap();
    let id = reason.strip_prefix("refused by a rule; event ").unwrap();
    let log = edge.folder.path().join("log/events.jsonl");
    let event = || -> Option<serde_json::Value> {
        let text = std::fs::read_to_string(&log).ok()?;
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).find(|e: &serde_json::Value| e["id"] == id)
    };
    wait_for("the event is written", async || event().is_some()).await;
    let event = event().unwrap();
    assert_eq!(event["part"], "websocket");
    let matches = event["matches"].as_array().unwrap();
    assert_eq!(matches.len(), 1, "what the handshake's event told is not told again: {event}");
    assert_eq!((&matches[0]["rule"], &matches[0]["variable"]), (&1.into(), &"ARGS:websocket".into()));
    let count = async |verdict: &str| {
        edge.metric(&format!("bastide_waf_websocket_messages_total{{verdict=\"{verdict}\"}}")).await
    };
    assert_eq!((count("pass").await, count("block").await), (1.0, 1.0));
    wait_for("its place is free again", async || {
        edge.admin.get("/status").await.unwrap()["pools"][0]["servers"][0]["in_flight"] == 0
    })
    .await;

    // A frame that no client sends: not masked.
    let mut stream = switched(&edge, "/").await;
    stream.write_all(&[0x81, 2, b'h', b'i']).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the edge closes").ok();
    assert_eq!(u16::from_be_bytes([rest[2], rest[3]]), 1002, "{rest:?}");

    // A server that takes an extension that it was not offered.
    let mut stream = edge.tls().await;
    stream.write_all(format!("GET /x HTTP/1.1\r\n{HEAD}").as_bytes()).await.unwrap();
    let head = read_until(&mut stream, |text| text.contains("\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    edge.stop().await;
}

/// The client's own end, and one without the WAF on messages: nothing is in the way.
#[tokio::test]
async fn without_judging_nothing_is_changed() {
    let origin = echo_server().await;
    let mut site = settings(&[origin.address]);
    site.waf = Some(with_rules(Mode::Block, RULES));
    let edge = Edge::start(site.clone()).await;
    let mut stream = edge.tls().await;
    stream.write_all(format!("GET / HTTP/1.1\r\n{HEAD}").as_bytes()).await.unwrap();
    let head = read_until(&mut stream, |text| text.ends_with("\r\n\r\n")).await;
    assert!(head.contains("x-offered: permessage-deflate"), "{head}");
    stream.write_all(&frame(0x81, b"attack")).await.unwrap();
    assert_eq!(bytes(&mut stream, 8).await[2..], *b"attack");
    drop(stream);

    let mut waf = with_rules(Mode::Detect, RULES);
    waf.websocket = true;
    site.waf = Some(waf);
    edge.reload(2, site).await.unwrap();
    let mut stream = switched(&edge, "/").await;
    stream.write_all(&frame(0x81, b"attack")).await.unwrap();
    assert_eq!(bytes(&mut stream, 8).await[2..], *b"attack");
    assert_eq!(edge.metric("bastide_waf_websocket_messages_total{verdict=\"detect\"}").await, 1.0);
    drop(stream);
    wait_for("it ends with its client", async || {
        edge.admin.get("/status").await.unwrap()["pools"][0]["servers"][0]["in_flight"] == 0
    })
    .await;
    edge.stop().await;
}
