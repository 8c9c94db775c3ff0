//! Processes: output, exit codes, input, environment, exec, stop.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::PASSED;

pub(crate) const CASES: &[Case] = &[
    Case { name: "run_prints_and_removes", run: run_prints_and_removes },
    Case { name: "exit_codes_are_32_bits_wide", run: exit_codes_are_32_bits_wide },
    Case { name: "standard_error_is_a_stream_of_its_own", run: standard_error },
    Case { name: "standard_input_reaches_the_program", run: standard_input },
    Case { name: "environment_and_directory_are_exact", run: environment },
    Case { name: "nothing_of_the_unix_environment_leaks", run: no_unix_environment },
    Case { name: "the_account_is_the_one_asked_for", run: account },
    Case { name: "logs_keep_what_was_printed", run: logs },
    Case { name: "exec_runs_in_the_same_container", run: exec },
    Case { name: "a_terminal_gives_a_console", run: terminal },
    Case { name: "stop_lets_a_program_end_by_itself", run: stop },
    Case { name: "kill_ends_at_once", run: kill },
    Case { name: "a_missing_program_is_status_127", run: missing_program },
    Case { name: "restart_runs_the_same_sandbox_again", run: restart },
    Case { name: "ten_megabytes_arrive_whole", run: much_output },
];

fn run_prints_and_removes(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let output = docker.try_run(&["run", "--rm", "nanoserver", "cmd", "/c", "echo hi"])?;
    ensure!(output.status == 0 && output.stdout == "hi\r\n", "{output:?}");
    ensure!(output.stderr.is_empty(), "{output:?}");
    ensure!(docker.run(&["ps", "-aq"])?.is_empty(), "a container is left");
    PASSED
}

fn exit_codes_are_32_bits_wide(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for code in ["0", "1", "255", "256", "65536", "3221225786", "4294967295"] {
        // cmd reads its number as a signed one.
        let number = i64::from(i32::from_le_bytes(code.parse::<u32>()?.to_le_bytes()));
        let command = format!("exit {number}");
        let id = docker.run(&["run", "-d", "nanoserver", "cmd", "/c", &command])?;
        let waited = docker.run(&["wait", id.trim()])?;
        ensure!(waited.trim() == code, "wait: {waited} instead of {code}");
        let state = docker.inspect(id.trim())?["State"]["ExitCode"].to_string();
        ensure!(state == code, "inspect: {state} instead of {code}");
        docker.run(&["rm", id.trim()])?;
    }
    let id = docker.run(&["run", "-d", "nanoserver", "cmd", "/c", "exit 3221225786"])?;
    let waited = docker.run(&["wait", id.trim()])?;
    docker.run(&["rm", id.trim()])?;
    ensure!(waited.trim() == "3221225786", "unsigned in the command: {waited}");
    PASSED
}

fn standard_error(daemon: &mut Daemon) -> Result<Outcome> {
    let command = "echo out& echo err 1>&2";
    let output = daemon.docker().try_run(&["run", "--rm", "nanoserver", "cmd", "/c", command])?;
    ensure!(output.stdout.trim() == "out" && output.stderr.trim() == "err", "{output:?}");
    PASSED
}

fn standard_input(daemon: &mut Daemon) -> Result<Outcome> {
    let arguments = ["run", "--rm", "-i", "nanoserver", "findstr", "needle"];
    let input = b"hay\r\na needle here\r\nhay\r\n";
    let output = daemon.docker().run_with_input(&arguments, input)?;
    ensure!(output.stdout.trim() == "a needle here", "{output:?}");
    PASSED
}

fn environment(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let base = ["run", "--rm", "-e", "GREETING=grüß dich", "-e", "Temp=C:\\mine"];
    let program = ["-w", "C:\\a dir\\deep", "nanoserver", "cmd", "/c"];
    let command = ["echo %GREETING%& echo %TEMP%& cd"];
    let text = docker.run(&[&base[..], &program[..], &command[..]].concat())?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    ensure!(lines.get(1..) == Some(&["C:\\mine", "C:\\a dir\\deep"]), "{lines:?}");
    let text = docker.run(&["run", "--rm", "nanoserver", "cmd", "/c", "echo %OS%& echo %PATH%"])?;
    ensure!(text.starts_with("Windows_NT"), "{text}");
    ensure!(text.to_lowercase().contains("c:\\windows\\system32"), "{text}");
    PASSED
}

fn no_unix_environment(daemon: &mut Daemon) -> Result<Outcome> {
    let text = daemon.docker().run(&["run", "--rm", "nanoserver", "cmd", "/c", "set"])?;
    for name in ["LANG=", "LD_", "WINEPREFIX=", "WINEDEBUG=", "SHLVL=", "PWD=", "HOME=", "USER="] {
        let leaked = text.lines().any(|line| line.starts_with(name));
        ensure!(!leaked, "{name} leaks:\n{text}");
    }
    PASSED
}

fn account(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let name = |arguments: &[&str]| -> Result<String> {
        let program = ["nanoserver", "cmd", "/c", "echo %USERNAME% %USERPROFILE%"];
        docker.run(&[&["run", "--rm"], arguments, &program[..]].concat())
    };
    let user = name(&[])?;
    ensure!(user.trim() == "ContainerUser C:\\Users\\ContainerUser", "{user}");
    let administrator = name(&["-u", "ContainerAdministrator"])?;
    ensure!(
        administrator.trim().starts_with("ContainerAdministrator C:\\Users\\"),
        "{administrator}"
    );
    PASSED
}

