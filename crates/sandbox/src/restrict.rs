//! Taking the restrictions of a cage upon oneself.
//!
//! | module | owns |
//! |---|---|
//! | `files` | what may be read and written (Landlock) |
//! | `calls` | which system calls may be made (seccomp) |

#[cfg(target_os = "linux")]
pub(crate) mod calls;
#[cfg(target_os = "linux")]
pub(crate) mod files;

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Cage;
use crate::launch::told;

/// Takes the restrictions of a cage upon this process, for good. [`Level::Namespace`](crate::Level::Namespace) takes it for granted that
/// this process is in namespaces of its own already, and makes none. To be called while there is only one thread: those that exist
/// already are not restricted.
///
/// # Errors
/// What the kernel cannot do or does not grant; some restrictions may be in force already.
pub fn restrict(cage: &Cage) -> io::Result<()> {
    let limits = [
        ("data", Resource::Data, cage.data_bytes),
        ("open files", Resource::Nofile, Some(cage.files)),
        ("size of a file", Resource::Fsize, Some(cage.file_bytes)),
        ("processes", Resource::Nproc, cage.processes),
        ("core files", Resource::Core, Some(0)),
    ];
    for (name, resource, most) in limits {
        let Some(most) = most else { continue };
        told(&format!("the limit of {name}"), limit(resource, most))?;
    }
    if cage.nice > 0 {
        let nice = rustix::process::setpriority_process(None, cage.nice);
        told("its priority", nice)?;
    }
    shut_in(cage)
}

/// Less than the present limit can always be had; more than the server itself may use cannot.
fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let most = getrlimit(resource)
        .maximum
        .map_or(most, |hard| hard.min(most));
    setrlimit(
        resource,
        Rlimit {
            current: Some(most),
            maximum: Some(most),
        },
    )
}

#[cfg(target_os = "linux")]
fn shut_in(cage: &Cage) -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

    told("no new privileges", set_no_new_privs(true))?;
    if cage.level >= crate::Level::Landlock {
        // A server that runs as root must not hand on what root may: reading and signalling across users, mounting, raw sockets.
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        told("giving up capabilities", set_capabilities(None, none))?;
        told("Landlock", files::restrict(&cage.read, &cage.write))?;
    }
    told("seccomp", calls::restrict(cage))
}

#[cfg(not(target_os = "linux"))]
fn shut_in(cage: &Cage) -> io::Result<()> {
    if cage.level == crate::Level::Process && cage.network {
        return Ok(());
    }
    Err(io::Error::other(
        "only Linux can restrict files, system calls and the network of a program",
    ))
}
