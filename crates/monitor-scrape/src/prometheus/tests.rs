use super::*;
use crate::settings::{Authentication, Discovery, Pem, Protocol, SecretSource, WhichRecord};

fn good(text: &str) -> Config {
    read(text, "prometheus.yml", Path::new("/etc/prometheus"), None)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        .unwrap()
}

/// Of the kinds that a small team has.
const FILE: &str = r#"
global:
  scrape_interval: 15s
  evaluation_interval: 15s
  external_labels: {cluster: main}
  sample_limit: 5000
rule_files: ["rules/*.yml"]
alerting:
  alertmanagers:
    - static_configs: [{targets: ["localhost:9093"]}]
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: ["localhost:9090"]
  - job_name: node
    scrape_interval: 5s
    honor_labels: true
    params: {"collect[]": [cpu, meminfo]}
    file_sd_configs:
      - files: ["targets/*.json", /abs/nodes.yml]
        refresh_interval: 1m
    relabel_configs:
      - source_labels: [__address__]
        regex: "([^:]+):.*"
        target_label: host
    metric_relabel_configs:
      - {source_labels: [__name__], regex: "go_.*", action: drop}
  - job_name: secure
    scheme: https
    basic_auth: {username: u, password_file: secret}
    tls_config:
      ca_file: ca.pem
      insecure_skip_verify: false
    scrape_protocols: [PrometheusProto, PrometheusText0.0.4]
    fallback_scrape_protocol: PrometheusText0.0.4
    body_size_limit: 10MB
    http_sd_configs:
      - url: http://sd.internal/targets
        authorization: {credentials: token}
  - job_name: dns
    scrape_native_histograms: true
    dns_sd_configs:
      - names: [_metrics._tcp.example.org]
      - {names: [a.example.org], type: A, port: 9100}
"#;

#[test]
fn a_file_that_is_used_elsewhere() {
    let config = good(FILE);
    assert_eq!(config.external_labels, [("cluster".into(), "main".into())]);
    assert_eq!(config.others, ["global.evaluation_interval", "rule_files", "alerting"]);
    let names: Vec<_> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["prometheus", "node", "secure", "dns"]);
    let [own, node, secure, dns] = &config.pools[..] else { panic!("four pools") };
    assert_eq!((own.interval_ms, own.timeout_ms, own.limits.samples), (15_000, 10_000, 5_000));
    assert!(matches!(&own.discovery[..], [Discovery::Static(groups)] if groups[0].targets.len() == 1));

    assert_eq!((node.interval_ms, node.timeout_ms, node.honor_labels), (5_000, 5_000, true));
    assert_eq!(node.params["collect[]"], ["cpu", "meminfo"]);
    let Discovery::File { files, refresh_ms } = &node.discovery[0] else { panic!("files") };
    assert_eq!(files, &["/etc/prometheus/targets/*.json", "/abs/nodes.yml"].map(PathBuf::from));
    assert_eq!((*refresh_ms, node.relabel.len(), node.metric_relabel.len()), (60_000, 1, 1));

    assert_eq!(secure.http.tls.ca, Some(Pem::File("/etc/prometheus/ca.pem".into())));
    let Authentication::Basic { password, .. } = &secure.http.authentication else { panic!("basic") };
    assert_eq!(*password, SecretSource::File("/etc/prometheus/secret".into()));
    assert_eq!(secure.protocols, [Protocol::Protobuf, Protocol::Text004]);
    assert_eq!((secure.fallback, secure.limits.body_bytes), (Some(Protocol::Text004), 10 << 20));
    let Discovery::Http { http, .. } = &secure.discovery[0] else { panic!("http") };
    assert!(matches!(http.authentication, Authentication::Token { .. }));

    assert_eq!(dns.protocols, Protocol::PROTOBUF_FIRST);
    let kinds: Vec<_> = dns
        .discovery
        .iter()
        .map(|found| match found {
            Discovery::Dns { record, port, .. } => (*record, *port),
            _ => panic!("dns"),
        })
        .collect();
    assert_eq!(kinds, [(WhichRecord::Srv, 0), (WhichRecord::A, 9100)]);
}

