//! Two daemons over one store, and calls that stand still, as a process does under SIGSTOP.
//!
//! SQLite lets in one daemon at a time, so here they share an opening: what keeps them apart is the lease alone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use origo_adapter::core::ids::Timestamp;
use origo_adapter::engine::Engine;
use origo_adapter::worker::{self, Ended, Job};

use super::story::Story;
use super::world::Freeze;
use crate::support::manager::REQUEST_TIMEOUT;

/// Beyond the lease, before a claim is taken over (contract.md section 2, Leases).
const TAKEOVER: Duration = REQUEST_TIMEOUT.saturating_add(Duration::from_secs(30));
/// Longest that a call stands still once HID has done its part.
const LONGEST_MS: u64 = 900_000;

/// A call that stands still.
pub(super) struct Frozen {
    until: i64,
    engine: Arc<Engine>,
    call: Pin<Box<dyn Future<Output = Ended>>>,
}

/// How often calls stood still, and claims were taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stillness {
    pub(super) calls: usize,
    pub(super) taken_over: usize,
}

impl Story {
    /// Whose turn it is.
    pub(super) fn take_turns(&mut self) {
        if let Some(other) = &mut self.other
            && self.dice.one_in(2)
        {
            std::mem::swap(&mut self.daemon, other);
        }
    }

    /// A daemon dies beside another: nobody knows, and its claims end with their leases.
    pub(super) async fn die_alone(&mut self) {
        self.world.fuse.mend();
        let dead = Arc::clone(&self.daemon.engine);
        self.frozen
            .retain(|frozen| !Arc::ptr_eq(&frozen.engine, &dead));
        self.daemon = self.world.start_beside().await;
    }

    /// What the daemon does every few seconds: claims whose leases are long over are anybody's.
    pub(super) async fn take_over(&mut self) {
        let rules = &self.world.rules;
        if self.other.is_none() && rules.freezes.is_none() && !rules.is_on_postgres() {
            return;
        }
        let late = i64::try_from(TAKEOVER.as_millis()).unwrap();
        let engine = &self.daemon.engine;
        let taken_over = match engine.window_now().await {
            Ok(now) => worker::recover(engine, Timestamp(now.0 - late)).await,
            Err(error) => Err(error),
        };
        if let Some(count @ 1..) = self.survive(taken_over).await {
            self.stood_still.taken_over += count;
            self.note(&format!("{count} claims are taken over"));
        }
    }

    /// Whether the next call is to stand still.
    pub(super) fn freezes(&mut self) -> bool {
        self.world.rules.freezes.is_some() && self.dice.one_in(4)
    }

    /// Performs a call up to where it stands still; one that never gets there is done.
    pub(super) async fn freeze(&mut self, job: Job) {
        let before_first_byte = self.world.rules.freezes.unwrap_or_default();
        let (at, most) = if self.dice.one_in(2) {
            (Freeze::BeforeFirstByte, before_first_byte)
        } else {
            (Freeze::BeforeAnswer, LONGEST_MS)
        };
        let ms = i64::try_from(self.dice.roll(most)).unwrap();
        self.note(&format!(
            "stands still {at:?} for {ms} ms: {}",
            job.effect().name()
        ));
        let until = self.world.clock.truth() + ms;
        let (engine, manager) = (self.daemon.engine.clone(), self.daemon.manager.clone());
        let call = {
            let (engine, manager) = (Arc::clone(&engine), Arc::clone(&manager));
            // Here nobody gives a task that was busy for long its budget back.
            Box::pin(tokio::task::unconstrained(async move {
                worker::perform(&engine, &manager, job).await
            }))
        };
        let mut frozen = Frozen {
            until,
            engine,

            call,
        };
        self.world.freeze(at);
        let ended = frozen.go_on();
        self.world.keep_going();
        match ended {
            Some(ended) => self.end(&frozen, ended).await,
            None => {
                self.stood_still.calls += 1;
                self.frozen.push(frozen);
            }
        }
    }

    /// Calls that stood still long enough go on.
    pub(super) async fn thaw(&mut self) {
        let now = self.world.clock.truth();
        let over = |frozen: &mut Frozen| frozen.until <= now;
        let over: Vec<Frozen> = self.frozen.extract_if(.., over).collect();
        for mut frozen in over {
            self.note("a call goes on");
            let ended = frozen.go_on().expect("it stands still once");
            self.end(&frozen, ended).await;
        }
    }

    async fn end(&mut self, frozen: &Frozen, ended: Ended) {
        let settled = ended.settle(&frozen.engine).await;
        self.survive(settled).await;
    }

    /// All calls come to their end, and one daemon remains, the claims of the other being free.
    pub(super) async fn be_alone(&mut self) {
        while let Some(until) = self.frozen.iter().map(|frozen| frozen.until).min() {
            let ms = until - self.world.clock.truth();
            self.world.clock.advance(ms.max(0));
            self.thaw().await;
        }
        self.world.rules.freezes = None;
        if let Some(other) = self.other.take() {
            while !self.daemon.jobs.is_empty() {
                self.perform().await;
            }
            self.daemon = other;
        }
    }
}

impl Frozen {
    fn go_on(&mut self) -> Option<Ended> {
        let mut context = Context::from_waker(Waker::noop());
        match self.call.as_mut().poll(&mut context) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        }
    }
}
