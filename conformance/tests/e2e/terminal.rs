//! Terminals: what a person at a keyboard sees and types.
//!
//! tmux is the person's terminal: it has a screen of its own that can be read, and keys that can be
//! pressed. Nothing here waits for a time, only for what is to be seen.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use oriel_conformance::{Case, Daemon, Docker, Outcome};

use crate::{PASSED, windows_program};

pub(crate) const CASES: &[Case] = &[
    Case { name: "a_terminal_edits_lines_as_windows_does", run: edits },
    Case { name: "a_terminal_interrupts_a_program_and_not_the_shell", run: interrupts },
    Case { name: "a_terminal_is_given_back_with_the_exit_code", run: gives_back },
    Case { name: "a_terminal_shows_colours_and_full_screens", run: shows },
    Case { name: "a_terminal_runs_the_repl_of_deno", run: repl },
    Case { name: "a_terminal_of_another_size_is_one_for_the_program", run: resizes },
    Case { name: "a_terminal_is_left_and_taken_again", run: detaches },
    Case { name: "a_terminal_beside_another_is_its_own", run: beside },
    Case { name: "a_terminal_passes_ten_megabytes_without_loss", run: floods },
    Case { name: "a_terminal_stops_with_the_container", run: stops },
    Case { name: "a_pipe_that_ends_ends_the_input", run: half_closes },
    Case { name: "a_pipe_of_bodies_serves_who_cannot_upgrade", run: no_upgrade },
];

/// A terminal with a shell of the host in it. Dropping it closes it.
struct Terminal {
    socket: PathBuf,
    docker: String,
}

