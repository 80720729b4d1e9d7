//! Reads a credential manager's events feed: claim a place, fetch, observe each entry, save the cursor.
//!
//! Imports core, store, origo, engine, manager, worker. Promises: the cursor is saved only after
//! everything before it was observed; an entry is observed once, as far as the overlap reaches.

mod piece;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use self::piece::{Piece, Reach, Suspect, may_be_cut};
use crate::core::Timestamp;
use crate::core::ids::IdentityId;
use crate::core::index::{Kind, remote};
use crate::core::observation::{Event, Observation};
use crate::emit;
use crate::engine::Engine;
use crate::manager::{Hearing, Manager, Polling};
use crate::origo::{self, RawEvent, Trouble};
use crate::store::{Error, Feed, Grant, Slot};
use crate::telemetry::{FEED_CUT, FEED_DEAF, FEED_HEARD, POLL_DONE, POLL_FAILED, POLL_RECOVERED};
use crate::worker::{self, Paused};

/// Places for so much time are taken at once where nothing happens: one write for all of them. No more than this part of
/// the window, for what is not used of them still counts.
const AHEAD: Duration = Duration::from_secs(30);
const AHEAD_SHARE: u32 = 40;

/// An idle feed's cursor is saved this often: a restart reads so much again, at most.
const SAVE_EVERY_MS: i64 = 60_000;

/// Reads one feed.
pub struct Poller {
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    polling: Polling,
    feed: Feed,
    /// As it is in the store.
    saved: Feed,
    failing: bool,
    /// Slots of calls that were answered, and how long each counts now: noted when the next are taken.
    answered: Vec<(Uuid, Timestamp)>,
    /// Slots that were taken and not used yet, and until when they may be.
    ahead: (Vec<Uuid>, Timestamp),
    /// The last answer told nothing new.
    is_idle: bool,
    /// What is left to read of the stretch under way, the oldest last.
    pieces: Vec<Piece>,
    suspect: Option<Suspect>,
    reach: Reach,
    /// Entries that named nobody when they came, and when they happened: each is looked at once more.
    nobodys: BTreeMap<String, Timestamp>,
}

