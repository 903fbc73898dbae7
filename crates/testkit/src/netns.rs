//! Virtual hosts: network namespaces (ip-netns(8)) that a test makes and that go
//! when it ends, however it ends. Nothing is done in the root namespace but
//! making them.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A virtual host with its own interfaces, addresses, ports and firewall.
#[derive(Debug)]
pub struct Host {
    name: String,
}

/// Why virtual hosts cannot be made here; none where they can. Print it and
/// return:
///
/// ```no_run
/// if let Some(why) = testkit::netns::unavailable() {
///     println!("skipped: {why}");
///     return;
/// }
/// ```
pub fn unavailable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("virtual hosts need root".to_owned());
    }
    match Command::new("ip").arg("-V").output() {
        Ok(output) if output.status.success() => {}
        _ => return Some("virtual hosts need the program `ip` (package `iproute2`)".to_owned()),
    }
    // A container's root may still not be allowed to.
    let probe = Host::name_for("probe");
    match run(&["netns", "add", &probe]) {
        Ok(()) => run(&["netns", "delete", &probe]).err(),
        Err(why) => Some(format!("virtual hosts cannot be made here: {why}")),
    }
}

impl Host {
    /// Makes a host with a loopback interface. `label` (up to five letters) helps to
    /// recognise it in `ip netns`. Panics where [`unavailable`] has something to say.
    pub fn new(label: &str) -> Self {
        let host = Self { name: Self::name_for(label) };
        run(&["netns", "add", &host.name]).unwrap_or_else(|why| panic!("{why}"));
        host.ip(&["link", "set", "lo", "up"]);
        host
    }

    /// A name that no other test or process has: interface names, which are made
    /// from it, have at most 15 bytes (IFNAMSIZ).
    fn name_for(label: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        format!("{label:.5}{:x}.{number:x}", std::process::id())
    }

    /// The namespace's name, as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Joins two hosts by a cable (veth(4)) and gives each end its addresses,
    /// written with their prefix length: `10.9.0.1/24`, `fd09::1/64`. They can be
    /// used at once: duplicate address detection (RFC 4862 §5.4) is skipped.
    pub fn connect(&self, addresses: &[&str], other: &Self, other_addresses: &[&str]) {
        let (here, there) = (Self::name_for("a"), Self::name_for("b"));
        let made = run(&[
            "link",
            "add",
            &here,
            "netns",
            &self.name,
            "type",
            "veth",
            "peer",
            "name",
            &there,
            "netns",
            &other.name,
        ]);
        made.unwrap_or_else(|why| panic!("{why}"));
        for (host, interface, addresses) in [(self, &here, addresses), (other, &there, other_addresses)] {
            for address in addresses {
                let nodad = if address.contains(':') { &["nodad"][..] } else { &[] };
                host.ip(&[&["address", "add", address, "dev", interface], nodad].concat());
            }
            host.ip(&["link", "set", interface, "up"]);
        }
    }

    /// Gives the host one more address on its loopback interface, for tests of
    /// sources that are not on a cable; the other host needs a route to it.
    pub fn add_address(&self, address: IpAddr) {
        let nodad = if address.is_ipv6() { &["nodad"][..] } else { &[] };
        self.ip(&[&["address", "add", &address.to_string(), "dev", "lo"], nodad].concat());
    }

    /// Sends what is for `net` to `via`.
    pub fn add_route(&self, net: &str, via: &str) {
        self.ip(&["route", "add", net, "via", via]);
    }

    fn ip(&self, arguments: &[&str]) {
        let all = [&["-n", &self.name][..], arguments].concat();
        run(&all).unwrap_or_else(|why| panic!("{why}"));
    }

    /// Runs `work` on a thread inside the host: sockets it opens and programs it
    /// starts are there. They stay there when handed out.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        let inside = || {
            let namespace = File::open(&path).unwrap_or_else(|error| panic!("`{path}`: {error}"));
            // Only this thread moves, and it ends with the closure.
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .unwrap_or_else(|error| panic!("cannot enter `{path}`: {error}"));
            work()
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // In a panic too; a name that stays behind is told by `ip netns`.
        let _ = run(&["netns", "delete", &self.name]);
    }
}

/// Connects from a chosen address of the host that the thread is in.
pub fn connect_from(source: SocketAddr, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let domain = if to.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    socket.bind(&source.into())?;
    socket.connect_timeout(&to.into(), timeout)?;
    Ok(socket.into())
}

fn run(arguments: &[&str]) -> Result<(), String> {
    let shown = || format!("`ip {}`", arguments.join(" "));
    let output =
        Command::new("ip").args(arguments).output().map_err(|error| format!("{}: {error}", shown()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", shown(), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn hosts_talk_over_their_cable_and_leave_nothing_behind() {
        if let Some(why) = unavailable() {
            println!("skipped: {why}");
            return;
        }
        let (server, client) = (Host::new("srv"), Host::new("cli"));
        server.connect(&["10.9.0.1/24", "fd09::1/64"], &client, &["10.9.0.2/24", "fd09::2/64"]);
        for address in ["10.9.0.1:0", "[fd09::1]:0"] {
            let listener = server.run(|| TcpListener::bind(address).unwrap());
            let to = listener.local_addr().unwrap();
            let mut near = client.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap());
            let (mut far, _) = listener.accept().unwrap();
            far.write_all(b"x").unwrap();
            near.read_exact(&mut [0]).unwrap();
            assert!(TcpListener::bind(address).is_err(), "the address is not the root namespace's");
        }
        let name = server.name().to_owned();
        drop(server);
        assert!(!std::path::Path::new("/run/netns").join(name).exists());
    }
}
