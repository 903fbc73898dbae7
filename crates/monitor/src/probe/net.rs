//! Looking up, connecting, TLS: each a phase.

use super::Findings;
use crate::fetch;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Looks up a host's address. Notes how long it took, and of which kind it is.
pub(crate) async fn resolve(host: &str, port: u16, findings: &mut Findings) -> Result<SocketAddr, String> {
    let began = Instant::now();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port)).await;
    findings.set("probe_dns_lookup_time_seconds", began.elapsed().as_secs_f64());
    let address = found
        .map_err(|error| format!("`{host}` cannot be looked up: {error}"))?
        .next()
        .ok_or_else(|| format!("`{host}` has no address"))?;
    findings.set("probe_ip_protocol", if address.is_ipv4() { 4.0 } else { 6.0 });
    Ok(address)
}

/// `host:port`, `[::1]:port`.
pub(crate) fn host_and_port(text: &str) -> Result<(&str, u16), String> {
    let wrong = || format!("`{text}` is not `host:port`");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || bare_ipv6 {
        return Err(wrong());
    }
    Ok((host, port.parse().map_err(|_| wrong())?))
}

/// Connects.
pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream =
        TcpStream::connect(address).await.map_err(|error| format!("cannot connect to {address}: {error}"))?;
    let _ = stream.set_nodelay(true); // Saves a wait, and its failure costs only that.
    Ok(stream)
}

/// Speaks TLS. What the certificates say is noted even where they are refused.
pub(crate) async fn tls(
    stream: TcpStream,
    host: &str,
    trust: &Trust<'_>,
    findings: &mut Findings,
) -> Result<TlsStream<TcpStream>, String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("`{host}` is no name that a certificate could have"))?;
    let verifier = Arc::new(Verifier::new(trust)?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    let outcome = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    note_chain(&verifier.chain.lock().unwrap_or_else(PoisonError::into_inner), findings);
    let stream = outcome.map_err(|error| format!("TLS with `{host}` failed: {error}"))?;
    let version = match stream.get_ref().1.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "unknown",
    };
    findings.put("probe_tls_version_info", Some(("version", version.to_owned())), 1.0);
    Ok(stream)
}

/// The first end among the certificates that were shown.
fn note_chain(chain: &[CertificateDer<'static>], findings: &mut Findings) {
    let ends = chain.iter().filter_map(|certificate| {
        let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
        Some(read.validity().not_after.timestamp())
    });
    if let Some(first) = ends.min() {
        findings.set("probe_ssl_earliest_cert_expiry", first as f64);
    }
}

/// Whose certificates are taken.
pub(crate) struct Trust<'a> {
    /// Anybody's.
    pub(crate) anyone: bool,
    /// Beside the system's.
    pub(crate) roots: &'a [CertificateDer<'static>],
}

/// Asks the usual verifier, and keeps what it was shown.
#[derive(Debug)]
struct Verifier {
    usual: Arc<dyn ServerCertVerifier>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl Verifier {
    fn new(trust: &Trust<'_>) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        if trust.anyone {
            return Ok(Self { usual: Arc::new(edge_cert::Anyone::new(provider)), chain: Mutex::default() });
        }
        let system = fetch::system_roots();
        let mut roots = match (&system, trust.roots.is_empty()) {
            (Ok(roots), _) => (**roots).clone(),
            (Err(why), true) => return Err(why.clone()),
            (Err(_), false) => rustls::RootCertStore::empty(),
        };
        for root in trust.roots {
            roots.add(root.clone()).map_err(|error| format!("a root cannot be trusted: {error}"))?;
        }
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { usual, chain: Mutex::default() })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = [end_entity].into_iter().chain(intermediates).map(|c| c.clone().into_owned());
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
        self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
