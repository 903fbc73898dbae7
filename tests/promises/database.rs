//! Reads follow writes, replicas may lag or stop, the primary may be killed.

use serde_json::Value;
use std::time::Duration;
use testkit::customer::Customer;
use testkit::site::{Site, eventually};

fn member(site: &Site, name: &str) -> Value {
    let status = site.status();
    let databases = status["database"]["databases"].as_array().cloned().unwrap_or_default();
    let members = databases.iter().filter_map(|d| d["members"].as_array()).flatten();
    members.into_iter().find(|m| m["name"] == name).cloned().unwrap_or(Value::Null)
}

#[test]
fn the_cart_is_never_empty_after_it_was_filled() {
    let site = Site::shop(|text| text);
    site.up();
    let ada = Customer::new(&site, "ada");
    // Odd and even requests meet different web servers, and these different connections.
    for count in 1..=40 {
        ada.add(1 + count % 40);
        assert_eq!(ada.cart_count(), count, "after {count} additions");
    }
    let reads = eventually("replicas took reads", Duration::from_secs(20), || {
        site.value("sum(bastide_database_statements_total{member!=\"main/0\",kind=\"read\"})")
            .filter(|n| *n > 0.0)
    });
    assert!(reads > 0.0);
}

#[test]
fn a_stopped_replica_gets_no_reads_and_comes_back() {
    let site = Site::shop(|text| text);
    site.up();
    let pid = site.pid("database.main/1");
    signal(pid, "STOP");
    eventually("it is taken out", Duration::from_secs(30), || {
        (member(&site, "main/1")["up"] == false).then_some(())
    });
    let ada = Customer::new(&site, "ada");
    for count in 1..=10 {
        ada.add(count);
        assert_eq!(ada.cart_count(), count);
    }
    signal(pid, "CONT");
    eventually("it is back", Duration::from_secs(30), || {
        (member(&site, "main/1")["up"] == true).then_some(())
    });
}

#[test]
fn the_primary_is_killed_again_and_again_and_no_acknowledged_order_is_lost() {
    let site = Site::shop(|text| text.replace("rate = \"5/s\", burst = 20", "rate = \"500/s\", burst = 500"));
    site.up();
    let mut orders: Vec<(String, String)> = Vec::new();
    for round in 0..4 {
        let name = format!("ada-{round}");
        let ada = Customer::new(&site, &name);
        for product in 1..=4 {
            // An answer that is no redirect acknowledges nothing.
            ada.add(product);
            let answer = ada.check_out();
            if answer.status == 303 {
                orders.push((name.clone(), answer.location));
            }
        }
        site.kill(site.pid("database.main/0"));
        eventually("the shop sells again", Duration::from_secs(60), || {
            let answer =
                Customer::new(&site, &format!("probe-{round}")).request("/cart/add", &[("product", "1")]);
            (answer.status == 303).then_some(())
        });
    }
    assert!(orders.len() >= 12, "{} orders", orders.len());
    for (name, order) in &orders {
        assert_eq!(Customer::new(&site, name).request(order, &[]).status, 200, "order {order} of {name}");
    }
}

fn signal(pid: i32, name: &str) {
    let done = std::process::Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(done.expect("kill runs").success());
}
