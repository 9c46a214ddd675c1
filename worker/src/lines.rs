//! JSON lines over a socket, with a deadline.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, MsgFlags, recv, sendmsg},
};
use serde::{Serialize, de::DeserializeOwned};

/// What arrived before the deadline.
#[derive(Debug)]
pub enum Received<T> {
    Message(T),
    TimedOut,
    /// The other side has closed the connection.
    Closed,
}

/// One end of a connection that carries JSON lines.
#[derive(Debug)]
pub struct Lines {
    socket: OwnedFd,
    buffer: Vec<u8>,
    /// Bytes of `buffer` already searched for a line end.
    searched: usize,
}

impl Lines {
    /// Wraps a connected stream socket.
    pub fn new(socket: OwnedFd) -> Self {
        Lines { socket, buffer: Vec::new(), searched: 0 }
    }

    /// Waits for the next message until `deadline` (forever if `None`).
    ///
    /// # Errors
    /// Errors of the socket, and `InvalidData` for a line that is not a message of this type.
    pub fn receive<T: DeserializeOwned>(&mut self, deadline: Option<Instant>) -> io::Result<Received<T>> {
        loop {
            if let Some(line) = self.take_line() {
                return serde_json::from_slice(&line).map(Received::Message).map_err(|error| {
                    let text = String::from_utf8_lossy(&line);
                    let shown: String = text.chars().take(300).collect();
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("not a known message ({error}): {shown}"),
                    )
                });
            }
            if !self.wait_readable(deadline)? {
                return Ok(Received::TimedOut);
            }
            let mut chunk = [0u8; 64 * 1024];
            match recv(self.socket.as_raw_fd(), &mut chunk, MsgFlags::empty()) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(Received::Closed),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = self.searched + self.buffer[self.searched..].iter().position(|&byte| byte == b'\n')?;
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.pop();
        self.searched = 0;
        Some(line)
    }

    fn wait_readable(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        self.searched = self.buffer.len();
        loop {
            let timeout = match deadline {
                None => PollTimeout::NONE,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    // Rounded up to a millisecond, so that the loop does not spin at the end.
                    let millis = (left + Duration::from_micros(999)).as_millis().min(60_000);
                    PollTimeout::try_from(millis as i32).unwrap_or(PollTimeout::MAX)
                }
            };
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends one message. A closed connection is not an error here (reading will report it).
    ///
    /// # Errors
    /// Any other error of the socket.
    pub fn send<T: Serialize>(&self, message: &T) -> io::Result<()> {
        send_with_descriptors(&self.socket, message, &[])
    }
}

/// Sends one message and, with its first byte, file descriptors.
///
/// # Errors
/// Errors of the socket, except for a closed connection.
pub fn send_with_descriptors<T: Serialize>(
    socket: &OwnedFd,
    message: &T,
    fds: &[&OwnedFd],
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    line.push(b'\n');
    let raw: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let mut sent = 0;
    while sent < line.len() {
        let control: &[ControlMessage<'_>] = if sent == 0 && !raw.is_empty() { &rights } else { &[] };
        let part = [io::IoSlice::new(&line[sent..])];
        match sendmsg::<()>(socket.as_raw_fd(), &part, control, MsgFlags::MSG_NOSIGNAL, None) {
            Ok(count) => sent += count,
            Err(Errno::EINTR) => {}
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    fn pair() -> (Lines, Lines) {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
        (Lines::new(a), Lines::new(b))
    }

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (a, mut b) = pair();
        let long = "x".repeat(150_000);
        let sender = std::thread::spawn(move || {
            for text in ["one", &long, "three"] {
                a.send(&text).unwrap();
            }
        });
        for expected in [3, 150_000, 5] {
            match b.receive::<String>(None).unwrap() {
                Received::Message(text) => assert_eq!(text.len(), expected),
                other => panic!("{other:?}"),
            }
        }
        sender.join().unwrap();
        assert!(matches!(b.receive::<String>(None).unwrap(), Received::Closed));
    }

    #[test]
    fn a_deadline_passes_and_nothing_is_lost() {
        let (a, mut b) = pair();
        assert!(matches!(b.receive::<u32>(Some(Instant::now())).unwrap(), Received::TimedOut));
        a.send(&7u32).unwrap();
        assert!(matches!(b.receive::<u32>(Some(Instant::now())).unwrap(), Received::Message(7)));
    }

    #[test]
    fn a_foreign_line_is_shown() {
        let (a, mut b) = pair();
        a.send(&"text").unwrap();
        let error = b.receive::<u32>(None).unwrap_err();
        assert!(error.to_string().contains("\"text\""), "{error}");
    }
}
