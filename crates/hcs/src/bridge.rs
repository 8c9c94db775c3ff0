//! The bridge: how a host speaks with the agents inside a compute system.
//!
//! The same frames travel on both hops: from the daemon to `oriel-agent` on a Unix socket, and from
//! `oriel-agent` to `cexecsvc.exe` on a pair of pipes. Most pass through unchanged; those marked
//! *agent* are answered by `oriel-agent` itself.
//!
//! ```text
//! 0        4      5            9
//! ┌────────┬──────┬────────────┬─────────────┐
//! │ length │ kind │ process id │ payload     │   all integers little-endian
//! └────────┴──────┴────────────┴─────────────┘
//! length = bytes after the length field = 5 + payload, at most 5 + MAX_PAYLOAD
//! ```
//!
//! Payloads are raw bytes for streams, little-endian integers for exit codes, JSON otherwise.
//! A request about a process carries its id; its answer carries the same id. Per process the order
//! is `CreateProcess` → (`Created` | `CreateFailed`) → output … → `Exited`; `Exited` is the last
//! frame of a process, after all its output.
//!
//! A connection of a named pipe carries a number of the guest's choosing in the place of the
//! process id: `PipeOpened`, then `PipeData` both ways, each answered by `PipeTaken` when the other
//! side has passed it on, and `PipeClosed` from whichever side is done. A side has at most
//! [`PIPE_WINDOW`] pieces under way. Connections end with the connection of the host.
//!
//! A request about the registry carries a number of the host's choosing in the place of the process
//! id, and so does its answer, [`Message::RegistryDone`].

mod registry;

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

pub use self::registry::{
    MAX_CHANGES, RegistryFailure, RegistryHive, RegistryKey, RegistryOperation,
};
use crate::{ConsoleSize, ControlEvent, ProcessId, ProcessParameters, ProcessSummary};

/// Version of this protocol; both ends must have the same.
pub const VERSION: u32 = 2;

/// Longest payload. A peer that announces more is broken or hostile; 1 MiB is far above the 64 KiB
/// that stream frames carry, and bounds a process list of some ten thousand entries.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// Largest piece of a stream that a sender puts in one frame.
pub const STREAM_CHUNK: usize = 64 << 10;

/// Pieces of at most [`STREAM_CHUNK`] bytes that each side of a pipe's connection has under way.
pub const PIPE_WINDOW: usize = 16;

/// Connections of named pipes that a system may have at once: each costs the guest two threads.
pub const MAX_PIPES: usize = 128;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The process it is about; 0 when it is about the system.
    pub process: ProcessId,
    /// What it says.
    pub message: Message,
}

/// What a frame says. The first group travels inwards, the second outwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Creates a process.
    CreateProcess(ProcessParameters),
    /// Bytes for standard input. Answered by `StdinTaken` when written, so that a host can bound
    /// what is under way.
    Stdin(Vec<u8>),
    /// End of standard input.
    CloseStdin,
    /// Changes the console's size.
    Resize(ConsoleSize),
    /// Delivers a console control event.
    Signal(ControlEvent),
    /// Ends the process and its descendants with this exit code.
    Kill(u32),
    /// Asks for a [`Message::ProcessList`].
    ListProcesses,
    /// *agent*: ends the system. `true` lets wineserver write the registry first. Answered by
    /// `Terminated`, after which the agent exits.
    Terminate(bool),
    /// Writes the registry's three trees into a new directory of this name in the prefix, as
    /// `system.reg`, `userdef.reg` and `user.reg`.
    SaveRegistry(String),
    /// A part of a list of [`RegistryOperation`]s, at most [`STREAM_CHUNK`] bytes.
    RegistryPart(Vec<u8>),
    /// The list that came in parts is whole: makes these changes in order, up to the first that
    /// fails.
    ChangeRegistry,

    /// *Both ways*: bytes of a pipe's connection.
    PipeData(Vec<u8>),
    /// *Both ways*: a piece was passed on.
    PipeTaken,
    /// *Both ways*: no more bytes will come from this side.
    PipeEnd,
    /// *Both ways*: the connection is over.
    PipeClosed,

    /// A client has connected to the pipe that is this one of the document's, counted from 0.
    PipeOpened(u32),
    /// First frame of `cexecsvc.exe`, and of `oriel-agent` to each new host connection: the
    /// protocol version, and (*agent*) the processes that exist.
    Hello(Hello),
    /// The process exists; the payload is its Windows process id.
    Created(u32),
    /// The process could not be created.
    CreateFailed(CreateFailure),
    /// Bytes of standard output.
    Stdout(Vec<u8>),
    /// Bytes of standard error.
    Stderr(Vec<u8>),
    /// This many bytes of standard input were written to the program, or dropped if it is gone.
    StdinTaken(u32),
    /// The process ended with this exit code.
    Exited(u32),
    /// Answer to `ListProcesses`.
    ProcessList(Vec<ProcessSummary>),
    /// Answer to `SaveRegistry` and `ChangeRegistry`: done, or why not.
    RegistryDone(Option<RegistryFailure>),
    /// *agent*: the NT side has ended; the registry is written if that was asked for.
    Terminated,
    /// *agent*: the system could not boot; the payload says why. The agent exits after it.
    BootFailed(String),
}

