//! `ADD` of files of the web.
//!
//! A file is fetched each time the step is asked for, and known by its content: the cache has the
//! step as long as the server gives the same. Its name is the last of the address, or what the
//! server says; its time is what the server says, or 1970. Both as Docker has them.

use std::{
    io::{self, Read},
    sync::Arc,
    time::{Duration, SystemTime},
};

use oriel_image::Digest;
use tokio::{sync::mpsc, time::timeout};

use super::Execution;
use crate::{
    BuildError, ContextError, Fetched, Problem, TransferError,
    context::Blob,
    parse::{Statement, Transfer},
    remote::{is_git, is_web},
};

/// Most bytes of a file: an installation medium and more.
const MAX_BYTES: u64 = 16 << 30;

/// How long a file may take: that medium at 40 Mbit/s. The web reader bounds silence besides.
const MAX_TIME: Duration = Duration::from_secs(60 * 60);

/// Pieces of a file under way.
const PIECES: usize = 16;

impl Execution<'_> {
    /// Fetches those of the sources that are of the web, and takes them out of the list.
    pub(super) async fn fetched(
        &self,
        transfer: &Transfer,
        sources: &mut Vec<String>,
        (statement, checksum): (&Statement, Option<String>),
    ) -> Result<Vec<(String, Blob)>, BuildError> {
        if let Some(url) = sources.iter().find(|source| is_git(source)) {
            return Err(statement.error(Problem::GitSource { url: url.clone() }).into());
        }
        let checksum = checksum.map(|text| sha256(statement, text)).transpose()?;
        let count = sources.len() + transfer.documents.len();
        if checksum.is_some() && count != 1 {
            return Err(statement.error(Problem::ChecksumOfMany).into());
        }
        let (urls, local) = std::mem::take(sources).into_iter().partition(|s| is_web(s));
        *sources = local;
        let urls: Vec<String> = urls;
        if checksum.is_some() && urls.is_empty() {
            return Err(statement.error(Problem::ChecksumOfLocal).into());
        }
        let mut files = Vec::new();
        for url in urls {
            files.push(self.fetch(&url, checksum.as_deref()).await?);
        }
        Ok(files)
    }

    async fn fetch(&self, url: &str, checksum: Option<&str>) -> Result<(String, Blob), BuildError> {
        let (sender, pieces) = mpsc::channel(PIECES);
        let context = Arc::clone(&self.context);
        let store = self.blocking(move |_| {
            let mut budget = MAX_BYTES;
            Ok(context
                .keep_content(&mut Pieces { pieces, rest: Vec::new(), at: 0 }, &mut budget)?)
        });
        let both = async { tokio::join!(self.site.bases.fetch(url, sender), store) };
        let limits = || {
            failed(TransferError::TooMuch {
                url: url.to_owned(),
                limit_bytes: MAX_BYTES,
                limit_minutes: MAX_TIME.as_secs() / 60,
            })
        };
        let (fetched, stored) = tokio::select! {
            both = timeout(MAX_TIME, both) => both.map_err(|_| limits())?,
            () = self.report.closed() => return Err(BuildError::Cancelled),
        };
        let stored = stored.map_err(|error| match error {
            BuildError::Context(ContextError::TooLarge { .. }) => limits(),
            other => other,
        });
        let Fetched { modified, disposition } = fetched?;
        let mut blob = stored?;
        blob.modified = Some(modified.unwrap_or(SystemTime::UNIX_EPOCH));
        check(url, &blob, checksum)?;
        let no_name = || failed(TransferError::NoName { url: url.to_owned() });
        Ok((name(url, disposition.as_deref()).ok_or_else(no_name)?, blob))
    }
}

fn failed(problem: TransferError) -> BuildError {
    BuildError::Transfer { keyword: "ADD", problem }
}

/// Reads `sha256:…`.
fn sha256(statement: &Statement, checksum: String) -> Result<String, BuildError> {
    match checksum.strip_prefix("sha256:").map(Digest::from_hex) {
        Some(Some(digest)) => Ok(digest.hex()),
        _ => Err(statement.error(Problem::BadChecksum { checksum }).into()),
    }
}

fn check(url: &str, blob: &Blob, checksum: Option<&str>) -> Result<(), BuildError> {
    let found: String = blob.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    match checksum {
        Some(expected) if *expected != found => Err(failed(TransferError::Checksum {
            url: url.to_owned(),
            found,
            expected: format!("sha256:{expected}"),
        })),
        _ => Ok(()),
    }
}

/// The name of a file: the last of its address, or what the server suggests.
fn name(url: &str, disposition: Option<&str>) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (_, path) = rest.split_once('/').unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    if !last.is_empty() {
        return Some(decoded(last));
    }
    let parts = disposition?.split(';').map(str::trim);
    let value = parts
        .filter_map(|part| part.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("filename"))
        .map(|(_, value)| value.trim().trim_matches('"'))?;
    let last = value.rsplit(['/', '\\']).next().unwrap_or_default();
    (!last.is_empty()).then(|| last.to_owned())
}

/// Undoes percent-encoding; what is none stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Pieces that arrive, as a reader of a thread that may wait for them.
struct Pieces {
    pieces: mpsc::Receiver<Vec<u8>>,
    rest: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            (self.rest, self.at) = (piece, 0);
        }
        let count = buffer.len().min(self.rest.len() - self.at);
        buffer[..count].copy_from_slice(&self.rest[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_names_that_docker_gives_them() {
        let table = [
            ("https://h/a/b.zip", None, Some("b.zip")),
            ("https://h/a/b%20c.zip?x=/y#z", Some("filename=other"), Some("b c.zip")),
            ("https://h/100%", None, Some("100%")),
            ("https://h/", Some("attachment; filename=\"tool.exe\""), Some("tool.exe")),
            ("https://h/d/", Some("inline; FileName = ..\\..\\x.exe"), Some("x.exe")),
            ("https://h", Some("attachment"), None),
            ("https://h/", Some("attachment; filename=\"a/\""), None),
            ("https://h/", None, None),
        ];
        for (url, disposition, expected) in table {
            assert_eq!(name(url, disposition).as_deref(), expected, "{url} {disposition:?}");
        }
    }
}
