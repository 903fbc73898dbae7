//! Which certificate a client gets, by the name it asks for (SNI).

use crate::Loaded;
use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// Chooses among certificates; the set is swapped whole, under running handshakes.
#[derive(Debug)]
pub struct Resolver {
    set: ArcSwap<Set>,
}

#[derive(Debug, Default)]
struct Set {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what stands after `*`: `.shop.example`.
    below: HashMap<String, Arc<CertifiedKey>>,
    default: Option<Arc<CertifiedKey>>,
}

impl Resolver {
    /// With these certificates; the first is served where no name fits. Of two
    /// for one name the earlier wins.
    pub fn new(certificates: &[Loaded]) -> Self {
        Self { set: ArcSwap::from_pointee(Set::new(certificates)) }
    }

    /// Serves these from now on.
    pub fn swap(&self, certificates: &[Loaded]) {
        self.set.store(Arc::new(Set::new(certificates)));
    }

    /// The certificate for a name: an exact one, then one for all names a label
    /// above (a `*` stands for one label, RFC 9525 §6.3), then the first.
    pub fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let set = self.set.load();
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let name = name.strip_suffix('.').unwrap_or(&name);
            let below = || name.find('.').and_then(|dot| set.below.get(&name[dot..]));
            set.exact.get(name).or_else(below)
        });
        found.or(set.default.as_ref()).cloned()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name())
    }
}

impl Set {
    fn new(certificates: &[Loaded]) -> Self {
        let mut set = Self { default: certificates.first().map(|c| c.key.clone()), ..Self::default() };
        for loaded in certificates {
            for name in &loaded.info.names {
                let (map, key) = match name.strip_prefix('*') {
                    Some(below) => (&mut set.below, below),
                    None => (&mut set.exact, name.as_str()),
                };
                map.entry(key.to_owned()).or_insert_with(|| loaded.key.clone());
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, load};

    #[test]
    fn exact_then_wildcard_then_the_first() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let all = names(&["shop.example", "other.example"]);
        let authority = Authority::create("s", &all, 1_790_000_000).unwrap();
        let issue = |list: &[&str]| {
            let issued = authority.issue(&names(list), 1_790_000_000).unwrap();
            load(&issued.chain_pem, &issued.key_pem).unwrap()
        };
        let sets = [issue(&["other.example"]), issue(&["*.shop.example"]), issue(&["www.shop.example"])];
        let resolver = Resolver::new(&sets);
        let cases = [
            (Some("other.example"), 0),
            (Some("WWW.shop.example"), 2),
            (Some("www.shop.example."), 2),
            (Some("a.shop.example"), 1),
            (Some("a.b.shop.example"), 0),
            (Some("shop.example"), 0),
            (Some("unknown"), 0),
            (None, 0),
        ];
        for (name, expected) in cases {
            let got = resolver.choose(name).unwrap();
            assert!(Arc::ptr_eq(&got, &sets[expected].key), "{name:?}");
        }
        resolver.swap(&sets[1..2]);
        assert!(Arc::ptr_eq(&resolver.choose(None).unwrap(), &sets[1].key));
        resolver.swap(&[]);
        assert!(resolver.choose(Some("shop.example")).is_none());
    }
}
