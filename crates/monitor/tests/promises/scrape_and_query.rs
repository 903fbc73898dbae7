//! From a target to the API's JSON, over real sockets.

use crate::common::{Fake, Home, encode, revision, site, until};
use serde_json::{Value, json};

const BODY: &str = "\
# HELP hits_total Requests seen.
# TYPE hits_total counter
hits_total{code=\"200\",job=\"theirs\"} 41
hits_total{code=\"500\",job=\"theirs\"} 1
# TYPE temperature gauge
temperature 21.5
old{a=\"b\"} 7 1000
";

#[test]
fn a_target_is_scraped_and_every_endpoint_answers_as_prometheus_does() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let mut site = site();
    site.targets = vec![fake.target("app/1")];
    site.alert.recordings = vec![crate::common::recording("app:hits", "sum(hits_total)")];
    let monitor = home.monitor(site);

    until("it is up", || monitor.value("up{job=\"app\"}").filter(|v| *v == 1.0));
    assert_eq!(monitor.value("sum(hits_total)"), Some(42.0), "counts are exact");
    assert_eq!(monitor.value("scrape_samples_scraped"), Some(4.0));
    until("the recording", || monitor.value("app:hits").filter(|v| *v == 42.0));

    let answer = monitor.json(&format!("/api/v1/query?query={}", encode("hits_total{code=\"500\"}")));
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["data"]["resultType"], "vector");
    let metric = &answer["data"]["result"][0]["metric"];
    let expected = json!({
        "__name__": "hits_total", "code": "500", "exported_job": "theirs", "instance": "app/1", "job": "app",
    });
    assert_eq!(metric, &expected, "the target's own job gives way");
    assert_eq!(answer["data"]["result"][0]["value"][1], "1");

    // The same by POST, as Grafana does.
    let (status, _, body) =
        monitor.post_form("/api/v1/query", &format!("query={}", encode("hits_total{code=\"500\"}")));
    let posted: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &posted["data"]["result"][0]["metric"]), (200, &expected));

    let scalar = monitor.json("/api/v1/query?query=1%2B1&time=1435781451.781");
    assert_eq!(scalar["data"], json!({ "resultType": "scalar", "result": [1435781451.781, "2"] }));

    let names = monitor.json("/api/v1/labels?match[]=hits_total");
    assert_eq!(names["data"], json!(["__name__", "code", "exported_job", "instance", "job"]));
    let values = monitor.json("/api/v1/label/code/values");
    assert_eq!(values["data"], json!(["200", "500"]));
    let series =
        monitor.json(&format!("/api/v1/series?match[]={}", encode("{__name__=~\"hits.*\",code=\"500\"}")));
    assert_eq!(series["data"], json!([expected]));
    assert_eq!(
        monitor.json("/api/v1/series?match[]=hits_total&limit=1")["data"].as_array().unwrap().len(),
        1
    );

    let metadata = monitor.json("/api/v1/metadata?metric=hits_total");
    assert_eq!(
        metadata["data"],
        json!({ "hits_total": [{ "type": "counter", "help": "Requests seen.", "unit": "" }] })
    );
    let targets = monitor.json("/api/v1/targets?state=active");
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&json!("up"), &json!("")));
    assert_eq!(target["scrapeUrl"], format!("http://{}/metrics", fake.address));
    assert_eq!(target["labels"], json!({ "instance": "app/1", "job": "app" }));

    let now_s = sys::clock::now_ms() / 1_000;
    let (start, end) = (now_s - 10, now_s);
    let range = monitor.json(&format!("/api/v1/query_range?query=vector(3)&start={start}&end={end}&step=5"));
    assert_eq!(range["data"]["resultType"], "matrix");
    assert_eq!(range["data"]["result"][0]["values"], json!([[start, "3"], [start + 5, "3"], [end, "3"]]));

    let rules = monitor.json("/api/v1/rules");
    let rule = &rules["data"]["groups"][0]["rules"][0];
    assert_eq!(
        (&rule["type"], &rule["name"], &rule["health"]),
        (&json!("recording"), &json!("app:hits"), &json!("ok"))
    );
    assert_eq!(monitor.json("/api/v1/alerts")["data"], json!({ "alerts": [] }));
    assert_eq!(
        monitor.json("/api/v1/status/buildinfo")["data"]["revision"],
        concat!("bastide-", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(monitor.json("/api/v1/status/runtimeinfo")["data"]["storageRetention"], "1d");
    assert_eq!(monitor.json("/api/bastide/v1/line")["site"], "shop");

    // Its own metrics, over the admin socket.
    let metrics = String::from_utf8(monitor.admin("GET", "/metrics", "").1).unwrap();
    assert!(metrics.contains("bastide_monitor_samples_total{result=\"stored\"}"), "{metrics}");
    assert!(metrics.contains("bastide_monitor_queries_total{endpoint=\"query\",result=\"ok\"}"), "{metrics}");
    monitor.stop();
}

#[test]
fn what_disappears_is_stale_at_once_and_a_failed_scrape_says_why() {
    let (home, fake) = (Home::new(), Fake::new("a 1\nb 2\n"));
    let mut site = site();
    site.limits.body = base::Bytes(1 << 20);
    site.limits.samples = 1_000;
    site.targets = vec![fake.target("app/1")];
    let monitor = home.monitor(site);
    until("both are there", || monitor.value("count({__name__=~\"a|b\"})").filter(|v| *v == 2.0));

    fake.say(200, "a 1\n");
    until("b is gone", || monitor.value("b").is_none().then_some(()));
    assert_eq!(monitor.value("a"), Some(1.0));

    let error = || {
        monitor.json("/api/v1/targets")["data"]["activeTargets"][0]["lastError"].as_str().unwrap().to_owned()
    };
    for (status, body, expected) in [
        (500, "", "server returned HTTP status 500"),
        (200, "a 1\nnonsense\n", "line 2, column 9: `` is not a value"),
        (200, "a 1\nb{", "the labels have no end"),
        (200, "a \u{fffd}1\n", "is not a value"),
    ] {
        fake.say(status, body);
        until(expected, || error().contains(expected).then_some(()));
        until("it is down", || monitor.value("up").filter(|v| *v == 0.0));
        assert_eq!(monitor.value("a"), None, "nothing of a refused body is kept");
    }
    let huge = "a{b=\"\"} 1\n".to_owned() + &"# x\n".repeat(1 << 18);
    fake.say(200, &huge);
    until("too large", || error().contains("larger than").then_some(()));
    let many: String = (0..1_001).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect();
    fake.say(200, &many);
    until("too many", || error().contains("sample limit exceeded").then_some(()));
    assert_eq!(monitor.value("count(m)"), None);

    fake.say(200, "a 3\n");
    until("it is back", || monitor.value("a").filter(|v| *v == 3.0));
    monitor.stop();
}

#[test]
fn errors_have_prometheus_types_and_codes() {
    let home = Home::new();
    let monitor = home.monitor(site());
    let cases = [
        ("/api/v1/query?query=sum(", 400, "bad_data", "invalid parameter \"query\""),
        ("/api/v1/query", 400, "bad_data", "invalid parameter \"query\""),
        ("/api/v1/query?query=1&time=x", 400, "bad_data", "invalid parameter \"time\""),
        ("/api/v1/query?query=1&timeout=x", 400, "bad_data", "invalid parameter \"timeout\""),
        ("/api/v1/query_range?query=1", 400, "bad_data", "invalid parameter \"start\""),
        (
            "/api/v1/query_range?query=1&start=2&end=1&step=1",
            400,
            "bad_data",
            "end timestamp must not be before",
        ),
        (
            "/api/v1/query_range?query=1&start=1&end=2&step=0",
            400,
            "bad_data",
            "zero or negative query resolution",
        ),
        (
            "/api/v1/query_range?query=1&start=0&end=99999&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution",
        ),
        ("/api/v1/series", 400, "bad_data", "no match[] parameter provided"),
        ("/api/v1/series?match[]=%7B", 400, "bad_data", "invalid parameter \"match[]\""),
        ("/api/v1/labels?limit=-1", 400, "bad_data", "invalid parameter \"limit\""),
        ("/api/v1/label/%FF/values", 400, "bad_data", "invalid label name"),
        ("/api/v1/nothing", 404, "not_found", "not served here"),
        ("/api/bastide/v1/nothing", 404, "not_found", "not served here"),
        ("/api/bastide/v1/events?limit=0", 400, "bad_data", "`limit`"),
        (
            "/api/v1/query?query=label_replace(vector(1),%22a%22,%22b%22,%22c%22,%22(%22)",
            422,
            "execution",
            "",
        ),
    ];
    for (target, code, kind, why) in cases {
        let (status, _, body) = monitor.get(target);
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(answer["error"].as_str().unwrap().contains(why), "{target}: {answer}");
        assert_eq!((status, answer["errorType"].as_str().unwrap()), (code, kind), "{target}: {answer}");
        assert_eq!(answer["status"], "error");
    }
    monitor.stop();
}

#[test]
fn the_page_is_served_whole_and_alone() {
    let home = Home::new();
    let monitor = home.monitor(site());
    let (status, head, body) = monitor.get("/");
    assert_eq!(status, 200);
    assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("<!doctype html>"));
    let etag = head.lines().find_map(|l| l.strip_prefix("etag: ")).unwrap().to_owned();
    let (status, _, body) = monitor.get_with("/", &format!("if-none-match: {etag}\r\n"));
    assert_eq!((status, body.len()), (304, 0));
    for (path, code) in
        [("/app.js", 200), ("/app.css", 200), ("/nothing", 404), ("/-/healthy", 200), ("/-/ready", 200)]
    {
        assert_eq!(monitor.get(path).0, code, "{path}");
    }
    let (status, _, _) = monitor.get_with("/", &format!("x: {}\r\n", "y".repeat(1 << 20)));
    assert!(status >= 400, "{status}");
    monitor.stop();
}

