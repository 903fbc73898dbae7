//! An echo: by the kernel's ping socket, which needs no privilege where
//! `net.ipv4.ping_group_range` allows it, else by a raw one (icmp(7)).

use super::Findings;
use super::net;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::UdpSocket;

const PHASES: &str = "probe_icmp_duration_seconds";

/// What is sent along, to be known again.
const PAYLOAD: usize = 32;

/// Tries a host.
pub(crate) async fn probe(host: &str, findings: &mut Findings) -> Result<(), String> {
    let began = Instant::now();
    let address = net::resolve(host, 0, findings).await;
    findings.phase(PHASES, "resolve", began);
    let address = address?;
    let began = Instant::now();
    let (socket, raw) = open(address)?;
    let failed = |error: io::Error| format!("cannot send an echo to {}: {error}", address.ip());
    socket.connect(address).await.map_err(failed)?;
    findings.phase(PHASES, "setup", began);

    let token = sys::random::u64();
    let packet = request(address.is_ipv6(), token);
    let began = Instant::now();
    socket.send(&packet).await.map_err(failed)?;
    let mut reply = [0; 2_048];
    loop {
        let length = socket.recv(&mut reply).await.map_err(failed)?;
        if let Some(hops) = is_reply(&reply[..length], raw && address.is_ipv4(), address.is_ipv6(), &packet) {
            findings.phase(PHASES, "rtt", began);
            if let Some(hops) = hops {
                findings.set("probe_icmp_reply_hop_limit", f64::from(hops));
            }
            return Ok(());
        }
    }
}

/// A socket for echoes, and whether it is a raw one.
fn open(address: SocketAddr) -> Result<(UdpSocket, bool), String> {
    let (domain, protocol) = match address {
        SocketAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        SocketAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let opened = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => Ok((socket, false)),
        Err(_) => Socket::new(domain, Type::RAW, Some(protocol)).map(|socket| (socket, true)),
    };
    let (socket, raw) = opened.map_err(|error| {
        format!(
            "echoes may not be sent: {error}; hint: let the monitor's group send them with \
             `sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"`, or give it CAP_NET_RAW"
        )
    })?;
    let ready = socket.set_nonblocking(true).and_then(|()| UdpSocket::from_std(socket.into()));
    Ok((ready.map_err(|error| format!("echoes cannot be sent: {error}"))?, raw))
}

/// RFC 792 and RFC 4443 §4.1. A ping socket writes identifier and checksum itself; a
/// raw one of IPv6 the checksum.
fn request(v6: bool, token: u64) -> Vec<u8> {
    let mut out = vec![if v6 { 128 } else { 8 }, 0, 0, 0];
    out.extend_from_slice(&(token as u16).to_be_bytes());
    out.extend_from_slice(&1_u16.to_be_bytes());
    out.extend_from_slice(&token.to_be_bytes().repeat(PAYLOAD / 8));
    if !v6 {
        let sum = checksum(&out).to_be_bytes();
        out[2..4].copy_from_slice(&sum);
    }
    out
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let pairs = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = pairs.sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// Whether this answers `request`: the outer `None` is no; with the hops left where
/// the packet has its IP header.
fn is_reply(packet: &[u8], with_header: bool, v6: bool, request: &[u8]) -> Option<Option<u8>> {
    let (hops, body) = match with_header {
        true => {
            let length = usize::from(*packet.first()? & 15) * 4;
            (Some(*packet.get(8)?), packet.get(length..)?)
        }
        false => (None, packet),
    };
    let is_echo = *body.first()? == if v6 { 129 } else { 0 };
    // The payload is chance: nobody else's has it.
    (is_echo && body.get(8..)? == &request[8..]).then_some(hops)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_known() {
        let request = request(false, 0x0102_0304_0506_0708);
        assert_eq!(checksum(&request), 0, "a packet's sum with its checksum is none");
        let mut reply = request.clone();
        reply[0] = 0;
        assert_eq!(is_reply(&reply, false, false, &request), Some(None));
        assert_eq!(is_reply(&request, false, false, &request), None, "our own request");
        let mut other = reply.clone();
        other[12] ^= 1;
        assert_eq!(is_reply(&other, false, false, &request), None, "somebody else's");
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 61];
        header.resize(20, 0);
        assert_eq!(is_reply(&[header, reply].concat(), true, false, &request), Some(Some(61)));
        assert_eq!(is_reply(&[], true, false, &request), None);
        assert_eq!(is_reply(&[0x4F, 0], true, false, &request), None);
    }
}
