//! `oriel diff`: files and registry keys that a container changed.

use std::io::Write;
use std::process::ExitCode;

use oriel_api::registry::{ChangeKind, DifferenceLine, PathChange, RegistryData, ValueChange};
use serde_json::json;

use crate::connection::{At, Client};
use crate::lines::Lines;
use crate::registry::{name, shown};
use crate::screen::{Colour, Screen, plain};

#[derive(clap::Args)]
pub(crate) struct Diff {
    /// Container, which is compared with its image; or image, which is compared with the image it
    /// was made from, and only by its registry
    target: String,
    /// Compare with this image (images only)
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// How to show it; reg is a registry file that makes the change elsewhere, without files
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Lines that begin with A (added), C (changed) or D (deleted)
    Text,
    /// One JSON object with Files and Keys
    Json,
    /// A registry file, in UTF-8
    Reg,
}

pub(crate) async fn run(client: &Client, wanted: &Diff) -> anyhow::Result<ExitCode> {
    let mut at = At::path(&["oriel", "diff"])
        .with("target", &wanted.target)
        .maybe("base", wanted.base.as_deref());
    if matches!(wanted.format, Format::Reg) {
        at = at.with("format", "reg").with("encoding", "utf-8");
    }
    let mut stream = client.open(&at).await?;
    match wanted.format {
        Format::Text => text(&mut Lines::new(stream)).await?,
        Format::Json => json(&mut Lines::new(stream)).await?,
        Format::Reg => {
            let mut out = std::io::stdout();
            while let Some(piece) = stream.piece().await? {
                out.write_all(&piece)?;
            }
            out.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn text(lines: &mut Lines) -> anyhow::Result<()> {
    let mut screen = Screen::new();
    while let Some(line) = lines.next().await? {
        let (kind, text) = match &line {
            DifferenceLine::File(change) | DifferenceLine::Key(change) => {
                (change.kind, plain(&change.path).into_owned())
            }
            DifferenceLine::Value(change) => (change.kind, value(change)),
        };
        let (letter, colour) = match kind {
            ChangeKind::Added => ("A", Colour::Green),
            ChangeKind::Changed => ("C", Colour::Yellow),
            ChangeKind::Deleted => ("D", Colour::Red),
        };
        let line = format!("{letter} {text}");
        let line = screen.paint(colour, &line).into_owned();
        screen.line(&line)?;
    }
    Ok(screen.flush()?)
}

/// A value that changed, below its key.
fn value(change: &ValueChange) -> String {
    let both = |data: &RegistryData| format!("{}    {}", data.kind, shown(data));
    let data = match (&change.old, &change.new) {
        (Some(old), Some(new)) if old.kind == new.kind => {
            format!("{}    {} -> {}", old.kind, shown(old), shown(new))
        }
        (Some(old), Some(new)) => format!("{} -> {}", both(old), both(new)),
        (Some(data), None) | (None, Some(data)) => both(data),
        (None, None) => String::new(),
    };
    format!("    {}    {data}", name(&change.name))
}

/// Writes one object while the lines come.
async fn json(lines: &mut Lines) -> anyhow::Result<()> {
    let mut screen = Screen::new();
    let (mut files, mut keys, mut values) = (0, 0, 0);
    screen.text("{\"Files\": [")?;
    while let Some(line) = lines.next().await? {
        match line {
            DifferenceLine::File(change) => {
                screen.text(if files == 0 { "\n  " } else { ",\n  " })?;
                screen.text(&serde_json::to_string(&change)?)?;
                files += 1;
            }
            DifferenceLine::Key(PathChange { path, kind }) => {
                screen.text(if keys == 0 { "],\n\"Keys\": [\n  " } else { "]},\n  " })?;
                let (path, kind) = (json!(path), json!(kind));
                screen.text(&format!("{{\"Path\": {path}, \"Kind\": {kind}, \"Values\": ["))?;
                (keys, values) = (keys + 1, 0);
            }
            DifferenceLine::Value(change) => {
                screen.text(if values == 0 { "\n    " } else { ",\n    " })?;
                screen.text(&serde_json::to_string(&change)?)?;
                values += 1;
            }
        }
    }
    screen.line(if keys == 0 { "],\n\"Keys\": []}" } else { "]}]}" })?;
    Ok(screen.flush()?)
}
