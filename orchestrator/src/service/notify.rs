//! Tells systemd how the service is doing (`sd_notify(3)`), if it was started by systemd with `Type=notify`.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// It serves.
pub fn ready() {
    send("READY=1\nSTATUS=serving");
}

/// It is ready to take over from the process that serves.
pub fn standing_by(serves: &impl std::fmt::Display) {
    send(&format!("READY=1\nSTATUS=stand-by: {serves} serves"));
}

/// It was told to stop.
pub fn stopping() {
    send("STOPPING=1");
}

fn send(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(state.as_bytes(), &address?));
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd cannot be told: {state}");
    }
}
