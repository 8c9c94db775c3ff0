//! Running the host's programs, with errors that say what to install.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::PersonalityError;

/// A program of the host and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

pub(crate) const MMDEBSTRAP: Tool = Tool { name: "mmdebstrap", package: "mmdebstrap" };
pub(crate) const DPKG_DEB: Tool = Tool { name: "dpkg-deb", package: "dpkg" };
pub(crate) const STRIP: Tool =
    Tool { name: "x86_64-w64-mingw32-strip", package: "binutils-mingw-w64-x86-64" };
pub(crate) const UNSHARE: Tool = Tool { name: "unshare", package: "util-linux" };

/// Lines of output kept for an error message.
const KEPT_LINES: usize = 12;

impl Tool {
    /// Runs the tool to its end; each line it writes goes to `line`.
    pub(crate) fn run(
        self,
        attempt: &str,
        arguments: &[String],
        line: &mut dyn FnMut(&str),
    ) -> Result<(), PersonalityError> {
        let failed = |source| self.failed(attempt, source);
        let (reader, writer) = io::pipe().map_err(failed)?;
        let mut command = Command::new(self.name);
        command.args(arguments).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command.stderr(writer.try_clone().map_err(failed)?).stdout(writer);
        let mut child = command.spawn().map_err(failed)?;
        drop(command);
        let mut kept = Vec::new();
        for text in BufReader::new(reader).split(b'\n') {
            let text = String::from_utf8_lossy(&text.map_err(failed)?).into_owned();
            line(&text);
            kept.push(text);
        }
        let status = child.wait().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(PersonalityError::Tool {
            attempt: attempt.to_owned(),
            tool: self.name.to_owned(),
            status: status.to_string(),
            output: kept[kept.len().saturating_sub(KEPT_LINES)..].join("\n"),
        })
    }

    fn failed(self, attempt: &str, source: io::Error) -> PersonalityError {
        if source.kind() == io::ErrorKind::NotFound {
            return PersonalityError::MissingTool {
                tool: self.name.to_owned(),
                package: self.package.to_owned(),
            };
        }
        PersonalityError::Io { attempt: attempt.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::Tool;

    #[test]
    fn a_missing_tool_names_its_package() {
        let tool = Tool { name: "oriel-no-such-tool", package: "some-package" };
        let error = tool.run("test", &[], &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("oriel-no-such-tool") && error.contains("some-package"), "{error}");
    }

    #[test]
    fn a_failing_tool_reports_what_it_wrote() {
        let tool = Tool { name: "sh", package: "dash" };
        let script = ["-c".to_owned(), "echo first; echo why >&2; exit 3".to_owned()];
        let mut lines = Vec::new();
        let error = tool.run("test", &script, &mut |line| lines.push(line.to_owned())).unwrap_err();
        assert!(error.to_string().contains("exit status: 3: first\nwhy"), "{error}");
        assert_eq!(lines, ["first", "why"]);
    }
}
