//! Policies and bans in a real kernel, between virtual hosts.
//!
//! Hosts: `server` runs the policy; `visitor` and `operator` reach it over a cable
//! each. A closed port is told from an open one by time: what is dropped does not
//! answer, so each probe of a closed port takes [`SILENCE`].

// A test that is skipped says why.
#![allow(clippy::print_stdout)]

use base::Millis;
use base::net::IpNet;
use firewall::kernel::{self, Failure};
use firewall::{
    Allow, Machine, Policy, PortRange, Protocol, Request, Response, Role, Settings, Topology, policy,
    serve_one,
};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use testkit::netns::{Host, unavailable};

/// A probe that is not answered for so long was dropped: a cable between
/// namespaces answers within a millisecond. TCP sends its first segment again
/// after one second, so that a lost one does not count as a drop.
const SILENCE: Duration = Duration::from_millis(1_500);

const SITE: u16 = 443;
const SSH: u16 = 22;
const OTHER: u16 = 8_001;

struct Net {
    server: Host,
    visitor: Host,
    operator: Host,
    listeners: Vec<TcpListener>,
}

/// None, and a line that says why, where there can be no virtual hosts.
fn net() -> Option<Net> {
    let missing = || (!std::path::Path::new("/usr/sbin/nft").exists()).then(|| "`nft` is missing".to_owned());
    if let Some(why) = unavailable().or_else(missing) {
        println!("skipped: {why}");
        return None;
    }
    let (server, visitor, operator) = (Host::new("srv"), Host::new("vis"), Host::new("ope"));
    server.connect(&["10.1.0.1/24", "fd01::1/64"], &visitor, &["10.1.0.2/24", "10.1.0.3/24", "fd01::2/64"]);
    server.connect(&["10.2.0.1/24", "fd02::1/64"], &operator, &["10.2.0.2/24", "fd02::2/64"]);
    let listeners = server.run(|| {
        let bind = |port: &u16| TcpListener::bind(SocketAddr::from(([0u16; 8], *port))).unwrap();
        [SITE, SSH, OTHER].iter().map(bind).collect()
    });
    Some(Net { server, visitor, operator, listeners })
}

impl Net {
    /// Runs on the server.
    fn kernel<T: Send>(&self, work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
        self.server.run(work)
    }

    fn ban(&self, net: &str, duration: Option<u64>) {
        let net: IpNet = net.parse().unwrap();
        self.kernel(|| kernel::ban(net, duration.map(Millis))).unwrap();
    }

    fn apply(&self, policy: &Policy, revert_after: Option<u64>) -> firewall::Status {
        self.kernel(|| kernel::apply(policy, revert_after.map(Millis))).unwrap()
    }
}

/// Whether a port of the server answers a host; a refusal is an answer too.
fn answers(from: &Host, to: &str, port: u16) -> bool {
    let to = SocketAddr::new(to.parse::<IpAddr>().unwrap(), port);
    from.run(|| match TcpStream::connect_timeout(&to, SILENCE) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    })
}

/// The site on one machine, with SSH for the operator's networks.
fn site_policy(ports: &[u16]) -> Policy {
    let allow = |net: &str| Allow {
        protocol: Protocol::Tcp,
        ports: PortRange::one(SSH),
        from: Some(net.parse().unwrap()),
    };
    let settings = Settings {
        allow: vec![allow("10.2.0.0/24"), allow("fd02::/64")],
        trusted_proxies: vec!["10.1.0.3/32".parse().unwrap()],
    };
    let machine =
        Machine { name: "here".into(), addresses: vec![], roles: vec![Role::Edge { ports: ports.to_vec() }] };
    policy(&settings, &Topology { machines: vec![machine] }, "here").unwrap()
}

