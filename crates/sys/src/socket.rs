//! Listening sockets.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Connections that wait for `accept`; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Binds and listens. `reuse_port` lets several sockets share the address, one a
/// worker (socket(7), SO_REUSEPORT). IPv6 sockets take IPv6 only, so that
/// `0.0.0.0` and `[::]` can be listened on side by side. Non-blocking.
pub fn listen_tcp(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// `count` sockets sharing one address; a port 0 is chosen once, for all.
pub fn listen_tcp_shared(address: SocketAddr, count: u16) -> io::Result<Vec<TcpListener>> {
    let first = listen_tcp(address, count > 1)?;
    let bound = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..count {
        all.push(listen_tcp(bound, true)?);
    }
    Ok(all)
}

/// A Unix socket with `mode`, in place of a dead one of the same path. Non-blocking.
/// The path appears only once the mode is right.
pub fn listen_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let temporary = path.with_extension(format!("{:x}", crate::random::u64() & 0xFFFF_FFFF));
    let listener = UnixListener::bind(&temporary)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&temporary, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
