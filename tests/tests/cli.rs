//! The command line, as a person and as a script use it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belfry_testkit::{Cli, Reply, Server, Sink, events};
use belfry_tests::{LIMIT, SECRET, all, post, put_rule, rule, webhook, webhook_with_waits};
use serde_json::{Value, json};

#[tokio::test]
async fn the_first_steps_work_as_they_are_printed() -> Result<()> {
    let server = Server::start().await?;
    // Commands are indented by two blanks, what is said about them is not.
    let output = server.output();
    let steps = output
        .split_once("Your admin key")
        .context("no first steps")?
        .1;
    let lines = steps.lines().filter_map(|line| line.strip_prefix("  "));
    let commands: String = lines.flat_map(|line| [line, "\n"]).collect();
    ensure!(
        commands.matches("curl").count() == 2 && commands.contains("list deliveries"),
        "{commands}"
    );
    let binary = belfry_testkit::server::binary()?;
    ensure!(
        commands.contains(&binary.display().to_string()),
        "the program is named as it was called"
    );
    let run = std::process::Command::new("sh")
        .args(["-euc", &commands])
        .current_dir(server.cli().home())
        .output()?;
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    ensure!(run.status.success(), "{said}");
    for fact in ["\"eventUid\"", "disk-readonly", "delivered"] {
        ensure!(said.contains(fact), "{fact} is missing:\n{said}");
    }
    Ok(())
}

#[tokio::test]
async fn many_events_are_sent_from_standard_input() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    put_rule(
        &server.admin()?,
        "r",
        &rule(&["t"], &json!({"hook": webhook(&sink.url("/hook"))})),
    )
    .await?;
    let lines: String = (0..250)
        .map(|i| events::event(&format!("line-{i}"), "t").to_string() + "\n")
        .collect();
    server
        .cli()
        .stdin(&lines)
        .run(&["send", "-"])
        .await?
        .expect(0)?;
    assert_eq!(sink.wait_for("/hook", 250, LIMIT).await?.len(), 250);
    // The same again is known.
    server
        .cli()
        .stdin(&lines)
        .run(&["send", "-"])
        .await?
        .expect(0)?;
    assert_eq!(
        all(&server.admin()?, "/v1/events?bus=default").await?.len(),
        250
    );
    // A line that is no event is named, and the exit code says that not all is well.
    let bad = server
        .cli()
        .stdin("{\"source\": \"s\", \"type\": \"t\"}\nnonsense\n")
        .run(&["send", "-"])
        .await?;
    ensure!(bad.code == Some(1) || bad.code == Some(2), "{bad:?}");
    ensure!(
        bad.stderr.contains('2'),
        "the line is named: {}",
        bad.stderr
    );
    Ok(())
}

#[tokio::test]
async fn declarative_files_are_applied_compared_and_pruned() -> Result<()> {
    let server = Server::start().await?;
    let (cli, admin) = (server.cli(), server.admin()?);
    put_rule(&admin, "by-hand", &rule(&["x"], &json!({}))).await?;
    let file = cli.home().join("rules.yaml");
    let text = "kind: Bus\nmetadata: { name: orders }\nspec: { description: Orders }\n---\n\
        kind: Rule\nmetadata: { name: paid }\nspec:\n  pattern: { type: [order.paid] }\n  targets:\n    hook:\n      \
        type: webhook\n      settings:\n        url: http://127.0.0.1:9/\n        signing: { secrets: [{ $env: HOOK_SECRET }] }\n";
    fs::write(&file, text)?;
    let cli = cli.env("HOOK_SECRET", SECRET);
    let shown = cli.run(&["diff", "-f", "rules.yaml"]).await?.expect(4)?;
    ensure!(shown.contains("order.paid"), "{shown}");
    cli.run(&["apply", "-f", "rules.yaml", "--dry-run"])
        .await?
        .expect(0)?;
    ensure!(
        admin.get("/v1/buses/orders").await?.status.as_u16() == 404,
        "a dry run changed something"
    );
    cli.run(&["apply", "-f", "rules.yaml"]).await?.expect(0)?;
    let same = cli.run(&["diff", "-f", "rules.yaml"]).await?;
    ensure!(
        same.code == Some(0),
        "what was just applied differs: {same:?}"
    );
    let applied = admin
        .get("/v1/buses/default/rules/paid")
        .await?
        .expect(200)?;
    assert_eq!(applied["pattern"], json!({"type": ["order.paid"]}));
    assert_eq!(
        all(&admin, "/v1/buses/default/rules").await?.len(),
        2,
        "nothing is deleted unasked"
    );

    cli.run(&["diff", "-f", "rules.yaml", "--prune"])
        .await?
        .expect(4)?;
    cli.run(&["apply", "-f", "rules.yaml", "--prune"])
        .await?
        .expect(0)?;
    let left = all(&admin, "/v1/buses/default/rules").await?;
    assert_eq!((left.len(), &left[0]["name"]), (1, &json!("paid")));

    fs::write(&file, text.replace("type: webhook", "type: webhok"))?;
    let wrong = cli.run(&["apply", "-f", "rules.yaml"]).await?;
    ensure!(wrong.code == Some(2), "{wrong:?}");
    ensure!(
        wrong.stderr.contains("rules.yaml") && wrong.stderr.contains("webhook"),
        "{}",
        wrong.stderr
    );
    Ok(())
}

