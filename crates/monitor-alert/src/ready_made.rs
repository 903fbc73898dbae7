//! The rules that every site has without writing one.
//!
//! Each alert says in plain words what is wrong (`summary`), what was measured
//! (`description`) and what to do (`action`). A rule of the same name in the file
//! takes the place of ours.

use crate::settings::{Alert, Recording, Settings};
use base::names::{
    DATABASE_LAG_SECONDS, DATABASE_MEMBER_UP, EDGE_CERTIFICATE_EXPIRY, EDGE_REQUEST_DURATION, EDGE_REQUESTS,
    EDGE_SERVER_UP, MONITOR_SAMPLES, PROCESS_RESTARTS,
};
use base::{Millis, names};

/// What the rules follow from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The databases.
    pub databases: Vec<DatabaseFacts>,
    /// Between two evaluations.
    pub interval: Millis,
    /// Where alerts go.
    pub to: Vec<String>,
    /// The limits.
    pub thresholds: Thresholds,
}

/// A database that has replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseFacts {
    /// Its name, `main`.
    pub name: String,
    /// A replica further behind gets no reads.
    pub max_lag: Millis,
}

/// Where "too much" begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// The share of requests answered with 5xx.
    pub error_ratio: f64,
    /// The 99th percentile of request durations, in seconds.
    pub latency_p99_s: f64,
    /// Requests a second; none compares with the hour before.
    pub qps_high: Option<f64>,
    /// Traffic at this many times the hour before is too high.
    pub qps_high_factor: f64,
    /// Traffic at this share of the hour before has vanished.
    pub qps_vanished_share: f64,
    /// Below this many requests a second on average nobody is missed.
    pub qps_floor: f64,
    /// A disk that will be full within this alerts.
    pub disk_full_within: Millis,
    /// A disk with less than this share left alerts whatever its trend.
    pub disk_left_ratio: f64,
    /// A certificate that ends within this alerts.
    pub certificate_within: Millis,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            error_ratio: 0.05,
            latency_p99_s: 1.0,
            qps_high: None,
            qps_high_factor: 3.0,
            qps_vanished_share: 0.1,
            qps_floor: 1.0,
            disk_full_within: Millis::from_secs(24 * 3_600),
            disk_left_ratio: 0.05,
            certificate_within: Millis::from_secs(14 * 86_400),
        }
    }
}

/// The recordings and alerts for a site with these facts, without receivers.
pub fn ready_made(facts: &Facts) -> Settings {
    Settings {
        interval: facts.interval,
        recordings: recordings(),
        alerts: alerts(facts),
        ..Settings::default()
    }
}

/// `settings` with the operator's own rules: a rule of a name that exists takes
/// the place of all of that name, others are added at the end.
pub fn overlay(settings: &mut Settings, recordings: Vec<Recording>, alerts: Vec<Alert>) {
    settings.recordings.retain(|ours| recordings.iter().all(|theirs| theirs.record != ours.record));
    settings.recordings.extend(recordings);
    settings.alerts.retain(|ours| alerts.iter().all(|theirs| theirs.name != ours.name));
    settings.alerts.extend(alerts);
}

/// Half a minute of traffic: short enough to be live, and six scrapes long at the
/// default interval of 5 s, so that a lost scrape leaves a rate.
const LIVE: &str = "30s";

fn recordings() -> Vec<Recording> {
    let requests = EDGE_REQUESTS.name;
    let buckets = format!("{}_bucket", EDGE_REQUEST_DURATION.name);
    let percentile =
        |quantile: f64| format!("histogram_quantile({quantile}, sum by (le) (rate({buckets}[1m])))");
    let list = [
        ("site:qps", format!("sum(rate({requests}[{LIVE}]))")),
        (
            "site:errors:ratio",
            // Multiplied by zero, the denominator stands in where no request failed yet.
            format!(
                "(sum(rate({requests}{{code=~\"5..\"}}[1m])) or 0 * sum(rate({requests}[1m]))) / sum(rate({requests}[1m]))"
            ),
        ),
        ("site:latency:p50", percentile(0.5)),
        ("site:latency:p95", percentile(0.95)),
        ("site:latency:p99", percentile(0.99)),
    ];
    list.into_iter().map(|(record, expr)| Recording { record: record.to_owned(), expr }).collect()
}

