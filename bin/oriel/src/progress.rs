//! Progress of a long request: bars on a terminal, plain lines elsewhere.

use std::{collections::BTreeMap, io::IsTerminal};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use oriel_api::Line;

/// A bar whose end is known.
const WITH_LENGTH: &str = "{prefix:<18} {bar:24} {percent:>3}% {elapsed:>4} {wide_msg}";

/// A bar whose end is not known.
const WITHOUT_LENGTH: &str = "{prefix:<18} {spinner} {elapsed:>4} {wide_msg}";

/// Shows the progress of several things at once on standard error.
pub(crate) enum Progress {
    /// One bar for each thing.
    Bars { all: MultiProgress, bars: BTreeMap<String, ProgressBar> },
    /// A line whenever the state of a thing changes.
    Lines { last: BTreeMap<String, String> },
}

impl Progress {
    /// Chooses by whether standard error is a terminal.
    pub(crate) fn new() -> Self {
        match std::io::stderr().is_terminal() {
            true => Self::Bars { all: MultiProgress::new(), bars: BTreeMap::new() },
            false => Self::Lines { last: BTreeMap::new() },
        }
    }

    /// Shows one line of the stream.
    pub(crate) fn show(&mut self, line: &Line) {
        let Some(status) = &line.status else { return };
        let id = line.id.clone().unwrap_or_default();
        match self {
            Self::Bars { all, bars } => {
                let bar = bars.entry(id.clone()).or_insert_with(|| all.add(new_bar(&id)));
                bar.set_message(status.clone());
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
                if last.insert(id.clone(), status.clone()).as_ref() != Some(status) {
                    talk(&plain(&id, status));
                }
            }
        }
    }

    /// Leaves the bars as they are.
    pub(crate) fn finish(self) {
        if let Self::Bars { bars, .. } = self {
            bars.values().for_each(ProgressBar::abandon);
        }
    }
}

fn plain(id: &str, status: &str) -> String {
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

#[expect(clippy::print_stderr, reason = "progress is talk, and talk goes to standard error")]
fn talk(text: &str) {
    eprintln!("{text}");
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
        assert_eq!(plain("wine", "unpacking"), "wine: unpacking");
        assert_eq!(plain("", "done"), "done");
    }
}
