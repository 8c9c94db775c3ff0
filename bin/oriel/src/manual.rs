//! Man pages and completions as files, for packages: `oriel system manual DIRECTORY`; and the
//! table of verbs in `docs/cli.md`.

use std::{path::Path, process::ExitCode};

use clap::Command;

use crate::completion;

/// Writes `man1/*.1`, `completions/*` and `verbs.md` below a directory.
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
    fs_err::write(directory.join("verbs.md"), table(&command))?;
    Ok(ExitCode::SUCCESS)
}

/// A page for a verb, and one for each below it, named as they are asked for:
/// `man oriel-image-ls`.
fn page(command: &Command, name: &str, directory: &Path) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name.to_owned()).render(&mut text)?;
    fs_err::write(directory.join(format!("{name}.1")), text)?;
    for verb in shown(command) {
        page(verb, &format!("{name}-{}", verb.get_name()), directory)?;
    }
    Ok(())
}

/// The verbs that help lists, `help` itself left out.
fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

/// Every verb with what it does and its options.
fn table(command: &Command) -> String {
    let mut text = "| Verb | Does | Options |\n|---|---|---|\n".to_owned();
    rows(command, "oriel", &mut text);
    text
}

fn rows(command: &Command, name: &str, text: &mut String) {
    for verb in shown(command) {
        let name = format!("{name} {}", verb.get_name());
        if verb.has_subcommands() {
            rows(verb, &name, text);
            continue;
        }
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let options = verb.get_arguments().filter(|argument| {
            !argument.is_hide_set() && !argument.is_global_set() && argument.get_id() != "help"
        });
        let long = options.filter_map(|argument| Some(format!("`--{}`", argument.get_long()?)));
        let long: Vec<_> = long.collect();
        *text += &format!("| `{name}` | {about} | {} |\n", long.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn the_guide_lists_the_verbs_there_are() {
        let mut command = Arguments::command();
        command.build();
        let guide = include_str!("../../../docs/cli.md");
        assert!(
            guide.ends_with(&table(&command)),
            "the table in docs/cli.md is old; make it with: oriel system manual DIRECTORY"
        );
    }

    #[test]
    fn packages_get_a_page_for_each_verb_and_completions() {
        let directory = tempfile::tempdir().unwrap();
        write(Arguments::command(), directory.path()).unwrap();
        let page = |name: &str| fs_err::read_to_string(directory.path().join(name)).unwrap();
        let run = page("man1/oriel-run.1");
        assert!(run.contains("oriel run") && run.contains("\\-\\-entrypoint"), "{run}");
        for file in ["man1/oriel.1", "man1/oriel-image-rebase.1", "completions/_oriel"] {
            assert!(!page(file).is_empty(), "{file}");
        }
    }
}
