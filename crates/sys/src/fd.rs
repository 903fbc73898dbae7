//! File descriptors from process to process (unix(7), SCM_RIGHTS).

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// Descriptors in one message, at most: the kernel's SCM_MAX_FD.
pub const MAX_FDS: usize = 253;

/// Sends `text` (1 to 65536 bytes) and descriptors in one message.
pub fn send(socket: impl AsFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    let sent = sendmsg(socket, &[IoSlice::new(text)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == text.len() { Ok(()) } else { Err(io::Error::other("the message was cut")) }
}

/// Receives one message: its text and descriptors, which are close-on-exec.
/// An empty text means that the other end has closed.
pub fn receive(socket: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut text = vec![0; 65_536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    text.truncate(got.bytes);
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((text, fds))
}

/// Owns a descriptor that this process was started with, and makes it
/// close-on-exec. An error where it is not open, or is standard input, output
/// or error. To be called at the start, once for each number, before anything
/// else can have opened a file under it.
pub fn inherit(number: i32) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::Error::other(format!("descriptor {number} is not an inherited socket")));
    }
    // SAFETY: borrowed only for the next call, which reports EBADF where it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open, was passed to us by our parent for this use, and the
    // caller adopts each number once, before other descriptors are made.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether a descriptor is a listening TCP or Unix socket (socket(7), SO_ACCEPTCONN).
pub fn is_listening(fd: impl AsFd) -> bool {
    rustix::net::sockopt::socket_acceptconn(fd).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_arrive_with_their_text() {
        let (a, b) = UnixStream::pair().unwrap();
        let listener = crate::socket::listen_tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        send(&a, b"https", &[listener.as_fd()]).unwrap();
        let (text, fds) = receive(&b).unwrap();
        assert_eq!(text, b"https");
        assert_eq!(fds.len(), 1);
        assert!(is_listening(&fds[0]));
        let same: std::net::TcpListener = fds.into_iter().next().unwrap().into();
        assert_eq!(same.local_addr().unwrap(), listener.local_addr().unwrap());
        drop(a);
        assert!(receive(&b).unwrap().0.is_empty());
    }
}
