//! The HTTP API as its clients see it.

use crate::common::{Fake, Home, Running, encode, site, until};
use monitor_exposition::{Format, Writer};
use monitor_model::{Histogram, Labels, MetricType};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

const BODY: &str = "\
# HELP hits_total Requests seen.
# TYPE hits_total counter
hits_total{code=\"200\"} 41
hits_total{code=\"500\"} 1
# TYPE temperature gauge
temperature 21.5
";

/// A monitor that has scraped [`BODY`].
fn scraped(home: &Home, fake: &Fake, change: impl FnOnce(&mut site::Monitor)) -> Running {
    let mut site = site();
    site.targets = vec![fake.target("app/1")];
    change(&mut site);
    let monitor = home.monitor(site);
    until("it is scraped", || monitor.value("temperature"));
    monitor
}

#[test]
fn cases() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let monitor = scraped(&home, &fake, |_| {});
    let cases = include_str!("api.cases");
    let mut asked = 0;
    for case in cases.split("\n\n").filter(|case| !case.starts_with('#')) {
        let mut lines = case.trim_start().lines();
        let (Some(request), Some(status), Some(body)) = (lines.next(), lines.next(), lines.next()) else {
            panic!("no case: {case}");
        };
        let mut words = request.splitn(3, ' ');
        let (method, path, form) = (words.next().unwrap(), words.next().unwrap(), words.next());
        let path = path.replace('[', "%5B").replace(']', "%5D").replace('{', "%7B").replace('}', "%7D");
        let form: Vec<String> = form
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let (got, _, answer) = monitor.ask(method, &path, &form.join("&"));
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(got.to_string(), status, "{request}: {answer}");
        match body.strip_prefix('~') {
            Some(part) => assert!(answer.contains(part), "{request}: {answer}"),
            None => assert_eq!(answer, body, "{request}"),
        }
        asked += 1;
    }
    assert!(asked > 60, "only {asked} cases were found");
    monitor.stop();
}

#[test]
fn answers_are_packed_as_the_client_asks() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let monitor = scraped(&home, &fake, |_| {});
    let target = "/api/v1/query_range?query=vector(1)&start=0&end=10000&step=1";
    let (_, plain_head, plain) = monitor.get(target);
    assert!(!plain_head.contains("content-encoding") && plain_head.contains("vary: accept-encoding"));
    let (status, head, packed) = monitor.get_with(target, "accept-encoding: gzip\r\n");
    assert_eq!(status, 200);
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain && packed.len() * 2 < plain.len());
    let (_, head, packed) = monitor.get_with(target, "accept-encoding: gzip, zstd\r\n");
    assert!(head.contains("content-encoding: zstd"), "{head}");
    assert_eq!(zstd::decode_all(&packed[..]).unwrap(), plain);
    let (_, head, _) = monitor.get_with("/api/v1/query?query=1", "accept-encoding: gzip\r\n");
    assert!(!head.contains("content-encoding"), "a packet is a packet: {head}");
    monitor.stop();
}

#[test]
fn a_client_that_goes_away_ends_its_query() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let many: String = (0..3_000).map(|i| format!("m{{i=\"{i}\"}} 1\n")).collect();
    let monitor = scraped(&home, &fake, |_| {});
    fake.say(200, &(many + BODY));
    until("many series", || monitor.value("count(m)").filter(|v| *v == 3_000.0));
    // More work than is done while a client waits a moment; steps at which there
    // is a value for certain.
    let end = sys::clock::now_ms() / 1_000 + 5;
    let query = encode("count(sum_over_time((m * on(i) m)[1h:1s]))");
    let target =
        format!("/api/v1/query_range?query={query}&start={}&end={end}&step=1&timeout=30s", end - 10_000);
    until("it is cancelled", || {
        let mut client = TcpStream::connect(monitor.address).unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        write!(client, "GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let early = client.read(&mut [0; 300]);
        assert!(early.is_err(), "it was answered at once");
        drop(client);
        let metrics = String::from_utf8(monitor.admin("GET", "/metrics", "").1).unwrap();
        metrics
            .lines()
            .any(|l| {
                l.starts_with("bastide_monitor_queries_total{endpoint=\"query_range\",result=\"canceled\"} ")
            })
            .then_some(())
    });
    monitor.stop();
}

