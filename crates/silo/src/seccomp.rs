//! The system calls a silo may make.
//!
//! An allow-list: what cmd, node, deno, esbuild, PostgreSQL and Wine's own tests were seen to use,
//! plus what libc may choose instead. Anything else answers `ENOSYS`, as a kernel without that call
//! would: programs then fall back, where `EPERM` would confuse them (glibc tries `clone3` first).
//!
//! Four calls are allowed in part: no new namespaces from `clone`, no foreign socket families, no
//! set-user-id files (a volume is shared with the host), and no change of personality.
//!
//! Of the 32-bit calls one is allowed, `set_thread_area`: Wine makes the segment of 32-bit Windows
//! threads with it, since the 64-bit call of that name does nothing.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

use crate::error::SiloError;

/// Calls allowed whatever their arguments.
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    // Reading, writing, waiting: the hot ones.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2,
    libc::SYS_poll, libc::SYS_ppoll, libc::SYS_select, libc::SYS_pselect6, libc::SYS_epoll_create,
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_wait, libc::SYS_epoll_pwait,
    libc::SYS_eventfd2, libc::SYS_signalfd4, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime, libc::SYS_futex, libc::SYS_sendfile, libc::SYS_copy_file_range,
    libc::SYS_splice,
    // Descriptors.
    libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup2, libc::SYS_dup3,
    libc::SYS_fcntl, libc::SYS_flock, libc::SYS_ioctl, libc::SYS_pipe, libc::SYS_pipe2,
    libc::SYS_lseek, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_memfd_create,
    libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
    // Files.
    libc::SYS_stat, libc::SYS_fstat, libc::SYS_lstat, libc::SYS_newfstatat, libc::SYS_statx,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_access, libc::SYS_faccessat,
    libc::SYS_faccessat2, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_readlink,
    libc::SYS_readlinkat, libc::SYS_getdents64, libc::SYS_rename, libc::SYS_renameat,
    libc::SYS_renameat2, libc::SYS_mkdir, libc::SYS_mkdirat, libc::SYS_rmdir, libc::SYS_unlink,
    libc::SYS_unlinkat, libc::SYS_link, libc::SYS_linkat, libc::SYS_symlink, libc::SYS_symlinkat,
    libc::SYS_truncate, libc::SYS_umask, libc::SYS_utime, libc::SYS_utimes, libc::SYS_utimensat,
    libc::SYS_futimesat, libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr,
    libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, libc::SYS_listxattr,
    libc::SYS_llistxattr, libc::SYS_flistxattr, libc::SYS_removexattr, libc::SYS_lremovexattr,
    libc::SYS_fremovexattr, libc::SYS_inotify_init, libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch,
    // Memory.
    libc::SYS_brk, libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect,
    libc::SYS_madvise, libc::SYS_msync, libc::SYS_mincore, libc::SYS_mlock, libc::SYS_mlock2,
    libc::SYS_munlock, libc::SYS_membarrier,
    // Processes, threads, signals. wineserver debugs its clients by ptrace.
    libc::SYS_fork, libc::SYS_vfork, libc::SYS_execve, libc::SYS_exit, libc::SYS_exit_group,
    libc::SYS_wait4, libc::SYS_waitid, libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo, libc::SYS_sigaltstack,
    libc::SYS_restart_syscall, libc::SYS_pause, libc::SYS_alarm, libc::SYS_ptrace, libc::SYS_prctl,
    libc::SYS_arch_prctl, libc::SYS_set_tid_address, libc::SYS_set_robust_list,
    libc::SYS_get_robust_list, libc::SYS_rseq, libc::SYS_modify_ldt, libc::SYS_set_thread_area,
    libc::SYS_get_thread_area, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_setsid, libc::SYS_getsid, libc::SYS_setpgid, libc::SYS_getpgid, libc::SYS_getpgrp,
    // Who and how much.
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getuid, libc::SYS_geteuid,
    libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid, libc::SYS_getresgid,
    libc::SYS_getgroups, libc::SYS_capget, libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_getrusage,
    libc::SYS_times, libc::SYS_getrlimit, libc::SYS_setrlimit, libc::SYS_prlimit64,
    libc::SYS_getpriority, libc::SYS_setpriority, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_sched_getparam,
    libc::SYS_sched_setparam, libc::SYS_sched_getscheduler, libc::SYS_sched_setscheduler,
    libc::SYS_sched_get_priority_max, libc::SYS_sched_get_priority_min, libc::SYS_getcpu,
    libc::SYS_getrandom,
    // Time.
    libc::SYS_time, libc::SYS_gettimeofday, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep, libc::SYS_nanosleep, libc::SYS_getitimer, libc::SYS_setitimer,
    libc::SYS_timer_create, libc::SYS_timer_settime, libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun, libc::SYS_timer_delete,
    // Sockets, once made.
    libc::SYS_socketpair, libc::SYS_bind, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4,
    libc::SYS_connect, libc::SYS_shutdown, libc::SYS_getsockname, libc::SYS_getpeername,
    libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_sendto, libc::SYS_recvfrom,
    libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_recvmmsg,
];

/// Socket families: Unix (wineserver), IPv4, IPv6, and netlink for the list of adapters.
const SOCKET_FAMILIES: [libc::c_int; 4] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Flags of `clone` that make namespaces.
const NAMESPACE_FLAGS: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// Calls with a file mode, and the position of that argument.
const MODE_CALLS: [(libc::c_long, u8); 6] = [
    (libc::SYS_open, 2),
    (libc::SYS_openat, 3),
    (libc::SYS_creat, 1),
    (libc::SYS_chmod, 1),
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
];

