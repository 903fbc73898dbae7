//! Prometheus' `scrape_configs`, over real sockets: discovery, relabelling, TLS,
//! logging in, formats, limits, reloads.

use crate::common::{Home, Running, encode, revision, site, until};
use base::Secret;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Status, header lines, body.
type Reply = (u16, String, Vec<u8>);

type Script = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// A server that keeps connections, and whose answers a test writes.
struct Server {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(script, None)
    }

    fn with(
        script: impl Fn(&str) -> Reply + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            script: Arc::new(Mutex::new(Arc::new(script))),
            connections: Arc::default(),
            heads: Arc::default(),
        };
        let (script, connections, heads) =
            (server.script.clone(), server.connections.clone(), server.heads.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (script, heads, tls) = (script.clone(), heads.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &script, &heads),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        serve(rustls::StreamOwned::new(connection, stream), &script, &heads)
                    }
                });
            }
        });
        server
    }

    fn text(body: &'static str) -> Self {
        Self::new(move |_| text(body))
    }

    fn say(&self, script: impl Fn(&str) -> Reply + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn scrapes(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// Waits for so many more scrapes.
    fn more(&self, count: usize) {
        let before = self.scrapes();
        until("more scrapes", || (self.scrapes() >= before + count).then_some(()));
    }
}

fn serve(stream: impl Read + Write, script: &Mutex<Script>, heads: &Mutex<Vec<String>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        heads.lock().unwrap().push(head.clone());
        let script = script.lock().unwrap().clone();
        let (status, lines, body) = script(&head);
        let out = stream.get_mut();
        write!(out, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{lines}\r\n", body.len()).ok()?;
        out.write_all(&body).ok()?;
        out.flush().ok()?;
    }
}

fn text(body: &str) -> Reply {
    (200, "content-type: text/plain; version=0.0.4\r\n".into(), body.as_bytes().to_vec())
}

fn file(name: &str, folder: &Path, text: &str) -> site::NamedText {
    site::NamedText { name: name.into(), folder: folder.into(), text: Secret::new(text) }
}

fn with_file(folder: &Path, text: &str) -> site::Monitor {
    site::Monitor { scrape_files: vec![file("prometheus.yml", folder, text)], ..site() }
}

fn targets(monitor: &Running) -> Value {
    monitor.json("/api/v1/targets")["data"].clone()
}

/// The only target's error.
fn error(monitor: &Running) -> String {
    targets(monitor)["activeTargets"][0]["lastError"].as_str().unwrap_or("no target").to_owned()
}

fn commit(monitor: &Running, id: u64, site: site::Monitor) {
    let text = serde_json::to_string(&revision(id, site)).unwrap();
    let (status, body) = monitor.admin("POST", "/prepare", &text);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    assert_eq!(monitor.admin("POST", "/commit", &format!("{{\"id\":{id},\"hash\":\"h{id}\"}}")).0, 200);
}

#[test]
fn discovery_and_relabelling_of_a_prometheus_file() {
    let home = Home::new();
    let (one, two) = (Server::text("a 1\ngo_x 2\n"), Server::text("a 2\n"));
    let (first, second) = (one.address, two.address);
    let groups = format!(r#"[{{"targets":["{second}"],"labels":{{"env":"found"}}}}]"#);
    let found = groups.clone();
    let sd = Server::new(move |head| {
        assert!(head.contains("x-prometheus-refresh-interval-seconds: 1\r\n"), "{head}");
        (200, "content-type: application/json\r\n".into(), found.clone().into_bytes())
    });
    std::fs::write(
        home.dir.path().join("t.yml"),
        format!("- targets: ['{second}']\n  labels: {{env: file}}\n"),
    )
    .unwrap();
    let text = format!(
        r#"
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
- job_name: static
  static_configs:
  - targets: ["{first}", "gone:1"]
    labels: {{env: static}}
  relabel_configs:
  - {{source_labels: [__address__], regex: "gone:.*", action: drop}}
  - {{source_labels: [__address__], regex: ".*:(.*)", target_label: port}}
  metric_relabel_configs:
  - {{source_labels: [__name__], regex: "go_.*", action: drop}}
- job_name: files
  file_sd_configs: [{{files: ["t*.yml"], refresh_interval: 1s}}]
- job_name: asked
  http_sd_configs: [{{url: "http://{}/sd", refresh_interval: 1s}}]
"#,
        sd.address
    );
    let monitor = home.monitor(with_file(home.dir.path(), &text));
    let up = |env: &str| monitor.value(&format!("up{{env=\"{env}\"}}"));
    for env in ["static", "file", "found"] {
        until(env, || up(env).filter(|v| *v == 1.0));
    }
    assert_eq!(monitor.value("count({__name__=~\"go_.*\"})"), None, "dropped by relabelling");
    assert_eq!(monitor.value("scrape_samples_scraped{env=\"static\"}"), Some(2.0));
    assert_eq!(monitor.value("scrape_samples_post_metric_relabeling{env=\"static\"}"), Some(1.0));
    let shown = targets(&monitor);
    let of = |pool: &str| {
        let all = shown["activeTargets"].as_array().unwrap();
        all.iter().find(|target| target["scrapePool"] == pool).unwrap().clone()
    };
    let port = first.port().to_string();
    let labels = json!({ "env": "static", "instance": first.to_string(), "job": "static", "port": port });
    assert_eq!(of("static")["labels"], labels);
    assert_eq!(of("static")["discoveredLabels"]["__scrape_interval__"], "200ms");
    assert_eq!(of("asked")["discoveredLabels"]["__meta_url"], format!("http://{}/sd", sd.address));
    let path = home.dir.path().join("t.yml").display().to_string();
    assert_eq!(of("files")["discoveredLabels"]["__meta_filepath"], path);
    assert_eq!(shown["droppedTargetCounts"], json!({ "static": 1 }));
    assert_eq!(shown["droppedTargets"][0]["discoveredLabels"]["__address__"], "gone:1");

    // A changed file is noticed; a broken one is told and changes nothing.
    std::fs::write(home.dir.path().join("t.yml"), "- targets: [").unwrap();
    let trouble = || monitor.json_status()["trouble"].to_string();
    until("the broken file", || trouble().contains("not YAML").then_some(()));
    assert_eq!(up("file"), Some(1.0));
    std::fs::write(
        home.dir.path().join("t.yml"),
        format!("- targets: ['{second}']\n  labels: {{env: moved}}\n"),
    )
    .unwrap();
    until("the changed file", || up("moved").filter(|v| *v == 1.0));
    until("the old one is over", || up("file").is_none().then_some(()));
    assert!(!trouble().contains("not YAML"), "{}", trouble());
    std::fs::remove_file(home.dir.path().join("t.yml")).unwrap();
    until("no file, no target", || up("moved").is_none().then_some(()));

    // An answer that is no group is told, and what was found before goes on.
    sd.say(|_| (500, String::new(), Vec::new()));
    until("the failing discovery", || trouble().contains("HTTP status 500").then_some(()));
    assert_eq!(up("found"), Some(1.0));
    monitor.stop();
}

impl Running {
    fn json_status(&self) -> Value {
        serde_json::from_slice(&self.admin("GET", "/status", "").1).unwrap()
    }
}

#[test]
fn a_reload_leaves_what_did_not_change_alone() {
    let home = Home::new();
    let (kept, changed, gone) =
        (Server::text("a 1\nb 1\n"), Server::text("a 2\nb 2\n"), Server::text("a 3\n"));
    let text = |drop: &str, more: &str| {
        format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n\
             - job_name: kept\n  static_configs: [{{targets: ['{}']}}]\n\
             - job_name: changed\n  static_configs: [{{targets: ['{}']}}]\n  metric_relabel_configs: [{drop}]\n{more}",
            kept.address, changed.address
        )
    };
    let more = format!("- job_name: gone\n  static_configs: [{{targets: ['{}']}}]\n", gone.address);
    let monitor = home.monitor(with_file(home.dir.path(), &text("", &more)));
    for job in ["kept", "changed", "gone"] {
        until(job, || monitor.value(&format!("a{{job=\"{job}\"}}")));
    }
    for server in [&kept, &changed, &gone] {
        server.more(2);
        assert_eq!(server.connections(), 1, "one connection for all scrapes");
    }
    let drop = "{source_labels: [__name__], regex: b, action: drop}";
    commit(&monitor, 2, with_file(home.dir.path(), &text(drop, "")));
    until("b is over", || monitor.value("b{job=\"changed\"}").is_none().then_some(()));
    until("gone is over", || monitor.value("up{job=\"gone\"}").is_none().then_some(()));
    kept.more(2);
    changed.more(2);
    assert_eq!((kept.connections(), changed.connections()), (1, 1), "connections are kept, too");
    assert_eq!(monitor.value("b{job=\"kept\"}"), Some(1.0));

    // A file with a mistake changes nothing, and says where it is.
    let bad = with_file(home.dir.path(), "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs: []\n");
    let (status, body) =
        monitor.admin("POST", "/prepare", &serde_json::to_string(&revision(3, bad)).unwrap());
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 422 && body.contains("prometheus.yml:3:3: `kubernetes_sd_configs`"), "{body}");

    // The server ends its connections: the next scrape takes a new one.
    kept.say(|_| (200, "content-type: text/plain\r\nconnection: close\r\n".into(), b"a 9\n".to_vec()));
    until("a new connection", || (kept.connections() > 2).then_some(()));
    assert_eq!(monitor.value("up{job=\"kept\"}"), Some(1.0));
    monitor.stop();
}

