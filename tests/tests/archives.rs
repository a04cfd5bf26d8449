//! What outlives the history.

use std::time::Duration;

use anyhow::{Result, ensure};
use belfry_testkit::{Server, Sink, events, wait_until};
use belfry_tests::{LIMIT, post, put_rule, rule, webhook};
use serde_json::json;

#[tokio::test]
async fn a_new_target_gets_from_an_archive_what_the_history_has_lost() -> Result<()> {
    let mut server = Server::with("retention.age", "1s").start().await?;
    let cli = server.cli();
    let file = server.data().join("archive.yaml");
    std::fs::write(
        &file,
        "kind: Archive\nmetadata: {name: orders}\nspec:\n  pattern: {type: [{prefix: order.}]}\n",
    )?;
    let path = file.display().to_string();
    let done = cli.run(&["apply", "-f", &path]).await?.expect(0)?;
    ensure!(done.contains("archive default/orders"), "{done}");
    let admin = server.admin()?;
    let mut uids = Vec::new();
    for (id, kind) in [("1", "order.paid"), ("2", "invoice"), ("3", "order.sent")] {
        uids.push(post(&admin, &events::event(id, kind)).await?);
    }
    wait_until(
        "the end of the history",
        Duration::from_mins(2),
        async || {
            let mut gone = true;
            for uid in &uids {
                let found = admin.get(&format!("/v1/events/{uid}")).await?;
                gone &= found.status.as_u16() == 404;
            }
            Ok(gone.then_some(()))
        },
    )
    .await?;

    // The copies are on the disk, whatever happens to the process.
    server.kill9()?;
    server.restart().await?;
    let (admin, cli) = (server.admin()?, server.cli());
    let sink = Sink::start().await?;
    let targets = json!({"new": webhook(&sink.url("/new"))});
    put_rule(
        &admin,
        "late",
        &rule(&["order.paid", "order.sent"], &targets),
    )
    .await?;
    let shown = cli.run(&["list", "archives"]).await?.expect(0)?;
    ensure!(shown.contains("orders"), "{shown}");
    let start = ["replay", "start", "--archive", "orders", "--to", "late/new"];
    cli.run(&start).await?.expect(0)?;
    let received = wait_until("both orders", LIMIT, async || {
        let received = sink.received_at("/new");
        Ok((received.len() == 2).then_some(received))
    })
    .await?;
    for one in received {
        ensure!(one.header("belfry-replay").is_some());
    }
    cli.run(&["delete", "archive", "orders"]).await?.expect(0)?;
    admin
        .get("/v1/buses/default/archives/orders")
        .await?
        .problem(404, "NOT_FOUND")?;
    Ok(())
}
