//! Who may reach a machine, derived from the topology.

use crate::settings::{Machine, PortRange, Protocol, Role, Settings, Topology};
use base::net::IpNet;
use serde::{Deserialize, Serialize};

/// What one machine lets in, besides loopback, replies and ICMP. Everything else
/// is dropped; that is not said here, so that it cannot be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The machine's name.
    pub machine: String,
    /// The operator's allow-list: before bans.
    pub allow: Vec<Opening>,
    /// What the site's own machines need: after bans, from which they are exempt.
    pub peers: Vec<Opening>,
    /// The site's ports: after bans.
    pub site: Vec<Opening>,
    /// Whom no ban reaches in the kernel.
    pub never_banned: Vec<Exempt>,
}

/// Ports open to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The ports.
    pub ports: Vec<PortRange>,
    /// Whom.
    pub from: Source,
    /// Why, for a person.
    pub why: String,
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Anywhere.
    Anyone,
    /// These networks only; none of them means nobody.
    Nets(Vec<IpNet>),
}

/// A network that no ban reaches in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exempt {
    /// The network.
    pub net: IpNet,
    /// Why, for a person.
    pub why: String,
}

/// The policy of the machine called `name`; none where there is no such machine.
pub fn policy(settings: &Settings, topology: &Topology, name: &str) -> Option<Policy> {
    let machine = topology.machines.iter().find(|m| m.name == name)?;
    let others: Vec<&Machine> = topology.machines.iter().filter(|m| m.name != name).collect();
    let mut policy = Policy {
        machine: name.to_owned(),
        allow: allow(settings),
        peers: Vec::new(),
        site: Vec::new(),
        never_banned: Vec::new(),
    };
    for role in &machine.roles {
        derive(role, &others, &mut policy);
    }
    for net in &settings.trusted_proxies {
        let why = "a trusted proxy: its clients are banned at the edge".to_owned();
        policy.never_banned.push(Exempt { net: *net, why });
    }
    for other in others {
        let why = format!("the machine `{}` of this site", other.name);
        policy.never_banned.extend(nets(&[other]).into_iter().map(|net| Exempt { net, why: why.clone() }));
    }
    Some(policy)
}

fn allow(settings: &Settings) -> Vec<Opening> {
    let entry = |allow: &crate::settings::Allow| Opening {
        protocol: allow.protocol,
        ports: vec![allow.ports],
        from: allow.from.map_or(Source::Anyone, |net| Source::Nets(vec![net])),
        why: "`allow` of the file".to_owned(),
    };
    settings.allow.iter().map(entry).collect()
}

/// What a role opens, and to whom of the other machines.
fn derive(role: &Role, others: &[&Machine], policy: &mut Policy) {
    let with = |wanted: &dyn Fn(&Role) -> bool| -> Vec<&Machine> {
        others.iter().copied().filter(|m| m.roles.iter().any(wanted)).collect()
    };
    let edges = with(&|r| matches!(r, Role::Edge { .. }));
    let monitors = with(&|r| matches!(r, Role::Monitor));
    let apps = with(&|r| matches!(r, Role::App { .. }));
    let mut open = |ports: &[u16], to: &[&Machine], why: String| {
        // From nobody else: a rule for nobody says nothing.
        if !to.is_empty() && !ports.is_empty() {
            let opening =
                Opening { protocol: Protocol::Tcp, ports: ranges(ports), from: Source::Nets(nets(to)), why };
            policy.peers.push(opening);
        }
    };
    match role {
        // An edge on loopback alone is nobody's.
        Role::Edge { ports } if ports.is_empty() => {}
        Role::Edge { ports } => policy.site.push(Opening {
            protocol: Protocol::Tcp,
            ports: ranges(ports),
            from: Source::Anyone,
            why: "visitors reach the site here".to_owned(),
        }),
        Role::App { pool, ports } => {
            open(ports, &edges, format!("{} sends requests to `{pool}`", list("the edge", &edges)));
            open(
                ports,
                &monitors,
                format!("{} reads the metrics of `{pool}`", list("the monitor", &monitors)),
            );
        }
        Role::Router { database, port } => {
            let why = format!("web servers on {} query `{database}` through the router", names(&apps));
            open(&[*port], &apps, why);
        }
        Role::Database { database, ports } => {
            let routers = with(&|r| matches!(r, Role::Router { database: d, .. } if d == database));
            let members = with(&|r| matches!(r, Role::Database { database: d, .. } if d == database));
            open(ports, &routers, format!("{} queries `{database}`", list("the router", &routers)));
            open(ports, &members, format!("members of `{database}` on {} replicate", names(&members)));
        }
        Role::Agent { port } => {
            let why = format!("{} reads this machine's readings", list("the monitor", &monitors));
            open(&[*port], &monitors, why);
        }
        Role::Monitor => {}
    }
}

fn list(who: &str, machines: &[&Machine]) -> String {
    format!("{who} on {}", names(machines))
}

fn names(machines: &[&Machine]) -> String {
    machines.iter().map(|m| format!("`{}`", m.name)).collect::<Vec<_>>().join(", ")
}

fn nets(machines: &[&Machine]) -> Vec<IpNet> {
    machines.iter().flat_map(|m| &m.addresses).map(|ip| IpNet::from(base::net::canonical(*ip))).collect()
}