/// How an alert is written down below.
struct Draft {
    name: &'static str,
    expr: String,
    hold_s: u64,
    severity: &'static str,
    summary: &'static str,
    description: String,
    action: &'static str,
}

fn alerts(facts: &Facts) -> Vec<Alert> {
    let drafts = servers(facts).into_iter().chain(traffic(&facts.thresholds)).chain(host(&facts.thresholds));
    drafts
        .map(|draft| Alert {
            name: draft.name.to_owned(),
            expr: draft.expr,
            hold: Millis::from_secs(draft.hold_s),
            labels: vec![("severity".to_owned(), draft.severity.to_owned())],
            annotations: vec![
                ("action".to_owned(), draft.action.to_owned()),
                ("description".to_owned(), draft.description),
                ("summary".to_owned(), draft.summary.to_owned()),
            ],
            to: facts.to.clone(),
        })
        .collect()
}

fn servers(facts: &Facts) -> Vec<Draft> {
    let mut drafts = vec![
        Draft {
            name: "server-down",
            expr: format!("{} == 0", EDGE_SERVER_UP.name),
            hold_s: 15,
            severity: "critical",
            summary: "web server {{ $labels.server }} takes no requests",
            description: "health checks or failed requests took it out of pool {{ $labels.pool }}; the other servers carry its share".to_owned(),
            action: "see why with `bastide logs {{ $labels.server }}` and `bastide status`",
        },
        Draft {
            name: "target-down",
            expr: "up == 0".to_owned(),
            hold_s: 30,
            severity: "warning",
            summary: "{{ $labels.instance }} cannot be scraped",
            description: "its metrics (job {{ $labels.job }}) are missing, so that what depends on them cannot alert".to_owned(),
            action: "see the reason under `/api/v1/targets` and whether the process runs with `bastide status`",
        },
        Draft {
            name: "member-down",
            expr: format!("max by (database, member) ({}) == 0", DATABASE_MEMBER_UP.name),
            hold_s: 15,
            severity: "critical",
            summary: "PostgreSQL {{ $labels.member }} does not answer",
            description: "the router of database {{ $labels.database }} sends it nothing; without the primary, writes fail".to_owned(),
            action: "see why with `bastide logs database.{{ $labels.member }}` and `bastide database`",
        },
        Draft {
            name: "process-restarting",
            expr: format!("increase({}[5m]) >= 3", PROCESS_RESTARTS.name),
            hold_s: 0,
            severity: "warning",
            summary: "{{ $labels.process }} keeps ending",
            description: "it was started again {{ printf \"%.0f\" $value }} times in five minutes".to_owned(),
            action: "see why it ends with `bastide logs {{ $labels.process }}`",
        },
    ];
    for database in &facts.databases {
        drafts.push(Draft {
            name: "replica-lag",
            expr: format!(
                "{}{{database={:?}}} > {}",
                DATABASE_LAG_SECONDS.name,
                database.name,
                database.max_lag.as_secs_f64()
            ),
            hold_s: 30,
            severity: "warning",
            summary: "replica {{ $labels.member }} is behind its primary",
            description: format!(
                "it replays what was written {{{{ $value | humanizeDuration }}}} ago; beyond {} it gets no reads, and the primary carries them",
                database.max_lag
            ),
            action: "look for a long query or a full disk on the replica, and for a burst of writes, with `bastide database`",
        });
    }
    drafts
}

