//! The WAF on the whole of a request's life: answers, verdicts, routes, reloads,
//! bans, what is written down.

use crate::harness::*;
use crate::waf::with_rules;
use base::{Bytes as Size, Millis};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Response};
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, mpsc};
use waf_engine::settings::{BeyondLimit, Mode};

const ANSWERS: &str = r#"
SecRule RESPONSE_HEADERS:X-Debug "@contains stack trace" "id:200001,phase:3,deny,status:502,msg:'debug header'"
SecRule RESPONSE_BODY "@contains error in your SQL syntax" "id:200002,phase:4,deny,status:500,msg:'SQL error'"
SecRule RESPONSE_STATUS "@eq 418" "id:200003,phase:3,pass,log,msg:'a teapot'"
"#;

/// A web server that answers what the request's `x-…` headers ask for.
async fn puppet() -> Origin {
    Origin::start(|request| async move {
        let get = |name: &str| request.headers().get(name).cloned();
        let body =
            get("x-body").map_or(String::new(), |v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let padding = get("x-padding").and_then(|v| v.to_str().ok()?.parse().ok()).unwrap_or(0);
        let mut response = text(format!("{}{body}", "-".repeat(padding)));
        let kind = get("x-type").unwrap_or(HeaderValue::from_static("text/html; charset=utf-8"));
        response.headers_mut().insert("content-type", kind);
        if let Some(debug) = get("x-debug") {
            response.headers_mut().insert("x-debug", debug);
        }
        if let Some(status) = get("x-status") {
            *response.status_mut() = status.to_str().unwrap().parse().unwrap();
        }
        response
    })
    .await
}

/// The events of a kind, once there are so many.
async fn events(edge: &Edge, kind: &str, count: usize) -> Vec<Value> {
    let path = edge.folder.path().join("log/events.jsonl");
    let read = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .filter(|e: &Value| e["event"] == kind)
            .collect()
    };
    wait_for("the events are written", async || read().len() >= count).await;
    read()
}

fn id_in(page: &str) -> &str {
    page.split("<code>").nth(1).unwrap_or_else(|| panic!("no id: {page}")).split('<').next().unwrap()
}

#[tokio::test]
async fn answers_that_show_too_much_are_withheld() {
    let origin = puppet().await;
    let mut site = settings(&[origin.address]);
    site.waf = Some(with_rules(Mode::Block, ANSWERS));
    let edge = Edge::start(site.clone()).await;
    let leak = "You have an error in your SQL syntax near 5ECRET";
    // (header, value, status expected)
    let cases = [
        ("x-body", "all is well", 200),
        ("x-body", leak, 500),
        ("x-debug", "stack trace: 5ECRET", 502),
        ("x-status", "418", 418),
    ];
    let mut ids = Vec::new();
    for version in ["HTTP/1.1", "HTTP/2"] {
        for (name, value, expected) in cases {
            let response = if version == "HTTP/2" {
                let mut asked = request2("GET", "/", "");
                asked.headers_mut().insert(name, HeaderValue::from_static(value));
                edge.http2().await.send_request(asked).await.unwrap()
            } else {
                let mut asked = get("/");
                asked.headers_mut().insert(name, HeaderValue::from_static(value));
                edge.http1().await.send_request(asked).await.unwrap()
            };
            let (status, headers, page) = read(response).await;
            assert_eq!(status, expected, "{version} {name}: {page}");
            assert!(!page.contains("5ECRET") && !headers.contains_key("x-debug"), "{version} {name}: {page}");
            if status >= 500 {
                ids.push(id_in(&page).to_owned());
            }
        }
    }
    let told = events(&edge, "waf_match", 6).await;
    for id in ids {
        let event = told.iter().find(|event| event["id"] == id.as_str()).unwrap_or_else(|| panic!("no {id}"));
        assert_eq!((&event["part"], &event["action"]), (&"response".into(), &"deny".into()));
        assert_eq!(event["route"], "/*");
        assert!(event["status"] == 500 || event["status"] == 502, "{event}");
    }
    assert!(told.iter().any(|event| event["blocked"] == false && event["matches"][0]["rule"] == 200_003));
    let count = async |verdict: &str| {
        edge.metric(&format!("bastide_waf_responses_total{{verdict=\"{verdict}\"}}")).await
    };
    assert_eq!((count("block").await, count("pass").await), (4.0, 4.0));
    // The web server's connection is used again after an answer was withheld.
    let status = edge.admin.get("/status").await.unwrap();
    assert_eq!(status["pools"][0]["servers"][0]["in_flight"], 0);

    site.waf = Some(with_rules(Mode::Detect, ANSWERS));
    edge.reload(2, site).await.unwrap();
    let mut asked = get("/");
    asked.headers_mut().insert("x-body", HeaderValue::from_static(leak));
    let (status, _, page) = read(edge.http1().await.send_request(asked).await.unwrap()).await;
    assert_eq!((status, page.as_str()), (200, leak));
    edge.stop().await;
}