impl Terminal {
    fn open(daemon: &Daemon, columns: u16, rows: u16) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("tmux-").tempdir_in(daemon.scratch())?;
        let command = daemon.docker().command(&[]);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let docker: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let socket = directory.keep().join("socket");
        let terminal = Self { socket, docker: docker.join(" ") };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "env PS1='host> ' LC_ALL=C.UTF-8 sh",
        ])?;
        terminal.shows("host>")?;
        Ok(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("tmux")
            .args(["-u", "-S"])
            .arg(&self.socket)
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .context("run tmux")?;
        ensure!(output.status.success(), "tmux {arguments:?}: {output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Types text as it is.
    fn types(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", "--", text]).map(drop)
    }

    /// Presses keys, by tmux's names.
    fn presses(&self, keys: &[&str]) -> Result<()> {
        self.tmux(&[&["send-keys"], keys].concat()).map(drop)
    }

    /// Types a line and enters it.
    fn enters(&self, line: &str) -> Result<()> {
        self.types(line)?;
        self.presses(&["Enter"])
    }

    /// Enters a command of the Docker CLI.
    fn docker(&self, command: &str) -> Result<()> {
        self.tmux(&["clear-history"])?;
        self.enters(&format!("clear; {} {command}", self.docker))
    }

    fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits for a screen.
    fn until(&self, what: &str, found: impl Fn(&str) -> bool) -> Result<String> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.screen()?;
            if found(&screen) {
                return Ok(screen);
            }
            if Instant::now() > end {
                bail!("waited a minute for {what}; the screen:\n{}", screen.trim_end());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn shows(&self, text: &str) -> Result<String> {
        self.until(&format!("{text:?}"), |screen| screen.contains(text))
    }

    /// Waits until the last row that is not empty is this.
    fn ends_with(&self, line: &str) -> Result<String> {
        self.until(&format!("{line:?} at the end"), |screen| last(screen) == line)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.tmux(&["kill-server"]);
    }
}

fn last(screen: &str) -> &str {
    screen.trim_end().lines().last().unwrap_or_default().trim_end()
}

/// `C:\>`, which is `cmd`'s.
const PROMPT: &str = "C:\\>";

/// Opens a terminal with `cmd` in a container of this name.
fn cmd(daemon: &Daemon, name: &str, columns: u16, rows: u16) -> Result<Terminal> {
    let terminal = Terminal::open(daemon, columns, rows)?;
    let deno = windows_program("deno")?;
    let volume = format!("{}:C:\\deno", deno.display());
    terminal.docker(&format!("run -it --rm --name {name} -v '{volume}' nanoserver cmd"))?;
    terminal.ends_with(PROMPT)?;
    Ok(terminal)
}

/// Leaves `cmd`; the host's prompt is back.
fn leave(terminal: &Terminal) -> Result<()> {
    terminal.enters("exit")?;
    terminal.ends_with("host>").map(drop)
}

fn edits(daemon: &mut Daemon) -> Result<Outcome> {
    let terminal = cmd(daemon, "edits", 80, 24)?;
    terminal.types("echo hellx")?;
    terminal.presses(&["BSpace"])?;
    terminal.types("o")?;
    terminal.presses(&["Home", "Right", "Right", "Right", "Right"])?;
    terminal.types(" well,")?;
    terminal.presses(&["End"])?;
    terminal.types("!")?;
    terminal.ends_with("C:\\>echo well, hello!")?;
    terminal.presses(&["Left", "DC", "Enter"])?;
    terminal.until("the edited line", |screen| {
        screen.lines().any(|line| line == "well, hello") && last(screen) == PROMPT
    })?;
    terminal.enters("echo grüße 漢字 €")?;
    let text = |screen: &str| screen.lines().any(|line| line.trim_end() == "grüße 漢字 €");
    terminal.until("text of all the world", text)?;
    terminal.presses(&["Up"])?;
    terminal.ends_with("C:\\>echo grüße 漢字 €")?;
    terminal.presses(&["BSpace", "BSpace", "BSpace"])?;
    terminal.ends_with("C:\\>echo grüße 漢")?;
    terminal.presses(&["Up"])?;
    terminal.ends_with("C:\\>echo well, hello")?;
    terminal.presses(&["Escape"])?;
    terminal.ends_with(PROMPT)?;
    leave(&terminal)?;
    PASSED
}

fn interrupts(daemon: &mut Daemon) -> Result<Outcome> {
    let terminal = cmd(daemon, "interrupts", 80, 24)?;
    terminal.enters("ping -n 1000 127.0.0.1")?;
    terminal.shows("Reply from")?;
    terminal.presses(&["C-c"])?;
    terminal.ends_with(PROMPT)?;
    terminal.types("never entered")?;
    terminal.presses(&["C-c"])?;
    terminal.until("a prompt below the line", |screen| {
        last(screen) == PROMPT && screen.contains("never entered^C")
    })?;
    terminal.enters("ping -n 1000 127.0.0.1")?;
    terminal.until("another ping", |screen| screen.matches("Pinging").count() == 2)?;
    // No terminal has a Break key; this is what quits on Unix.
    terminal.presses(&["C-\\"])?;
    terminal.ends_with("host>").or_else(|_| terminal.ends_with(PROMPT))?;
    PASSED
}

fn gives_back(daemon: &mut Daemon) -> Result<Outcome> {
    let terminal = Terminal::open(daemon, 80, 24)?;
    terminal.enters("stty -a > before")?;
    terminal.ends_with("host>")?;
    terminal.docker("run -it --rm nanoserver cmd")?;
    terminal.ends_with(PROMPT)?;
    terminal.enters("exit 7")?;
    terminal.ends_with("host>")?;
    terminal
        .enters("echo code=$?; stty -a | diff before - && echo terminal is as it was; rm before")?;
    terminal.until("code and terminal", |screen| {
        screen.contains("code=7") && screen.contains("\nterminal is as it was")
    })?;
    // A console reads what is typed up to Ctrl+Z as a file.
    terminal.docker("run -it --rm nanoserver cmd")?;
    terminal.ends_with(PROMPT)?;
    terminal.enters("findstr o")?;
    terminal.ends_with("C:\\>findstr o")?;
    terminal.enters("one")?;
    terminal
        .until("what was found", |screen| screen.lines().filter(|l| *l == "one").count() == 2)?;
    terminal.presses(&["C-z", "Enter"])?;
    terminal.ends_with(PROMPT)?;
    leave(&terminal)?;
    PASSED
}

/// A line with colours, as long as the screen is wide.
const COLOURS: &str = "C:\\deno\\deno.exe eval \"console.log('\\x1b[31m'+'x'.repeat(40)\
                       +'\\x1b[38;5;12m'+'y'.repeat(39)+'\\x1b[0m')\"";
/// Text here and there, and the cursor where it was.
const PLACES: &str = "C:\\deno\\deno.exe eval \"console.log('\\x1b[2J\\x1b[10;10Hten\
                      \\x1b[12;20Htwelve\\x1b[1;1Hfirst')\"";

fn shows(daemon: &mut Daemon) -> Result<Outcome> {
    let terminal = cmd(daemon, "shows", 80, 24)?;
    terminal.enters(COLOURS)?;
    let line = format!("{}{}", "x".repeat(40), "y".repeat(39));
    terminal.until("a whole line of colours", |screen| screen.lines().any(|row| row == line))?;
    let colours = terminal.tmux(&["capture-pane", "-p", "-e"])?;
    ensure!(colours.contains("\x1b[31mxxx") && colours.contains("\x1b[94myyy"), "{colours:?}");
    terminal.enters(PLACES)?;
    terminal.until("text where it was put", |screen| {
        let rows: Vec<_> = screen.lines().collect();
        rows.get(9).is_some_and(|row| row.ends_with("         ten"))
            && rows.get(11).is_some_and(|row| row.ends_with("                   twelve"))
            && rows.first() == Some(&"first")
    })?;
    terminal.enters("cls")?;
    terminal.until("an empty screen", |screen| screen.trim() == PROMPT)?;
    leave(&terminal)?;
    PASSED
}

fn repl(daemon: &mut Daemon) -> Result<Outcome> {
    let terminal = cmd(daemon, "repl", 100, 30)?;
    terminal.enters("C:\\deno\\deno.exe repl")?;
    terminal.ends_with(">")?;
    terminal.types("'hello'.toUperCase()")?;
    terminal.presses(&["Left"; 9])?;
    terminal.types("p")?;
    terminal.shows("> 'hello'.toUpperCase()")?;
    terminal.presses(&["Enter"])?;
    terminal.shows("\"HELLO\"")?;
    terminal.enters("Deno.consoleSize()")?;
    terminal.shows("{ columns: 100, rows: 30 }")?;
    terminal.presses(&["Up", "Up", "Home"])?;
    terminal.types("1+")?;
    terminal.shows("> 1+'hello'.toUpperCase()")?;
    terminal.presses(&["Enter"])?;
    terminal.shows("\"1HELLO\"")?;
    terminal.presses(&["C-c"])?;
    terminal.shows("press ctrl+c again to exit")?;
    terminal.presses(&["C-d"])?;
    terminal.ends_with(PROMPT)?;
    leave(&terminal)?;
    PASSED
}

fn resizes(daemon: &mut Daemon) -> Result<Outcome> {
    let terminal = cmd(daemon, "resizes", 80, 24)?;
    for (columns, rows) in [(300, 90), (20, 5), (100, 30)] {
        let (width, height) = (columns.to_string(), rows.to_string());
        terminal.tmux(&["resize-window", "-x", &width, "-y", &height])?;
        // The size travels its own way: a program is asked until it knows.
        let size = format!("{{\"columns\":{columns},\"rows\":{rows}}}");
        let seen = |screen: &str| screen.replace('\n', "").contains(&size);
        for attempt in 0.. {
            terminal.enters("cls")?;
            terminal.until("an empty screen", |screen| screen.trim() == PROMPT)?;
            terminal.enters(
                "C:\\deno\\deno.exe eval console.log(JSON.stringify(Deno.consoleSize()))",
            )?;
            let screen = terminal.until("an answer", |screen| {
                screen.contains('}') && last(screen).ends_with(PROMPT)
            })?;
            if seen(&screen) {
                break;
            }
            ensure!(attempt < 5, "{size} is not in {screen}");
        }
    }
    leave(&terminal)?;
    PASSED
}

fn detaches(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let terminal = cmd(daemon, "detaches", 80, 24)?;
    terminal.enters("echo remembered")?;
    terminal.until("an answer", |screen| screen.matches("remembered").count() == 2)?;
    terminal.types("half a")?;
    terminal.ends_with("C:\\>half a")?;
    terminal.presses(&["C-p", "C-q"])?;
    terminal.until("the host's prompt", |screen| last(screen).contains("host>"))?;
    ensure!(docker.inspect("detaches")?["State"]["Running"] == true, "it does not run");
    terminal.docker("attach detaches")?;
    terminal.until("the screen that was left", |screen| {
        screen.matches("remembered").count() == 2 && last(screen) == "C:\\>half a"
    })?;
    terminal.types(" line")?;
    terminal.ends_with("C:\\>half a line")?;
    terminal.presses(&["Escape"])?;
    // Keys of one's own, of which the first alone goes to the program.
    terminal.presses(&["C-p", "C-q"])?;
    terminal.until("the host's prompt", |screen| last(screen).contains("host>"))?;
    terminal.docker("attach --detach-keys a,b detaches")?;
    terminal.ends_with(PROMPT)?;
    terminal.types("echo a-c")?;
    terminal.ends_with("C:\\>echo a-c")?;
    terminal.types("ab")?;
    terminal.until("the host's prompt", |screen| last(screen).contains("host>"))?;
    let refused = docker.try_run(&["attach", "--detach-keys", "alt-x", "detaches"])?;
    ensure!(refused.status != 0, "{refused:?}");
    docker.run(&["rm", "-f", "detaches"])?;
    PASSED
}

fn beside(daemon: &mut Daemon) -> Result<Outcome> {
    let first = cmd(daemon, "beside", 80, 24)?;
    let second = Terminal::open(daemon, 60, 20)?;
    second.docker("exec -it -w C:\\\\Windows beside cmd")?;
    second.ends_with("C:\\Windows>")?;
    second.enters("set ONLY=second")?;
    second.enters("C:\\deno\\deno.exe eval console.log(JSON.stringify(Deno.consoleSize()))")?;
    second.shows("{\"columns\":60,\"rows\":20}")?;
    first.enters("echo [%ONLY%]")?;
    first.shows("\n[%ONLY%]")?;
    second.enters("exit 5")?;
    second.ends_with("host>")?;
    second.enters("echo code=$?")?;
    second.shows("code=5")?;
    leave(&first)?;
    PASSED
}

fn floods(daemon: &mut Daemon) -> Result<Outcome> {
    const LINES: usize = 200_000;
    let docker = daemon.docker();
    let volume = format!("{}:C:\\deno", windows_program("deno")?.display());
    // Bytes are counted on the client's side of the terminal, where no screen scrolls them away.
    let script = format!(
        "for(let i=0;i<{LINES};){{let s=[];do s.push(String(i++).padStart(48,'.'));while(i%100);\
         console.log(s.join('\\r\\n'))}}"
    );
    let run = ["run", "-t", "--rm", "-v", &volume, "nanoserver", "C:\\deno\\deno.exe", "eval"];
    let output = docker.run(&[&run[..], &[&script]].concat())?;
    let lines: Vec<_> = output.lines().filter(|line| line.contains("..")).collect();
    ensure!(lines.len() == LINES, "{} lines of {LINES}", lines.len());
    for (number, line) in lines.iter().enumerate() {
        let expected = format!("{number:.>48}");
        ensure!(line.ends_with(&expected), "line {number} is {line:?}");
    }
    PASSED
}

fn stops(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    let terminal = cmd(daemon, "stops", 80, 24)?;
    docker.run(&["kill", "--signal", "WINCH", "stops"])?;
    ensure!(docker.inspect("stops")?["State"]["Running"] == true, "a new size ended it");
    terminal.types("half")?;
    terminal.ends_with("C:\\>half")?;
    docker.run(&["stop", "-t", "5", "stops"])?;
    terminal.until("the host's prompt", |screen| last(screen).contains("host>"))?;
    PASSED
}

/// Without a terminal, the end of what is piped in is the end of the program's input.
fn half_closes(daemon: &mut Daemon) -> Result<Outcome> {
    let docker: Docker = daemon.docker();
    let arguments = ["run", "--rm", "-i", "nanoserver", "findstr", "h"];
    let output = docker.run_with_input(&arguments, b"hi\nno\nho\n")?;
    ensure!(output.status == 0, "{output:?}");
    ensure!(output.stdout.replace('\r', "") == "hi\nho\n", "{output:?}");
    PASSED
}

/// A client that asks for no upgrade gets a response without end; its body is the input.
fn no_upgrade(daemon: &mut Daemon) -> Result<Outcome> {
    let docker = daemon.docker();
    for (version, tty) in [("v1.41", false), ("v1.51", false), ("v1.51", true)] {
        let options: &[&str] = if tty { &["-t"] } else { &["-i"] };
        let command: &[&str] = if tty { &["cmd", "/c", "echo hi"] } else { &["findstr", "h"] };
        let create = [&["create", "--name", "bodies"], options, &["nanoserver"], command].concat();
        docker.run(&create)?;
        docker.run(&["start", "bodies"])?;
        if tty {
            docker.run(&["wait", "bodies"])?;
        }
        let query = if tty { "logs=1" } else { "logs=1&stream=1&stdin=1" };
        let path = format!("/{version}/containers/bodies/attach?{query}&stdout=1&stderr=1");
        let (status, output) = docker.http("POST", &path, "hi\nno\n")?;
        ensure!(status == 200, "{status} {output}");
        // Without a console each piece has a head: stream, three zeros, and its length.
        let framed = output.contains("\u{1}\0\0\0\0\0\0");
        ensure!(output.contains("hi") && framed != tty, "{version} {tty}: {output:?}");
        ensure!(!output.contains("no"), "{output:?}");
        docker.run(&["rm", "-f", "bodies"])?;
    }
    let refused = docker.http("POST", "/containers/none/attach?detachKeys=alt-x", "")?;
    ensure!(refused.0 == 400 || refused.0 == 404, "{refused:?}");
    PASSED
}
