//! What a hostile program can do from inside a cage: nothing to its server, as root and as an ordinary user.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, outside of functions marked as tests"
)]

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use belfry_sandbox::{Cage, Launcher, Level, Plan, Support};
use belfry_testkit::lacks::tries_namespaces;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Where the test finds the launcher when it runs as another user.
const LAUNCHER: &str = "BELFRY_TEST_LAUNCHER";
const SOMEBODY: &str = "65534";

/// Allowed with a network.
const NETWORK: &[&str] = &[
    "connect by TCP",
    "send by UDP",
    "make a socket of IPv6",
    "ask for interfaces",
];
/// Allowed always.
const ALLOWED: &[&str] = &[
    "resolve a name",
    "make a pair of sockets",
    "read its code",
    "use its scratch folder",
    "read about itself",
    "throw away",
    "get random bytes",
    "start children",
    "start threads",
    "fork 200 times",
];
/// Allowed where no files but those of the cage can be seen.
const ALONE: &[&str] = &["change a mode in its scratch folder"];
/// What would be done if nothing were in its way: the attempts are real ones.
const WITHOUT_A_CAGE: &[&str] = &[
    "read the database",
    "read the key file",
    "read the configuration",
    "read it by way of /proc",
    "list the data folder",
    "read the password file",
    "read the server's environment",
    "write over the database",
    "link the database",
    "write outside",
    "make a folder outside",
    "open up the key file",
    "give the key file away",
    "signal the server",
    "limit the server",
    "pin the server",
    "connect an abstract socket",
    "connect a socket of another program",
    "connect by TCP",
];

#[test]
fn as_the_user_of_the_tests_a_hostile_program_reaches_nothing_of_its_server() {
    attack();
}

/// Only root can become somebody else; without it, the tests are run by an ordinary user already.
#[test]
fn as_an_ordinary_user_a_hostile_program_reaches_nothing_of_its_server() {
    if !rustix::process::geteuid().is_root() {
        return attack();
    }
    // The folder of the build is not for everybody.
    let public = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(public.path(), open).unwrap();
    let own = copy(&std::env::current_exe().unwrap(), public.path());
    let launcher = copy(
        Path::new(env!("CARGO_BIN_EXE_belfry-launch")),
        public.path(),
    );
    let ended = Command::new("setpriv")
        .args(["--reuid", SOMEBODY, "--regid", SOMEBODY, "--clear-groups"])
        .arg(own)
        .args([
            "--exact",
            "as_the_user_of_the_tests_a_hostile_program_reaches_nothing_of_its_server",
        ])
        .env(LAUNCHER, launcher)
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}

fn copy(file: &Path, folder: &Path) -> PathBuf {
    let there = folder.join(file.file_name().unwrap());
    std::fs::copy(file, &there).unwrap();
    there
}

#[tokio::main(flavor = "current_thread")]
async fn attack() {
    let free = run(Level::Process, true, WITHOUT_A_CAGE).await;
    for (attempt, answer) in &free {
        assert_eq!(answer, "done", "without a cage: {attempt}");
    }
    let mut levels = vec![Level::Landlock];
    if tries_namespaces(&Support::probe().why_not) {
        levels.push(Level::Namespace);
    }
    for level in levels {
        for network in [true, false] {
            let answers = run(level, network, &[]).await;
            let allowed = |attempt: &str| {
                ALLOWED.contains(&attempt)
                    || (network && NETWORK.contains(&attempt))
                    || (level == Level::Namespace && ALONE.contains(&attempt))
            };
            let wrong: Vec<_> = answers
                .iter()
                .filter(|(attempt, answer)| (*answer == "done") != allowed(attempt))
                .collect();
            assert!(wrong.is_empty(), "{level:?}, network {network}: {wrong:?}");
            assert!(answers.len() > 50);
        }
    }
}

/// Lets the program try, and tells what came of each attempt. This process is the server.
async fn run(level: Level, network: bool, attempts: &[&str]) -> BTreeMap<String, String> {
    let place = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = place.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (data, outside, scratch, code) = (
        folder("data"),
        folder("outside"),
        folder("scratch"),
        folder("code"),
    );
    for file in [
        "data/belfry.db",
        "data/spare.db",
        "data/belfry.key",
        "outside/belfry.toml",
        "code/index.py",
    ] {
        let file = place.path().join(file);
        std::fs::write(&file, "nobody's business").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let abstract_name = format!("belfry-hostile-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let _socket = UnixListener::bind(outside.join("socket")).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let told = json!({
        "data": data, "outside": outside, "scratch": scratch, "code": code,
        "server": std::process::id(), "abstract": abstract_name,
        "port": tcp.local_addr().unwrap().port(), "attempts": attempts,
    });
    let mut read = Cage::system_read();
    read.push(code.clone());
    let mut write = Cage::system_write();
    write.push(scratch.clone());
    let plan = Plan {
        program: "/usr/bin/python3".into(),
        arguments: vec![
            "-c".to_owned(),
            include_str!("hostile.py").to_owned(),
            told.to_string(),
        ],
        environment: vec![("TMPDIR".to_owned(), scratch.display().to_string())],
        directory: code,
        marker: format!("hostile-{}/{level:?}-{network}", std::process::id()),
        cage: Cage {
            level,
            read,
            write,
            network,
            data_bytes: None,
            files: 256,
            file_bytes: 1 << 20,
            processes: None,
            nice: 0,
        },
    };
    let program = std::env::var_os(LAUNCHER).map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_belfry-launch")),
        PathBuf::from,
    );
    let mut started = Launcher::new(program, "hostile".to_owned())
        .start(&plan, Stdio::null(), Stdio::piped(), Stdio::inherit())
        .unwrap();
    let mut lines = BufReader::new(started.child.stdout.take().unwrap()).lines();
    let line = lines
        .next_line()
        .await
        .unwrap()
        .expect("it ended without a word");
    let forked = if attempts.is_empty() { 200 } else { 0 };
    assert!(started.family.children() >= forked);
    let killed = started.family.kill().unwrap();
    // In a namespace they end with its first process, uncounted.
    assert!(killed >= forked || level == Level::Namespace, "{killed}");
    assert_eq!(belfry_sandbox::kill_all(&plan.marker).unwrap(), 0);
    started.child.wait().await.unwrap();
    serde_json::from_str(&line).unwrap()
}