/// Opening words of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// Processes created and not yet reported as exited, with their Windows process ids.
    pub processes: Vec<(ProcessId, u32)>,
    /// *agent*: process id of `cexecsvc.exe` on Linux, in the silo's own numbering. 0 from
    /// `cexecsvc.exe` itself, which does not know it.
    pub execution_agent: u32,
}

/// Why a process could not be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateFailure {
    /// Win32 error.
    pub code: u32,
    /// Windows' text for it, with its full stop, such as `The system cannot find the file
    /// specified.`
    pub message: String,
}

/// Kind bytes on the wire.
mod kind {
    pub(super) const CREATE_PROCESS: u8 = 0x01;
    pub(super) const STDIN: u8 = 0x02;
    pub(super) const CLOSE_STDIN: u8 = 0x03;
    pub(super) const RESIZE: u8 = 0x04;
    pub(super) const SIGNAL: u8 = 0x05;
    pub(super) const KILL: u8 = 0x06;
    pub(super) const LIST_PROCESSES: u8 = 0x07;
    pub(super) const TERMINATE: u8 = 0x08;
    pub(super) const SAVE_REGISTRY: u8 = 0x09;
    pub(super) const REGISTRY_PART: u8 = 0x0a;
    pub(super) const CHANGE_REGISTRY: u8 = 0x0b;
    pub(super) const PIPE_DATA: u8 = 0x40;
    pub(super) const PIPE_TAKEN: u8 = 0x41;
    pub(super) const PIPE_END: u8 = 0x42;
    pub(super) const PIPE_CLOSED: u8 = 0x43;
    pub(super) const PIPE_OPENED: u8 = 0xc0;
    pub(super) const HELLO: u8 = 0x81;
    pub(super) const CREATED: u8 = 0x82;
    pub(super) const CREATE_FAILED: u8 = 0x83;
    pub(super) const STDOUT: u8 = 0x84;
    pub(super) const STDERR: u8 = 0x85;
    pub(super) const STDIN_TAKEN: u8 = 0x86;
    pub(super) const EXITED: u8 = 0x87;
    pub(super) const PROCESS_LIST: u8 = 0x88;
    pub(super) const TERMINATED: u8 = 0x89;
    pub(super) const BOOT_FAILED: u8 = 0x8a;
    pub(super) const REGISTRY_DONE: u8 = 0x8b;
}

/// Bytes of the length field.
pub const LENGTH_SIZE: usize = 4;

/// Bytes between the length field and the payload.
const HEAD: usize = 5;

impl Frame {
    /// A frame about the system.
    #[must_use]
    pub fn system(message: Message) -> Self {
        Self { process: ProcessId(0), message }
    }

    /// The frame's bytes, length field included.
    ///
    /// # Panics
    /// When a payload is longer than [`MAX_PAYLOAD`]; senders cut streams into [`STREAM_CHUNK`]s.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, payload) = self.message.encode();
        assert!(payload.len() <= MAX_PAYLOAD, "bridge payload too long");
        let length = u32::try_from(HEAD + payload.len()).expect("bounded by MAX_PAYLOAD");
        let mut bytes = Vec::with_capacity(LENGTH_SIZE + HEAD + payload.len());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(&self.process.0.to_le_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// Reads the length field of a frame: the number of bytes that follow it.
    ///
    /// # Errors
    /// `InvalidData` when the length is outside what a frame can have.
    pub fn body_length(field: [u8; LENGTH_SIZE]) -> io::Result<usize> {
        match usize::try_from(u32::from_le_bytes(field)) {
            Ok(length) if (HEAD..=HEAD + MAX_PAYLOAD).contains(&length) => Ok(length),
            _ => Err(invalid("frame length out of range")),
        }
    }

    /// Reads what follows the length field.
    ///
    /// # Errors
    /// `InvalidData` when the bytes are not a frame of this protocol.
    pub fn decode(body: &[u8]) -> io::Result<Self> {
        let (Some(&kind), Some(process), Some(payload)) =
            (body.first(), body.get(1..HEAD), body.get(HEAD..))
        else {
            return Err(invalid("frame shorter than its head"));
        };
        let process = ProcessId(little_endian(process)?);
        Ok(Self { process, message: Message::decode(kind, payload)? })
    }

    /// Writes the frame and flushes.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn write_to(&self, output: &mut impl Write) -> io::Result<()> {
        output.write_all(&self.encode())?;
        output.flush()
    }

