//! What a program has started is found, measured and ended, whatever it does to hide it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, outside of functions marked as tests"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use belfry_sandbox::{Cage, LAUNCH_FAILED, Launcher, Level, Plan, Started, Support, leftovers};
use belfry_testkit::lacks::tries_namespaces;
use belfry_testkit::wait_until;
use tokio::io::AsyncReadExt as _;

const LIMIT: Duration = Duration::from_secs(30);

fn launcher(instance: &str) -> Launcher {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_belfry-launch"));
    Launcher::new(program, instance.to_owned())
}

fn cage(level: Level, scratch: &Path) -> Cage {
    let mut write = Cage::system_write();
    write.push(scratch.to_owned());
    Cage {
        level,
        read: Cage::system_read(),
        write,
        network: false,
        data_bytes: None,
        files: 64,
        file_bytes: 1 << 20,
        processes: None,
        nice: 5,
    }
}

fn shell(script: &str, marker: &str, cage: Cage) -> Plan {
    Plan {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: vec![
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("GREETING".to_owned(), "hello".to_owned()),
        ],
        directory: cage.write.last().cloned().unwrap_or_else(|| "/".into()),
        marker: marker.to_owned(),
        cage,
    }
}

fn start(launcher: &Launcher, plan: &Plan) -> Started {
    launcher
        .start(plan, Stdio::null(), Stdio::piped(), Stdio::piped())
        .unwrap()
}

/// What it prints until it says that it is ready.
async fn ready(started: &mut Started) -> String {
    let mut said = String::new();
    let stdout = started.child.stdout.as_mut().unwrap();
    while !said.contains("ready\n") {
        let mut some = [0; 256];
        let count = stdout.read(&mut some).await.unwrap();
        assert!(count > 0, "it ended after {said:?}");
        said.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    said
}

/// Processes of which the whole command line is this.
fn running(command_line: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            std::fs::read(entry.path().join("cmdline")).is_ok_and(|found| {
                String::from_utf8_lossy(&found).replace('\0', " ").trim() == command_line
            })
        })
        .count()
}

#[tokio::test]
async fn nothing_survives_of_shells_that_fork_leave_their_session_and_clear_their_environment() {
    let scratch = tempfile::tempdir().unwrap();
    let launcher = launcher("family-survivors/");
    for turn in 0..20 {
        // A time that no other test sleeps for tells these from others.
        let nap = format!("{}", 77_000 + std::process::id() % 100_000 * 20 + turn);
        let script = format!(
            "bomb() {{ while :; do sleep {nap} & setsid sleep {nap} & env -i setsid /bin/sh -c 'sleep {nap} & sleep {nap} & wait' & sleep 0.01; done; }}
             bomb & bomb & (bomb & ) ; sleep 0.1; echo ready; wait"
        );
        let plan = shell(
            &script,
            &format!("family-survivors/{turn}"),
            cage(Level::Landlock, scratch.path()),
        );
        let mut started = start(&launcher, &plan);
        ready(&mut started).await;
        assert!(started.family.children() > 3);
        let killed = started.family.kill().unwrap();
        assert!(killed > 3, "{killed}");
        assert!(!started.child.wait().await.unwrap().success());
        assert_eq!(running(&format!("sleep {nap}")), 0, "in turn {turn}");
        assert_eq!(started.family.memory(), 0);
    }
}

