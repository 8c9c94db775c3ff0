//! From what a client asked to what Windows needs: account, directory, environment, executable.

use std::os::windows::io::OwnedHandle;

use oriel_hcs::{CommandLine, ProcessParameters};

use crate::account::Account;
use crate::nt::{Win32Error, token};
use crate::{arguments, boot, message, search};

/// `cmd.exe`, which runs batch files.
const COMMAND_PROCESSOR: &str = "C:\\Windows\\System32\\cmd.exe";

/// Everything about a new process except where its standard handles lead.
pub(crate) struct Plan {
    /// Full path of the executable.
    pub(crate) application: String,
    /// The command line.
    pub(crate) command_line: String,
    /// Working directory; it exists.
    pub(crate) directory: String,
    /// Unicode environment block.
    pub(crate) environment: Vec<u16>,
    /// Token of the account, where it is not the agent's.
    pub(crate) token: Option<OwnedHandle>,
}

impl Plan {
    /// Works out a process and makes what it needs on disk.
    ///
    /// # Errors
    /// The Win32 error `CreateProcess` or the log-on would have given.
    pub(crate) fn new(parameters: &ProcessParameters) -> Result<Self, Win32Error> {
        let account = Account::named(&parameters.user)?;
        let token = match account {
            Account::Administrator => None,
            Account::User => Some(token::user()?),
        };
        if let Err(error) = boot::make_profile(account) {
            boot::complain(&format!("cannot make the profile of {}: {error}", account.name()));
        }
        let directory = working_directory(&parameters.working_directory)?;
        let mut environment = account.environment();
        for (name, value) in &parameters.environment {
            environment.set(name, value);
        }
        let line = match &parameters.command {
            CommandLine::Verbatim(line) => line.clone(),
            CommandLine::Arguments(arguments) => arguments::join(arguments),
        };
        let path = environment.value("Path").unwrap_or_default();
        let (application, command_line) = executable(line, &directory, path)?;
        let environment = environment.block();
        Ok(Self { application, command_line, directory, environment, token })
    }
}

/// Finds and, when absent, makes the working directory.
fn working_directory(asked: &str) -> Result<String, Win32Error> {
    let directory = search::absolute(asked, "C:\\");
    std::fs::create_dir_all(&directory).map_err(|_| Win32Error(message::DIRECTORY))?;
    Ok(directory)
}

/// Finds the program of a command line. Batch files become an argument of `cmd.exe`.
fn executable(line: String, directory: &str, path: &str) -> Result<(String, String), Win32Error> {
    /// Longest command line of `CreateProcess`, in characters.
    const MAX_LINE: usize = 32_767;

    if line.encode_utf16().count() > MAX_LINE {
        return Err(Win32Error(message::FILENAME_TOO_LONG));
    }
    if line.contains('\0') {
        return Err(Win32Error(message::INVALID_PARAMETER));
    }
    let names = arguments::programs(&line);
    let found = names
        .iter()
        .flat_map(|name| search::candidates(name, directory, path))
        .find(|candidate| std::fs::metadata(candidate).is_ok_and(|data| data.is_file()));
    let Some(application) = found else {
        let missing = names
            .first()
            .and_then(|name| search::named_directory(name, directory))
            .is_some_and(|parent| !std::fs::metadata(parent).is_ok_and(|data| data.is_dir()));
        let code = if missing { message::PATH_NOT_FOUND } else { message::FILE_NOT_FOUND };
        return Err(Win32Error(code));
    };
    if search::is_batch(&application) {
        let command_line = format!("{COMMAND_PROCESSOR} /c \"{line}\"");
        return Ok((COMMAND_PROCESSOR.to_owned(), command_line));
    }
    Ok((application, line))
}
