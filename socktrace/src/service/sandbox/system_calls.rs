//! Seccomp filter that applies once everything is attached.

use std::{collections::BTreeMap, env::consts::ARCH};

use anyhow::Context as _;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, apply_filter};

use super::{Needs, arguments};

/// System calls for threads, memory, time, files, sockets and signals, allowed with any arguments.
/// None starts a program, mounts, traces, or changes the file system except by writing to open
/// files.
const ALLOWED: &[libc::c_long] = &[
    // Threads, signals and exit.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Time and random numbers.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    // Files and directories, for owners and configuration.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    libc::SYS_open_by_handle_at,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
    // Sockets: metrics, the service manager, the journal.
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_memfd_create,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Information about this process and host.
    libc::SYS_capget,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getuid,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// System calls with which `SQLite` writes, truncates and locks a file, and sets a damaged one
/// aside.
const ALLOWED_FOR_FILES: &[libc::c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_mkdirat,
    libc::SYS_pwrite64,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
];

/// System calls to wait for a child.
const ALLOWED_FOR_CHILD: &[libc::c_long] = &[libc::SYS_wait4, libc::SYS_waitid];

/// Legacy system calls of older architectures.
#[cfg(target_arch = "x86_64")]
const ALLOWED_BESIDES: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_BESIDES: &[libc::c_long] = &[];

/// Makes all other system calls of this process fail with EPERM.
///
/// The filter returns an error instead of killing: a forgotten system call breaks one feature, not
/// the daemon.
///
/// # Errors
/// When the kernel refuses the filter.
pub(super) fn confine(needs: &Needs) -> anyhow::Result<()> {
    for program in programs(needs).context("cannot build the seccomp filter")? {
        apply_filter(&program).context("cannot install the seccomp filter")?;
    }
    Ok(())
}

fn programs(needs: &Needs) -> anyhow::Result<[BpfProgram; 2]> {
    let for_files = if needs.history.is_some() { ALLOWED_FOR_FILES } else { &[] };
    let for_child = if needs.child.is_some() { ALLOWED_FOR_CHILD } else { &[] };
    let allowed = ALLOWED.iter().chain(ALLOWED_BESIDES).chain(for_files).chain(for_child);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        allowed.map(|call| (*call, Vec::new())).collect();
    rules.extend(arguments::rules(needs)?);
    // `clone3` has its flags in memory, out of reach of a filter. After ENOSYS, libraries use
    // `clone`.
    let without_clone3 = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        error(libc::ENOSYS)?,
        ARCH.try_into()?,
    )?;
    rules.insert(libc::SYS_clone3, Vec::new());
    let others =
        SeccompFilter::new(rules, error(libc::EPERM)?, SeccompAction::Allow, ARCH.try_into()?)?;
    Ok([without_clone3.try_into()?, others.try_into()?])
}

fn error(errno: i32) -> anyhow::Result<SeccompAction> {
    Ok(SeccompAction::Errno(u32::try_from(errno)?))
}

#[cfg(test)]
mod tests {
    use std::{io, thread};

    use nix::{
        errno::Errno,
        sys::signal::{Signal, kill},
    };

    use super::*;

    #[test]
    fn ordinary_calls_work_and_others_fail() {
        // The filter applies only to this thread and its children.
        let confined = thread::spawn(|| {
            nix::sys::prctl::set_no_new_privs().expect("set");
            confine(&Needs::default()).expect("confined");
            std::fs::read_to_string("/proc/self/status").expect("read");
            std::os::unix::net::UnixDatagram::unbound().expect("a socket");
            thread::spawn(|| 1).join().expect("a thread");
            let chroot = nix::unistd::chroot("/");
            // SAFETY: all arguments are numbers, and the filter refuses this command.
            let load = unsafe { libc::syscall(libc::SYS_bpf, 5, 0, 0) };
            (chroot, load, io::Error::last_os_error().raw_os_error())
        });
        let (chroot, load, errno) = confined.join().expect("no panic");
        assert_eq!(chroot, Err(Errno::EPERM));
        assert_eq!((load, errno), (-1, Some(libc::EPERM)));
    }

    #[test]
    fn signals_go_to_the_child_alone() {
        let confined = thread::spawn(|| {
            nix::sys::prctl::set_no_new_privs().expect("set");
            // No process has this id: it is above the kernel's maximum.
            let child = Some(i32::MAX.unsigned_abs());
            confine(&Needs { child, ..Needs::default() }).expect("confined");
            let this = nix::unistd::Pid::this();
            [(i32::MAX, Some(Signal::SIGTERM)), (1, Some(Signal::SIGURG)), (this.as_raw(), None)]
                .map(|(pid, signal)| kill(nix::unistd::Pid::from_raw(pid), signal))
        });
        let results = confined.join().expect("no panic");
        assert_eq!(results, [Err(Errno::ESRCH), Err(Errno::EPERM), Ok(())]);
    }
}