/// `S_ISUID | S_ISGID`.
const SET_ID_BITS: u64 = 0o6000;

/// Filters this process and its descendants from now on.
pub(crate) fn apply() -> Result<(), SiloError> {
    let failed = |error: &dyn std::fmt::Display| SiloError::Boot { reason: error.to_string() };
    let program = program().map_err(|error| failed(&error))?;
    apply_filter(&program).map_err(|error| failed(&error))
}

/// The filter as the kernel takes it.
pub(crate) fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    for (call, position) in MODE_CALLS {
        rules.insert(call, vec![masked(position, SET_ID_BITS, 0)?]);
    }
    let namespaces = u64::from(NAMESPACE_FLAGS.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![masked(0, namespaces, 0)?]);
    let mut families = Vec::new();
    for family in SOCKET_FAMILIES {
        families.push(masked(0, u64::from(u32::MAX), u64::from(family.unsigned_abs()))?);
    }
    rules.insert(libc::SYS_socket, families);
    let unchanged = u64::from(u32::MAX);
    rules.insert(libc::SYS_personality, vec![masked(0, unchanged, unchanged)?]);
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, missing, SeccompAction::Allow, TargetArch::x86_64)?;
    let mut program = compatibility_calls().to_vec();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// What comes before the filter proper, which kills a process that makes a 32-bit call.
fn compatibility_calls() -> [sock_filter; 6] {
    /// `AUDIT_ARCH_I386`.
    const ARCHITECTURE: u32 = 0x4000_0003;
    /// `set_thread_area` of the 32-bit calls.
    const SET_THREAD_AREA: u32 = 243;
    /// Loads a word of `seccomp_data`: `BPF_LD | BPF_W | BPF_ABS`.
    const LOAD: u16 = 0x20;
    /// `BPF_JMP | BPF_JEQ | BPF_K`.
    const JUMP_IF_EQUAL: u16 = 0x15;
    /// `BPF_RET | BPF_K`.
    const RETURN: u16 = 0x06;
    /// Offsets in `seccomp_data`.
    const NUMBER_AT: u32 = 0;
    const ARCHITECTURE_AT: u32 = 4;

    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (JUMP_IF_EQUAL, 0, 4, ARCHITECTURE),
        (LOAD, 0, 0, NUMBER_AT),
        (JUMP_IF_EQUAL, 0, 1, SET_THREAD_AREA),
        (RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        (RETURN, 0, 0, missing),
    ]
    .map(|(code, jt, jf, k)| sock_filter { code, jt, jf, k })
}

/// The call is allowed when `mask` of the argument is `value`. All of them are `int`-sized.
fn masked(position: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let operator = SeccompCmpOp::MaskedEq(mask);
    let length = SeccompCmpArgLen::Dword;
    SeccompRule::new(vec![SeccompCondition::new(position, length, operator, value)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `BPF_MAXINSNS` of the kernel.
    const MAX_INSTRUCTIONS: usize = 4096;

    #[test]
    fn the_filter_builds_and_fits_the_kernel() {
        let program = program().unwrap();
        assert!(!program.is_empty() && program.len() <= MAX_INSTRUCTIONS, "{}", program.len());
    }

    /// What the filter decides about a call without arguments.
    fn verdict(architecture: u32, number: u32) -> u32 {
        let program = program().unwrap();
        let mut data = [0; 16];
        data[..2].copy_from_slice(&[number, architecture]);
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = &program[at];
            let jump = |taken| usize::from(if taken { step.jt } else { step.jf });
            at += 1 + match step.code {
                0x05 => usize::try_from(step.k).unwrap(),
                0x15 => jump(loaded == step.k),
                0x25 => jump(loaded > step.k),
                0x35 => jump(loaded >= step.k),
                0x06 => return step.k,
                0x20 => {
                    loaded = data[usize::try_from(step.k / 4).unwrap()];
                    0
                }
                0x54 => {
                    loaded &= step.k;
                    0
                }
                other => panic!("instruction {other:#x}"),
            };
        }
    }

    #[test]
    fn a_32_bit_thread_gets_its_segment_and_no_other_32_bit_call() {
        const I386: u32 = 0x4000_0003;
        const X86_64: u32 = 0xc000_003e;
        const ARM_64: u32 = 0xc000_00b7;
        const MISSING: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
        assert_eq!(verdict(I386, 243), libc::SECCOMP_RET_ALLOW);
        for call in [1, 5, 11, 242, 244] {
            assert_eq!(verdict(I386, call), MISSING, "{call}");
        }
        let call = |number: libc::c_long| u32::try_from(number).unwrap();
        assert_eq!(verdict(X86_64, call(libc::SYS_read)), libc::SECCOMP_RET_ALLOW);
        assert_eq!(verdict(X86_64, call(libc::SYS_clone)), libc::SECCOMP_RET_ALLOW);
        assert_eq!(verdict(X86_64, call(libc::SYS_mount)), MISSING);
        assert_eq!(verdict(ARM_64, 63), libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn nothing_that_reaches_the_host_is_allowed() {
        for call in [
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_perf_event_open,
            libc::SYS_clone3,
            libc::SYS_open_by_handle_at,
            libc::SYS_mknod,
            libc::SYS_mknodat,
            libc::SYS_reboot,
            libc::SYS_setuid,
        ] {
            assert!(!ALLOWED.contains(&call), "{call}");
        }
    }
}