#[test]
fn only_declared_ports_answer() {
    let Some(net) = net() else { return };
    assert!(answers(&net.visitor, "10.1.0.1", OTHER) && answers(&net.visitor, "fd01::1", OTHER), "before");
    net.apply(&site_policy(&[SITE]), None);
    let expected: &[(&Host, &str, u16, bool)] = &[
        (&net.visitor, "10.1.0.1", SITE, true),
        (&net.visitor, "fd01::1", SITE, true),
        (&net.visitor, "10.1.0.1", OTHER, false),
        (&net.visitor, "fd01::1", OTHER, false),
        (&net.visitor, "10.1.0.1", SSH, false),
        (&net.visitor, "fd01::1", SSH, false),
        (&net.operator, "10.2.0.1", SSH, true),
        (&net.operator, "fd02::1", SSH, true),
        (&net.operator, "fd02::1", OTHER, false),
        // Closed ports too say nothing.
        (&net.visitor, "10.1.0.1", 9_999, false),
        (&net.server, "127.0.0.1", OTHER, true),
        (&net.server, "::1", OTHER, true),
    ];
    // All at once, since each closed one takes its time.
    std::thread::scope(|scope| {
        for (host, to, port, open) in expected {
            scope.spawn(move || assert_eq!(answers(host, to, *port), *open, "{to} {port}"));
        }
    });
    udp_is_closed_and_replies_come_back(&net);
}

/// The server asks the visitor over UDP and TCP and hears the answers, although
/// nothing of it is open to the visitor.
fn udp_is_closed_and_replies_come_back(net: &Net) {
    let far = net.visitor.run(|| UdpSocket::bind("10.1.0.2:5353").unwrap());
    let near = net.server.run(|| UdpSocket::bind("10.1.0.1:0").unwrap());
    let mut buffer = [0; 8];
    far.send_to(b"unasked", near.local_addr().unwrap()).unwrap();
    near.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(near.recv_from(&mut buffer).is_err(), "a datagram nobody asked for came in");
    near.send_to(b"ask", far.local_addr().unwrap()).unwrap();
    let (_, asker) = far.recv_from(&mut buffer).unwrap();
    far.send_to(b"reply", asker).unwrap();
    near.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(near.recv_from(&mut buffer).map(|(n, _)| n).unwrap(), 5);

    let far = net.visitor.run(|| TcpListener::bind("[fd01::2]:0").unwrap());
    let to = far.local_addr().unwrap();
    assert!(net.server.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5))).is_ok());
}

#[test]
fn machines_open_to_one_another_only_what_they_need() {
    let Some(net) = net() else { return };
    let machine = |name: &str, addresses: &[&str], roles: Vec<Role>| Machine {
        name: name.into(),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        roles,
    };
    let app = Role::App { pool: "app".into(), ports: vec![OTHER] };
    let machines = vec![
        machine("edge-1", &["10.1.0.2", "fd01::2"], vec![Role::Edge { ports: vec![SITE] }]),
        machine("db-1", &["10.2.0.2"], vec![Role::Router { database: "main".into(), port: 6_432 }]),
        machine("web-1", &["10.1.0.1"], vec![app]),
    ];
    let policy = policy(&Settings::default(), &Topology { machines }, "web-1").unwrap();
    net.apply(&policy, None);
    assert!(answers(&net.visitor, "10.1.0.1", OTHER) && answers(&net.visitor, "fd01::1", OTHER));
    assert!(!answers(&net.operator, "10.2.0.1", OTHER), "the database machine reaches the web server");
    assert!(!answers(&net.visitor, "10.1.0.1", SITE), "there is no edge here");
    // A ban of one of the site's own machines, by mistake, cuts nothing.
    net.ban("10.1.0.0/24", None);
    assert!(answers(&net.visitor, "10.1.0.1", OTHER));
}

