//! Counters are exact: what the load generator sent is what is counted.

use std::time::Duration;
use testkit::load::Load;
use testkit::site::{Site, eventually};

#[test]
fn requests_counted_equal_requests_sent_and_the_page_follows_from_them() {
    let site = Site::shop(|text| text);
    site.up();
    let load = Load::start(&site.url(), &site.root_pem(), "/product/7", 4, Duration::from_millis(1));
    let qps = eventually("a rate on the page", Duration::from_secs(40), || {
        site.value("site:qps").filter(|qps| *qps > 0.0)
    });
    assert!(qps > 0.0);
    let outcome = load.stop();
    assert!(outcome.is_perfect(), "{outcome:?}");
    let sent = outcome.sent as f64;
    let counted = "sum(bastide_edge_requests_total{pool=\"app\",code=\"200\"})";
    eventually("every request is counted", Duration::from_secs(15), || {
        (site.value(counted) == Some(sent)).then_some(())
    });
    let servers = "sum(bastide_edge_server_requests_total{code=\"200\"})";
    assert_eq!(site.value(servers), Some(sent));
    let timed = "sum(bastide_edge_request_duration_seconds_count{pool=\"app\"})";
    assert_eq!(site.value(timed), Some(sent));
    // The access log, read back by the monitor, says the same.
    let logged = "sum(bastide_log_requests_total{log=\"edge\",code=\"200\"})";
    eventually("every request is in the log", Duration::from_secs(15), || {
        (site.value(logged) == Some(sent)).then_some(())
    });
}
