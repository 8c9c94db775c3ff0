//! What `bench/registry.py` times: the library alone, one job a process.
//!
//! ```text
//! registry generate DIR KEYS       SOFTWARE, delta-1 ... delta-5, old.reg, new.reg
//! registry read HIVE               reads a hive
//! registry merge BASE DELTA... OUT lays deltas on a base and renders it for Wine
//! registry delta OLD NEW OUT       finds what changed between two files of Wine and writes it
//! ```
//!
//! Prints the time taken, of `read` without that of getting the file, and the most memory used.

#![expect(clippy::print_stdout, reason = "a program that prints what it measured")]

mod generate;

use std::io;
use std::time::Instant;

use oriel_hive::wine::{self, Branch};
use oriel_hive::{apply, diff, read, read_delta, write_delta};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (start, mut processor) = (Instant::now(), processor_time()?);
    match words[..] {
        ["generate", dir, keys] => generate::all(dir.as_ref(), keys.parse()?)?,
        ["read", hive] => {
            let bytes = fs_err::read(hive)?;
            processor = processor_time()?;
            // Nobody else gives its memory back before it ends, either.
            std::mem::forget(std::hint::black_box(read(&bytes)?));
        }
        ["merge", base, ref deltas @ .., out] => merge(base, deltas, out)?,
        ["delta", old, new, out] => delta(old, new, out)?,
        _ => return Err("usage: registry generate | read | merge | delta, see the source".into()),
    }
    let (wall, processor) = (start.elapsed().as_secs_f64() * 1e3, processor_time()? - processor);
    println!("{processor:.1} ms processor, {wall:.1} ms wall, {} KiB", peak_memory()?);
    Ok(())
}

fn merge(base: &str, deltas: &[&str], out: &str) -> Result {
    let mut tree = read(&fs_err::read(base)?)?;
    for delta in deltas {
        apply(&mut tree, &read_delta(&fs_err::read(delta)?)?);
    }
    let mut out = fs_err::File::create(out)?;
    Ok(wine::render_to(&mut out, &tree, &Branch::Machine)?)
}

fn delta(old: &str, new: &str, out: &str) -> Result {
    let [old, new] = [fs_err::read(old)?, fs_err::read(new)?];
    let (old, new) = wine::parse_changed(&old, &new)?;
    Ok(fs_err::write(out, write_delta(&diff(&old, &new))?)?)
}

/// Milliseconds that processors worked for this process.
fn processor_time() -> Result<f64> {
    let text = fs_err::read_to_string("/proc/self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse::<f64>()? / 1e6)
}

/// `VmHWM` of this process in KiB.
fn peak_memory() -> io::Result<String> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.unwrap_or_default().trim().trim_end_matches(" kB").to_owned())
}
