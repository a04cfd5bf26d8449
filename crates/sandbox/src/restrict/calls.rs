//! Which system calls may be made: seccomp, see `seccomp(2)`.
//!
//! A list of what is refused. It holds what reaches beyond the process in ways that Landlock does not see: other processes'
//! memory, limits and priorities; mounts and namespaces; modes, owners and attributes of files by their path (Landlock does not
//! ask for these: a program could open up, or lock away, files of the server's user); sockets of the Unix kind, through which
//! other programs would act for it; and what a program of this kind has no use for and the kernel is often attacked through.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use crate::{Cage, Level};

/// Refused whatever they are called with.
const NEVER: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_open_by_handle_at,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    #[cfg(not(target_arch = "riscv64"))]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Modes, owners and attributes of files by their path; on open files they may be changed.
const BY_PATH: &[c_long] = &[
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    // Landlock asks for it from its third version on.
    libc::SYS_truncate,
];
const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const FILE_SETATTR: c_long = 469;

/// Said not to exist, so that callers do without: the filter cannot look into their arguments.
const UNKNOWN: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Their argument of this number says whose limit or priority is changed; only 0 is the caller's own for certain.
const OF_OTHERS: &[(c_long, u8)] = &[
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

/// The bits of `clone`'s flags that ask for a namespace.
const NAMESPACES: &[i32] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Calls of the x32 kind have this bit, on kernels that know them, and reach the same.
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;
/// Those of them with a number of their own: `ptrace`, `kexec_load`, `process_vm_readv`, `process_vm_writev`.
#[cfg(target_arch = "x86_64")]
const X32_OWN: &[c_long] = &[521, 528, 539, 540];

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Whether filters can be made for this machine and set in this kernel.
pub(crate) fn is_there() -> bool {
    TargetArch::try_from(std::env::consts::ARCH).is_ok()
        && std::fs::read_to_string("/proc/self/status")
            .is_ok_and(|status| status.contains("\nSeccomp_filters:"))
}

/// From here on only what the cage allows.
pub(super) fn restrict(cage: &Cage) -> Result<(), Error> {
    let rules = refused(cage)?;
    if rules.is_empty() {
        return Ok(());
    }
    set(rules, libc::EPERM)?;
    if cage.level >= Level::Landlock {
        set(always(UNKNOWN), libc::ENOSYS)?;
    }
    Ok(())
}

fn set(rules: Rules, error: i32) -> Result<(), Error> {
    let filter = SeccompFilter::new(
        with_x32(rules),
        SeccompAction::Allow,
        SeccompAction::Errno(error.unsigned_abs()),
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter(&program)
}

fn refused(cage: &Cage) -> Result<Rules, Error> {
    let mut rules = Rules::new();
    if cage.level >= Level::Landlock {
        rules.extend(always(NEVER));
        for (call, argument) in OF_OTHERS {
            rules.insert(*call, vec![all([is(*argument, SeccompCmpOp::Ne, 0)?])?]);
        }
        // What it has started is found by its environment, which such a process would hide.
        let dumpable = is(
            0,
            SeccompCmpOp::Eq,
            libc::PR_SET_DUMPABLE.unsigned_abs().into(),
        )?;
        rules.insert(libc::SYS_prctl, vec![all([dumpable])?]);
        let namespaces = NAMESPACES.iter().map(|flag| {
            let flag = u64::from(flag.cast_unsigned());
            all([is(0, SeccompCmpOp::MaskedEq(flag), flag)?])
        });
        rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    }
    if cage.level == Level::Landlock {
        rules.extend(always(BY_PATH));
    }
    if let Some(families) = families(cage) {
        let others = families
            .iter()
            .map(|family| is(0, SeccompCmpOp::Ne, family.unsigned_abs().into()))
            .collect::<Result<Vec<_>, _>>()?;
        let rule = if others.is_empty() {
            Vec::new()
        } else {
            vec![SeccompRule::new(others)?]
        };
        rules.insert(libc::SYS_socket, rule);
    }
    Ok(rules)
}

/// The families of which sockets may be made; `None`: all. Pairs are no matter of this: they lead nowhere else.
fn families(cage: &Cage) -> Option<&'static [i32]> {
    match (cage.level >= Level::Landlock, cage.network) {
        (false, true) => None,
        // Names of hosts and addresses of interfaces are asked for by netlink.
        (true, true) => Some(&[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]),
        (false, false) => Some(&[libc::AF_UNIX]),
        (true, false) => Some(&[]),
    }
}

/// No rules mean: whatever the arguments.
fn always(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn is(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    // The kernel takes these arguments as 32 bits and ignores the rest, which must not lead around the filter.
    Ok(SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?)
}

fn all<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(conditions.into())?)
}

#[cfg(target_arch = "x86_64")]
fn with_x32(mut rules: Rules) -> Rules {
    let twins: Rules = rules
        .iter()
        .map(|(call, rules)| (call | X32, rules.clone()))
        .collect();
    rules.extend(twins);
    rules.extend(
        always(X32_OWN)
            .into_iter()
            .map(|(call, rule)| (call | X32, rule)),
    );
    rules
}

#[cfg(not(target_arch = "x86_64"))]
fn with_x32(rules: Rules) -> Rules {
    rules
}
