use std::path::Path;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_names_every_command() {
    let help = Cli::command().term_width(100).render_help().to_string();
    insta::assert_snapshot!(help);
}

#[test]
fn docs_of_the_command_line_are_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    // Not assert_eq: it would print both pages.
    assert!(
        kept == reference(),
        "docs/reference/cli.md is out of date: UPDATE_DOCS=1 cargo nextest run -p belfry docs"
    );
}

#[test]
fn without_a_command_the_server_is_meant() {
    let cli = Cli::try_parse_from(["belfry", "--listen", "127.0.0.1:0"]).unwrap();
    assert!(cli.command.is_none());
    let cli = Cli::try_parse_from(["belfry", "serve", "--listen", "127.0.0.1:0"]).unwrap();
    assert!(matches!(cli.command, Some(Command::Serve(_))));
    assert!(Cli::try_parse_from(["belfry", "--listen", "127.0.0.1:0", "list", "bus"]).is_err());
}

#[test]
fn a_misspelt_command_is_a_usage_error_with_a_suggestion() {
    let error = Cli::try_parse_from(["belfry", "sned"]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("send"), "{error}");
}