#[test]
fn packed_answers_redirects_and_logins() {
    let home = Home::new();
    let server = Server::new(|head| {
        if head.starts_with("GET /metrics ") {
            return (302, "location: moved?x=1\r\n".into(), Vec::new());
        }
        let lower = head.to_ascii_lowercase();
        assert!(head.starts_with("GET /moved?x=1 "), "{head}");
        assert!(lower.contains("accept-encoding: gzip\r\n"), "{head}");
        assert!(lower.contains("x-prometheus-scrape-timeout-seconds: 0.2\r\n"), "{head}");
        assert!(lower.contains("accept: application/openmetrics-text;version=1.0.0"), "{head}");
        // user:pass word
        if !head.contains("uthorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n")
            || !lower.contains("x-scope: mine\r\n")
        {
            return (401, String::new(), Vec::new());
        }
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a 7\n").unwrap();
        let lines = "content-type: text/plain\r\ncontent-encoding: gzip\r\n";
        (200, lines.into(), packed.finish().unwrap())
    });
    let text = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n- job_name: j\n  \
         basic_auth: {{username: user, password_file: word}}\n  http_headers: {{X-Scope: {{values: [mine]}}}}\n  \
         static_configs: [{{targets: ['{}']}}]\n",
        server.address
    );
    let monitor = home.monitor(with_file(home.dir.path(), &text));
    until("no password yet", || error(&monitor).contains("cannot read the secret").then_some(()));
    std::fs::write(home.dir.path().join("word"), "wrong\n").unwrap();
    until("a wrong one", || error(&monitor).contains("HTTP status 401").then_some(()));
    std::fs::write(home.dir.path().join("word"), "pass word\n").unwrap();
    until("the right one", || monitor.value("a").filter(|v| *v == 7.0));

    // What unpacks to more than it may is refused without being held.
    server.say(|_| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..65 {
            packed.write_all(&vec![b'\n'; 1 << 20]).unwrap();
        }
        (200, "content-type: text/plain\r\ncontent-encoding: gzip\r\n".into(), packed.finish().unwrap())
    });
    until("too large", || error(&monitor).contains("body size limit exceeded").then_some(()));
    server.say(|_| (302, "location: /metrics\r\n".into(), Vec::new()));
    until("in a circle", || error(&monitor).contains("more than 10 redirects").then_some(()));
    monitor.stop();
}

