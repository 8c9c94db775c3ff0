//! Starting the NT side: wineserver, then the Windows-side agent.
//!
//! Starting wineserver here and not through Wine's loader keeps the loader from running a shell,
//! and makes it a child whose end is seen. It has no readiness message in the foreground, so its
//! socket is watched: a loader that comes too early would sleep a tenth of a second.

use std::{
    io::PipeWriter,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fs_err as fs;
use oriel_hcs::SystemDocument;

use crate::{
    error::{Attempt, SiloError},
    launch::MOUNTS_PRELOAD,
};

/// Where the personality has Wine.
const WINESERVER: &str = "/usr/lib/wine/wineserver64";
const WINE: &str = "/usr/lib/wine/wine64";

/// The Windows-side agent. Its arguments are the named pipes that it is to serve.
const CEXECSVC: &str = "C:\\windows\\system32\\cexecsvc.exe";

/// How long wineserver may take to listen: it takes milliseconds unless the machine is starved.
const LISTEN_DEADLINE: Duration = Duration::from_secs(30);

/// Pause between two looks for its socket; about a tenth of what it takes.
const LISTEN_PAUSE: Duration = Duration::from_micros(300);

/// Modules that must not start: wineboot's work is cexecsvc's here, and the others are GUI
/// helpers or want to install something. cexecsvc itself is native: beside the builtin modules
/// lies only its placeholder, which Wine would prefer.
const OVERRIDES: &str = "cexecsvc.exe=n;wineboot.exe=;winemenubuilder.exe=;mscoree=;mshtml=";

/// Wine's loader says which DLL it does not find, and nothing else is said: the host reads it in
/// the agent's log.
const LOADER_ONLY: &str = "-all,err+module";

/// The NT side as children of pid 1.
#[derive(Debug)]
pub(super) struct NtSide {
    /// wineserver.
    pub(super) server: Child,
    /// cexecsvc.exe, with the bridge on its standard input and output.
    pub(super) agent: Child,
}

/// Starts it. What it writes to standard error goes to `log`.
pub(super) fn start(document: &SystemDocument, log: &PipeWriter) -> Result<NtSide, SiloError> {
    let mut command = prepare(WINESERVER, document, log)?;
    let mut server = command
        .args(["-f", "-p"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .attempt(|| format!("start {WINESERVER}"))?;
    wait_for_socket(&mut server)?;
    let agent = prepare(WINE, document, log)?
        .arg(CEXECSVC)
        .args(document.pipes().map(|(name, _)| name))
        .current_dir("/drive_c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .attempt(|| format!("start {WINE}"))?;
    Ok(NtSide { server, agent })
}

fn prepare(
    program: &str,
    document: &SystemDocument,
    log: &PipeWriter,
) -> Result<Command, SiloError> {
    let log = log.try_clone().attempt(|| "share the log".to_owned())?;
    let mut command = Command::new(program);
    command.env_clear().envs(environment(document)).current_dir("/").stderr(log);
    Ok(command)
}

/// Environment of Wine's loader, not of Windows programs: cexecsvc gives those their own.
fn environment(document: &SystemDocument) -> Vec<(&'static str, &str)> {
    let user = if document.user.is_empty() { "ContainerAdministrator" } else { &document.user };
    let preload = (!document.mounts.is_empty()).then_some(("LD_PRELOAD", MOUNTS_PRELOAD));
    let fixed = [
        ("WINEPREFIX", "/prefix"),
        ("HOME", "/run/user/0"),
        ("XDG_RUNTIME_DIR", "/run/user/0"),
        ("USER", user),
        ("PATH", "/usr/lib/wine"),
        ("LANG", "C.UTF-8"),
        ("TZ", document.time_zone.as_deref().unwrap_or("UTC")),
        ("WINEDEBUG", LOADER_ONLY),
        ("WINELOADERNOEXEC", "1"),
        ("WINEDLLOVERRIDES", OVERRIDES),
    ];
    fixed.into_iter().chain(preload).collect()
}

fn wait_for_socket(server: &mut Child) -> Result<(), SiloError> {
    let failed = |reason: String| Err(SiloError::Boot { reason });
    let deadline = Instant::now() + LISTEN_DEADLINE;
    while !is_listening(Path::new("/proc/net/unix")) {
        if let Some(status) = server.try_wait().attempt(|| "watch wineserver".to_owned())? {
            return failed(format!("wineserver ended at once ({status})"));
        }
        if Instant::now() >= deadline {
            return failed("wineserver did not listen in time".to_owned());
        }
        std::thread::sleep(LISTEN_PAUSE);
    }
    Ok(())
}

/// Whether a socket of wineserver listens. Column 4 holds the flags: `__SO_ACCEPTCON` (0x10000)
/// marks a listening socket; the name is the relative one wineserver binds in its directory.
fn is_listening(sockets: &Path) -> bool {
    const LISTENING: &str = "00010000";
    let Ok(text) = fs::read_to_string(sockets) else { return false };
    text.lines().any(|line| {
        let mut columns = line.split_whitespace();
        columns.nth(3) == Some(LISTENING) && columns.next_back() == Some("socket")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_bound_but_does_not_listen_is_not_ready() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("unix");
        let head = "Num RefCount Protocol Flags Type St Inode Path\n";
        fs::write(&file, format!("{head}0: 2 0 00000000 0001 01 77 socket\n")).unwrap();
        assert!(!is_listening(&file));
        fs::write(&file, format!("{head}0: 2 0 00010000 0001 01 77 socket\n")).unwrap();
        assert!(is_listening(&file));
    }
}