fn traffic(limits: &Thresholds) -> Vec<Draft> {
    // The hour that ended five minutes ago: what is being judged is not part of the measure.
    // A site that has just begun has none, and a burst of some minutes is nothing usual
    // that could vanish.
    let usual = |hour: &str| format!("({hour} > {} and site:qps offset 1h)", limits.qps_floor);
    let (average, always) = (
        usual("avg_over_time(site:qps[1h] offset 5m)"),
        usual("quantile_over_time(0.1, site:qps[1h] offset 5m)"),
    );
    let (qps_high, qps_high_why) = match limits.qps_high {
        Some(limit) => (
            format!("site:qps > {limit}"),
            format!("{{{{ $value | humanize }}}} requests a second, more than {limit}"),
        ),
        None => (
            // The band knows the hour of the week; it is there from the third week on.
            format!(
                "site:qps > site:qps:high or (site:qps > {} * {average} unless site:qps:high)",
                limits.qps_high_factor
            ),
            format!(
                "{{{{ $value | humanize }}}} requests a second, more than this hour of the week has had (in the first two weeks: {} times the hour before)",
                limits.qps_high_factor
            ),
        ),
    };
    vec![
        Draft {
            name: "error-rate",
            expr: format!("site:errors:ratio > {}", limits.error_ratio),
            hold_s: 60,
            severity: "critical",
            summary: "{{ $value | humanizePercentage }} of requests fail",
            description: format!(
                "more than {}% of answers have had a status of 5xx for a minute",
                limits.error_ratio * 100.0
            ),
            action: "see which pool and path with `bastide top` and `bastide logs`; undo the last release or `bastide reload` if it began then",
        },
        Draft {
            name: "latency",
            expr: format!("site:latency:p99 > {}", limits.latency_p99_s),
            hold_s: 120,
            severity: "warning",
            summary: "one request in a hundred takes over {{ $value | humanizeDuration }}",
            description: format!(
                "the 99th percentile of request durations has been above {} s for two minutes",
                limits.latency_p99_s
            ),
            action: "compare web servers with database on the page: the slower of both is where to look",
        },
        Draft {
            name: "qps-high",
            expr: qps_high,
            hold_s: 120,
            severity: "warning",
            summary: "unusually many requests: {{ $value | humanize }} a second",
            description: qps_high_why,
            action: "see with `bastide top` whether these are visitors or one client; add a server, a limit or a ban",
        },
        Draft {
            name: "qps-vanished",
            expr: format!(
                "site:qps < site:qps:vanished or (site:qps < {} * {always} unless site:qps:vanished)",
                limits.qps_vanished_share
            ),
            hold_s: 120,
            severity: "critical",
            summary: "the site's requests have vanished",
            description: format!(
                "{{{{ $value | humanize }}}} requests a second, less than {}% of what this hour of the week has had (in the first two weeks: of the hour before)",
                limits.qps_vanished_share * 100.0
            ),
            action: "check name service, network and firewall from outside: what does not arrive cannot fail here",
        },
    ]
}

fn host(limits: &Thresholds) -> Vec<Draft> {
    let real = "fstype!~\"tmpfs|ramfs|fuse.*\"";
    let within_s = limits.disk_full_within.as_secs_f64();
    vec![
        Draft {
            name: "disk-filling",
            // The trend of six hours, and only where a fair part is used and an hour was
            // seen: a burst on an empty disk, or the first minutes of a site, are no trend.
            expr: format!(
                "node_filesystem_avail_bytes{{{real}}} / node_filesystem_size_bytes < 0.4 and predict_linear(node_filesystem_avail_bytes{{{real}}}[6h], {within_s}) < 0 and node_filesystem_avail_bytes{{{real}}} offset 1h"
            ),
            hold_s: 1_800,
            severity: "warning",
            summary: "disk {{ $labels.mountpoint }} will be full soon",
            description: format!(
                "{{{{ $value | humanizePercentage }}}} are left; at the pace of the last six hours it is full within {}",
                limits.disk_full_within
            ),
            action: "see what grows with `du -x`; lower `retention` or add space before then",
        },
        Draft {
            name: "disk-nearly-full",
            expr: format!(
                "node_filesystem_avail_bytes{{{real}}} / node_filesystem_size_bytes < {} and node_filesystem_readonly == 0",
                limits.disk_left_ratio
            ),
            hold_s: 60,
            severity: "critical",
            summary: "disk {{ $labels.mountpoint }} is nearly full",
            description: "{{ $value | humanizePercentage }} are left on {{ $labels.device }}".to_owned(),
            action: "free space now: PostgreSQL stops writing when its disk is full",
        },
        Draft {
            name: "samples-lost",
            // Rules see what the disk did not take, so that this counter is not lost with it.
            expr: format!("increase({}{{result=\"failed\"}}[5m]) > 0", MONITOR_SAMPLES.name),
            hold_s: 0,
            severity: "critical",
            summary: "the monitor's disk does not take its samples",
            description: "{{ $value | humanize }} samples were lost in five minutes; alerts go on meanwhile, charts will have a gap".to_owned(),
            action: "free space where the state is, or lower `retention_size`: see `bastide status`",
        },
        Draft {
            name: "certificate-expiring",
            expr: format!(
                "{} - time() < {}",
                EDGE_CERTIFICATE_EXPIRY.name,
                limits.certificate_within.as_secs_f64()
            ),
            hold_s: 60,
            severity: "warning",
            summary: "the certificate of {{ $labels.name }} ends in {{ $value | humanizeDuration }}",
            description: format!(
                "certificates are renewed earlier than {} before they end",
                limits.certificate_within
            ),
            action: "see why it was not renewed with `bastide cert`",
        },
    ]
}