#[test]
fn tls_as_the_file_says() {
    let home = Home::new();
    let made = rcgen::generate_simple_self_signed(["scraped.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let server = Server::with(|_| text("a 1\n"), Some(Arc::new(config)));
    // One that lets nobody in who has no certificate of its own authority.
    let client = rcgen::generate_simple_self_signed(["monitor".to_owned()]).unwrap();
    let mut trusted = rustls::RootCertStore::empty();
    trusted.add(client.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let known =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), provider.clone());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(known.build().unwrap())
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mutual = Server::with(|_| text("a 1\n"), Some(Arc::new(config)));
    std::fs::write(home.dir.path().join("client.pem"), client.cert.pem()).unwrap();
    std::fs::write(home.dir.path().join("client.key"), client.signing_key.serialize_pem()).unwrap();
    std::fs::write(home.dir.path().join("ca.pem"), made.cert.pem()).unwrap();
    let pool_of = |server: &Server, name: &str, tls: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  tls_config: {tls}\n  static_configs: [{{targets: ['{}']}}]\n",
            server.address
        )
    };
    let pool = |name: &str, tls: &str| pool_of(&server, name, tls);
    let text = "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n".to_owned()
        + &pool("right", "{ca_file: ca.pem, server_name: scraped.example}")
        + &pool("name", "{ca_file: ca.pem}")
        + &pool("any", "{insecure_skip_verify: true}")
        + &pool("old", "{insecure_skip_verify: true, max_version: TLS12}")
        + &pool_of(
            &mutual,
            "mutual",
            "{insecure_skip_verify: true, cert_file: client.pem, key_file: client.key}",
        )
        + &pool_of(&mutual, "stranger", "{insecure_skip_verify: true}");
    let monitor = home.monitor(with_file(home.dir.path(), &text));
    for job in ["right", "any", "old", "mutual"] {
        until(job, || monitor.value(&format!("up{{job=\"{job}\"}}")).filter(|v| *v == 1.0));
    }
    until("a stranger", || monitor.value("up{job=\"stranger\"}").filter(|v| *v == 0.0));
    until("the wrong name", || monitor.value("up{job=\"name\"}").filter(|v| *v == 0.0));
    let why =
        monitor.json("/api/v1/targets?scrapePool=name")["data"]["activeTargets"][0]["lastError"].to_string();
    assert!(why.contains("TLS with") && why.contains("certificate"), "{why}");
    monitor.stop();
}