/// How a poll went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many new entries were observed; all there is was read.
    Done(usize),
    /// So many new entries were observed; more is to be read at once.
    More(usize),
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
        let feed = stand(&engine, &manager).await?;
        Ok(Self {
            engine,
            manager,
            polling,
            saved: feed.clone(),
            feed,
            failing: false,
            answered: Vec::new(),
            ahead: (Vec::new(), Timestamp(0)),
            is_idle: false,
            pieces: Vec::new(),
            suspect: None,
            reach: Reach::FIRST,
            nobodys: BTreeMap::new(),
        })
    }

    /// Goes on where another daemon stopped.
    pub async fn go_on(&mut self) -> Result<(), Error> {
        self.feed = stand(&self.engine, &self.manager).await?;
        self.saved = self.feed.clone();
        self.start_over();
        Ok(())
    }

    /// One poll: at most one call of the events API.
    pub async fn turn(&mut self) -> Result<Polled, Error> {
        let now = self.engine.now();
        let manager = Arc::clone(&self.manager);
        let at = self.engine.window_now().await?;
        if let Some(until) = manager.feed_gate.pass(at, manager.request_timeout * 2) {
            return Ok(Polled::NotBefore(now.plus(until.since(at))));
        }
        let token = match self.place(at).await? {
            Ok(token) => token,
            Err(free) => {
                manager.feed_gate.unused(at);
                return Ok(Polled::NotBefore(now.plus(free.since(at))));
            }
        };
        let piece = self.next_piece(now);
        let fetched = manager.client.events(piece.from.0, piece.until.0).await;
        let is_answered = match &fetched {
            Ok(_) => true,
            Err(error) => error.status.is_some() || error.trouble == Some(Trouble::Oversized),
        };
        let frees_at = self.engine.window_time().plus(manager.events.per());
        self.answered
            .extend(is_answered.then_some((token, frees_at)));
        let polled = match fetched {
            Ok(events) => {
                self.recovered();
                self.take_in(piece, events, now).await
            }
            Err(error) if error.trouble == Some(Trouble::Oversized) => {
                self.recovered();
                self.reach = self.reach.halved();
                match piece.halves() {
                    Some(halves) => {
                        self.pieces.extend(halves);
                        Ok(Polled::More(0))
                    }
                    None => {
                        self.cut(piece, 0);
                        self.read(piece, Vec::new()).await
                    }
                }
            }
            Err(error) => {
                // The answer may have been too much for its time.
                self.reach = self.reach.halved();
                let is_too_much =
                    error.trouble == Some(Trouble::TimedOut) && piece.may_be_too_much();
                match piece.halves().filter(|_| is_too_much) {
                    Some(halves) => self.pieces.extend(halves),
                    None => self.pieces.push(piece),
                }
                self.failed(&error);
                Ok(Polled::Failed)
            }
        };
        self.is_idle = matches!(polled, Ok(Polled::Done(0)));
        if polled.is_err() {
            // It is read again from the cursor, and all after it.
            self.start_over();
        }
        polled
    }

    /// A slot for a call that starts at `at`, or when there will be one.
    async fn place(&mut self, at: Timestamp) -> Result<Result<Uuid, Timestamp>, Error> {
        let (ahead, until) = &mut self.ahead;
        if at > *until {
            ahead.clear();
        }
        if let Some(token) = ahead.pop() {
            return Ok(Ok(token));
        }
        let wanted = if self.is_idle { self.wanted(at) } else { 1 };
        let mut grant = self.take(wanted, at).await?;
        if wanted > 1 && grant.is_err() {
            grant = self.take(1, at).await?;
        }
        Ok(grant)
    }

    /// How many places are taken at once while nothing happens.
    fn wanted(&self, at: Timestamp) -> u32 {
        let polls = AHEAD.as_millis() / self.polling.interval.as_millis().max(1);
        let most = self.manager.events.limit(false, at) / AHEAD_SHARE;
        u32::try_from(polls).unwrap_or(most).min(most).max(1)
    }

    async fn take(&mut self, count: u32, at: Timestamp) -> Result<Result<Uuid, Timestamp>, Error> {
        let slots: Vec<Slot> = (0..count)
            .map(|_| {
                let mut slot = self.manager.events.slot(Uuid::new_v4(), None, at);
                if count > 1 {
                    slot.frees_at = slot.frees_at.plus(AHEAD);
                }
                slot
            })
            .collect();
        let mut tokens: Vec<Uuid> = slots.iter().map(|slot| slot.token).collect();
        let answered = self.answered.clone();
        match self.engine.store().take_slots(slots, answered).await? {
            Grant::NotBefore(free) => Ok(Err(free)),
            Grant::Taken => {
                self.answered.clear();
                let first = tokens.pop();
                self.ahead = (tokens, at.plus(AHEAD));
                Ok(first.ok_or(at))
            }
        }
    }

    /// What is to be read next: the rest of the stretch under way, or a new one from a little before the cursor up to
    /// now, or as far as is asked for at once.
    fn next_piece(&mut self, now: Timestamp) -> Piece {
        if let Some(piece) = self.pieces.pop() {
            return piece;
        }
        // One of the two clocks may be wrong; the longer stretch has every event.
        let from = self.feed.cursor.min(now);
        let latest = self.hid_time(now).max(now);
        let until = latest.min(from.plus(self.reach.length()));
        let is_last = until == latest;
        let cursor = if is_last {
            self.hid_time(now).min(now)
        } else {
            until
        };
        Piece {
            from: Timestamp(from.0.saturating_sub(self.overlap_ms())),
            until,
            cursor,
            is_last,
        }
    }

    fn start_over(&mut self) {
        self.pieces.clear();
        self.suspect = None;
    }

    /// Believes an answer, or has its stretch read again in halves.
    async fn take_in(
        &mut self,
        piece: Piece,
        events: Vec<RawEvent>,
        now: Timestamp,
    ) -> Result<Polled, Error> {
        let count = events.len();
        if self.feed.page.is_some_and(|page| count > page) {
            self.feed.page = None;
        }
        if may_be_cut(count, self.feed.page) {
            if let Some(halves) = piece.halves() {
                self.pieces.extend(halves);
                let suspect = Suspect::new(count, piece);
                self.suspect.get_or_insert(suspect);
                return Ok(Polled::More(0));
            }
            self.cut(piece, count);
        }
        if let Some(suspect) = &mut self.suspect {
            suspect.found(events.iter().map(|event| event.id.as_str()));
            if suspect.is_over(piece) {
                self.feed.page = suspect.page().or(self.feed.page);
                self.suspect = None;
            }
        }
        self.hear(&events, piece.until.min(now));
        self.reach = self.reach.after(count);
        let fresh = self.observe(events, now).await?;
        self.read(piece, fresh).await
    }

    /// All of a piece was observed: the cursor moves on.
    async fn read(
        &mut self,
        piece: Piece,
        fresh: Vec<(String, Timestamp)>,
    ) -> Result<Polled, Error> {
        let found = fresh.len();
        // It may go back: it was our own clock's where HID's was not known yet.
        self.feed.cursor = if piece.is_last {
            piece.cursor
        } else {
            self.feed.cursor.max(piece.cursor)
        };
        self.save(fresh).await?;
        let name = &self.manager.name;
        emit!(POLL_DONE, manager.name = %name, events = found; "{found} new events of {name}");
        Ok(if piece.is_last {
            Polled::Done(found)
        } else {
            Polled::More(found)
        })
    }

    fn cut(&mut self, piece: Piece, count: usize) {
        self.feed.gaps += 1;
        let name = &self.manager.name;
        emit!(FEED_CUT, manager.name = %name, events = count, from = piece.from.0, until = piece.until.0;
            "the feed of {name} leaves out part of what happened at one moment: its answers hold {count} entries");
    }

    fn overlap_ms(&self) -> i64 {
        i64::try_from(self.polling.overlap.as_millis()).unwrap_or(i64::MAX)
    }

    /// HID's time, as its last answer told it; ours as long as none did.
    fn hid_time(&self, ours: Timestamp) -> Timestamp {
        let skew = self.manager.client.clock_skew().unwrap_or_default();
        Timestamp(ours.0.saturating_add(skew))
    }

    /// Observes what was not seen yet, oldest first; returns their ids, with until when each counts as seen.
    async fn observe(
        &mut self,
        mut events: Vec<RawEvent>,
        now: Timestamp,
    ) -> Result<Vec<(String, Timestamp)>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let engine = Arc::clone(&self.engine);
        let ids = events.iter().map(|raw| raw.id.clone()).collect();
        let mut seen = engine.store().seen_events(self.manager.id, ids).await?;
        let recently = self.recently(now);
        self.nobodys.retain(|_, time| *time > recently);
        events.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let mut fresh = Vec::new();
        for raw in events {
            if self.nobodys.contains_key(&raw.id) || !seen.insert(raw.id.clone()) {
                continue;
            }
            let time = raw.time.unwrap_or(now);
            if let Some(what) = raw.happening() {
                match (self.owner(&raw).await?, raw.time) {
                    (Some(identity), _) => {
                        let manager = self.manager.id;
                        let event = Event {
                            manager,
                            time,
                            what,
                        };
                        let seen = Observation::Event(event);
                        engine.observe(identity, &seen, "feed").await?;
                    }
                    (None, Some(time)) if time > recently => {
                        self.nobodys.insert(raw.id, time);
                        continue;
                    }
                    (None, _) => {}
                }
            }
            fresh.push((raw.id, time.max(self.feed.cursor)));
        }
        Ok(fresh)
    }

    /// What happened since may be about a user of whom only the answer to a call tells that is being written down: by
    /// another daemon, or by a slow disk. All polls until then reach back to it.
    fn recently(&self, now: Timestamp) -> Timestamp {
        Timestamp(self.hid_time(now).0.saturating_sub(self.overlap_ms() / 2))
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

    async fn save(&mut self, fresh: Vec<(String, Timestamp)>) -> Result<(), Error> {
        let feed = self.feed.clone();
        self.manager.progress.set(feed.cursor, feed.gaps);
        let saved = &self.saved;
        let told = |feed: &Feed| (feed.page, feed.gaps, feed.deaf);
        let is_news = told(&feed) != told(saved);
        let is_old = (feed.cursor.0 - saved.cursor.0).abs() >= SAVE_EVERY_MS;
        if !fresh.is_empty() || is_news || is_old {
            let kept_since = Timestamp(feed.cursor.0.saturating_sub(2 * self.overlap_ms()));
            let (store, manager) = (self.engine.store(), self.manager.id);
            let saved = store.save_feed(manager, feed.clone(), fresh, kept_since);
            saved.await?;
            self.saved = feed;
        }
        Ok(())
    }

    /// Compares what the feed told with what we created.
    fn hear(&mut self, events: &[RawEvent], now: Timestamp) {
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
        self.feed.deaf = self.manager.echo.is_deaf();
    }

    fn failed(&mut self, error: &origo::Error) {
        let trouble = error.trouble.unwrap_or(Trouble::ServerError);
        let name = &self.manager.name;
        let service = Paused {
            gate: &self.manager.feed_gate,
            budget: &self.manager.events,
            name: "events",
        };
        worker::paused(&self.engine, &self.manager, &service, trouble, error);
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

/// Where a feed's reading stands; a new one begins now.
async fn stand(engine: &Engine, manager: &Manager) -> Result<Feed, Error> {
    let feed = match engine.store().load_feed(manager.id).await? {
        Some(feed) => feed,
        None => {
            // A new database has nothing that an older event could be about.
            let cursor = engine.now();
            let feed = Feed {
                cursor,
                ..Feed::default()
            };
            let saved = engine
                .store()
                .save_feed(manager.id, feed.clone(), Vec::new(), cursor);
            saved.await?;
            feed
        }
    };
    manager.progress.set(feed.cursor, feed.gaps);
    manager.echo.start_over(feed.deaf);
    Ok(feed)
}