/// DNS rebinding: a browser asks in the name of a hostile site that leads to 127.0.0.1.
#[test]
fn a_page_on_loopback_answers_to_no_other_sites_name() {
    let home = Home::new();
    let monitor = home.monitor(site());
    let port = monitor.address.port();
    let targets = ["/", "/api/v1/query?query=up", "/api/bastide/v1/events", "/-/healthy", "/nothing"];
    for host in [format!("evil.example:{port}"), "evil.example".into(), "localhost.evil.example".into()] {
        for target in targets {
            let (status, head, body) = monitor.get_with(target, &format!("host: {host}\r\n"));
            let body = String::from_utf8(body).unwrap();
            assert_eq!(status, 421, "{host} {target}: {body}");
            assert!(body.contains(&host) && head.contains("nosniff"), "{head}\n{body}");
        }
    }
    for host in
        [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "[::1]".into(), "shop.localhost".into()]
    {
        assert_eq!(monitor.get_with("/", &format!("host: {host}\r\n")).0, 200, "{host}");
    }
    monitor.stop();

    // Where others reach it anyway, its name is whatever they call it.
    let mut open = site();
    open.listen = vec!["0.0.0.0:0".parse().unwrap()];
    let home = Home::new();
    let monitor = home.monitor(open);
    assert_eq!(monitor.get_with("/-/healthy", "host: monitor.example\r\n").0, 200);
    monitor.stop();
}

