//! TLS as a pool wants it (Prometheus, `tls_config`).

use super::FetchError;
use monitor_scrape::{Pem, Tls, TlsVersion};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes of a file of certificates.
const MAX_PEM: u64 = 4 << 20;

/// Makes connections; files are read again when they change.
pub(super) struct Connector {
    tls: Tls,
    config: Option<(Vec<Stamp>, Arc<ClientConfig>)>,
}

/// By what a change of a file is noticed.
type Stamp = Option<(u64, SystemTime)>;

impl Connector {
    pub(super) fn new(tls: Tls) -> Self {
        Self { tls, config: None }
    }

    pub(super) async fn connect(
        &mut self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, FetchError> {
        let config = self.config().await?;
        let name = self.tls.server_name.as_deref().unwrap_or(host);
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("`{name}` is no name that a certificate could have"))?;
        let stream = TlsConnector::from(config).connect(server, stream).await;
        Ok(stream.map_err(|error| format!("TLS with `{host}` failed: {error}"))?)
    }

    async fn config(&mut self) -> Result<Arc<ClientConfig>, FetchError> {
        let mut stamps = Vec::new();
        for pem in [&self.tls.ca, &self.tls.certificate, &self.tls.key].into_iter().flatten() {
            if let Pem::File(path) = pem {
                let found = tokio::fs::metadata(path).await.ok();
                stamps.push(found.and_then(|found| Some((found.len(), found.modified().ok()?))));
            }
        }
        if let Some((known, config)) = &self.config
            && *known == stamps
        {
            return Ok(config.clone());
        }
        let tls = self.tls.clone();
        let made = tokio::task::spawn_blocking(move || config_of(&tls)).await;
        let config = Arc::new(made.map_err(|error| error.to_string())??);
        self.config = Some((stamps, config.clone()));
        Ok(config)
    }
}

fn config_of(tls: &Tls) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let min = tls.min_version.unwrap_or(TlsVersion::Tls12);
    let max = tls.max_version.unwrap_or(TlsVersion::Tls13);
    let all = [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)];
    let versions: Vec<_> =
        all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, v)| v).collect();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?;
    let builder = if tls.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(edge_cert::Anyone::new(provider)))
    } else {
        builder.with_root_certificates(roots(tls)?)
    };
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = private_key(key)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("certificate and key do not fit: {error}"))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn roots(tls: &Tls) -> Result<Arc<RootCertStore>, String> {
    let Some(ca) = &tls.ca else { return crate::fetch::system_roots() };
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(ca)?);
    if added == 0 {
        return Err(format!("no certificate authority in {}", named(ca)));
    }
    Ok(Arc::new(store))
}

fn named(pem: &Pem) -> String {
    match pem {
        Pem::Text(_) => "the text that is given".to_owned(),
        Pem::File(path) => format!("`{}`", path.display()),
    }
}

fn bytes(pem: &Pem) -> Result<Vec<u8>, String> {
    match pem {
        Pem::Text(text) => Ok(text.reveal().as_bytes().to_vec()),
        Pem::File(path) => {
            let wrong = |why: &dyn std::fmt::Display| format!("cannot read `{}`: {why}", path.display());
            let length = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
            if length > MAX_PEM {
                return Err(wrong(&format_args!("it is larger than {MAX_PEM} bytes")));
            }
            std::fs::read(path).map_err(|error| wrong(&error))
        }
    }
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = rustls_pemfile::certs(&mut bytes(pem)?.as_slice()).flatten().collect();
    if found.is_empty() { Err(format!("no certificate in {}", named(pem))) } else { Ok(found) }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, String> {
    match rustls_pemfile::private_key(&mut bytes(pem)?.as_slice()) {
        Ok(Some(key)) => Ok(key),
        _ => Err(format!("no private key in {}", named(pem))),
    }
}
