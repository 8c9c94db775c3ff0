//! The agent's executable as a helper: a second process for what the agent cannot do in its own.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, OwnedHandle};

use crate::environment::Environment;
use crate::nt::job::Job;
use crate::nt::process::{Attachment, Image, Process};
use crate::nt::{Win32Error, pipe};

/// Starts a helper with these arguments. Its standard output leads to `output`, if that is given;
/// its other handles lead nowhere.
pub(crate) fn start(arguments: &str, output: Option<&OwnedHandle>) -> Result<Process, Win32Error> {
    let own = std::env::current_exe().map_err(|error| io_error(&error))?;
    let application = own.to_string_lossy();
    let command_line = format!("\"{application}\" {arguments}");
    let mut environment = Environment::default();
    environment.set("SystemRoot", "C:\\Windows");
    let nothing = OwnedHandle::from(
        File::options().read(true).write(true).open("NUL").map_err(|error| io_error(&error))?,
    );
    pipe::inherit(&nothing)?;
    let output = output.unwrap_or(&nothing);
    pipe::inherit(output)?;
    let job = Job::new()?;
    let image = Image {
        application: &application,
        command_line: &command_line,
        directory: "C:\\",
        environment: &environment.block(),
        token: None,
        job: &job,
    };
    let standard = [nothing.as_handle(), output.as_handle(), nothing.as_handle()];
    Process::create(&image, &Attachment { standard, console: None })
}

fn io_error(error: &io::Error) -> Win32Error {
    Win32Error(error.raw_os_error().map_or(0, i32::cast_unsigned))
}
