//! Many clients at once: nothing fails, and nothing is left when they are gone.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "fifty_runs_at_once_leave_nothing", run: runs },
    Case { name: "two_hundred_followers_leave_nothing", run: followers },
];

const RUNS: usize = 50;
const FOLLOWERS: usize = 200;

/// A follower that hears nothing for so long was forgotten.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most memory of its own that a daemon may keep of a load, in KiB: what an allocator holds for
/// later. Fifty runs that each left their log, their record and a connection behind would be more.
const KEPT_KIB: usize = 4 << 10;

/// What a daemon holds, by kind.
type Holdings = BTreeMap<&'static str, usize>;

fn entries(path: impl AsRef<Path>) -> usize {
    fs_err::read_dir(path.as_ref()).map_or(0, Iterator::count)
}

/// Number after a word at the beginning of a line.
fn figure(text: &str, word: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Groups that Oriel made; other daemons may be making some as well, but not in a test run.
fn cgroups(below: &Path, depth: usize) -> usize {
    let Ok(directories) = fs_err::read_dir(below) else { return 0 };
    let directories = directories.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    let count = |entry: fs_err::DirEntry| {
        let own = usize::from(entry.path().to_string_lossy().contains("oriel"));
        own + if depth == 0 { 0 } else { cgroups(&entry.path(), depth - 1) }
    };
    directories.map(count).sum()
}

fn process(daemon: &Daemon) -> Result<String> {
    let pid = fs_err::read_to_string(daemon.scratch().join("orield.pid"))?;
    Ok(format!("/proc/{}", pid.trim()))
}

fn holdings(daemon: &Daemon) -> Result<Holdings> {
    let process = process(daemon)?;
    let file = |name: &str| fs_err::read_to_string(format!("{process}/{name}"));
    let scratch = daemon.scratch().display().to_string();
    let processes = fs_err::read_dir("/proc")?.flatten().filter(|entry| {
        let command = fs_err::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&scratch)
    });
    let mark = format!("oriel:{}:", Daemon::BRIDGE);
    let links = fs_err::read_dir("/sys/class/net")?.flatten().filter(|link| {
        let alias = fs_err::read_to_string(link.path().join("ifalias")).unwrap_or_default();
        alias.starts_with(&mark)
    });
    Ok(BTreeMap::from([
        ("descriptors", entries(format!("{process}/fd"))),
        ("threads", figure(&file("status")?, "Threads:").context("no thread")?),
        ("mounts", file("mountinfo")?.lines().count()),
        ("links", links.count()),
        ("silos", entries(daemon.scratch().join("run/silo"))),
        ("compartments", entries(daemon.scratch().join("run/netns"))),
        ("sandboxes", entries(daemon.data_root().join("windowsfilter"))),
        ("containers", entries(daemon.data_root().join("containers"))),
        ("processes", processes.count()),
        ("cgroups", cgroups("/sys/fs/cgroup".as_ref(), 4)),
    ]))
}

/// Does something twice, for the first time makes what is made once, and then waits until the
/// daemon holds no more of anything than before.
fn leaves_nothing(daemon: &mut Daemon, work: impl Fn(&Daemon) -> Result<()>) -> Result<Outcome> {
    let docker = daemon.docker();
    // The first time an allocator takes what it then keeps; the second shows what is lost.
    work(daemon)?;
    let before = RefCell::new(Holdings::new());
    docker.wait_until("a quiet daemon", |_| {
        // Threads for work that blocks go after ten idle seconds.
        let now = holdings(daemon)?;
        let quiet = now["processes"] == 1 && *before.borrow() == now;
        before.replace(now);
        Ok(quiet)
    })?;
    let before = before.into_inner();
    let (own, _) = memory(daemon)?;
    work(daemon)?;
    let more = |now: &Holdings| -> Vec<String> {
        let grown = now.iter().filter(|(what, count)| **count > before[*what]);
        grown.map(|(what, count)| format!("{what}: {} before, {count} now", before[what])).collect()
    };
    let gone =
        docker.wait_until("what was made is gone", |_| Ok(more(&holdings(daemon)?).is_empty()));
    gone.with_context(|| match holdings(daemon) {
        Ok(now) => more(&now).join("; "),
        Err(error) => error.to_string(),
    })?;
    let (now, memory) = memory(daemon)?;
    ensure!(now < own + KEPT_KIB, "{own} KiB before and {now} now:\n{memory}");
    PASSED
}

/// Memory of the daemon's own, in KiB, and what the kernel tells of it.
fn memory(daemon: &Daemon) -> Result<(usize, String)> {
    let text = fs_err::read_to_string(format!("{}/smaps_rollup", process(daemon)?))?;
    Ok((figure(&text, "Anonymous:").context("no memory")?, text))
}

fn runs(daemon: &mut Daemon) -> Result<Outcome> {
    leaves_nothing(daemon, |daemon| {
        let docker = daemon.docker();
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..RUNS)
                .map(|number| {
                    scope.spawn({
                        let docker = &docker;
                        move || one_run(docker, number)
                    })
                })
                .collect();
            runs.into_iter().try_for_each(|run| match run.join() {
                Ok(done) => done,
                Err(_) => bail!("a client panicked"),
            })
        })?;
        ensure!(docker.run(&["ps", "-aq"])?.is_empty(), "a container is left");
        Ok(())
    })
}

fn one_run(docker: &Docker, number: usize) -> Result<()> {
    let text = format!("number-{number}");
    let said = docker.run(&["run", "--rm", "nanoserver", "cmd", "/c", "echo", &text])?;
    ensure!(said.trim() == text, "{said:?} in place of {text}");
    Ok(())
}

fn followers(daemon: &mut Daemon) -> Result<Outcome> {
    leaves_nothing(daemon, |daemon| {
        let docker = daemon.docker();
        let talk = ["cmd", "/c", "echo first& ping -n 600 127.0.0.1 >nul"];
        docker
            .run(&[&["run", "-d", "--name", "talker", "nanoserver"], talk.as_slice()].concat())?;
        let mut followers = Vec::new();
        for _ in 0..FOLLOWERS {
            let mut stream = UnixStream::connect(daemon.socket())?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(
                b"GET /containers/talker/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\
                  Connection: close\r\n\r\n",
            )?;
            followers.push(stream);
        }
        // Half of them leave first, the others are told of the end.
        let mut stay = followers.split_off(FOLLOWERS / 2);
        for stream in followers.iter_mut().chain(&mut stay) {
            hear(stream, "first")?;
        }
        drop(followers);
        docker.run(&["rm", "-f", "talker"])?;
        for stream in &mut stay {
            stream.read_to_end(&mut Vec::new()).context("the end of a log")?;
        }
        Ok(())
    })
}

/// Reads until a text comes.
fn hear(stream: &mut UnixStream, text: &str) -> Result<()> {
    let (mut heard, mut buffer) = (String::new(), [0; 1024]);
    while !heard.contains(text) {
        let count = stream.read(&mut buffer).context("a follower hears nothing")?;
        ensure!(count > 0, "a follower was cut off: {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    Ok(())
}
