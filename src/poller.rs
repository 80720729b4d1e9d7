//! Reads a credential manager's events feed: claim a place, fetch, observe each entry, save the cursor.
//!
//! Imports core, store, origo, engine, manager, worker. Promises: the cursor is saved only after
//! everything before it was observed; an entry is observed once, as far as the overlap reaches.

use std::sync::Arc;

use uuid::Uuid;

use crate::core::Timestamp;
use crate::core::ids::IdentityId;
use crate::core::index::{Kind, remote};
use crate::core::observation::{Event, Observation};
use crate::emit;
use crate::engine::Engine;
use crate::manager::{Hearing, Manager, Polling};
use crate::origo::{self, RawEvent, Trouble};
use crate::store::{Error, Feed, Grant};
use crate::telemetry::{FEED_DEAF, FEED_HEARD, POLL_DONE, POLL_FAILED, POLL_RECOVERED};
use crate::worker;

/// An idle feed's cursor is saved this often: a restart reads so much again, at most.
const SAVE_EVERY_MS: i64 = 60_000;

/// Reads one feed.
pub struct Poller {
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    polling: Polling,
    feed: Feed,
    saved_at: Timestamp,
    failing: bool,
}

/// How a poll went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many new entries were observed.
    Done(usize),
    /// Not now; not before then.
    NotBefore(Timestamp),
    /// The feed did not answer; logged.
    Failed,
}

impl Poller {
    /// A poller for a manager whose feed is on. Where its reading begins is durable when this returns;
    /// before that nothing may be asked of HID that the feed would tell of.
    pub async fn open(
        engine: Arc<Engine>,
        manager: Arc<Manager>,
        polling: Polling,
    ) -> Result<Self, Error> {
        let feed = match engine.store().load_feed(manager.id).await? {
            Some(feed) => feed,
            None => {
                // A new database has nothing that an older event could be about.
                let feed = Feed {
                    cursor: engine.now(),
                    seen: Vec::new(),
                };
                engine.store().save_feed(manager.id, feed.clone()).await?;
                feed
            }
        };
        Ok(Self {
            engine,
            manager,
            polling,
            saved_at: feed.cursor,
            feed,
            failing: false,
        })
    }

    /// One poll: at most one call of the events API.
    pub async fn turn(&mut self) -> Result<Polled, Error> {
        let now = self.engine.now();
        let manager = Arc::clone(&self.manager);
        let mut feed = self.feed.clone();
        if let Some(until) = manager.feed_gate.pass(now, manager.request_timeout * 2) {
            return Ok(Polled::NotBefore(until));
        }
        let token = Uuid::new_v4();
        let slot =
            manager
                .events
                .slot(token, false, manager.unanswered_until(&manager.events, now));
        if let Grant::NotBefore(at) = self.engine.store().take_slot(slot, now).await? {
            manager.feed_gate.unused(now);
            return Ok(Polled::NotBefore(at));
        }
        let overlap_ms = i64::try_from(self.polling.overlap.as_millis()).unwrap_or(i64::MAX);
        // One of the two clocks may be wrong; the longer stretch has every event.
        let from = feed.cursor.min(now).0.saturating_sub(overlap_ms);
        let until = self.hid_time(now).max(now);
        let fetched = manager.client.events(from, until.0).await;
        let answered_at = self.engine.now();
        if !matches!(&fetched, Err(error) if error.status.is_none()) {
            let frees_at = answered_at.plus(manager.events.per);
            self.engine.store().answer_slot(token, frees_at).await?;
        }
        let events = match fetched {
            Ok(events) => events,
            Err(error) => {
                self.failed(&error, answered_at);
                return Ok(Polled::Failed);
            }
        };
        self.recovered();
        self.hear(&events, now);
        let fresh = self.observe(&mut feed, events, now).await?;
        feed.cursor = self.hid_time(now).min(now);
        let kept_since = feed.cursor.0.saturating_sub(2 * overlap_ms);
        feed.seen.retain(|(_, time)| time.0 >= kept_since);
        self.save(feed, fresh > 0).await?;
        emit!(POLL_DONE, manager.name = %manager.name, events = fresh; "{} new events of {}", fresh, manager.name);
        Ok(Polled::Done(fresh))
    }

