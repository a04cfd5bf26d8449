//! Real helper processes for templates and scripts, and such that mean harm.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::time::Duration;

use belfry_eval::{EvalLimits, FaultKind, Output, Piece, Script, Templates};

fn templates() -> Templates {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_belfry"));
    let arguments = vec!["eval-worker".to_owned()];
    let limits = EvalLimits {
        processes: 1,
        timeout: LONG,
    };
    Templates::new(program, arguments, limits)
}

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_template_that_grows_without_end_fails_alone() {
    let templates = templates();
    let bombs = [
        "{% set x = 'x' * 100000 %}{{ x | replace('x', x) }}",
        "{{ range(9999) | join('x' * 100000) }}",
    ];
    for bomb in bombs {
        templates.check(bomb).await.unwrap();
        let fault = templates.render(bomb, "{}").await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Template, "{fault}");
        let pieces = templates
            .render("a {{ x }}", r#"{"x":1.50}"#)
            .await
            .unwrap();
        let expected = [Piece::Text("a ".to_owned()), Piece::Value("1.5".to_owned())];
        assert_eq!(pieces, expected);
    }
}

#[tokio::test]
async fn a_template_that_has_ended_two_helpers_is_not_tried_again() {
    // It answers once, as a start asks, and is gone.
    let dies = r#"printf '\000\000\000\015{"Pieces":[]}'; head -c 4 >/dev/null"#;
    let arguments = vec!["-c".to_owned(), dies.to_owned()];
    let limits = EvalLimits {
        processes: 1,
        timeout: LONG,
    };
    let templates = Templates::new(PathBuf::from("/bin/sh"), arguments, limits);
    for _ in 0..2 {
        let fault = templates.render("a", "{}").await.unwrap_err();
        assert!(fault.message.contains("process ended"), "{fault}");
    }
    let fault = templates.render("a", "{}").await.unwrap_err();
    assert!(fault.message.contains("not tried again"), "{fault}");
    let fault = templates.render("b", "{}").await.unwrap_err();
    assert!(fault.message.contains("process ended"), "{fault}");
}

#[tokio::test]
async fn a_template_that_takes_too_long_fails_alone() {
    // It answers once, as a start asks, and never again.
    let hangs = r#"printf '\000\000\000\015{"Pieces":[]}'; cat >/dev/null"#;
    let arguments = vec!["-c".to_owned(), hangs.to_owned()];
    let limits = EvalLimits {
        processes: 1,
        timeout: Duration::from_millis(20),
    };
    let templates = Templates::new(PathBuf::from("/bin/sh"), arguments, limits);
    let fault = templates.render("a", "{}").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Template);
    assert!(fault.message.contains("longer than"), "{fault}");
}

#[tokio::test]
async fn a_template_that_cannot_be_read_says_where() {
    let fault = templates().check("a\n{% if %}").await.unwrap_err();
    assert_eq!((fault.kind, fault.line), (FaultKind::Template, Some(2)));
}

#[tokio::test]
async fn without_a_helper_nothing_is_the_templates_fault() {
    let templates = Templates::new(
        PathBuf::from("/nonexistent/belfry"),
        Vec::new(),
        EvalLimits::default(),
    );
    let fault = templates.check("a").await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);
}

fn script(source: &str) -> Script {
    Script {
        source: source.to_owned(),
        vars: Vec::new(),
    }
}

const MESSAGE: &str =
    r#"{"payload":{"n":1},"attrs":{},"id":"e","seq_id":"d","error":null,"now_ms":0}"#;

#[tokio::test]
async fn a_script_that_means_harm_ends_its_helper_and_nothing_else() {
    let arguments = vec!["eval-worker".to_owned()];
    let limits = EvalLimits {
        processes: 1,
        timeout: Duration::from_secs(5),
    };
    let templates = Templates::new(
        PathBuf::from(env!("CARGO_BIN_EXE_belfry")),
        arguments,
        limits,
    );
    let nested = format!("x = {}1{}\n", "(".repeat(50_000), ")".repeat(50_000));
    // Some are computed while they are compiled, so checking one is as dangerous as running it.
    let while_compiled = [
        "for i in range(1000000000):\n    x = i\n",
        "x = 'x' * 2000000000\n",
        "x = list(range(300000000))\n",
        "s = 'x' * 1000\nfor i in range(40):\n    s = s + s\n",
        nested.as_str(),
    ];
    for bomb in while_compiled {
        let bomb = script(&format!("{bomb}def dw_process(msg):\n    return 1\n"));
        let fault = templates.check_script(&bomb).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Template, "{fault}");
        answers(&templates).await;
    }
    let while_run = [
        "n = len(msg.id)\n    return 'x' * (n * 2000000000)",
        "return list(range(300000000))",
        "for _ in range(1000000000):\n        pass",
        "return [x for x in range(1000000000) if x < 0]",
        "x = [1]\n    for _ in range(60):\n        x = [x, x]\n    return x",
    ];
    for bomb in while_run {
        let bomb = script(&format!("def dw_process(msg):\n    {bomb}\n"));
        let fault = templates.run(&bomb, MESSAGE).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Template, "{fault}");
        answers(&templates).await;
    }
}

async fn answers(templates: &Templates) {
    let good = script("def dw_process(msg):\n    return msg.payload['n']\n");
    let ran = templates.run(&good, MESSAGE).await.unwrap();
    assert_eq!(ran.output, Output::Json("1".to_owned()));
}
