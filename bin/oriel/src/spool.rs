//! Answers that are files: written to one, to standard output, or to a temporary one.

use std::{
    io::{self, IsTerminal, Seek, Write},
    path::Path,
};

use anyhow::{Context, bail};

use crate::connection::Stream;

/// Writes an answer to a file, which appears when it is whole, or to standard output.
///
/// # Errors
/// When standard output is a terminal, or writing fails.
pub(crate) async fn save(mut stream: Stream, file: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = file else {
        if io::stdout().is_terminal() {
            bail!("a tar stream is nothing to look at; give -o FILE, or write to a pipe");
        }
        let mut out = io::stdout();
        while let Some(piece) = stream.piece().await? {
            out.write_all(&piece)?;
        }
        return Ok(out.flush()?);
    };
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let mut made = tempfile::NamedTempFile::new_in(parent)
        .with_context(|| format!("cannot write to {}", parent.display()))?;
    while let Some(piece) = stream.piece().await? {
        made.write_all(&piece)?;
    }
    made.persist(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(())
}

/// Keeps an answer in a file without a name, at its beginning.
///
/// # Errors
/// When writing fails.
pub(crate) async fn temporary(stream: &mut Stream) -> anyhow::Result<io::BufReader<std::fs::File>> {
    let mut file = tempfile::tempfile().context("cannot make a temporary file")?;
    while let Some(piece) = stream.piece().await? {
        file.write_all(&piece)?;
    }
    file.rewind()?;
    Ok(io::BufReader::new(file))
}
