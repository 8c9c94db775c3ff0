//! The processes a silo has, as far as frames tell.
//!
//! A guest can make its Windows-side agent say anything. The table admits only what answers a
//! request of the host, so nothing a guest invents grows without bound or reaches the host.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use oriel_hcs::{
    ProcessId,
    bridge::{Frame, Hello, MAX_PIPES, Message, VERSION},
};

/// Exits remembered besides that of the first process, for a host that died before it wrote them
/// down. A host asks for a process at a time; it cannot have lost hundreds.
const REMEMBERED_EXITS: usize = 256;

/// Processes asked for, living, and ended lately.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Process id of `cexecsvc.exe`.
    execution_agent: u32,
    asked: BTreeSet<ProcessId>,
    /// Numbers of the requests about the registry that are to be answered.
    registry: BTreeSet<ProcessId>,
    living: BTreeMap<ProcessId, u32>,
    /// Number of pipes that are mounted, and their connections.
    pipes: u32,
    connections: BTreeSet<ProcessId>,
    exits: VecDeque<Exit>,
}

#[derive(Clone, Copy, Debug)]
struct Exit {
    id: ProcessId,
    pid: u32,
    code: u32,
}

impl Table {
    /// The table of a silo whose execution agent has this process id, and with so many pipes.
    pub(super) fn new(execution_agent: u32, pipes: usize) -> Self {
        let pipes = u32::try_from(pipes).unwrap_or(u32::MAX);
        Self { execution_agent, pipes, ..Self::default() }
    }

    /// Forgets the connections of pipes, and tells which there were.
    pub(super) fn drop_connections(&mut self) -> BTreeSet<ProcessId> {
        std::mem::take(&mut self.connections)
    }

    /// Notes a request of the host.
    pub(super) fn note_request(&mut self, frame: &Frame) {
        match frame.message {
            Message::CreateProcess(_) => self.asked.insert(frame.process),
            Message::SaveRegistry(_) | Message::ChangeRegistry => {
                self.registry.insert(frame.process)
            }
            Message::PipeClosed => self.connections.remove(&frame.process),
            _ => false,
        };
    }

    /// Whether a frame of the guest makes sense; notes what it tells.
    pub(super) fn admit(&mut self, frame: &Frame) -> bool {
        let id = frame.process;
        match frame.message {
            Message::Created(pid) => {
                let asked = self.asked.remove(&id);
                if asked {
                    self.living.insert(id, pid);
                }
                asked
            }
            Message::CreateFailed(_) => self.asked.remove(&id),
            Message::Stdout(_) | Message::Stderr(_) | Message::StdinTaken(_) => {
                self.living.contains_key(&id)
            }
            Message::Exited(code) => match self.living.remove(&id) {
                Some(pid) => {
                    self.remember(Exit { id, pid, code });
                    true
                }
                None => false,
            },
            Message::PipeOpened(index) => {
                let room = self.connections.len() < MAX_PIPES;
                index < self.pipes && room && self.connections.insert(id)
            }
            Message::PipeData(_) | Message::PipeTaken | Message::PipeEnd => {
                self.connections.contains(&id)
            }
            Message::PipeClosed => self.connections.remove(&id),
            Message::ProcessList(_) => true,
            Message::RegistryDone(_) => self.registry.remove(&id),
            _ => false,
        }
    }

    fn remember(&mut self, exit: Exit) {
        self.exits.retain(|old| old.id != exit.id);
        self.exits.push_back(exit);
        if self.exits.len() > REMEMBERED_EXITS {
            let oldest = self.exits.iter().position(|exit| exit.id != ProcessId::INIT);
            oldest.and_then(|index| self.exits.remove(index));
        }
    }

    /// Whether the silo has nothing left to run for.
    pub(super) fn is_done(&self) -> bool {
        self.living.is_empty() || self.exits.iter().any(|exit| exit.id == ProcessId::INIT)
    }

    /// Whether a process was ever created.
    pub(super) fn is_used(&self) -> bool {
        !self.living.is_empty() || !self.exits.is_empty()
    }

