//! The list of processes.

use oriel_hcs::ProcessSummary;

#[link(name = "ntdll", kind = "raw-dylib")]
unsafe extern "system" {
    fn NtQuerySystemInformation(
        class: u32,
        buffer: *mut core::ffi::c_void,
        length: u32,
        needed: *mut u32,
    ) -> i32;
}

/// `SystemProcessInformation`.
const PROCESS_INFORMATION: u32 = 5;

/// Largest list asked for, some ten thousand processes with their threads.
const MAX_BYTES: usize = 16 << 20;

/// Offsets in `SYSTEM_PROCESS_INFORMATION` of a 64-bit system.
mod offset {
    pub(super) const NEXT: usize = 0;
    pub(super) const USER_TIME: usize = 40;
    pub(super) const KERNEL_TIME: usize = 48;
    pub(super) const NAME_LENGTH: usize = 56;
    pub(super) const NAME_POINTER: usize = 64;
    pub(super) const PROCESS_ID: usize = 80;
    pub(super) const PRIVATE_BYTES: usize = 184;
}

/// Every process of the silo but the agent itself.
pub(crate) fn processes() -> Vec<ProcessSummary> {
    let mut buffer = vec![0_u64; 8 << 10];
    loop {
        let mut needed = 0;
        let length = u32::try_from(buffer.len() * 8).unwrap_or(u32::MAX);
        let start = buffer.as_mut_ptr();
        // SAFETY: the buffer has the length passed and the alignment of the entries.
        let status = unsafe {
            NtQuerySystemInformation(PROCESS_INFORMATION, start.cast(), length, &raw mut needed)
        };
        if status >= 0 {
            let address = start.addr();
            let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
            return entries(&bytes, address);
        }
        if buffer.len() * 8 >= MAX_BYTES {
            return Vec::new();
        }
        buffer.resize(buffer.len() * 2, 0);
    }
}

/// Reads the entries of a list that the system wrote at `address`; names are pointers into it.
fn entries(bytes: &[u8], address: usize) -> Vec<ProcessSummary> {
    let own = std::process::id();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(entry) = bytes.get(at..) {
        let number = |offset| word(entry, offset);
        let pid = u32::try_from(number(offset::PROCESS_ID)).unwrap_or_default();
        if pid != 0 && pid != own {
            found.push(ProcessSummary {
                name: name(bytes, entry, address),
                pid,
                cpu_100ns: number(offset::USER_TIME) + number(offset::KERNEL_TIME),
                private_bytes: number(offset::PRIVATE_BYTES),
            });
        }
        match usize::try_from(number(offset::NEXT) & 0xffff_ffff) {
            Ok(next) if next > 0 => at += next,
            _ => break,
        }
    }
    found
}

fn name(bytes: &[u8], entry: &[u8], address: usize) -> String {
    let length = usize::try_from(word(entry, offset::NAME_LENGTH) & 0xffff).unwrap_or_default();
    let start = usize::try_from(word(entry, offset::NAME_POINTER))
        .unwrap_or_default()
        .wrapping_sub(address);
    let text = start.checked_add(length).and_then(|end| bytes.get(start..end)).unwrap_or_default();
    let units: Vec<u16> =
        text.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    String::from_utf16_lossy(&units)
}

fn word(entry: &[u8], offset: usize) -> u64 {
    entry
        .get(offset..offset + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}
