//! Builds the two agents that travel with the daemon and leaves them beside it.
//!
//! - `cexecsvc.exe` runs on the NT personality: another target, another standard library, its own
//!   lock file. Its standard library is compiled from source, with Debian's `rustc-web` (compiler
//!   and source must be of one version, and no toolchain has to be downloaded).
//! - `oriel-agent` is pid 1 of a root without a C library, so it is linked statically.
//!
//! Each has a target directory of its own inside the outer one: the outer one is locked while this
//! runs, and the standard library is then compiled once, not for each change. A missing
//! cross-compiler is a warning, not an error: the daemon still builds and says at run time what it
//! lacks.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Target of `cexecsvc.exe`.
const WINDOWS: &str = "x86_64-pc-windows-gnu";
/// Target of `oriel-agent`; naming it keeps the static flag off build scripts and macros.
const LINUX: &str = "x86_64-unknown-linux-gnu";
/// Debian's compiler, whose standard library's source is installed with it.
const RUSTC: &str = "/usr/bin/rustc";
/// What to install, by what is missing.
const PACKAGES: &str = "rustc-web rust-web-src gcc-mingw-w64-x86-64-win32";
/// Programs the Windows build calls.
const TOOLS: [&str; 2] = ["x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-dlltool"];

fn main() -> Outcome<()> {
    let places = Places::find()?;
    places.watch();
    match build_cexecsvc(&places) {
        Ok(()) => {}
        Err(error) => warn(&format!("cexecsvc.exe is not built: {error}")),
    }
    build_agent(&places)
}

/// Where things are.
struct Places {
    root: PathBuf,
    /// The profile folder of the outer build, where the daemon's binary will be.
    beside: PathBuf,
    /// Target directories of the inner builds.
    guest: PathBuf,
    /// What cargo notes the start of this script with.
    stamp: PathBuf,
}

impl Places {
    fn find() -> Outcome<Self> {
        let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
        let root = package.ancestors().nth(2).ok_or("the package is not in a workspace")?;
        // OUT_DIR is <profile folder>/build/<package>-<hash>/out.
        let out = PathBuf::from(variable("OUT_DIR")?);
        let beside = out.ancestors().nth(3).ok_or("OUT_DIR is not in a target directory")?;
        let target = beside.parent().ok_or("the profile folder has no parent")?;
        Ok(Self {
            root: root.to_owned(),
            beside: beside.to_owned(),
            guest: target.join("guest"),
            stamp: out.with_file_name("invoked.timestamp"),
        })
    }

    fn watch(&self) {
        let watched = [
            "windows/cexecsvc/src",
            "windows/cexecsvc/Cargo.toml",
            "windows/cexecsvc/Cargo.lock",
            "crates/hcs/src",
            "crates/hcs/Cargo.toml",
            "crates/silo/src",
            "crates/silo/Cargo.toml",
            "crates/sys/src",
            "crates/sys/Cargo.toml",
            "bin/oriel-agent/src",
            "bin/oriel-agent/Cargo.toml",
            "Cargo.lock",
            "Cargo.toml",
            "bin/orield/build.rs",
        ];
        for path in watched {
            println!("cargo::rerun-if-changed={}", self.root.join(path).display());
        }
        // A result that was removed is made again, and a tool that was installed is used.
        for result in ["cexecsvc.exe", "oriel-agent"] {
            println!("cargo::rerun-if-changed={}", self.beside.join(result).display());
        }
        println!("cargo::rerun-if-env-changed=PATH");
    }

    /// Puts a result beside the daemon, by renaming because the old one may be running. It gets
    /// the time this build script was started, or cargo would think it changed since and run the
    /// script again each time.
    fn install(&self, built: &Path, name: &str) -> Outcome<()> {
        let fresh = self.beside.join(format!("{name}.new"));
        fs_err::copy(built, &fresh)?;
        if let Ok(started) = fs_err::metadata(&self.stamp).and_then(|stamp| stamp.modified()) {
            fs_err::File::options().write(true).open(&fresh)?.set_modified(started)?;
        }
        fs_err::rename(&fresh, self.beside.join(name))?;
        Ok(())
    }
}

