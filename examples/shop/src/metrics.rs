//! What the shop counts, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds in seconds: pages take milliseconds, and patience with an absent database ends at 5 s.
const BUCKETS: [f64; 12] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// All counters of one instance. Labels come from the program's own routes and
/// methods, so there is a bounded number of them.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, String, u16), u64>>,
    durations: Mutex<BTreeMap<String, Histogram>>,
    in_flight: AtomicU64,
    orders: AtomicU64,
    order_cents: AtomicU64,
    cart_adds: AtomicU64,
    unavailable: AtomicU64,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum_s: f64,
}

impl Metrics {
    /// A request began.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// It ended, one way or another.
    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &'static str, route: &str, code: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method, route.to_owned(), code)).or_default() += 1;
        drop(requests);
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = durations.entry(route.to_owned()).or_default();
        let took = took.as_secs_f64();
        histogram.count += 1;
        histogram.sum_s += took;
        if let Some(bucket) = BUCKETS.iter().position(|bound| took <= *bound) {
            histogram.buckets[bucket] += 1;
        }
    }

    /// An order was placed, for so much.
    pub(crate) fn ordered(&self, cents: i64) {
        self.orders.fetch_add(1, Ordering::Relaxed);
        self.order_cents.fetch_add(cents.unsigned_abs(), Ordering::Relaxed);
    }

    /// Something was put into a cart.
    pub(crate) fn added(&self) {
        self.cart_adds.fetch_add(1, Ordering::Relaxed);
    }

    /// A visitor was told to come back later, because the database is away.
    pub(crate) fn told_unavailable(&self) {
        self.unavailable.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it as text, with the database's numbers.
    pub(crate) fn text(&self, (open, idle): (u32, usize), retries: u64) -> String {
        let mut text = String::with_capacity(4096);
        let mut family = |name: &str, kind: &str, help: &str, samples: &str| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}");
        };
        let mut samples = String::new();
        for ((method, route, code), n) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let _ = writeln!(
                samples,
                "http_requests_total{{method=\"{method}\",route=\"{route}\",code=\"{code}\"}} {n}"
            );
        }
        family("http_requests_total", "counter", "Requests answered.", &samples);

        samples.clear();
        for (route, histogram) in self.durations.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            histogram.write(&mut samples, route);
        }
        let help = "From a request's head to its response's head.";
        family("http_request_duration_seconds", "histogram", help, &samples);

        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (euros, cents) = (value(&self.order_cents) / 100, value(&self.order_cents) % 100);
        for (name, kind, help, number) in [
            (
                "http_requests_in_flight",
                "gauge",
                "Requests being answered.",
                value(&self.in_flight).to_string(),
            ),
            ("shop_orders_total", "counter", "Orders placed.", value(&self.orders).to_string()),
            (
                "shop_order_euros_total",
                "counter",
                "Worth of the orders placed.",
                format!("{euros}.{cents:02}"),
            ),
            (
                "shop_cart_adds_total",
                "counter",
                "Times something was put into a cart.",
                value(&self.cart_adds).to_string(),
            ),
            (
                "shop_unavailable_total",
                "counter",
                "Pages refused because the database was away.",
                value(&self.unavailable).to_string(),
            ),
            (
                "shop_database_retries_total",
                "counter",
                "Work begun again because the database went away in the middle.",
                retries.to_string(),
            ),
        ] {
            family(name, kind, help, &format!("{name} {number}\n"));
        }
        let busy = (open as usize).saturating_sub(idle);
        let samples = format!(
            "shop_database_connections{{state=\"idle\"}} {idle}\nshop_database_connections{{state=\"busy\"}} {busy}\n"
        );
        family("shop_database_connections", "gauge", "Connections to the database.", &samples);
        text
    }
}

impl Histogram {
    fn write(&self, samples: &mut String, route: &str) {
        let name = "http_request_duration_seconds";
        let mut below = 0;
        for (bound, n) in BUCKETS.iter().zip(self.buckets) {
            below += n;
            let _ = writeln!(samples, "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(samples, "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(samples, "{name}_sum{{route=\"{route}\"}} {}", self.sum_s);
        let _ = writeln!(samples, "{name}_count{{route=\"{route}\"}} {}", self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_requests_read_back_exactly() {
        let metrics = Metrics::default();
        for ms in [1, 2, 700, 60_000] {
            metrics.answered("GET", "/product/{id}", 200, Duration::from_millis(ms));
        }
        metrics.ordered(1_205);
        let text = metrics.text((3, 2), 7);
        for line in [
            "http_requests_total{method=\"GET\",route=\"/product/{id}\",code=\"200\"} 4",
            "http_request_duration_seconds_bucket{route=\"/product/{id}\",le=\"0.001\"} 1",
            "http_request_duration_seconds_bucket{route=\"/product/{id}\",le=\"5\"} 3",
            "http_request_duration_seconds_bucket{route=\"/product/{id}\",le=\"+Inf\"} 4",
            "shop_orders_total 1",
            "shop_order_euros_total 12.05",
            "shop_database_retries_total 7",
            "shop_database_connections{state=\"busy\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "no line `{line}` in\n{text}");
        }
    }
}
