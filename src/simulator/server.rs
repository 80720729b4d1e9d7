//! The HTTP shell: a listener in front of the model. It may end a connection without an answer, or never answer.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet, time};

use super::{
    callbacks::post,
    control,
    hid::{Hid, Reply},
};

const BODY_LIMIT: usize = 1024 * 1024;
const TICK: Duration = Duration::from_millis(50);
/// How long an unanswered connection is kept when its client does not leave by itself.
const HANG: Duration = Duration::from_mins(2);

/// A HID that can be called over HTTP.
#[derive(Clone)]
pub struct Server {
    pub hid: Arc<Mutex<Hid>>,
    /// Milliseconds since the epoch.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Whether the control API below `/control/` is there.
    pub control: bool,
    /// Waited before every answer.
    pub latency: Duration,
}

impl Server {
    /// Serves until `shutdown` is done; open connections are then cut.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let mut connections = JoinSet::new();
        let mut callbacks = JoinSet::new();
        let mut tick = time::interval(TICK);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                _ = tick.tick() => {
                    self.with(Hid::advance);
                    while connections.try_join_next().is_some() {}
                    while callbacks.try_join_next().is_some() {}
                    for owed in self.with(Hid::take_callbacks) {
                        let server = self.clone();
                        callbacks.spawn(async move {
                            let answered = post(&owed).await;
                            server.with(|hid, now| hid.callback_ended(now, owed, answered));
                        });
                    }
                }
                accepted = listener.accept() => {
                    // Out of files, or a caller who left already: neither ends the server.
                    let Ok((stream, _)) = accepted else {
                        time::sleep(TICK).await;
                        continue;
                    };
                    let server = self.clone();
                    connections.spawn(async move {
                        let service = service_fn(move |request| server.clone().answer(request));
                        // A connection that ends badly is the caller's to notice.
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
                    });
                }
            }
        }
    }

    /// An error ends the connection without an answer.
    async fn answer(self, request: Request<Incoming>) -> io::Result<Response<Payload>> {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
            let mut response = Response::new(Payload::whole(Bytes::new()));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return Ok(response);
        };
        let body = body.to_bytes();
        let path = parts.uri.path().to_owned();
        let reply = match path.strip_prefix("/control/") {
            Some(path) if self.control => Reply::Answer(
                self.with(|hid, now| control::handle(hid, now, &parts.method, path, &body)),
            ),
            Some(_) | None => {
                self.with(|hid, now| hid.handle(now, Request::from_parts(parts, body)))
            }
        };
        if !self.latency.is_zero() {
            time::sleep(self.latency).await;
        }
        match reply {
            Reply::Answer(response) => Ok(response.map(Payload::whole).promised()),
            Reply::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            Reply::Hang => {
                time::sleep(HANG).await;
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Hid, i64) -> T) -> T {
        let now = (self.clock)();
        let mut hid = self.hid.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut hid, now)
    }
}

/// A body that may end before its promised length.
struct Payload {
    data: Option<Bytes>,
    is_cut: bool,
    /// What there is was handed over, and the connection had its chance to send it before it breaks.
    is_flushed: bool,
}

impl Payload {
    fn whole(data: Bytes) -> Self {
        Self {
            data: Some(data).filter(|data| !data.is_empty()),
            is_cut: false,
            is_flushed: false,
        }
    }
}

trait Promised {
    fn promised(self) -> Self;
}

impl Promised for Response<Payload> {
    /// Leaves the length open where the header promises more than there is, so that the connection breaks midway.
    fn promised(mut self) -> Self {
        let promised = self.headers().get(header::CONTENT_LENGTH);
        let promised: Option<usize> = promised
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok());
        let body = self.body_mut();
        let held = body.data.as_ref().map_or(0, Bytes::len);
        body.is_cut = promised.is_some_and(|promised| promised > held);
        self
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.is_cut && !self.is_flushed {
            self.is_flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && !self.is_cut
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_cut {
            return SizeHint::default();
        }
        let held = self.data.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(held).unwrap_or(u64::MAX))
    }
}
