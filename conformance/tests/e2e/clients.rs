//! Clients other than the Docker CLI of the rest of the suite, as they are, through a recorder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use oriel_conformance::{CLIENTS, Case, Compatibility, Daemon, Installed, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] =
    &[Case { name: "unmodified_clients_work_and_the_table_says_so", run: clients }];

/// The page with the table.
const PAGE: &str = "../docs/compatibility.md";

/// Set to have the page written anew.
const ACCEPT: &str = "ORIEL_TEST_ACCEPT";

fn installed(daemon: &Daemon) -> Result<Installed> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let scratch = daemon.scratch().join("clients");
    fs_err::create_dir_all(&scratch)?;
    Ok(Installed {
        clients: path("ORIEL_TEST_CLIENTS").context("ORIEL_TEST_CLIENTS is not set")?,
        programs: path("ORIEL_TEST_PROGRAMS").context("ORIEL_TEST_PROGRAMS is not set")?,
        scratch,
    })
}

#[expect(clippy::print_stdout, reason = "the steps of a client are part of the report")]
fn clients(daemon: &mut Daemon) -> Result<Outcome> {
    let installed = installed(daemon)?;
    let only = std::env::var("ORIEL_TEST_CLIENT").unwrap_or_default();
    let mut compatibility = Compatibility::default();
    let mut failures = Vec::new();
    for client in CLIENTS.iter().filter(|client| client.name.contains(&only)) {
        match client.run(&installed, &daemon.socket()) {
            Ok(session) => {
                println!("{}:\n{}", session.client, session.output);
                compatibility.add(&session.client, &session.exchanges);
            }
            Err(error) => failures.push(format!("{error:#}")),
        }
        daemon.clear();
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    if !only.is_empty() {
        return Ok(Outcome::Skipped("the table needs all clients".to_owned()));
    }
    compare(&compatibility.table())?;
    PASSED
}

/// Compares a table with that of the page, or writes it there.
fn compare(table: &str) -> Result<()> {
    use oriel_conformance::{BEGIN, END};
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs_err::read_to_string(&page)?;
    let (before, rest) = text.split_once(BEGIN).context("the page lost its table")?;
    let (there, after) = rest.split_once(END).context("the page's table has no end")?;
    let there = format!("{BEGIN}{there}{END}");
    if std::env::var_os(ACCEPT).is_some() {
        return Ok(fs_err::write(&page, format!("{before}{table}{after}"))?);
    }
    let lost = there.lines().filter(|line| !table.contains(line)).collect::<Vec<_>>();
    let new = table.lines().filter(|line| !there.contains(line)).collect::<Vec<_>>();
    ensure!(
        there == table,
        "docs/compatibility.md is not what clients get; {ACCEPT}=1 writes it anew\nin the page: \
         {lost:#?}\nnow: {new:#?}"
    );
    Ok(())
}