#[test]
fn bans_drop_and_the_allow_list_beats_them() {
    let Some(net) = net() else { return };
    net.apply(&site_policy(&[SITE]), None);
    let mut open = net.visitor.run(|| TcpStream::connect(("10.1.0.1", SITE)).unwrap());
    let (mut accepted, _) = net.listeners[0].accept().unwrap();

    net.ban("10.1.0.2/32", Some(60_000));
    net.ban("fd01::/64", None);
    net.ban("10.2.0.0/16", None);
    assert!(!answers(&net.visitor, "10.1.0.1", SITE), "banned by address");
    assert!(!answers(&net.visitor, "fd01::1", SITE), "banned by network");
    assert!(answers(&net.operator, "10.2.0.1", SSH), "the allow-list beats a ban");
    assert!(!answers(&net.operator, "10.2.0.1", SITE), "but not for other ports");
    assert!(answers(&net.operator, "fd02::1", SITE), "not banned");
    // An open connection is cut off too: what the client sends no longer arrives.
    open.write_all(b"x").unwrap();
    accepted.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(accepted.read(&mut [0]).is_err(), "a banned client's connection goes on");

    // A ban survives another policy, and ends when it is lifted.
    net.apply(&site_policy(&[SITE, OTHER]), None);
    assert!(!answers(&net.visitor, "10.1.0.1", SITE));
    let listed: Vec<String> = net.kernel(kernel::list).unwrap().iter().map(|b| b.net.to_string()).collect();
    assert_eq!(listed, ["10.1.0.2/32", "10.2.0.0/16", "fd01::/64"]);
    net.kernel(|| kernel::unban("10.1.0.2/32".parse().unwrap())).unwrap();
    assert!(answers(&net.visitor, "10.1.0.1", SITE));

    let failure = net.kernel(|| kernel::unban("10.2.0.2/32".parse().unwrap())).unwrap_err();
    assert!(failure.hint.contains("`10.2.0.0/16`"), "{failure}");
}

#[test]
fn bans_of_trusted_proxies_have_no_effect() {
    let Some(net) = net() else { return };
    let policy = site_policy(&[SITE]);
    net.apply(&policy, None);
    net.ban("10.1.0.0/24", None);
    assert!(!answers(&net.visitor, "10.1.0.1", SITE), "10.1.0.2 is banned");
    // The visitor's second address is the trusted proxy's.
    let (proxy, site) = ("10.1.0.3:0".parse().unwrap(), SocketAddr::from(([10, 1, 0, 1], SITE)));
    let through_proxy = net.visitor.run(|| testkit::netns::connect_from(proxy, site, SILENCE));
    assert!(through_proxy.is_ok(), "{through_proxy:?}");
    assert!(policy.exempts(&"10.1.0.3/32".parse().unwrap()).is_some());
}

#[test]
fn bans_end_by_themselves_and_can_be_renewed() {
    let Some(net) = net() else { return };
    net.apply(&site_policy(&[SITE]), None);
    net.ban("10.1.0.2/32", None);
    // Shorter: a ban replaces the one before.
    net.ban("10.1.0.2/32", Some(2_000));
    assert!(!answers(&net.visitor, "10.1.0.1", SITE));
    let until = Instant::now() + Duration::from_secs(10);
    while !answers(&net.visitor, "10.1.0.1", SITE) {
        assert!(Instant::now() < until, "the ban did not end");
    }
    assert_eq!(net.kernel(kernel::list).unwrap(), []);
    let failure = net.kernel(|| kernel::unban("10.1.0.2/32".parse().unwrap())).unwrap_err();
    assert!(failure.what.contains("not banned"), "{failure}");
}

#[test]
fn an_unconfirmed_policy_falls_back_while_nobody_runs() {
    let Some(net) = net() else { return };
    let first = net.apply(&site_policy(&[SITE, OTHER]), None);
    assert_eq!((first.confirmed, first.trial), (Some(1), None));
    // The new one closes a port; nothing of ours runs after this line.
    let trial = net.apply(&site_policy(&[SITE]), Some(4_000));
    assert_eq!((trial.confirmed, trial.trial.map(|(number, _)| number)), (Some(1), Some(2)));
    assert!(!answers(&net.visitor, "10.1.0.1", OTHER) && answers(&net.visitor, "fd01::1", SITE));
    let until = Instant::now() + Duration::from_secs(20);
    while !answers(&net.visitor, "10.1.0.1", OTHER) {
        assert!(Instant::now() < until, "the policy did not fall back");
    }
    assert!(answers(&net.visitor, "fd01::1", OTHER), "for IPv6 too");
    assert!(!answers(&net.visitor, "10.1.0.1", SSH), "to the policy before, not to none");
    let failure = net.kernel(kernel::confirm).unwrap_err();
    assert!(failure.what.contains("no policy is on trial"), "{failure}");
    let failure = net.kernel(kernel::revert).unwrap_err();
    assert!(failure.what.contains("nothing to revert"), "{failure}");
}

