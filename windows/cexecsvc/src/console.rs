//! Keyboard and size of a process's pseudo console.
//!
//! Two things a pseudo console should do, the personality's does not: it has no resize, and a
//! Ctrl+C byte on its input pipe ends it. Both work from a process attached to the console, so the
//! agent starts itself once more as a *helper* that attaches, acts and ends. (The agent itself
//! must not attach: its own console handle is what programs without a console inherit.)

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use oriel_hcs::ConsoleSize;

use crate::nt::{Win32Error, console};
use crate::{boot, companion};

/// The byte of Ctrl+C.
const CTRL_C: u8 = 3;

/// Argument that makes this executable a helper that resizes a console.
const RESIZE: &str = "--resize";
/// Argument that makes this executable a helper that presses Ctrl+C.
const INTERRUPT: &str = "--interrupt";

/// Types bytes on the console of a process.
///
/// # Errors
/// When the console is gone.
pub(crate) fn type_bytes(input: &mut File, pid: u32, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.split_inclusive(|byte| *byte == CTRL_C) {
        let typed = piece.strip_suffix(&[CTRL_C]);
        input.write_all(typed.unwrap_or(piece))?;
        if typed.is_some() {
            // A process that has ended has no console to interrupt.
            if let Err(error) = ask_helper(&format!("{INTERRUPT} {pid}")) {
                boot::complain(&format!("cannot press Ctrl+C: error {}", error.0));
            }
        }
    }
    Ok(())
}

/// Changes the size of the console of a process.
pub(crate) fn resize(pid: u32, size: ConsoleSize) -> Result<(), Win32Error> {
    ask_helper(&format!("{RESIZE} {pid} {} {}", size.height, size.width))
}

/// Runs a helper to its end.
fn ask_helper(arguments: &str) -> Result<(), Win32Error> {
    match companion::start(arguments, None)?.wait()? {
        0 => Ok(()),
        code => Err(Win32Error(code)),
    }
}

/// Does what a helper was started for; `None` when this is no helper.
pub(crate) fn help(arguments: &[String]) -> Option<ExitCode> {
    let number = |index: usize| arguments.get(index)?.parse::<u32>().ok();
    let cells = |index| u16::try_from(number(index)?).ok();
    let done = match arguments.first()?.as_str() {
        RESIZE => {
            let size = ConsoleSize { height: cells(2)?, width: cells(3)? };
            console::attach(number(1)?).and_then(|()| console::resize(size))
        }
        INTERRUPT => console::attach(number(1)?).and_then(|()| console::press_ctrl_c()),
        _ => return None,
    };
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