fn logs(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let command = "for /l %i in (1,1,5) do @echo line %i";
    let id = docker.run(&["run", "-d", "nanoserver", "cmd", "/c", command])?;
    let id = id.trim();
    docker.run(&["wait", id])?;
    let all = docker.run(&["logs", id])?;
    ensure!(all.lines().count() == 5 && all.starts_with("line 1\n"), "{all}");
    let last = docker.run(&["logs", "--tail", "2", id])?;
    ensure!(last == "line 4\nline 5\n", "{last}");
    let stamped = docker.run(&["logs", "-t", "--tail", "1", id])?;
    ensure!(stamped.contains("Z line 5"), "{stamped}");
    docker.run(&["rm", id])?;
    PASSED
}

/// A container that stays until it is stopped.
fn sleeper(docker: &Docker, name: &str) -> Result<()> {
    docker.run(&["run", "-d", "--name", name, "nanoserver", "ping", "-n", "1000", "127.0.0.1"])?;
    Ok(())
}

fn exec(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    sleeper(&docker, "host-of-execs")?;
    docker.run(&["exec", "host-of-execs", "cmd", "/c", "echo kept> C:\\kept.txt"])?;
    let text = docker.run(&["exec", "host-of-execs", "cmd", "/c", "type C:\\kept.txt"])?;
    ensure!(text.trim() == "kept", "{text}");
    let code = docker.try_run(&["exec", "host-of-execs", "cmd", "/c", "exit 7"])?;
    ensure!(code.status == 7, "{code:?}");
    let variable = ["exec", "-e", "A=b", "-w", "C:\\Windows", "host-of-execs"];
    let text = docker.run(&[&variable[..], &["cmd", "/c", "echo %A%& cd"]].concat())?;
    ensure!(text.lines().map(str::trim).eq(["b", "C:\\Windows"]), "{text}");
    let arguments = ["exec", "-i", "host-of-execs", "findstr", "x"];
    let piped = docker.run_with_input(&arguments, b"axb\r\n")?;
    ensure!(piped.stdout.trim() == "axb", "{piped:?}");
    let absent = docker.try_run(&["exec", "host-of-execs", "no-such-program"])?;
    ensure!(absent.status == 127 || absent.status == 126, "{absent:?}");
    docker.run(&["rm", "-f", "host-of-execs"])?;
    let gone = docker.try_run(&["exec", "host-of-execs", "cmd"])?;
    ensure!(gone.stderr.contains("No such container: host-of-execs"), "{gone:?}");
    PASSED
}

fn terminal(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let command =
        ["run", "-d", "-t", "--name", "console", "nanoserver", "cmd", "/c", "echo on a tty"];
    docker.run(&command)?;
    docker.run(&["wait", "console"])?;
    let text = docker.run(&["logs", "console"])?;
    ensure!(text.contains("on a tty"), "{text:?}");
    docker.run(&["rm", "console"])?;
    PASSED
}

fn stop(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    sleeper(&docker, "stopped")?;
    // It answers an exec, so its first program has had time to start.
    docker.run(&["exec", "stopped", "cmd", "/c", "exit"])?;
    let start = Instant::now();
    docker.run(&["stop", "-t", "20", "stopped"])?;
    ensure!(start.elapsed() < Duration::from_secs(15), "stop took the whole grace time");
    let state = docker.inspect("stopped")?["State"].clone();
    ensure!(state["Status"] == "exited" && state["ExitCode"] == 0xc000_013a_u32, "{state}");
    let again = docker.try_run(&["stop", "stopped"])?;
    ensure!(again.status == 0, "{again:?}");
    docker.run(&["rm", "stopped"])?;
    PASSED
}

fn kill(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    sleeper(&docker, "killed")?;
    docker.run(&["kill", "killed"])?;
    let code = docker.run(&["wait", "killed"])?;
    ensure!(code.trim() == "1073807364", "{code}");
    let running = docker.try_run(&["kill", "killed"])?;
    ensure!(running.stderr.contains("is not running"), "{running:?}");
    docker.run(&["rm", "killed"])?;
    PASSED
}

fn missing_program(daemon: &mut Daemon) -> Result<Outcome> {
    let output = daemon.docker().try_run(&["run", "--rm", "nanoserver", "no-such-program.exe"])?;
    ensure!(output.status == 127, "{output:?}");
    ensure!(output.stderr.contains("The system cannot find the file specified"), "{output:?}");
    PASSED
}

fn restart(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let count = "if exist C:\\n (echo again) else (echo first& echo x> C:\\n)";
    docker.run(&["run", "--name", "twice", "nanoserver", "cmd", "/c", count])?;
    let text = docker.run(&["start", "-a", "twice"])?;
    ensure!(text.trim() == "again", "{text}");
    docker.run(&["rm", "twice"])?;
    PASSED
}

fn much_output(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let line = "0123456789".repeat(100);
    let input = format!("{line}\r\n").repeat(10_000);
    let arguments = ["run", "--rm", "-i", "nanoserver", "findstr", "0"];
    let output = docker.run_with_input(&arguments, input.as_bytes())?;
    ensure!(output.stdout == input, "{} of {} bytes", output.stdout.len(), input.len());
    PASSED
}
