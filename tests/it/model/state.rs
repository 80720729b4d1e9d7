//! One state of the model and every way on from it. The identities are the core's own, and only [`step`] changes them.
//!
//! Two clocks' worth of abstraction: whatever happens takes [`MOMENT`]; and time passes by leaps, to the next moment at which
//! something is due. A call is applied by HID when it starts, or goes astray: then it is applied at any moment up to the
//! bound, or never, and its answer is lost or late. A crash with a call under way is the same to the core as a call
//! that goes astray: `recover` says [`Fault::Unanswered`] as a time-out does, and all else is durable. So both share
//! one budget.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use origo_adapter::core::change::Change;
use origo_adapter::core::effect::{Class, Effect, Lane, Owed};
use origo_adapter::core::identity::{Identity, InFlight};
use origo_adapter::core::ids::{IdentityId, Timestamp};
use origo_adapter::core::index::{self, remote};
use origo_adapter::core::observation::{Event, Fault, Observation};
use origo_adapter::core::policy::Policy;
use origo_adapter::core::wish::Wish;
use origo_adapter::core::{plan, step};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::acts::Kind;
use super::hid::Hid;
use super::sum::Names;
use super::ways::Action;
use super::wire::{Reply, Told};
use crate::support::scene::{START, manager};

/// Nothing happens at the very same time as something else.
pub(super) const MOMENT: Duration = Duration::from_millis(1);
/// See [`super::same`].
pub(super) const UNIT: Duration = Duration::from_millis(super::same::UNIT.unsigned_abs());

/// What the model is asked to explore.
pub(super) struct World {
    pub(super) policy: Policy,
    /// What operators may ask for, by person.
    pub(super) acts: fn(&World, &State, usize) -> Vec<Wish>,
    /// Only acts of this kind happen.
    pub(super) only: Option<Kind>,
    /// How many phones each person has.
    pub(super) phones: u8,
    /// Of the calls of one class only the oldest is started, as a worker does; else any.
    pub(super) in_order: bool,
    /// So many of HID's own deeds may be outstanding when time passes.
    pub(super) late: usize,
    /// Other names for the same things: states that differ in them only are the same.
    pub(super) twins: Names,
    /// Of what part number each parent is.
    pub(super) parts: &'static [u8],
    /// A deliberate mistake in the core, after each step.
    pub(super) mistake: Option<fn(&Observation, &mut Identity)>,
}

/// What may still go wrong, or be asked for.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Left {
    /// Calls whose reply is lost or late, and crashes with a call under way.
    pub(super) astray: u8,
    /// Events lost, doubled or late.
    pub(super) events: u8,
    /// Reads that show what was before the last write.
    pub(super) stale: u8,
    /// Wishes, and phones lost.
    pub(super) acts: u8,
    /// Invitations asked for where none is open.
    pub(super) invites: u8,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "astray {}, events {}, stale {}, acts {}, invites {}",
            self.astray, self.events, self.stale, self.acts, self.invites
        )
    }
}

impl Left {
    /// Whatever `other` allows is allowed here too.
    pub(super) fn covers(self, other: Self) -> bool {
        self.astray >= other.astray
            && self.events >= other.events
            && self.stale >= other.stale
            && self.acts >= other.acts
            && self.invites >= other.invites
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) people: Vec<Option<Identity>>,
    pub(super) hid: Hid,
    /// HID before its last write, as long as a read may be answered from it; kept only where that may still happen.
    pub(super) before: Option<Hid>,
    /// The answer on its way to each person's call; `None`: there is no call, or none will come.
    pub(super) replies: Vec<Option<Reply>>,
    pub(super) astray: Vec<Astray>,
    pub(super) feed: Vec<Entry>,
    pub(super) left: Left,
    /// What each person is owed now; follows from the rest.
    #[serde(skip)]
    pub(super) owed: Vec<BTreeMap<Lane, Owed>>,
}

/// A call without an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Astray {
    pub(super) person: usize,
    pub(super) call: InFlight,
    /// What HID answered; `None`: it has not come to HID yet.
    pub(super) reply: Option<Reply>,
    /// After that it has no effect any more; `None`: we did not give up on it yet.
    pub(super) until: Option<Timestamp>,
}

/// An event on its way to us.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) told: Told,
    pub(super) at: Timestamp,
    /// Time may pass before it comes.
    pub(super) late: bool,
}

/// How a way on went, for the story of a counterexample.
#[derive(Default)]
pub(super) struct Log {
    pub(super) changes: Vec<Change>,
    pub(super) started: Option<Effect>,
}

pub(super) fn person_id(person: usize) -> IdentityId {
    IdentityId(Uuid::from_u128(1 + person as u128))
}

