//! The API of Tencent Cloud (`cvm` and `cbs`), as an SDK finds it behind a proxy.
//!
//! It checks signatures and answers with the vendor's codes: see `vendor.py`. What calls it needs two variables in its
//! environment, `http_proxy` and `NODE_EXTRA_CA_CERTS`, and nothing else: the SDK and the code that uses it stay as they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::script::Script;
use crate::wait_until;

/// A call of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Such as `RebootInstances`.
    pub action: String,
    /// Its parameters.
    pub body: Value,
    /// The vendor's code of a call that was refused; empty for one that was not.
    pub code: String,
}

/// The running API; ends with this value.
#[derive(Debug)]
pub struct Vendor {
    script: Script,
}

impl Vendor {
    /// Starts the API for an account with this key. Blocks until it listens.
    pub fn start(secret_id: &str, secret_key: &str) -> Result<Self> {
        let argument = json!({
            "cert": fixture("leaf.pem"), "key": fixture("leaf.key"), "secretId": secret_id, "secretKey": secret_key,
        });
        let script = Script::start("the vendor's API", include_str!("vendor.py"), &argument)?;
        Ok(Self { script })
    }

    /// The value for `http_proxy`.
    pub fn proxy(&self) -> String {
        format!("http://127.0.0.1:{}", self.script.port)
    }

    /// The authority of its certificate, for `NODE_EXTRA_CA_CERTS`. It was made for these tests alone, its key is gone.
    pub fn authority() -> PathBuf {
        fixture("ca.pem")
    }

    /// The calls that were carried out so far. A call is there before its sender is told, but may be read a moment later.
    pub fn calls(&self) -> Vec<Call> {
        self.told("call")
    }

    /// The calls that were refused so far.
    pub fn refused(&self) -> Vec<Call> {
        self.told("refused")
    }

    /// Waits until at least so many calls were carried out, and gives all of them.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> Result<Vec<Call>> {
        wait_until(&format!("{count} calls"), limit, async || {
            let calls = self.calls();
            Ok((calls.len() >= count).then_some(calls))
        })
        .await
        .with_context(|| {
            format!(
                "carried out: {:?}, refused: {:?}",
                self.calls(),
                self.refused()
            )
        })
    }

    fn told(&self, name: &str) -> Vec<Call> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.script
            .events(name)
            .iter()
            .map(|event| Call {
                action: text(&event["action"]),
                body: serde_json::from_str(&text(&event["body"])).unwrap_or(Value::Null),
                code: text(&event["code"]),
            })
            .collect()
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/vendor")
        .join(name)
}
