//! Counts → samples of the store.

use crate::sink::Pending;
use crate::state::State;
use base::names;
use monitor_logs::Counts;
use monitor_logs::count::{Durations, Slot};
use monitor_model::{Histogram, Labels, METRIC_NAME, STALE};
use std::sync::Arc;

/// Gives one log's counts to the store.
pub(crate) struct Giver {
    log: String,
    state: Arc<State>,
}

impl Giver {
    pub(crate) fn new(log: &str, state: &Arc<State>) -> Self {
        Self { log: log.to_owned(), state: state.clone() }
    }

    /// The counts now; where they are over, their end.
    pub(crate) fn give(&self, counts: &Counts, at_ms: i64, over: bool) {
        let mut samples = Samples { log: &self.log, at_ms, numbers: Vec::new(), histograms: Vec::new() };
        samples.add(counts);
        if over {
            samples.numbers.iter_mut().for_each(|sample| sample.value = STALE);
            samples.histograms.iter_mut().for_each(|(_, histogram)| {
                *histogram = Histogram { sum: STALE, ..Histogram::default() };
            });
        }
        self.state.sink.append(&samples.numbers);
        let rows: Vec<_> =
            samples.histograms.into_iter().map(|(labels, value)| (labels, at_ms, Arc::new(value))).collect();
        self.state.sink.append_histograms(&rows);
    }
}

/// The samples of one moment.
struct Samples<'a> {
    log: &'a str,
    at_ms: i64,
    numbers: Vec<Pending>,
    histograms: Vec<(Labels, Histogram)>,
}

impl Samples<'_> {
    fn add(&mut self, counts: &Counts) {
        for (code, count) in counts.codes() {
            self.number(names::LOG_REQUESTS.name, &[("code", &code.to_string())], count as f64);
        }
        self.number(names::LOG_BYTES.name, &[], counts.bytes() as f64);
        if counts.durations().count() > 0 {
            self.durations(names::LOG_DURATION.name, &[], counts.durations());
        }
        let (hosts, routes) = counts.overflowed();
        self.number(names::LOG_OTHER.name, &[("what", "host")], hosts as f64);
        self.number(names::LOG_OTHER.name, &[("what", "route")], routes as f64);
        for slot in counts.slots() {
            self.slot(counts, slot);
        }
    }

    fn slot(&mut self, counts: &Counts, slot: &Slot) {
        let of =
            [("host", counts.host_of(slot)), ("method", counts.method_of(slot)), ("route", &*slot.route)];
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(slot.classes) {
            if count > 0 {
                let with_class = [of[0], of[1], of[2], ("class", class)];
                self.number(names::LOG_ROUTE_REQUESTS.name, &with_class, count as f64);
            }
        }
        self.number(names::LOG_ROUTE_BYTES.name, &of, slot.bytes as f64);
        if let Some(durations) = &slot.durations {
            self.durations(names::LOG_ROUTE_DURATION.name, &of, durations);
        }
    }

    /// A native histogram and, for those who do not know them, buckets.
    fn durations(&mut self, name: &str, of: &[(&str, &str)], durations: &Durations) {
        for (bound, count) in durations.classic() {
            let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let mut labels = of.to_vec();
            labels.push(("le", &bound));
            self.number(&format!("{name}_bucket"), &labels, count as f64);
        }
        self.number(&format!("{name}_sum"), of, durations.sum_s());
        self.number(&format!("{name}_count"), of, durations.count() as f64);
        let labels = self.labels(name, of);
        self.histograms.push((labels, durations.native()));
    }

    fn number(&mut self, name: &str, of: &[(&str, &str)], value: f64) {
        let labels = self.labels(name, of);
        self.numbers.push(Pending { labels, at_ms: self.at_ms, value });
    }

    fn labels(&self, name: &str, of: &[(&str, &str)]) -> Labels {
        let own = [(METRIC_NAME, name), ("job", "logs"), ("instance", self.log), ("log", self.log)];
        // An empty value is no label.
        Labels::from_pairs(own.into_iter().chain(of.iter().copied().filter(|(_, value)| !value.is_empty())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_logs::Entry;
    use monitor_logs::count::Limits;

    #[test]
    fn counts_become_samples() {
        let mut counts = Counts::new(Limits::default(), 1);
        let of = |status, bytes, duration_us| Entry {
            status,
            bytes,
            duration_us,
            host: b"shop.example",
            method: b"GET",
            target: b"/orders/7",
            ..Entry::default()
        };
        counts.add(&of(200, 5, Some(2_000)));
        counts.add(&of(200, 6, Some(60_000_000)));
        counts.add(&of(503, 0, None));
        let mut samples = Samples { log: "edge", at_ms: 7, numbers: Vec::new(), histograms: Vec::new() };
        samples.add(&counts);
        let text: Vec<String> = samples.numbers.iter().map(|p| format!("{} {}", p.labels, p.value)).collect();
        let own = r#"instance="edge", job="logs""#;
        let route = r#"host="shop.example", instance="edge", job="logs""#;
        for expected in [
            format!(r#"bastide_log_requests_total{{code="200", {own}, log="edge"}} 2"#),
            format!(r#"bastide_log_requests_total{{code="503", {own}, log="edge"}} 1"#),
            format!(r#"bastide_log_sent_bytes_total{{{own}, log="edge"}} 11"#),
            format!(r#"bastide_log_request_duration_seconds_bucket{{{own}, le="0.001", log="edge"}} 0"#),
            format!(r#"bastide_log_request_duration_seconds_bucket{{{own}, le="0.0025", log="edge"}} 1"#),
            format!(r#"bastide_log_request_duration_seconds_bucket{{{own}, le="+Inf", log="edge"}} 2"#),
            format!(r#"bastide_log_request_duration_seconds_sum{{{own}, log="edge"}} 60.002"#),
            format!(r#"bastide_log_request_duration_seconds_count{{{own}, log="edge"}} 2"#),
            format!(r#"bastide_log_other_requests_total{{{own}, log="edge", what="route"}} 0"#),
            format!(
                r#"bastide_log_route_requests_total{{class="5xx", {route}, log="edge", method="GET", route="/orders/:id"}} 1"#
            ),
            format!(
                r#"bastide_log_route_sent_bytes_total{{{route}, log="edge", method="GET", route="/orders/:id"}} 11"#
            ),
        ] {
            assert!(text.contains(&expected), "{expected} not in {text:#?}");
        }
        assert_eq!(samples.histograms.len(), 2);
        assert_eq!(samples.histograms[1].1.count, 2.0);
    }
}