    /// Reads one frame; `None` at a clean end of input.
    ///
    /// # Errors
    /// Those of `input`; `UnexpectedEof` inside a frame; `InvalidData` for what is not a frame.
    pub fn read_from(input: &mut impl Read) -> io::Result<Option<Self>> {
        let mut field = [0; LENGTH_SIZE];
        if input.read(&mut field[..1])? == 0 {
            return Ok(None);
        }
        input.read_exact(&mut field[1..])?;
        let mut body = vec![0; Self::body_length(field)?];
        input.read_exact(&mut body)?;
        Self::decode(&body).map(Some)
    }
}

impl Message {
    fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            Self::CreateProcess(parameters) => (kind::CREATE_PROCESS, json(parameters)),
            Self::Stdin(bytes) => (kind::STDIN, bytes.clone()),
            Self::CloseStdin => (kind::CLOSE_STDIN, Vec::new()),
            Self::Resize(size) => (kind::RESIZE, json(size)),
            Self::Signal(event) => (kind::SIGNAL, json(event)),
            Self::Kill(code) => (kind::KILL, code.to_le_bytes().to_vec()),
            Self::ListProcesses => (kind::LIST_PROCESSES, Vec::new()),
            Self::Terminate(keep) => (kind::TERMINATE, vec![u8::from(*keep)]),
            Self::SaveRegistry(name) => (kind::SAVE_REGISTRY, name.clone().into_bytes()),
            Self::RegistryPart(bytes) => (kind::REGISTRY_PART, bytes.clone()),
            Self::ChangeRegistry => (kind::CHANGE_REGISTRY, Vec::new()),
            Self::PipeData(bytes) => (kind::PIPE_DATA, bytes.clone()),
            Self::PipeTaken => (kind::PIPE_TAKEN, Vec::new()),
            Self::PipeEnd => (kind::PIPE_END, Vec::new()),
            Self::PipeClosed => (kind::PIPE_CLOSED, Vec::new()),
            Self::PipeOpened(index) => (kind::PIPE_OPENED, index.to_le_bytes().to_vec()),
            Self::Hello(hello) => (kind::HELLO, json(hello)),
            Self::Created(pid) => (kind::CREATED, pid.to_le_bytes().to_vec()),
            Self::CreateFailed(failure) => (kind::CREATE_FAILED, json(failure)),
            Self::Stdout(bytes) => (kind::STDOUT, bytes.clone()),
            Self::Stderr(bytes) => (kind::STDERR, bytes.clone()),
            Self::StdinTaken(count) => (kind::STDIN_TAKEN, count.to_le_bytes().to_vec()),
            Self::Exited(code) => (kind::EXITED, code.to_le_bytes().to_vec()),
            Self::ProcessList(list) => (kind::PROCESS_LIST, json(list)),
            Self::Terminated => (kind::TERMINATED, Vec::new()),
            Self::RegistryDone(failure) => (kind::REGISTRY_DONE, json(failure)),
            Self::BootFailed(why) => (kind::BOOT_FAILED, why.clone().into_bytes()),
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> io::Result<Self> {
        Ok(match kind {
            kind::CREATE_PROCESS => Self::CreateProcess(from_json(payload)?),
            kind::STDIN => Self::Stdin(payload.to_vec()),
            kind::CLOSE_STDIN => Self::CloseStdin,
            kind::RESIZE => Self::Resize(from_json(payload)?),
            kind::SIGNAL => Self::Signal(from_json(payload)?),
            kind::KILL => Self::Kill(little_endian(payload)?),
            kind::LIST_PROCESSES => Self::ListProcesses,
            kind::TERMINATE => Self::Terminate(payload == [1]),
            kind::SAVE_REGISTRY => Self::SaveRegistry(text(payload)),
            kind::REGISTRY_PART => Self::RegistryPart(payload.to_vec()),
            kind::CHANGE_REGISTRY => Self::ChangeRegistry,
            kind::PIPE_DATA => Self::PipeData(payload.to_vec()),
            kind::PIPE_TAKEN => Self::PipeTaken,
            kind::PIPE_END => Self::PipeEnd,
            kind::PIPE_CLOSED => Self::PipeClosed,
            kind::PIPE_OPENED => Self::PipeOpened(little_endian(payload)?),
            kind::HELLO => Self::Hello(from_json(payload)?),
            kind::CREATED => Self::Created(little_endian(payload)?),
            kind::CREATE_FAILED => Self::CreateFailed(from_json(payload)?),
            kind::STDOUT => Self::Stdout(payload.to_vec()),
            kind::STDERR => Self::Stderr(payload.to_vec()),
            kind::STDIN_TAKEN => Self::StdinTaken(little_endian(payload)?),
            kind::EXITED => Self::Exited(little_endian(payload)?),
            kind::PROCESS_LIST => Self::ProcessList(from_json(payload)?),
            kind::TERMINATED => Self::Terminated,
            kind::BOOT_FAILED => Self::BootFailed(text(payload)),
            kind::REGISTRY_DONE => Self::RegistryDone(from_json(payload)?),
            _ => return Err(invalid("unknown frame kind")),
        })
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("bridge messages have string keys only")
}

fn from_json<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> io::Result<T> {
    serde_json::from_slice(payload)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

fn little_endian(payload: &[u8]) -> io::Result<u32> {
    let bytes = payload.try_into().map_err(|_| invalid("integer payload is not four bytes"))?;
    Ok(u32::from_le_bytes(bytes))
}

fn invalid(detail: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommandLine;

    fn frames() -> Vec<Frame> {
        let parameters = ProcessParameters {
            command: CommandLine::Arguments(vec!["cmd".into(), "/c".into(), "echo hi".into()]),
            working_directory: "C:\\".into(),
            environment: vec![("A".into(), "ü".into())],
            user: "ContainerUser".into(),
            console: Some(ConsoleSize { height: 25, width: 80 }),
            stdin: true,
        };
        let failure = CreateFailure { code: 2, message: "The system …".into() };
        let refused =
            RegistryFailure { attempt: "save".into(), code: 112, message: "Full.".into() };
        let summary =
            ProcessSummary { name: "cmd.exe".into(), pid: 32, cpu_100ns: 7, private_bytes: 8 };
        vec![
            Message::CreateProcess(parameters),
            Message::Stdin(vec![0, 255]),
            Message::CloseStdin,
            Message::Resize(ConsoleSize { height: 1, width: 2 }),
            Message::Signal(ControlEvent::Shutdown),
            Message::Kill(0x4001_0004),
            Message::ListProcesses,
            Message::Terminate(true),
            Message::SaveRegistry("saved-1".into()),
            Message::RegistryPart(vec![b'[', b']']),
            Message::ChangeRegistry,
            Message::PipeOpened(1),
            Message::PipeData(vec![7; 3]),
            Message::PipeTaken,
            Message::PipeEnd,
            Message::PipeClosed,
            Message::Hello(Hello {
                version: VERSION,
                processes: vec![(ProcessId::INIT, 32)],
                execution_agent: 9,
            }),
            Message::Created(32),
            Message::CreateFailed(failure),
            Message::Stdout(b"hi\r\n".to_vec()),
            Message::Stderr(Vec::new()),
            Message::StdinTaken(2),
            Message::Exited(0xc000_013a),
            Message::ProcessList(vec![summary]),
            Message::RegistryDone(None),
            Message::RegistryDone(Some(refused)),
            Message::Terminated,
            Message::BootFailed("no wine64".into()),
        ]
        .into_iter()
        .map(|message| Frame { process: ProcessId(7), message })
        .collect()
    }

    #[test]
    fn every_message_survives_the_wire() {
        let mut wire = Vec::new();
        for frame in frames() {
            frame.write_to(&mut wire).unwrap();
        }
        let mut input = wire.as_slice();
        for frame in frames() {
            assert_eq!(Frame::read_from(&mut input).unwrap(), Some(frame));
        }
        assert_eq!(Frame::read_from(&mut input).unwrap(), None);
    }

    #[test]
    fn a_frame_cut_anywhere_is_an_error() {
        for frame in frames() {
            let wire = frame.encode();
            for cut in 1..wire.len() {
                assert!(Frame::read_from(&mut &wire[..cut]).is_err(), "cut at {cut}: {frame:?}");
            }
        }
    }

    #[test]
    fn a_length_out_of_range_is_refused_before_any_allocation() {
        for length in [0, 4, u32::MAX, 6 + (1 << 20)] {
            assert!(Frame::body_length(length.to_le_bytes()).is_err(), "{length}");
        }
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        assert!(Frame::decode(&[0x7f, 0, 0, 0, 0]).is_err());
    }
}
