//! Job objects: a process and its descendants.

use std::os::windows::io::{AsRawHandle, OwnedHandle};

use windows_sys::Win32::System::JobObjects::{
    CreateJobObjectW, JobObjectBasicProcessIdList, QueryInformationJobObject, TerminateJobObject,
};

use super::{Win32Error, check, own};

/// Processes listed of one job; a console control event reaches no more than these.
const MAX_PROCESSES: usize = 1024;

/// A job object. Dropping it leaves its processes alone.
pub(crate) struct Job(OwnedHandle);

/// `JOBOBJECT_BASIC_PROCESS_ID_LIST` with room for [`MAX_PROCESSES`].
#[repr(C)]
struct IdList {
    assigned: u32,
    listed: u32,
    ids: [usize; MAX_PROCESSES],
}

impl Job {
    /// A new, empty job.
    pub(crate) fn new() -> Result<Self, Win32Error> {
        // SAFETY: no attributes and no name are passed.
        let job = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
        if job.is_null() {
            return Err(Win32Error::last());
        }
        // SAFETY: the call succeeded, so the handle is ours.
        Ok(Self(unsafe { own(job) }))
    }

    /// The handle, for a process's attribute list.
    pub(super) fn handle(&self) -> &OwnedHandle {
        &self.0
    }

    /// Ends every process in the job with this exit code.
    pub(crate) fn terminate(&self, code: u32) -> Result<(), Win32Error> {
        // SAFETY: the handle is open.
        check(unsafe { TerminateJobObject(self.0.as_raw_handle(), code) })
    }

    /// Windows process ids of the job's processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut list = IdList { assigned: 0, listed: 0, ids: [0; MAX_PROCESSES] };
        // SAFETY: the structure has the layout of the class and outlives the call.
        let queried = unsafe {
            QueryInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectBasicProcessIdList,
                (&raw mut list).cast(),
                super::size_of::<IdList>(),
                std::ptr::null_mut(),
            )
        };
        if queried == 0 {
            return Vec::new();
        }
        let listed = usize::try_from(list.listed).map_or(0, |count| count.min(MAX_PROCESSES));
        list.ids[..listed].iter().filter_map(|id| u32::try_from(*id).ok()).collect()
    }
}
