//! Clients as they are, through a recorder, with Oriel and with a real dockerd.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use oriel_conformance::{
    CLIENTS, Case, Compatibility, Daemon, Dockerd, Installed, Outcome, Pair, Session, differences,
};

use crate::PASSED;

pub(crate) const CASES: &[Case] =
    &[Case { name: "unmodified_clients_work_as_docs_compatibility_says", run: clients }];

/// The page with the tables.
const PAGE: &str = "../docs/compatibility.md";

/// What stands around each part of the page that the run writes.
const BEGIN: &str = "<!-- Written by the run: -->\n";
const END: &str = "<!-- :written by the run -->\n";

/// Set to have the page written anew.
const ACCEPT: &str = "ORIEL_TEST_ACCEPT";

/// Set to part of a client's name to run it alone, without looking at the page.
const ONLY: &str = "ORIEL_TEST_CLIENT";

/// Does not work with a dockerd of its own age and newer: see the page.
const NOT_WITH_DOCKERD: &str = "skopeo";

fn clients(daemon: &mut Daemon) -> Result<Outcome> {
    let only = std::env::var(ONLY).unwrap_or_default();
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let clients = path("ORIEL_TEST_CLIENTS").context("ORIEL_TEST_CLIENTS is not set")?;
    let programs = path("ORIEL_TEST_PROGRAMS").context("ORIEL_TEST_PROGRAMS is not set")?;
    let installed = |scratch: &Path| Installed {
        clients: clients.clone(),
        programs: programs.clone(),
        scratch: scratch.join("clients"),
    };
    let folder = tempfile::Builder::new().prefix("oriel-dockerd-").tempdir()?;
    // Side by side: most steps wait for something.
    let (oriel, real) = std::thread::scope(|scope| {
        let real = scope.spawn(|| -> Result<Vec<Session>> {
            let dockerd = Dockerd::start(&clients, folder.path())?;
            let chosen = |name: &str| name.contains(&only) && name != NOT_WITH_DOCKERD;
            sessions(&installed(folder.path()), &dockerd.socket(), chosen, || ())
        });
        let chosen = |name: &str| name.contains(&only);
        let here = installed(daemon.scratch());
        let oriel = sessions(&here, &daemon.socket(), chosen, || daemon.clear());
        (oriel, real.join().unwrap_or_else(|_| Err(anyhow!("the run with dockerd panicked"))))
    });
    let (oriel, real) = (oriel?, real.context("with dockerd")?);

    if !only.is_empty() {
        return Ok(Outcome::Skipped(format!("{ONLY} is set: the page is not looked at")));
    }
    let mut compatibility = Compatibility::default();
    for session in &oriel {
        compatibility.add(&session.client, &session.exchanges);
    }
    let pairs: Vec<Pair> =
        oriel.into_iter().zip(real).map(|(oriel, dockerd)| Pair { oriel, dockerd }).collect();
    compare(&[compatibility.table(), differences(&pairs)])?;
    PASSED
}

/// Runs the programs of all chosen clients, and clears the daemon after each.
#[expect(clippy::print_stdout, reason = "the steps of a client are part of the report")]
fn sessions(
    installed: &Installed,
    socket: &Path,
    chosen: impl Fn(&str) -> bool,
    clear: impl Fn(),
) -> Result<Vec<Session>> {
    let (mut sessions, mut failures) = (Vec::new(), Vec::new());
    fs_err::create_dir_all(&installed.scratch)?;
    for client in CLIENTS.iter().filter(|client| chosen(client.name)) {
        let start = std::time::Instant::now();
        match client.run(installed, socket) {
            Ok(session) => {
                println!("{} ({:.0?})\n{}", client.name, start.elapsed(), session.output);
                sessions.push(session);
            }
            Err(error) => failures.push(format!("{error:#}")),
        }
        clear();
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(sessions)
}

/// Compares what the run would write with the page, or writes it.
fn compare(parts: &[String]) -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let there = fs_err::read_to_string(&page)?;
    let mut written = String::new();
    let mut rest = there.as_str();
    for part in parts {
        let (before, after) = rest.split_once(BEGIN).context("the page lost a mark")?;
        let (_, after) = after.split_once(END).context("the page lost the end of a mark")?;
        written += &format!("{before}{BEGIN}\n{part}\n{END}");
        rest = after;
    }
    written += rest;
    if std::env::var_os(ACCEPT).is_some() {
        return Ok(fs_err::write(&page, written)?);
    }
    let only_in = |these: &str, those: &str| {
        let lines = these.lines().filter(|line| !those.lines().any(|other| other == *line));
        lines.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    ensure!(
        there == written,
        "docs/compatibility.md is not what clients get; {ACCEPT}=1 writes it anew\n---- in the \
         page:\n{}\n---- now:\n{}",
        only_in(&there, &written),
        only_in(&written, &there)
    );
    Ok(())
}
