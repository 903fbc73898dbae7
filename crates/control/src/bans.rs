//! Bans: kept on disk, sent to the edge and, where we apply a firewall, to the
//! kernel.

use crate::book::{read_json, write_json};
use base::net::IpNet;
use role::Fault;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The address or network.
    pub net: IpNet,
    /// When it ends, in Unix milliseconds.
    pub until_ms: u64,
    /// Why, for a person.
    pub why: String,
    /// Whether only the edge may enforce it: the client is behind a trusted proxy,
    /// which is what the kernel would see.
    #[serde(default)]
    pub edge_only: bool,
}

/// All bans of the site.
#[derive(Debug, Default)]
pub struct Bans {
    path: PathBuf,
    list: Vec<Ban>,
}

/// Bans kept, at most; a further one is refused.
pub const MAX: usize = 100_000;

impl Bans {
    /// Reads `<state>/bans.json`.
    pub fn open(state_dir: &Path) -> Result<Self, Fault> {
        let path = state_dir.join("bans.json");
        let list = read_json(&path)?.unwrap_or_default();
        Ok(Self { path, list })
    }

    /// Those in force, sorted.
    pub fn list(&self, now_ms: u64) -> Vec<Ban> {
        self.list.iter().filter(|ban| ban.until_ms > now_ms).cloned().collect()
    }

    /// Adds a ban, or changes the end of the one there is. On disk when it returns.
    pub fn add(&mut self, ban: Ban, now_ms: u64) -> Result<(), Fault> {
        let mut list = self.list(now_ms);
        list.retain(|other| other.net != ban.net);
        if list.len() >= MAX {
            return Err(Fault::new(format!("there are {MAX} bans already"))
                .hint("ban networks rather than single addresses"));
        }
        list.push(ban);
        list.sort_by_key(|ban| ban.net);
        self.replace(list)
    }

    /// Adds bans that the edge made, all at once. None is shortened: one that ends
    /// later, made by hand, say, stays as it is. The answer is how many had no room.
    pub fn add_made(&mut self, made: Vec<Ban>, now_ms: u64) -> Result<usize, Fault> {
        let mut list: BTreeMap<IpNet, Ban> =
            self.list(now_ms).into_iter().map(|ban| (ban.net, ban)).collect();
        let mut without_room = 0;
        for ban in made {
            let (known, room) = (list.get(&ban.net), list.len() < MAX);
            match known {
                Some(known) if known.until_ms >= ban.until_ms => {}
                None if !room => without_room += 1,
                _ => drop(list.insert(ban.net, ban)),
            }
        }
        self.replace(list.into_values().collect())?;
        Ok(without_room)
    }

    /// Removes a ban; false where there was none.
    pub fn remove(&mut self, net: IpNet, now_ms: u64) -> Result<bool, Fault> {
        let mut list = self.list(now_ms);
        let before = list.len();
        list.retain(|ban| ban.net != net);
        let removed = list.len() < before;
        self.replace(list)?;
        Ok(removed)
    }

    /// Forgets and returns those that have ended.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Ban> {
        let (kept, ended): (Vec<Ban>, Vec<Ban>) = self.list.drain(..).partition(|ban| ban.until_ms > now_ms);
        self.list = kept;
        ended
    }

    fn replace(&mut self, list: Vec<Ban>) -> Result<(), Fault> {
        write_json(&self.path, &list)?;
        self.list = list;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(net: &str, until_ms: u64) -> Ban {
        Ban { net: net.parse().unwrap(), until_ms, why: "test".into(), edge_only: false }
    }

    #[test]
    fn bans_are_kept_replaced_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut bans = Bans::open(folder.path()).unwrap();
        bans.add(ban("203.0.113.9/32", 100), 0).unwrap();
        bans.add(ban("2001:db8::/32", 50), 0).unwrap();
        bans.add(ban("203.0.113.9/32", 200), 0).unwrap();
        let again = Bans::open(folder.path()).unwrap();
        assert_eq!(again.list(0), bans.list(0));
        assert_eq!(bans.list(0).len(), 2);
        assert_eq!(bans.list(50), [ban("203.0.113.9/32", 200)]);
        assert_eq!(bans.expire(60).len(), 1);
        assert!(bans.remove("203.0.113.9/32".parse().unwrap(), 60).unwrap());
        assert!(!bans.remove("203.0.113.9/32".parse().unwrap(), 60).unwrap());
        assert!(bans.list(0).is_empty());
        bans.add(ban("203.0.113.9/32", 500), 0).unwrap();
        let made = vec![ban("203.0.113.9/32", 100), ban("203.0.113.7/32", 300), ban("203.0.113.7/32", 400)];
        assert_eq!(bans.add_made(made, 0).unwrap(), 0);
        let again = Bans::open(folder.path()).unwrap();
        assert_eq!(again.list(0), [ban("203.0.113.7/32", 400), ban("203.0.113.9/32", 500)]);
    }
}
