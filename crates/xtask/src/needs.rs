//! The tools that building and testing need, and how they get onto a machine.
//!
//! [`NEEDS`] is the whole list. A need that is absent is installed through the system's package manager; where that is
//! not possible the run stops and prints the command that a person can type. A need is never skipped: tests that
//! quietly do not run prove nothing.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// Something that must be on the machine.
struct Need {
    /// What a person calls it.
    name: &'static str,
    /// What it is needed for.
    why: &'static str,
    /// How to see that it is there.
    detect: Detect,
    /// How to get it.
    get: Get,
}

/// How to see that a tool is there.
enum Detect {
    /// A program that succeeds with these arguments.
    Runs(&'static [&'static str]),
    /// A PostgreSQL server that is new enough; its programs are often not in `PATH`.
    Postgres,
    /// Namespaces can be made, or somebody has said that what runs in them is not to be tested here.
    Namespaces,
}

/// How to get a tool.
enum Get {
    /// Packages of the system: for apt-get, dnf and apk.
    Packages {
        apt: &'static [&'static str],
        dnf: &'static [&'static str],
        apk: &'static [&'static str],
    },
    /// A component of the Rust toolchain.
    Component(&'static str),
    /// Only the machine's owner can allow it: this is what to do.
    ByHand(&'static str),
}

/// Set where namespaces cannot be had: their cases are left out. The tests read it too.
const WITHOUT_NAMESPACES: &str = "BELFRY_TEST_WITHOUT_NAMESPACES";

/// Everything that is needed beyond Rust itself. `cargo-nextest` is used when it is there, but not needed.
const NEEDS: &[Need] = &[
    Need {
        name: "a C compiler",
        why: "the embedded SQLite and the cryptography of TLS are built from C",
        detect: Detect::Runs(&["cc", "--version"]),
        get: Get::Packages {
            apt: &["gcc", "libc6-dev"],
            dnf: &["gcc", "glibc-devel"],
            apk: &["gcc", "musl-dev"],
        },
    },
    Need {
        name: "curl",
        why: "a test types the first steps that the server prints",
        detect: Detect::Runs(&["curl", "--version"]),
        get: Get::Packages {
            apt: &["curl"],
            dnf: &["curl"],
            apk: &["curl"],
        },
    },
    Need {
        name: "PostgreSQL",
        why: "everything that the store promises is tested on it too",
        detect: Detect::Postgres,
        get: Get::Packages {
            apt: &["postgresql"],
            dnf: &["postgresql-server"],
            apk: &["postgresql"],
        },
    },
    Need {
        name: "aiosmtpd",
        why: "mail is tested against a real mail server; this one replaces no mail server that a machine has",
        // The system's own interpreter: packages of the system are for that one.
        detect: Detect::Runs(&["/usr/bin/python3", "-c", "import aiosmtpd"]),
        get: Get::Packages {
            apt: &["python3-aiosmtpd"],
            dnf: &["python3-aiosmtpd"],
            apk: &["py3-aiosmtpd"],
        },
    },
    Need {
        name: "bubblewrap",
        why: "functions are shut in by namespaces where the machine allows it",
        detect: Detect::Runs(&["bwrap", "--version"]),
        get: Get::Packages {
            apt: &["bubblewrap"],
            dnf: &["bubblewrap"],
            apk: &["bubblewrap"],
        },
    },
    Need {
        name: "leave to make user namespaces",
        why: "what runs in namespaces is tested in them, as root and as an ordinary user",
        detect: Detect::Namespaces,
        get: Get::ByHand(
            "allow them (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a container \
             its seccomp profile), or set BELFRY_TEST_WITHOUT_NAMESPACES=1 to leave their cases out",
        ),
    },
    Need {
        name: "Node.js 18 or newer, with npm",
        why: "functions are tested with the real one, and npm gets the SDK of their scenario",
        detect: Detect::Runs(&[
            "sh",
            "-c",
            "npm --version && node -e 'process.exit(process.versions.node.split(`.`)[0] < 18 ? 1 : 0)'",
        ]),
        get: Get::Packages {
            apt: &["nodejs", "npm"],
            dnf: &["nodejs", "npm"],
            apk: &["nodejs", "npm"],
        },
    },
    Need {
        name: "Python 3.9 or newer, with venv",
        why: "functions are tested with the real one, and an environment of its own gets AWS Lambda's client",
        detect: Detect::Runs(&[
            "/usr/bin/python3",
            "-c",
            "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))",
        ]),
        get: Get::Packages {
            apt: &["python3", "python3-venv"],
            dnf: &["python3", "python3-pip"],
            apk: &["python3", "py3-pip"],
        },
    },
    Need {
        name: "rustfmt",
        why: "the formatting is checked",
        detect: Detect::Runs(&["cargo", "fmt", "--version"]),
        get: Get::Component("rustfmt"),
    },
    Need {
        name: "clippy",
        why: "the lints are checked",
        detect: Detect::Runs(&["cargo", "clippy", "--version"]),
        get: Get::Component("clippy"),
    },
];

/// Makes sure that everything needed is there.
pub(crate) fn provide() -> Result<()> {
    for need in NEEDS {
        if is_there(need) {
            continue;
        }
        eprintln!("xtask: {} is missing ({})", need.name, need.why);
        install(need)?;
        if !is_there(need) {
            bail!(
                "{} is still missing (or too old) after its installation ({})",
                need.name,
                need.why
            );
        }
    }
    Ok(())
}

/// Whether `cargo nextest` can be used.
pub(crate) fn has_nextest() -> bool {
    run::succeeds(&mut run::cargo(&["nextest", "--version"]))
}

fn is_there(need: &Need) -> bool {
    match need.detect {
        Detect::Runs(words) => {
            command(words).is_some_and(|mut command| run::succeeds(&mut command))
        }
        Detect::Postgres => belfry_testdb::Programs::find().is_ok(),
        Detect::Namespaces => std::env::var_os(WITHOUT_NAMESPACES).is_some() || makes_namespaces(),
    }
}

/// By trying.
fn makes_namespaces() -> bool {
    let alone = ["--unshare-user", "--unshare-pid", "--unshare-net"];
    let seen = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"];
    let mut command = Command::new("bwrap");
    run::succeeds(command.args(alone).args(seen).args(["--", "/bin/true"]))
}

fn install(need: &Need) -> Result<()> {
    let lines = match &need.get {
        Get::ByHand(what) => bail!("{}: {what}", need.name),
        Get::Component(component) => vec![strings(&["rustup", "component", "add", component])],
        Get::Packages { apt, dnf, apk } => match Manager::find() {
            Some(manager) => manager.commands(match manager {
                Manager::Apt => apt,
                Manager::Dnf => dnf,
                Manager::Apk => apk,
            }),
            None => bail!(
                "no known package manager (apt-get, dnf, apk) to install {} with; Debian calls it {}",
                need.name,
                apt.join(" ")
            ),
        },
    };
    for line in lines {
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let mut command = command(&words).context("an installation without a command")?;
        command.env("DEBIAN_FRONTEND", "noninteractive");
        run::run(&mut command)
            .with_context(|| format!("install {} by hand: {}", need.name, words.join(" ")))?;
    }
    Ok(())
}

/// The package managers that are known.
#[derive(Clone, Copy)]
enum Manager {
    Apt,
    Dnf,
    Apk,
}

impl Manager {
    fn find() -> Option<Self> {
        [
            (Self::Apt, "apt-get"),
            (Self::Dnf, "dnf"),
            (Self::Apk, "apk"),
        ]
        .into_iter()
        .find(|(_, program)| run::succeeds(Command::new(program).arg("--version")))
        .map(|(manager, _)| manager)
    }

    /// The commands that install packages. Package lists are fetched first: a fresh container has none.
    fn commands(self, packages: &[&str]) -> Vec<Vec<String>> {
        let lines: &[&[&str]] = match self {
            Self::Apt => &[
                &["apt-get", "update"],
                &["apt-get", "install", "-y", "--no-install-recommends"],
            ],
            Self::Dnf => &[&["dnf", "install", "-y"]],
            Self::Apk => &[&["apk", "add", "--no-cache"]],
        };
        let mut commands: Vec<_> = lines.iter().map(|line| as_root(line)).collect();
        if let Some(last) = commands.last_mut() {
            last.extend(strings(packages));
        }
        commands
    }
}

/// The command as root: as it is when we are root, else through `sudo`.
fn as_root(line: &[&str]) -> Vec<String> {
    let is_root = run::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut words = if is_root {
        Vec::new()
    } else {
        strings(&["sudo"])
    };
    words.extend(strings(line));
    words
}

fn command(words: &[&str]) -> Option<Command> {
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.current_dir(run::root()).args(arguments);
    Some(command)
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_stand_at_the_end_of_the_last_command() {
        let commands = Manager::Apt.commands(&["gcc", "libc6-dev"]);
        assert_eq!(commands.len(), 2);
        assert!(commands[0].join(" ").ends_with("apt-get update"));
        assert!(
            commands[1]
                .join(" ")
                .ends_with("--no-install-recommends gcc libc6-dev")
        );
    }

    #[test]
    fn what_this_build_needed_is_found() {
        assert!(
            NEEDS
                .iter()
                .filter(|need| need.name == "a C compiler")
                .all(is_there)
        );
    }
}