#[test]
fn every_format_becomes_series() {
    let home = Home::new();
    let open_metrics = Server::new(|_| {
        let body = "# TYPE hits counter\n# UNIT hits \n# HELP hits What.\nhits_total 3 # {trace_id=\"t1\"} 0.5\n# EOF\n";
        (
            200,
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n".into(),
            body.into(),
        )
    });
    let histogram =
        monitor_model::Histogram::from_script("{{schema:1 count:6 sum:4 buckets:[1 2 3]}}").unwrap();
    let mut writer = monitor_exposition::Writer::new(monitor_exposition::Format::Protobuf, true);
    writer.family("native", monitor_model::MetricType::Histogram, "", "");
    writer.histogram(&monitor_model::Labels::from_pairs([("__name__", "native")]), &histogram, None);
    let body = writer.finish();
    let protobuf = Server::new(move |head| {
        assert!(head.to_ascii_lowercase().contains("accept: application/vnd.google.protobuf;"), "{head}");
        let kind =
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
        (200, format!("content-type: {kind}\r\n"), body.clone())
    });
    let classic = Server::text(
        "# TYPE c histogram\nc_bucket{le=\"1\"} 2\nc_bucket{le=\"+Inf\"} 5\nc_count 5\nc_sum 9\n",
    );
    let unnamed = Server::new(|_| (200, "content-type: text/html\r\n".into(), b"a 1\n".to_vec()));
    let pool = |name: &str, server: &Server, more: &str| {
        format!("- job_name: {name}\n  static_configs: [{{targets: ['{}']}}]\n{more}", server.address)
    };
    let text = "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n".to_owned()
        + &pool("open", &open_metrics, "")
        + &pool("proto", &protobuf, "  scrape_native_histograms: true\n")
        + &pool("classic", &classic, "  convert_classic_histograms_to_nhcb: true\n")
        + &pool("html", &unnamed, "")
        + &pool("fallback", &unnamed, "  fallback_scrape_protocol: PrometheusText0.0.4\n");
    let monitor = home.monitor(with_file(home.dir.path(), &text));
    until("OpenMetrics", || monitor.value("hits_total").filter(|v| *v == 3.0));
    until("a native histogram", || monitor.value("histogram_count(native)").filter(|v| *v == 6.0));
    until("custom buckets", || monitor.value("histogram_sum(c)").filter(|v| *v == 9.0));
    assert_eq!(monitor.value("c_count"), None);
    until("the fallback", || monitor.value("a{job=\"fallback\"}"));
    until("no exposition", || monitor.value("up{job=\"html\"}").filter(|v| *v == 0.0));
    let metadata = monitor.json("/api/v1/metadata?metric=hits");
    assert_eq!(metadata["data"], json!({ "hits": [{ "type": "counter", "help": "What.", "unit": "" }] }));
    let now_s = sys::clock::now_ms() / 1_000;
    let query = encode("hits_total");
    let exemplars = monitor.json(&format!(
        "/api/v1/query_exemplars?query={query}&start={}&end={}",
        now_s - 60,
        now_s + 1
    ));
    assert_eq!(exemplars["data"][0]["exemplars"][0]["labels"], json!({ "trace_id": "t1" }));
    monitor.stop();
}

