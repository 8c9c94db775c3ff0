//! Compiles what is read into Wine's processes: a shared object of its own, so not part of the
//! crate.

use std::{env, error::Error, path::PathBuf, process::Command};

const SOURCE: &str = "preload/mounts.rs";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    let variable = |name: &str| env::var(name).map_err(|_| format!("cargo sets no {name}"));
    let object = PathBuf::from(variable("OUT_DIR")?).join("mounts.so");
    let status = Command::new(variable("RUSTC")?)
        .args(["--crate-name=mounts", "--crate-type=cdylib", "--edition=2024"])
        .args(["-Copt-level=2", "-Cpanic=abort", "-Cstrip=symbols", "--target"])
        .args([variable("TARGET")?, "-o".to_owned()])
        .arg(&object)
        .arg(SOURCE)
        .status()?;
    if !status.success() {
        return Err(format!("{SOURCE} does not compile").into());
    }
    Ok(())
}
