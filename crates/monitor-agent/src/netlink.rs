//! The kernel's list of network links with their counters, over netlink
//! (rtnetlink(7), `RTM_GETLINK`): one question for every link, and the only place
//! that has `rx_nohandler` without a file a counter.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The kernel answers at once; this is for a kernel that does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// A datagram of a dump is at most 32 KiB (`net/netlink/af_netlink.c`).
const DATAGRAM: usize = 32 << 10;

/// A dump in more datagrams than this (some 50,000 links) is given up.
const MAX_DATAGRAMS: usize = 1_024;

/// `linux/rtnetlink.h`, `linux/netlink.h`, `linux/if_link.h`.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const IFLA_IFNAME: u16 = 3;
const IFLA_STATS64: u16 = 23;
const NLA_TYPE_MASK: u16 = 0x3fff;
const HEADER: usize = 16;
/// `struct ifinfomsg`.
const IFINFO: usize = 16;

/// How many counters of `struct rtnl_link_stats64` are used.
pub(crate) const COUNTERS: usize = 24;

/// One link: its name, and the counters in the order of `struct rtnl_link_stats64`.
/// A kernel older than 4.6 gives one fewer; it is then 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) counters: [u64; COUNTERS],
}

/// The socket, kept between readings.
#[derive(Debug, Default)]
pub(crate) struct Links {
    socket: Option<OwnedFd>,
    sequence: u32,
    bytes: Vec<u8>,
}

impl Links {
    /// Every link of this process' network namespace.
    pub(crate) fn read(&mut self) -> std::io::Result<Vec<Link>> {
        let outcome = self.dump();
        if outcome.is_err() {
            // What is left unread of a broken answer must not be the next one's beginning.
            self.socket = None;
        }
        Ok(outcome?)
    }

    fn dump(&mut self) -> Result<Vec<Link>, Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes.resize(DATAGRAM, 0);
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(open()?),
        };
        let request = request(self.sequence);
        rustix::net::sendto(socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut links = Vec::new();
        for _ in 0..MAX_DATAGRAMS {
            let (length, _) = match rustix::net::recv(socket, &mut self.bytes[..], RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if messages(&self.bytes[..length], self.sequence, &mut links)? {
                return Ok(links);
            }
        }
        Err(Errno::OVERFLOW)
    }
}

fn open() -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is protocol 0, which is what none means.
        None,
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

/// `struct nlmsghdr` and `struct ifinfomsg`, in the machine's byte order.
fn request(sequence: u32) -> [u8; HEADER + IFINFO] {
    let mut bytes = [0; HEADER + IFINFO];
    bytes[0..4].copy_from_slice(&((HEADER + IFINFO) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes
}

/// Takes the links of one datagram; true once the dump is done.
fn messages(mut bytes: &[u8], sequence: u32, links: &mut Vec<Link>) -> Result<bool, Errno> {
    while bytes.len() >= HEADER {
        let length = word(bytes, 0) as usize;
        let kind = half(bytes, 4);
        if length < HEADER || length > bytes.len() {
            return Err(Errno::BADMSG);
        }
        let body = &bytes[HEADER..length];
        if word(bytes, 8) == sequence {
            match kind {
                NLMSG_DONE => return Ok(true),
                NLMSG_ERROR => {
                    let code = body.get(..4).map_or(0, |b| word(b, 0) as i32);
                    return Err(Errno::from_raw_os_error(
                        code.checked_neg().filter(|c| *c > 0).unwrap_or(71),
                    ));
                }
                RTM_NEWLINK => links.extend(link(body)),
                _ => {}
            }
        }
        bytes = &bytes[aligned(length).min(bytes.len())..];
    }
    Ok(false)
}

/// The attributes after `struct ifinfomsg`: each a length, a type, and padding to four.
fn link(body: &[u8]) -> Option<Link> {
    let mut attributes = body.get(IFINFO..)?;
    let mut name = None;
    let mut counters = None;
    while attributes.len() >= 4 {
        let length = half(attributes, 0) as usize;
        if length < 4 || length > attributes.len() {
            break;
        }
        let value = &attributes[4..length];
        match half(attributes, 2) & NLA_TYPE_MASK {
            IFLA_IFNAME => {
                let text = value.split(|b| *b == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            IFLA_STATS64 => {
                let mut found = [0; COUNTERS];
                for (counter, bytes) in found.iter_mut().zip(value.as_chunks::<8>().0) {
                    *counter = u64::from_ne_bytes(*bytes);
                }
                counters = Some(found);
            }
            _ => {}
        }
        attributes = &attributes[aligned(length).min(attributes.len())..];
    }
    Some(Link { name: name.filter(|n| !n.is_empty())?, counters: counters? })
}

fn aligned(length: usize) -> usize {
    length.div_ceil(4) * 4
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn link_body(name: &str, counters: &[u64]) -> Vec<u8> {
        let mut bytes = vec![0; IFINFO];
        let mut attribute = |kind: u16, value: &[u8]| {
            bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(aligned(bytes.len()), 0);
        };
        attribute(IFLA_IFNAME, format!("{name}\0").as_bytes());
        attribute(99, &[1]);
        attribute(IFLA_STATS64, &counters.iter().flat_map(|c| c.to_ne_bytes()).collect::<Vec<_>>());
        bytes
    }

    #[test]
    fn this_machine_has_a_loopback() {
        let mut links = Links::default();
        for _ in 0..2 {
            let found = links.read().unwrap();
            assert!(found.iter().any(|link| link.name == "lo"), "{found:?}");
        }
    }

    #[test]
    fn a_dump_ends_with_done_and_only_ours_counts() {
        let mut bytes = message(RTM_NEWLINK, 7, &link_body("eth0", &[1, 2, 3]));
        bytes.extend(message(RTM_NEWLINK, 6, &link_body("other", &[1])));
        let mut links = Vec::new();
        assert_eq!(messages(&bytes, 7, &mut links), Ok(false));
        assert_eq!((links.len(), &*links[0].name, &links[0].counters[..4]), (1, "eth0", &[1, 2, 3, 0][..]));
        assert_eq!(messages(&message(NLMSG_DONE, 7, &[0; 4]), 7, &mut links), Ok(true));
        let refused = message(NLMSG_ERROR, 7, &(-1i32).to_ne_bytes());
        assert_eq!(messages(&refused, 7, &mut links), Err(Errno::PERM));
    }

    #[test]
    fn cut_messages_are_refused_and_never_read_past() {
        let whole = message(RTM_NEWLINK, 7, &link_body("eth0", &[5; COUNTERS]));
        for cut in 0..whole.len() {
            let mut links = Vec::new();
            let outcome = messages(&whole[..cut], 7, &mut links);
            assert!(links.is_empty() && (outcome == Ok(false) || outcome == Err(Errno::BADMSG)), "{cut}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0xff] {
                let mut odd = whole.clone();
                odd[at] = value;
                let _ = messages(&odd, 7, &mut Vec::new());
            }
        }
    }
}
