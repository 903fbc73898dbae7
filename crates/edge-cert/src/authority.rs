//! The internal certificate authority: a root of the site's own, which signs the
//! certificates of its edge where no public one is wanted.
//!
//! The root is constrained to the site's names (RFC 5280 §4.2.1.10): a browser
//! that trusts it believes it about this site and about nothing else, should its
//! key ever be stolen. The price: a new domain needs a new root, to be trusted
//! anew ([`Authority::covers`] tells).

use crate::CertError;
use crate::load::{first_certificate, san_names};
use base::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use x509_parser::extensions::{GeneralName, ParsedExtension};

/// How long a root lasts: it is trusted by hand, so seldom replaced.
pub const ROOT_LIFETIME_S: u64 = 10 * 365 * DAY_S;
/// How long a leaf lasts: Let's Encrypt's 90 days. Renewal costs nothing here.
pub const LEAF_LIFETIME_S: u64 = 90 * DAY_S;
const DAY_S: u64 = 86_400;
/// Certificates begin this much before now, for clients whose clock is behind.
const BACKDATE_S: u64 = 3_600;

/// A root with its key.
#[derive(Debug)]
pub struct Authority {
    root_pem: String,
    key: KeyPair,
}

/// A certificate just signed.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The leaf, PEM. The root is not sent along: who trusts it has it.
    pub chain_pem: String,
    /// Its key, PKCS#8 PEM.
    pub key_pem: Secret,
    /// The names in it.
    pub names: Vec<String>,
    /// When it ends.
    pub not_after_s: u64,
}

impl Authority {
    /// Makes a root for a site and its names: host names, `*.` names, addresses.
    /// `localhost`, `127.0.0.1` and `::1` are always among them.
    pub fn create(site: &str, names: &[String], now_s: u64) -> Result<Self, CertError> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // An X.520 common name has at most 64 characters.
        let name: String = format!("Bastide {site}").chars().take(64).collect();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "Bastide internal authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: subtrees(&with_local(names)?),
            excluded_subtrees: vec![],
        });
        set_times(&mut params, now_s, ROOT_LIFETIME_S);
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self { root_pem: certificate.pem(), key })
    }

    /// Reads a root and its key back.
    pub fn load(root_pem: &str, key_pem: &Secret) -> Result<Self, CertError> {
        let key = KeyPair::from_pem(key_pem.reveal())
            .map_err(|_| CertError::new("the authority's key cannot be read"))?;
        let authority = Self { root_pem: root_pem.to_owned(), key };
        let der = first_certificate(root_pem)?;
        let (_, root) = x509_parser::parse_x509_certificate(&der)
            .map_err(|_| CertError::new("the authority's certificate cannot be read"))?;
        if !root.is_ca() {
            return Err(CertError::new("the authority's certificate is not one of an authority"));
        }
        let public = root.public_key().subject_public_key.data.as_ref();
        if public != authority.key.public_key_raw() {
            return Err(CertError::new("the authority's key does not belong to its certificate"));
        }
        Ok(authority)
    }

    /// The root, PEM: what is to be trusted.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root's key, PKCS#8 PEM: to be kept 0600, out of the edge's reach.
    pub fn key_pem(&self) -> Secret {
        Secret::new(self.key.serialize_pem())
    }

    /// Whether the root may sign for all these names.
    pub fn covers(&self, names: &[String]) -> bool {
        let Ok(der) = first_certificate(&self.root_pem) else { return false };
        let Ok((_, root)) = x509_parser::parse_x509_certificate(&der) else { return false };
        let constraints = root.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::NameConstraints(constraints) => Some(constraints),
            _ => None,
        });
        let Some(permitted) = constraints.and_then(|c| c.permitted_subtrees.as_ref()) else { return true };
        let Ok(names) = with_local(names) else { return false };
        names.iter().all(|name| permitted.iter().any(|subtree| covered(&subtree.base, name)))
    }

    /// Signs a certificate for these names and the local ones.
    pub fn issue(&self, names: &[String], now_s: u64) -> Result<Issued, CertError> {
        if !self.covers(names) {
            return Err(CertError::new(format!(
                "the authority may not sign for all of `{}`",
                names.join(", ")
            ))
            .hint("its root was made for other domains; make a new one and trust it anew"));
        }
        let names = with_local(names)?;
        let issuer = Issuer::from_ca_cert_pem(&self.root_pem, &self.key).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(first) = names.first().filter(|name| name.text().len() <= 64) {
            params.distinguished_name.push(DnType::CommonName, first.text());
        }
        params.subject_alt_names = names.iter().map(Name::san).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after_s = set_times(&mut params, now_s, LEAF_LIFETIME_S);
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok(Issued {
            chain_pem: certificate.pem(),
            key_pem: Secret::new(key.serialize_pem()),
            names: san_names(certificate.der())?,
            not_after_s,
        })
    }
}

/// A name that a certificate can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Dns(String),
    Ip(IpAddr),
}

impl Name {
    fn parse(text: &str) -> Result<Self, CertError> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse() {
            return Ok(Self::Ip(ip));
        }
        let lower = text.to_ascii_lowercase();
        if base::net::is_host_name(lower.strip_prefix("*.").unwrap_or(&lower)) {
            return Ok(Self::Dns(lower));
        }
        Err(CertError::new(format!("`{text}` is not a name a certificate can hold"))
            .hint("write a host name such as `shop.example` or `*.shop.example`, or an IP address"))
    }

    fn text(&self) -> String {
        match self {
            Self::Dns(name) => name.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }

    fn san(&self) -> Result<SanType, CertError> {
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(failed)?),
            Self::Ip(ip) => SanType::IpAddress(*ip),
        })
    }
}

