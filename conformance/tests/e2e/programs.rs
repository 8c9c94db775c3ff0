//! Real Windows programs, as their makers publish them.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Outcome};

use crate::{PASSED, windows_program};

pub(crate) const CASES: &[Case] = &[
    Case { name: "deno_node_and_esbuild_run", run: scripts },
    Case { name: "postgresql_serves_a_linux_client", run: postgresql },
];

fn scripts(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = daemon.scratch().join("three");
    fs_err::create_dir_all(&directory)?;
    for (folder, file) in
        [("deno", "deno.exe"), ("esbuild", "esbuild.exe"), ("node/bin", "node.exe")]
    {
        fs_err::copy(windows_program(folder)?.join(file), directory.join(file))?;
    }
    fs_err::write(directory.join("Dockerfile"), "FROM nanoserver\nWORKDIR C:/t\nCOPY *.exe ./\n")?;
    docker.run(&["build", "-q", "-t", "three", &directory.to_string_lossy()])?;
    let run =
        |arguments: &[&str]| docker.try_run(&[&["run", "--rm", "-i", "three"], arguments].concat());
    let deno = run(&["deno.exe", "eval", "console.log(Deno.build.os); Deno.exit(12)"])?;
    ensure!(deno.status == 12 && deno.stdout.trim() == "windows", "{deno:?}");
    let node = run(&["node.exe", "-e", "console.log(process.platform); process.exit(13)"])?;
    ensure!(node.status == 13 && node.stdout.trim() == "win32", "{node:?}");
    let arguments = ["run", "--rm", "-i", "three", "esbuild.exe", "--minify", "--loader=js"];
    let esbuild =
        docker.run_with_input(&arguments, b"let aVariable = 1 + 1; console.log(aVariable)")?;
    ensure!(esbuild.status == 0 && esbuild.stdout.contains("console.log"), "{esbuild:?}");
    PASSED
}

fn postgresql(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let directory = daemon.scratch().join("postgres");
    fs_err::create_dir_all(&directory)?;
    copy_tree(&windows_program("postgres")?.join("native"), &directory.join("pgsql"))?;
    fs_err::write(directory.join("Dockerfile"), include_str!("../../../demo/postgres/Dockerfile"))?;
    docker.run(&["build", "-q", "-t", "test-postgres", &directory.to_string_lossy()])?;
    // With its data in a volume, as people run databases; PostgreSQL is particular about the place.
    let cluster = "C:\\pgsql\\bin\\initdb.exe -D C:\\vol -U postgres -A trust -E UTF8 --no-locale \
                   && echo host all all 0.0.0.0/0 trust>> C:\\vol\\pg_hba.conf";
    let server = "C:\\pgsql\\bin\\postgres.exe";
    let volume = ["-v", "test-postgres:C:\\vol"];
    docker
        .run(&[&["run", "--rm"], &volume[..], &["test-postgres", "cmd", "/c", cluster]].concat())?;
    let serve = [server, "-D", "C:\\vol", "-c", "listen_addresses=*"];
    let run = ["run", "-d", "--name", "db", "-p", "15432:5432"];
    docker.run(&[&run[..], &volume[..], &["test-postgres"], &serve[..]].concat())?;
    let sql = "create table t(n int, s text); insert into t values (1,'one'),(2,'two'); \
        select string_agg(s, ',' order by n) from t";
    let mut answer = String::new();
    for _ in 0..120 {
        let output = psql(sql)?;
        if output.status.success() {
            answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let logs = docker.try_run(&["logs", "db"])?;
    docker.run(&["stop", "-t", "30", "db"])?;
    docker.run(&["rm", "-f", "db"])?;
    ensure!(answer.ends_with("one,two"), "{answer:?}\n{}\n{}", logs.stdout, logs.stderr);
    PASSED
}

fn psql(sql: &str) -> Result<std::process::Output> {
    let url = "host=127.0.0.1 port=15432 user=postgres dbname=postgres connect_timeout=5";
    Ok(Command::new("psql").args(["-At", "-v", "ON_ERROR_STOP=1", "-c", sql, url]).output()?)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs_err::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