pub(super) fn is_read(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::ReadUser { .. } | Effect::ReadPhone { .. } | Effect::SearchUser { .. }
    )
}

impl State {
    /// People of whom nothing is known yet.
    pub(super) fn new(people: usize, hid: Hid, left: Left) -> Self {
        let new = |person| Some(Identity::new(person_id(person), START));
        Self {
            now: START,
            people: (0..people).map(new).collect(),
            hid,
            before: None,
            replies: vec![None; people],
            astray: vec![],
            feed: vec![],
            left,
            owed: vec![BTreeMap::new(); people],
        }
    }

    /// Finds out what is owed, after time has passed or the state was unpacked.
    pub(super) fn owe(mut self, world: &World) -> Self {
        let of = |person: &Option<Identity>| {
            let identity = person.as_ref();
            identity.map_or_else(BTreeMap::new, |identity| {
                plan::owed(&world.policy, identity, self.now)
            })
        };
        self.owed = self.people.iter().map(of).collect();
        self
    }

    /// What a person is owed, the reads of waiting users aside: the feed is on.
    pub(super) fn owed(&self, person: usize) -> impl Iterator<Item = (&Lane, &Owed)> {
        let owed = self.owed[person].iter();
        owed.filter(|(_, owed)| owed.class != Class::Wait)
    }

    pub(super) fn is_calling(&self, person: usize) -> bool {
        let identity = self.people[person].as_ref();
        identity.is_some_and(|identity| identity.in_flight.is_some())
    }

    /// Takes one way on. `Err`: the core did what it must not.
    pub(super) fn takes(mut self, world: &World, action: &Action) -> Result<(Self, Log), String> {
        let mut log = Log::default();
        if !matches!(action, Action::Pass) {
            self.now = self.now.plus(MOMENT);
        }
        match action {
            Action::Call(person, lane) => {
                let call = self.start(world, *person, lane, &mut log)?;
                let mut told = vec![];
                self.replies[*person] = Some(self.perform(&call.effect, &mut told));
                self.tell(told);
            }
            Action::ReadStale(person, lane) => {
                self.left.stale -= 1;
                let call = self.start(world, *person, lane, &mut log)?;
                let mut before = self.before.take().expect("what was before");
                let reply = before.perform(&call.effect, &mut vec![], &|_| true);
                self.replies[*person] = Some(reply);
            }
            Action::CallAstray(person, lane) => {
                self.left.astray -= 1;
                let call = self.start(world, *person, lane, &mut log)?;
                self.goes_astray(*person, call);
            }
            Action::Answer(person) => {
                let reply = self.replies[*person].take().expect("an answer");
                let call = self.call_of(*person);
                self.hear_answer(world, (*person, call), &reply, &mut log);
            }
            Action::GiveUp(person) => {
                let until = self.now.plus(world.policy.late_effect_bound);
                let seen = self.give_up(*person, until);
                self.see(world, *person, &seen, &mut log);
            }
            Action::Land(n) => {
                let mut told = vec![];
                let effect = self.astray[*n].call.effect.clone();
                let reply = self.perform(&effect, &mut told);
                self.astray[*n].reply = Some(reply);
                self.tell(told);
            }
            Action::AnswerLate(n) => {
                let astray = self.astray.remove(*n);
                let reply = astray.reply.expect("an answer");
                let call = (astray.person, astray.call);
                self.hear_answer(world, call, &reply, &mut log);
            }
            Action::Tell(n) => {
                let entry = self.feed.remove(*n);
                self.hear(world, &entry, &mut log);
            }
            Action::Lose(n) => {
                self.left.events -= 1;
                self.feed.remove(*n);
            }
            Action::TellTwice(n) => {
                self.left.events -= 1;
                self.feed[*n].late = true;
                let entry = self.feed[*n].clone();
                self.hear(world, &entry, &mut log);
            }
            Action::Delay(n) => {
                self.left.events -= 1;
                self.feed[*n].late = true;
            }
            Action::Happen(deed) => self.in_hid(|hid, told| hid.happens(deed, told)),
            Action::Redeem(id) => self.in_hid(|hid, told| hid.redeem(id, told)),
            Action::LosePhone(phone) => {
                self.left.acts -= 1;
                self.in_hid(|hid, told| hid.lose_phone(phone, told));
            }
            Action::Wish(person, wish) => {
                if matches!(**wish, Wish::Invite { .. }) {
                    self.left.invites -= 1;
                } else {
                    self.left.acts -= 1;
                }
                let seen = Observation::Wish((**wish).clone());
                self.see(world, *person, &seen, &mut log);
            }
            Action::Pass => {
                let least = self.now.plus(UNIT);
                self.now = self.next_moment().expect("a moment").max(least);
                let now = self.now;
                let astray = &mut self.astray;
                astray.retain(|a| a.until.is_none_or(|until| now <= until));
                self.before = None;
                self = self.owe(world);
            }
        }
        Ok((self, log))
    }