#[tokio::test]
async fn rules_and_patterns_are_tried_with_reasons() -> Result<()> {
    let server = Server::start().await?;
    let cli = server.cli();
    put_rule(
        &server.admin()?,
        "disk",
        &json!({"pattern": events::disk_pattern(), "targets": {}}),
    )
    .await?;
    fs::write(cli.home().join("alarm.json"), events::DISK_READ_ONLY)?;
    let shown = cli.run(&["rule", "test", "alarm.json"]).await?.expect(0)?;
    ensure!(shown.contains("disk"), "{shown}");
    let other = events::event("x", "order.paid").to_string();
    let shown = cli
        .clone()
        .stdin(&other)
        .run(&["rule", "test", "-"])
        .await?
        .expect(4)?;
    ensure!(
        shown.contains("source") || shown.contains("type"),
        "why not: {shown}"
    );
    cli.run(&[
        "pattern",
        "test",
        r#"{"region": ["ap-guangzhou"]}"#,
        "alarm.json",
    ])
    .await?
    .expect(0)?;
    cli.run(&["pattern", "test", r#"{"region": ["x"]}"#, "alarm.json"])
        .await?
        .expect(4)?;
    let wrong = cli
        .run(&[
            "pattern",
            "test",
            r#"{"region": [{"prefx": "x"}]}"#,
            "alarm.json",
        ])
        .await?;
    ensure!(
        wrong.code == Some(2) && wrong.stderr.contains("prefix"),
        "{wrong:?}"
    );
    Ok(())
}

#[tokio::test]
async fn tail_shows_deliveries_as_they_happen_and_retry_sends_again() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let (cli, admin) = (server.cli(), server.admin()?);
    sink.script("/hook", [Reply::status(500), Reply::status(204)]);
    let mut hook = webhook(&sink.url("/hook"));
    hook["retry"] = json!({"schedule": "none"});
    let targets = json!({"hook": hook, "quiet": webhook_with_waits(&sink.url("/quiet"), &[1])});
    put_rule(&admin, "r", &rule(&["t"], &targets)).await?;

    let tail = cli.start(&["tail"])?;
    // The stream is open when an event posted now is shown; until then, others are posted.
    let mut seen = None;
    for number in 0..100 {
        let id = format!("probe-{number}");
        post(&admin, &events::event(&id, "t")).await?;
        seen = tail
            .line_with("quiet", Duration::from_millis(200))
            .await
            .ok();
        if seen.is_some() {
            break;
        }
    }
    let line = seen.context("tail shows nothing")?;
    ensure!(line.contains("delivered"), "{line}");

    // The first one met the failing answer.
    let dead = all(&admin, "/v1/deliveries?status=dead").await?;
    assert_eq!(dead.len(), 1, "{dead:?}");
    let id = belfry_tests::text(&dead[0]["id"])?;
    let shown = cli.run(&["delivery", "show", &id]).await?.expect(0)?;
    ensure!(shown.contains("500") && shown.contains("dead"), "{shown}");
    cli.run(&["delivery", "retry", &id]).await?.expect(0)?;
    delivery_with_id(&server, &id).await?;
    let uid = belfry_tests::text(&dead[0]["eventUid"])?;
    let shown = cli
        .run(&["event", "show", &uid, "-o", "json"])
        .await?
        .expect(0)?;
    let shown: Value = serde_json::from_str(&shown)?;
    assert_eq!(shown["eventUid"], json!(uid));
    Ok(())
}

#[tokio::test]
async fn a_replay_sends_what_one_target_missed_and_says_so() -> Result<()> {
    let (server, sink) = (Server::start().await?, Sink::start().await?);
    let (cli, admin) = (server.cli(), server.admin()?);
    let old = json!({"old": webhook(&sink.url("/old"))});
    put_rule(&admin, "r", &rule(&["t"], &old)).await?;
    for number in 0..3 {
        post(&admin, &events::event(&format!("missed-{number}"), "t")).await?;
    }
    let both = json!({"old": webhook(&sink.url("/old")), "new": webhook(&sink.url("/new"))});
    put_rule(&admin, "r", &rule(&["t"], &both)).await?;
    let counted = cli
        .run(&["replay", "start", "--to", "r/new", "--dry-run"])
        .await?
        .expect(0)?;
    ensure!(counted.contains("3 events would"), "{counted}");
    let started = cli
        .run(&[
            "replay", "start", "--to", "r/new", "--since", "1h", "-o", "json",
        ])
        .await?
        .expect(0)?;
    let started: Value = serde_json::from_str(&started)?;
    let id = belfry_tests::text(&started["id"])?;
    belfry_testkit::wait_until("the missed events", LIMIT, async || {
        Ok((sink.received_at("/new").len() == 3).then_some(()))
    })
    .await?;
    assert_eq!(sink.received_at("/old").len(), 3);
    let marked = sink.received_at("/new");
    ensure!(
        marked
            .iter()
            .all(|one| one.header("belfry-replay") == Some(id.as_str())),
        "{marked:?}"
    );
    let shown = belfry_testkit::wait_until("the end", LIMIT, async || {
        let shown = cli.run(&["replay", "show", &id]).await?.expect(0)?;
        Ok(shown.contains("completed").then_some(shown))
    })
    .await?;
    ensure!(shown.contains("100 %"), "{shown}");
    let listed = cli.run(&["replay", "list"]).await?.expect(0)?;
    ensure!(listed.contains(&id), "{listed}");
    let refused = cli.run(&["replay", "cancel", &id]).await?;
    ensure!(refused.code != Some(0), "{refused:?}");
    Ok(())
}

async fn delivery_with_id(server: &Server, id: &str) -> Result<()> {
    let admin = server.admin()?;
    belfry_testkit::wait_until("the redriven delivery", LIMIT, async || {
        let found = belfry_tests::delivery(&admin, id).await?;
        Ok((found["delivery"]["status"] == "delivered").then_some(()))
    })
    .await
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked() -> Result<()> {
    let server = Server::start().await?;
    let cli = server.cli();
    let made = cli
        .run(&[
            "key",
            "create",
            "--name",
            "orders",
            "--scope",
            "events:write:default",
        ])
        .await?
        .expect(0)?;
    // Alone on standard output, so that a script can take it.
    let key = made.trim();
    ensure!(
        key.starts_with("bfy_") && !key.contains(char::is_whitespace),
        "{made:?}"
    );
    let sender = server.admin()?.with_key(Some(key));
    sender
        .post_event("default", &events::event("a", "t"))
        .await?
        .expect(202)?;
    let listed = cli.run(&["key", "list", "-o", "json"]).await?.expect(0)?;
    let listed: Value = serde_json::from_str(&listed)?;
    let id = listed
        .as_array()
        .into_iter()
        .flatten()
        .find(|key| key["name"] == "orders")
        .and_then(|key| key["id"].as_str())
        .with_context(|| listed.to_string())?;
    cli.run(&["key", "revoke", id]).await?.expect(0)?;
    sender
        .post_event("default", &events::event("b", "t"))
        .await?
        .problem(401, "KEY_REVOKED")?;
    Ok(())
}

#[tokio::test]
async fn things_are_shown_listed_and_deleted() -> Result<()> {
    let server = Server::start().await?;
    let (cli, admin) = (server.cli(), server.admin()?);
    put_rule(
        &admin,
        "r",
        &rule(&["t"], &json!({"hook": webhook("http://127.0.0.1:9/")})),
    )
    .await?;
    let table = cli.run(&["list", "rules"]).await?.expect(0)?;
    ensure!(table.contains("NAME") && table.contains("hook"), "{table}");
    ensure!(!table.contains('\u{1b}'), "no colours when nobody looks");
    let shown: Value = serde_json::from_str(
        &cli.run(&["get", "rule", "r", "-o", "json"])
            .await?
            .expect(0)?,
    )?;
    assert_eq!(shown["pattern"], json!({"type": ["t"]}));
    let yaml = cli
        .run(&["get", "rule", "r", "-o", "yaml"])
        .await?
        .expect(0)?;
    assert_eq!(yaml_serde::from_str::<Value>(&yaml)?, shown);
    cli.run(&["delete", "rule", "r"]).await?.expect(0)?;
    cli.run(&["get", "rule", "r"]).await?.expect(3)?;
    Ok(())
}

#[tokio::test]
async fn exit_codes_and_messages_say_what_is_wrong() -> Result<()> {
    let server = Server::start().await?;
    let cli = server.cli();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["nonsense"], 2, "nonsense"),
        (&["get", "rule"], 2, "NAME"),
        (
            &["get", "event", "evt_01jd0c4z8k000"],
            3,
            "evt_01jd0c4z8k000",
        ),
        (&["get", "bus", "nowhere"], 3, "nowhere"),
        (&["apply", "-f", "missing.yaml"], 1, "missing.yaml"),
    ];
    let mut wrong = Vec::new();
    for (arguments, code, said) in cases {
        let finished = cli.run(arguments).await?;
        if finished.code != Some(code) || !finished.stderr.contains(said) {
            wrong.push(format!(
                "{arguments:?}: expected {code} and {said:?}: {finished:?}"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let refused = cli
        .clone()
        .env("BELFRY_API_KEY", "bfy_wrong_key")
        .run(&["list", "buses"])
        .await?;
    ensure!(
        refused.code == Some(1) && refused.stderr.to_lowercase().contains("key"),
        "{refused:?}"
    );
    let away = cli
        .env("BELFRY_URL", "http://127.0.0.1:9")
        .run(&["list", "buses"])
        .await?;
    ensure!(
        away.code == Some(1) && away.stderr.contains("127.0.0.1:9"),
        "{away:?}"
    );
    Ok(())
}

#[tokio::test]
async fn settings_are_checked_and_printed_without_a_server() -> Result<()> {
    let home = tempfile::tempdir()?;
    let cli = Cli::new(home.path());
    fs::write(
        home.path().join("belfry.toml"),
        "[server]\nlisten = \"127.0.0.1:7000\"\n[secrets]\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n",
    )?;
    let printed = cli.run(&["config", "print"]).await?.expect(0)?;
    ensure!(
        printed.contains("127.0.0.1:7000") && !printed.contains("AAECAwQF"),
        "{printed}"
    );
    // What is printed is a file that can be used.
    fs::write(
        home.path().join("printed.toml"),
        printed.replace("********", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    )?;
    cli.run(&["config", "check", "--config", "printed.toml"])
        .await?
        .expect(0)?;
    fs::write(
        home.path().join("belfry.toml"),
        "[server]\nlistn = \"x\"\n[engine]\npark_after = \"soon\"\n",
    )?;
    let wrong = cli.run(&["config", "check"]).await?;
    ensure!(wrong.code == Some(2), "{wrong:?}");
    for said in ["listn", "listen", "park_after", "belfry.toml"] {
        ensure!(
            wrong.stderr.contains(said),
            "all that is wrong, with the nearest name: {}",
            wrong.stderr
        );
    }
    Ok(())
}

#[tokio::test]
async fn completions_and_the_description_are_printed() -> Result<()> {
    let home = tempfile::tempdir()?;
    let cli = Cli::new(home.path());
    for shell in ["bash", "zsh", "fish"] {
        let script = cli.run(&["completions", shell]).await?.expect(0)?;
        ensure!(
            script.contains("belfry") && script.contains("tail"),
            "{shell}"
        );
    }
    let document: Value = serde_json::from_str(&cli.run(&["openapi"]).await?.expect(0)?)?;
    ensure!(document["paths"]["/v1/buses/{bus}/events"].is_object());
    Ok(())
}

#[tokio::test]
async fn a_program_that_stops_reading_is_no_error() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    for number in 0..20 {
        post(&admin, &events::event(&format!("{number}"), "t")).await?;
    }
    let binary = belfry_testkit::server::binary()?;
    let line = format!("'{}' list events | head -n 1", binary.display());
    let output = std::process::Command::new("sh")
        .args(["-c", &line])
        .env("BELFRY_URL", server.base())
        .env("BELFRY_API_KEY", server.admin_key())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success() && !said.contains("panicked") && !said.contains("roken pipe"),
        "{said}"
    );
    Ok(())
}