#[test]
fn a_hostile_query_costs_an_error_and_no_scrape() {
    let (home, fake) = (Home::new(), Fake::new("a 1\n"));
    let mut site = site();
    site.targets = vec![fake.target("app/1")];
    let monitor = home.monitor(site);
    until("it is up", || monitor.value("up").filter(|v| *v == 1.0));
    // 2,000 series at 11,000 steps are more than a query may hold; a millisecond is
    // less than it takes to find out.
    let many: String = (0..2_000).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect();
    fake.say(200, &(many + "a 1\n"));
    until("many series", || monitor.value("count(m)").filter(|v| *v == 2_000.0));
    // A little ahead: whole seconds at which there is a value for certain.
    let end = sys::clock::now_ms() / 1_000 + 5;
    let start = end - 10_999;
    let hostile = encode("sum_over_time((m * on(i) m or on(i) m)[1h:1s])");
    let address = monitor.address;
    let attackers: Vec<_> = (0..12)
        .map(|_| {
            let target =
                format!("/api/v1/query_range?query={hostile}&start={start}&end={end}&step=1&timeout=2s");
            std::thread::spawn(move || crate::common::get(address, &target))
        })
        .collect();
    let before = monitor.admin("GET", "/metrics", "");
    assert_eq!(before.0, 200);
    let scrapes = fake.seen().len();
    until("ten more scrapes", || (fake.seen().len() >= scrapes + 10).then_some(()));
    for attacker in attackers {
        let (status, _, body) = attacker.join().unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(matches!(status, 422 | 503), "{status}: {answer}");
        assert!(["timeout", "execution"].contains(&answer["errorType"].as_str().unwrap()), "{answer}");
    }
    let (status, _, body) = monitor.get("/api/v1/query?query=count(m)&timeout=0");
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&body));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["errorType"], "timeout");
    assert_eq!(monitor.value("a"), Some(1.0));
    monitor.stop();
}

