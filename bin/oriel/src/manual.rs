//! Man pages and completions as files, for packages: `oriel system manual DIRECTORY`.

use std::{path::Path, process::ExitCode};

use clap::Command;

use crate::completion;

/// Writes `man1/*.1` and `completions/*` below a directory.
///
/// # Errors
/// When writing fails.
pub(crate) fn write(mut command: Command, directory: &Path) -> anyhow::Result<ExitCode> {
    let pages = directory.join("man1");
    fs_err::create_dir_all(&pages)?;
    command.build();
    page(&command, "oriel", &pages)?;
    let completions = directory.join("completions");
    fs_err::create_dir_all(&completions)?;
    for (shell, name) in [("bash", "oriel.bash"), ("zsh", "_oriel"), ("fish", "oriel.fish")] {
        fs_err::write(completions.join(name), completion::script(shell)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A page for a verb, and one for each below it, named as they are asked for: `man oriel-image-ls`.
fn page(command: &Command, name: &str, directory: &Path) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_owned()).render(&mut text)?;
    fs_err::write(directory.join(format!("{name}.1")), text)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        page(verb, &format!("{name}-{}", verb.get_name()), directory)?;
    }
    Ok(())
}
