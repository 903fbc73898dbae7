//! The agent's admin socket, scraped by the monitor.

use crate::common::{Home, admin, site, until};
use base::Address;
use role::Shutdown;

#[test]
fn the_hosts_readings_reach_the_api() {
    let home = Home::new();
    let shutdown = Shutdown::manual();
    let start = home.start("agent", site::Agent::default(), &shutdown);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(monitor::agent::run(start))
    });
    let socket = home.run().join("agent.sock");
    let text = until("the agent answers", || {
        let (status, body) = admin(&socket, "GET", "/metrics", "").ok()?;
        (status == 200).then(|| String::from_utf8(body).unwrap())
    });
    assert!(text.contains("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}"), "{text}");

    let mut site = site();
    site.targets = vec![site::Target {
        job: "agent".into(),
        instance: "agent".into(),
        address: Address::Unix(socket),
        tls: false,
        path: "/metrics".into(),
    }];
    let monitor = home.monitor(site);
    until("memory", || monitor.value("node_memory_MemTotal_bytes{job=\"agent\"}").filter(|v| *v > 1e6));
    // Of what every machine has; where it lacks one's subject, a collector gives 0,
    // as node_exporter does.
    until("the collectors work", || {
        let common = "cpu|diskstats|filesystem|loadavg|meminfo|netdev|netstat|stat|time|uname|vmstat";
        monitor
            .value(&format!("sum(node_scrape_collector_success{{collector=~\"{common}\"}})"))
            .filter(|v| *v == 11.0)
    });
    until("the slow collectors work", || {
        monitor.value("sum(namedprocess_namegroup_num_procs)").filter(|v| *v > 0.0)
    });
    monitor.stop();
    shutdown.drain();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_database_that_is_not_there_is_down_and_named() {
    let home = Home::new();
    let shutdown = Shutdown::manual();
    let told = |name: &str| site::AgentPostgres {
        name: name.into(),
        address: Address::Unix(home.run().join("no-postgres")),
        user: "watcher".into(),
        password: base::Secret::new("never-shown"),
        database: "shop".into(),
    };
    let databases = vec![told("main"), told("other")];
    let start = home.start("agent", site::Agent { postgres: databases, ..Default::default() }, &shutdown);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(monitor::agent::run(start))
    });
    let socket = home.run().join("agent.sock");
    let get = |path: &str| {
        let (status, body) = admin(&socket, "GET", path, "").ok()?;
        (status == 200).then(|| String::from_utf8(body).unwrap())
    };
    let text =
        until("both are asked", || get("/metrics").filter(|text| text.matches("\npg_up{").count() == 2));
    assert_eq!(text.matches("# TYPE pg_up gauge").count(), 1);
    assert!(text.contains("pg_up{server=\"main\"} 0") && text.contains("pg_up{server=\"other\"} 0"));
    let status = until("the status", || get("/status"));
    assert!(status.contains("postgres main: cannot ask") && status.contains("no-postgres"), "{status}");
    assert!(!status.contains("never-shown") && !text.contains("never-shown"));
    shutdown.drain();
    thread.join().unwrap().unwrap();
}
