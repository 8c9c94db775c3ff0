//! How much memory the allocator keeps for later.

#![expect(unsafe_code, reason = "glibc's allocator is tuned by a call that has no safe wrapper")]

use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, c_int, malloc_trim, mallopt};

/// Heaps of the allocator. It makes one for each of dozens of threads otherwise, and what is freed
/// in one is never used by another.
const ARENAS: c_int = 2;

/// Bytes from which on an allocation is given back to the kernel at once, and bytes that may stay
/// free at the end of a heap. The allocator raises both by itself otherwise, to tens of megabytes;
/// a list of a hundred containers is below.
const LARGE: c_int = 1 << 20;

/// Has the allocator give back what a busy time needed and an idle one does not. To be called
/// before there are threads.
pub fn keep_little() {
    for (parameter, value) in
        [(M_ARENA_MAX, ARENAS), (M_MMAP_THRESHOLD, LARGE), (M_TRIM_THRESHOLD, LARGE)]
    {
        // SAFETY: the call takes two numbers and changes settings of the allocator only, under
        // its lock; a parameter that it does not take is refused.
        unsafe { mallopt(parameter, value) };
    }
}

/// Gives what is free inside of the heaps back to the kernel. Takes milliseconds.
pub fn give_back() {
    // SAFETY: the call looks at free memory only, under the allocator's lock.
    unsafe { malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_takes_its_settings() {
        // SAFETY: as above.
        assert_eq!(unsafe { mallopt(M_ARENA_MAX, ARENAS) }, 1);
        keep_little();
        give_back();
    }
}
