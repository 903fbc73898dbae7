//! Probes: what is tried from outside is a series, and a line of the status page.

use crate::common::{Fake, Home, site, until};
use base::Millis;
use site::{Probe, ProbeKind};

fn page(name: &str, fake: &Fake, public: bool) -> Probe {
    let kind = ProbeKind::Http {
        url: format!("http://{}/", fake.address),
        status: Vec::new(),
        body: Some("Add to cart".into()),
        not_body: None,
        no_redirects: false,
        insecure: false,
        ca: None,
    };
    Probe { name: name.into(), kind, every: Millis(1_000), timeout: Millis(900), public }
}

#[test]
fn an_outage_is_a_series_and_shown_and_over_when_it_is_over() {
    let home = Home::new();
    let fake = Fake::new("Add to cart");
    let mut site = site();
    site.probes = vec![page("<shop>", &fake, true), page("secret-name", &fake, false)];
    let monitor = home.monitor(site.clone());
    let success = "probe_success{job=\"probe\",instance=\"<shop>\"}";
    until("it is well", || monitor.value(success).filter(|v| *v == 1.0));
    assert_eq!(monitor.value("probe_http_status_code{instance=\"<shop>\"}"), Some(200.0));
    assert_eq!(monitor.value("count(probe_http_duration_seconds{instance=\"<shop>\"})"), Some(5.0));
    until("the other, too", || {
        monitor.value("probe_success{instance=\"secret-name\"}").filter(|v| *v == 1.0)
    });
    let status = || String::from_utf8(monitor.get("/status").2).unwrap();
    assert!(status().contains("All services are well."), "{}", status());

    fake.say(500, "Add to cart");
    until("it is not", || monitor.value(success).filter(|v| *v == 0.0));
    until("and shown so", || {
        status().contains("<strong>&lt;shop&gt;</strong> is not well since").then_some(())
    });
    let html = status();
    assert!(!html.contains("secret-name") && !html.contains(&fake.address.to_string()), "{html}");
    let json = monitor.json("/status.json");
    assert_eq!((&json["well"], json["services"].as_array().unwrap().len()), (&false.into(), 1));
    monitor.stop();

    // The incident is remembered over a restart, and ends.
    let monitor = home.monitor(site.clone());
    assert_eq!(monitor.json("/status.json")["well"], false);
    fake.say(200, "Add to cart");
    until("it is well again", || (monitor.json("/status.json")["well"] == true).then_some(()));
    let html = String::from_utf8(monitor.get("/status").2).unwrap();
    assert!(html.contains("Past incidents"), "{html}");
    assert_eq!(monitor.get("/status.css").0, 200);
    monitor.stop();
}

#[test]
fn a_probe_that_cannot_be_is_refused() {
    let home = Home::new();
    let fake = Fake::new("");
    let mut wrong = site();
    wrong.probes = vec![page("shop", &fake, true)];
    if let ProbeKind::Http { body, .. } = &mut wrong.probes[0].kind {
        *body = Some("(".into());
    }
    let monitor = home.monitor(site());
    let revision = serde_json::to_string(&crate::common::revision(2, wrong)).unwrap();
    let (status, body) = monitor.admin("POST", "/prepare", &revision);
    assert_ne!(status, 200);
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.contains("probe `shop`") && body.contains("is not a regular expression"), "{body}");
    monitor.stop();
}
