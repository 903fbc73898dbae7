//! A small real shop: a catalogue with search, a cart and orders, in PostgreSQL,
//! as server-rendered pages without a line of script.
//!
//! It is an ordinary web application. It knows two things of the world: the port
//! it shall listen on (`PORT`, on `HOST`, by default 127.0.0.1) and an ordinary
//! PostgreSQL URL (`DATABASE_URL`). Any number of instances may run side by side,
//! start at once, and start before the database does.
//!
//! It never acknowledges an order before its transaction has committed, never
//! places one order twice (see `checkout.rs`), and never keeps anything of a
//! visitor in its own memory.
//!
//! Limits: forms of 16 KB, 99 of a product in a cart, 10 database connections
//! an instance, 5 s of patience with a database that is away.

mod assets;
mod catalogue;
mod checkout;
mod database;
mod metrics;
mod pages;
mod schema;
mod session;
mod store;
mod text;
mod web;

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long requests that had begun may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match life().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            log(format_args!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// The shop's life, from its environment to its drain.
async fn life() -> Result<(), String> {
    let url = std::env::var("DATABASE_URL").map_err(|_| {
        "DATABASE_URL is not set\nhint: DATABASE_URL=postgres://user:password@127.0.0.1:5432/shop".to_owned()
    })?;
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = std::env::var("PORT").unwrap_or_else(|_| "8000".to_owned());
    let port: u16 = port.parse().map_err(|_| format!("PORT is `{port}`\nhint: a number from 0 to 65535"))?;

    let database = database::Database::new(&url)?;
    let metrics = Arc::new(metrics::Metrics::default());
    let listener = tokio::net::TcpListener::bind((host.as_str(), port))
        .await
        .map_err(|e| format!("cannot listen on `{host}` port `{port}`: {e}\nhint: set another PORT"))?;
    let address = listener.local_addr().map_err(|e| format!("no local address: {e}"))?;
    log(format_args!("listening on http://{address}"));

    // Listen first: a health check is better told "not yet" than refused.
    let preparing = tokio::spawn(database.clone().prepare());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let app = web::router(web::App { database: database.clone(), metrics });
    let serving =
        tokio::spawn(axum::serve(listener, app).with_graceful_shutdown(web::until(stopped)).into_future());

    wait_for_signal().await?;
    log(format_args!("stopping"));
    stop.send_replace(true);
    preparing.abort();
    match tokio::time::timeout(DRAIN, serving).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(e))) => return Err(format!("serving failed: {e}")),
        Ok(Err(e)) => return Err(format!("serving failed: {e}")),
        Err(_) => log(format_args!("requests were still running after {DRAIN:?}; ending them")),
    }
    database.close().await;
    Ok(())
}

async fn wait_for_signal() -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
    let (mut term, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
    Ok(())
}

/// One line to standard error; where that is gone, the line is lost and nothing else.
pub(crate) fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "shop: {line}");
}
