//! What the daemon may use of the host.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::connections::{CONNECTIONS, Connections};

/// Threads for work that blocks. Each connection may hold one with a client that does not send or
/// take its body; the rest is for everybody.
pub(crate) const BLOCKING_THREADS: usize = CONNECTIONS + 512;

/// Open files that are enough: a few for each connection and for each of thousands of containers.
const DESCRIPTORS: u64 = 1 << 16;

/// Has the kernel allow as many open files as are enough.
pub(crate) fn raise_descriptors() {
    match raise(DESCRIPTORS) {
        Ok((before, now)) if before == now => {}
        Ok((before, now)) => tracing::info!(before, now, "limit of open files raised"),
        Err(error) => tracing::warn!(
            error = %error,
            "cannot raise the limit of open files: set LimitNOFILE= of the service"
        ),
    }
}

/// How long nobody may ask anything before the daemon counts as idle.
const QUIET: Duration = Duration::from_secs(10);

/// Gives back what a busy time needed each time it is over. Never ends.
pub(crate) async fn give_back_memory(places: &Connections) {
    let (mut seen, mut given) = (0, 0);
    loop {
        tokio::time::sleep(QUIET).await;
        let steps = places.steps();
        if steps == seen && steps != given {
            // One that panicked would be tried again, and nobody waits for it.
            let _ = tokio::task::spawn_blocking(oriel_sys::memory::give_back).await;
            given = steps;
        }
        seen = steps;
    }
}

/// Raises the limit of open files to `wanted`, if it is lower; gives it before and after.
fn raise(wanted: u64) -> nix::Result<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok((soft, soft));
    }
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok() {
        return Ok((soft, wanted));
    }
    // In a container, root may not raise the hard limit.
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok((soft, hard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_only_grows() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise(soft - 1), Ok((soft, soft)));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, soft);
    }
}
