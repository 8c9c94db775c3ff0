//! Commands of `RUN` with here-documents: what is run, and the files it needs.
//!
//! A document that is the whole command is a script of the stage's shell. Anywhere else it is what
//! the command reads, as in a Linux shell; of Windows' shells only `cmd` can redirect input.
//!
//! ```text
//! RUN <<EOF            cmd /S /C C:\oriel-build\EOF.cmd           the document, as a batch file
//! RUN sort <<EOF       cmd /S /C sort <C:\oriel-build\0-EOF       the document, as it is
//! ```

use crate::{
    Problem,
    parse::{Command, HereDocument, Run},
    state::{CommandLine, State},
};

/// Where a container sees the files.
pub(crate) const DIRECTORY: &str = "C:\\oriel-build";

/// A command, ready to be run.
pub(crate) struct Script {
    /// What is run.
    pub(crate) line: CommandLine,
    /// Files below [`DIRECTORY`], by their names.
    pub(crate) files: Vec<(String, String)>,
    /// The command as the history has it, documents included.
    pub(crate) text: String,
}

/// What shells there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shell {
    Cmd,
    /// PowerShell, of either name.
    Power,
    Other,
}

impl Shell {
    /// The shell that a program is.
    fn of(program: &str) -> Self {
        let name = program.rsplit(['\\', '/']).next().unwrap_or_default().to_ascii_lowercase();
        match name.trim_end_matches(".exe") {
            "cmd" => Self::Cmd,
            "powershell" | "pwsh" => Self::Power,
            _ => Self::Other,
        }
    }
}

/// Makes the command of a `RUN`.
pub(crate) fn script(state: &State, run: &Run) -> Result<Script, Problem> {
    let line = state.command_line(&run.command);
    let mut text = line.words.join(" ");
    for (_, document) in &run.documents {
        text.push_str(&format!("\n{}{}", document.text, document.name));
    }
    let (line, files) = match (&run.command, run.documents.as_slice()) {
        (_, []) | (Command::Exec(_), _) => (line, Vec::new()),
        (Command::Shell(command), [(_, document)]) if *command == document.word => {
            whole(state, document)
        }
        (Command::Shell(command), documents) => inputs(state, command, documents)?,
    };
    Ok(Script { line, files, text })
}

/// A document as a script.
fn whole(state: &State, document: &HereDocument) -> (CommandLine, Vec<(String, String)>) {
    let shell = state.shell();
    let lines = || document.text.lines().map(|line| format!("{line}\r\n")).collect::<String>();
    let (name, content, line) = match Shell::of(&state.shell_words()[0]) {
        Shell::Cmd => {
            let name = format!("{}.cmd", document.name);
            let line = format!("{shell} {DIRECTORY}\\{name}");
            (name, format!("@echo off\r\n{}", lines()), line)
        }
        Shell::Power => {
            let name = format!("{}.ps1", document.name);
            let line = format!("{shell} & '{DIRECTORY}\\{name}'");
            // Windows PowerShell reads a script without a byte order mark in the ANSI code page.
            (name, format!("\u{feff}{}", lines()), line)
        }
        Shell::Other => {
            let words = [state.shell_words(), vec![document.text.clone()]].concat();
            return (CommandLine { words, escaped: false }, Vec::new());
        }
    };
    (CommandLine { words: vec![line], escaped: true }, vec![(name, content)])
}

/// Documents as what a command reads.
fn inputs(
    state: &State,
    command: &str,
    documents: &[(usize, HereDocument)],
) -> Result<(CommandLine, Vec<(String, String)>), Problem> {
    if Shell::of(&state.shell_words()[0]) != Shell::Cmd {
        let word = documents.first().map(|(_, document)| document.word.clone());
        return Err(Problem::DocumentAsInput { word: word.unwrap_or_default() });
    }
    let mut line = format!("{} ", state.shell());
    let mut files = Vec::new();
    let mut done = 0;
    for (number, (offset, document)) in documents.iter().enumerate() {
        let name = format!("{number}-{}", document.name);
        let descriptor: String = document.word.chars().take_while(char::is_ascii_digit).collect();
        line.push_str(&command[done..*offset]);
        line.push_str(&format!("{descriptor}<{DIRECTORY}\\{name}"));
        done = offset + document.word.len();
        files.push((name, document.text.clone()));
    }
    line.push_str(&command[done..]);
    Ok((CommandLine { words: vec![line], escaped: true }, files))
}

#[cfg(test)]
mod tests {
    use oriel_image::{Digest, ImageId, RunConfig};

    use super::*;
    use crate::parse::{self, Instruction};

    fn made(shell: &[&str], text: &str) -> Result<Script, Problem> {
        let mut statements = parse::parse("x", text.as_bytes()).unwrap().statements;
        let Instruction::Run(run) = statements.remove(0).instruction else { panic!("no RUN") };
        let shell = shell.iter().map(|word| (*word).to_owned()).collect();
        let config = RunConfig { shell: Some(shell), ..RunConfig::default() };
        script(&State::new(ImageId(Digest::of(b"")), config), &run)
    }

    #[test]
    fn a_document_alone_is_a_script_of_the_shell() {
        let text = "RUN <<-EOF\n\techo one\n\techo $two\n\tEOF\n";
        let cmd = made(&[], text).unwrap();
        assert_eq!(cmd.line.words, ["cmd /S /C C:\\oriel-build\\EOF.cmd"]);
        let script = "@echo off\r\necho one\r\necho $two\r\n";
        assert_eq!(cmd.files, [("EOF.cmd".to_owned(), script.to_owned())]);
        assert_eq!(cmd.text, "cmd /S /C <<-EOF\necho one\necho $two\nEOF");
        let power = made(&["powershell.exe", "-Command"], text).unwrap();
        assert_eq!(power.line.words, ["powershell.exe -Command & 'C:\\oriel-build\\EOF.ps1'"]);
        let other = made(&["bash.exe", "-c"], text).unwrap();
        assert_eq!(other.line.words, ["bash.exe", "-c", "echo one\necho $two\n"]);
        assert!(!other.line.escaped && other.files.is_empty());
    }

    #[test]
    fn a_document_elsewhere_is_what_the_command_reads() {
        let text = "RUN sort <<EOF >C:\\a && more 3<<\"X\"\nb\na\nEOF\nx\nX\n";
        let cmd = made(&[], text).unwrap();
        let line = "cmd /S /C sort <C:\\oriel-build\\0-EOF >C:\\a && more 3<C:\\oriel-build\\1-X";
        assert_eq!(cmd.line.words, [line]);
        let files = [("0-EOF".to_owned(), "b\na\n".to_owned()), ("1-X".into(), "x\n".into())];
        assert_eq!(cmd.files, files);
        assert!(made(&["powershell", "-Command"], text).is_err());
    }
}
