//! Reading certificates and keys that someone gives us.

use crate::CertError;
use base::Secret;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its host names and addresses, lower case.
    pub names: Vec<String>,
    /// When it begins, Unix seconds.
    pub not_before_s: u64,
    /// When it ends.
    pub not_after_s: u64,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, hexadecimal.
    pub serial: String,
}

/// A certificate ready to be served.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// What it says.
    pub info: Info,
}

/// Reads a chain and its key and checks that they belong together.
pub fn load(chain_pem: &str, key_pem: &Secret) -> Result<Loaded, CertError> {
    let chain = certificates(chain_pem)?;
    let info = describe(&chain[0])?;
    let key = private_key(key_pem)?;
    let key = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => CertError::new(format!(
            "the key does not belong to the certificate for `{}`",
            info.names.join(", ")
        ))
        .hint("give the key that the certificate was requested with"),
        other => CertError::new(format!("the certificate cannot be served: {other}")),
    })?;
    Ok(Loaded { key: Arc::new(key), info })
}

/// What the first certificate of a chain says.
pub fn inspect(chain_pem: &str) -> Result<Info, CertError> {
    describe(&first_certificate(chain_pem)?)
}

pub(crate) fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, CertError> {
    Ok(certificates(pem)?.swap_remove(0))
}

/// At least one certificate, the leaf first.
fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| CertError::new(format!("the certificate is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(CertError::new("there is no certificate in the text")
            .hint("a PEM file has a line `-----BEGIN CERTIFICATE-----`"));
    }
    if chain.len() > 1 && parse(&chain[0])?.is_ca() {
        return Err(CertError::new("the chain begins with an authority's certificate")
            .hint("put the site's own certificate first, then the intermediates"));
    }
    Ok(chain)
}

fn private_key(pem: &Secret) -> Result<PrivateKeyDer<'static>, CertError> {
    let text = pem.reveal();
    if text.contains("ENCRYPTED") {
        return Err(CertError::new("the key is encrypted with a passphrase")
            .hint("decrypt it once: `openssl pkey -in key.pem -out plain.pem`, and keep it 0600"));
    }
    // The parser's error is not shown: it might quote the text.
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        CertError::new("there is no private key in the text")
            .hint("a PEM key has a line such as `-----BEGIN PRIVATE KEY-----`")
    })
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertError> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der)
        .map_err(|error| CertError::new(format!("the certificate cannot be read: {error}")))?;
    Ok(certificate)
}

fn describe(der: &[u8]) -> Result<Info, CertError> {
    let certificate = parse(der)?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    Ok(Info {
        names: san_names(der)?,
        not_before_s: seconds(certificate.validity().not_before.timestamp()),
        not_after_s: seconds(certificate.validity().not_after.timestamp()),
        issuer: certificate.issuer().to_string(),
        serial: certificate.serial.to_str_radix(16),
    })
}

/// The names of the subject's alternative names, all that clients look at (RFC
/// 9525 §6.3 rules the common name out).
pub(crate) fn san_names(der: &[u8]) -> Result<Vec<String>, CertError> {
    let certificate = parse(der)?;
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| CertError::new("the certificate's alternative names cannot be read"))?;
    let Some(extension) = extension else { return Ok(Vec::new()) };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).ok().map(|o| std::net::Ipv4Addr::from(o).to_string()),
            _ => <[u8; 16]>::try_from(*octets).ok().map(|o| std::net::Ipv6Addr::from(o).to_string()),
        },
        _ => None,
    };
    Ok(extension.value.general_names.iter().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, renew_at_s};

    const NOW: u64 = 1_790_000_000;

    #[test]
    fn a_good_pair_and_what_it_says() {
        let authority = Authority::create("shop", &["shop.example".into()], NOW).unwrap();
        let issued = authority.issue(&["shop.example".into()], NOW).unwrap();
        let chain = format!("{}{}", issued.chain_pem, authority.root_pem());
        let loaded = load(&chain, &issued.key_pem).unwrap();
        assert_eq!(loaded.info.names, ["shop.example", "localhost", "127.0.0.1", "::1"]);
        assert_eq!(loaded.info.not_after_s, issued.not_after_s);
        assert!(loaded.info.issuer.contains("Bastide shop"), "{}", loaded.info.issuer);
        assert_eq!(loaded.key.cert.len(), 2);
        let due = renew_at_s(loaded.info.not_before_s, loaded.info.not_after_s);
        assert!(due > NOW + 59 * 86_400 && due < NOW + 61 * 86_400);
    }

    #[test]
    fn bad_pairs_say_what_is_wrong() {
        let authority = Authority::create("shop", &[], NOW).unwrap();
        let a = authority.issue(&[], NOW).unwrap();
        let b = authority.issue(&[], NOW).unwrap();
        let reversed = format!("{}{}", authority.root_pem(), a.chain_pem);
        let broken = a.chain_pem.replace("MII", "!!!");
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases: [(&str, &str, &str); 7] = [
            (&a.chain_pem, b.key_pem.reveal(), "does not belong"),
            ("", a.key_pem.reveal(), "no certificate"),
            (&reversed, a.key_pem.reveal(), "begins with an authority"),
            (&broken, a.key_pem.reveal(), "not PEM"),
            (empty, a.key_pem.reveal(), "cannot be read"),
            (&a.chain_pem, "", "no private key"),
            (&a.chain_pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----", "passphrase"),
        ];
        for (chain, key, expected) in cases {
            let error = load(chain, &Secret::new(key)).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(!error.contains("PRIVATE KEY-----\n"), "{error}");
        }
    }
}
