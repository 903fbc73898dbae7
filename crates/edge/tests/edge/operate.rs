//! Reload, drain, logs and errors: the operator's side.

use crate::harness::*;
use base::{Address, Bytes as Size, Millis};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

#[tokio::test]
async fn a_reload_under_load_loses_nothing_and_a_bad_one_changes_nothing() {
    let (old, new) = (Origin::named("old").await, Origin::named("new").await);
    let edge = Arc::new(Edge::start(settings(&[old.address])).await);
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (edge, stop, done) = (edge.clone(), stop.clone(), done.clone());
        clients.push(tokio::spawn(async move {
            let mut client = edge.http1().await;
            loop {
                // The last request begins after the last reload.
                let last = stop.load(Ordering::SeqCst);
                client.ready().await.unwrap();
                let (status, _, body) = read(client.send_request(get("/")).await.unwrap()).await;
                assert_eq!(status, 200);
                done.fetch_add(1, Ordering::SeqCst);
                if last {
                    return body;
                }
            }
        }));
    }
    let mut site = edge.settings.clone();
    for id in 2..12 {
        let address = if id % 2 == 0 { new.address } else { old.address };
        site.pools[0].servers[0].address = Address::Ip(address);
        edge.reload(id, site.clone()).await.unwrap();
        let seen = done.load(Ordering::SeqCst);
        wait_for("requests flow", async || done.load(Ordering::SeqCst) > seen + 20).await;
    }
    let mut bad = site.clone();
    bad.routes.routes.push(to_pool("/x/*", "nowhere"));
    bad.certificates[0].key_pem = base::Secret::new("junk");
    let error = edge.reload(12, bad).await.unwrap_err();
    assert!(error.contains("nowhere") && error.contains("no private key"), "{error}");
    let mut moved = site.clone();
    moved.workers = 7;
    assert!(edge.reload(13, moved).await.unwrap_err().contains("number of workers"));
    site.pools[0].servers[0].address = Address::Ip(new.address);
    edge.reload(14, site).await.unwrap();
    let seen = done.load(Ordering::SeqCst);
    wait_for("requests flow", async || done.load(Ordering::SeqCst) > seen + 20).await;
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        assert_eq!(client.await.unwrap(), "new");
    }
    let total = done.load(Ordering::SeqCst) as f64;
    wait_for("all are counted", async || edge.sum("bastide_edge_requests_total").await == total).await;
    assert_eq!(edge.admin.get("/status").await.unwrap()["revision"], 14);
    Arc::into_inner(edge).unwrap().stop().await;
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reached, proceed) = (asked.clone(), go_on.clone());
    let origin = Origin::start(move |request| {
        let (reached, proceed) = (reached.clone(), proceed.clone());
        async move {
            if request.uri().path() == "/slow" {
                reached.notify_one();
                proceed.notified().await;
            }
            text("finished")
        }
    })
    .await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let (mut one, two) = (edge.http1().await, edge.http2().await);
    let mut kept = edge.http1().await;
    assert_eq!(read(kept.send_request(get("/")).await.unwrap()).await.0, 200);
    let slow = tokio::spawn(async move { read(one.send_request(get("/slow")).await.unwrap()).await });
    asked.notified().await;
    let slow2 = {
        let mut two = two.clone();
        tokio::spawn(async move { read(two.send_request(request2("GET", "/slow", "")).await.unwrap()).await })
    };
    asked.notified().await;
    edge.shutdown.drain();
    let address = edge.https;
    wait_for("nobody listens", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    wait_for("the idle connection is closed", async || kept.is_closed()).await;
    assert!(!edge.task.is_finished());
    go_on.notify_one();
    go_on.notify_one();
    let release = tokio::spawn(async move {
        loop {
            go_on.notify_waiters();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let (status, headers, body) = slow.await.unwrap();
    assert_eq!((status, body.as_str()), (200, "finished"));
    assert_eq!(headers["connection"], "close");
    let (status, _, body) = slow2.await.unwrap();
    assert_eq!((status, body.as_str()), (200, "finished"));
    release.abort();
    edge.stop().await;
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let origin = Origin::start(|_| async {
        std::future::pending::<()>().await;
        text("never")
    })
    .await;
    let mut site = settings(&[origin.address]);
    site.timeouts.drain = Millis(100);
    let edge = Edge::start(site).await;
    let mut stream = edge.tls().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
    wait_for("it is under way", async || edge.metric("bastide_edge_requests_in_flight").await == 1.0).await;
    edge.stop().await;
}

#[tokio::test]
async fn every_request_is_a_line_of_the_access_log() {
    let origin = Origin::named("ok").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log/access.jsonl");
    let mut site = settings(&[origin.address]);
    site.access_log = Some(site::AccessLog { path: path.clone(), rotate_at: Size(1 << 20), keep: 2 });
    let edge = Edge::start_in(folder, site).await;
    let mut client = edge.http1().await;
    let mut asked = get("/a%20b?secret=1");
    asked.headers_mut().insert("user-agent", "evil\"\\agent".parse().unwrap());
    asked.headers_mut().insert("referer", "https://a/b?token=1".parse().unwrap());
    read(client.send_request(asked).await.unwrap()).await;
    edge.raw("BROKEN\r\n\r\n").await;
    wait_for("both lines are there", async || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == 2)
    })
    .await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("secret") && !text.contains("token"), "{text}");
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let first = &lines[0];
    for (key, expected) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("host", "shop.example"),
        ("path", "/a%20b"),
        ("pool", "app"),
        ("server", "app/1"),
        ("protocol", "HTTP/1.1"),
        ("user_agent", "evil\"\\x5cagent"),
        ("referer", "https://a/b"),
    ] {
        assert_eq!(first[key], expected, "{key} in {first}");
    }
    assert_eq!((first["status"].as_u64(), first["bytes"].as_u64()), (Some(200), Some(2)));
    assert_eq!(first["request_id"].as_str().unwrap().len(), 20);
    assert!(first["duration_ms"].as_f64().unwrap() > 0.0 && first["at_ms"].as_u64().unwrap() > 0);
    assert_eq!((lines[1]["status"].as_u64(), lines[1]["method"].as_str()), (Some(400), Some("-")));
    edge.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_a_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut site = settings(&[]);
    site.https = vec![taken.local_addr().unwrap()];
    let folder = tempfile::tempdir().unwrap();
    let registry = Arc::new(role::Registry::default());
    let start = role::Start {
        role: "edge",
        revision: revision(1, site),
        listeners: role::Listeners::default(),
        run_dir: folder.path().to_owned(),
        state_dir: folder.path().to_owned(),
        events: role::Events::open("edge", folder.path(), &registry),
        registry,
        shutdown: role::Shutdown::manual(),
    };
    let fault = edge::run(start).await.unwrap_err().to_string();
    assert!(fault.contains(&taken.local_addr().unwrap().to_string()), "{fault}");
    assert!(fault.contains("hint: another program has port"), "{fault}");
}

