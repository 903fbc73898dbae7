//! `kill -9` of any one process loses nothing that was acknowledged.

use std::time::Duration;
use testkit::customer::Customer;
use testkit::load::Load;
use testkit::site::{Site, eventually};

#[test]
fn the_supervisor_may_be_killed_and_the_next_up_carries_on() {
    let site = Site::shop(|text| text);
    site.up();
    let load = Load::start(&site.url(), &site.root_pem(), "/product/3", 4, Duration::from_millis(2));
    let before: Vec<i32> =
        ["edge", "database", "app/1", "database.main/0"].map(|name| site.pid(name)).to_vec();
    site.kill(site.supervisor_pid());
    let answered = load.so_far().ok();
    eventually("requests flow without a supervisor", Duration::from_secs(20), || {
        (load.so_far().ok() > answered + 200).then_some(())
    });
    site.up();
    let after: Vec<i32> =
        ["edge", "database", "app/1", "database.main/0"].map(|name| site.pid(name)).to_vec();
    assert_eq!(before, after, "what ran was adopted");
    let so_far = load.so_far();
    assert!(so_far.is_perfect(), "the supervisor's death and the next `up` cost no request: {so_far:?}");
    // Adopted processes are supervised like others, and their sockets are held again.
    site.kill(after[0]);
    eventually("the edge is started again", Duration::from_secs(20), || {
        let answer = site.curl(&["--output", "/dev/null", "--write-out", "%{http_code}"], "/product/3");
        (answer.stdout == b"200").then_some(())
    });
    assert_ne!(site.pid("edge"), before[0]);
    let outcome = load.stop();
    // The edge's own death cuts what it was answering; until then nothing was lost.
    assert!(outcome.broken.len() <= 8, "{outcome:?}");
    assert_eq!(outcome.ok() + outcome.broken.len() as u64, outcome.sent, "{outcome:?}");
}

#[test]
fn each_process_may_be_killed_and_the_site_is_ready_again_with_every_order() {
    let site = Site::shop(|text| text);
    site.up();
    let mut orders = Vec::new();
    for (round, name) in
        ["control", "monitor", "agent", "edge", "database", "app/2", "database.main/1", "database.main/0"]
            .iter()
            .enumerate()
    {
        let ada = Customer::new(&site, &format!("ada-{round}"));
        orders.push((round, ada.buy(3)));
        let pid = site.pid(name);
        site.kill(pid);
        eventually(&format!("ready again after {name}"), Duration::from_secs(60), || {
            let status = site.status();
            let again = status["processes"]
                .as_array()?
                .iter()
                .any(|p| p["name"] == *name && p["pid"].as_i64().is_some_and(|now| now != i64::from(pid)));
            (again && status["ready"] == true).then_some(())
        });
        for (round, order) in &orders {
            let ada = Customer::new(&site, &format!("ada-{round}"));
            let page = eventually("the order's page", Duration::from_secs(20), || {
                let answer = ada.request(order, &[]);
                (answer.status == 200).then_some(answer.body)
            });
            assert!(page.contains("Espresso cup"), "after {name}: {page}");
        }
    }
}
