use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

fn file(text: &str) -> Sources {
    Sources {
        file: Some(FileSource {
            path: PathBuf::from("belfry.toml"),
            text: text.to_owned(),
        }),
        ..Sources::default()
    }
}

fn variables(pairs: &[(&str, &str)]) -> Sources {
    let variables = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Sources {
        variables,
        ..Sources::default()
    }
}

fn problems(sources: &Sources) -> Vec<String> {
    load(sources).map_or_else(
        |all| all.iter().map(ToString::to_string).collect(),
        |_| Vec::new(),
    )
}

#[test]
fn the_defaults_hold_together() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.settings.server.listen.port(), DEFAULT_PORT);
    assert!(loaded.settings.server.listen.ip().is_loopback());
    assert_eq!(loaded.settings.ingest.event_bytes_max.0, 256 * 1024);
    assert_eq!(loaded.settings.retention.bytes, None);
    assert!(
        loaded
            .effective
            .iter()
            .all(|one| one.origin == Origin::Default)
    );
}

#[test]
fn later_layers_replace_earlier_ones() {
    let mut sources = file(
        "[server]\nlisten = \"127.0.0.1:1\"\nbody_timeout = \"1s\"\nheader_timeout = \"2s\"\n",
    );
    sources.variables = vec![
        ("BELFRY_SERVER__LISTEN".to_owned(), "127.0.0.1:2".to_owned()),
        ("BELFRY_SERVER__BODY_TIMEOUT".to_owned(), "5m".to_owned()),
        ("PATH".to_owned(), "/bin".to_owned()),
    ];
    sources.flags = vec![Flag {
        shown: "--listen".to_owned(),
        path: "server.listen".to_owned(),
        value: "127.0.0.1:3".to_owned(),
    }];
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.settings.server.listen.port(), 3);
    assert_eq!(loaded.settings.server.body_timeout, Duration::from_mins(5));
    assert_eq!(
        loaded.settings.server.header_timeout,
        Duration::from_secs(2)
    );
    let origins: Vec<String> = ["listen", "body_timeout", "header_timeout", "drain_limit"]
        .iter()
        .filter_map(|key| loaded.effective.iter().find(|one| one.setting.key == *key))
        .map(|one| one.origin.to_string())
        .collect();
    assert_eq!(
        origins,
        [
            "flag --listen",
            "environment variable BELFRY_SERVER__BODY_TIMEOUT",
            "belfry.toml:4",
            "default"
        ]
    );
}

#[test]
fn unknown_names_are_answered_with_the_nearest_known_one() {
    for (text, expected) in [
        (
            "[server]\nlisen = \"x\"\n",
            "server.lisen: there is no such setting; did you mean server.listen? (belfry.toml:2)",
        ),
        (
            "[sever]\nlisten = \"x\"\n",
            "sever: there is no such section; did you mean [server]? (belfry.toml:2)",
        ),
        (
            "[server]\nlevel = \"info\"\n",
            "server.level: there is no such setting; did you mean log.level? (belfry.toml:2)",
        ),
        (
            "listen = \"x\"\n",
            "listen: every setting stands in a section; did you mean server.listen? (belfry.toml:1)",
        ),
        (
            "[sever]\n",
            "sever: there is no such section; did you mean [server]? (belfry.toml:1)",
        ),
    ] {
        assert_eq!(problems(&file(text)), [expected]);
    }
    for (name, near) in [
        ("BELFRY_SERVER__LISTN", "BELFRY_SERVER__LISTEN"),
        ("BELFRY_SERVER_LISTEN", "BELFRY_SERVER__LISTEN"),
        ("BELFRY_LISTEN", "BELFRY_SERVER__LISTEN"),
        ("BELFRY_SECRETS__KEY_FIL", "BELFRY_SECRETS__KEY_FILE"),
        ("BELFRY_APIKEY", "BELFRY_API_KEY"),
    ] {
        let expected = format!(
            "{name}: there is no such setting; did you mean {near}? (environment variable {name})"
        );
        assert_eq!(problems(&variables(&[(name, "x")])), [expected]);
    }
}

#[test]
fn variables_of_the_command_line_and_of_kubernetes_are_no_settings() {
    let sources = variables(&[
        ("BELFRY_URL", "http://x"),
        ("BELFRY_API_KEY", "k"),
        ("BELFRY_PORT", "tcp://10.0.0.1:7311"),
        ("BELFRY_PORT_7311_TCP_ADDR", "10.0.0.1"),
        ("BELFRY_SERVICE_HOST", "10.0.0.1"),
    ]);
    assert_eq!(problems(&sources), Vec::<String>::new());
}

