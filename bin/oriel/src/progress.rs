//! Progress of a long request: bars on a terminal, plain lines elsewhere.

use std::{collections::BTreeMap, io::IsTerminal};

use anyhow::bail;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use oriel_api::Line;
use serde_json::Value;

use crate::{
    connection::Stream,
    lines::Lines,
    screen::{plain, talk},
};

/// A bar whose end is known.
const WITH_LENGTH: &str = "{prefix:<18} {bar:24} {percent:>3}% {elapsed:>4} {wide_msg}";

/// A bar whose end is not known.
const WITHOUT_LENGTH: &str = "{prefix:<18} {spinner} {elapsed:>4} {wide_msg}";

/// Shows the progress of several things at once on standard error.
pub(crate) enum Progress {
    /// One bar for each thing.
    Bars {
        /// Draws them.
        all: MultiProgress,
        /// Them, by what they are about.
        bars: BTreeMap<String, ProgressBar>,
    },
    /// A line whenever the state of a thing changes.
    Lines {
        /// The last state of each.
        last: BTreeMap<String, String>,
    },
    /// Nothing.
    Quiet,
}

impl Progress {
    /// Chooses by whether standard error is a terminal.
    pub(crate) fn new(quiet: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Bars { all: MultiProgress::new(), bars: BTreeMap::new() },
            (false, false) => Self::Lines { last: BTreeMap::new() },
        }
    }

    /// Shows an answer to its end, and gives the last result in it.
    ///
    /// # Errors
    /// What the answer says went wrong.
    pub(crate) async fn follow(mut self, stream: Stream) -> anyhow::Result<Option<Value>> {
        let mut lines = Lines::new(stream);
        let mut result = None;
        while let Some(line) = lines.next::<Line>().await? {
            if let Some(message) = line.error_detail.map(|d| d.message).or(line.error.clone()) {
                self.finish();
                bail!("{message}");
            }
            match line.aux {
                Some(aux) => result = Some(aux),
                None => self.show(&Line { error_detail: None, ..line }),
            }
        }
        self.finish();
        Ok(result)
    }

    /// Shows one line of an answer.
    pub(crate) fn show(&mut self, line: &Line) {
        let Some(status) = &line.status else { return };
        let status = plain(status.trim_end()).into_owned();
        let id = line.id.as_deref().map(plain).unwrap_or_default().into_owned();
        match self {
            Self::Bars { all, .. } if id.is_empty() => {
                // A bar cannot be: it is about all of it.
                let _ = all.println(status);
            }
            Self::Bars { all, bars } => {
                let bar = bars.entry(id.clone()).or_insert_with(|| all.add(new_bar(&id)));
                bar.set_message(status);
                let detail = line.progress_detail.unwrap_or_default();
                let total = detail.total.filter(|total| *total > 0);
                if total != bar.length() {
                    bar.set_style(style(total.is_some()));
                    total.into_iter().for_each(|total| bar.set_length(total));
                }
                detail.current.into_iter().for_each(|current| bar.set_position(current));
                bar.tick();
            }
            Self::Lines { last } => {
                if last.insert(id.clone(), status.clone()).as_ref() != Some(&status) {
                    talk(&spoken(&id, &status));
                }
            }
            Self::Quiet => {}
        }
    }

    /// Leaves the bars as they are.
    pub(crate) fn finish(&self) {
        if let Self::Bars { bars, .. } = self {
            bars.values().for_each(ProgressBar::abandon);
        }
    }
}

fn spoken(id: &str, status: &str) -> String {
    if id.is_empty() { status.to_owned() } else { format!("{id}: {status}") }
}

fn new_bar(id: &str) -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.set_prefix(id.to_owned());
    bar.set_style(style(false));
    bar
}

fn style(has_length: bool) -> ProgressStyle {
    let template = if has_length { WITH_LENGTH } else { WITHOUT_LENGTH };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for template in [WITH_LENGTH, WITHOUT_LENGTH] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn a_plain_line_names_what_it_is_about() {
        assert_eq!(spoken("wine", "unpacking"), "wine: unpacking");
        assert_eq!(spoken("", "done"), "done");
    }
}
