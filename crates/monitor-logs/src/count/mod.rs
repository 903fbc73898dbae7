//! Requests counted by host, method and route: bounded, and without an allocation
//! a line.

mod durations;
mod route;
mod saved;
pub(crate) mod varint;

pub use durations::Durations;
pub use route::normalise;
pub use varint::Damaged;

use crate::entry::Entry;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// What is counted, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Hosts with counters of their own; the others are `other`. Default 64.
    pub hosts: usize,
    /// Routes with counters of their own, each counted once for every host and
    /// method it is asked with; what is beyond goes to the route `other` of its host
    /// and method. Default 256.
    pub routes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { hosts: 64, routes: 256 }
    }
}

/// Methods with a name of their own (RFC 9110 §9, RFC 5789, RFC 4918); the others
/// are `other`.
const METHODS: [&str; 17] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "other",
];

/// What hosts, methods and routes beyond the bounds are called.
pub const OTHER: &str = "other";

/// Places of the cache from a raw path to its counters.
const CACHE: usize = 1 << 12;

/// A longer path is no route.
const MAX_PATH: usize = 1_024;

/// A longer host is `other`.
const MAX_HOST: usize = 255;

/// What a log's lines came to.
#[derive(Debug)]
pub struct Counts {
    limits: Limits,
    hash: FixedState,
    /// Requests by status code, from 100.
    codes: Box<[u64; 500]>,
    /// Bytes sent.
    bytes: u64,
    durations: Durations,
    /// Lines that could not be read.
    unparsed: u64,
    /// Requests whose host got no counters of its own.
    overflow_hosts: u64,
    /// Requests whose route got none.
    overflow_routes: u64,
    hosts: Vec<Box<str>>,
    /// Slots with a route of their own; those for `other` do not count.
    routes: usize,
    slots: Vec<Slot>,
    table: HashTable<u32>,
    cache: Box<[(u64, u32)]>,
    scratch: Vec<u8>,
    last_host: (Vec<u8>, u16),
}

/// The counters of one host, method and route.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    host: u16,
    method: u8,
    /// `/orders/:id`, or `other`.
    pub route: Box<str>,
    /// Requests by class: 1xx to 5xx.
    pub classes: [u64; 5],
    /// Bytes sent.
    pub bytes: u64,
    /// How long they took; absent while no line said.
    pub durations: Option<Box<Durations>>,
}

