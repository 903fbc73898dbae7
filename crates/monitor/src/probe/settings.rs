//! What a probe does: from the revision's words.

use base::Secret;
use regex::bytes::Regex;
use std::time::Duration;

/// One probe.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The label `instance`, and its name on the status page.
    pub(crate) name: String,
    /// Between two tries; 1 s to 1 h.
    pub(crate) every: Duration,
    /// What takes longer has failed; 100 ms to 60 s, at most `every`.
    pub(crate) timeout: Duration,
    /// Whether the status page shows it.
    pub(crate) public: bool,
    /// What it does.
    pub(crate) kind: Kind,
}

/// What a probe does.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Asks for a page.
    Http(Http),
    /// Connects.
    Tcp(Tcp),
    /// Asks a name server.
    Dns(Dns),
    /// Sends an echo to this host.
    Icmp(String),
    /// Talks to a PostgreSQL server.
    Postgres(Postgres),
}

/// Asks for a page.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    /// Where; `http://` or `https://`.
    pub(crate) url: String,
    /// Statuses that are well; none means 200 to 299.
    pub(crate) statuses: Vec<u16>,
    /// Each must match the body.
    pub(crate) must_match: Vec<Regex>,
    /// None may.
    pub(crate) must_not_match: Vec<Regex>,
    /// Whether redirects are followed, up to ten. Default: yes.
    pub(crate) follow: bool,
    /// Whether any certificate will do.
    pub(crate) insecure: bool,
    /// Certificates trusted beside the system's.
    pub(crate) roots: Vec<rustls::pki_types::CertificateDer<'static>>,
}

/// Connects, speaks TLS perhaps, and has a talk perhaps.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    /// `host:port`.
    pub(crate) address: String,
    /// Whether TLS is spoken from the beginning.
    pub(crate) tls: bool,
    /// Whether any certificate will do.
    pub(crate) insecure: bool,
    /// Certificates trusted beside the system's.
    pub(crate) roots: Vec<rustls::pki_types::CertificateDer<'static>>,
    /// What is said and expected, in order.
    pub(crate) talk: Vec<Step>,
}

/// A step of a talk over TCP.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A line must come that matches; others before it are read over.
    Expect(Regex),
    /// A line is sent.
    Send(String),
    /// TLS begins.
    StartTls,
}

/// Asks a name server.
#[derive(Clone, Debug)]
pub(crate) struct Dns {
    /// `host:port`.
    pub(crate) server: String,
    /// The name.
    pub(crate) name: String,
    /// `A`, `AAAA`, `CNAME`, `MX`, `NS`, `TXT`, `SRV` or `SOA`.
    pub(crate) record: String,
    /// One of the answers must match each of these, as `dig +short` would show it.
    pub(crate) must_match: Vec<Regex>,
}

/// Talks to a PostgreSQL server.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    /// `host:port`.
    pub(crate) address: String,
    /// Who logs in and runs `select 1`; none sees whether a server answers at all.
    pub(crate) login: Option<(String, Secret)>,
    /// The database.
    pub(crate) database: String,
}

/// An expression's compiled size, at most, in bytes.
const REGEX_SIZE: usize = 1 << 20;

/// From the revision. The error says what is wrong with it.
pub(crate) fn settings(probe: &site::Probe) -> Result<Settings, String> {
    let wrong = |why: String| format!("probe `{}`: {why}", probe.name);
    let expression = |text: &String| {
        regex::bytes::RegexBuilder::new(&monitor_model::regex_of_go(text))
            .size_limit(REGEX_SIZE)
            .build()
            .map_err(|error| wrong(format!("`{text}` is not a regular expression: {error}")))
    };
    let kind = match &probe.kind {
        site::ProbeKind::Http { url, status, body, not_body, no_redirects, insecure, ca } => {
            crate::fetch::Endpoint::of_url(url).map_err(wrong)?;
            Kind::Http(Http {
                url: url.clone(),
                statuses: status.clone(),
                must_match: body.iter().map(expression).collect::<Result<_, _>>()?,
                must_not_match: not_body.iter().map(expression).collect::<Result<_, _>>()?,
                follow: !no_redirects,
                insecure: *insecure,
                roots: roots(ca.as_deref()).map_err(wrong)?,
            })
        }
        site::ProbeKind::Tcp { address, tls, insecure, ca, talk } => Kind::Tcp(Tcp {
            address: address.clone(),
            tls: *tls,
            insecure: *insecure,
            roots: roots(ca.as_deref()).map_err(wrong)?,
            talk: talk
                .iter()
                .map(|step| {
                    Ok(match step {
                        site::ProbeStep::Send(line) => Step::Send(line.clone()),
                        site::ProbeStep::Expect(text) => Step::Expect(expression(text)?),
                        site::ProbeStep::StartTls => Step::StartTls,
                    })
                })
                .collect::<Result<_, String>>()?,
        }),
        site::ProbeKind::Dns { server, name, record, expect } => {
            super::dns_wire::kind(record).ok_or_else(|| {
                wrong(format!("`{record}` is not asked for; hint: A, AAAA, CNAME, MX, NS, TXT, SRV or SOA"))
            })?;
            Kind::Dns(Dns {
                server: server.clone(),
                name: name.clone(),
                record: record.clone(),
                must_match: expect.iter().map(expression).collect::<Result<_, _>>()?,
            })
        }
        site::ProbeKind::Icmp { host } => Kind::Icmp(host.clone()),
        site::ProbeKind::Postgres { address, login, database } => Kind::Postgres(Postgres {
            address: address.clone(),
            login: login.clone(),
            database: database.clone(),
        }),
    };
    let every = probe.every.duration().max(Duration::from_secs(1));
    Ok(Settings {
        name: probe.name.clone(),
        every,
        timeout: probe
            .timeout
            .duration()
            .clamp(Duration::from_millis(100), Duration::from_secs(60))
            .min(every),
        public: probe.public,
        kind,
    })
}

/// The certificates of a PEM text.
fn roots(ca: Option<&str>) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, String> {
    let Some(pem) = ca else { return Ok(Vec::new()) };
    let found: Vec<_> = rustls_pemfile::certs(&mut pem.as_bytes()).flatten().collect();
    if found.is_empty() {
        return Err("its `ca` has no certificate; hint: it is PEM, `-----BEGIN CERTIFICATE-----`".to_owned());
    }
    Ok(found)
}
