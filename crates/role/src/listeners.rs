//! Inherited sockets.
//!
//! Two ways in: systemd's socket activation (`LISTEN_FDS`, `LISTEN_FDNAMES`, from
//! descriptor 3; sd_listen_fds(3)), and our supervisor's `BASTIDE_LISTENERS`
//! (`https=7,https=8,http=9`), which keeps the descriptors' own numbers. And one
//! way out: who connects to `<run>/ROLE.fds` is sent them, so that a new
//! supervisor holds the sockets again without a moment in which nobody does.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The variable in which our supervisor names sockets.
pub const VARIABLE: &str = "BASTIDE_LISTENERS";

/// Sockets by name.
#[derive(Debug, Default)]
pub struct Listeners {
    by_name: BTreeMap<String, Vec<OwnedFd>>,
}

impl Listeners {
    /// Those this process was started with. Call once, first thing in `main`.
    pub fn inherited() -> io::Result<Self> {
        let mut found = Self::default();
        if let Ok(text) = std::env::var(VARIABLE) {
            for entry in text.split(',').filter(|e| !e.is_empty()) {
                let (name, number) = entry.rsplit_once('=').ok_or_else(|| wrong(&text))?;
                found.adopt(name, number.parse().map_err(|_| wrong(&text))?)?;
            }
        }
        let for_us = std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
        if let (true, Ok(count)) = (for_us, std::env::var("LISTEN_FDS")) {
            let count: i32 = count.parse().map_err(|_| wrong(&count))?;
            let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
            let mut names = names.split(':');
            for number in 3..3 + count.clamp(0, 1_024) {
                found.adopt(names.next().unwrap_or("unknown"), number)?;
            }
        }
        Ok(found)
    }

    /// Takes over descriptor `number`, if it is a listening socket.
    fn adopt(&mut self, name: &str, number: i32) -> io::Result<()> {
        let fd = sys::fd::inherit(number)?;
        if !sys::fd::is_listening(&fd) {
            return Err(io::Error::other(format!(
                "descriptor {number} (`{name}`) is not a listening socket"
            )));
        }
        self.by_name.entry(name.to_owned()).or_default().push(fd);
        Ok(())
    }

    /// From pairs of name and socket.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, OwnedFd)>) -> Self {
        let mut listeners = Self::default();
        for (name, fd) in pairs {
            listeners.by_name.entry(name).or_default().push(fd);
        }
        listeners
    }

    /// The TCP sockets of a name, as duplicates, non-blocking: the originals stay
    /// here to be handed on.
    pub fn tcp(&self, name: &str) -> io::Result<Vec<TcpListener>> {
        let Some(fds) = self.by_name.get(name) else { return Ok(Vec::new()) };
        fds.iter()
            .map(|fd| {
                let listener = TcpListener::from(fd.try_clone()?);
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .collect()
    }

    /// The names there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Adds sockets that the role bound itself, so that they too can be handed on.
    pub fn add(&mut self, name: &str, listener: &TcpListener) -> io::Result<()> {
        self.by_name.entry(name.to_owned()).or_default().push(OwnedFd::from(listener.try_clone()?));
        Ok(())
    }

    /// Hands all sockets to everyone who connects to `<run>/ROLE.fds` (0600).
    /// Runs on a thread of its own until the process ends.
    pub fn hand_out(&self, path: &Path) -> io::Result<()> {
        let mut pairs = Vec::new();
        for (name, fds) in &self.by_name {
            for fd in fds {
                pairs.push((name.clone(), fd.try_clone()?));
            }
        }
        if pairs.is_empty() {
            return Ok(());
        }
        let socket = sys::socket::listen_unix(path, 0o600)?;
        socket.set_nonblocking(false)?;
        std::thread::Builder::new().name("fds".into()).spawn(move || {
            for peer in socket.incoming().flatten() {
                // A peer that fails gets nothing; the next one is served.
                let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
                let fds: Vec<_> = pairs.iter().map(|(_, fd)| fd.as_fd()).take(sys::fd::MAX_FDS).collect();
                let _ = sys::fd::send(&peer, names.join(",").as_bytes(), &fds);
            }
        })?;
        Ok(())
    }

    /// Asks a running role for its sockets.
    pub fn ask(path: &Path) -> io::Result<Self> {
        let peer = std::os::unix::net::UnixStream::connect(path)?;
        peer.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
        let (text, fds) = sys::fd::receive(&peer)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Self::from_pairs(text.split(',').map(str::to_owned).zip(fds)))
    }

    /// Pairs of name and socket, in order.
    pub fn into_pairs(self) -> impl Iterator<Item = (String, OwnedFd)> {
        self.by_name.into_iter().flat_map(|(name, fds)| fds.into_iter().map(move |fd| (name.clone(), fd)))
    }
}

fn wrong(text: &str) -> io::Error {
    io::Error::other(format!("inherited sockets cannot be understood: `{text}`"))
}
