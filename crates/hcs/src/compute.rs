//! The traits the engine drives compute systems with.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::{
    ComputeError, ConsoleSize, ControlEvent, Limit, Limits, ProcessId, ProcessParameters,
    ProcessSummary, Statistics, SystemDocument, SystemId, bridge::RegistryOperation,
};

/// Makes compute systems. A system lives on when the `ComputeHost` and its process are gone.
#[async_trait]
pub trait ComputeHost: Send + Sync {
    /// Makes and boots a compute system: on return it accepts processes. On error nothing of it is
    /// left behind.
    async fn create(
        &self,
        id: &SystemId,
        document: &SystemDocument,
    ) -> Result<Arc<dyn ComputeSystem>, ComputeError>;

    /// Takes up a system made earlier, perhaps by a daemon that has died since.
    ///
    /// # Errors
    /// [`ComputeError::SystemNotFound`] when nothing is known of it.
    async fn open(&self, id: &SystemId) -> Result<OpenedSystem, ComputeError>;

    /// Removes whatever a system left behind: mounts, cgroups, sockets, journals. Kills what is
    /// still alive. Succeeds when there is nothing.
    async fn clean(&self, id: &SystemId) -> Result<(), ComputeError>;

    /// Kinds of limits that this host can enforce. Blocks for moments at most.
    fn enforces(&self) -> Vec<Limit>;

    /// Tells what this host needs and whether it is there.
    async fn check(&self) -> Vec<Check>;
}

/// A compute system taken up again.
pub struct OpenedSystem {
    /// The system, or `None` when it ended meanwhile.
    pub system: Option<Arc<dyn ComputeSystem>>,
    /// Its processes, each with the output and the exit code not yet taken by anyone.
    pub processes: Vec<Process>,
}

/// What becomes of registry changes when a system ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registry {
    /// They are written to the sandbox.
    Keep,
    /// They are lost; ending is then immediate.
    Discard,
}

/// A running compute system. All calls may be made from several tasks at once.
#[async_trait]
pub trait ComputeSystem: Send + Sync {
    /// Host process id of the system's pid 1.
    fn host_pid(&self) -> u32;

    /// Where the host reaches the root of C: as the system sees it. There is nothing at that path
    /// once the system has ended, and what lies below it is the guest's.
    fn drive(&self) -> PathBuf;

    /// Creates a process. `id` must not be in use in this system.
    async fn create_process(
        &self,
        id: ProcessId,
        parameters: &ProcessParameters,
    ) -> Result<Process, ComputeError>;

    /// Gives bytes to a process's standard input; waits while its buffer is full. Bytes for a
    /// process that has ended or closed its input are dropped.
    async fn write_stdin(&self, process: ProcessId, bytes: Vec<u8>) -> Result<(), ComputeError>;

    /// Ends a process's standard input.
    async fn close_stdin(&self, process: ProcessId) -> Result<(), ComputeError>;

    /// Changes the size of a process's console.
    async fn resize(&self, process: ProcessId, size: ConsoleSize) -> Result<(), ComputeError>;

    /// Delivers a console control event to one process and its console's process group.
    async fn signal(&self, process: ProcessId, event: ControlEvent) -> Result<(), ComputeError>;

    /// Ends one process and its descendants at once, with this exit code.
    async fn kill(&self, process: ProcessId, exit_code: u32) -> Result<(), ComputeError>;

    /// Lists the Windows processes of the system.
    async fn processes(&self) -> Result<Vec<ProcessSummary>, ComputeError>;

    /// Writes HKLM, HKU\.Default and HKCU as they are now, as `system.reg`, `userdef.reg` and
    /// `user.reg`, into a new directory below the sandbox, which the caller removes; one that a
    /// daemon left is removed when the system is opened or cleaned. No process of the system can
    /// reach it, but what the files say is theirs to choose.
    ///
    /// # Errors
    /// [`ComputeError::Registry`] when Windows refuses, [`ComputeError::Host`] when the system
    /// does not answer in time or arranged something else than three files of a sensible size.
    async fn save_registry(&self) -> Result<PathBuf, ComputeError>;

    /// Makes changes in the registry, in order, up to the first that fails.
    ///
    /// # Errors
    /// [`ComputeError::Registry`] names the one that failed; those before it were made.
    async fn change_registry(&self, changes: Vec<RegistryOperation>) -> Result<(), ComputeError>;

    /// Puts other layers below the sandbox, of the same base and topmost first, for a system in
    /// which no process was created yet: those that come see nothing else. The sandbox's `upper`
    /// and `work` must not be those that the system has now.
    ///
    /// # Errors
    /// [`ComputeError::Host`]; the system is then fit for nothing but its end.
    async fn change_layers(&self, layers: Vec<PathBuf>) -> Result<(), ComputeError>;

    /// Stops every program where it is; on return none runs. The registry can still be saved and
    /// changed, processes listed, and the system terminated. A program that is to be created or
    /// signalled waits for [`ComputeSystem::resume`]; one that is killed ends then at the latest.
    /// Idempotent, and outlives the caller.
    async fn pause(&self) -> Result<(), ComputeError>;

    /// Lets programs go on after [`ComputeSystem::pause`]. Idempotent.
    async fn resume(&self) -> Result<(), ComputeError>;

    /// What it uses and has used. What the host does not count is 0.
    async fn statistics(&self) -> Result<Statistics, ComputeError>;

    /// How many of its processes have been killed because it reached its limit of memory.
    async fn killed_for_memory(&self) -> u64;

    /// The DLLs for lack of which its last program that could not begin did not, as its loader told
    /// before that program's exit was told. What it says is the guest's to choose.
    async fn missing_libraries(&self) -> Vec<MissingLibrary>;

    /// Puts `limits` in the place of those it has, which `before` must be. On error they are as
    /// before, as far as the kernel allows.
    async fn change_limits(&self, before: &Limits, limits: &Limits) -> Result<(), ComputeError>;

    /// Ends the whole system and removes it from the host: on return no process, mount, cgroup or
    /// socket of it is left, and with [`Registry::Keep`] the sandbox's registry files are current.
    /// Idempotent.
    async fn terminate(&self, registry: Registry) -> Result<(), ComputeError>;
}

/// A DLL that a program needs and that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingLibrary {
    /// Its file name.
    pub name: String,
    /// The program or DLL that is linked to it, with its path.
    pub needed_by: String,
}

/// A process in a compute system, as the host sees it.
pub struct Process {
    /// Its name within the system.
    pub id: ProcessId,
    /// Its Windows process id; 0 when unknown.
    pub pid: u32,
    /// Its output, then its exit. The channel is bounded: a reader that stops reading stops the
    /// program in the end.
    pub events: mpsc::Receiver<ProcessEvent>,
}

/// Something a process did. After [`ProcessEvent::Exited`] the channel closes; a channel that
/// closes without it means the system died under the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// Bytes on standard output, or on the console.
    Stdout(Vec<u8>),
    /// Bytes on standard error.
    Stderr(Vec<u8>),
    /// The process ended, all its output came before.
    Exited(u32),
}

/// One line of `oriel system check`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Check {
    /// What was looked at, such as `user namespaces`.
    pub name: String,
    /// The verdict.
    pub level: CheckLevel,
    /// What was found.
    pub finding: String,
    /// What to do about it; empty when all is well.
    pub remedy: String,
}

/// Verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckLevel {
    /// All is well.
    Ok,
    /// It works, with something missing.
    Warning,
    /// Containers cannot run.
    Failing,
}
