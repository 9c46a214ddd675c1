//! The connection through which values come: messages on a socket, arrays in shared memory.

use std::{io, time::Instant};

use amore_wire::host::{FromChild, ToChild};

use crate::{
    lines::{Lines, Received},
    shared_memory::SharedMemory,
};

/// This side of the connection.
#[derive(Debug)]
pub struct ValueChannel {
    lines: Lines,
    /// Holds the arrays.
    pub memory: SharedMemory,
}

impl ValueChannel {
    pub fn new(lines: Lines, memory: SharedMemory) -> Self {
        ValueChannel { lines, memory }
    }

    /// Sends a message. If the other side has ended, this is not an error.
    ///
    /// # Errors
    /// Errors of the socket.
    pub fn say(&self, message: &ToChild) -> io::Result<()> {
        self.lines.send(message)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// Errors of the socket, or an invalid message.
    pub fn listen(&mut self, deadline: Option<Instant>) -> io::Result<Received<FromChild>> {
        self.lines.receive(deadline)
    }
}