    /// A read without an answer leaves nothing behind.
    fn goes_astray(&mut self, person: usize, call: InFlight) {
        if !is_read(&call.effect) {
            self.astray.push(Astray {
                person,
                call,
                reply: None,
                until: None,
            });
        }
    }

    fn give_up(&mut self, person: usize, until: Timestamp) -> Observation {
        let call = self.call_of(person);
        let mut astray = self.astray.iter_mut();
        if let Some(known) = astray.find(|a| a.person == person && a.call.call == call.call) {
            known.until = Some(until);
        }
        Observation::Failed(call, Fault::Unanswered)
    }

    fn hear_answer(
        &mut self,
        world: &World,
        (person, call): (usize, InFlight),
        reply: &Reply,
        log: &mut Log,
    ) {
        let seen = match reply.read(&call.effect) {
            Ok(answer) => Observation::Answered(call, answer),
            Err(fault) => Observation::Failed(call, fault),
        };
        self.see(world, person, &seen, log);
    }

    /// Something happens at HID, and the feed tells of it.
    fn in_hid(&mut self, what: impl FnOnce(&mut Hid, &mut Vec<Told>)) {
        let mut told = vec![];
        what(&mut self.hid, &mut told);
        self.tell(told);
    }

    /// HID does what a call asks for.
    fn perform(&mut self, effect: &Effect, told: &mut Vec<Told>) -> Reply {
        if self.left.stale > 0 && !is_read(effect) {
            self.before = Some(self.hid.clone());
        }
        let is_issue = matches!(effect, Effect::Issue { .. });
        let all = is_issue.then(|| super::same::pack(self));
        let all = all.unwrap_or_default();
        let is_free = |id: &str| !all.windows(id.len()).any(|part| part == id.as_bytes());
        self.hid.perform(effect, told, &is_free)
    }

    fn call_of(&self, person: usize) -> InFlight {
        let identity = self.people[person].as_ref();
        let call = identity.and_then(|identity| identity.in_flight.clone());
        call.expect("a call under way")
    }

    /// The `sent` mark. An issue that nobody wants must never come so far.
    fn start(
        &mut self,
        world: &World,
        person: usize,
        lane: &Lane,
        log: &mut Log,
    ) -> Result<InFlight, String> {
        let seen = Observation::Started(lane.clone());
        let started = self.see(world, person, &seen, log);
        let call = started.ok_or_else(|| format!("{lane} is due and does not start"))?;
        log.started = Some(call.effect.clone());
        Ok(call)
    }

    /// The one way to change a person.
    pub(super) fn see(
        &mut self,
        world: &World,
        person: usize,
        seen: &Observation,
        log: &mut Log,
    ) -> Option<InFlight> {
        let before = self.people[person].as_ref()?;
        let mut after = step(&world.policy, before, seen, self.now);
        if let (Some(mistake), Some(identity)) = (world.mistake, &mut after.identity) {
            mistake(seen, identity);
        }
        self.owed[person] = if world.mistake.is_some() {
            let identity = after.identity.as_ref();
            identity.map_or_else(BTreeMap::new, |i| plan::owed(&world.policy, i, self.now))
        } else {
            after.owed
        };
        self.people[person] = after.identity;
        log.changes.extend(after.changes);
        after.started
    }

    fn tell(&mut self, told: Vec<Told>) {
        let at = self.now;
        let entries = told.into_iter().map(|told| Entry {
            told,
            at,
            late: false,
        });
        self.feed.extend(entries);
        self.feed.sort_by(|a, b| a.told.cmp(&b.told));
    }

    /// As the poller: whoever knows one of its ids is told; what is nobody's is passed over.
    fn hear(&mut self, world: &World, entry: &Entry, log: &mut Log) {
        let names = entry.told.names();
        let knows = |identity: &Identity| {
            let mut rows = index::rows(identity).into_iter();
            rows.any(|row| names.iter().any(|name| row.id == remote(manager(), name)))
        };
        let mut people = self.people.iter();
        let owner = people.position(|person| person.as_ref().is_some_and(knows));
        let seen = Observation::Event(Event {
            manager: manager(),
            time: entry.at,
            what: entry.told.what.happening(),
        });
        if let Some(owner) = owner {
            self.see(world, owner, &seen, log);
        }
    }
}
