//! Samples that are pushed here, and samples that are sent on: by our own client,
//! and with Debian's Prometheus and VictoriaMetrics on the other side, where they
//! are installed.

use crate::common::{Fake, Home, Running, encode, get, site, until};
use monitor_model::{Histogram, Labels};
use monitor_wire::body::{Encoding, snappy_encode};
use monitor_wire::remote::{Outgoing, OutgoingHistogram, OutgoingSample, Version, write_v1, write_v2};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const WRITE: &str = "/api/v1/write";
const OTLP: &str = "/api/v1/otlp/v1/metrics";

fn receiving() -> site::Monitor {
    site::Monitor { receive: true, ..site() }
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A POST of bytes: status, head in lower case, body.
fn post(monitor: &Running, target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(monitor.address).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // One that is refused may not be read to its end.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn message(version: Version, name: &str, at_ms: i64, value: f64) -> Vec<u8> {
    let labels = Labels::from_pairs([("__name__", name), ("job", "pushed")]);
    let histogram = Histogram::from_script("{{schema:1 count:4 sum:5 buckets:[1 2 1]}}").unwrap();
    let samples = [OutgoingSample { at_ms, value, start_ms: 0 }];
    let series = [
        Outgoing { labels, samples: &samples, ..Outgoing::default() },
        Outgoing {
            labels: Labels::from_pairs([("__name__", "latency"), ("job", "pushed")]),
            histograms: &[OutgoingHistogram { at_ms, value: &histogram, start_ms: 0 }],
            ..Outgoing::default()
        },
    ];
    let mut body = Vec::new();
    match version {
        Version::V1 => write_v1(&series, &[], &mut body),
        Version::V2 => write_v2(&series, &mut body),
    }
    body
}

#[test]
fn remote_write_is_taken_as_the_specification_says() {
    let home = Home::new();
    let monitor = home.monitor(receiving());
    let snappy = ("content-encoding", "snappy");
    let kind = |version: Version| ("content-type", version.content_type());
    let now = now_ms();
    for (version, name) in [(Version::V1, "one"), (Version::V2, "two")] {
        let body = snappy_encode(&message(version, name, now, 7.0));
        let (status, head, said) = post(&monitor, WRITE, &[kind(version), snappy], &body);
        assert_eq!((status, said.len()), (204, 0), "{head}");
        let samples = header(&head, "x-prometheus-remote-write-samples-written");
        let histograms = header(&head, "x-prometheus-remote-write-histograms-written");
        let expected = (version == Version::V2).then_some("1");
        assert_eq!((samples, histograms), (expected, expected), "{head}");
        assert_eq!(monitor.value(name), Some(7.0));
        assert_eq!(monitor.value("histogram_quantile(0.5, latency)").map(|value| value > 0.0), Some(true));
        // Again: it is there. Another value at this time: a part is refused.
        assert_eq!(post(&monitor, WRITE, &[kind(version), snappy], &body).0, 204);
        let body = snappy_encode(&message(version, name, now, 8.0));
        let (status, head, said) = post(&monitor, WRITE, &[kind(version), snappy], &body);
        let said = String::from_utf8(said).unwrap();
        assert_eq!(status, 400);
        assert!(said.contains("1 samples were not taken; the first: the series has another value"), "{said}");
        let samples = header(&head, "x-prometheus-remote-write-samples-written");
        assert_eq!(samples, (version == Version::V2).then_some("0"), "{head}");
    }
    let good = snappy_encode(&message(Version::V1, "three", now, 1.0));
    let v1 = kind(Version::V1);
    let huge = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    let broken = snappy_encode(b"\x0a\x7f");
    #[allow(clippy::type_complexity)] // path, headers, body, status, a part of the answer
    let cases: &[(&str, &[(&str, &str)], &[u8], u16, &str)] = &[
        ("another type", &[("content-type", "application/json"), snappy], &good, 415, "is not remote write"),
        ("another encoding", &[v1, ("content-encoding", "gzip")], &good, 415, "snappy"),
        ("another version", &[kind(Version::V2), snappy], &good, 400, "1.0 message in a 2.0 one"),
        ("not snappy", &[v1, snappy], b"hello, this is text", 400, "body is not snappy"),
        ("cut off", &[v1, snappy], &broken, 400, "field of 127 bytes is cut off"),
        ("too large unpacked", &[v1, snappy], &huge, 413, "at most 67108864 are taken"),
    ];
    for (what, headers, body, expected, words) in cases {
        let (status, _, said) = post(&monitor, WRITE, headers, body);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(status == *expected && said.contains(words), "{what}: {status} {said}");
    }
    // What is too large is refused before it is read.
    let (status, _, _) =
        post(&monitor, WRITE, &[v1, snappy, ("expect", "nothing")], &vec![0; (32 << 20) + 1]);
    assert_eq!(status, 413);
    let (status, head, _) = monitor.get(WRITE);
    assert_eq!((status, header(&head, "allow")), (405, Some("post")));
    assert_eq!(monitor.value("three"), None);
    let zstd = zstd::bulk::compress(&message(Version::V1, "four", now, 4.0), 1).unwrap();
    assert_eq!(post(&monitor, WRITE, &[v1, ("content-encoding", "zstd")], &zstd).0, 204);
    assert_eq!(monitor.value("four"), Some(4.0));

    let metrics = String::from_utf8(monitor.admin("GET", "/metrics", "").1).unwrap();
    for line in [
        "bastide_monitor_pushed_total{protocol=\"remote_write_2\",result=\"stored\"} 1",
        "bastide_monitor_pushed_total{protocol=\"remote_write_1\",result=\"out_of_order\"} 1",
        "bastide_monitor_push_requests_total{protocol=\"remote_write_2\",code=\"204\"} 2",
        "bastide_monitor_push_requests_total{protocol=\"remote_write_1\",code=\"413\"} 2",
    ] {
        assert!(metrics.contains(line), "no `{line}` in\n{metrics}");
    }
    monitor.stop();
}

#[test]
fn nothing_is_taken_unless_it_is_asked_for() {
    let home = Home::new();
    let monitor = home.monitor(site());
    let body = snappy_encode(&message(Version::V1, "one", now_ms(), 7.0));
    for target in [WRITE, OTLP] {
        let (status, _, said) = post(&monitor, target, &[("content-type", "application/x-protobuf")], &body);
        assert_eq!(status, 404);
        assert!(String::from_utf8(said).unwrap().contains("hint: `receive = true`"));
    }
    monitor.stop();
}

#[test]
fn otlp_is_taken_in_json_and_packed() {
    let home = Home::new();
    let monitor = home.monitor(receiving());
    let json = |name: &str, more: &str| {
        format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}},
            {{"key":"host.name","value":{{"stringValue":"h"}}}}]}},"scopeMetrics":[{{"metrics":[
            {{"name":"{name}","unit":"s","gauge":{{"dataPoints":[{{"timeUnixNano":"{}000000","asDouble":1.5}}]}}}}{more}]}}]}}]}}"#,
            now_ms()
        )
    };
    let kind = ("content-type", "application/json");
    let (status, head, said) = post(&monitor, OTLP, &[kind], json("up.time", "").as_bytes());
    assert_eq!(
        (status, said.as_slice(), header(&head, "content-type")),
        (200, &b"{}"[..], Some("application/json"))
    );
    assert_eq!(monitor.value("up_time_seconds{job=\"shop\"}"), Some(1.5));
    assert_eq!(monitor.value("target_info{job=\"shop\", host_name=\"h\"}"), Some(1.0));

    // Packed, with a part that is refused.
    let delta = r#",{"name":"d","sum":{"aggregationTemporality":1,"dataPoints":[{"asInt":1}]}}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(json("second", delta).as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    let (status, _, said) = post(&monitor, OTLP, &[kind, ("content-encoding", "gzip")], &packed);
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!((status, &said["partialSuccess"]["rejectedDataPoints"]), (200, &Value::from("1")));
    assert!(said["partialSuccess"]["errorMessage"].as_str().unwrap().contains("delta temporality"));
    assert_eq!(monitor.value("second_seconds"), Some(1.5));

    let (status, _, said) = post(&monitor, OTLP, &[kind], b"{");
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert!(status == 400 && said["message"].as_str().unwrap().contains("not OTLP in JSON"), "{said}");
    let (status, _, _) = post(&monitor, OTLP, &[("content-type", "application/x-protobuf")], b"\x0b");
    assert_eq!(status, 400);
    monitor.stop();
}