#[test]
fn a_reload_swaps_what_changed_and_a_bad_one_nothing() {
    let home = Home::new();
    let (first, second) = (Fake::new("a 1\n"), Fake::new("a 2\n"));
    let mut site = site();
    site.targets = vec![first.target("app/1")];
    let monitor = home.monitor(site.clone());
    until("the first", || monitor.value("a").filter(|v| *v == 1.0));

    let mut bad = site.clone();
    bad.alert.recordings = vec![crate::common::recording("x", "sum(")];
    let (status, body) =
        monitor.admin("POST", "/prepare", &serde_json::to_string(&revision(2, bad)).unwrap());
    assert_eq!(status, 422);
    assert!(String::from_utf8_lossy(&body).contains("sum("), "{body:?}");
    assert_eq!(monitor.admin("POST", "/prepare", "{").0, 422);

    site.targets = vec![second.target("app/2")];
    site.listen.push("127.0.0.1:0".parse().unwrap());
    let good = serde_json::to_string(&revision(3, site)).unwrap();
    assert_eq!(monitor.admin("POST", "/prepare", &good).0, 200);
    assert_eq!(monitor.value("up{instance=\"app/1\"}"), Some(1.0), "prepared is not committed");
    assert_eq!(monitor.admin("POST", "/commit", "{\"id\":3,\"hash\":\"h3\"}").0, 200);
    until("the second", || monitor.value("a{instance=\"app/2\"}").filter(|v| *v == 2.0));
    until("the first is over", || monitor.value("up{instance=\"app/1\"}").is_none().then_some(()));
    let status: Value = serde_json::from_slice(&monitor.admin("GET", "/status", "").1).unwrap();
    assert_eq!(status["revision"], 3);
    monitor.stop();
}

#[test]
fn a_store_of_the_first_version_keeps_no_site_down() {
    let home = Home::new();
    let log = home.state().join("monitor/store/log");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("00000001.log"), b"bastlog\x01and more").unwrap();
    let monitor = home.monitor(site());
    let status: Value = serde_json::from_slice(&monitor.admin("GET", "/status", "").1).unwrap();
    let trouble = status["trouble"].to_string();
    assert!(trouble.contains("store.version-1"), "{trouble}");
    let aside = home.state().join("monitor/store.version-1/log/00000001.log");
    assert_eq!(std::fs::read(aside).unwrap(), b"bastlog\x01and more");
    monitor.stop();
}
