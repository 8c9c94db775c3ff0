//! What systemd is told: `sd_notify(3)`.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Tells systemd of a new state, such as `READY=1`, if it started this daemon and wants to know.
pub(crate) fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(error = %error, state, "cannot notify systemd");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    // A name that begins with @ is in the abstract namespace.
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_arrives_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("notify");
        let name = format!("@{}", path.display());
        let bound = UnixDatagram::bind(&path).unwrap();
        let named = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let named = UnixDatagram::bind_addr(&named).unwrap();
        for (receiver, socket) in [(bound, path.as_os_str()), (named, OsStr::new(&name))] {
            send(socket, "READY=1").unwrap();
            let mut buffer = [0; 16];
            let count = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"READY=1");
        }
    }
}