/// The metrics of [`names`] the rules rely on, for the test that they exist.
pub fn relies_on() -> [&'static names::Metric; 8] {
    [
        &EDGE_REQUESTS,
        &EDGE_REQUEST_DURATION,
        &EDGE_SERVER_UP,
        &EDGE_CERTIFICATE_EXPIRY,
        &DATABASE_MEMBER_UP,
        &DATABASE_LAG_SECONDS,
        &PROCESS_RESTARTS,
        &MONITOR_SAMPLES,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Environment, RuleData, Template};
    use monitor_model::series::Value;

    fn facts() -> Facts {
        let database = |name: &str| DatabaseFacts { name: name.into(), max_lag: Millis(2_500) };
        Facts {
            databases: vec![database("main"), database("other")],
            interval: Millis(5_000),
            to: vec!["ops".into()],
            thresholds: Thresholds::default(),
        }
    }

    #[test]
    fn every_promised_alert_is_there_with_words_that_render() {
        let settings = ready_made(&facts());
        for name in [
            "server-down",
            "error-rate",
            "latency",
            "qps-high",
            "qps-vanished",
            "replica-lag",
            "disk-filling",
            "certificate-expiring",
        ] {
            assert!(settings.alerts.iter().any(|a| a.name == name), "{name}");
        }
        for alert in &settings.alerts {
            assert_eq!(alert.to, ["ops"]);
            for (name, text) in &alert.annotations {
                let template = Template::parse(text).unwrap_or_else(|e| panic!("{} {name}: {e}", alert.name));
                let (none, half) = (Vec::new(), Value::Float(0.5));
                let data = RuleData { labels: &none, external_labels: &none, value: &half };
                let environment = Environment { query: None, external_url: "", now_ms: 0 };
                let rendered = template.render(&data, &environment).unwrap();
                assert!(!rendered.is_empty() && !rendered.contains("{{"), "{rendered}");
            }
        }
        let lag: Vec<&Alert> = settings.alerts.iter().filter(|a| a.name == "replica-lag").collect();
        assert_eq!(lag[0].expr, "bastide_database_replica_lag_seconds{database=\"main\"} > 2.5");
        assert_eq!(lag.len(), 2);
    }

    #[test]
    fn thresholds_and_own_rules_take_their_place() {
        let mut facts = facts();
        facts.thresholds.qps_high = Some(800.0);
        let mut settings = ready_made(&facts);
        assert!(settings.alerts.iter().any(|a| a.name == "qps-high" && a.expr == "site:qps > 800"));
        let count = settings.alerts.len();
        let own = |name: &str| Alert {
            name: name.into(),
            expr: "vector(1)".into(),
            hold: Millis(0),
            labels: Vec::new(),
            annotations: Vec::new(),
            to: Vec::new(),
        };
        overlay(&mut settings, Vec::new(), vec![own("replica-lag"), own("mine")]);
        // Two of ours went, two came.
        assert_eq!(settings.alerts.len(), count);
        assert_eq!(settings.alerts.iter().filter(|a| a.name == "replica-lag").count(), 1);
        let recording = Recording { record: "site:qps".into(), expr: "1".into() };
        overlay(&mut settings, vec![recording.clone()], Vec::new());
        assert_eq!(
            settings.recordings.iter().filter(|r| r.record == "site:qps").collect::<Vec<_>>(),
            [&recording]
        );
    }
}