#[tokio::test]
async fn what_a_program_leaves_behind_when_it_ends_is_ended_too() {
    let scratch = tempfile::tempdir().unwrap();
    let launcher = launcher("family-orphans/");
    let nap = format!("78{:06}", std::process::id());
    let script = format!("setsid sleep {nap} & env -i sleep {nap} & echo ready");
    let plan = shell(
        &script,
        "family-orphans/1",
        cage(Level::Landlock, scratch.path()),
    );
    let mut started = start(&launcher, &plan);
    ready(&mut started).await;
    assert!(started.child.wait().await.unwrap().success());
    wait_until("both sleep", LIMIT, async || {
        Ok((running(&format!("sleep {nap}")) == 2).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(started.family.kill().unwrap(), 2);
    assert_eq!(running(&format!("sleep {nap}")), 0);
}

#[tokio::test]
async fn what_an_earlier_run_has_left_is_told_by_the_instance_and_ended() {
    let scratch = tempfile::tempdir().unwrap();
    let nap = format!("79{:06}", std::process::id());
    let mut kept = Vec::new();
    for (instance, marker) in [
        ("family-a/", "family-a/1"),
        ("family-a/", "family-a/2"),
        ("family-b/", "family-b/1"),
    ] {
        let script = format!("setsid sleep {nap} & echo ready; wait");
        let plan = shell(&script, marker, cage(Level::Process, scratch.path()));
        let mut started = start(&launcher(instance), &plan);
        ready(&mut started).await;
        kept.push(started);
    }
    assert_eq!(leftovers("family-a/").unwrap(), 4);
    assert_eq!(leftovers("family-a/").unwrap(), 0);
    assert_eq!(kept[2].family.children(), 1);
    assert_eq!(kept[2].family.kill().unwrap(), 1);
}

#[tokio::test]
async fn memory_counts_what_several_processes_share_once() {
    let scratch = tempfile::tempdir().unwrap();
    let program = "
import os, sys, time
held = bytearray(os.urandom(1)) * (50 << 20)
print('alone\\nready', flush=True)
sys.stdin.readline()
for _ in range(4):
    if os.fork() == 0:
        time.sleep(1000)
print('forked\\nready', flush=True)
time.sleep(1000)
";
    let mut plan = shell("", "family-memory/1", cage(Level::Landlock, scratch.path()));
    plan.program = "/usr/bin/python3".into();
    plan.arguments = vec!["-c".to_owned(), program.to_owned()];
    let mut started = launcher("family-memory/")
        .start(&plan, Stdio::piped(), Stdio::piped(), Stdio::inherit())
        .unwrap();
    ready(&mut started).await;
    let alone = started.family.memory() >> 20;
    assert!((50..90).contains(&alone), "{alone} MB");
    assert_eq!(started.family.children(), 0);
    let mut stdin = started.child.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, b"\n")
        .await
        .unwrap();
    ready(&mut started).await;
    assert_eq!(started.family.children(), 4);
    let forked = started.family.memory() >> 20;
    assert!((50..110).contains(&forked), "{forked} MB");
    assert_eq!(started.family.kill().unwrap(), 4);
}

#[tokio::test]
async fn a_program_gets_its_own_environment_limits_and_session_and_nothing_else() {
    let scratch = tempfile::tempdir().unwrap();
    let mut levels = vec![Level::Process, Level::Landlock];
    if tries_namespaces(&Support::probe().why_not) {
        levels.push(Level::Namespace);
    }
    for level in levels {
        let script = "env | sort; ulimit -n; ulimit -c; nice; pwd; set -- /proc/$$/fd/*; echo $#; echo ready";
        let plan = shell(script, "family-own/1", cage(level, scratch.path()));
        let mut started = start(&launcher("family-own/"), &plan);
        let said = ready(&mut started).await;
        let there = scratch.path().display();
        // The listing itself has one file open.
        let expected = format!(
            "BELFRY_WORKER=family-own/1\nGREETING=hello\nPATH=/usr/bin:/bin\nPWD={there}\n64\n0\n5\n{there}\n4\nready\n"
        );
        assert_eq!(said, expected, "{level:?}");
        started.child.wait().await.unwrap();
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_as_asked_says_why_and_never_runs() {
    let scratch = tempfile::tempdir().unwrap();
    let good = shell(
        "echo it runs",
        "family-failing/1",
        cage(Level::Landlock, scratch.path()),
    );
    let mut nowhere = good.clone();
    nowhere.directory = "/nowhere".into();
    let mut missing = good.clone();
    missing.program = "/nowhere/program".into();
    let mut outside = good.clone();
    outside.cage.read.clear();
    for (plan, reason) in [
        (
            nowhere,
            "belfry launch: the folder /nowhere: No such file or directory (os error 2)\n",
        ),
        (
            missing,
            "belfry launch: /nowhere/program: No such file or directory (os error 2)\n",
        ),
        (
            outside,
            "belfry launch: /bin/sh: Permission denied (os error 13)\n",
        ),
    ] {
        let started = start(&launcher("family-failing/"), &plan);
        let ended = started.child.wait_with_output().await.unwrap();
        assert_eq!(ended.status.code(), Some(LAUNCH_FAILED));
        assert_eq!(String::from_utf8_lossy(&ended.stderr), reason);
        assert!(ended.stdout.is_empty());
    }
}
