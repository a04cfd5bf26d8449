//! Integration flows as rules: scripts, robots, and what catches their failures.

use anyhow::{Result, ensure};
use belfry_testkit::{Im, Server, wait_until};
use belfry_tests::{LIMIT, all, delivery_with, post, put_rule, settled};
use serde_json::{Value, json};

const KEY: &str = "693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa";
const TOKEN: &str = "0f3a2b1c-flow-errors";
const FLOW: &str = include_str!("../../docs/guides/integration-flow.yaml");

fn alarm(id: &str, region: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "cvm.cloud.tencent", "type": "cvm:ErrorEvent:ping_unreachable",
        "subject": "ins-sjksjk", "region": region,
    })
}

#[tokio::test]
async fn the_flow_of_the_guide_sends_alarms_and_catches_what_it_cannot_send() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let wecom = Im::wecom(KEY).await?;
    let feishu = Im::feishu(TOKEN, None, None).await?;
    let cli = server
        .cli()
        .env("WECOM_KEY", KEY)
        .env("FEISHU_TOKEN", TOKEN);
    let flow = FLOW
        .replace(
            "$env: WECOM_KEY }",
            &format!("$env: WECOM_KEY }}, baseUrl: \"{}\"", wecom.base()),
        )
        .replace(
            "$env: FEISHU_TOKEN }",
            &format!("$env: FEISHU_TOKEN }}, baseUrl: \"{}\"", feishu.base()),
        );
    std::fs::write(cli.home().join("flow.yaml"), flow)?;
    let made = admin.put("/v1/buses/flow-errors", &json!({})).await?;
    ensure!(made.status.is_success(), "{}", made.text());
    cli.run(&["apply", "-f", "flow.yaml"]).await?.expect(0)?;

    let uid = post(&admin, &alarm("1", &json!("ap-guangzhou"))).await?;
    let deliveries = settled(&admin, &uid).await?;
    ensure!(deliveries[0]["status"] == "delivered", "{deliveries:?}");
    let sent = wecom.wait_for(1, LIMIT).await?;
    let content = sent[0].body.to_string();
    for line in [
        r#"<font color=\"warning\"> 收到告警信息，请及时处理 </font>\n\n    > 实例 ID:<font color=\"comment\">ins-sjksjk</font>\n"#,
        r#"    > 地域:<font color=\"comment\">ap-guangzhou</font>\n    > 事件名称:<font color=\"comment\">cvm:ErrorEvent:ping_unreachable</font>"#,
    ] {
        ensure!(content.contains(line), "{content}");
    }

    // Without its region the script fails: 'text' + None.
    let uid = post(&admin, &alarm("2", &Value::Null)).await?;
    let dead = delivery_with(&admin, &uid, "dead").await?;
    ensure!(dead["reason"] == "transform_error", "{dead:#}");
    let told = feishu.wait_for(1, LIMIT).await?[0].body.to_string();
    ensure!(told.contains("告警未送达: transform_error"), "{told}");
    let path = "/v1/logs/flow-errors/entries";
    let line = wait_until("a line of the logger", LIMIT, async || {
        // Its first line makes the log.
        if admin.get(path).await?.status == 404 {
            return Ok(None);
        }
        Ok(all(&admin, path).await?.pop())
    })
    .await?
    .to_string();
    ensure!(
        line.contains("line 2, column 14") && line.contains("ins-sjksjk"),
        "{line}"
    );
    ensure!(wecom.taken().len() == 1);
    Ok(())
}

#[tokio::test]
async fn a_script_that_returns_nothing_skips_and_one_that_is_wrong_is_not_saved() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let rule = |source: &str| {
        json!({ "pattern": { "type": [{ "prefix": "cvm:" }] }, "targets": { "t": {
            "type": "log", "settings": { "log": "l" }, "transform": { "kind": "script", "source": source },
        } } })
    };
    put_rule(&admin, "r", &rule("def dw_process (msg):\n    return\n")).await?;
    let uid = post(&admin, &alarm("1", &json!("r"))).await?;
    let deliveries = settled(&admin, &uid).await?;
    ensure!(
        deliveries[0]["status"] == "skipped" && deliveries[0]["reason"] == "nothing_to_send",
        "{deliveries:?}"
    );

    let wrong = rule("def dw_process(msg):\n    return msg.error is None\n");
    let answer = admin.put("/v1/buses/default/rules/wrong", &wrong).await?;
    let problem: Value = serde_json::from_str(&answer.text())?;
    let error = &problem["errors"][0];
    ensure!(
        answer.status.as_u16() == 400
            && error["pointer"] == "/targets/t/transform/source"
            && error["line"] == 2
            && error["column"] == 22
            && error["hint"]
                .as_str()
                .is_some_and(|hint| hint.contains("== None")),
        "{problem:#}"
    );
    Ok(())
}

