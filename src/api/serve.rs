//! The listener: our own loop, because headers need a deadline and connections a ceiling
//! (contract.md section 6).
//!
//! Promises: whoever is turned away is told why in JSON; after the soft token no connection is
//! taken, and requests that are under way are answered before [`serve`] returns. Dropping it cuts all.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::listener::{Incoming as Connecting, Listener};
use super::problem::Problem;

/// What a client may take of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many connections are served at once.
    pub connections: usize,
    /// How long a request's header may take, from its first byte or from the last answer.
    pub header_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            header_deadline: Duration::from_secs(10),
        }
    }
}

/// How many clients are told at once that there are too many; more are cut.
const TURNED_AWAY: usize = 64;
/// How long such a client may take to listen.
const TURNING_AWAY: Duration = Duration::from_secs(2);
/// After a refused accept: most often the process is out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Serves until `soft` is cancelled, with the limits of contract.md section 6.
pub async fn serve(listener: impl Into<Listener>, router: Router, soft: CancellationToken) {
    serve_with(listener, router, soft, Limits::default()).await;
}

/// As [`serve`], with other limits.
pub async fn serve_with(
    listener: impl Into<Listener>,
    router: Router,
    soft: CancellationToken,
    limits: Limits,
) {
    let listener = listener.into();
    let places = Arc::new(Semaphore::new(limits.connections));
    let exits = Arc::new(Semaphore::new(TURNED_AWAY));
    // Aborts what is left when this future is dropped.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = soft.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok(stream) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let (router, soft) = (router.clone(), soft.clone());
            connections.spawn(connection(stream, router, soft, limits, place));
        } else if let Ok(exit) = Arc::clone(&exits).try_acquire_owned() {
            connections.spawn(turn_away(stream, exit));
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: Connecting,
    router: Router,
    soft: CancellationToken,
    limits: Limits,
    _place: OwnedSemaphorePermit,
) {
    // A drain waits for requests, not for hands that were never given.
    let shaken = soft.run_until_cancelled(stream.secure(limits.header_deadline));
    let Some(Some(stream)) = shaken.await else {
        return;
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_deadline)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = soft.cancelled() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let Err(error) = ended else { return };
    let parts = connection.into_parts();
    // Nobody is told who only kept an idle connection open.
    if error.is_timeout() && !parts.read_buf.is_empty() {
        let text = raw(&Problem::slow());
        parts.io.into_inner().write_all(text.as_bytes()).await.ok();
    }
}

/// Answers one request with 503 and hangs up.
async fn turn_away(stream: Connecting, _exit: OwnedSemaphorePermit) {
    let Some(stream) = stream.secure(TURNING_AWAY).await else {
        return;
    };
    let full = service_fn(|_: Request<Incoming>| async {
        let problem = Problem::unavailable("too many connections; try again");
        let mut response: Response<Body> = problem.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Ok(id) = HeaderValue::try_from(Uuid::new_v4().to_string()) {
            headers.insert("seam-request-id", id);
        }
        Ok::<_, Infallible>(response)
    });
    let told = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), full);
    tokio::time::timeout(TURNING_AWAY, told).await.ok();
}

/// An answer on a connection that speaks no more HTTP.
fn raw(problem: &Problem) -> String {
    let body = problem.to_json().to_string();
    format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json; charset=utf-8\r\n\
         seam-request-id: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        problem.status,
        Uuid::new_v4(),
        body.len()
    )
}