/// Builds `cexecsvc.exe`, always optimised: an unoptimised one starts slowly.
fn build_cexecsvc(places: &Places) -> Outcome<()> {
    let missing = missing_tools();
    if !missing.is_empty() {
        return Err(format!("{} missing; apt-get install {PACKAGES}", missing.join(", ")).into());
    }
    let target = places.guest.join("windows");
    run(cargo(&target)?
        .current_dir(places.root.join("windows/cexecsvc"))
        .env("RUSTC", RUSTC)
        // `-Zbuild-std` is what makes a standard library for Windows without downloading one.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["build", "--release", "--locked", "--target", WINDOWS])
        .arg("-Zbuild-std=std,panic_abort"))?;
    let built = target.join(WINDOWS).join("release/cexecsvc.exe");
    places.install(&built, "cexecsvc.exe")
}

/// Builds `oriel-agent` in the profile of the outer build.
fn build_agent(places: &Places) -> Outcome<()> {
    let target = places.guest.join("linux");
    let release = variable("PROFILE")? == "release";
    let mut command = cargo(&target)?;
    // The very compiler of the outer build, not what a proxy on the path would choose.
    command.env("RUSTC", variable("RUSTC")?);
    command.current_dir(&places.root).env("RUSTFLAGS", "-Ctarget-feature=+crt-static").args([
        "build",
        "--locked",
        "-p",
        "oriel-agent",
        "--target",
        LINUX,
    ]);
    if release {
        command.arg("--release");
    }
    run(&mut command)?;
    let profile = if release { "release" } else { "debug" };
    let built = target.join(LINUX).join(profile).join("oriel-agent");
    places.install(&built, "oriel-agent")
}

fn missing_tools() -> Vec<String> {
    let mut missing: Vec<String> =
        TOOLS.into_iter().filter(|tool| !on_path(tool)).map(str::to_owned).collect();
    let library = Command::new(RUSTC)
        .args(["--print", "sysroot"])
        .output()
        .ok()
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
        .map(|sysroot| sysroot.join("lib/rustlib/src/rust/library/std"));
    match library {
        None => missing.push(RUSTC.to_owned()),
        Some(library) if !library.is_dir() => missing.push(library.display().to_string()),
        Some(_) => {}
    }
    missing
}

fn on_path(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

/// A cargo that knows nothing of the outer build but where its registry is.
fn cargo(target: &Path) -> Outcome<Command> {
    let mut command = Command::new(variable("CARGO")?);
    for (name, _) in env::vars_os() {
        if is_of_outer_build(&name) {
            command.env_remove(name);
        }
    }
    command.env("CARGO_TARGET_DIR", target);
    Ok(command)
}

fn is_of_outer_build(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let kept = name == "CARGO_HOME"
        || ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
    let set = ["CARGO", "RUST", "DEP_", "CLIPPY"].iter().any(|prefix| name.starts_with(prefix))
        || matches!(
            &*name,
            "OUT_DIR" | "TARGET" | "HOST" | "PROFILE" | "DEBUG" | "OPT_LEVEL" | "NUM_JOBS"
        );
    // rustup's own settings stay: without them its proxies choose, or even fetch, a toolchain.
    set && !kept && !name.starts_with("RUSTUP_")
}

fn run(command: &mut Command) -> Outcome<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(40)..] {
        warn(line);
    }
    Err(format!("{command:?}: {}", output.status).into())
}

fn variable(name: &str) -> Outcome<String> {
    env::var(name).map_err(|error| format!("{name}: {error}").into())
}

fn warn(text: &str) {
    println!("cargo::warning={text}");
}
