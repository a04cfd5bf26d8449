//! The built program where no server is needed: what it says and how it ends when something is wrong.

#![expect(
    clippy::unwrap_used,
    reason = "tests: an unmet expectation ends the test"
)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn belfry(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belfry"));
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BELFRY_"))
    {
        command.env_remove(name);
    }
    command.current_dir(home).args(arguments).output().unwrap()
}

fn ends(home: &Path, arguments: &[&str], code: i32, says: &[&str]) {
    let output = belfry(home, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    for text in says {
        assert!(error.contains(text), "{text:?} is not in:\n{error}");
    }
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn invalid_settings_end_with_2_and_every_error() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("belfry.toml"), "[server]\nlisen = 1\n").unwrap();
    let says = [
        "server.listen?",
        "belfry.toml:2",
        "log.level",
        "flag --set log.level",
    ];
    for command in ["check", "print"] {
        ends(
            home.path(),
            &["config", command, "--set", "log.level=a=b=c"],
            2,
            &says[..2],
        );
    }
    ends(home.path(), &["serve"], 2, &says[..2]);
    ends(
        home.path(),
        &["serve", "--config", "gone.toml"],
        2,
        &["gone.toml"],
    );
    assert!(!home.path().join("data").exists());
}

#[test]
fn a_wrong_call_ends_with_2() {
    let home = tempfile::tempdir().unwrap();
    ends(home.path(), &["sned"], 2, &["send"]);
    ends(home.path(), &["send"], 2, &["nothing to send"]);
    ends(
        home.path(),
        &["delete", "event", "evt_1"],
        2,
        &["retention"],
    );
    ends(
        home.path(),
        &["apply", "-f", "gone.yaml"],
        1,
        &["gone.yaml"],
    );
}

#[test]
fn a_server_that_is_not_there_ends_with_1_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    // Nobody listens there: the port was free a moment ago, and is not reused at once.
    let url = format!(
        "http://{}",
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    );
    ends(
        home.path(),
        &["list", "buses", "--url", &url],
        1,
        &["belfry serve", "--url", &url],
    );
}

#[test]
fn a_port_in_use_is_told_before_any_data_is_touched() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    ends(
        home.path(),
        &["serve", "--listen", &address],
        1,
        &[&address, "--listen 127.0.0.1:PORT"],
    );
    assert!(!home.path().join("data").exists());
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let file = data.join("belfry.db");
    let text = "this is no database ".repeat(400);
    std::fs::write(&file, &text).unwrap();
    ends(
        home.path(),
        &["serve", "--listen", "127.0.0.1:0"],
        1,
        &["belfry.db", "not"],
    );
    ends(home.path(), &["db", "stats"], 1, &["belfry.db"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert!(!data.join("secret.key").exists());
}

#[test]
fn a_database_that_is_not_there_ends_with_3() {
    let home = tempfile::tempdir().unwrap();
    for command in ["stats", "migrate"] {
        ends(
            home.path(),
            &["db", command],
            3,
            &["belfry.db", "--data-dir"],
        );
    }
}

#[test]
fn settings_are_printed_as_a_file_that_gives_them() {
    let home = tempfile::tempdir().unwrap();
    let output = belfry(
        home.path(),
        &["config", "print", "--set", "retention.age=7d"],
    );
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("age = \"7d\"  # flag --set retention.age"),
        "{text}"
    );
    std::fs::write(home.path().join("belfry.toml"), &text).unwrap();
    assert_eq!(
        belfry(home.path(), &["config", "check"]).status.code(),
        Some(0)
    );
}