/// The names, without repetitions, and the local ones.
fn with_local(names: &[String]) -> Result<Vec<Name>, CertError> {
    let local = [
        Name::Dns("localhost".into()),
        Name::Ip(Ipv4Addr::LOCALHOST.into()),
        Name::Ip(Ipv6Addr::LOCALHOST.into()),
    ];
    let mut all: Vec<Name> = Vec::with_capacity(names.len() + 3);
    for name in names.iter().map(|n| Name::parse(n)).chain(local.into_iter().map(Ok)) {
        let name = name?;
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

fn subtrees(names: &[Name]) -> Vec<GeneralSubtree> {
    let subtree = |name: &Name| match name {
        // A DNS subtree covers the name itself and all below it.
        Name::Dns(name) => GeneralSubtree::DnsName(name.strip_prefix("*.").unwrap_or(name).to_owned()),
        Name::Ip(ip) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*ip, if ip.is_ipv4() { 32 } else { 128 }))
        }
    };
    names.iter().map(subtree).collect()
}

fn covered(base: &GeneralName<'_>, name: &Name) -> bool {
    match (base, name) {
        (GeneralName::DNSName(base), Name::Dns(name)) => {
            let name = name.strip_prefix("*.").unwrap_or(name);
            name == *base || name.strip_suffix(base).is_some_and(|rest| rest.ends_with('.'))
        }
        // Address and mask (RFC 5280 §4.2.1.10).
        (GeneralName::IPAddress(base), Name::Ip(ip)) => {
            let octets = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let (address, mask) = base.split_at(base.len() / 2);
            address.len() == octets.len()
                && octets.iter().zip(mask).zip(address).all(|((o, m), a)| o & m == a & m)
        }
        _ => false,
    }
}

/// Sets both ends of the lifetime; the answer is the later one.
fn set_times(params: &mut CertificateParams, now_s: u64, lifetime_s: u64) -> u64 {
    let at = |unix_s: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_s);
    // Beyond the year 5138 dates stop fitting; no clock is there by honest means.
    let now_s = now_s.min(100_000_000_000);
    params.not_before = at(now_s.saturating_sub(BACKDATE_S));
    params.not_after = at(now_s + lifetime_s);
    now_s + lifetime_s
}

fn failed(error: rcgen::Error) -> CertError {
    CertError::new(format!("the certificate cannot be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};
    use std::sync::Arc;

    const NOW: u64 = 1_790_000_000;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|n| (*n).to_owned()).collect()
    }

    fn verify(root_pem: &str, chain_pem: &str, name: &str, at_s: u64) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(first_certificate(root_pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let leaf = first_certificate(chain_pem).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(at_s));
        verifier.verify_server_cert(&leaf, &[], &name, &[], now).map(|_| ()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_verifier_believes_what_was_issued_and_only_while_it_lasts() {
        let wanted = names(&["shop.example", "*.shop.example", "192.0.2.7"]);
        let made = Authority::create("shop", &wanted, NOW).unwrap();
        let authority = Authority::load(made.root_pem(), &made.key_pem()).unwrap();
        let issued = authority.issue(&wanted, NOW).unwrap();
        for name in ["shop.example", "a.shop.example", "192.0.2.7", "localhost", "127.0.0.1", "::1"] {
            assert_eq!(verify(authority.root_pem(), &issued.chain_pem, name, NOW), Ok(()), "{name}");
        }
        assert!(verify(authority.root_pem(), &issued.chain_pem, "other.example", NOW).is_err());
        assert!(
            verify(authority.root_pem(), &issued.chain_pem, "localhost", issued.not_after_s + 1).is_err()
        );
        assert_eq!(issued.not_after_s, NOW + LEAF_LIFETIME_S);
    }

    #[test]
    fn the_root_is_believed_about_its_own_names_only() {
        let authority = Authority::create("shop", &names(&["shop.example"]), NOW).unwrap();
        let cases = [
            (names(&["shop.example", "www.shop.example"]), true),
            (names(&[]), true),
            (names(&["bank.example"]), false),
            (names(&["notshop.example"]), false),
            (names(&["192.0.2.1"]), false),
        ];
        for (wanted, expected) in cases {
            assert_eq!(authority.covers(&wanted), expected, "{wanted:?}");
            assert_eq!(authority.issue(&wanted, NOW).is_ok(), expected, "{wanted:?}");
        }
        // Even signed past our own check, such a leaf is not believed.
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_ca_cert_pem(authority.root_pem(), &authority.key).unwrap();
        let mut params = CertificateParams::new(names(&["bank.example"])).unwrap();
        set_times(&mut params, NOW, DAY_S);
        let rogue = params.signed_by(&key, &issuer).unwrap();
        assert!(verify(authority.root_pem(), &rogue.pem(), "bank.example", NOW).is_err());
    }

    #[test]
    fn what_is_no_name_or_no_pair() {
        assert!(Authority::create("s", &names(&["a b"]), NOW).unwrap_err().what.contains("`a b`"));
        let one = Authority::create("s", &[], NOW).unwrap();
        let two = Authority::create("s", &[], NOW).unwrap();
        let error = Authority::load(one.root_pem(), &two.key_pem()).unwrap_err();
        assert!(error.what.contains("does not belong"), "{error}");
        let leaf = one.issue(&[], NOW).unwrap();
        let error = Authority::load(&leaf.chain_pem, &leaf.key_pem).unwrap_err();
        assert!(error.what.contains("not one of an authority"), "{error}");
        assert!(Authority::load("junk", &one.key_pem()).is_err());
        assert!(Authority::load(one.root_pem(), &Secret::new("junk")).is_err());
    }
}
