use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

fn write(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn errors_of(name: &str, text: &str) -> Vec<String> {
    let (dir, path) = write(name, text);
    let error = load(&[path], &nothing).unwrap_err();
    let prefix = format!("{}/", dir.path().display());
    error
        .message
        .lines()
        .map(|line| line.replace(&prefix, ""))
        .collect()
}

#[test]
fn documents_of_a_directory_come_sorted_with_buses_first() {
    let dir = tempfile::tempdir().unwrap();
    let rule = "kind: Rule\nmetadata: {name: r}\nspec:\n  pattern: {type: [a]}\n";
    let bus = "kind: Bus\nmetadata: {name: orders}\n";
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("a.yaml"), format!("{rule}---\n---\n{bus}")).unwrap();
    std::fs::write(
        dir.path().join("sub/b.json"),
        r#"{"kind":"Bus","metadata":{"name":"a"},"spec":{"description":"x"}}"#,
    )
    .unwrap();
    std::fs::write(dir.path().join(".hidden.yaml"), "nonsense").unwrap();
    let documents = load(&[dir.path().to_owned()], &nothing).unwrap();
    let shown: Vec<_> = documents
        .iter()
        .map(|one| (one.identity.to_string(), one.body.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("bus a".to_owned(), r#"{"description":"x"}"#),
            ("bus orders".to_owned(), "{}"),
            ("rule default/r".to_owned(), r#"{"pattern":{"type":["a"]}}"#),
        ]
    );
    assert_eq!(documents.get(1).unwrap().place.number, 3);
}

#[test]
fn an_archive_may_have_a_pattern_and_comes_after_its_bus() {
    let yaml = "kind: Archive\nmetadata: {name: all}\n---\nkind: Archive\nmetadata: {bus: b, name: a}\nspec:\n  pattern: |\n    {\"n\": [1.50e2]}\n---\nkind: Bus\nmetadata: {name: b}\n";
    let (_dir, path) = write("a.yaml", yaml);
    let documents = load(&[path], &nothing).unwrap();
    let shown: Vec<_> = documents
        .iter()
        .map(|one| (one.identity.path(), one.body.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("/v1/buses/b".to_owned(), "{}"),
            (
                "/v1/buses/b/archives/a".to_owned(),
                "{\"pattern\":{\"n\": [1.50e2]}}"
            ),
            ("/v1/buses/default/archives/all".to_owned(), "{}"),
        ]
    );
}

#[test]
fn named_documents_may_have_references_anywhere_and_come_before_rules() {
    let yaml = "kind: Rule\nmetadata: {name: r}\nspec:\n  pattern: {type: [a]}\n---\nkind: Silence\nmetadata: {name: night}\nspec: {comment: {$env: A}}\n---\nkind: Contact\nmetadata: {name: ann}\n";
    let (_dir, path) = write("n.yaml", yaml);
    let variables = |name: &str| (name == "A").then(|| "why".to_owned());
    let documents = load(&[path], &variables).unwrap();
    let shown: Vec<_> = documents
        .iter()
        .map(|one| {
            (
                one.identity.path(),
                one.identity.to_string(),
                one.body.as_str(),
            )
        })
        .collect();
    let expected = [
        ("/v1/contacts/ann", "contact ann", "{}"),
        (
            "/v1/buses/default/silences/night",
            "silence default/night",
            r#"{"comment":"why"}"#,
        ),
        (
            "/v1/buses/default/rules/r",
            "rule default/r",
            r#"{"pattern":{"type":["a"]}}"#,
        ),
    ]
    .map(|(path, shown, body)| (path.to_owned(), shown.to_owned(), body));
    assert_eq!(shown, expected);
    assert!(documents.get(1).unwrap().has_references);
    assert_eq!(
        errors_of("n.yaml", "kind: Contact\nmetadata: {name: ann, bus: b}\n"),
        ["n.yaml document 1: /metadata/bus: documents of this kind are on no bus; leave it out"]
    );
}

#[test]
fn patterns_keep_their_text() {
    let text = r#"{"kind":"Rule","metadata":{"name":"r","bus":"b"},"spec":{"enabled":true,"pattern":{"n":[{"numeric":["=",1.50e2]}],"m":["\u4e2d"]},"targets":{"t":{"type":"log","settings":{"log":"x"},"transform":{"big":12345678901234567890123}}}}}"#;
    let (_dir, path) = write("r.json", text);
    let documents = load(&[path], &nothing).unwrap();
    let body = &documents.first().unwrap().body;
    assert!(
        body.contains(r#""pattern":{"n":[{"numeric":["=",1.50e2]}],"m":["\u4e2d"]}"#),
        "{body}"
    );
    assert!(
        body.contains(r#""transform":{"big":12345678901234567890123}"#),
        "{body}"
    );

    let yaml = "kind: Rule\nmetadata: {name: r}\nspec:\n  pattern: |\n    {\"n\": [1.50e2]}\n";
    let (_dir, path) = write("r.yml", yaml);
    assert_eq!(
        load(&[path], &nothing).unwrap().first().unwrap().body,
        "{\"pattern\":{\"n\": [1.50e2]}}"
    );
}

#[test]
fn references_are_replaced_in_settings_only() {
    let yaml = "kind: Rule\nmetadata: {name: r}\nspec:\n  description: {$env: A}\n  pattern: {x: [{$env: A}]}\n  targets:\n    t:\n      type: webhook\n      settings: {url: {$env: A}, list: [{$file: secret.txt}], $env: kept, two: {$env: A, b: 1}}\n";
    let (dir, path) = write("r.yaml", yaml);
    std::fs::write(dir.path().join("secret.txt"), "s3cret\n").unwrap();
    let variables = |name: &str| (name == "A").then(|| "value-of-a".to_owned());
    let documents = load(&[path], &variables).unwrap();
    let document = documents.first().unwrap();
    assert!(document.has_references);
    assert_eq!(
        document.body,
        r#"{"description":{"$env":"A"},"pattern":{"x":[{"$env":"A"}]},"targets":{"t":{"type":"webhook","settings":{"url":"value-of-a","list":["s3cret"],"$env":"kept","two":{"$env":"A","b":1}}}}}"#
    );
}

#[test]
fn every_error_names_file_document_and_pointer() {
    let yaml = "kind: Rule\nmetadata: {name: r}\nspec:\n  pattern: {}\n  targets:\n    t: {type: webhook, settings: {secret: {$env: NOPE}, cert: {$file: gone.pem}}}\n---\nkind: Ruel\nmetadata: {name: r}\n---\nkind: Bus\nmetadata: {name: 'no spaces', bus: x}\n---\nkind: Bus\nmetadata: {name: 'no spaces'}\n---\nkind: Rule\nmetadata: {name: x}\n---\nkind: Bus\nmetadata: {name: x}\nsepc: {}\n";
    let errors = errors_of("r.yaml", yaml);
    for (index, expected) in [
        "r.yaml document 1: /spec/targets/t/settings/secret: the environment variable NOPE is not set",
        "r.yaml document 1: /spec/targets/t/settings/cert: the file gone.pem cannot be read",
        "r.yaml document 2: /kind: expected one of Bus, Rule, Archive, Contact, ContactGroup, ",
        "r.yaml document 3: /metadata/bus: a Bus is on no bus",
        "r.yaml document 4: /metadata/name: expected 1 to 64 characters",
        "r.yaml document 5: /spec: a Rule needs a spec",
        "r.yaml document 6: /sepc: ",
    ]
    .into_iter()
    .enumerate()
    {
        let got = errors.get(index).map_or("", String::as_str);
        assert!(got.starts_with(expected), "{got}\nis not\n{expected}");
    }
}

#[test]
fn what_stands_there_twice_is_refused() {
    let twice = "kind: Bus\nmetadata: {name: x}\n---\nkind: Bus\nmetadata: {name: x}\n";
    assert_eq!(
        errors_of("b.yaml", twice),
        ["b.yaml document 2: bus x is described by b.yaml document 1 already"]
    );
    let errors = errors_of("b.yaml", "kind: Bus\nkind: Rule\nmetadata: {name: x}\n");
    assert!(
        errors
            .iter()
            .all(|one| one.contains("no YAML") && one.contains("duplicate")),
        "{errors:?}"
    );
    let errors = errors_of(
        "r.json",
        r#"{"kind":"Rule","metadata":{"name":"x"},"spec":{"targets":{},"targets":{}}}"#,
    );
    assert!(
        errors
            .iter()
            .all(|one| one.contains("/spec/targets: ") && one.contains("twice")),
        "{errors:?}"
    );
}

#[test]
fn files_without_documents_are_refused() {
    assert_eq!(
        errors_of("e.yaml", "# nothing\n"),
        ["e.yaml: no document in it"]
    );
    let dir = tempfile::tempdir().unwrap();
    assert!(
        load(&[dir.path().to_owned()], &nothing)
            .unwrap_err()
            .message
            .contains("no .yaml, .yml or .json")
    );
}
