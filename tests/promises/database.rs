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
    // The postmaster and all its children: a machine that hangs.
    signal(&family(pid), "STOP");
    eventually("it is taken out", Duration::from_secs(30), || {
        (member(&site, "main/1")["up"] == false).then_some(())
    });
    let ada = Customer::new(&site, "ada");
    for count in 1..=10 {
        ada.add(count);
        assert_eq!(ada.cart_count(), count);
    }
    signal(&family(pid), "CONT");
    eventually("it is back", Duration::from_secs(30), || {
        (member(&site, "main/1")["up"] == true).then_some(())
    });
}

#[test]
fn a_lagging_replica_gets_no_reads_until_it_has_caught_up() {
    let site = Site::shop(|text| text);
    site.up();
    on_member(&site, 1, "SELECT pg_wal_replay_pause()");
    let ada = Customer::new(&site, "ada");
    for count in 1..=10 {
        ada.add(count);
        assert_eq!(ada.cart_count(), count, "a paused replica is never asked for what it lacks");
    }
    // Behind by more than `max_lag`, it takes no reads at all.
    eventually("it is taken out", Duration::from_secs(30), || {
        ada.request("/cart/update", &[("product", "1"), ("quantity", "1")]);
        let member = member(&site, "main/1");
        (member["takes"] == "nothing" && member["why"].as_str().is_some_and(|why| why.contains("max_lag")))
            .then_some(())
    });
    eventually("the page shows the lag", Duration::from_secs(30), || {
        ada.request("/cart/update", &[("product", "1"), ("quantity", "1")]);
        site.value("bastide_database_replica_lag_seconds{member=\"main/1\"}").filter(|lag| *lag > 2.0)
    });
    on_member(&site, 1, "SELECT pg_wal_replay_resume()");
    eventually("it is back", Duration::from_secs(30), || {
        (member(&site, "main/1")["takes"] == "reads").then_some(())
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

/// Runs a statement on a member of `main`, as its superuser, through its Unix socket.
fn on_member(site: &Site, number: usize, sql: &str) {
    let book = std::fs::read_to_string(site.state_dir().join("book.json")).expect("the book");
    let book: Value = serde_json::from_str(&book).expect("JSON");
    let password = book["passwords"]["database.main/superuser"].as_str().expect("the superuser's password");
    let port = book["ports"][format!("database.main/{number}")].as_u64().expect("the member's port");
    let output = std::process::Command::new("psql")
        .env("PGPASSWORD", password)
        .args([
            "--no-psqlrc",
            "--username",
            "postgres",
            "--dbname",
            "postgres",
            "--port",
            &port.to_string(),
            "--command",
            sql,
        ])
        .arg("--host")
        .arg(site.run_dir().join("database.main"))
        .output()
        .expect("psql runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A process and its children.
fn family(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_ascii_whitespace().filter_map(|child| child.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

fn signal(pids: &[i32], name: &str) {
    let pids = pids.iter().map(i32::to_string);
    let done = std::process::Command::new("kill").arg(format!("-{name}")).args(pids).status();
    assert!(done.expect("kill runs").success());
}