#[test]
fn mistakes_are_told_with_their_line() {
    let pool = |text: &str| format!("scrape_configs:\n- job_name: a\n  {text}\n");
    let cases: &[(String, &str)] = &[
        (
            "scrap_configs: []".into(),
            "prometheus.yml:1:1: `scrap_configs` is no key that may stand here; hint: did you mean `scrape_configs`?",
        ),
        (pool("scrape_intervall: 1s"), "prometheus.yml:3:3: `scrape_intervall` is no key"),
        (
            pool("kubernetes_sd_configs: [{role: pod}]"),
            "prometheus.yml:3:3: `kubernetes_sd_configs`: this service discovery is not there",
        ),
        (pool("oauth2: {}"), "prometheus.yml:3:3: `oauth2` is not there"),
        (pool("proxy_url: http://p"), "`proxy_url` is not there"),
        (pool("scrape_interval: 5"), "prometheus.yml:3:20: `scrape_interval`: `5` is not a duration"),
        (pool("scrape_interval: 5s\n  scrape_timeout: 6s"), "longer than the scrape interval"),
        (pool("scheme: ftp"), "`ftp` is not a scheme"),
        (pool("honor_labels: maybe"), "neither `true` nor `false`"),
        (pool("metric_name_escaping_scheme: dots"), "`metric_name_escaping_scheme`: `dots` is not there"),
        (pool("metric_name_validation_scheme: x"), "neither `utf8` nor `legacy`"),
        ("global: {scrape_failure_log_file: x}".into(), "`scrape_failure_log_file` is no key"),
        (pool("sample_limit: -1"), "`-1` is not a number in range"),
        (pool("relabel_configs: [{action: hashmod, target_label: x}]"), "needs a `modulus`"),
        (pool("relabel_configs: [{action: nothing}]"), "`nothing` is not an action"),
        (pool("static_configs: [{targets: ['http://h:1']}]"), "`http://h:1` is not an address"),
        (pool("static_configs: [{target: []}]"), "did you mean `targets`?"),
        (pool("file_sd_configs: [{files: ['*/a.json']}]"), "only its last part"),
        (pool("file_sd_configs: [{files: [a.txt]}]"), "is not a path of .json"),
        (pool("http_sd_configs: [{url: 'sd/targets'}]"), "is not a URL"),
        (pool("dns_sd_configs: [{names: [a], type: A}]"), "needs a `port`"),
        (pool("dns_sd_configs: [{names: [a], type: X}]"), "`X` is not a record type"),
        (pool("scrape_protocols: [Text]"), "`Text` is not a scrape protocol"),
        (pool("scrape_protocols: []"), "is empty"),
        (pool("tls_config: {cert_file: a}"), "both or neither"),
        (pool("tls_config: {min_version: TLS10}"), "`TLS10` is broken"),
        (pool("basic_auth: {password: a, password_file: b}"), "at most one"),
        (pool("basic_auth: {}\n  authorization: {}"), "a second way to log in"),
        (pool("http_headers: {Host: {values: [x]}}"), "written by the scraper itself"),
        (pool("static_configs: []\n- job_name: a"), "a second pool with the `job_name` `a`"),
        ("scrape_configs: [{}]".into(), "without `job_name`"),
        ("global: {scrape_timeout: 2m}".into(), "longer than the scrape interval"),
        ("a: [".into(), "not YAML"),
    ];
    for (text, expected) in cases {
        let mistakes = read(text, "prometheus.yml", Path::new("/"), None).unwrap_err();
        let got: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert!(got.iter().any(|mistake| mistake.contains(expected)), "{text}\n{got:?}\nnot {expected}");
    }
    // All at once.
    let two = "scrape_configs:\n- job_name: a\n  scheme: x\n  honor_labels: y\n";
    assert_eq!(read(two, "f", Path::new("/"), None).unwrap_err().len(), 2);
}

/// What Debian's package installs, where it is installed.
#[test]
fn the_file_of_a_distribution() {
    let path = "/etc/prometheus/prometheus.yml";
    match std::fs::read_to_string(path) {
        Ok(text) => assert!(!good(&text).pools.is_empty()),
        Err(_) => eprintln!("not run: no `{path}`"),
    }
}

#[test]
fn more_files_have_the_same_defaults() {
    let config = good("global: {scrape_interval: 7s}\nscrape_config_files: ['more/*.yml']\n");
    assert_eq!(config.files, [PathBuf::from("/etc/prometheus/more/*.yml")]);
    let more = "scrape_configs: [{job_name: b, static_configs: [{targets: ['h:1']}]}]";
    let more = read(more, "b.yml", Path::new("/"), Some(&config.global)).unwrap();
    assert_eq!((more.pools[0].interval_ms, more.pools[0].timeout_ms), (7_000, 7_000));
}
