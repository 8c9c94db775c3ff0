//! Saving and changing the registry for the host, one request after the other.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use oriel_hcs::ProcessId;
use oriel_hcs::bridge::{Message, RegistryFailure, RegistryHive, RegistryKey, RegistryOperation};

use crate::changes::{Parts, describe, is_key_name, is_value_name};
use crate::message;
use crate::nt::registry::{Key, Root, allow_saving};
use crate::nt::{Win32Error, system};
use crate::outbox::Outbox;

/// The prefix as the personality names places outside of its drives.
const PREFIX: &str = "\\\\?\\unix\\prefix";

/// The trees, and the files wineserver keeps them in.
const TREES: [(Root, &str); 3] =
    [(Root::Machine, "system.reg"), (Root::Default, "userdef.reg"), (Root::User, "user.reg")];

/// A thread that serves requests about the registry: a large one takes seconds, in which other
/// frames must not wait.
pub(crate) struct Registry {
    requests: Sender<(ProcessId, Message)>,
}

impl Registry {
    /// Starts serving; answers go to `outbox`.
    pub(crate) fn serve(outbox: Arc<Outbox>) -> Self {
        let (requests, queue) = mpsc::channel();
        thread::spawn(move || serve(&queue, &outbox));
        Self { requests }
    }

    /// Queues a request, or a part of one.
    pub(crate) fn ask(&self, number: ProcessId, message: Message) {
        // The thread ends with this side of the queue only.
        let _served = self.requests.send((number, message));
    }
}

fn serve(queue: &Receiver<(ProcessId, Message)>, outbox: &Outbox) {
    let mut parts = Parts::default();
    for (number, message) in queue {
        let done = match message {
            Message::SaveRegistry(name) => save(&name),
            Message::ChangeRegistry => match parts.take(number) {
                Ok(operations) => operations.iter().try_for_each(perform),
                Err(code) => Err(failure("read the changes of the registry", Win32Error(code))),
            },
            Message::RegistryPart(part) => {
                parts.add(number, &part);
                continue;
            }
            _ => continue,
        };
        // A broken bridge ends the silo; the reading side of the agent notices it too.
        let _broken = outbox.send(number, Message::RegistryDone(done.err()));
    }
}

fn save(name: &str) -> Result<(), RegistryFailure> {
    allow_saving().map_err(|error| failure("get leave to save the registry", error))?;
    let directory = format!("{PREFIX}\\{name}");
    let made = fs::create_dir(&directory);
    made.map_err(|error| failure("make a directory for the registry", code(&error)))?;
    for (root, file) in TREES {
        let saved = File::create_new(format!("{directory}\\{file}"))
            .map_err(|error| code(&error))
            .and_then(|target| Key::root(root)?.save(&target));
        saved.map_err(|error| failure(&format!("save {file} of the registry"), error))?;
    }
    Ok(())
}

fn perform(operation: &RegistryOperation) -> Result<(), RegistryFailure> {
    let done = match operation {
        RegistryOperation::CreateKey { key } => create(key).map(drop),
        RegistryOperation::DeleteKey { key } => delete(key),
        RegistryOperation::SetValue { name, .. } | RegistryOperation::DeleteValue { name, .. }
            if !is_value_name(name) =>
        {
            Err(Win32Error(message::INVALID_PARAMETER))
        }
        RegistryOperation::SetValue { key, name, kind, data } => {
            create(key).and_then(|key| key.set_exact(name, *kind, data))
        }
        RegistryOperation::DeleteValue { key, name } => {
            open(key).and_then(|key| key.map_or(Ok(()), |key| key.delete_value(name)))
        }
    };
    done.map_err(|error| failure(&describe(operation), error))
}

fn open(key: &RegistryKey) -> Result<Option<Key>, Win32Error> {
    let mut here = checked_root(key)?;
    for name in &key.names {
        let Some(next) = here.child(name)? else { return Ok(None) };
        here = next;
    }
    Ok(Some(here))
}

fn create(key: &RegistryKey) -> Result<Key, Win32Error> {
    key.names.iter().try_fold(checked_root(key)?, |here, name| here.create_child(name))
}

fn delete(key: &RegistryKey) -> Result<(), Win32Error> {
    let Some(found) = open(key)? else { return Ok(()) };
    found.empty()?;
    if key.names.is_empty() { Ok(()) } else { found.delete() }
}

fn checked_root(key: &RegistryKey) -> Result<Key, Win32Error> {
    if !key.names.iter().all(|name| is_key_name(name)) {
        return Err(Win32Error(message::INVALID_PARAMETER));
    }
    Key::root(match key.hive {
        RegistryHive::Machine => Root::Machine,
        RegistryHive::Default => Root::Default,
        RegistryHive::User => Root::User,
    })
}

fn code(error: &io::Error) -> Win32Error {
    Win32Error(error.raw_os_error().map_or(u32::MAX, i32::cast_unsigned))
}

/// What the host is told about an error.
fn failure(attempt: &str, Win32Error(code): Win32Error) -> RegistryFailure {
    let message = message::text(code).map_or_else(|| system::message(code), str::to_owned);
    RegistryFailure { attempt: attempt.to_owned(), code, message }
}