#[test]
fn every_problem_is_listed_with_what_was_expected_and_where_it_stands() {
    let mut sources = file(
        "[server]\nlisten = 7311\nheader_timeout = \"soon\"\nconnections_max = \"10\"\n[quux]\nx = 1\n",
    );
    sources.variables = vec![("BELFRY_STORE__READERS".to_owned(), "100".to_owned())];
    sources.flags = vec![Flag {
        shown: "--log-format".to_owned(),
        path: "log.format".to_owned(),
        value: "xml".to_owned(),
    }];
    assert_eq!(
        problems(&sources),
        [
            "quux: there is no such section; there are server, data, store, node, ingest, sources, engine, egress, templates, functions, secrets, \
             auth, limits, retention, log, metrics (belfry.toml:6)",
            "server.listen: expected an address with a port such as \"127.0.0.1:7311\", got 7311 (belfry.toml:2)",
            "server.connections_max: expected a whole number from 1 to 1000000, got \"10\" (belfry.toml:4)",
            "server.header_timeout: expected a duration such as \"30s\", \"5m\", \"24h\" or \"30d\", got \"soon\" \
             (belfry.toml:3)",
            "store.readers: expected a whole number from 1 to 64, got \"100\" (environment variable \
             BELFRY_STORE__READERS)",
            "log.format: expected one of \"human\", \"json\", got \"xml\" (flag --log-format)",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let found = problems(&file("[server]\nlisten = \n"));
    assert_eq!(found.len(), 1);
    assert!(
        found
            .iter()
            .all(|one| one.contains("this is no TOML") && one.ends_with("(belfry.toml:2)")),
        "{found:?}"
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let found = problems(&file(
        "[server]\ndrain_limit = \"1m\"\n[ingest]\nevent_bytes_max = \"8MiB\"\n",
    ));
    assert!(
        found
            .iter()
            .any(|one| one.starts_with("server.drain_limit: must not be longer")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|one| one.starts_with("ingest.request_bytes_max: must hold")),
        "{found:?}"
    );
}

#[test]
fn settings_of_the_other_database_are_refused() {
    for (setting, what) in [
        ("schema = \"belfry\"", "store.schema"),
        ("password = \"secret\"", "store.password"),
        ("root_cert = \"/etc/ca.pem\"", "store.root_cert"),
        ("writers = 7", "store.writers"),
        ("commit_timeout = \"3s\"", "store.commit_timeout"),
    ] {
        let found = problems(&file(&format!("[store]\n{setting}\n")));
        let expected =
            format!("{what}: is for a Postgres, and store.url names none (belfry.toml:2)");
        assert_eq!(found, [expected]);
        let url = "url = \"postgres://belfry@db/belfry\"";
        let with = problems(&file(&format!("[store]\n{setting}\n{url}\n")));
        assert_eq!(with, Vec::<String>::new());
    }
    for (setting, what) in [
        ("synchronous = \"normal\"", "store.synchronous"),
        ("cache_bytes = \"1MiB\"", "store.cache_bytes"),
    ] {
        let mut sources = file(&format!("[store]\n{setting}\n"));
        assert_eq!(problems(&sources), Vec::<String>::new());
        sources.variables = vec![(
            "BELFRY_STORE__URL".to_owned(),
            "postgres://db/belfry".to_owned(),
        )];
        let expected = format!(
            "{what}: is for the embedded SQLite, and store.url names a Postgres (belfry.toml:2)"
        );
        assert_eq!(problems(&sources), [expected]);
    }
    // As it is printed by `belfry config show`.
    assert_eq!(
        problems(&file("[store]\nwriters = 6\n")),
        Vec::<String>::new()
    );
}

#[test]
fn durations_and_sizes_read_and_write_alike() {
    for (text, written) in [
        ("30s", "30s"),
        ("120s", "2m"),
        ("24h", "24h"),
        ("30d", "30d"),
        ("720h", "30d"),
        ("1500ms", "1500ms"),
    ] {
        let read = Duration::read(&Raw::Text(text.to_owned())).unwrap();
        assert_eq!(read.toml().unwrap(), format!("\"{written}\""));
    }
    for bad in ["", "0s", "5", "5 parsecs", "-1s", "1.5h", "999999999d"] {
        assert_eq!(Duration::read(&Raw::Text(bad.to_owned())), None, "{bad}");
    }
    for (text, bytes) in [
        ("256KiB", 262_144),
        ("64mib", 67_108_864),
        ("1GB", 1_000_000_000),
        ("512", 512),
        ("1 MiB", 1_048_576),
    ] {
        assert_eq!(
            ByteSize::read(&Raw::Text(text.to_owned())),
            Some(ByteSize(bytes)),
            "{text}"
        );
    }
    for bad in ["", "0", "1 potato", "-1", "99999999TiB"] {
        assert_eq!(ByteSize::read(&Raw::Text(bad.to_owned())), None, "{bad}");
    }
}

#[test]
fn lists_come_as_toml_or_separated_by_commas() {
    let from_file = load(&file(
        "[egress]\nallow = [\"10.1.0.0/16\", \"192.0.2.1\"]\nports = [443, 8443]\n",
    ))
    .unwrap();
    let from_env = load(&variables(&[
        ("BELFRY_EGRESS__ALLOW", "10.1.0.0/16, 192.0.2.1"),
        ("BELFRY_EGRESS__PORTS", "443,8443"),
    ]))
    .unwrap();
    assert_eq!(
        from_file.settings.egress.allow,
        from_env.settings.egress.allow
    );
    assert_eq!(
        from_file.settings.egress.ports,
        from_env.settings.egress.ports
    );
    assert_eq!(from_file.settings.egress.ports.len(), 2);
}

const KEY: &str = "c2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1lc2VzYW1lMTI=";

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, format!("# a comment\n{KEY}\n")).unwrap();
    let mut sources = file("[secrets]\nkey = \"old\"\n");
    sources.variables = vec![(
        "BELFRY_SECRETS__KEY_FILE".to_owned(),
        path.display().to_string(),
    )];
    let loaded = load(&sources).unwrap();
    assert!(
        loaded
            .settings
            .secrets
            .key
            .as_ref()
            .is_some_and(|key| key.expose().contains(KEY))
    );
    let shown = effective_toml(&loaded.effective) + &format!("{:?}", loaded.settings);
    assert!(
        !shown.contains(KEY) && shown.contains("********"),
        "{shown}"
    );

    sources.variables = vec![(
        "BELFRY_SECRETS__KEY_FILE".to_owned(),
        "/nowhere/key".to_owned(),
    )];
    let found = problems(&sources);
    assert!(
        found
            .iter()
            .any(|one| one.contains("secrets.key_file") && one.contains("cannot be read")),
        "{found:?}"
    );

    let found = problems(&file("[secrets]\nkey = 12345678\n"));
    assert!(
        found.iter().all(|one| !one.contains("12345678")),
        "{found:?}"
    );
}

#[test]
fn printed_settings_can_be_read_again() {
    let loaded = load(&file("[retention]\nage = \"7d\"\nbytes = \"5GiB\"\n")).unwrap();
    let printed = effective_toml(&loaded.effective);
    assert!(
        printed.contains("age = \"7d\"  # belfry.toml:2"),
        "{printed}"
    );
    let again = load(&file(&printed)).unwrap();
    assert_eq!(
        again.settings.retention.bytes,
        loaded.settings.retention.bytes
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn same_as_on_disk(path: &str, made: &str) {
    let path = root().join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    // Not assert_eq: it would print both pages.
    assert!(
        kept == made,
        "{} is out of date: UPDATE_DOCS=1 cargo nextest run -p belfry docs",
        path.display()
    );
}

#[test]
fn docs_of_the_settings_are_up_to_date() {
    same_as_on_disk("config/default.toml", &default_file());
    same_as_on_disk("docs/reference/configuration.md", &reference());
}

#[test]
fn the_default_file_says_what_the_program_does() {
    let text = std::fs::read_to_string(root().join("config/default.toml")).unwrap();
    let from_file = load(&file(&text)).unwrap();
    let without = load(&Sources::default()).unwrap();
    assert_eq!(
        format!("{:?}", from_file.settings),
        format!("{:?}", without.settings)
    );
}

#[test]
fn the_production_example_is_valid_and_stricter_than_the_default() {
    let text = std::fs::read_to_string(root().join("config/production.example.toml")).unwrap();
    // The file names a key file that exists only on the server.
    let text = text.replace("key_file =", "# key_file =");
    let settings = load(&file(&text))
        .unwrap_or_else(|all| panic!("{all:?}"))
        .settings;
    assert!(
        !settings.egress.allow_loopback
            && !settings.egress.allow_private
            && !settings.egress.allow_http
    );
    assert!(settings.metrics.require_key && settings.retention.bytes.is_some());
    assert_eq!(settings.log.format, LogFormat::Json);
}
