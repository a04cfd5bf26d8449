//! Black-box tests: they start the built binary and talk to it as its users do.
//!
//! The tests are in `tests/`, one file for each theme, one fact for each test. Here is what they share: the words of
//! the REST API in short, and [`chaos`], which is also a program of its own. What a server, a receiver or a client is, `belfry-testkit` knows.

pub mod chaos;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belfry_testkit::{Client, Postgres, Server, wait_until};
use serde_json::{Value, json};

/// Long enough for everything that happens at all, also on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A signing secret of 32 bytes.
pub const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// Statuses from which a delivery does not move by itself.
const FINAL: [&str; 4] = ["delivered", "dead", "expired", "skipped"];

/// Two servers with the same database and key, and further settings.
pub async fn pair(database: &Postgres, settings: &[(&str, &str)]) -> Result<[Server; 2]> {
    let options = settings.iter().fold(
        Server::with("store.url", &database.url()),
        |options, (name, value)| options.set(name, value),
    );
    let first = options.clone().start().await?;
    let key = first.data().join("secret.key");
    let second = options
        .set("secrets.key_file", &key.to_string_lossy())
        .admin_key(first.admin_key())
        .start()
        .await?;
    Ok([first, second])
}

/// A webhook target with [`SECRET`].
pub fn webhook(url: &str) -> Value {
    json!({"type": "webhook", "settings": {"url": url, "signing": {"secrets": [SECRET]}}})
}

/// A webhook target that tries again after these waits.
pub fn webhook_with_waits(url: &str, waits_seconds: &[u32]) -> Value {
    let mut target = webhook(url);
    target["retry"] = json!({"schedule": "custom", "waitsSeconds": waits_seconds});
    target
}

/// A rule for events of these types with these targets.
pub fn rule(types: &[&str], targets: &Value) -> Value {
    json!({"pattern": {"type": types}, "targets": targets})
}

/// Makes or replaces a rule on bus `default`.
pub async fn put_rule(client: &Client, name: &str, rule: &Value) -> Result<Value> {
    let answer = client
        .put(&format!("/v1/buses/default/rules/{name}"), rule)
        .await?;
    ensure!(
        answer.status.is_success(),
        "the rule was refused: {}",
        answer.text()
    );
    answer.json()
}

/// Posts one event to bus `default`; gives the id that the server gave it.
pub async fn post(client: &Client, event: &Value) -> Result<String> {
    let answer = client.post_event("default", event).await?.expect(202)?;
    text(&answer["events"][0]["eventUid"]).with_context(|| answer.to_string())
}

/// An event's history.
pub async fn history(client: &Client, uid: &str) -> Result<Value> {
    client.get(&format!("/v1/events/{uid}")).await?.expect(200)
}

/// Waits until everything that follows from an event has come to an end; gives its deliveries.
pub async fn settled(client: &Client, uid: &str) -> Result<Vec<Value>> {
    wait_until(&format!("the end of {uid}"), LIMIT, async || {
        let event = history(client, uid).await?;
        let deliveries = event["deliveries"].as_array().cloned().unwrap_or_default();
        Ok(deliveries.iter().all(is_final).then_some(deliveries))
    })
    .await
}

/// Waits until the one delivery of an event has this status; gives the delivery.
pub async fn delivery_with(client: &Client, uid: &str, status: &str) -> Result<Value> {
    let mut last = Value::Null;
    let found = wait_until(&format!("status {status} of {uid}"), LIMIT, async || {
        last = history(client, uid).await?["deliveries"][0].clone();
        Ok((last["status"] == status).then(|| last.clone()))
    })
    .await;
    found.with_context(|| format!("it is {last}"))
}

/// A delivery with its attempts.
pub async fn delivery(client: &Client, id: &str) -> Result<Value> {
    client
        .get(&format!("/v1/deliveries/{id}"))
        .await?
        .expect(200)
}

/// Whether a delivery moves by itself no more.
pub fn is_final(delivery: &Value) -> bool {
    delivery["status"]
        .as_str()
        .is_some_and(|status| FINAL.contains(&status))
}

/// All items of a list, page by page. `path` has its own parameters or none.
pub async fn all(client: &Client, path: &str) -> Result<Vec<Value>> {
    let mark = if path.contains('?') { '&' } else { '?' };
    let mut items = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let cursor = next.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let page = client
            .get(&format!("{path}{mark}limit=200{cursor}"))
            .await?
            .expect(200)?;
        items.extend(
            page["items"]
                .as_array()
                .with_context(|| page.to_string())?
                .iter()
                .cloned(),
        );
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() {
            return Ok(items);
        }
    }
}

/// A JSON string.
pub fn text(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("expected a text, got {value}"))
}
