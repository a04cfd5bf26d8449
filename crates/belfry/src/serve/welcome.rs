//! What the server says when it is ready.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::settings::Settings;

/// What it is said about.
pub(super) struct Welcome<'a> {
    pub(super) settings: &'a Settings,
    pub(super) address: SocketAddr,
    /// Only on the first start.
    pub(super) admin_key: Option<&'a str>,
}

impl Welcome<'_> {
    /// Only what must not be missed: the key, which is said once.
    pub(super) fn short(&self) -> String {
        let listens = format!(
            "Belfry {} listens on {}\n",
            env!("CARGO_PKG_VERSION"),
            self.url()
        );
        match self.admin_key {
            Some(key) => listens + &format!("Admin key, shown only now: {key}\n"),
            None => listens,
        }
    }

    /// A page for whoever starts it by hand.
    pub(super) fn text(&self) -> String {
        let url = self.url();
        let mut text = format!(
            "\nBelfry {} listens on {url}\n\n  documentation  {url}/docs\n  data           {}\n",
            env!("CARGO_PKG_VERSION"),
            std::path::absolute(&self.settings.data.dir)
                .unwrap_or_else(|_| self.settings.data.dir.clone())
                .display(),
        );
        if let Some(allowed) = self.allowed() {
            text = text + "  targets        " + &allowed + "\n";
        }
        if let Some(postgres) = self.settings.postgres() {
            text = text + "  database       " + &postgres.place() + "\n";
        }
        match self.admin_key {
            Some(key) => text.push_str(&self.first_steps(key)),
            None => text.push_str("\nCtrl-C stops it.\n\n"),
        }
        text
    }

    /// A server that listens everywhere is reached from here at the loopback address.
    fn url(&self) -> String {
        if self.address.ip().is_unspecified() {
            format!("http://127.0.0.1:{}", self.address.port())
        } else {
            format!("http://{}", self.address)
        }
    }

    fn allowed(&self) -> Option<String> {
        let egress = &self.settings.egress;
        let what = match (egress.allow_loopback, egress.allow_http) {
            (true, true) => "may be on this machine and may use plain http",
            (true, false) => "may be on this machine",
            (false, true) => "may use plain http",
            (false, false) => return None,
        };
        Some(format!(
            "{what}: fine to begin with; see [egress] before others write rules"
        ))
    }

    fn first_steps(&self, key: &str) -> String {
        let url = self.url();
        let program = program();
        // A client on another port than the usual one has to be told.
        let server = if self.address.port() == crate::settings::DEFAULT_PORT {
            String::new()
        } else {
            format!("  export BELFRY_URL={url}\n")
        };
        format!(
            r#"
Your admin key, shown only now (the server keeps no copy):

  export BELFRY_API_KEY={key}
{server}
In a second terminal, with that key: make a rule, post the alarm of a server whose disk went
read-only, and see what became of it.

  curl -sS -X PUT {url}/v1/buses/default/rules/disk-readonly \
    -H "Authorization: Bearer $BELFRY_API_KEY" -H 'Content-Type: application/json' -d '{{
      "pattern": {{"source": ["cvm.cloud.tencent"], "type": ["cvm:ErrorEvent:DiskReadonly"]}},
      "targets": {{"alarms": {{"type": "log", "settings": {{"log": "alarms"}}}}}}
    }}'; echo

  curl -sS {url}/v1/buses/default/events \
    -H "Authorization: Bearer $BELFRY_API_KEY" -H 'Content-Type: application/json' -d '{{
      "source": "cvm.cloud.tencent", "type": "cvm:ErrorEvent:DiskReadonly",
      "subject": "ins-demo0003", "region": "ap-guangzhou", "status": "1",
      "data": {{"instanceId": "ins-demo0003", "disk": "vdb"}}
    }}'; echo

  {program} list deliveries

"#
        )
    }
}

/// How this program was called, so that the commands can be copied: after `cargo run` it is on no path.
fn program() -> String {
    let called = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .unwrap_or_default();
    let shown = called.to_string_lossy().into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    if shown.is_empty() || !shown.chars().all(plain) {
        "belfry".to_owned()
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Sources, load};

    #[test]
    fn the_first_start_shows_the_key_once_and_what_to_do_with_it() {
        let loaded = load(&Sources::default()).unwrap();
        let address = "127.0.0.1:7311".parse().unwrap();
        let first = Welcome {
            settings: &loaded.settings,
            address,
            admin_key: Some("bfy_x"),
        }
        .text();
        assert_eq!(first.matches("bfy_x").count(), 1);
        for part in [
            "http://127.0.0.1:7311/docs",
            "export BELFRY_API_KEY=bfy_x",
            "DiskReadonly",
            "plain http",
        ] {
            assert!(first.contains(part), "{part}\n{first}");
        }
        assert!(!first.contains("BELFRY_URL"), "{first}");
        let later = Welcome {
            settings: &loaded.settings,
            address,
            admin_key: None,
        }
        .text();
        assert!(!later.contains("BELFRY_API_KEY"), "{later}");
    }

    #[test]
    fn another_port_is_told_to_the_client() {
        let loaded = load(&Sources::default()).unwrap();
        let address = "0.0.0.0:9000".parse().unwrap();
        let text = Welcome {
            settings: &loaded.settings,
            address,
            admin_key: Some("bfy_x"),
        }
        .text();
        assert!(
            text.contains("export BELFRY_URL=http://127.0.0.1:9000"),
            "{text}"
        );
    }
}
