//! Bodies that take their time, both ways, and switched protocols.

use crate::harness::*;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};

type Pieces = mpsc::UnboundedReceiver<Result<Frame<Bytes>, std::io::Error>>;

fn streaming(mut pieces: Pieces) -> Response<Body> {
    let stream = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx));
    Response::new(StreamBody::new(stream).boxed_unsync())
}

#[tokio::test]
async fn events_arrive_while_the_response_goes_on() {
    let (send, pieces) = mpsc::unbounded_channel();
    let pieces = Arc::new(Mutex::new(Some(pieces)));
    let origin = Origin::start(move |_| {
        let pieces = pieces.clone();
        async move {
            let mut response = streaming(pieces.lock().await.take().unwrap());
            response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
            response
        }
    })
    .await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let mut stream = edge.tls().await;
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
    for n in 0..3 {
        let event = format!("data: {n}\n\n");
        send.send(Ok(Frame::data(Bytes::from(event.clone())))).unwrap();
        read_until(&mut stream, |text| text.contains(&event)).await;
    }
    drop(send);
    read_until(&mut stream, |text| text.ends_with("0\r\n\r\n")).await;
    edge.stop().await;
}

#[tokio::test]
async fn an_upload_arrives_piece_by_piece_with_its_trailers() {
    let (seen, mut pieces) = mpsc::unbounded_channel::<String>();
    let origin = Origin::start(move |mut request| {
        let seen = seen.clone();
        async move {
            while let Some(Ok(frame)) = request.body_mut().frame().await {
                let piece = match frame.into_data() {
                    Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                    Err(frame) => format!("{:?}", frame.into_trailers().unwrap().get("x-sum").unwrap()),
                };
                seen.send(piece).unwrap();
            }
            text("done")
        }
    })
    .await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let mut stream = edge.tls().await;
    let head = "POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in ["one", "two", "three"] {
        stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.unwrap();
        assert_eq!(pieces.recv().await.unwrap(), piece);
    }
    stream.write_all(b"0\r\nX-Sum: 11\r\n\r\n").await.unwrap();
    assert_eq!(pieces.recv().await.unwrap(), "\"11\"");
    read_until(&mut stream, |text| text.ends_with("done")).await;
    edge.stop().await;
}

#[tokio::test]
async fn a_response_s_trailers_pass() {
    let origin = Origin::start(|_| async {
        let (send, pieces) = mpsc::unbounded_channel();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("9"));
        send.send(Ok(Frame::data(Bytes::from_static(b"body")))).unwrap();
        send.send(Ok(Frame::trailers(trailers))).unwrap();
        let mut response = streaming(pieces);
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        response
    })
    .await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let mut request = request2("GET", "/", "");
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let response = edge.http2().await.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["x-sum"], "9");
    assert_eq!(body.to_bytes(), "body");
    edge.stop().await;
}

#[tokio::test]
async fn expect_100_continue_gets_it() {
    let origin = Origin::echo().await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let mut stream = edge.tls().await;
    let head = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, |text| text == "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"hello").await.unwrap();
    let answer = read_until(&mut stream, |text| text.ends_with("hello")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(!answer.contains("expect:"), "{answer}");
    edge.stop().await;
}

/// A web server that switches to an echo.
async fn echo_server() -> Origin {
    Origin::start(|mut request| async move {
        if !request.headers().contains_key(UPGRADE) {
            return text("no switch");
        }
        let switch = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(switch.await.unwrap());
            let mut piece = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut piece).await {
                stream.write_all(&piece[..count]).await.unwrap();
            }
        });
        let mut response = text("");
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        response.headers_mut().insert("sec-websocket-accept", HeaderValue::from_static("x"));
        response
    })
    .await
}

const SWITCH: &str = "GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

#[tokio::test]
async fn a_websocket_passes_both_ways() {
    let origin = echo_server().await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let mut stream = edge.tls().await;
    stream.write_all(SWITCH.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, |text| text.ends_with("\r\n\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: x"] {
        assert!(head.to_lowercase().contains(line), "{line}: {head}");
    }
    for message in ["hello", "GET / HTTP/1.1\r\n\r\n", "\u{0}\u{1}\u{7f}"] {
        stream.write_all(message.as_bytes()).await.unwrap();
        read_until(&mut stream, |text| text == message).await;
    }
    drop(stream);
    wait_for("it is counted at its end", async || {
        edge.metric("bastide_edge_requests_total{pool=\"app\",code=\"101\"}").await == 1.0
    })
    .await;
    let status = edge.admin.get("/status").await.unwrap();
    assert_eq!(status["pools"][0]["servers"][0]["in_flight"], 0);
    edge.stop().await;
}

#[tokio::test]
async fn a_switch_that_is_declined_leaves_http_as_it_was() {
    let origin = Origin::named("no").await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let last = "GET /2 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
    let answer = edge.raw(format!("{SWITCH}{last}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    // h2c would carry requests past every check: it is no switch.
    let h2c = "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let origin = echo_server().await;
    let edge2 = Edge::start(settings(&[origin.address])).await;
    let answer = edge2.raw(format!("{h2c}{last}")).await;
    assert_eq!(answer.matches("no switch").count(), 2, "{answer}");
    edge.stop().await;
    edge2.stop().await;
}

#[tokio::test]
async fn a_server_that_breaks_off_breaks_the_response_off() {
    let (give, senders) = mpsc::unbounded_channel();
    let senders = Mutex::new(senders);
    let origin = Origin::start(move |_| {
        let (send, pieces) = mpsc::unbounded_channel();
        send.send(Ok(Frame::data(Bytes::from_static(b"half")))).unwrap();
        give.send(send).unwrap();
        async move { streaming(pieces) }
    })
    .await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let break_off = async || {
        let send = senders.lock().await.recv().await.unwrap();
        send.send(Err(std::io::Error::other("gone"))).unwrap();
    };
    let mut stream = edge.tls().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
    read_until(&mut stream, |text| text.contains("half")).await;
    break_off().await;
    let rest = read_to_end(&mut stream).await;
    assert!(!rest.contains("0\r\n\r\n"), "a broken response must not look whole: {rest}");

    let response = edge.http2().await.send_request(request2("GET", "/", "")).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    break_off().await;
    assert!(body.frame().await.unwrap().is_err());
    edge.stop().await;
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    let origin = Origin::echo().await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let large: String = (0..400_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let mut client = edge.http1().await;
    let (status, _, body) = read(client.send_request(request("POST", "/", &large)).await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(body.ends_with(&large));
    let client = edge.http2().await;
    let (status, _, body) =
        read(client.clone().send_request(request2("POST", "/", &large)).await.unwrap()).await;
    assert_eq!(status, 200);
    assert!(body.ends_with(&large));
    edge.stop().await;
}