impl Counts {
    /// Nothing yet. `seed` is chance: who writes lines cannot tell which of them
    /// fall together.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits: Limits { hosts: limits.hosts.clamp(1, 10_000), routes: limits.routes.clamp(1, 100_000) },
            hash: FixedState::with_seed(seed),
            codes: Box::new([0; 500]),
            bytes: 0,
            durations: Durations::default(),
            unparsed: 0,
            overflow_hosts: 0,
            overflow_routes: 0,
            hosts: Vec::new(),
            routes: 0,
            slots: Vec::new(),
            table: HashTable::new(),
            cache: vec![(0, u32::MAX); CACHE].into(),
            scratch: Vec::with_capacity(256),
            last_host: (Vec::new(), u16::MAX),
        }
    }

    /// Counts one request.
    pub fn add(&mut self, entry: &Entry<'_>) {
        let Some(code) = self.codes.get_mut(usize::from(entry.status).wrapping_sub(100)) else { return };
        *code += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes);
        let at = self.slot(entry);
        let slot = &mut self.slots[at];
        slot.classes[usize::from(entry.status / 100) - 1] += 1;
        slot.bytes = slot.bytes.saturating_add(entry.bytes);
        if let Some(duration_us) = entry.duration_us {
            self.durations.add(duration_us);
            slot.durations.get_or_insert_default().add(duration_us);
        }
    }

    /// Counts a line that could not be read.
    pub fn add_unparsed(&mut self) {
        self.unparsed += 1;
    }

    /// The slot of a request, made where there is room.
    fn slot(&mut self, entry: &Entry<'_>) -> usize {
        let host = self.host(entry);
        let method = method(entry.method);
        let path = &entry.target[..memchr::memchr2(b'?', b'#', entry.target).unwrap_or(entry.target.len())];
        if path.is_empty() || path.len() > MAX_PATH {
            self.overflow_routes += 1;
            return self.overflow(host, method);
        }
        let key = u64::from(host) << 8 | u64::from(method);
        let raw = self.hash.hash_one((key, path));
        let place = raw as usize & (CACHE - 1);
        if let (hash, slot) = self.cache[place]
            && hash == raw
            && let Some(found) = self.slots.get(slot as usize)
            && found.host == host
            && found.method == method
        {
            return slot as usize;
        }
        let mut route = std::mem::take(&mut self.scratch);
        normalise(path, &mut route);
        // What answers "there is no such thing" names none: scanners would fill the table.
        let may_begin = entry.status < 400 || entry.status >= 500;
        let found = self.find(host, method, &route, may_begin);
        self.scratch = route;
        match found {
            Some(slot) => {
                self.cache[place] = (raw, slot as u32);
                slot
            }
            None => {
                self.overflow_routes += 1;
                self.overflow(host, method)
            }
        }
    }

    fn overflow(&mut self, host: u16, method: u8) -> usize {
        let room = self.routes;
        let found = self.find(host, method, OTHER.as_bytes(), true);
        self.routes = room; // The places of `other` are bounded by hosts times methods.
        found.unwrap_or_else(|| self.make(host, method, OTHER))
    }

    fn find(&mut self, host: u16, method: u8, route: &[u8], may_begin: bool) -> Option<usize> {
        let hash = self.hash.hash_one((host, method, route));
        let slots = &self.slots;
        let same = |at: &u32| {
            let slot = &slots[*at as usize];
            slot.host == host && slot.method == method && slot.route.as_bytes() == route
        };
        if let Some(at) = self.table.find(hash, same) {
            return Some(*at as usize);
        }
        if !may_begin || self.routes >= self.limits.routes {
            return None;
        }
        // Routes are ASCII.
        let route = std::str::from_utf8(route).ok()?.to_owned();
        self.routes += 1;
        Some(self.make(host, method, &route))
    }

    fn make(&mut self, host: u16, method: u8, route: &str) -> usize {
        let at = self.slots.len();
        let slot = Slot { host, method, route: route.into(), classes: [0; 5], bytes: 0, durations: None };
        self.slots.push(slot);
        let (hasher, slots) = (&self.hash, &self.slots);
        let hash = |at: &u32| {
            let slot = &slots[*at as usize];
            hasher.hash_one((slot.host, slot.method, slot.route.as_bytes()))
        };
        let at_u32 = at as u32; // At most 10,000 × 17 + 100,000.
        self.table.insert_unique(hash(&at_u32), at_u32, hash);
        at
    }

    fn host(&mut self, entry: &Entry<'_>) -> u16 {
        let last = self.last_host.0.as_slice();
        let same = last.len() == entry.host.len() && (last.is_empty() || last == entry.host);
        if same && self.last_host.1 != u16::MAX {
            return self.last_host.1;
        }
        let name = host_name(entry.host);
        let known = self.hosts.iter().position(|host| host.as_bytes().eq_ignore_ascii_case(name));
        let may_begin = (200..400).contains(&entry.status) || entry.status >= 500 || name.is_empty();
        let is_name = name.iter().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(b));
        let at = match known {
            Some(at) => at as u16,
            None if may_begin
                && is_name
                && name.len() <= MAX_HOST
                && self.hosts.len() < self.limits.hosts =>
            {
                self.hosts.push(String::from_utf8_lossy(name).to_ascii_lowercase().into());
                (self.hosts.len() - 1) as u16
            }
            None => {
                self.overflow_hosts += 1;
                return OTHER_HOST;
            }
        };
        self.last_host.0.clear();
        self.last_host.0.extend_from_slice(entry.host);
        self.last_host.1 = at;
        at
    }

    /// Requests by status code, those that there were.
    pub fn codes(&self) -> impl Iterator<Item = (u16, u64)> {
        self.codes.iter().enumerate().filter(|(_, n)| **n > 0).map(|(at, n)| (at as u16 + 100, *n))
    }

    /// Bytes sent.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All durations.
    pub fn durations(&self) -> &Durations {
        &self.durations
    }

    /// Lines that could not be read.
    pub fn unparsed(&self) -> u64 {
        self.unparsed
    }

    /// Requests that were counted under `other`, because there was no room for
    /// their host, or their route.
    pub fn overflowed(&self) -> (u64, u64) {
        (self.overflow_hosts, self.overflow_routes)
    }

    /// The counters by host, method and route.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The host of a slot; empty where the log does not say.
    pub fn host_of(&self, slot: &Slot) -> &str {
        self.hosts.get(usize::from(slot.host)).map_or(OTHER, |host| host)
    }

    /// The method of a slot; empty where the line had none.
    pub fn method_of(&self, slot: &Slot) -> &'static str {
        METHODS.get(usize::from(slot.method)).copied().unwrap_or_default()
    }
}

