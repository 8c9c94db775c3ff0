//! The files of a log, and how they change places.
//!
//! Files have *generations*: the first is 0, each rotation begins the next. What a file is called
//! depends on how many came after it; who reads names generations, so that a rotation neither hides
//! a record nor shows it twice.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use fs_err::{File, OpenOptions, os::unix::fs::OpenOptionsExt as _};

use super::{
    LogDriver,
    attributes::attributes,
    format::Format,
    options::{Keeping, keeping},
};
use crate::{Time, document, records::Record};

/// How far the times that the kernel gives files may lag behind the clock.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Which file.
    pub(super) generation: u64,
    /// Byte in it.
    pub(super) offset: u64,
}

impl Position {
    /// Behind everything.
    pub(crate) const END: Self = Self { generation: u64::MAX, offset: u64::MAX };
}

/// The files of one container's log.
pub(crate) struct LogFiles {
    pub(super) format: Format,
    pub(super) keeping: Keeping,
    /// JSON object that goes with each record of a JSON file; empty when there is nothing to tell.
    pub(super) attributes: String,
    path: PathBuf,
    /// Generation of the file that is written. Held while files change places.
    newest: Mutex<u64>,
}

/// A file of a log, open for reading.
pub(super) enum LogFile {
    /// As it was written.
    Plain(BufReader<File>),
    /// Compressed.
    Packed(Box<BufReader<MultiGzDecoder<BufReader<File>>>>),
}

impl LogFile {
    /// Its records.
    pub(super) fn input(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Plain(input) => input,
            Self::Packed(input) => input,
        }
    }
}