/// A program of somebody else, ended with the test.
struct Program(Child);

impl Program {
    /// Ends it as an operator would: VictoriaMetrics keeps the last seconds in
    /// memory, and loses them to a kill.
    fn end(mut self) {
        let told = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        assert!(told.unwrap().success());
        until("the program ends", || self.0.try_wait().unwrap());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program where it is installed; its port is one that is free now.
fn start(program: &str, arguments: &[String]) -> Option<Program> {
    let child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match child {
        Ok(child) => Some(Program(child)),
        Err(_) => {
            eprintln!("skipped: no {program} on this machine");
            None
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn prometheus(dir: &Path, address: SocketAddr, config: &str) -> Option<Program> {
    let file = dir.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    start(
        "prometheus",
        &[
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("prometheus").display()),
            format!("--web.listen-address={address}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--enable-feature=native-histograms".to_owned(),
        ],
    )
}

fn victoria_metrics(dir: &Path, address: SocketAddr) -> Option<Program> {
    start(
        "victoria-metrics",
        &[
            format!("-storageDataPath={}", dir.join("victoria").display()),
            format!("-httpListenAddr={address}"),
            "-search.latencyOffset=0s".to_owned(),
        ],
    )
}

/// The value of an instant query at a far end; none where it gives none.
fn asked(address: SocketAddr, query: &str) -> Option<f64> {
    TcpStream::connect(address).ok()?;
    let target = format!("/api/v1/query?query={}", encode(query));
    let (status, _, body) = get(address, &target);
    let answer: Value = (status == 200).then(|| serde_json::from_slice(&body).ok())??;
    answer["data"]["result"].get(0)?["value"][1].as_str()?.parse().ok()
}

/// Debian's Prometheus, where there is one, scrapes itself and writes to us.
#[test]
fn prometheus_writes_to_us() {
    let home = Home::new();
    let monitor = home.monitor(receiving());
    let address = free_address();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nremote_write:\n- url: http://{}{WRITE}\n  queue_config: {{batch_send_deadline: 500ms}}\n  metadata_config: {{send_interval: 1s}}\nscrape_configs:\n- job_name: self\n  static_configs: [{{targets: ['{address}']}}]\n",
        monitor.address
    );
    let Some(program) = prometheus(home.dir.path(), address, &config) else { return monitor.stop() };
    let series =
        until("its samples are here", || monitor.value("count({job=\"self\"})").filter(|n| *n > 200.0));
    assert_eq!(monitor.value("prometheus_build_info{job=\"self\"}"), Some(1.0));
    until("more than one sample", || {
        monitor.value("count_over_time(up{job=\"self\"}[1m])").filter(|n| *n >= 3.0)
    });
    // It knows of no sample that we refused.
    let failed = asked(address, "prometheus_remote_storage_samples_failed_total");
    assert_eq!(failed, Some(0.0), "of {series} series");
    drop(program);
    monitor.stop();
}

fn sending(name: &str, url: String, version_2: bool) -> site::RemoteWrite {
    site::RemoteWrite {
        name: name.into(),
        url,
        version_2,
        login: None,
        ca: None,
        queue: base::Bytes(64 << 20),
        shards: 4,
        only: vec!["{job=\"app\"}".into()],
        except: Vec::new(),
        without: Vec::new(),
    }
}

/// We write to a far end that goes away for a while, and that we go away from:
/// it misses nothing.
fn a_far_end_misses_nothing(path: &str, begin: impl Fn(&Path, SocketAddr) -> Option<Program>) {
    let (home, fake) = (Home::new(), Fake::new("work_total 1\n"));
    let address = free_address();
    let sending = || site::Monitor {
        targets: vec![fake.target("app/1")],
        external_labels: vec![("site".into(), "shop".into())],
        remote_write: vec![sending("far", format!("http://{address}{path}"), true)],
        ..site()
    };
    let Some(program) = begin(home.dir.path(), address) else { return };
    let monitor = home.monitor(sending());
    let series = "work_total{job=\"app\", instance=\"app/1\", site=\"shop\"}";
    until("it has our first samples", || asked(address, series));
    assert_eq!(asked(address, "work_total{site=\"\"}"), None);

    // Away, while we go on, and end, and begin anew.
    program.end();
    let here =
        |monitor: &Running, range: &str| monitor.value(&format!("count_over_time(work_total[{range}])"));
    let before = here(&monitor, "5m").unwrap();
    until("samples wait", || here(&monitor, "5m").filter(|now| *now > before + 5.0));
    let metrics = || String::from_utf8(monitor.admin("GET", "/metrics", "").1).unwrap();
    until("the status says so", || {
        let status: Value = serde_json::from_slice(&monitor.admin("GET", "/status", "").1).unwrap();
        status["trouble"].to_string().contains("remote `far`: samples wait: ").then_some(())
    });
    assert!(metrics().contains("bastide_monitor_sent_waiting{remote=\"far\"} "), "{}", metrics());
    monitor.stop();
    // Its last tasks may end a little later: nobody is to be spoken to there.
    let _ = std::fs::remove_file(home.run().join("monitor.sock"));
    let monitor = home.monitor(sending());
    let resumed = here(&monitor, "5m").unwrap();
    until("it scrapes again", || here(&monitor, "5m").filter(|now| *now > resumed + 2.0));
    let program = begin(home.dir.path(), address).unwrap();
    // Nothing is missing, and nothing is there twice, up to this moment.
    let at = now_ms() as f64 / 1e3;
    let count = |series: &str| format!("count_over_time({series}[5m] @ {at})");
    let ours =
        until("we have it ourselves", || monitor.value(&count("work_total")).filter(|n| *n > before + 7.0));
    let mut theirs = None;
    let same = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("it has the same", || {
            theirs = asked(address, &count(series));
            (theirs == Some(ours)).then_some(())
        });
    }));
    assert!(same.is_ok(), "we have {ours} samples, it has {theirs:?}");
    assert_eq!(asked(address, "count({__name__=~\"bastide.*\"})"), None);
    drop(program);
    monitor.stop();
}

#[test]
fn prometheus_misses_nothing_that_we_write_to_it() {
    let config = "global: {scrape_interval: 1h}\nstorage: {tsdb: {out_of_order_time_window: 1h}}\n";
    a_far_end_misses_nothing(WRITE, |dir, address| prometheus(dir, address, config));
}

#[test]
fn victoria_metrics_misses_nothing_that_we_write_to_it() {
    a_far_end_misses_nothing(WRITE, victoria_metrics);
}

#[test]
fn what_is_pushed_is_sent_on() {
    let (here, there) = (Home::new(), Home::new());
    let far = there.monitor(receiving());
    let mut site = receiving();
    let mut remote = sending("far", format!("http://{}{WRITE}", far.address), true);
    remote.only = Vec::new();
    site.remote_write = vec![remote];
    let near = here.monitor(site);
    let now = now_ms();
    let body = snappy_encode(&message(Version::V1, "one", now, 7.0));
    let headers = [("content-type", Version::V1.content_type()), ("content-encoding", "snappy")];
    assert_eq!(post(&near, WRITE, &headers, &body).0, 204);
    until("the far end has it", || far.value("one").filter(|value| *value == 7.0));
    // Histograms as well, by the second version.
    until("and the histogram", || far.value("histogram_count(latency)").filter(|value| *value == 4.0));
    let metrics = || String::from_utf8(near.admin("GET", "/metrics", "").1).unwrap();
    until("it is counted", || {
        metrics().contains("bastide_monitor_sent_total{remote=\"far\",result=\"sent\"} 2").then_some(())
    });
    near.stop();
    far.stop();
    // A message is a message in whatever encoding.
    assert_eq!(Encoding::from_header("snappy"), Some(Encoding::Snappy));
}
