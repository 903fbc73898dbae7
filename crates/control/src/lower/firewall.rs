//! What the firewall of each machine follows from.

use super::Lowering;
use base::Address;
use config::{Part, Protocol};
use firewall::{Allow, Machine, PortRange, Role, Settings, Topology};
use serde::{Deserialize, Serialize};
use site::{Databases, Edge};
use std::net::SocketAddr;

/// The name of the only machine of a file that names none.
pub const THIS_MACHINE: &str = "this";

/// `[firewall]` and the machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FirewallPlan {
    /// Whether the policy is put into this machine's kernel: as root, where the file asks for it.
    pub apply: bool,
    /// A new policy falls back after this unless it is confirmed.
    pub revert_after: base::Millis,
    /// The allow-list and the trusted proxies.
    pub settings: Settings,
    /// All machines.
    pub topology: Topology,
}

impl FirewallPlan {
    /// The machine that this is: the only one.
    pub fn this_machine(&self) -> Option<&str> {
        match self.topology.machines.as_slice() {
            [only] => Some(&only.name),
            _ => None,
        }
    }
}

impl Lowering<'_> {
    pub(super) fn firewall(&self, edge: &Edge, databases: &Databases) -> FirewallPlan {
        let keys = &self.config.firewall;
        let allow = |allow: &config::Allow| Allow {
            protocol: match allow.protocol {
                Protocol::Tcp => firewall::Protocol::Tcp,
                Protocol::Udp => firewall::Protocol::Udp,
            },
            ports: PortRange { first: allow.first, last: allow.last },
            from: allow.from,
        };
        let machines = match self.config.machines.as_slice() {
            [] => vec![Machine {
                name: THIS_MACHINE.to_owned(),
                addresses: Vec::new(),
                roles: everything(edge, databases),
            }],
            several => several.iter().map(|machine| self.machine(machine, edge, databases)).collect(),
        };
        FirewallPlan {
            apply: keys.apply.value && self.inputs.root,
            revert_after: keys.revert_after.value,
            settings: Settings {
                allow: keys.allow.iter().map(|entry| allow(&entry.value)).collect(),
                trusted_proxies: edge.trusted_proxies.clone(),
            },
            topology: Topology { machines },
        }
    }

    fn machine(
        &self,
        machine: &config::Named<config::Machine>,
        edge: &Edge,
        databases: &Databases,
    ) -> Machine {
        let mut roles = Vec::new();
        for part in machine.runs.iter() {
            match &part.value {
                Part::Edge => {
                    roles.push(Role::Edge { ports: reachable(edge.https.iter().chain(&edge.http)) })
                }
                Part::Monitor => roles.push(Role::Monitor),
                Part::Pool(name) => {
                    roles.extend(edge.pools.iter().filter(|p| p.name == name.0).map(|pool| Role::App {
                        pool: pool.name.clone(),
                        ports: pool.servers.iter().filter_map(|s| port_of(&s.address)).collect(),
                    }))
                }
                Part::Database(name) => {
                    let found = databases.databases.iter().find(|d| d.name == name.0);
                    roles.extend(found.into_iter().flat_map(|d| self.database_roles(machine, d)));
                }
            }
        }
        Machine { name: machine.name.value.0.clone(), addresses: vec![machine.address.value], roles }
    }

    /// The router, and the member that this machine has: the first machine of the
    /// file the primary, the others the replicas in order.
    fn database_roles(
        &self,
        machine: &config::Named<config::Machine>,
        database: &site::Database,
    ) -> Vec<Role> {
        let runs = |m: &&config::Named<config::Machine>| {
            m.runs.iter().any(|part| matches!(&part.value, Part::Database(name) if name.0 == database.name))
        };
        let place = self.config.machines.iter().filter(runs).position(|m| m.name.value == machine.name.value);
        let member = place.and_then(|place| database.members.get(place));
        let ports: Vec<u16> = member.iter().filter_map(|m| port_of(&m.address)).collect();
        let mut roles = routers(std::slice::from_ref(database));
        roles.push(Role::Database { database: database.name.clone(), ports });
        roles
    }
}

/// What a single machine shows to others; all else listens on loopback.
fn everything(edge: &Edge, databases: &Databases) -> Vec<Role> {
    let mut roles = vec![Role::Edge { ports: reachable(edge.https.iter().chain(&edge.http)) }, Role::Monitor];
    roles.extend(routers(&databases.databases));
    roles
}

fn routers(databases: &[site::Database]) -> Vec<Role> {
    let router = |database: &site::Database| {
        let ports = reachable(database.listen.iter());
        ports
            .into_iter()
            .map(|port| Role::Router { database: database.name.clone(), port })
            .collect::<Vec<_>>()
    };
    databases.iter().flat_map(router).collect()
}

/// The ports of addresses that others can reach, each once.
fn reachable<'a>(addresses: impl Iterator<Item = &'a SocketAddr>) -> Vec<u16> {
    let mut ports: Vec<u16> = addresses.filter(|a| !a.ip().is_loopback()).map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn port_of(address: &Address) -> Option<u16> {
    match address {
        Address::Ip(at) => Some(at.port()),
        Address::Name(_, port) => Some(*port),
        Address::Unix(_) => None,
    }
}