impl LogFiles {
    /// The files of a container's log below the data root; `None` when it keeps none. Nothing is
    /// touched yet.
    pub(crate) fn of(root: &Path, record: &Record) -> Option<Self> {
        let host = &record.spec.host;
        let directory = document::directory(root, &record.id);
        let (format, path) = match host.log {
            LogDriver::JsonFile => (Format::Json, path(root, record)?),
            LogDriver::Local => (Format::Local, directory.join("local-logs/container.log")),
            LogDriver::None => return None,
        };
        let told = match format {
            Format::Json => attributes(&record.id, &record.name, &record.spec),
            Format::Local => Default::default(),
        };
        let attributes = match told.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&told).expect("a map of strings"),
        };
        // They were checked when the container was created.
        let keeping = keeping(host.log, &host.log_options).unwrap_or(Keeping {
            max_size: None,
            max_file: 1,
            compress: false,
        });
        Some(Self::new(path, format, keeping, attributes))
    }

    pub(super) fn new(path: PathBuf, format: Format, keeping: Keeping, attributes: String) -> Self {
        // Files of earlier daemons need generations as well.
        let newest = Mutex::new(u64::from(u32::MAX));
        Self { format, keeping, attributes, path, newest }
    }

    fn newest_now(&self) -> MutexGuard<'_, u64> {
        self.newest.lock().expect("no panic while files change places")
    }

    /// Generation of the file that is written.
    pub(super) fn newest(&self) -> u64 {
        *self.newest_now()
    }

    /// Opens the newest file for writing, without the part of a record that a crash left, and tells
    /// its length.
    pub(super) fn open_newest(&self) -> io::Result<(File, u64)> {
        if let Some(directory) = self.path.parent() {
            fs_err::create_dir_all(directory)?;
        }
        self.tidy()?;
        let mut file = self.create()?;
        let length = self.format.sound_length(&mut file)?;
        file.set_len(length)?;
        Ok((file, length))
    }

    fn create(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true);
        options.mode(0o640);
        options.open(&self.path)
    }

    /// Removes what a compression that was broken off left.
    fn tidy(&self) -> io::Result<()> {
        remove(&self.name(1, ".gz.tmp"))?;
        for place in 1..=self.old_files() {
            if self.name(place, ".gz").exists() {
                remove(&self.name(place, ""))?;
            }
        }
        Ok(())
    }

    /// Begins the next file, and drops the oldest when there are too many. Takes as long as
    /// compressing the last one takes. Readers wait only while files change places.
    pub(super) fn rotate(&self) -> io::Result<File> {
        let keep = self.keeping.max_file - 1;
        let file = {
            let mut newest = self.newest_now();
            for place in (1..=self.old_files()).rev() {
                self.make_room(place, keep)?;
            }
            match keep {
                0 => remove(&self.path)?,
                _ => rename(&self.path, &self.name(1, ""))?,
            }
            *newest += 1;
            self.create()?
        };
        if self.keeping.compress
            && let Err(error) = self.pack(1)
        {
            // It stays as it is, and is read as it is.
            tracing::warn!(error = %error, "cannot compress a log");
        }
        Ok(file)
    }

    /// Moves an old file one place on, or removes it when it has the last.
    fn make_room(&self, place: u32, last: u32) -> io::Result<()> {
        for end in ["", ".gz"] {
            let from = self.name(place, end);
            match place < last {
                true => rename(&from, &self.name(place + 1, end))?,
                false => remove(&from)?,
            }
        }
        Ok(())
    }

    /// Compresses an old file. It keeps its time, by which readers skip it.
    fn pack(&self, place: u32) -> io::Result<()> {
        let (plain, temporary) = (self.name(place, ""), self.name(place, ".gz.tmp"));
        let mut input = File::open(&plain)?;
        let output = File::create(&temporary)?;
        let mut encoder = GzEncoder::new(output, Compression::fast());
        io::copy(&mut input, &mut encoder)?;
        let mut output = encoder.finish()?;
        output.flush()?;
        output.set_modified(input.metadata()?.modified()?)?;
        rename(&temporary, &self.name(place, ".gz"))?;
        remove(&plain)
    }

    /// Old files, counted from the newest on.
    fn old_files(&self) -> u32 {
        let exists =
            |place: &u32| self.name(*place, "").exists() || self.name(*place, ".gz").exists();
        (1..).take_while(exists).last().unwrap_or(0)
    }

    /// The oldest generation there is.
    pub(super) fn oldest(&self) -> u64 {
        let newest = self.newest_now();
        *newest - u64::from(self.old_files())
    }

    /// The oldest generation that may have something to say of what came after `since`.
    pub(super) fn oldest_since(&self, since: Time) -> u64 {
        let newest = self.newest_now();
        let ended_before = |place: &u32| {
            let file = [self.name(*place, ""), self.name(*place, ".gz")]
                .into_iter()
                .find_map(|name| fs_err::metadata(name).ok());
            let ended = file.and_then(|file| file.modified().ok());
            ended.is_some_and(|ended: SystemTime| Time::from(ended + CLOCK_SLACK) < since)
        };
        let old = self.old_files();
        let first = (1..=old).find(ended_before).map_or(old, |place| place - 1);
        *newest - u64::from(first)
    }

    /// Opens the file of a generation; `None` when it is gone or not there yet.
    pub(super) fn open(&self, generation: u64) -> io::Result<Option<LogFile>> {
        let newest = self.newest_now();
        let Some(place) = newest.checked_sub(generation) else { return Ok(None) };
        let Ok(place) = u32::try_from(place) else { return Ok(None) };
        if let Some(file) = found(File::open(self.name(place, "")))? {
            return Ok(Some(LogFile::Plain(BufReader::new(file))));
        }
        if place == 0 {
            return Ok(None);
        }
        let Some(file) = found(File::open(self.name(place, ".gz")))? else { return Ok(None) };
        let decoder = MultiGzDecoder::new(BufReader::new(file));
        Ok(Some(LogFile::Packed(Box::new(BufReader::new(decoder)))))
    }

    /// Name of the file so many rotations before the newest.
    fn name(&self, place: u32, end: &str) -> PathBuf {
        if place == 0 {
            return self.path.clone();
        }
        let mut name = OsString::from(&self.path);
        name.push(format!(".{place}{end}"));
        name.into()
    }
}

/// Where a container's JSON lines are; `None` when it has none. Other formats are nobody's
/// business.
pub(crate) fn path(root: &Path, record: &Record) -> Option<PathBuf> {
    let name = format!("{}-json.log", record.id);
    (record.spec.host.log == LogDriver::JsonFile)
        .then(|| document::directory(root, &record.id).join(name))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    found(fs_err::rename(from, to)).map(drop)
}

fn remove(path: &Path) -> io::Result<()> {
    found(fs_err::remove_file(path)).map(drop)
}

/// Takes a file that is not there for none.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