#[test]
fn limits_of_a_pool() {
    let home = Home::new();
    let server = Server::text("a{x=\"1\"} 1\nb 1\n");
    let text = |limits: &str| {
        format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n- job_name: j\n  {limits}\n  \
             static_configs: [{{targets: ['{}']}}]\n",
            server.address
        )
    };
    let monitor = home.monitor(with_file(home.dir.path(), &text("extra_scrape_metrics: true")));
    until("without limits", || monitor.value("count({__name__=~\"a|b\"})").filter(|v| *v == 2.0));
    until("the body's size", || monitor.value("scrape_body_size_bytes").filter(|v| *v == 15.0));
    assert_eq!(monitor.value("scrape_timeout_seconds"), Some(0.2));
    let cases = [
        ("sample_limit: 1", "sample limit exceeded"),
        ("label_limit: 3", "label_limit exceeded (metric: a, number of labels: 4, limit: 3)"),
        ("label_value_length_limit: 2", "label_value_length_limit exceeded"),
        ("body_size_limit: 14B", "body size limit exceeded"),
    ];
    for (at, (limit, expected)) in cases.into_iter().enumerate() {
        commit(&monitor, at as u64 + 2, with_file(home.dir.path(), &text(limit)));
        until(expected, || error(&monitor).contains(expected).then_some(()));
        until("it is down", || monitor.value("up").filter(|v| *v == 0.0));
        assert_eq!(monitor.value("b"), None, "nothing of a refused body is kept");
    }
    let metrics = String::from_utf8(monitor.admin("GET", "/metrics", "").1).unwrap();
    for result in ["ok", "sample_limit", "label_limit", "body_limit"] {
        let counter = format!("bastide_monitor_scrapes_total{{pool=\"j\",result=\"{result}\"}}");
        assert!(metrics.contains(&counter), "{result}: {metrics}");
    }
    let two = text("target_limit: 1").replace("targets: [", "targets: ['127.0.0.1:1', ");
    commit(&monitor, 9, with_file(home.dir.path(), &two));
    until("too many targets", || error(&monitor).contains("target_limit exceeded").then_some(()));
    monitor.stop();
}
