//! Pools: spread, checked, and no request lost that can be sent again.

use crate::harness::*;
use base::Millis;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[tokio::test]
async fn killing_a_web_server_under_load_costs_no_request() {
    let slow = |name: &'static str| {
        Origin::start(move |_| async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            text(name)
        })
    };
    let (one, two) = (slow("one").await, slow("two").await);
    let edge = Arc::new(Edge::start(settings(&[one.address, two.address])).await);
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for _ in 0..8 {
        let (edge, stop, done) = (edge.clone(), stop.clone(), done.clone());
        clients.push(tokio::spawn(async move {
            let mut client = edge.http1().await;
            while !stop.load(Ordering::SeqCst) {
                client.ready().await.unwrap();
                let (status, _, body) = read(client.send_request(get("/")).await.unwrap()).await;
                assert_eq!(status, 200, "{body}");
                done.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    let reached =
        async |count: u64| wait_for("requests flow", async || done.load(Ordering::SeqCst) >= count).await;
    reached(100).await;
    let address = one.kill().await;
    reached(400).await;
    let again = Origin::start_at(address, |_| async { text("one") }).await;
    wait_for("the server is back", async || edge.admin.get("/status").await.unwrap()["pools"][0]["up"] == 2)
        .await;
    reached(done.load(Ordering::SeqCst) + 200).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let total = done.load(Ordering::SeqCst) as f64;
    wait_for("all are counted", async || {
        edge.metric("bastide_edge_requests_total{pool=\"app\",code=\"200\"}").await == total
    })
    .await;
    assert_eq!(edge.sum("bastide_edge_requests_total").await, total);
    assert!(edge.metric("bastide_edge_retries_total{pool=\"app\"}").await >= 1.0);
    drop(again);
    Arc::into_inner(edge).unwrap().stop().await;
}

#[tokio::test]
async fn a_request_waits_for_a_pool_that_is_started_again() {
    let origin = Origin::named("first").await;
    let edge = Arc::new(Edge::start(settings(&[origin.address])).await);
    let address = origin.kill().await;
    let asked = {
        let edge = edge.clone();
        tokio::spawn(async move {
            let mut client = edge.http1().await;
            read(client.send_request(request("POST", "/", "kept")).await.unwrap()).await
        })
    };
    wait_for("the request waits", async || {
        edge.admin.get("/status").await.unwrap()["pools"][0]["waiting"] == 1
    })
    .await;
    let _again = Origin::start_at(address, echo).await;
    let (status, _, body) = asked.await.unwrap();
    assert_eq!(status, 200);
    assert!(body.ends_with("\nkept"), "{body}");
    Arc::into_inner(edge).unwrap().stop().await;
}

#[tokio::test]
async fn no_server_at_all_is_503_after_a_while() {
    let edge = Edge::start(settings(&[])).await;
    let mut client = edge.http1().await;
    let (status, headers, body) = read(client.send_request(get("/")).await.unwrap()).await;
    assert_eq!(status, 503);
    assert!(headers.contains_key("retry-after") && body.contains("503"), "{body}");
    edge.stop().await;
}

/// A server that reads the request and closes: GET goes elsewhere, POST must not.
#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let breaking = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            read_until(&mut stream, |text| text.contains("\r\n\r\n")).await;
        }
    });
    let good = Origin::named("good").await;
    let edge = Edge::start(settings(&[breaking, good.address])).await;
    let mut client = edge.http1().await;
    for _ in 0..2 {
        client.ready().await.unwrap();
        let (status, _, body) = read(client.send_request(get("/")).await.unwrap()).await;
        assert_eq!((status, body.as_str()), (200, "good"));
    }
    let mut statuses = Vec::new();
    for _ in 0..2 {
        client.ready().await.unwrap();
        statuses.push(read(client.send_request(request("POST", "/", "x")).await.unwrap()).await.0);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
    edge.stop().await;
}

#[tokio::test]
async fn checks_take_a_server_out_and_back() {
    let well = Arc::new(AtomicBool::new(true));
    let state = well.clone();
    let one = Origin::start(move |request| {
        let ok = state.load(Ordering::SeqCst) || request.uri().path() != "/healthz";
        async move {
            let mut response = text("one");
            if !ok {
                *response.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
            }
            response
        }
    })
    .await;
    let two = Origin::named("two").await;
    let mut site = settings(&[one.address, two.address]);
    site.pools[0].health = Some(health());
    let edge = Edge::start(site).await;
    let up = async |count: u64| {
        let metric = "bastide_edge_server_up{pool=\"app\",server=\"app/1\"}";
        wait_for("health changes", async || {
            let status = edge.admin.get("/status").await.unwrap();
            status["pools"][0]["up"] == count && edge.metric(metric).await == (count - 1) as f64
        })
        .await;
    };
    up(2).await;
    well.store(false, Ordering::SeqCst);
    up(1).await;
    let mut client = edge.http1().await;
    for _ in 0..6 {
        client.ready().await.unwrap();
        let (status, _, body) = read(client.send_request(get("/")).await.unwrap()).await;
        assert_eq!((status, body.as_str()), (200, "two"));
    }
    let status = edge.admin.get("/status").await.unwrap();
    assert!(status["pools"][0]["servers"][0]["why"].as_str().unwrap().contains("503"), "{status}");
    well.store(true, Ordering::SeqCst);
    up(2).await;
    let events = edge.folder.path().join("log/events.jsonl");
    wait_for("events are written", async || {
        let text = std::fs::read_to_string(&events).unwrap_or_default();
        text.contains("\"event\":\"server_health\"") && text.contains("\"up\":false")
    })
    .await;
    edge.stop().await;
}

#[tokio::test]
async fn a_drained_server_gets_nothing_until_it_is_taken_back() {
    let (one, two) = (Origin::named("one").await, Origin::named("two").await);
    let edge = Edge::start(settings(&[one.address, two.address])).await;
    let mut client = edge.http1().await;
    let nothing = serde_json::json!({});
    edge.admin.post("/drain-server?pool=app&server=app/1", &nothing).await.unwrap();
    let mut ask = async || {
        client.ready().await.unwrap();
        read(client.send_request(get("/")).await.unwrap()).await.2
    };
    for _ in 0..4 {
        assert_eq!(ask().await, "two");
    }
    edge.admin.post("/undrain-server?pool=app&server=app%2F1", &nothing).await.unwrap();
    let mut seen = vec![ask().await, ask().await];
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
    let missing = edge.admin.post("/drain-server?pool=app&server=app/9", &nothing).await.unwrap_err();
    assert!(missing.to_string().contains("app/9"), "{missing}");
    edge.stop().await;
}

#[tokio::test]
async fn a_server_that_is_too_slow_is_504() {
    let origin = Origin::start(|_| async {
        std::future::pending::<()>().await;
        text("never")
    })
    .await;
    let mut site = settings(&[origin.address]);
    site.timeouts.response = Millis(100);
    let edge = Edge::start(site).await;
    let mut client = edge.http1().await;
    let (status, _, _) = read(client.send_request(get("/")).await.unwrap()).await;
    assert_eq!(status, 504);
    let metric = "bastide_edge_server_requests_total{pool=\"app\",server=\"app/1\",code=\"error\"}";
    assert_eq!(edge.metric(metric).await, 1.0);
    edge.stop().await;
}
