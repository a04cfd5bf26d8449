//! The database file: kept from harm, from others, and from older programs; copied while it is used.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use belfry_testkit::server::Options;
use belfry_testkit::{Server, Sink, events};
use belfry_tests::{LIMIT, delivery_with, history, post, put_rule, rule, webhook};
use serde_json::json;

/// A data directory as a server leaves it behind.
async fn used(directory: &Path) -> Result<()> {
    let mut server = Options::default().data_dir(directory).start().await?;
    post(&server.admin()?, &events::event("a", "t")).await?;
    server.stop(LIMIT).await?;
    Ok(())
}

/// The bytes of every file of a directory.
fn contents(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_none_or(|extension| extension != "lock") {
            all.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    all.sort();
    Ok(all)
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("belfry.db");
    fs::write(&file, "this is somebody's diary\n".repeat(1000))?;
    let before = fs::read(&file)?;
    let refused = Options::default().data_dir(home.path()).refused().await?;
    ensure!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
    ensure!(
        refused.stderr.contains("belfry.db"),
        "it says which file: {}",
        refused.stderr
    );
    ensure!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
    assert_eq!(fs::read(&file)?, before);
    Ok(())
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_alone() -> Result<()> {
    let home = tempfile::tempdir()?;
    used(home.path()).await?;
    let file = home.path().join("belfry.db");
    let mut bytes = fs::read(&file)?;
    // The header stays, what follows is gone: a disk that lost its writes.
    for byte in bytes.iter_mut().skip(200) {
        *byte = 0xa5;
    }
    fs::write(&file, &bytes)?;
    let before = contents(home.path())?;
    let refused = Options::default().data_dir(home.path()).refused().await?;
    ensure!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
    ensure!(!refused.stderr.contains("panicked"), "{}", refused.stderr);
    ensure!(
        refused.stderr.contains("belfry.db"),
        "it says which file: {}",
        refused.stderr
    );
    ensure!(contents(home.path())? == before, "the files were changed");
    Ok(())
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() -> Result<()> {
    let home = tempfile::tempdir()?;
    used(home.path()).await?;
    let file = home.path().join("belfry.db");
    let mut bytes = fs::read(&file)?;
    // Bytes 60 to 63 of an SQLite file are its user version, big-endian.
    let version = bytes.get_mut(60..64).context("no database")?;
    ensure!(
        version.iter().any(|byte| *byte != 0),
        "the schema's version is kept in the file's header"
    );
    version.copy_from_slice(&9999_u32.to_be_bytes());
    fs::write(&file, &bytes)?;
    let before = contents(home.path())?;
    let refused = Options::default().data_dir(home.path()).refused().await?;
    ensure!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
    ensure!(
        refused.stderr.contains("9999") && refused.stderr.contains("newer"),
        "{}",
        refused.stderr
    );
    ensure!(contents(home.path())? == before, "the files were changed");
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() -> Result<()> {
    let home = tempfile::tempdir()?;
    let first = Options::default().data_dir(home.path()).start().await?;
    let refused = Options::default().data_dir(home.path()).refused().await?;
    ensure!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
    ensure!(
        refused.stderr.contains("another"),
        "it says why: {}",
        refused.stderr
    );
    first.anon()?.get("/readyz").await?.expect(200)?;
    post(&first.admin()?, &events::event("a", "t")).await?;
    Ok(())
}

#[tokio::test]
async fn a_backup_made_under_way_starts_and_goes_on() -> Result<()> {
    let sink = Sink::start().await?;
    let server = Server::start().await?;
    let admin = server.admin()?;
    put_rule(
        &admin,
        "r",
        &rule(&["t"], &json!({"hook": webhook(&sink.url("/hook"))})),
    )
    .await?;
    let uid = post(&admin, &events::event("before", "t")).await?;
    delivery_with(&admin, &uid, "delivered").await?;
    let home = tempfile::tempdir()?;
    let copy = home.path().join("belfry.db");
    let call = [
        "db",
        "backup",
        copy.to_str().context("path")?,
        "--data-dir",
        server.data().to_str().context("path")?,
    ];
    server.cli().run(&call).await?.expect(0)?;
    // An existing file is not overwritten by a slip.
    let again = server.cli().run(&call).await?;
    ensure!(
        again.code != Some(0),
        "the backup was overwritten: {again:?}"
    );
    post(&admin, &events::event("after", "t")).await?;

    fs::copy(
        server.data().join("secret.key"),
        home.path().join("secret.key"),
    )?;
    let restored = Options::default()
        .data_dir(home.path())
        .admin_key(server.admin_key())
        .start()
        .await?;
    let admin = restored.admin()?;
    assert_eq!(
        history(&admin, &uid).await?["deliveries"][0]["status"],
        "delivered"
    );
    // It knows its rules and can open its secrets.
    let uid = post(&admin, &events::event("restored", "t")).await?;
    delivery_with(&admin, &uid, "delivered").await?;
    let last = sink.received().pop().context("nothing received")?;
    last.verify(belfry_tests::SECRET)?;
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn data_is_readable_by_its_owner_only() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start().await?;
    let mode = |path: &Path| -> Result<u32> { Ok(path.metadata()?.permissions().mode() & 0o777) };
    assert_eq!(mode(server.data())?, 0o700);
    assert_eq!(mode(&server.data().join("secret.key"))?, 0o600);
    Ok(())
}
