//! `oriel build --check`: what the checks of a Dockerfile find.

use std::process::ExitCode;

use serde::Deserialize;

use crate::{
    connection::Stream,
    screen::{plain, print, talk},
};

/// What the daemon answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Findings {
    findings: Vec<Finding>,
}

/// One finding.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Finding {
    rule: String,
    line: usize,
    column: usize,
    source: String,
    message: String,
    advice: String,
}

impl Finding {
    /// The finding as it is shown, in the file of this name.
    fn text(&self, file: &str) -> String {
        let Self { rule, line, column, .. } = self;
        let gutter = " ".repeat(line.to_string().len());
        let mut text = format!("{file}:{line}:{column}: {rule}: {}\n", plain(&self.message));
        if !self.source.trim().is_empty() {
            text += &format!("{gutter} |\n{line} | {}\n", plain(&self.source));
        }
        text + &format!("{gutter} = {}\n\n", plain(&self.advice))
    }
}

/// Shows the answer to a check; the exit code tells whether something was found.
pub(super) async fn show(answer: Stream, file: &str) -> anyhow::Result<ExitCode> {
    let Findings { findings } = answer.json().await?;
    for finding in &findings {
        print(&finding.text(file))?;
    }
    match findings.len() {
        0 => talk("Check complete, nothing found."),
        1 => talk("Check complete, 1 finding."),
        count => talk(&format!("Check complete, {count} findings.")),
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_its_place_and_what_to_do() {
        let answer = r#"{"Findings":[{"Rule":"WorkdirRelativePath","Line":12,"Column":3,
            "Source":"  WORKDIR app","Message":"Relative workdir","Advice":"write C:\\app"}],
            "Error":false}"#;
        let Findings { findings } = serde_json::from_str(answer).unwrap();
        let text = "Dockerfile:12:3: WorkdirRelativePath: Relative workdir\n   |\n\
                    12 |   WORKDIR app\n   = write C:\\app\n\n";
        assert_eq!(findings[0].text("Dockerfile"), text);
    }
}