/// Else the limit of its memory would not hold for what it has, and what it has no room for would fail now and then.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_helper_process_of_scripts_has_little_memory_when_it_takes_its_limit() -> Result<()> {
    let server = Server::start().await?;
    let target = json!({
        "type": "log", "settings": { "log": "l" },
        "transform": { "kind": "script", "source": "def dw_process(msg):\n    return 1\n" },
    });
    let rule = json!({ "pattern": { "type": ["t"] }, "targets": { "t": target } });
    put_rule(&server.admin()?, "r", &rule).await?;
    let parent = format!("PPid:\t{}\n", server.process_id());
    let statuses = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .filter(|status| status.contains(&parent));
    let data: Vec<u64> = statuses
        .filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmData:"));
            line?.trim().strip_suffix(" kB")?.parse().ok()
        })
        .collect();
    ensure!(data.len() == 1 && data[0] < 64 * 1024, "{data:?} kB");
    Ok(())
}

#[tokio::test]
async fn the_command_line_says_where_a_script_is_wrong() -> Result<()> {
    let server = Server::start().await?;
    let cli = server.cli();
    let script = "def dw_process(msg):\n    return msg.error is None\n";
    std::fs::write(cli.home().join("script.py"), script)?;
    let transform = json!({ "kind": "script", "source": script });
    let target = json!({ "type": "log", "settings": { "log": "l" }, "transform": transform });
    let rule = json!({
        "kind": "Rule", "metadata": { "name": "r" }, "spec": { "pattern": { "type": ["t"] }, "targets": { "t": target } },
    });
    std::fs::write(cli.home().join("rule.json"), rule.to_string())?;
    for (line, place) in [
        (
            &[
                "transform",
                "test",
                "-f",
                "script.py",
                "--template",
                "cvm/disk-readonly",
            ][..],
            "/transform/source line 2 column 22: ",
        ),
        (
            &["apply", "-f", "rule.json"],
            "/spec/targets/t/transform/source line 2 column 22: ",
        ),
    ] {
        let refused = cli.run(line).await?;
        ensure!(
            refused.code == Some(2)
                && refused.stderr.contains(place)
                && refused.stderr.contains("== None"),
            "{refused:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_transform_is_tried_out_without_being_saved() -> Result<()> {
    let server = Server::start().await?;
    let admin = server.admin()?;
    let ask = async |transform: Value| {
        let body = json!({ "transform": transform, "event": alarm("1", &json!("r")) });
        admin.post("/v1/transforms:test", &body).await?.expect(200)
    };
    let script = |body: &str| json!({ "kind": "script", "source": format!("def dw_process(msg):\n    {body}\n") });
    let shown = ask(script(
        "print(msg.attrs['rule']); return {'s': msg.payload['subject']}",
    ))
    .await?;
    ensure!(
        shown["output"] == r#"{"s":"ins-sjksjk"}"#
            && shown["contentType"] == "application/json"
            && shown["printed"] == "trial\n",
        "{shown:#}"
    );
    let shown = ask(script("return")).await?;
    ensure!(
        shown["skipped"].is_string() && shown.get("output").is_none(),
        "{shown:#}"
    );
    let shown = ask(script("return 'a' + msg.payload.get('nope')")).await?;
    let error = &shown["error"];
    ensure!(
        error["line"] == 2 && error["column"] == 12 && error["hint"].is_string(),
        "{shown:#}"
    );
    let shown = ask(json!({ "kind": "template", "template": "${$.subject}" })).await?;
    ensure!(shown["output"] == "ins-sjksjk", "{shown:#}");
    let refused = admin
        .post(
            "/v1/transforms:test",
            &json!({ "transform": script("while True: pass") }),
        )
        .await?;
    ensure!(
        refused.status.as_u16() == 400 && refused.text().contains("\"/transform/source\""),
        "{}",
        refused.text()
    );

    let cli = server.cli();
    std::fs::write(
        cli.home().join("s.py"),
        "def dw_process(msg):\n    return msg.payload['type']\n",
    )?;
    let out = cli
        .run(&[
            "transform",
            "test",
            "-f",
            "s.py",
            "--template",
            "cvm/disk-readonly",
        ])
        .await?
        .expect(0)?;
    ensure!(out.trim() == "cvm:ErrorEvent:DiskReadonly", "{out}");
    std::fs::write(
        cli.home().join("s.py"),
        "def dw_process(msg):\n    return msg.payload['nope']\n",
    )?;
    let out = cli.run(&["transform", "test", "-f", "s.py"]).await?;
    ensure!(
        out.code == Some(4) && out.stdout.contains("line 2 column 12"),
        "{out:?}"
    );
    Ok(())
}
