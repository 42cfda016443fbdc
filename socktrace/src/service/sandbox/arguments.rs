//! System calls that are allowed only with certain arguments.

use std::process;

use nix::libc;
use seccompiler::{
    BackendError as Error,
    SeccompCmpArgLen::{Dword, Qword},
    SeccompCmpOp, SeccompCondition, SeccompRule,
};

use super::Needs;

/// `bpf` commands that use existing maps, from `enum bpf_cmd`: look-up, update and deletion of
/// elements, next key, object info, batch look-up; and the one that creates an instance of an
/// attached iterator. None of them loads, attaches or pins objects, or opens them by id or path.
const BPF_COMMANDS: [u64; 7] = [1, 2, 3, 4, 15, 24, 33];

/// Clone flags of every thread, and of no process.
const THREAD: libc::c_int = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;

/// Flags that create or change the opened file. `O_TMPFILE` is listed without its directory bit.
const WRITES: libc::c_int = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_TRUNC
    | libc::O_APPEND
    | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// Harmless ioctls: `FIONBIO` sets non-blocking mode; `TCGETS` and `TIOCGWINSZ` query whether a
/// descriptor is a terminal, and its size (`asm-generic/ioctls.h`).
const IOCTLS: [u64; 3] = [0x5421, 0x5401, 0x5413];

/// Ioctls that set up and restore a terminal: `TCSETS`, `TCSETSW` and `TCSETSF`, or `TCGETS2`,
/// `TCSETS2`, `TCSETSW2` and `TCSETSF2`.
const SCREEN_IOCTLS: [u64; 7] =
    [0x5402, 0x5403, 0x5404, 0x802c_542a, 0x402c_542b, 0x402c_542c, 0x402c_542d];

/// `prctl` options that name the thread and its memory areas.
const PRCTLS: [libc::c_int; 2] = [libc::PR_SET_NAME, libc::PR_SET_VMA];

/// Mask of the socket type, such as `SOCK_STREAM` and `SOCK_DGRAM`; the higher bits are flags.
const SOCKET_TYPE: u64 = 0xf;

type Rules = Vec<(i64, Vec<SeccompRule>)>;

/// Builds the rules.
///
/// # Errors
/// Only on a mistake in the rules themselves.
pub(super) fn rules(needs: &Needs) -> Result<Rules, Error> {
    let own = u64::from(process::id());
    let families: &[libc::c_int] = match needs.ports {
        Some(_) => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6],
        None => &[libc::AF_UNIX],
    };
    let mut sockets = Vec::new();
    for family in families {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            let kind = masked(1, SOCKET_TYPE, number(kind))?;
            sockets.push(rule([equal(0, number(*family))?, kind])?);
        }
    }
    let mut signals = any(0, &[own])?;
    if let Some(child) = needs.child {
        signals.extend(any(0, &[child.into()])?);
    }
    if needs.follows {
        // Signal 0 checks whether a process exists.
        signals.extend(any(1, &[0])?);
    }
    let mut ioctls = any(1, &IOCTLS)?;
    if needs.terminal {
        ioctls.extend(any(1, &SCREEN_IOCTLS)?);
    }
    let mut rules = vec![
        (libc::SYS_bpf, any(0, &BPF_COMMANDS)?),
        (libc::SYS_clone, vec![rule([masked(0, number(THREAD), number(THREAD))?])?]),
        (libc::SYS_ioctl, ioctls),
        (libc::SYS_kill, signals),
        (libc::SYS_tgkill, any(0, &[own])?),
        (libc::SYS_mmap, vec![without(2, libc::PROT_EXEC)?]),
        (libc::SYS_mprotect, vec![without(2, libc::PROT_EXEC)?]),
        (libc::SYS_prctl, any(0, &PRCTLS.map(number))?),
        // Reading this process's limits, not setting them.
        (
            libc::SYS_prlimit64,
            vec![rule([equal(0, 0)?, nothing(2)?])?, rule([equal(0, own)?, nothing(2)?])?],
        ),
        (libc::SYS_socket, sockets),
        (libc::SYS_socketpair, any(0, &[number(libc::AF_UNIX)])?),
    ];
    rules.extend(opens(needs)?);
    if needs.ports.is_some() {
        // A resolver's socket binds its own port.
        rules.push((libc::SYS_bind, Vec::new()));
    }
    if needs.history.is_some() || !needs.sockets.is_empty() {
        // Files only, no directories.
        rules.push((libc::SYS_unlinkat, vec![rule([equal(2, 0)?])?]));
        #[cfg(target_arch = "x86_64")]
        rules.push((libc::SYS_unlink, Vec::new()));
    }
    Ok(rules)
}

/// Files may be opened for reading. With a history, Landlock decides which files may be written.
fn opens(needs: &Needs) -> Result<Rules, Error> {
    let reading = |flags| -> Result<_, Error> {
        Ok(if needs.history.is_some() { Vec::new() } else { vec![without(flags, WRITES)?] })
    };
    Ok(vec![
        (libc::SYS_openat, reading(2)?),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, reading(1)?),
    ])
}

/// The argument is one of these values.
fn any(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, Error> {
    values.iter().map(|value| rule([equal(argument, *value)?])).collect()
}

/// None of these bits is set.
fn without(argument: u8, bits: libc::c_int) -> Result<SeccompRule, Error> {
    rule([masked(argument, number(bits), 0)?])
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, Error> {
    SeccompRule::new(Vec::from(conditions))
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, Error> {
    SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, Error> {
    SeccompCondition::new(argument, Dword, SeccompCmpOp::MaskedEq(mask), value)
}

/// The argument is a null pointer.
fn nothing(argument: u8) -> Result<SeccompCondition, Error> {
    SeccompCondition::new(argument, Qword, SeccompCmpOp::Eq, 0)
}

/// A C constant, which is never negative.
const fn number(constant: libc::c_int) -> u64 {
    constant.unsigned_abs() as u64
}
