//! Several servers on one Postgres, as their users see them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use belfry_testkit::{Postgres, Reply, Server, Sink, events, wait_until};
use belfry_tests::{LIMIT, delivery_with, pair, post, put_rule, rule, webhook};
use serde_json::json;

/// Nobody looks for changes within the test: the database tells of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_made_at_one_server_matches_at_the_other_within_a_moment() -> Result<()> {
    let database = tokio::task::block_in_place(Postgres::start)?;
    let [first, second] = pair(&database, &[("engine.config_poll", "1h")]).await?;
    let sink = Sink::start().await?;
    let targets = json!({"hook": webhook(&sink.url("/a"))});
    put_rule(&first.admin()?, "mine", &rule(&["t"], &targets)).await?;
    let (start, client) = (Instant::now(), second.admin()?);
    let mut number = 0;
    wait_until("the rule at the other server", LIMIT, async || {
        number += 1;
        post(&client, &events::event(&format!("e{number}"), "t")).await?;
        let page = client.get("/v1/events?matched=true").await?.expect(200)?;
        let items = page["items"].as_array().context("items")?;
        Ok((!items.is_empty()).then_some(()))
    })
    .await?;
    println!("in force at the other server after {:?}", start.elapsed());
    sink.wait_for("/a", 1, LIMIT).await?;
    let nodes = first.admin()?.get("/v1/nodes").await?.expect(200)?;
    let nodes = nodes["items"].as_array().context("nodes")?;
    ensure!(nodes.len() == 2, "{nodes:?}");
    Ok(())
}

/// The lease would keep its work for an hour; that the process has ended is seen on the same machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_started_again_goes_on_at_once() -> Result<()> {
    let database = tokio::task::block_in_place(Postgres::start)?;
    let mut server = Server::with("store.url", &database.url())
        .set("node.lease", "1h")
        .start()
        .await?;
    let sink = Sink::start().await?;
    sink.script("/a", [Reply::Hang, Reply::status(204)]);
    let targets = json!({"hook": webhook(&sink.url("/a"))});
    put_rule(&server.admin()?, "mine", &rule(&["t"], &targets)).await?;
    let uid = post(&server.admin()?, &events::event("a", "t")).await?;
    sink.wait_for("/a", 1, LIMIT).await?;
    server.kill9()?;
    server.restart().await?;
    let client = server.admin()?;
    delivery_with(&client, &uid, "delivered").await?;
    let nodes = client.get("/v1/nodes").await?.expect(200)?;
    let nodes = nodes["items"].as_array().context("nodes")?;
    ensure!(nodes.len() == 1, "it has its number again: {nodes:?}");
    let (status, _) = server.stop(Duration::from_secs(30)).await?;
    ensure!(status.success());
    Ok(())
}

/// Servers on an empty database, started at the same moment, each with this key of the secrets or one of its own. Gives those
/// that came up, and what is said of the others.
async fn at_once(
    database: &Postgres,
    key: Option<&Path>,
) -> Result<(Vec<Server>, Vec<anyhow::Error>)> {
    let mut options = Server::with("store.url", &database.url()).admin_key("unknown");
    if let Some(key) = key {
        options = options.set("secrets.key_file", &key.to_string_lossy());
    }
    let start = || options.clone().start();
    let started = tokio::join!(start(), start(), start(), start());
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for start in <[_; 4]>::from(started) {
        match start {
            Ok(server) => up.push(server),
            Err(error) => down.push(error),
        }
    }
    Ok((up, down))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_servers_that_start_at_once_one_shows_an_admin_key() -> Result<()> {
    let home = tempfile::tempdir()?;
    let key = home.path().join("secret.key");
    std::fs::write(&key, "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=")?;
    std::fs::set_permissions(&key, Permissions::from_mode(0o600))?;
    let database = tokio::task::block_in_place(Postgres::start)?;
    let (up, down) = at_once(&database, Some(&key)).await?;
    ensure!(down.is_empty(), "{down:?}");
    let shows = |server: &&Server| server.output().contains("BELFRY_API_KEY=bfy_");
    assert_eq!(up.iter().filter(shows).count(), 1);
    Ok(())
}

/// Each would seal what the others cannot open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_servers_with_keys_of_their_own_that_start_at_once_one_comes_up() -> Result<()> {
    let database = tokio::task::block_in_place(Postgres::start)?;
    let (up, down) = at_once(&database, None).await?;
    ensure!(up.len() == 1, "{} came up", up.len());
    for refused in down {
        let why = format!("{refused:#}");
        ensure!(why.contains("key"), "{why}");
    }
    Ok(())
}
