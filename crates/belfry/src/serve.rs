//! Runs the server: puts the parts together, starts and stops them in order.
//!
//! | start | stop |
//! |---|---|
//! | settings, logging, metrics | |
//! | port bound: a port in use is told before any data is touched | accept no more, requests under way finish |
//! | data directory, database (locked, checked, migrated), key | |
//! | functions: what an earlier run left running is ended | invocations under way finish or are ended |
//! | engine: recovers what an earlier run left | deliveries on the wire finish, outcomes are committed |
//! | use-cases: buses, first admin key | |
//! | API, welcome | database closed |
//!
//! A crash anywhere leaves what the next start takes up: every part that keeps something keeps it in the store.

mod functions;
pub mod listener;
mod metrics_page;
mod parts;
mod welcome;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use belfry_store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::parts::Parts;
pub(crate) use self::parts::refused;
use self::welcome::Welcome;
use crate::failure::{Context as _, Failure, Result};
use crate::output::{Format, Output};
use crate::settings::{LogFormat, Settings, SettingsArgs, load_for};
use crate::telemetry;

/// How often histograms are folded together, so that they do not grow between two scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// Kept of the time for stopping, so that the database is closed in any case.
const CLOSE_RESERVE: Duration = Duration::from_secs(1);

/// Runs until a signal.
pub fn run(args: &SettingsArgs) -> Result {
    let loaded = load_for(args)?;
    telemetry::start_logging(&loaded.settings.log)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("belfry")
        .build()
        .context("the runtime cannot be started")?;
    let result = runtime.block_on(serve(&loaded.settings));
    // Whatever still runs was given its time; waiting for it would make the limit for stopping a lie.
    runtime.shutdown_background();
    result
}

/// The API document, indented.
pub fn openapi() -> Result<String> {
    let text = serde_json::to_string_pretty(&belfry_api::openapi()).context("the API document")?;
    Ok(text + "\n")
}

async fn serve(settings: &Settings) -> Result {
    let metrics = telemetry::start_metrics().context("metrics cannot be started")?;
    let stop = stop_on_signal()?;
    let listener = bind(settings.server.listen).await?;
    let address = listener.local_addr().context("the address of the server")?;
    let parts = Parts::start(settings).await?;
    let admin_key = parts
        .app
        .ensure_admin_key()
        .await
        .context("the admin key cannot be made")?;

    let upkeep = metrics.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(METRICS_UPKEEP);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    let mut router = belfry_api::router(Arc::clone(&parts.app), settings.api(stop.clone()));
    if settings.metrics.enabled {
        router = router.merge(metrics_page::router(
            metrics,
            Arc::clone(&parts.app),
            settings.metrics.require_key,
        ));
    }

    greet(settings, address, admin_key.as_deref())?;
    let asked = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = parts.engine.fenced() => stop.cancel(),
        }
        Instant::now()
    };
    let serving = listener::listen(listener, router, settings.listen_limits(), stop.clone());
    let (cut, asked) = tokio::join!(serving, asked);
    shut_down(&parts, asked + settings.server.shutdown_limit, cut).await?;
    if parts.engine.is_fenced() {
        let why = "another node has taken this one over, because its lease was not renewed in time";
        return Err(Failure::fenced(why).hint(
            "nothing is lost; start it again (a supervisor does), and see whether this machine stands still for longer than node.lease",
        ));
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::failed(format!("cannot listen on {address}: {error}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failure.hint(
                "another program (another Belfry?) has this port; stop it, or choose another with --listen 127.0.0.1:PORT",
            ),
            std::io::ErrorKind::PermissionDenied => failure.hint("ports below 1024 need privileges; choose a higher one"),
            std::io::ErrorKind::AddrNotAvailable => {
                failure.hint("this machine has no such address; 0.0.0.0 stands for all of them")
            }
            _ => failure,
        }
    })
}

/// The first signal stops in order, the second ends the process.
fn stop_on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be received")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be received")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if stopping.is_cancelled() {
                tracing::warn!(
                    signal = name,
                    "a second signal: ending at once; nothing accepted is lost"
                );
                std::process::exit(1);
            }
            tracing::info!(signal = name, "stopping; a second signal ends at once");
            stopping.cancel();
        }
    });
    Ok(stop)
}

fn greet(settings: &Settings, address: SocketAddr, admin_key: Option<&str>) -> Result {
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "other machines can reach this server, and it speaks plain HTTP: put TLS in front of it"
        );
    }
    let welcome = Welcome {
        settings,
        address,
        admin_key,
    };
    tracing::info!(%address, data = %settings.data.dir.display(), version = env!("CARGO_PKG_VERSION"), "Belfry is ready");
    // Collectors of JSON logs read both streams; a page of text would only be noise there, the key is not.
    let text = if settings.log.format == LogFormat::Json {
        welcome.short()
    } else {
        welcome.text()
    };
    if let Err(failure) = Output::new(Format::Table).text(&text) {
        // Without its key the first start would be for nothing; later the text is only a courtesy.
        if admin_key.is_some() {
            return Err(failure.at("the admin key cannot be shown"));
        }
    }
    Ok(())
}

async fn shut_down(parts: &Parts, deadline: Instant, cut: usize) -> Result {
    if cut > 0 {
        tracing::warn!(
            connections = cut,
            "requests that were still under way after server.drain_limit were cut"
        );
    }
    let left = deadline.saturating_duration_since(Instant::now());
    // Before the engine, which commits what becomes of invocations under way.
    let for_functions = left.saturating_sub(2 * CLOSE_RESERVE);
    parts.functions.shutdown(for_functions).await;
    let left = deadline.saturating_duration_since(Instant::now());
    let in_time = parts
        .engine
        .shutdown(left.saturating_sub(CLOSE_RESERVE))
        .await;
    if !in_time {
        tracing::warn!("deliveries that were still on the wire are made again by the next start");
    }
    let store: &Arc<dyn Store> = &parts.store;
    let deadline = deadline.max(Instant::now() + CLOSE_RESERVE);
    if tokio::time::timeout_at(deadline, store.close())
        .await
        .is_err()
    {
        tracing::warn!("the database did not close in time; the next start checks it");
    }
    tracing::info!("stopped");
    Ok(())
}
