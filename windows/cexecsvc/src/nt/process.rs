//! Creating processes and waiting for them.

use std::os::windows::io::{AsRawHandle, BorrowedHandle, OwnedHandle};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::System::Threading::{
    CREATE_UNICODE_ENVIRONMENT, CreateProcessW, DeleteProcThreadAttributeList,
    EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, INFINITE, InitializeProcThreadAttributeList,
    PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROC_THREAD_ATTRIBUTE_JOB_LIST,
    PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE, PROCESS_INFORMATION, STARTF_USESTDHANDLES, STARTUPINFOEXW,
    STARTUPINFOW, UpdateProcThreadAttribute, WaitForSingleObject,
};

use super::condrv::Reference;
use super::job::Job;
use super::{Win32Error, check, own, wide};

#[link(name = "kernelbase", kind = "raw-dylib")]
unsafe extern "system" {
    fn CreateProcessAsUserW(
        token: HANDLE,
        application: *const u16,
        command_line: *mut u16,
        process_attributes: *const SECURITY_ATTRIBUTES,
        thread_attributes: *const SECURITY_ATTRIBUTES,
        inherit: i32,
        flags: u32,
        environment: *const core::ffi::c_void,
        directory: *const u16,
        startup: *const STARTUPINFOW,
        information: *mut PROCESS_INFORMATION,
    ) -> i32;
}

/// What a process is made from.
pub(crate) struct Image<'a> {
    /// Full path of the executable.
    pub(crate) application: &'a str,
    /// The command line, program included.
    pub(crate) command_line: &'a str,
    /// Directory to start in; it exists.
    pub(crate) directory: &'a str,
    /// A Unicode environment block.
    pub(crate) environment: &'a [u16],
    /// Whose process it is; `None` is the agent's own token.
    pub(crate) token: Option<&'a OwnedHandle>,
    /// The job it is born into.
    pub(crate) job: &'a Job,
}

/// Where a process's standard handles lead.
pub(crate) struct Attachment<'a> {
    /// Input, output, error; all inheritable. Nothing else is inherited.
    pub(crate) standard: [BorrowedHandle<'a>; 3],
    /// The console the process is on.
    pub(crate) console: Option<&'a Reference>,
}

/// A process that was created.
pub(crate) struct Process {
    handle: OwnedHandle,
    /// Its Windows process id.
    pub(crate) pid: u32,
}

impl Process {
    /// Creates a process; it runs at once.
    pub(crate) fn create(image: &Image, attachment: &Attachment) -> Result<Self, Win32Error> {
        let handles = attachment.standard.map(|handle| handle.as_raw_handle());
        let jobs = [image.job.handle().as_raw_handle()];
        let mut attributes = Attributes::new()?;
        attributes.set(PROC_THREAD_ATTRIBUTE_JOB_LIST, jobs.as_ptr().cast(), size_of_val(&jobs))?;
        attributes.set(
            PROC_THREAD_ATTRIBUTE_HANDLE_LIST,
            handles.as_ptr().cast(),
            size_of_val(&handles),
        )?;
        if let Some(console) = attachment.console {
            attributes.set(
                PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE,
                console.attribute(),
                size_of::<usize>(),
            )?;
        }
        let mut startup = STARTUPINFOEXW::default();
        startup.StartupInfo.cb = super::size_of::<STARTUPINFOEXW>();
        startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
        [
            startup.StartupInfo.hStdInput,
            startup.StartupInfo.hStdOutput,
            startup.StartupInfo.hStdError,
        ] = handles;
        startup.lpAttributeList = attributes.list();
        spawn(image, &startup)
    }

    /// Waits for the process to end and returns its exit code.
    pub(crate) fn wait(&self) -> Result<u32, Win32Error> {
        // SAFETY: the handle is open.
        unsafe { WaitForSingleObject(self.handle.as_raw_handle(), INFINITE) };
        let mut code = 0;
        // SAFETY: the handle is open and the out pointer valid.
        check(unsafe { GetExitCodeProcess(self.handle.as_raw_handle(), &raw mut code) })?;
        Ok(code)
    }
}

fn spawn(image: &Image, startup: &STARTUPINFOEXW) -> Result<Process, Win32Error> {
    let application = wide(image.application);
    let mut command_line = wide(image.command_line);
    let directory = wide(image.directory);
    let mut information = PROCESS_INFORMATION::default();
    let flags = CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT;
    let startup = (&raw const *startup).cast::<STARTUPINFOW>();
    let (none, inherit) = (std::ptr::null(), 1);
    let environment = image.environment.as_ptr().cast();
    let (program, line) = (application.as_ptr(), command_line.as_mut_ptr());
    let (place, out) = (directory.as_ptr(), &raw mut information);
    let created = match image.token {
        // SAFETY: strings end with a NUL, the block with two; the command line is writable; the
        // startup structure is extended as the flag says, its attributes outlive the call.
        None => unsafe {
            CreateProcessW(
                program,
                line,
                none,
                none,
                inherit,
                flags,
                environment,
                place,
                startup,
                out,
            )
        },
        Some(token) => {
            let token = token.as_raw_handle();
            // SAFETY: as above, and the token is open.
            unsafe {
                CreateProcessAsUserW(
                    token,
                    program,
                    line,
                    none,
                    none,
                    inherit,
                    flags,
                    environment,
                    place,
                    startup,
                    out,
                )
            }
        }
    };
    check(created)?;
    // SAFETY: the call succeeded, so both handles are ours; the thread's is not needed.
    drop(unsafe { own(information.hThread) });
    // SAFETY: as above.
    Ok(Process { handle: unsafe { own(information.hProcess) }, pid: information.dwProcessId })
}

/// A process attribute list with room for three attributes.
struct Attributes {
    /// Pointer-sized cells, so that the list is aligned.
    storage: Vec<usize>,
}

impl Attributes {
    const ROOM: u32 = 3;

    fn new() -> Result<Self, Win32Error> {
        let mut bytes = 0;
        let null = std::ptr::null_mut();
        // SAFETY: without a list the call only reports the size.
        unsafe { InitializeProcThreadAttributeList(null, Self::ROOM, 0, &raw mut bytes) };
        let mut storage = vec![0; bytes.div_ceil(size_of::<usize>())];
        let list = storage.as_mut_ptr().cast();
        // SAFETY: the storage has the size the call asked for.
        check(unsafe { InitializeProcThreadAttributeList(list, Self::ROOM, 0, &raw mut bytes) })?;
        Ok(Self { storage })
    }

    fn list(&mut self) -> *mut core::ffi::c_void {
        self.storage.as_mut_ptr().cast()
    }

    /// Adds an attribute; what `value` points to must outlive the list's use.
    fn set(
        &mut self,
        attribute: u32,
        value: *const core::ffi::c_void,
        size: usize,
    ) -> Result<(), Win32Error> {
        let (previous, length) = (std::ptr::null_mut(), std::ptr::null());
        let attribute = attribute as usize;
        // SAFETY: the list is initialised with room for this attribute; the call stores `value`.
        check(unsafe {
            UpdateProcThreadAttribute(self.list(), 0, attribute, value, size, previous, length)
        })
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the list was initialised in `new`.
        unsafe { DeleteProcThreadAttributeList(self.list()) };
    }
}