/// Ports in order, neighbours joined.
fn ranges(ports: &[u16]) -> Vec<PortRange> {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    let mut found: Vec<PortRange> = Vec::new();
    for port in sorted {
        match found.last_mut() {
            Some(last) if u32::from(port) <= u32::from(last.last) + 1 => last.last = port,
            _ => found.push(PortRange::one(port)),
        }
    }
    found
}

impl Policy {
    /// Why a ban of `net` would have no effect in the kernel, where that is so.
    pub fn exempts(&self, net: &IpNet) -> Option<&str> {
        self.never_banned.iter().find(|exempt| exempt.net.contains(net)).map(|exempt| exempt.why.as_str())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::settings::Allow;

    /// The drawing of the design: an edge, two web servers, a database of three.
    pub(crate) fn site() -> (Settings, Topology) {
        let machine = |name: &str, address: &str, roles: Vec<Role>| Machine {
            name: name.into(),
            addresses: vec![address.parse().unwrap()],
            roles: [roles, vec![Role::Agent { port: 9_601 }]].concat(),
        };
        let app = |ports: &[u16]| Role::App { pool: "app".into(), ports: ports.to_vec() };
        let member = || Role::Database { database: "main".into(), ports: vec![5_432] };
        let router = || Role::Router { database: "main".into(), port: 6_432 };
        let machines = vec![
            machine("edge-1", "10.0.0.2", vec![Role::Edge { ports: vec![443, 80] }, Role::Monitor]),
            machine("web-1", "10.0.0.3", vec![app(&[8_002, 8_001])]),
            machine("web-2", "fd00::3", vec![app(&[8_001])]),
            machine("db-1", "10.0.0.4", vec![router(), member()]),
            machine("db-2", "10.0.0.5", vec![member()]),
        ];
        let allow = Allow {
            protocol: Protocol::Tcp,
            ports: PortRange::one(22),
            from: Some("203.0.113.0/24".parse().unwrap()),
        };
        let settings =
            Settings { allow: vec![allow], trusted_proxies: vec!["198.51.100.0/24".parse().unwrap()] };
        (settings, Topology { machines })
    }

    fn openings(list: &[Opening]) -> Vec<String> {
        let one = |o: &Opening| {
            let ports: Vec<String> = o.ports.iter().map(ToString::to_string).collect();
            let from = match &o.from {
                Source::Anyone => "anyone".to_owned(),
                Source::Nets(nets) => nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            };
            format!("{} {} < {from}", ports.join(","), o.protocol.as_str())
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn who_talks_to_whom_follows_from_the_topology() {
        let (settings, topology) = site();
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("edge-1", &["80,443 tcp < anyone"], &[]),
            (
                "web-1",
                &[],
                &["8001-8002 tcp < 10.0.0.2/32", "8001-8002 tcp < 10.0.0.2/32", "9601 tcp < 10.0.0.2/32"],
            ),
            (
                "db-1",
                &[],
                &["6432 tcp < 10.0.0.3/32 fd00::3/128", "5432 tcp < 10.0.0.5/32", "9601 tcp < 10.0.0.2/32"],
            ),
            ("db-2", &[], &["5432 tcp < 10.0.0.4/32", "5432 tcp < 10.0.0.4/32", "9601 tcp < 10.0.0.2/32"]),
        ];
        for (name, site, peers) in cases {
            let policy = policy(&settings, &topology, name).unwrap();
            assert_eq!(openings(&policy.site), *site, "{name}");
            assert_eq!(openings(&policy.peers), *peers, "{name}");
            assert_eq!(openings(&policy.allow), ["22 tcp < 203.0.113.0/24"], "{name}");
        }
        assert_eq!(policy(&settings, &topology, "nobody"), None);
    }

    #[test]
    fn one_machine_opens_only_the_site() {
        let roles = vec![
            Role::Edge { ports: vec![443] },
            Role::App { pool: "app".into(), ports: vec![8_001] },
            Role::Router { database: "main".into(), port: 6_432 },
            Role::Database { database: "main".into(), ports: vec![5_432] },
            Role::Monitor,
            Role::Agent { port: 9_601 },
        ];
        let machines = vec![Machine { name: "here".into(), addresses: vec![], roles }];
        let policy = policy(&Settings::default(), &Topology { machines }, "here").unwrap();
        assert_eq!(openings(&policy.site), ["443 tcp < anyone"]);
        let hidden = vec![Machine {
            name: "here".into(),
            addresses: vec![],
            roles: vec![Role::Edge { ports: vec![] }],
        }];
        let nothing = super::policy(&Settings::default(), &Topology { machines: hidden }, "here").unwrap();
        assert!(nothing.site.is_empty());
        assert_eq!((policy.peers.len(), policy.allow.len(), policy.never_banned.len()), (0, 0, 0));
    }

    #[test]
    fn proxies_and_machines_are_exempt_from_bans() {
        let (settings, topology) = site();
        let policy = policy(&settings, &topology, "db-1").unwrap();
        let why = |net: &str| policy.exempts(&net.parse().unwrap());
        assert!(why("198.51.100.7/32").unwrap().contains("trusted proxy"));
        assert_eq!(why("10.0.0.3/32"), Some("the machine `web-1` of this site"));
        assert_eq!(why("10.0.0.4/32"), None, "a machine is not a stranger to itself, and no rule is needed");
        assert_eq!(why("198.51.0.0/16"), None);
        assert_eq!(why("192.0.2.1/32"), None);
    }
}
