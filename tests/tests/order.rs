//! Order by key, as senders, receivers and operators see it.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Result, ensure};
use belfry_testkit::{Client, Received, Reply, Server, Sink, events, wait_until};
use belfry_tests::{
    LIMIT, delivery, delivery_with, history, post, put_rule, rule, text, webhook_with_waits,
};
use serde_json::{Value, json};

/// A target that keeps order by subject, behind `/hook` of the sink.
async fn ordered(sink: &Sink, admin: &Client, waits_seconds: &[u32]) -> Result<()> {
    let mut target = webhook_with_waits(&sink.url("/hook"), waits_seconds);
    target["order"] = json!({"by": "subject"});
    put_rule(admin, "r", &rule(&["t"], &json!({"hook": target}))).await?;
    Ok(())
}

fn keyed(id: &str, key: &str) -> Value {
    let mut event = events::event(id, "t");
    event["subject"] = key.into();
    event
}

/// The ids of events as they were received first, by key.
fn taken(received: &[Received]) -> Result<BTreeMap<String, Vec<String>>> {
    let mut seen = HashSet::new();
    let mut taken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in received {
        let event = one.json()?;
        let id = text(&event["id"])?;
        if seen.insert(id.clone()) {
            taken.entry(text(&event["subject"])?).or_default().push(id);
        }
    }
    Ok(taken)
}

#[tokio::test]
async fn a_failing_delivery_holds_up_its_own_key_alone_and_the_api_says_what_waits_for_it()
-> Result<()> {
    let sink = Sink::start().await?;
    sink.script("/hook", [Reply::status(500), Reply::status(204)]);
    let server = Server::start().await?;
    let admin = server.admin()?;
    // Long enough for everything below, also on a busy machine.
    ordered(&sink, &admin, &[8]).await?;
    let head = post(&admin, &keyed("bad-1", "bad")).await?;
    let head = delivery_with(&admin, &head, "retrying").await?;
    let behind = [
        post(&admin, &keyed("bad-2", "bad")).await?,
        post(&admin, &keyed("bad-3", "bad")).await?,
    ];
    for uid in &behind {
        let one = history(&admin, uid).await?["deliveries"][0].clone();
        let one = delivery(&admin, &text(&one["id"])?).await?;
        assert_eq!(one["delivery"]["status"], "queued", "{one}");
        assert_eq!(one["delivery"]["reason"], "waits_in_order", "{one}");
        assert_eq!(one["waitsFor"], head["id"], "{one}");
    }
    for key in ["good", "fine"] {
        for number in 1..=3 {
            let uid = post(&admin, &keyed(&format!("{key}-{number}"), key)).await?;
            delivery_with(&admin, &uid, "delivered").await?;
        }
    }
    for uid in &behind {
        delivery_with(&admin, uid, "delivered").await?;
    }
    let received = sink.received();
    let before = |id: &str| -> Result<usize> {
        let ids: Vec<String> = received
            .iter()
            .map(|one| text(&one.json()?["id"]))
            .collect::<Result<_>>()?;
        Ok(ids.iter().rposition(|one| one == id).unwrap_or(usize::MAX))
    };
    ensure!(
        before("good-3")? < before("bad-1")?,
        "the other keys did not wait"
    );
    for (key, ids) in taken(&received)? {
        let expected: Vec<_> = (1..=3).map(|number| format!("{key}-{number}")).collect();
        assert_eq!(ids, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_goes_on_when_its_first_delivery_has_used_up_its_attempts() -> Result<()> {
    let sink = Sink::start().await?;
    let fail = || Reply::status(500);
    sink.script("/hook", [fail(), fail(), Reply::status(204)]);
    let server = Server::start().await?;
    let admin = server.admin()?;
    ordered(&sink, &admin, &[1]).await?;
    let first = post(&admin, &keyed("1", "k")).await?;
    let second = post(&admin, &keyed("2", "k")).await?;
    let first = delivery_with(&admin, &first, "dead").await?;
    assert_eq!(first["attempts"], 2, "{first}");
    let second = delivery_with(&admin, &second, "delivered").await?;
    let second = delivery(&admin, &text(&second["id"])?).await?;
    ensure!(second["waitsFor"].is_null(), "{second}");
    let ids: Vec<String> = sink
        .received()
        .iter()
        .map(|one| text(&one.json()?["id"]))
        .collect::<Result<_>>()?;
    assert_eq!(ids, ["1", "1", "2"]);
    Ok(())
}

#[tokio::test]
async fn many_keys_keep_their_order_over_failures_and_a_crash() -> Result<()> {
    const KEYS: usize = 6;
    const EACH: usize = 20;
    let sink = Sink::start().await?;
    let answers = (0..7).map(|_| Reply::status(204));
    sink.cycle("/hook", answers.chain([Reply::status(503)]));
    let mut server = Server::start().await?;
    ordered(&sink, &server.admin()?, &[1; 20]).await?;
    let mut posted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for number in 0..KEYS * EACH {
        if number == KEYS * EACH / 2 {
            server.restart().await?;
        }
        let (id, key) = (number.to_string(), format!("key-{}", number % KEYS));
        post(&server.admin()?, &keyed(&id, &key)).await?;
        posted.entry(key).or_default().push(id);
    }
    let found = wait_until("all to be delivered", LIMIT * 2, async || {
        let found = taken(&sink.received())?;
        let count: usize = found.values().map(Vec::len).sum();
        Ok((count == KEYS * EACH).then_some(found))
    })
    .await?;
    // The first time something was received it may have been refused; what matters is the order of these times.
    assert_eq!(found, posted);
    Ok(())
}
