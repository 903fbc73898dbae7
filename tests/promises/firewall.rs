//! The policy in a real kernel, in network namespaces of the test's own: only
//! declared ports answer, nobody is locked out, bans hold.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use testkit::netns::{self, Host};
use testkit::site::{Site, eventually};

/// An unanswered packet is a dropped one; an open port answers within microseconds here.
const PATIENCE: Duration = Duration::from_millis(700);

fn reaches(client: &Host, address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("an address");
    client.run(move || TcpStream::connect_timeout(&address, PATIENCE).is_ok())
}

/// A site on the ports of root, in a host of its own.
fn site(revert_after: &str) -> Site {
    let site = Site::empty();
    site.write("public/index.html", "<!doctype html><html lang=\"en\"><title>small</title>");
    site.write(
        "bastide.toml",
        &format!(
            "[site]\nname = \"walls\"\n\n[[route]]\npath = \"/*\"\nfiles = \"./public\"\n\n[firewall]\napply = true\nallow = [\"22/tcp\", \"2222/tcp from 10.91.0.9\"]\nrevert_after = \"{revert_after}\"\n"
        ),
    );
    site
}

#[test]
fn only_declared_ports_answer_until_an_unconfirmed_policy_falls_back() {
    if let Some(why) = netns::unavailable() {
        println!("skipped: {why}");
        return;
    }
    let (server, client) = (Host::new("srv"), Host::new("cli"));
    server.connect(&["10.91.0.1/24", "fd91::1/64"], &client, &["10.91.0.2/24", "fd91::2/64"]);
    let others: Vec<TcpListener> = server.run(|| {
        let ports = [22, 2222, 9999];
        ports
            .iter()
            .flat_map(|p| {
                ["0.0.0.0", "[::1]"].map(|ip| TcpListener::bind(format!("{ip}:{p}")).expect("a port"))
            })
            .collect()
    });
    let six: Vec<TcpListener> = server.run(|| {
        [22, 9999].iter().map(|p| TcpListener::bind(format!("[fd91::1]:{p}")).expect("a port")).collect()
    });
    assert!(reaches(&client, "10.91.0.1:9999"), "open before there is a policy");

    // Long enough to look around before it falls back.
    let site = site("20s");
    server.run(|| site.up());
    for open in
        ["10.91.0.1:443", "10.91.0.1:80", "10.91.0.1:22", "[fd91::1]:443", "[fd91::1]:80", "[fd91::1]:22"]
    {
        assert!(reaches(&client, open), "{open} is declared");
    }
    for closed in ["10.91.0.1:9999", "10.91.0.1:2222", "[fd91::1]:9999", "10.91.0.1:9600"] {
        assert!(!reaches(&client, closed), "{closed} is not declared");
    }
    // Our processes may all be dead: the kernel falls back by itself.
    let supervisor = server.run(|| site.supervisor_pid());
    site.kill(supervisor);
    eventually("the kernel falls back", Duration::from_secs(40), || {
        reaches(&client, "10.91.0.1:9999").then_some(())
    });
    drop((others, six));
    server.run(|| site.down());
}

#[test]
fn a_confirmed_policy_stays_and_bans_hold_until_lifted() {
    if let Some(why) = netns::unavailable() {
        println!("skipped: {why}");
        return;
    }
    let (server, client) = (Host::new("srv"), Host::new("cli"));
    server.connect(&["10.92.0.1/24", "fd92::1/64"], &client, &["10.92.0.2/24", "fd92::2/64"]);
    let other = server.run(|| TcpListener::bind("0.0.0.0:9999").expect("a port"));
    let site = site("5s");
    server.run(|| {
        site.up();
        site.ok(&["firewall", "confirm"]);
    });
    // Well past the time at which it would have fallen back.
    let end = std::time::Instant::now() + Duration::from_secs(7);
    while std::time::Instant::now() < end {
        assert!(!reaches(&client, "10.92.0.1:9999"), "the policy stays");
    }
    assert!(reaches(&client, "10.92.0.1:443"));

    server.run(|| site.ok(&["ban", "10.92.0.2", "--for", "1h", "--why", "a test"]));
    assert!(!reaches(&client, "10.92.0.1:443"), "banned");
    assert!(reaches(&client, "[fd92::1]:443"), "the ban is of one address");
    let bans = server.run(|| site.ok(&["bans"]));
    assert!(bans.contains("10.92.0.2") && bans.contains("a test"), "{bans}");
    server.run(|| site.ok(&["unban", "10.92.0.2"]));
    assert!(reaches(&client, "10.92.0.1:443"), "the ban was lifted");

    // The allow-list beats a ban.
    let refused = server.run(|| site.run(&["ban", "10.91.0.0/16"]));
    assert_eq!(refused.status.code(), Some(1), "10.91.0.9 is on the allow-list");

    server.run(|| site.down());
    assert!(reaches(&client, "10.92.0.1:9999"), "the policy leaves with the site");
    drop(other);
    // A policy that was confirmed is in force at once at the next `up`.
    let other = server.run(|| TcpListener::bind("0.0.0.0:9999").expect("a port"));
    let said = server.run(|| site.run(&["up", "--detach"]));
    assert!(said.status.success(), "{}", site.logs());
    assert!(!reaches(&client, "10.92.0.1:9999"));
    server.run(|| site.down());
    drop(other);
}
