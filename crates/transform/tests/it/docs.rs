//! Runs the examples of the user's page, so that it cannot lie.
//!
//! Blocks are marked by the word behind the language: `event` sets the event for what follows,
//! `transform` is compiled and run, and the next `result` or `error` block is what must come out.

use serde_json::Value;

use crate::support::{compile, ctx};

const PAGE: &str = include_str!("../../../../docs/reference/transforms.md");

struct Block {
    mark: String,
    text: String,
    line: usize,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (i, line) in PAGE.lines().enumerate() {
        let line = line.trim_end();
        if let Some(info) = line.strip_prefix("```") {
            if let Some(block) = open.take() {
                blocks.push(block);
            } else {
                let mark = info.split_whitespace().nth(1).unwrap_or("").to_owned();
                open = Some(Block {
                    mark,
                    text: String::new(),
                    line: i + 1,
                });
            }
        } else if let Some(block) = &mut open {
            if !block.text.is_empty() {
                block.text.push('\n');
            }
            block.text.push_str(line);
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

#[test]
fn the_examples_of_the_page_are_true() {
    let mut event: Option<String> = None;
    let mut outcome: Option<(usize, Result<String, String>)> = None;
    let mut checked = 0;
    for block in blocks() {
        let line = block.line;
        match block.mark.as_str() {
            "event" => event = Some(block.text),
            "transform" => {
                assert!(
                    outcome.is_none(),
                    "line {line}: the example before has no result"
                );
                let spec: Value = serde_json::from_str(&block.text)
                    .unwrap_or_else(|error| panic!("line {line}: {error}"));
                let result = match compile(spec) {
                    Err(errors) => Err(errors
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("\n")),
                    Ok(transform) => transform
                        .render(
                            event.as_deref().expect("an event comes first").as_bytes(),
                            &ctx(),
                        )
                        .map(|rendered| String::from_utf8(rendered.body).unwrap())
                        .map_err(|error| error.to_string()),
                };
                outcome = Some((line, result));
            }
            mark @ ("result" | "error") => {
                let (at, result) = outcome.take().expect("a transform comes first");
                let got = match (mark, result) {
                    ("result", Ok(text)) | ("error", Err(text)) => text,
                    (_, other) => panic!("line {at}: {other:?}"),
                };
                assert_eq!(got, block.text, "example at line {at}");
                checked += 1;
            }
            _ => {}
        }
    }
    assert!(outcome.is_none(), "the last example has no result");
    assert!(checked >= 18, "only {checked} examples found");
}

#[test]
fn the_tables_of_the_page_are_true() {
    // Rows of the form | ``${…}`` | ``result`` |; within a table `|` is written `\|`.
    let event = blocks()
        .into_iter()
        .find(|block| block.mark == "event")
        .expect("an event")
        .text;
    let mut checked = 0;
    for (i, line) in PAGE.lines().enumerate() {
        let Some(row) = line.strip_prefix("| ``") else {
            continue;
        };
        let cells: Vec<_> = row.split("`` |").collect();
        let template = cells[0].trim().replace("\\|", "|");
        let expected = cells[1].trim().trim_matches('`').trim();
        let spec = serde_json::json!({"kind": "template", "template": template});
        let transform = compile(spec).unwrap_or_else(|errors| panic!("line {}: {errors:?}", i + 1));
        let body = transform.render(event.as_bytes(), &ctx()).unwrap().body;
        assert_eq!(String::from_utf8(body).unwrap(), expected, "line {}", i + 1);
        checked += 1;
    }
    assert!(checked >= 14, "only {checked} rows found");
}