#[test]
fn the_first_policy_on_trial_falls_back_to_none() {
    let Some(net) = net() else { return };
    net.apply(&site_policy(&[SITE]), Some(3_000));
    assert!(!answers(&net.visitor, "10.1.0.1", OTHER));
    let until = Instant::now() + Duration::from_secs(20);
    while !answers(&net.visitor, "10.1.0.1", OTHER) {
        assert!(Instant::now() < until, "the policy did not fall back");
    }
    let status = net.kernel(kernel::status).unwrap();
    assert_eq!((status.present, status.confirmed, status.trial), (true, None, None));
    net.kernel(kernel::remove).unwrap();
    assert!(!net.kernel(kernel::status).unwrap().present);
    net.kernel(kernel::remove).unwrap();
}

#[test]
fn a_confirmed_policy_stays() {
    let Some(net) = net() else { return };
    net.apply(&site_policy(&[SITE, OTHER]), None);
    net.apply(&site_policy(&[SITE]), Some(2_000));
    let status = net.kernel(kernel::confirm).unwrap();
    assert_eq!((status.confirmed, status.trial), (Some(2), None));
    // Longer than the trial would have lasted.
    let until = Instant::now() + Duration::from_millis(3_500);
    while Instant::now() < until {
        assert!(!answers(&net.visitor, "10.1.0.1", OTHER), "the confirmed policy fell back");
    }
    // A trial that is reverted is over at once.
    net.apply(&site_policy(&[SITE, OTHER]), Some(60_000));
    assert!(answers(&net.visitor, "10.1.0.1", OTHER));
    let status = net.kernel(kernel::revert).unwrap();
    assert_eq!((status.confirmed, status.trial), (Some(2), None));
    assert!(!answers(&net.visitor, "10.1.0.1", OTHER));
}

#[test]
fn the_helper_answers_requests() {
    let Some(net) = net() else { return };
    let ask = |request: Request| net.server.run(|| serve_one(request));
    let banned: IpNet = "10.1.0.2/32".parse().unwrap();
    let ban = Request::Ban { net: banned, duration: None };
    match ask(ban.clone()) {
        Response::Failed { what, .. } => assert!(what.contains("not applied"), "{what}"),
        other => panic!("{other:?}"),
    }
    match ask(Request::Apply { policy: site_policy(&[SITE]), revert_after_ms: None }) {
        Response::Status { status } => assert_eq!(status.confirmed, Some(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(ask(ban), Response::Done);
    match ask(Request::List) {
        Response::Bans { bans } => assert_eq!((bans[0].net, bans[0].remaining), (banned, None)),
        other => panic!("{other:?}"),
    }
    assert_eq!(ask(Request::Unban { net: banned }), Response::Done);
    assert_eq!(ask(Request::Remove), Response::Done);
    assert_eq!(ask(Request::List), Response::Bans { bans: vec![] });
}

#[test]
fn what_is_shown_is_what_nft_takes() {
    let Some(net) = net() else { return };
    let text = firewall::ruleset(&site_policy(&[SITE]));
    let loaded = net.server.run(|| {
        let mut child = std::process::Command::new("nft")
            .args(["-f", "-"])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    assert!(loaded.status.success(), "{}\n{text}", String::from_utf8_lossy(&loaded.stderr));
    assert!(answers(&net.visitor, "10.1.0.1", SITE) && !answers(&net.visitor, "10.1.0.1", OTHER));
}
