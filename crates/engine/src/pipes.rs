//! Named pipes of the host, which has none: Unix sockets play their part.
//!
//! ```text
//! \\.\pipe\docker_engine    the daemon's own API socket, as on Windows
//! \\.\pipe\NAME             <exec root>/pipes/NAME, for whoever listens there
//! /run/some.sock            that socket
//! ```
//!
//! A mount gives all of a container's programs the way to one socket and to no other. Whether
//! somebody listens is seen by the client that connects, as on Windows.

use std::{
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

use oriel_hcs::{MountSource, SystemDocument};

use crate::{EngineError, MountKind, MountPoint, mount_text};

/// The name of the daemon's own pipe, as clients on Windows know it.
const ENGINE: &str = "docker_engine";

/// Where named pipes of the host are.
#[derive(Clone, Debug)]
pub struct HostPipes {
    /// The daemon's API socket; `None` when it listens on none.
    pub engine: Option<PathBuf>,
    /// Directory of the sockets that stand for all other pipes.
    pub folder: PathBuf,
}

/// A pipe that leads to a source, which is settled when the container starts.
pub(crate) fn point(source: &str) -> Result<MountPoint, String> {
    let source = if mount_text::is_pipe(source) {
        PathBuf::from(mount_text::pipe(source)?)
    } else {
        let path = Path::new(source);
        if !path.is_absolute() {
            return Err(format!("'{source}' is not a valid pipe path"));
        }
        let Ok(metadata) = fs_err::metadata(path) else {
            return Err(format!("bind source path does not exist: {source}"));
        };
        if !metadata.file_type().is_socket() {
            return Err("source path must be a named pipe or a Unix socket".to_owned());
        }
        path.to_owned()
    };
    Ok(MountPoint { kind: MountKind::Npipe, source, ..MountPoint::default() })
}

impl HostPipes {
    /// Puts sockets in the place of pipes of the host.
    pub(crate) fn resolve(&self, document: &mut SystemDocument) -> Result<(), EngineError> {
        for mount in &mut document.mounts {
            if let MountSource::Pipe(source) = &mut mount.source {
                *source = self.socket(source)?;
            }
        }
        Ok(())
    }

    fn socket(&self, source: &Path) -> Result<PathBuf, EngineError> {
        let Some(name) = source.to_str().and_then(|text| text.strip_prefix(mount_text::PIPE))
        else {
            return Ok(source.to_owned());
        };
        // Names of pipes have no case.
        let name = name.to_lowercase();
        if name != ENGINE {
            return Ok(self.folder.join(name));
        }
        self.engine.clone().ok_or_else(|| {
            EngineError::unsupported(
                "the daemon listens on no Unix socket that the pipe docker_engine could lead to: \
                 start it with --host unix:///run/oriel.sock",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_lead_to_sockets() {
        let pipes = HostPipes { engine: Some("/run/api".into()), folder: "/run/pipes".into() };
        for (source, socket) in [
            (r"\\.\pipe\docker_engine", "/run/api"),
            (r"\\.\pipe\Docker_Engine", "/run/api"),
            (r"\\.\pipe\Other", "/run/pipes/other"),
            ("/run/x.sock", "/run/x.sock"),
        ] {
            assert_eq!(pipes.socket(Path::new(source)).unwrap(), Path::new(socket), "{source}");
        }
        let none = HostPipes { engine: None, ..pipes };
        let error = none.socket(Path::new(r"\\.\pipe\docker_engine")).unwrap_err().to_string();
        assert!(error.contains("--host unix://"), "{error}");
    }

    #[test]
    fn a_source_is_a_pipe_or_a_socket_that_is_there() {
        let place = tempfile::tempdir().unwrap();
        let (socket, file) = (place.path().join("socket"), place.path().join("file"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs_err::write(&file, "").unwrap();
        assert_eq!(point(socket.to_str().unwrap()).unwrap().source, socket);
        assert_eq!(point("//./pipe/x").unwrap().source, Path::new(r"\\.\pipe\x"));
        for (source, words) in [
            (file.to_str().unwrap(), "must be a named pipe or a Unix socket"),
            ("/nowhere", "bind source path does not exist: /nowhere"),
            ("name", "'name' is not a valid pipe path"),
            (r"\\.\pipe\", "is not a valid pipe path"),
        ] {
            let error = point(source).unwrap_err();
            assert!(error.contains(words), "{source}: {error}");
        }
    }
}