    /// The opening words to a host: processes of which it may hear more.
    pub(super) fn hello(&self) -> Frame {
        let ended = self.exits.iter().map(|exit| (exit.id, exit.pid));
        let living = self.living.iter().map(|(id, pid)| (*id, *pid));
        let processes = ended.chain(living).collect();
        let execution_agent = self.execution_agent;
        Frame::system(Message::Hello(Hello { version: VERSION, processes, execution_agent }))
    }

    /// What a host that knows nothing must hear: who there is, and who ended.
    pub(super) fn summary(&self) -> Vec<Frame> {
        let exited = |exit: &Exit| Frame { process: exit.id, message: Message::Exited(exit.code) };
        std::iter::once(self.hello()).chain(self.exits.iter().map(exited)).collect()
    }
}

#[cfg(test)]
mod tests {
    use oriel_hcs::{CommandLine, ProcessParameters};

    use super::*;

    fn frame(process: u32, message: Message) -> Frame {
        Frame { process: ProcessId(process), message }
    }

    fn request(process: u32) -> Frame {
        let parameters = ProcessParameters {
            command: CommandLine::Verbatim("x".into()),
            working_directory: String::new(),
            environment: Vec::new(),
            user: String::new(),
            console: None,
            stdin: false,
        };
        frame(process, Message::CreateProcess(parameters))
    }

    #[test]
    fn a_guest_cannot_invent_processes() {
        let mut table = Table::default();
        assert!(!table.admit(&frame(1, Message::Created(32))));
        assert!(!table.admit(&frame(1, Message::Stdout(vec![1]))));
        assert!(!table.admit(&frame(1, Message::Exited(0))));
        assert!(!table.admit(&frame(0, Message::Terminated)));
        assert!(!table.is_used());
    }

    #[test]
    fn a_connection_of_a_pipe_exists_from_opened_to_closed() {
        let mut table = Table::new(9, 1);
        assert!(!table.admit(&frame(5, Message::PipeOpened(1))));
        assert!(!table.admit(&frame(5, Message::PipeEnd)));
        assert!(table.admit(&frame(5, Message::PipeOpened(0))));
        assert!(!table.admit(&frame(5, Message::PipeOpened(0))));
        assert!(table.admit(&frame(5, Message::PipeData(vec![1]))));
        table.note_request(&frame(5, Message::PipeClosed));
        assert!(!table.admit(&frame(5, Message::PipeClosed)));
        for id in 0..1000 {
            table.admit(&frame(id, Message::PipeOpened(0)));
        }
        assert_eq!(table.drop_connections().len(), MAX_PIPES);
        assert!(!table.admit(&frame(5, Message::PipeData(vec![1]))));
    }

    #[test]
    fn a_request_about_the_registry_is_answered_once() {
        let mut table = Table::new(9, 0);
        assert!(!table.admit(&frame(5, Message::RegistryDone(None))));
        table.note_request(&frame(5, Message::ChangeRegistry));
        assert!(table.admit(&frame(5, Message::RegistryDone(None))));
        assert!(!table.admit(&frame(5, Message::RegistryDone(None))));
        assert!(
            matches!(table.hello().message, Message::Hello(hello) if hello.execution_agent == 9)
        );
    }

    #[test]
    fn a_process_is_heard_of_from_its_creation_to_its_exit() {
        let mut table = Table::default();
        table.note_request(&request(1));
        assert!(table.admit(&frame(1, Message::Created(32))));
        assert!(!table.is_done());
        assert!(table.admit(&frame(1, Message::Stdout(vec![1]))));
        assert!(table.admit(&frame(1, Message::Exited(3))));
        assert!(!table.admit(&frame(1, Message::Exited(4))));
        assert!(table.is_done());
        assert_eq!(table.summary()[1], frame(1, Message::Exited(3)));
    }

    #[test]
    fn the_first_process_exit_is_never_forgotten() {
        let mut table = Table::default();
        for id in 1..2_000 {
            table.note_request(&request(id));
            table.admit(&frame(id, Message::Created(id)));
            table.admit(&frame(id, Message::Exited(id)));
        }
        assert_eq!(table.summary()[1], frame(1, Message::Exited(1)));
        assert_eq!(table.summary().len(), 1 + REMEMBERED_EXITS);
    }
}
