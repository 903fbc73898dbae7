//! A web server may die: no request that can be retried is lost, and it comes back.

use std::time::Duration;
use testkit::load::Load;
use testkit::site::{Site, eventually};

#[test]
fn a_web_server_killed_under_load_costs_no_request_and_comes_back() {
    let site = Site::shop(|text| text);
    site.up();
    let load = Load::start(&site.url(), &site.root_pem(), "/product/3", 8, Duration::from_millis(2));
    for _ in 0..3 {
        let before = site.pid("app/1");
        let answered = load.so_far().ok();
        eventually("the load flows", Duration::from_secs(20), || {
            (load.so_far().ok() > answered + 200).then_some(())
        });
        site.kill(before);
        let after = eventually("it is started again", Duration::from_secs(20), || {
            let status = site.status();
            let list = status["processes"].as_array()?.clone();
            list.iter().find(|p| p["name"] == "app/1")?["pid"]
                .as_i64()
                .filter(|pid| *pid != i64::from(before))
        });
        assert_ne!(after, i64::from(before));
        eventually("the edge uses it again", Duration::from_secs(20), || {
            (site.status()["ready"] == true).then_some(())
        });
    }
    let outcome = load.stop();
    assert!(outcome.is_perfect(), "{outcome:?}");
}

#[test]
fn a_rolling_restart_costs_no_request() {
    let site = Site::shop(|text| text);
    site.up();
    let load = Load::start(&site.url(), &site.root_pem(), "/product/3", 8, Duration::from_millis(2));
    eventually("the load flows", Duration::from_secs(20), || (load.so_far().ok() > 100).then_some(()));
    let before = (site.pid("app/1"), site.pid("app/2"));
    site.edit(|text| text.replace("instances = 2", "instances = 2\nenv = { SHOP_NOTE = \"new\" }"));
    let said = site.ok(&["reload"]);
    assert!(said.contains("restarted app/1") && said.contains("restarted app/2"), "{said}");
    let after = (site.pid("app/1"), site.pid("app/2"));
    assert!(before.0 != after.0 && before.1 != after.1, "{before:?} {after:?}");
    let outcome = load.stop();
    assert!(outcome.ok() > 100 && outcome.is_perfect(), "{outcome:?}");
}
