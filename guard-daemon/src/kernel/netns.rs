//! The cookie that names a network namespace.
#![allow(unsafe_code, reason = "no crate wraps SO_NETNS_COOKIE")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The cookie of the network namespace that `socket` was made in (`SO_NETNS_COOKIE`, Linux 5.14). It is
/// never used again while the host runs, unlike the namespace's inode.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the kernel writes at most `length` bytes to `cookie` and the new length to `length`;
    // both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn sockets_of_one_namespace_have_one_cookie() {
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        let two = UdpSocket::bind("127.0.0.1:0").unwrap();
        let cookie = netns_cookie(one.as_fd()).unwrap();
        assert_ne!(cookie, 0);
        assert_eq!(cookie, netns_cookie(two.as_fd()).unwrap());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(netns_cookie(file.as_fd()).is_err());
    }
}
