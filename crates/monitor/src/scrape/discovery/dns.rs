//! `dns_sd_configs`: names are asked for directly, because the C library answers
//! neither SRV nor how long it waits (docs/decisions/scraping.md).

use super::Shared;
use monitor_scrape::dns::{self, Answer, NO_SUCH_NAME, Record, Resolver};
use monitor_scrape::{Group, WhichRecord};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// A server answers within this, or is asked once more (resolv.conf(5): 5 s).
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a server is asked.
const ATTEMPTS: usize = 2;

const PORT: u16 = 53;

/// The file that says who is asked.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Asks for all names, again and again.
pub(super) async fn look_up(
    names: Vec<String>,
    record: WhichRecord,
    port: u16,
    every: Duration,
    shared: Shared,
) {
    loop {
        let text = tokio::fs::read_to_string(RESOLV_CONF).await.unwrap_or_default();
        let resolver = Resolver::read(&text);
        for name in &names {
            let found = records(&resolver, PORT, name, record).await;
            shared.put(name, found.map(|records| vec![group(name, port, &records)]));
        }
        tokio::time::sleep(every).await;
    }
}

/// The records of a name, of the first of its full names that has some (Prometheus,
/// `lookupWithSearchPath`).
async fn records(
    resolver: &Resolver,
    port: u16,
    name: &str,
    record: WhichRecord,
) -> Result<Vec<Record>, String> {
    let mut failed = None;
    for full in resolver.names(name) {
        match ask_servers(&resolver.servers, port, &full, record).await {
            Ok(answer) if !answer.records.is_empty() => return Ok(answer.records),
            Ok(_) => {}
            Err(why) => failed = Some(why),
        }
    }
    // That there is no such name is an answer; that nobody answered is none.
    failed.map_or(Ok(Vec::new()), Err)
}

async fn ask_servers(
    servers: &[IpAddr],
    port: u16,
    name: &str,
    record: WhichRecord,
) -> Result<Answer, String> {
    let mut why = "no server to ask".to_owned();
    for _ in 0..ATTEMPTS {
        for server in servers {
            let asked = ask(SocketAddr::new(*server, port), name, record);
            match tokio::time::timeout(TIMEOUT, asked).await {
                Ok(Ok(answer)) if matches!(answer.code, 0 | NO_SUCH_NAME) => return Ok(answer),
                Ok(Ok(answer)) => why = format!("`{server}` answers with code {}", answer.code),
                Ok(Err(error)) => why = format!("`{server}`: {error}"),
                Err(_) => why = format!("`{server}` did not answer within {TIMEOUT:?}"),
            }
        }
    }
    Err(format!("DNS for `{name}` failed: {why}"))
}

async fn ask(server: SocketAddr, name: &str, record: WhichRecord) -> Result<Answer, String> {
    let question = dns::question(sys::random::u64() as u16, name, record)?;
    let failed = |error: std::io::Error| error.to_string();
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    socket.send(&question).await.map_err(failed)?;
    let mut message = vec![0; 4_096];
    let answer = loop {
        let length = socket.recv(&mut message).await.map_err(failed)?;
        // What answers something else is not for us: the true answer may follow.
        if let Ok(answer) = dns::answer(&question, &message[..length], record) {
            break answer;
        }
    };
    if !answer.truncated {
        return Ok(answer);
    }
    // RFC 7766: the whole over TCP, with its length before it.
    let mut stream = TcpStream::connect(server).await.map_err(failed)?;
    stream.write_all(&(question.len() as u16).to_be_bytes()).await.map_err(failed)?;
    stream.write_all(&question).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.map_err(failed)?;
    dns::answer(&question, &message, record)
}

/// The group of a name (Prometheus, `dns_sd_config`).
fn group(name: &str, port: u16, records: &[Record]) -> Group {
    let join = |host: &str, port: u16| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let targets = records.iter().map(|record| {
        let mut labels = vec![("__meta_dns_name".to_owned(), name.to_owned())];
        let address = match record {
            Record::Address(address) => join(&address.to_string(), port),
            Record::Service { target, port } => {
                labels.push(("__meta_dns_srv_record_target".to_owned(), target.clone()));
                labels.push(("__meta_dns_srv_record_port".to_owned(), port.to_string()));
                join(target.trim_end_matches('.'), *port)
            }
            Record::Name(target) => {
                labels.push(("__meta_dns_mx_record_target".to_owned(), target.clone()));
                join(target.trim_end_matches('.'), port)
            }
        };
        labels.push(("__address__".to_owned(), address));
        labels
    });
    Group { source: format!("{name}:0"), targets: targets.collect(), labels: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that knows one service; over UDP it says that there is more.
    async fn server() -> u16 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = udp.local_addr().unwrap().port();
        let tcp = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let reply = |asked: &[u8], flags: u16, full: bool| {
            let mut out = asked.to_vec();
            out[2..4].copy_from_slice(&flags.to_be_bytes());
            if full {
                out[7] = 1;
                out.extend_from_slice(&[
                    0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 9, 0, 0, 0, 0, 0x23, 0x8c, 1, b'h', 0,
                ]);
            }
            out
        };
        tokio::spawn(async move {
            let mut message = [0; 512];
            loop {
                let (length, from) = udp.recv_from(&mut message).await.unwrap();
                let asked = &message[..length];
                // `_m._tcp.` is known, and with a search domain behind it is not.
                let known = asked[12..].starts_with(b"\x02_m\x04_tcp\x00");
                let flags = if known { 0x8380 } else { 0x8183 };
                // Noise first, which must not count.
                udp.send_to(&[1, 2, 3], from).await.unwrap();
                udp.send_to(&reply(asked, flags, false), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut asked = vec![0; usize::from(length)];
                stream.read_exact(&mut asked).await.unwrap();
                let full = reply(&asked, 0x8180, true);
                stream.write_all(&(full.len() as u16).to_be_bytes()).await.unwrap();
                stream.write_all(&full).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn services_are_found_through_search_domains_and_tcp() {
        let port = server().await;
        let resolver = Resolver::read("nameserver 127.0.0.1\nsearch example.org\noptions ndots:5\n");
        let found = records(&resolver, port, "_m._tcp", WhichRecord::Srv).await.unwrap();
        let group = group("_m._tcp", 0, &found);
        let labels: Vec<String> = group.targets[0].iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(
            labels,
            [
                "__meta_dns_name=_m._tcp",
                "__meta_dns_srv_record_target=h.",
                "__meta_dns_srv_record_port=9100",
                "__address__=h:9100",
            ]
        );
        // No such name is no target, and no failure.
        assert_eq!(records(&resolver, port, "other", WhichRecord::A).await, Ok(Vec::new()));
        let named = group_of_address();
        assert_eq!(named.targets[0][1].1, "[::1]:9100");
    }

    fn group_of_address() -> Group {
        group("n", 9100, &[Record::Address(Ipv6Addr::LOCALHOST.into())])
    }
}