#[tokio::test]
async fn only_the_beginning_of_a_long_answer_is_held_and_all_of_it_arrives() {
    let origin = puppet().await;
    let mut site = settings(&[origin.address]);
    let mut waf = with_rules(Mode::Block, ANSWERS);
    waf.settings.limits.response_body = Size(10_000);
    site.waf = Some(waf);
    let edge = Edge::start(site).await;
    let leak = "error in your SQL syntax";
    // (bytes before it, type, method, status)
    let cases = [
        ("0", "text/html", "GET", 500),
        ("9000", "text/html", "GET", 500),
        ("2000000", "text/html", "GET", 200),
        ("0", "image/png", "GET", 200),
        ("0", "text/event-stream", "GET", 200),
        ("0", "text/html", "HEAD", 200),
    ];
    for (padding, kind, method, expected) in cases {
        let mut asked = request(method, "/", "");
        for (name, value) in [("x-body", leak), ("x-padding", padding), ("x-type", kind)] {
            asked.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let (status, _, body) = read(edge.http1().await.send_request(asked).await.unwrap()).await;
        assert_eq!(status, expected, "{padding} {kind} {method}");
        if expected == 200 && method == "GET" {
            assert_eq!(body.len(), padding.parse::<usize>().unwrap() + leak.len());
            assert!(body.ends_with(leak));
        }
    }
    edge.stop().await;
}

type Pieces = mpsc::UnboundedReceiver<Result<Frame<Bytes>, std::io::Error>>;

/// A web server whose one answer comes piece by piece.
async fn dripping(
    headers: HeaderMap,
) -> (Origin, mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>) {
    let (send, pieces) = mpsc::unbounded_channel();
    let pieces: Arc<Mutex<Option<Pieces>>> = Arc::new(Mutex::new(Some(pieces)));
    let origin = Origin::start(move |_| {
        let (pieces, headers) = (pieces.clone(), headers.clone());
        async move {
            let mut pieces = pieces.lock().await.take().unwrap();
            let stream = futures_util::stream::poll_fn(move |cx| pieces.poll_recv(cx));
            let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
            *response.headers_mut() = headers;
            response
        }
    })
    .await;
    (origin, send)
}

/// Streams are never held; what only comes slowly is, but not for long.
#[tokio::test]
async fn streams_arrive_while_they_go_on() {
    let cases: [(&[(&str, &str)], bool); 4] = [
        (&[("content-type", "text/event-stream")], true),
        (&[("content-type", "application/grpc+proto")], true),
        (&[("content-type", "text/html"), ("x-accel-buffering", "no")], true),
        (&[("content-type", "text/html")], false),
    ];
    for (lines, at_once) in cases {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let (origin, send) = dripping(headers).await;
        let mut site = settings(&[origin.address]);
        site.waf = Some(with_rules(Mode::Block, ANSWERS));
        let edge = Edge::start(site).await;
        let mut stream = edge.tls().await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.unwrap();
        let started = Instant::now();
        for n in 0..3 {
            let piece = format!("piece {n}\n");
            send.send(Ok(Frame::data(Bytes::from(piece.clone())))).unwrap();
            read_until(&mut stream, |text| text.contains(&piece)).await;
            if n == 0 {
                // Five seconds is how long a slow answer may be held back.
                let waited = started.elapsed().as_secs_f64();
                assert_eq!(waited < 4.5, at_once, "{lines:?}: {waited}");
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("9"));
        send.send(Ok(Frame::trailers(trailers))).unwrap();
        drop(send);
        read_until(&mut stream, |text| text.contains("0\r\n")).await;
        edge.stop().await;
    }
}

#[tokio::test]
async fn a_held_answer_keeps_its_trailers_and_a_broken_one_is_502() {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/html"));
    headers.insert("trailer", HeaderValue::from_static("x-sum"));
    for whole in [true, false] {
        let (origin, send) = dripping(headers.clone()).await;
        let mut site = settings(&[origin.address]);
        site.waf = Some(with_rules(Mode::Block, ANSWERS));
        let edge = Edge::start(site).await;
        send.send(Ok(Frame::data(Bytes::from_static(b"bo")))).unwrap();
        if whole {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("9"));
            send.send(Ok(Frame::data(Bytes::from_static(b"dy")))).unwrap();
            send.send(Ok(Frame::trailers(trailers))).unwrap();
        } else {
            send.send(Err(std::io::Error::other("gone"))).unwrap();
        }
        drop(send);
        let mut asked = request2("GET", "/", "");
        asked.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let response = edge.http2().await.send_request(asked).await.unwrap();
        if whole {
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-sum"], "9");
            assert_eq!(body.to_bytes(), "body");
        } else {
            assert_eq!(response.status(), 502, "nothing was sent yet, so it can be said");
        }
        edge.stop().await;
    }
}

#[tokio::test]
async fn redirects_and_drops() {
    let rules = r#"
SecRule ARGS:to "@streq away" "id:1,phase:1,redirect:'https://elsewhere.example/%{ARGS.to}',status:302,msg:'away'"
SecRule ARGS:to "@streq nowhere" "id:2,phase:1,drop,msg:'nowhere'"
"#;
    let origin = Origin::named("here").await;
    let mut site = settings(&[origin.address]);
    site.waf = Some(with_rules(Mode::Block, rules));
    let logs = tempfile::tempdir().unwrap();
    let access = logs.path().join("access.jsonl");
    site.access_log = Some(site::AccessLog { path: access.clone(), rotate_at: Size(1 << 20), keep: 2 });
    let edge = Edge::start(site).await;
    let (status, headers, _) = read(edge.http1().await.send_request(get("/?to=away")).await.unwrap()).await;
    assert_eq!((status, headers["location"].to_str().unwrap()), (302, "https://elsewhere.example/away"));
    let dropped = edge.raw("GET /?to=nowhere HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
    assert_eq!(dropped, "", "no answer at all");
    let mut client = edge.http2().await;
    let error = client.send_request(request2("GET", "/?to=nowhere", "")).await.unwrap_err();
    assert!(!error.is_closed() || !error.to_string().is_empty(), "{error}");
    // Other streams of the connection go on.
    let (status, _, _) = read(client.send_request(request2("GET", "/", "")).await.unwrap()).await;
    assert_eq!(status, 200);
    let told = events(&edge, "waf_match", 3).await;
    let actions: Vec<&str> = told.iter().filter_map(|event| event["action"].as_str()).collect();
    assert_eq!(actions, ["redirect", "drop", "drop"]);
    let id = told[1]["id"].as_str().unwrap().to_owned();
    wait_for("the access log leads to the event", async || {
        let text = std::fs::read_to_string(&access).unwrap_or_default();
        text.lines().any(|line| line.contains(&id) && line.contains("\"status\":444"))
    })
    .await;
    edge.stop().await;
}

#[tokio::test]
async fn routes_have_levels_of_their_own() {
    let rules = r#"
SecRule TX:blocking_paranoia_level "@ge 2" "id:1,phase:1,deny,status:402,msg:'level two'"
SecRule ARGS "@contains attack" "id:2,phase:2,deny,status:403,msg:'attack'"
"#;
    let origin = Origin::echo().await;
    let mut site = settings(&[origin.address]);
    let mut waf = with_rules(Mode::Block, rules);
    waf.settings.tx = vec![("blocking_paranoia_level".into(), "1".into())];
    let own = |route, mode, level: &str, remove: &[u64]| site::RouteWaf {
        routes: vec![route],
        mode,
        tx: vec![("blocking_paranoia_level".into(), level.into())],
        remove: remove.to_vec(),
    };
    waf.routes = vec![own(1, None, "2", &[]), own(2, Some(Mode::Detect), "2", &[]), own(3, None, "1", &[2])];
    site.waf = Some(waf);
    let mut off = to_pool("/off", "app");
    off.waf = false;
    let routes = [off, to_pool("/strict", "app"), to_pool("/watched", "app"), to_pool("/lenient", "app")];
    site.routes.routes.splice(0..0, routes);
    let edge = Edge::start(site).await;
    let cases = [
        ("/?q=attack", 403),
        ("/?q=shoes", 200),
        ("/off?q=attack", 200),
        ("/strict?q=shoes", 402),
        ("/watched?q=attack", 200),
        ("/lenient?q=attack", 200),
    ];
    let mut client = edge.http1().await;
    for (path, expected) in cases {
        let (status, _, page) = read(client.send_request(get(path)).await.unwrap()).await;
        assert_eq!(status, expected, "{path}: {page}");
    }
    let told = events(&edge, "waf_match", 3).await;
    let watched = told.iter().find(|event| event["route"] == "/watched").unwrap();
    assert_eq!((&watched["blocked"], watched["matches"].as_array().unwrap().len()), (&false.into(), 2));
    edge.stop().await;
}

/// What rules keep between requests outlasts a change of the rules, and no request
/// waits for them to be loaded or is lost.
#[tokio::test]
async fn a_reload_keeps_what_rules_counted_and_pauses_nothing() {
    let rules = |note: &str| {
        format!(
            "SecAction \"id:1,phase:1,pass,nolog,initcol:ip=%{{REMOTE_ADDR}},setvar:ip.asked=+1\"\n\
             SecRule ARGS:tell \"@rx .\" \"id:2,phase:1,pass,log,msg:'{note} %{{ip.asked}}'\"\n"
        )
    };
    let origin = Origin::named("here").await;
    let mut site = settings(&[origin.address]);
    site.waf = Some(with_rules(Mode::Block, &rules("before")));
    let edge = Arc::new(Edge::start(site.clone()).await);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asking = tokio::spawn({
        let (edge, stop) = (edge.clone(), stop.clone());
        async move {
            let (mut asked, mut client) = (0u64, edge.http1().await);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let (status, _, _) = read(client.send_request(get("/")).await.unwrap()).await;
                assert_eq!(status, 200);
                asked += 1;
            }
            asked
        }
    });
    for round in 2..12 {
        site.waf = Some(with_rules(Mode::Block, &rules(&format!("round {round}"))));
        edge.reload(round, site.clone()).await.unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let asked = asking.await.unwrap();
    read(edge.http1().await.send_request(get("/?tell=1")).await.unwrap()).await;
    let told = events(&edge, "waf_match", 1).await;
    assert_eq!(told[0]["matches"][0]["message"], format!("round 11 {}", asked + 1));
    Arc::into_inner(edge).unwrap().stop().await;
}

#[tokio::test]
async fn who_attacks_again_and_again_is_banned() {
    let rules = "SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,severity:CRITICAL,msg:'attack'\"\n";
    let origin = Origin::named("here").await;
    let mut site = settings(&[origin.address]);
    site.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let mut waf = with_rules(Mode::Block, rules);
    waf.ban = Some(site::WafBan {
        events: 3,
        score: 5,
        window: Millis(60_000),
        time: Millis(3_600_000),
        never: vec!["198.51.100.0/24".parse().unwrap()],
    });
    site.waf = Some(waf);
    let edge = Edge::start(site).await;
    let ask = async |client: &str, path: &str| {
        let mut asked = get(path);
        asked.headers_mut().insert("x-forwarded-for", client.parse().unwrap());
        read(edge.http1().await.send_request(asked).await.unwrap()).await.0
    };
    for n in 0..3 {
        assert_eq!(ask("203.0.113.9", "/").await, 200, "after {n}");
        assert_eq!(ask("203.0.113.9", "/?q=attack").await, 403);
        assert_eq!(ask("198.51.100.4", "/?q=attack").await, 403);
    }
    assert_eq!(ask("203.0.113.9", "/").await, 403, "banned, whatever it asks");
    assert_eq!(ask("203.0.113.8", "/").await, 200, "its proxy and its neighbour are not");
    assert_eq!(ask("198.51.100.4", "/").await, 200, "the allow-list beats a ban");
    assert_eq!(edge.metric("bastide_waf_bans_total").await, 1.0);
    let told = events(&edge, "ban", 1).await;
    assert_eq!((&told[0]["net"], &told[0]["what"]), (&"203.0.113.9/32".into(), &"ban".into()));
    assert!(told[0]["why"].as_str().unwrap().starts_with("3 WAF events of score 5 or more within 1m"));
    // Control asks, keeps it, and sends its list; a list of before changes nothing.
    edge.admin.put("/bans", &serde_json::json!([])).await.unwrap();
    assert_eq!(ask("203.0.113.9", "/").await, 403);
    let made = edge.admin.post("/bans/made", &serde_json::json!({})).await.unwrap();
    assert_eq!((&made[0]["net"], &made[0]["behind_proxy"]), (&"203.0.113.9/32".into(), &true.into()));
    edge.admin.put("/bans", &serde_json::json!([{ "net": "203.0.113.9/32" }])).await.unwrap();
    assert_eq!(ask("203.0.113.9", "/").await, 403);
    assert_eq!(edge.admin.post("/bans/made", &serde_json::json!({})).await.unwrap(), serde_json::json!([]));
    edge.admin.put("/bans", &serde_json::json!([])).await.unwrap();
    assert_eq!(ask("203.0.113.9", "/").await, 200, "lifted by hand, it counts anew");
    edge.stop().await;
}

#[tokio::test]
async fn requests_are_captured_with_their_secrets_masked() {
    let rules = "SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,msg:'attack'\"\n";
    let origin = Origin::echo().await;
    let mut site = settings(&[origin.address]);
    let mut waf = with_rules(Mode::Detect, rules);
    waf.capture = Some(site::Capture { every: 0, events: true, body: Size(64), size: Size(1 << 20) });
    site.waf = Some(waf.clone());
    let edge = Edge::start(site.clone()).await;
    let ask = async |path: &str, body: &str| {
        let mut asked = request("POST", path, body);
        let lines = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("cookie", "sid=5ECRET"),
            ("authorization", "Bearer 5ECRET"),
        ];
        for (name, value) in lines {
            asked.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        read(edge.http1().await.send_request(asked).await.unwrap()).await
    };
    ask("/quiet", "a=1").await;
    let (_, _, echoed) = ask("/login?token=5ECRET&b=1", "q=attack&password=5ECRET").await;
    assert!(echoed.ends_with("q=attack&password=5ECRET"), "what goes on is not masked: {echoed}");
    let path = edge.folder.path().join(site::waf::CAPTURE);
    let lines = || -> Vec<site::Captured> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(!text.contains("5ECRET"), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait_for("it is captured", async || lines().len() == 1).await;
    let captured = lines().remove(0);
    assert_eq!(captured.target, "/login?token=masked&b=1");
    assert_eq!((captured.body.as_str(), captured.whole), ("q=attack&password=masked", true));
    assert_eq!((captured.method.as_str(), captured.route.as_str()), ("POST", "/*"));
    let header = |name: &str| captured.headers.iter().find(|(n, _)| n == name).unwrap().1.as_str();
    assert_eq!((header("cookie"), header("authorization")), ("sid=masked", "masked"));
    let told = events(&edge, "waf_match", 1).await;
    assert_eq!(told[0]["id"], captured.event.unwrap().to_string());
    assert_eq!(told[0]["request_id"], captured.request_id);

    waf.capture = Some(site::Capture { every: 5, events: false, body: Size(8), size: Size(1 << 20) });
    site.waf = Some(waf);
    edge.reload(2, site).await.unwrap();
    for _ in 0..20 {
        ask("/sampled", "q=0123456789").await;
    }
    wait_for("one in five is captured", async || lines().len() == 5).await;
    let captured = lines().remove(4);
    assert_eq!((captured.body.as_str(), captured.whole, captured.event), ("q=012345", false, None));
    edge.stop().await;
}

#[tokio::test]
async fn a_request_beyond_its_budget_is_refused_and_counted() {
    let rules = "SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,msg:'attack'\"\n";
    let origin = Origin::echo().await;
    let mut site = settings(&[origin.address]);
    let mut waf = with_rules(Mode::Block, rules);
    waf.settings.limits.values = 50;
    waf.settings.limits.beyond = BeyondLimit::Refuse;
    site.waf = Some(waf.clone());
    let edge = Edge::start(site.clone()).await;
    let many: String = (0..200).map(|n| format!("a{n}=1&")).collect();
    let (status, _, page) =
        read(edge.http1().await.send_request(get(&format!("/?{many}"))).await.unwrap()).await;
    assert_eq!(status, 400);
    let id = id_in(&page).to_owned();
    assert_eq!(edge.metric("bastide_waf_exceeded_total{budget=\"values\"}").await, 1.0);
    let told = events(&edge, "waf_match", 1).await;
    assert_eq!((&told[0]["id"], &told[0]["exceeded"]), (&id.into(), &"values".into()));
    waf.settings.limits.beyond = BeyondLimit::Pass;
    site.waf = Some(waf);
    edge.reload(2, site).await.unwrap();
    let (status, _, _) =
        read(edge.http1().await.send_request(get(&format!("/?{many}"))).await.unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(edge.metric("bastide_waf_exceeded_total{budget=\"values\"}").await, 2.0);
    edge.stop().await;
}

#[tokio::test]
async fn the_audit_log_is_where_the_rules_say() {
    let rules = |kind: &str| {
        format!(
            "SecAuditEngine RelevantOnly\nSecAuditLogRelevantStatus \"^403\"\nSecAuditLogParts ABHZ\n\
             SecAuditLogFormat JSON\nSecAuditLog log/audit.log\nSecAuditLogStorageDir log/audits\n\
             SecAuditLogType {kind}\n\
             SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,log,auditlog,msg:'attack'\"\n"
        )
    };
    let origin = Origin::echo().await;
    let mut site = settings(&[origin.address]);
    site.waf = Some(with_rules(Mode::Block, &rules("Serial")));
    let edge = Edge::start(site.clone()).await;
    let ask = async |path: &str| read(edge.http1().await.send_request(get(path)).await.unwrap()).await;
    ask("/?q=shoes").await;
    ask("/?q=attack").await;
    let path = edge.folder.path().join("log/audit.log");
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait_for("the record is written", async || !lines().is_empty()).await;
    assert_eq!(lines().len(), 1, "what is not relevant is not there");
    assert!(lines()[0].to_string().contains("attack"), "{}", lines()[0]);

    site.waf = Some(with_rules(Mode::Block, &rules("Concurrent")));
    edge.reload(2, site).await.unwrap();
    ask("/?q=attack").await;
    wait_for("the index has it", async || lines().len() == 2).await;
    let file = lines()[1]["file"].as_str().unwrap().to_owned();
    wait_for("the file is there", async || {
        std::fs::read_to_string(&file).is_ok_and(|t| t.contains("attack"))
    })
    .await;
    assert!(file.contains("log/audits/"));
    edge.stop().await;
}
