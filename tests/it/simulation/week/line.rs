//! The line to HID: the simulator in place of a network, with an outage.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use origo_adapter::origo::{Sending, Transport, TransportError};
use origo_adapter::simulator::{Hid, Reply};

use super::super::world::TestClock;
use crate::support::dice::Dice;
use crate::support::manager::REQUEST_TIMEOUT;

/// An answer takes less.
pub(super) const SLOWEST: i64 = 205;

pub(super) struct Line {
    pub(super) hid: Arc<Mutex<Hid>>,
    pub(super) clock: Arc<TestClock>,
    dice: Mutex<Dice>,
    refuses: AtomicBool,
    doubtful: Mutex<BTreeSet<u64>>,
}

impl Line {
    pub(super) fn new(hid: Arc<Mutex<Hid>>, clock: Arc<TestClock>, seed: u64) -> Self {
        Self {
            hid,
            clock,
            dice: Mutex::new(Dice::new(seed ^ 0x11e)),
            refuses: AtomicBool::new(false),
            doubtful: Mutex::default(),
        }
    }

    /// Whether connections are refused from now on.
    pub(super) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Containers to which an issue call was made that had no answer: nothing may be repeated there for a while.
    pub(super) fn doubtful(&self) -> BTreeSet<u64> {
        self.doubtful.lock().unwrap().clone()
    }

    fn exchange(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, TransportError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(TransportError::Unsent("connection refused".to_owned()));
        }
        let latency = 5 + self.dice.lock().unwrap().roll(200);
        let issued_to = issued_to(&request);
        let reply = self.hid.lock().unwrap().handle(self.clock.truth(), request);
        match reply {
            Reply::Answer(response) => {
                self.clock.advance(i64::try_from(latency).unwrap());
                Ok(response)
            }
            Reply::Reset | Reply::Hang => {
                self.doubtful.lock().unwrap().extend(issued_to);
                let timeout = i64::try_from(REQUEST_TIMEOUT.as_millis()).unwrap();
                self.clock.advance(timeout);
                Err(TransportError::Unanswered("timed out".to_owned()))
            }
        }
    }
}

/// The container that a request would issue to.
fn issued_to(request: &http::Request<Bytes>) -> Option<u64> {
    let path = request.uri().path().strip_suffix("/credential")?;
    let is_issue = request.method() == http::Method::POST;
    path.rsplit('/').next()?.parse().ok().filter(|_| is_issue)
}

impl Transport for Line {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        Box::pin(async move { self.exchange(request) })
    }
}