#[tokio::test]
async fn inherited_sockets_are_used_and_the_certificate_s_end_is_told() {
    let origin = Origin::named("ok").await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let status = edge.admin.get("/status").await.unwrap();
    let ends = status["certificates"][0]["not_after_s"].as_f64().unwrap();
    let metric = "bastide_edge_certificate_expiry_timestamp_seconds{name=\"shop.example\"}";
    assert_eq!(edge.metric(metric).await, ends);
    assert_eq!(status["listeners"].as_array().unwrap().len(), 2);
    edge.stop().await;

    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let registry = Arc::new(role::Registry::default());
    let shutdown = role::Shutdown::manual();
    let mut site = settings(&[origin.address]);
    site.http = vec!["192.0.2.1:1".parse().unwrap()];
    let start = role::Start {
        role: "edge",
        revision: revision(1, site),
        listeners: role::Listeners::from_pairs([("http".to_owned(), socket.into())]),
        run_dir: folder.path().to_owned(),
        state_dir: folder.path().to_owned(),
        events: role::Events::open("edge", folder.path(), &registry),
        registry,
        shutdown: shutdown.clone(),
    };
    let task = tokio::spawn(edge::run(start));
    wait_for("it serves", async || {
        let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return false };
        let asked = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";
        stream.write_all(asked).await.unwrap();
        read_to_end(&mut stream).await.starts_with("HTTP/1.1 200 OK")
    })
    .await;
    shutdown.drain();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_reload_helps_even_the_requests_that_wait() {
    let edge = Arc::new(Edge::start(settings(&[])).await);
    let asked = {
        let edge = edge.clone();
        tokio::spawn(async move {
            let mut client = edge.http1().await;
            read(client.send_request(get("/")).await.unwrap()).await
        })
    };
    wait_for("the request waits", async || {
        edge.admin.get("/status").await.unwrap()["pools"][0]["waiting"] == 1
    })
    .await;
    let origin = Origin::named("new").await;
    let mut site = edge.settings.clone();
    site.pools = vec![pool("app", &[origin.address])];
    edge.reload(2, site).await.unwrap();
    let (status, _, body) = asked.await.unwrap();
    assert_eq!((status, body.as_str()), (200, "new"));
    Arc::into_inner(edge).unwrap().stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_counted_and_frees_the_server() {
    let origin = Origin::start(|_| async {
        std::future::pending::<()>().await;
        text("never")
    })
    .await;
    let edge = Edge::start(settings(&[origin.address])).await;
    let mut stream = edge.tls().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
    let in_flight = async |count: u64| {
        wait_for("the request is at the server", async || {
            edge.admin.get("/status").await.unwrap()["pools"][0]["servers"][0]["in_flight"] == count
        })
        .await;
    };
    in_flight(1).await;
    drop(stream);
    in_flight(0).await;
    wait_for("it is counted", async || {
        edge.metric("bastide_edge_requests_total{pool=\"app\",code=\"499\"}").await == 1.0
    })
    .await;
    assert_eq!(edge.metric("bastide_edge_requests_in_flight").await, 0.0);
    edge.stop().await;
}
