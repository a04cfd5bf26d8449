//! What this machine can do, and why not more.

use serde::Serialize;

use crate::Level;

/// What this machine can do to shut programs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Support {
    /// The version of Landlock in the kernel, 6 at most; below 6, signals and abstract sockets of processes of the same user are not
    /// out of reach.
    pub landlock_abi: Option<u32>,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
    /// Whether namespaces can be had.
    pub namespaces: bool,
    /// What is missing, and why, for people.
    pub why_not: Vec<String>,
}

impl Support {
    /// Finds out everything; blocks for some milliseconds.
    pub fn probe() -> Self {
        let mut support = Self::of_kernel();
        match crate::namespace::probe() {
            Ok(()) => support.namespaces = true,
            Err(error) => support.why_not.push(format!("namespaces: {error}")),
        }
        support
    }

    /// What a process can do by itself: everything but namespaces.
    #[cfg(target_os = "linux")]
    pub fn of_kernel() -> Self {
        use crate::restrict::{calls, files};

        Self::of(files::version(), calls::is_there())
    }

    #[cfg(target_os = "linux")]
    fn of(landlock_abi: Option<u32>, seccomp: bool) -> Self {
        let mut why_not = Vec::new();
        match landlock_abi {
            None => why_not.push(
                "Landlock: this kernel has none (Linux 5.13 and later have), or it is switched off, or a container forbids it"
                    .to_owned(),
            ),
            Some(abi @ ..6) => why_not.push(format!(
                "Landlock: version {abi} of this kernel cannot keep programs from signals to and abstract sockets of other processes of the same user (version 6 can: Linux 6.12)"
            )),
            Some(_) => {}
        }
        if !seccomp {
            why_not.push("seccomp: this kernel or this kind of machine has none".to_owned());
        }
        Self {
            landlock_abi,
            seccomp,
            namespaces: false,
            why_not,
        }
    }

    /// What a process can do by itself.
    #[cfg(not(target_os = "linux"))]
    pub fn of_kernel() -> Self {
        Self {
            landlock_abi: None,
            seccomp: false,
            namespaces: false,
            why_not: vec!["only Linux can shut programs in".to_owned()],
        }
    }

    /// The highest level that can be had.
    pub fn highest(&self) -> Level {
        match (self.landlock_abi, self.seccomp, self.namespaces) {
            (Some(_), true, true) => Level::Namespace,
            (Some(_), true, false) => Level::Landlock,
            _ => Level::Process,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_is_told_and_decides_how_far_programs_can_be_shut_in() {
        for (landlock_abi, seccomp, highest, why_not) in [
            (Some(6), true, Level::Landlock, &[][..]),
            (
                Some(5),
                true,
                Level::Landlock,
                &["version 5 of this kernel cannot keep programs from signals"],
            ),
            (
                Some(1),
                true,
                Level::Landlock,
                &["version 1 of this kernel cannot keep programs from signals"],
            ),
            (
                None,
                true,
                Level::Process,
                &["Landlock: this kernel has none"],
            ),
            (Some(6), false, Level::Process, &["seccomp: this kernel"]),
            (
                None,
                false,
                Level::Process,
                &["Landlock: this kernel has none", "seccomp: this kernel"],
            ),
        ] {
            let mut support = Support::of(landlock_abi, seccomp);
            assert_eq!(support.highest(), highest, "{support:?}");
            assert_eq!(support.why_not.len(), why_not.len(), "{support:?}");
            for (told, word) in support.why_not.iter().zip(why_not) {
                assert!(told.contains(word), "{told}");
            }
            support.namespaces = true;
            let is_alone = support.highest() == Level::Namespace;
            assert_eq!(is_alone, highest == Level::Landlock, "{support:?}");
        }
    }
}
