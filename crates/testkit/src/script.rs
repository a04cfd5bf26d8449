//! Doubles that are Python scripts: what they are told at their start, and what they tell.
//!
//! Such a script prints JSON objects, one a line: first one with its port, then one for each thing that happens, named by
//! its member `event`. It ends when its standard input does.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The interpreter for which the packages of the system are; a newer one in `PATH` does not know them.
const PYTHON: &str = "/usr/bin/python3";

/// A running script; ends with this value.
#[derive(Debug)]
pub(crate) struct Script {
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    happened: Arc<Mutex<Vec<Value>>>,
    process: Child,
}

impl Script {
    /// Starts a script with its argument. Blocks until it listens.
    pub(crate) fn start(name: &str, text: &str, argument: &Value) -> Result<Self> {
        let mut process = Command::new(PYTHON)
            .args(["-W", "ignore", "-c", text])
            .arg(argument.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{PYTHON} for {name}"))?;
        let output = process.stdout.take().context("its output")?;
        let mut lines = BufReader::new(output).lines();
        let Some(Ok(first)) = lines.next() else {
            bail!("{name} did not start; `cargo xtask test` installs what it needs");
        };
        let ready: Value = serde_json::from_str(&first)?;
        let port = ready["port"].as_u64().context("its port")?;
        let happened = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&happened);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::Null);
                log.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
            }
        });
        Ok(Self {
            port: u16::try_from(port)?,
            happened,
            process,
        })
    }

    /// Everything of this name that has happened so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened
            .iter()
            .filter(|event| event["event"] == name)
            .cloned()
            .collect()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
