//! A server for one test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use belfry_api::{ApiSettings, router};
use belfry_app::{App, AppSettings, Parts, Sealer};
use belfry_egress::{EgressClient, EgressLimits, EgressPolicy, SystemResolver};
use belfry_engine::{Collaborators, Engine, EngineSettings};
use belfry_model::{Clock, SystemClock};
use belfry_store::{SqliteStore, Store, sqlite::SqliteOptions};
use belfry_targets::ConnectContext;

use super::functions;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The machine's time, moved by the test.
#[derive(Debug, Default)]
pub(crate) struct ShiftedClock(AtomicI64);

impl ShiftedClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0
            .fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now_ms(&self) -> i64 {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }
}

/// A server on a port of its own; everything of it is in memory.
pub(crate) struct TestServer {
    pub(crate) base: String,
    pub(crate) app: Arc<App>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) admin: String,
    pub(crate) people: Arc<belfry_engine::People>,
    /// Code of functions.
    _dir: tempfile::TempDir,
    http: reqwest::Client,
    task: JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks that it is a whole problem document with this code, and gives it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let document = self.json();
        assert_eq!(document["code"], code, "{document}");
        assert_eq!(document["status"], status);
        let slug = code.to_lowercase().replace('_', "-");
        assert_eq!(document["type"], format!("/problems/{slug}"));
        assert!(
            document["title"].is_string() && !document["detail"].as_str().unwrap().is_empty(),
            "{document}"
        );
        let id = self.header("x-request-id").unwrap();
        assert_eq!(document["requestId"], id);
        assert_eq!(document["instance"], format!("/requests/{id}"));
        document
    }
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut AppSettings, &mut ApiSettings)) -> Self {
        let (mut app_settings, mut settings) = (AppSettings::default(), ApiSettings::default());
        change(&mut app_settings, &mut settings);
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(SqliteOptions::memory()).await.unwrap());
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ShiftedClock::default());
        let as_clock: Arc<dyn Clock> = Arc::<ShiftedClock>::clone(&clock);
        let egress = EgressClient::new(
            EgressPolicy::permissive(),
            EgressLimits::default(),
            Arc::new(SystemResolver),
        )
        .unwrap();
        let people = Arc::new(belfry_engine::People::default());
        let functions = functions::service(&store, &as_clock, &dir);
        let connect = Arc::new(ConnectContext {
            egress: Arc::new(egress),
            clock: Arc::clone(&as_clock),
            user_agent: "belfry-test".to_owned(),
            directory: Arc::clone(&people) as Arc<dyn belfry_targets::Directory>,
            functions: Arc::clone(&functions) as Arc<dyn belfry_functions::Functions>,
        });
        let sealer = Arc::new(Sealer::from_keys(&[[7; 32]]).unwrap());
        let as_unseal: Arc<dyn belfry_engine::Unseal> = Arc::<Sealer>::clone(&sealer);
        let collaborators = Collaborators {
            store: Arc::clone(&store),
            clock: Arc::clone(&as_clock),
            random: Arc::new(belfry_engine::SystemRandom),
            kinds: belfry_targets::find_kind,
            templates: Arc::new(belfry_eval::Templates::none()),
            unseal: as_unseal,
            documents: Arc::<Sealer>::clone(&sealer) as Arc<dyn belfry_engine::ReadDocument>,
            connect: Arc::clone(&connect),
        };
        let engine = Engine::start(
            collaborators,
            EngineSettings {
                disk_free_min_bytes: 0,
                ..EngineSettings::default()
            },
        )
        .await
        .unwrap();
        people.of(&engine);
        functions.of(&engine);
        let parts = Parts {
            store: Arc::clone(&store),
            engine,
            sealer,
            clock: as_clock,
            connect,
            functions,
            settings: app_settings,
        };
        let app = App::start(parts).await.unwrap();
        let admin = app.ensure_admin_key().await.unwrap().unwrap();
        let shutdown = settings.shutdown.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let routes = router(Arc::clone(&app), settings);
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        // reqwest is built without a cryptography provider of its own. A second one in the process is no harm.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            base,
            app,
            store,
            clock,
            shutdown,
            admin,
            people,
            _dir: dir,
            http,
            task,
        }
    }

    /// Sends a request just as it is said.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(
            Method::from_bytes(method.as_bytes()).unwrap(),
            format!("{}{path}", self.base),
        )
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.unwrap(),
        }
    }

    /// As administrator, with a JSON body if there is one.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Option<Value>>,
    ) -> Answer {
        self.call_as(&self.admin, method, path, body).await
    }

    pub(crate) async fn call_as(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: impl Into<Option<Value>>,
    ) -> Answer {
        let mut request = self.request(method, path).bearer_auth(key);
        if let Some(body) = body.into() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        self.send(request).await
    }

    /// As administrator, with this text as JSON body and these headers.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self
            .request(method, path)
            .bearer_auth(&self.admin)
            .body(body);
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// A new key with these scopes.
    pub(crate) async fn key(&self, scopes: &[&str]) -> String {
        let body = serde_json::json!({ "name": "test", "scopes": scopes });
        self.call("POST", "/v1/keys", body).await.expect(201).json()["key"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Makes a rule on bus `default` with one target.
    pub(crate) async fn rule(&self, name: &str, pattern: Value, target: Value) {
        let body = serde_json::json!({ "pattern": pattern, "targets": { "t": target } });
        self.call("PUT", &format!("/v1/buses/default/rules/{name}"), body)
            .await
            .expect(201);
    }

    /// Posts an event to bus `default` and gives the server's id.
    pub(crate) async fn post(&self, event: Value) -> String {
        let answer = self
            .call("POST", "/v1/buses/default/events", event)
            .await
            .expect(202)
            .json();
        answer["events"][0]["eventUid"].as_str().unwrap().to_owned()
    }

    /// Asks again until the answer is as wished.
    pub(crate) async fn until(&self, path: &str, wished: impl Fn(&Value) -> bool) -> Value {
        let ask = async {
            loop {
                let answer = self.call("GET", path, None).await.expect(200).json();
                if wished(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ask)
            .await
            .unwrap_or_else(|_| panic!("{path} never became as wished"))
    }

    /// How much is stored: events, rules and audit entries. For "nothing was stored".
    pub(crate) async fn stored(&self) -> (usize, usize, usize) {
        let count = async |path: &str| {
            self.call("GET", path, None).await.expect(200).json()["items"]
                .as_array()
                .unwrap()
                .len()
        };
        (
            count("/v1/events?limit=200").await,
            count("/v1/buses/default/rules?limit=200").await,
            count("/v1/audit?limit=200").await,
        )
    }
}
