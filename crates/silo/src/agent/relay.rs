//! pid 1's life: one loop over a few descriptors.
//!
//! ```text
//!          cexecsvc says Hello            Terminate, SIGTERM, NT side ended, nobody left
//! Booting ────────────────────▶ Running ──────────────────────────────────▶ Ending ──▶ exit
//!    └──── deadline, NT side ended: BootFailed ────────────────────────────────────────┘
//!
//! link to the host:  Detached ──accept──▶ Replaying ──journal sent──▶ Live
//!                        ▲──────────────── connection lost ────────────┘
//! ```
//!
//! The exit of pid 1 ends every process of the silo. A silo outlives its daemon, but not for
//! nothing: without a host, and with its first process ended, it writes the registry and ends
//! after a grace time. The exit code is in the journal by then.

use std::{
    collections::VecDeque,
    io::{self, PipeReader, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    process::{ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use oriel_hcs::{
    SystemDocument,
    bridge::{Frame, Message, VERSION},
};

use super::{
    Outside, boot, complain,
    journal::CAPACITY,
    table::Table,
    wire::{Filled, Inbox, Outbox},
};
use crate::error::{Attempt, SiloError};

/// How long the NT side may take to say hello: a cold disk and a starved machine included.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);

/// How long wineserver may take to write the registry; 2 MB take some 50 ms.
const FLUSH_DEADLINE: Duration = Duration::from_secs(10);

/// How long last words to the host may take.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(1);

/// How long a silo whose work is done waits for a host to come back: a daemon restarts in seconds.
const DONE_GRACE: Duration = Duration::from_secs(10);

/// How long a silo that was never used waits for its host.
const UNUSED_GRACE: Duration = Duration::from_secs(60);

/// Bytes towards the host at which the guest is read no more.
const HOST_QUEUE: usize = 1 << 20;

/// Bytes towards the guest at which the host is read no more. The host counts what it sends to
/// standard inputs, so this is reached only when that goes wrong.
const GUEST_QUEUE: usize = 16 << 20;

/// Length at which the journal of a connected silo is begun anew.
const JOURNAL_LIVE: u64 = 256 << 10;

/// Bytes of the guest's standard error that the log keeps; the rest is read and dropped, lest a
/// guest fill the host's disk.
const LOG_LIMIT: usize = 256 << 10;

/// Reads of the guest's standard error in one go: as much as its pipe holds (pipe(7): 64 KiB), for
/// a guest that goes on writing must not keep its host waiting.
const LOG_READS: usize = 16;

/// Bytes replayed from the journal at a time.
const REPLAY_CHUNK: usize = 256 << 10;

/// State of the connection to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// No host.
    Detached,
    /// The journal up to this offset was queued.
    Replaying(u64),
    /// Frames pass straight through.
    Live,
}

/// What can be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Log,
    GuestIn,
    GuestOut,
    HostIn,
    HostOut,
}

struct Relay {
    outside: Outside,
    server: Pid,
    agent: Pid,
    to_agent: ChildStdin,
    from_agent: Option<ChildStdout>,
    guest_in: Inbox,
    guest_out: Outbox,
    log: PipeReader,
    log_left: usize,
    signals: SignalFd,
    host: Option<UnixStream>,
    host_in: Inbox,
    host_out: Outbox,
    link: Link,
    table: Table,
    booting: Option<Instant>,
    /// Until when the NT side has time to end.
    ending: Option<Instant>,
    alone_since: Instant,
    server_alive: bool,
}

/// Tells the host that there will be no silo, and why.
pub(super) fn refuse(error: &SiloError, mut outside: Outside) -> Result<(), SiloError> {
    complain(&error.chain());
    refuse_with(&error.chain(), &mut outside)
}

fn refuse_with(why: &str, outside: &mut Outside) -> Result<(), SiloError> {
    let frame = Frame::system(Message::BootFailed(why.to_owned()));
    // The journal is for whoever comes too late; the socket for whoever waits.
    let _ = outside.journal.reset(std::slice::from_ref(&frame));
    let mut fds = [PollFd::new(outside.listener.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(DONE_GRACE).unwrap_or(PollTimeout::MAX);
    if poll(&mut fds, timeout).is_ok_and(|count| count == 1) {
        let (mut host, _) = outside.listener.accept().attempt(|| "accept the host".to_owned())?;
        frame.write_to(&mut host).attempt(|| "tell the host".to_owned())?;
    }
    Ok(())
}

/// Serves until the silo ends.
pub(super) fn serve(document: &SystemDocument, mut outside: Outside) -> Result<(), SiloError> {
    match Relay::start(document) {
        Ok(start) => {
            let mut relay = start(outside);
            relay.run()
        }
        Err(error) => {
            complain(&error.chain());
            refuse_with(&error.chain(), &mut outside)
        }
    }
}

impl Relay {
    fn start(document: &SystemDocument) -> Result<impl FnOnce(Outside) -> Self + use<>, SiloError> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.add(Signal::SIGTERM);
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .attempt(|| "watch signals".to_owned())?;
        let (log, log_writer) = io::pipe().attempt(|| "make the log's pipe".to_owned())?;
        let mut nt = boot::start(document, &log_writer)?;
        // Only from here on, for a child inherits the mask.
        mask.thread_block().attempt(|| "hold signals back".to_owned())?;
        let (Some(to_agent), Some(from_agent)) = (nt.agent.stdin.take(), nt.agent.stdout.take())
        else {
            return Err(SiloError::Boot { reason: "cexecsvc has no pipes".to_owned() });
        };
        for descriptor in [to_agent.as_fd(), from_agent.as_fd(), log.as_fd()] {
            rustix::io::ioctl_fionbio(descriptor, true).attempt(|| "unblock pipes".to_owned())?;
        }
        let now = Instant::now();
        let pipes = document.pipes().count();
        Ok(move |outside| Self {
            outside,
            server: child_pid(&nt.server),
            agent: child_pid(&nt.agent),
            to_agent,
            from_agent: Some(from_agent),
            guest_in: Inbox::default(),
            guest_out: Outbox::default(),
            log,
            log_left: LOG_LIMIT,
            signals,
            host: None,
            host_in: Inbox::default(),
            host_out: Outbox::default(),
            link: Link::Detached,
            table: Table::new(nt.agent.id(), pipes),
            booting: Some(now + BOOT_DEADLINE),
            ending: None,
            alone_since: now,
            server_alive: true,
        })
    }

    fn run(&mut self) -> Result<(), SiloError> {
        // A child that ended before SIGCHLD was held back left no signal behind.
        self.reap();
        loop {
            if let Some(deadline) = self.booting
                && (self.from_agent.is_none() || Instant::now() >= deadline)
            {
                let why = "cexecsvc.exe did not say hello";
                complain(why);
                return self.fail_boot(why);
            }
            if self.is_over() {
                return self.say_farewell();
            }
            self.end_when_alone();
            let ready = self.wait().attempt(|| "wait for something to do".to_owned())?;
            for source in ready {
                self.step(source);
            }
        }
    }

    /// Whether the NT side has ended, or had its time to.
    fn is_over(&self) -> bool {
        !self.server_alive || self.ending.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Waits until a descriptor is ready or a deadline is near, and tells which are ready.
    fn wait(&self) -> io::Result<Vec<Source>> {
        let wanted = self.wanted();
        let mut fds: Vec<PollFd<'_>> =
            wanted.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let timeout = self.next_deadline().map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the deadline has passed when the wait is over.
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|flags| !flags.is_empty());
        let pairs = wanted.iter().zip(&fds);
        Ok(pairs.filter(|(_, fd)| ready(fd)).map(|((source, ..), _)| *source).collect())
    }

    /// What to watch. Not reading someone is how back-pressure works.
    fn wanted(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut wanted = vec![
            (Source::Signals, self.signals.as_fd(), PollFlags::POLLIN),
            (Source::Listener, self.outside.listener.as_fd(), PollFlags::POLLIN),
            (Source::Log, self.log.as_fd(), PollFlags::POLLIN),
        ];
        let room = match self.link {
            Link::Live => self.host_out.len() < HOST_QUEUE,
            Link::Detached | Link::Replaying(_) => self.outside.journal.len() < CAPACITY,
        };
        if let Some(guest) = self.from_agent.as_ref().filter(|_| room) {
            wanted.push((Source::GuestIn, guest.as_fd(), PollFlags::POLLIN));
        }
        if self.guest_out.len() > 0 {
            wanted.push((Source::GuestOut, self.to_agent.as_fd(), PollFlags::POLLOUT));
        }
        if let Some(host) = &self.host {
            if self.guest_out.len() < GUEST_QUEUE {
                wanted.push((Source::HostIn, host.as_fd(), PollFlags::POLLIN));
            }
            if self.host_out.len() > 0 {
                wanted.push((Source::HostOut, host.as_fd(), PollFlags::POLLOUT));
            }
        }
        wanted
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.booting, self.ending, self.alone_deadline()].into_iter().flatten().min()
    }

    /// When a silo that no host looks after ends; `None` while it has a host or work.
    fn alone_deadline(&self) -> Option<Instant> {
        let waiting = self.host.is_none() && self.booting.is_none() && self.ending.is_none();
        let grace = if self.table.is_used() { DONE_GRACE } else { UNUSED_GRACE };
        (waiting && self.table.is_done()).then_some(self.alone_since + grace)
    }

    fn end_when_alone(&mut self) {
        if self.alone_deadline().is_some_and(|deadline| Instant::now() >= deadline) {
            complain("nobody is left to run for");
            self.end(true);
        }
    }

    fn step(&mut self, source: Source) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Listener => self.accept(),
            Source::Log => self.take_log(),
            Source::GuestIn => self.read_guest(),
            Source::GuestOut => self.write_guest(),
            Source::HostIn => self.read_host(),
            Source::HostOut => self.write_host(),
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if u32::try_from(Signal::SIGTERM as i32) == Ok(signal.ssi_signo) {
                self.end(true);
            }
        }
        self.reap();
    }

    /// Collects the dead: its own children, and orphans, which become children of pid 1.
    fn reap(&mut self) {
        loop {
            let pid = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(_) => continue,
            };
            if pid == self.server {
                self.server_alive = false;
                if self.ending.is_none() {
                    complain("wineserver ended");
                }
            } else if pid == self.agent && self.ending.is_none() {
                complain("cexecsvc.exe ended");
                self.read_guest();
                self.end(true);
            }
        }
    }

    /// Starts ending the silo. wineserver answers SIGTERM by writing the registry and ending, and
    /// its clients end with it.
    fn end(&mut self, keep_registry: bool) {
        if self.ending.is_some() && keep_registry {
            return;
        }
        let now = Instant::now();
        let ordered = keep_registry && kill(self.server, Signal::SIGTERM).is_ok();
        self.ending = Some(if ordered { now + FLUSH_DEADLINE } else { now });
    }

    fn take_log(&mut self) {
        let mut bytes = [0; 4096];
        for _ in 0..LOG_READS {
            let Ok(count @ 1..) = self.log.read(&mut bytes) else { return };
            let kept = count.min(self.log_left);
            self.log_left -= kept;
            let _ = io::stderr().write_all(&bytes[..kept]);
        }
    }

    /// A new host replaces the old, which is gone or about to be.
    fn accept(&mut self) {
        let Ok((host, _)) = self.outside.listener.accept() else { return };
        if host.set_nonblocking(true).is_err() {
            return;
        }
        self.detach();
        self.host = Some(host);
        if self.booting.is_none() {
            self.begin_replay();
        }
    }

    fn begin_replay(&mut self) {
        self.host_out.push(self.table.hello().encode());
        self.link = Link::Replaying(0);
        self.replay();
    }

    /// Queues the next part of the journal; at its end the link is live.
    fn replay(&mut self) {
        while let Link::Replaying(offset) = self.link
            && self.host_out.len() < HOST_QUEUE
        {
            match self.outside.journal.read(offset, REPLAY_CHUNK) {
                Ok(bytes) if !bytes.is_empty() => {
                    self.link = Link::Replaying(offset + bytes.len() as u64);
                    self.host_out.push(bytes);
                }
                Ok(_) if self.host_out.len() > 0 => return,
                // All of it is with the host.
                Ok(_) => {
                    self.link = Link::Live;
                    self.summarize();
                }
                Err(error) => {
                    complain(&format!("cannot read the journal: {error}"));
                    self.link = Link::Live;
                }
            }
        }
    }

    /// The host is gone: what it did not get goes to the journal.
    fn detach(&mut self) {
        if self.host.take().is_none() {
            return;
        }
        self.host_in = Inbox::default();
        let unsent = self.host_out.take_unsent();
        if self.link == Link::Live {
            self.keep_unsent(&unsent);
        }
        self.link = Link::Detached;
        self.alone_since = Instant::now();
        self.close_connections();
    }

    /// Tells the guest that the connections of its pipes are over.
    fn close_connections(&mut self) {
        for process in self.table.drop_connections() {
            self.guest_out.push(Frame { process, message: Message::PipeClosed }.encode());
        }
        self.write_guest();
    }

    /// Begins the journal anew, with exits that are still to be sent after the output before them.
    fn keep_unsent(&mut self, unsent: &VecDeque<Vec<u8>>) {
        let mut frames = self.table.summary();
        frames.retain(|frame| !unsent.contains(&frame.encode()));
        let journal = &mut self.outside.journal;
        let kept = journal
            .reset(&frames)
            .and_then(|()| unsent.iter().try_for_each(|frame| journal.append(frame)));
        if let Err(error) = kept {
            complain(&format!("cannot write the journal: {error}"));
        }
    }

    fn summarize(&mut self) {
        let frames = self.table.summary();
        if let Err(error) = self.outside.journal.reset(&frames) {
            complain(&format!("cannot write the journal: {error}"));
        }
    }

    fn read_guest(&mut self) {
        // What a program has said last is in the log when its exit is told.
        self.take_log();
        let Some(source) = &mut self.from_agent else { return };
        let filled = self.guest_in.fill(source);
        let taken = self.take_guest_frames();
        match filled.and_then(|filled| taken.map(|()| filled)) {
            Ok(Filled::Open) => {}
            Ok(Filled::Ended) => self.lose_guest("cexecsvc.exe closed the bridge"),
            Err(error) => self.lose_guest(&format!("the bridge to cexecsvc.exe broke: {error}")),
        }
    }

    fn lose_guest(&mut self, why: &str) {
        self.from_agent = None;
        if self.booting.is_none() && self.ending.is_none() {
            complain(why);
            self.end(true);
        }
    }

    fn take_guest_frames(&mut self) -> io::Result<()> {
        while let Some((frame, bytes)) = self.guest_in.next()? {
            if let (Some(_), Message::Hello(hello)) = (self.booting, &frame.message) {
                if hello.version != VERSION {
                    return Err(io::Error::other(format!("bridge version {}", hello.version)));
                }
                self.booted();
            } else if self.table.admit(&frame) {
                self.deliver(&frame, bytes);
            }
        }
        Ok(())
    }

    fn booted(&mut self) {
        self.booting = None;
        self.alone_since = Instant::now();
        self.summarize();
        if self.host.is_some() {
            self.begin_replay();
        }
    }

    /// Passes a frame of the guest on, to the host or the journal. What pipes carry is for a host
    /// that is there.
    fn deliver(&mut self, frame: &Frame, bytes: Vec<u8>) {
        if is_of_pipe(&frame.message) && self.link != Link::Live {
            return self.close_connections();
        }
        let milestone = matches!(frame.message, Message::Created(_) | Message::Exited(_));
        let live = self.link == Link::Live;
        if (!live || milestone)
            && let Err(error) = self.outside.journal.append(&bytes)
        {
            complain(&format!("cannot write the journal: {error}"));
        }
        if live {
            self.host_out.push(bytes);
            if self.outside.journal.len() > JOURNAL_LIVE {
                self.summarize();
            }
            self.write_host();
        } else if matches!(self.link, Link::Replaying(_)) {
            self.replay();
        }
        if matches!(frame.message, Message::Exited(_)) && self.host.is_none() {
            self.alone_since = Instant::now();
        }
    }

    fn write_guest(&mut self) {
        // A broken pipe is seen where the guest is read, too.
        if self.guest_out.drain(&mut self.to_agent).is_err() {
            self.guest_out.take_unsent();
        }
    }

    fn read_host(&mut self) {
        let Some(host) = &mut self.host else { return };
        let filled = self.host_in.fill(host);
        let taken = self.take_host_frames();
        match filled.and_then(|filled| taken.map(|()| filled)) {
            Ok(Filled::Open) => {}
            Ok(Filled::Ended) => self.detach(),
            Err(error) => {
                complain(&format!("the bridge to the host broke: {error}"));
                self.detach();
            }
        }
    }

    fn take_host_frames(&mut self) -> io::Result<()> {
        while let Some((frame, bytes)) = self.host_in.next()? {
            if let Message::Terminate(keep) = frame.message {
                self.end(keep);
            } else {
                self.table.note_request(&frame);
                self.guest_out.push(bytes);
            }
        }
        self.write_guest();
        Ok(())
    }

    fn write_host(&mut self) {
        let Some(host) = &mut self.host else { return };
        if self.host_out.drain(host).is_err() {
            self.detach();
        } else {
            self.replay();
        }
    }

    fn fail_boot(&mut self, why: &str) -> Result<(), SiloError> {
        let Some(mut host) = self.host.take() else { return refuse_with(why, &mut self.outside) };
        let frame = Frame::system(Message::BootFailed(why.to_owned()));
        host.set_nonblocking(false)
            .and_then(|()| host.set_write_timeout(Some(FAREWELL_DEADLINE)))
            .and_then(|()| frame.write_to(&mut host))
            .attempt(|| "tell the host".to_owned())
    }

    /// Last words: what is still queued, and that the end has come.
    fn say_farewell(&mut self) -> Result<(), SiloError> {
        self.read_guest();
        let last = Frame::system(Message::Terminated).encode();
        let _ = self.outside.journal.append(&last);
        self.host_out.push(last);
        let Some(mut host) = self.host.take() else { return Ok(()) };
        let sent = host
            .set_nonblocking(false)
            .and_then(|()| host.set_write_timeout(Some(FAREWELL_DEADLINE)))
            .and_then(|()| self.host_out.drain(&mut host));
        // A host that does not listen any more misses nothing it cannot find in the journal.
        let _ = sent;
        Ok(())
    }
}

fn is_of_pipe(message: &Message) -> bool {
    matches!(
        message,
        Message::PipeOpened(_)
            | Message::PipeData(_)
            | Message::PipeTaken
            | Message::PipeEnd
            | Message::PipeClosed
    )
}

fn child_pid(child: &std::process::Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}