/// The host of requests whose host has no counters.
const OTHER_HOST: u16 = u16::MAX - 1;

/// The place in [`METHODS`]; one behind them is a line without a method.
fn method(text: &[u8]) -> u8 {
    let at = match text {
        b"GET" => 0,
        b"POST" => 2,
        b"" => METHODS.len(),
        // Methods are case-sensitive (RFC 9110 §9.1).
        other => METHODS.iter().position(|m| m.as_bytes() == other).unwrap_or(METHODS.len() - 1),
    };
    at as u8
}

/// Without its port.
pub(crate) fn host_name(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', host) {
        Some(at) if host[at + 1..].iter().all(u8::is_ascii_digit) && host[..at].last() != Some(&b':') => {
            &host[..at]
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(host: &'a str, method: &'a str, target: &'a str, status: u16) -> Entry<'a> {
        Entry {
            host: host.as_bytes(),
            method: method.as_bytes(),
            target: target.as_bytes(),
            status,
            bytes: 10,
            duration_us: Some(2_000),
            ..Entry::default()
        }
    }

    fn shown(counts: &Counts) -> Vec<String> {
        let mut all: Vec<String> = counts
            .slots()
            .iter()
            .map(|slot| {
                let (host, method) = (counts.host_of(slot), counts.method_of(slot));
                format!("{host} {method} {} {:?} {}", slot.route, slot.classes, slot.bytes)
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn requests_are_counted_by_host_method_and_route() {
        let mut counts = Counts::new(Limits::default(), 7);
        for n in 0..3 {
            counts.add(&entry("Shop.example:443", "GET", &format!("/orders/{n}?a=b"), 200));
        }
        counts.add(&entry("shop.example", "GET", "/orders/9", 404));
        counts.add(&entry("shop.example", "BREW", "/orders/9", 500));
        counts.add(&entry("shop.example", "GET", "/wp-login.php", 404));
        counts.add(&entry("", "", "", 400));
        counts.add(&entry("evil\"host", "GET", "/", 200));
        assert_eq!(
            shown(&counts),
            [
                "  other [0, 0, 0, 1, 0] 10",
                "other GET / [0, 1, 0, 0, 0] 10",
                "shop.example GET /orders/:id [0, 3, 0, 1, 0] 40",
                "shop.example GET other [0, 0, 0, 1, 0] 10",
                "shop.example other /orders/:id [0, 0, 0, 0, 1] 10",
            ]
        );
        assert_eq!(counts.overflowed(), (1, 2));
        assert_eq!(counts.codes().collect::<Vec<_>>(), [(200, 4), (400, 1), (404, 2), (500, 1)]);
        assert_eq!((counts.bytes(), counts.durations().count()), (80, 8));
    }

    #[test]
    fn a_flood_of_hosts_and_routes_is_bounded() {
        let limits = Limits { hosts: 3, routes: 10 };
        let mut counts = Counts::new(limits, 7);
        for n in 0..10_000_u32 {
            let route: String = n.to_string().bytes().map(|b| char::from(b - b'0' + b'a')).collect();
            counts.add(&entry(&format!("h{}", n % 50), "GET", &format!("/{route}"), 200));
        }
        assert!(counts.slots().len() <= 10 + 4 * METHODS.len(), "{}", counts.slots().len());
        let total: u64 = counts.slots().iter().flat_map(|s| s.classes).sum();
        assert_eq!(total, 10_000);
        let (hosts, routes) = counts.overflowed();
        assert_eq!(hosts, 10_000 - 3 * 200);
        assert_eq!(routes, 10_000 - 10);
    }
}