    /// HID's time, as its last answer told it; ours as long as none did.
    fn hid_time(&self, ours: Timestamp) -> Timestamp {
        let skew = self.manager.client.clock_skew().unwrap_or_default();
        Timestamp(ours.0.saturating_add(skew))
    }

    /// Observes what was not seen yet, oldest first.
    async fn observe(
        &self,
        feed: &mut Feed,
        mut events: Vec<RawEvent>,
        now: Timestamp,
    ) -> Result<usize, Error> {
        events.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let mut fresh = 0;
        for raw in events {
            if feed.seen.iter().any(|(id, _)| *id == raw.id) {
                continue;
            }
            let time = raw.time.unwrap_or(now);
            if let (Some(what), Some(identity)) = (raw.happening(), self.owner(&raw).await?) {
                let event = Event {
                    manager: self.manager.id,
                    time,
                    what,
                };
                self.engine
                    .observe(identity, &Observation::Event(event), "feed")
                    .await?;
            }
            feed.seen.push((raw.id, time.max(Timestamp(now.0))));
            fresh += 1;
        }
        Ok(fresh)
    }

    /// Whose an entry is, by whichever id it names.
    async fn owner(&self, raw: &RawEvent) -> Result<Option<IdentityId>, Error> {
        let manager = self.manager.id;
        let names = [
            raw.user
                .as_ref()
                .map(|id| (Kind::HidUser, remote(manager, id))),
            raw.container
                .as_ref()
                .map(|id| (Kind::HidContainer, remote(manager, id))),
            raw.invitation
                .as_ref()
                .map(|id| (Kind::HidInvitation, remote(manager, id))),
            raw.credential
                .as_ref()
                .map(|id| (Kind::HidCredential, remote(manager, id))),
        ];
        for (kind, id) in names.into_iter().flatten() {
            if let Some(identity) = self.engine.store().find(kind, id).await? {
                return Ok(Some(identity));
            }
        }
        Ok(None)
    }

    async fn save(&mut self, feed: Feed, anything: bool) -> Result<(), Error> {
        if anything || feed.cursor.0 - self.saved_at.0 >= SAVE_EVERY_MS {
            self.engine
                .store()
                .save_feed(self.manager.id, feed.clone())
                .await?;
            self.saved_at = feed.cursor;
        }
        self.feed = feed;
        Ok(())
    }

    /// Compares what the feed told with what we created.
    fn hear(&self, events: &[RawEvent], now: Timestamp) {
        let users = events
            .iter()
            .filter_map(|raw| raw.user.as_ref().map(|id| format!("user/{id}")));
        let invitations = events
            .iter()
            .filter_map(|raw| raw.invitation.as_ref().map(|id| format!("invitation/{id}")));
        let told: Vec<String> = users.chain(invitations).collect();
        let name = &self.manager.name;
        match self.manager.echo.told(told.iter().map(String::as_str), now) {
            Hearing::Same => {}
            Hearing::Deaf => emit!(FEED_DEAF, manager.name = %name;
                "the feed of {name} does not tell of what we created; waiting users are read instead"),
            Hearing::Heard => {
                emit!(FEED_HEARD, manager.name = %name; "the feed of {name} tells again");
            }
        }
    }

    fn failed(&mut self, error: &origo::Error, now: Timestamp) {
        let trouble = error.trouble.unwrap_or(Trouble::ServerError);
        let name = &self.manager.name;
        worker::paused(
            &self.manager,
            &self.manager.feed_gate,
            "events",
            trouble,
            error,
            now,
        );
        if !self.failing {
            emit!(POLL_FAILED, manager.name = %name, error = %error; "the feed of {name} can't be read: {error}");
        }
        self.failing = true;
    }

    fn recovered(&mut self) {
        worker::resumed(&self.manager, &self.manager.feed_gate, "events");
        if std::mem::take(&mut self.failing) {
            emit!(POLL_RECOVERED, manager.name = %self.manager.name; "the feed of {} is read again", self.manager.name);
        }
    }
}