#[test]
fn what_was_stopped_is_in_the_event_log() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let monitor = scraped(&home, &fake, |_| {});
    let (status, _, _) = monitor.get("/api/v1/query?query=count(temperature)&timeout=0");
    assert_eq!(status, 503);
    until("the event", || {
        let events = monitor.json("/api/bastide/v1/events?kind=query");
        let event = events["events"].get(0)?.clone();
        assert_eq!(event["query"], "count(temperature)");
        assert_eq!(event["endpoint"], "query");
        Some(())
    });
    monitor.stop();
}

#[test]
fn federation_gives_the_newest_values() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let monitor = scraped(&home, &fake, |site| {
        site.external_labels = vec![("cluster".into(), "a".into()), ("job".into(), "other".into())];
    });
    let (status, head, body) = monitor.get("/federate?match%5B%5D=temperature&match%5B%5D=hits_total");
    let body = String::from_utf8(body).unwrap();
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let lines: Vec<&str> = body.lines().map(|l| l.rsplit_once(' ').map_or(l, |(line, _)| line)).collect();
    assert_eq!(
        lines,
        [
            "# TYPE hits_total",
            "hits_total{cluster=\"a\",code=\"200\",instance=\"app/1\",job=\"app\"} 41",
            "hits_total{cluster=\"a\",code=\"500\",instance=\"app/1\",job=\"app\"} 1",
            "# TYPE temperature",
            "temperature{cluster=\"a\",instance=\"app/1\",job=\"app\"} 21.5",
        ]
    );
    monitor.stop();
}

#[test]
fn exemplars_and_native_histograms_are_shown() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let monitor = scraped(&home, &fake, |_| {});
    let now_s = sys::clock::now_ms() / 1_000;
    fake.say_as(
        "application/openmetrics-text; version=1.0.0",
        format!("# TYPE asked counter\nasked_total 3 # {{trace_id=\"abc\"}} 0.5 {now_s}.250\n# EOF\n"),
    );
    let target =
        format!("/api/v1/query_exemplars?query=rate(asked_total[5m])&start={}&end={}", now_s - 9, now_s + 9);
    let found = until("the exemplar", || monitor.json(&target)["data"].get(0).cloned());
    assert_eq!(
        found,
        serde_json::json!({
            "seriesLabels": { "__name__": "asked_total", "instance": "app/1", "job": "app" },
            "exemplars": [{ "labels": { "trace_id": "abc" }, "value": "0.5", "timestamp": now_s as f64 + 0.25 }],
        })
    );
    let early = format!("/api/v1/query_exemplars?query=asked_total&start={}&end={}", now_s - 9, now_s - 1);
    assert_eq!(monitor.json(&early)["data"], serde_json::json!([]));

    let mut writer = Writer::new(Format::Protobuf, true);
    writer.family("latency_seconds", MetricType::Histogram, "How long.", "");
    let native = Histogram::from_script("{{schema:0 count:4 sum:5.5 buckets:[1 0 3]}}").unwrap();
    writer.histogram(&Labels::from_pairs([("__name__", "latency_seconds")]), &native, None);
    fake.say_as(Format::Protobuf.content_type(), writer.finish());
    let query = "/api/v1/query?query=latency_seconds";
    let found = until("the histogram", || monitor.json(query)["data"]["result"].get(0).cloned());
    let expected = serde_json::json!({
        "count": "4", "sum": "5.5", "buckets": [[0, "0.5", "1", "1"], [0, "2", "4", "3"]],
    });
    assert_eq!(found["histogram"][1], expected, "{found}");
    assert!(found.get("value").is_none());
    let end = sys::clock::now_ms() / 1_000 + 1;
    let range = format!("/api/v1/query_range?query=latency_seconds&start={end}&end={end}&step=1");
    let found = monitor.json(&range)["data"]["result"][0].clone();
    assert_eq!(found["histograms"][0], serde_json::json!([end, expected]), "{found}");
    monitor.stop();
}

/// Debian's promtool, where there is one.
#[test]
fn promtool_is_content() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let monitor = scraped(&home, &fake, |_| {});
    let server = format!("http://{}", monitor.address);
    let promtool = |args: &[&str], input: &str| -> Option<String> {
        let mut child = Command::new("promtool")
            .args(args)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .ok()?;
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "promtool {args:?}: {out}{err}");
        Some(format!("{out}{err}"))
    };
    let Some(version) = promtool(&["--version"], "") else {
        eprintln!("skipped: no promtool on this machine");
        monitor.stop();
        return;
    };
    assert!(version.contains("promtool"), "{version}");
    let instant = promtool(&["query", "instant", &server, "hits_total{code=\"200\"}"], "").unwrap();
    assert!(
        instant.starts_with("hits_total{code=\"200\", instance=\"app/1\", job=\"app\"} => 41 @["),
        "{instant}"
    );
    let end = sys::clock::now_ms() / 1_000;
    let (start, end) = ((end - 60).to_string(), end.to_string());
    let span = ["--start", start.as_str(), "--end", end.as_str()];
    let range = [&["query", "range", "--step", "15s"][..], &span, &[server.as_str(), "vector(7)"]].concat();
    let range = promtool(&range, "").unwrap();
    assert_eq!(range.matches("7 @[").count(), 5, "{range}");
    let series = promtool(&["query", "series", "--match", "hits_total", &server], "").unwrap();
    assert_eq!(series.lines().count(), 2, "{series}");
    let labels = promtool(&["query", "labels", &server, "code"], "").unwrap();
    assert_eq!(labels, "200\n500\n");
    // What we expose and federate, too.
    let federated = monitor.get("/federate?match%5B%5D=temperature").2;
    let federated = String::from_utf8(federated).unwrap();
    promtool(&["check", "metrics"], &format!("# HELP temperature Warmth.\n{federated}"));
    monitor.stop();
}

/// Debian's Prometheus, where there is one, scrapes our federation.
#[test]
fn prometheus_scrapes_what_we_federate() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let monitor = scraped(&home, &fake, |site| site.external_labels = vec![("site".into(), "shop".into())]);
    // Whatever port is free now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = home.dir.path().join("prometheus.yml");
    let scrape = format!(
        "scrape_configs:\n- job_name: federate\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  honor_labels: true\n  metrics_path: /federate\n  params: {{'match[]': ['{{job=\"app\"}}']}}\n  static_configs:\n  - targets: ['{}']\n",
        monitor.address
    );
    std::fs::write(&config, scrape).unwrap();
    let started = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", home.dir.path().join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let Ok(mut prometheus) = started else {
        eprintln!("skipped: no prometheus on this machine");
        monitor.stop();
        return;
    };
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let query = format!("/api/v1/query?query={}", encode("hits_total{code=\"200\"}"));
    let found = std::panic::catch_unwind(|| {
        until("it has our series", || {
            TcpStream::connect(address).ok()?;
            let (_, _, body) = crate::common::get(address, &query);
            let answer: Value = serde_json::from_slice(&body).ok()?;
            answer["data"]["result"].get(0).cloned()
        })
    });
    let _ = prometheus.kill();
    let _ = prometheus.wait();
    let found = found.unwrap();
    assert_eq!(
        found["metric"],
        serde_json::json!({
            "__name__": "hits_total", "code": "200", "instance": "app/1", "job": "app", "site": "shop",
        })
    );
    assert_eq!(found["value"][1], "41");
    monitor.stop();
}

#[test]
fn the_admin_api_works_where_it_is_allowed() {
    let (home, fake) = (Home::new(), Fake::new(BODY));
    let monitor = scraped(&home, &fake, |site| site.admin_api = true);
    let (status, _, body) = monitor.ask("POST", "/api/v1/admin/tsdb/snapshot", "");
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let name = answer["data"]["name"].as_str().unwrap();
    assert!(home.state().join("monitor/snapshots").join(name).is_dir());

    fake.say(200, "other 1\n");
    until("the old ones ended", || monitor.value("temperature").is_none().then_some(()));
    let form = format!("match[]={}", encode("hits_total{code=\"500\"}"));
    assert_eq!(monitor.ask("PUT", "/api/v1/admin/tsdb/delete_series", &form).0, 204);
    let left = || {
        let series = monitor.json("/api/v1/series?match%5B%5D=hits_total")["data"].clone();
        series.as_array().unwrap().iter().map(|s| s["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(left(), ["200"]);
    assert_eq!(monitor.ask("POST", "/api/v1/admin/tsdb/clean_tombstones", "").0, 204);
    assert_eq!(left(), ["200"]);
    assert_eq!(monitor.ask("POST", "/api/v1/admin/tsdb/delete_series", "").0, 400);
    assert_eq!(monitor.ask("POST", "/api/v1/admin/tsdb/nothing", "").0, 404);
    monitor.stop();
}
