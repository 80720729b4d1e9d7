//! When two states are the same: equal but for what no decision depends on any more.
//!
//! A moment in the past counts by its age in [`UNIT`]s up to the age at which the core stops asking, and by whether it
//! lies after the start of the call under way; a moment ahead by how many units it is away, coarsely beyond twenty.
//! When reads are due again follows from several moments at once, so there the due times of all lanes count instead.
//! What this hides: the order of two moments within one unit, failures beyond the first (the schedule has two entries),
//! and how long a sweep is away.

use origo_adapter::core::effect::{Class, Effect, Lane, Owed};
use origo_adapter::core::identity::{
    CmUserState, DoubtStage, Drift, Enrollment, Held, Identity, InFlight, Key, Phone, Trouble,
};
use origo_adapter::core::ids::{CallNo, ChildId, PhoneId, Timestamp};
use uuid::Uuid;

use super::state::{Left, State, World};
use super::sum::{Names, sum};
use crate::support::scene::{parent_id, part, phone_id};

/// What all waiting in the model's policy is a multiple of, the pause after a failure aside. Milliseconds.
pub(super) const UNIT: i64 = 30_000;
/// Ages at which the core stops asking, in units: `settle_delay`, and the bound with it.
const SETTLED: i64 = 1;
const SHOWN: i64 = 3;
const DAY: i64 = 24 * 120;

/// A state as bytes, for the queue.
pub(super) fn pack(state: &State) -> Vec<u8> {
    postcard::to_allocvec(state).expect("a state is bytes")
}

pub(super) fn unpack(world: &World, bytes: &[u8]) -> State {
    let state: State = postcard::from_bytes(bytes).expect("and back");
    state.owe(world)
}

/// Equal for states that are the same, whatever may still go wrong, and whichever phone or parent has which name. With n
/// states the odds of one mistaken for another are n² : 2⁶⁵.
pub(super) fn fingerprint(world: &World, state: &State) -> u64 {
    let mut blurred = State {
        people: state.people.clone(),
        hid: state.hid.clone(),
        before: state.before.clone(),
        replies: vec![],
        astray: state.astray.clone(),
        feed: state.feed.clone(),
        owed: vec![],
        ..*state
    };
    blur(&mut blurred);
    let person = |n| (n, &state.replies[n], deadlines(state.now, state.owed(n)));
    let people: Vec<_> = (0..state.people.len()).map(person).collect();
    let all = (blurred, people);
    sum(&world.twins, &all)
}

/// The ways to name two phones and two parents. Nothing in the model depends on which is which.
pub(super) fn twins(parts: &[u8]) -> Names {
    let ways = [(false, false), (true, false), (false, true), (true, true)];
    let swapped = |is_swapped: bool, n: u8| if is_swapped { 3 - n } else { n };
    let mut names = Names::default();
    if let [one, other] = *parts {
        for (from, across) in [(one, other), (other, one)] {
            let to = |parents: bool| if parents { across } else { from };
            for n in 1..=2 {
                let keys = ways.map(|(phones, parents)| {
                    let (phone, part) = (swapped(phones, n), to(parents));
                    format!("u1p{phone}k{part}")
                });
                names.texts.push((format!("u1p{n}k{from}"), keys));
            }
            let across = ways.map(|(_, parents)| part(to(parents)).0);
            names.texts.push((part(from).0, across));
        }
    }
    for n in 1..=2 {
        for kind in ["u1p", "u1i"] {
            let across = ways.map(|(phones, _)| format!("{kind}{}", swapped(phones, n)));
            names.texts.push((format!("{kind}{n}"), across));
        }
        let phone = |n: u8| phone_id(&format!("u1p{n}")).0;
        let phones = ways.map(|(phones, _)| phone(swapped(phones, n)));
        names.ids.push((phone(n), phones));
        let parents = ways.map(|(_, parents)| parent_id(swapped(parents, n)).0);
        names.ids.push((parent_id(n).0, parents));
    }
    names
}

fn deadlines<'a>(
    now: Timestamp,
    owed: impl Iterator<Item = (&'a Lane, &'a Owed)>,
) -> Vec<(&'a Lane, i64)> {
    let far = |owed: &Owed| owed.class == Class::Sweep && owed.not_before > now;
    let owed = owed.filter(|(_, owed)| !far(owed));
    owed.map(|(lane, owed)| (lane, ahead(now, owed.not_before).0))
        .collect()
}

/// A moment ahead in units, rounded up; coarser the further away, but never as coarse as twice as far; 0 once it has come.
fn ahead(now: Timestamp, at: Timestamp) -> Timestamp {
    let units = (at.0 - now.0 + UNIT - 1).max(0) / UNIT;
    Timestamp(if units <= 20 {
        units
    } else {
        20 + i64::from((units - 1).ilog2())
    })
}

struct Blur {
    now: Timestamp,
    /// Of the call under way, where its answer is held against it.
    started_at: Option<Timestamp>,
    /// The only one that it is about, if there is one.
    phone: Option<PhoneId>,
}

fn blur(state: &mut State) {
    let now = state.now;
    for identity in state.people.iter_mut().flatten() {
        let read = identity.in_flight.as_ref().filter(|call| {
            !matches!(
                call.effect,
                Effect::Issue { .. } | Effect::Revoke { .. } | Effect::DeletePhone { .. }
            )
        });
        let phone = read.and_then(|call| {
            if let Lane::Phone(phone) = call.lane {
                Some(phone)
            } else {
                None
            }
        });
        let started_at = read.map(|call| call.started_at);
        let blur = Blur {
            now,
            started_at,
            phone,
        };
        blur.identity(identity);
    }
    let eyes = Blur {
        now,
        started_at: None,
        phone: None,
    };
    for astray in &mut state.astray {
        unnumber(&mut astray.call);
        astray.until = astray.until.map(|until| ahead(now, until));
    }
    for entry in &mut state.feed {
        eyes.age(&mut entry.at, SHOWN);
    }
    state.now = Timestamp(0);
    state.left = Left::default();
}

impl Blur {
    /// The age in units up to `most`; odd where it lies after the call's start.
    fn age(&self, at: &mut Timestamp, most: i64) {
        let units = ((self.now.0 - at.0) / UNIT).min(most);
        let after = self.started_at.is_some_and(|started| *at > started);
        *at = Timestamp(units * 2 + i64::from(after));
    }

    fn age_of(&self, at: &mut Option<Timestamp>, most: i64) {
        if let Some(at) = at {
            self.age(at, most);
        }
    }

    /// The age by how often it doubled: what is looked for doubles its waiting, and gives up after a day.
    fn doubled(&self, at: Timestamp) -> Timestamp {
        let units = ((self.now.0 - at.0) / UNIT).clamp(0, DAY);
        Timestamp(i64::from(i64::BITS - units.leading_zeros()))
    }

    fn identity(&self, identity: &mut Identity) {
        for at in [&mut identity.created_at, &mut identity.changed_at] {
            *at = Timestamp(0);
        }
        identity.calls = CallNo(0);
        known(&mut identity.deleting_since);
        if let Some(call) = &mut identity.in_flight {
            unnumber(call);
        }
        for user in identity.acs_users.values_mut() {
            user.created_at = Timestamp(0);
            known(&mut user.deleting_since);
        }
        for parent in identity.parents.values_mut() {
            parent.created_at = Timestamp(0);
            known(&mut parent.deleting_since);
            for child in parent.children.values_mut() {
                child.id = ChildId(Uuid::nil());
                child.created_at = Timestamp(0);
                child.issued_at = None;
                child.issued_as = None;
                known(&mut child.deleting_since);
                known(&mut child.gone_at);
            }
        }
        for enrollment in identity.enrollments.values_mut() {
            self.enrollment(enrollment);
        }
    }

    fn trouble(&self, trouble: &mut Trouble) {
        trouble.failures = trouble.failures.min(1);
        trouble.since = None;
        trouble.not_before = ahead(self.now, trouble.not_before);
    }

    fn enrollment(&self, enrollment: &mut Enrollment) {
        if let Some(automation) = &mut enrollment.automation {
            automation.created_at = Timestamp(0);
            known(&mut automation.stopping_since);
        }
        let user = &mut enrollment.user;
        match &mut user.state {
            CmUserState::Unsure { since } => self.age(since, SHOWN),
            CmUserState::Deleting { since, .. } => self.age(since, SETTLED),
            CmUserState::Absent
            | CmUserState::Taken
            | CmUserState::Found { .. }
            | CmUserState::Present { .. }
            | CmUserState::Conflict { .. }
            | CmUserState::Refused(_)
            | CmUserState::Gone => {}
        }
        self.age_of(&mut user.unanswered_at, SHOWN);
        self.age_of(&mut user.missing_since, SETTLED);
        self.trouble(&mut user.trouble);
        self.trouble(&mut user.told.trouble);
        user.drift = Drift::default();
        self.age_of(&mut enrollment.invite.unsure_since, SHOWN);
        self.trouble(&mut enrollment.invite.trouble);
        for invitation in enrollment.invitations.values_mut() {
            invitation.created_at = Timestamp(0);
            invitation.acknowledged_at = invitation.acknowledged_at.map(|at| self.doubled(at));
            self.trouble(&mut invitation.trouble);
        }
        known(&mut enrollment.read_at);
        self.age_of(&mut enrollment.look, 0);
        for (id, phone) in &mut enrollment.phones {
            let about = self.phone.is_none_or(|read| read == *id);
            let started_at = self.started_at.filter(|_| about);
            Self {
                started_at,
                ..*self
            }
            .phone(phone);
        }
    }

    fn phone(&self, phone: &mut Phone) {
        if phone.removed_at.is_some() {
            phone.removal = None;
            phone.keys.clear();
        }
        self.age(&mut phone.created_at, 0);
        self.age_of(&mut phone.missing_since, SETTLED);
        known(&mut phone.removed_at);
        known(&mut phone.knocked_at);
        self.age_of(&mut phone.look, 0);
        known(&mut phone.read_at);
        self.trouble(&mut phone.trouble);
        phone.dull_reads = phone.dull_reads.min(4);
        if let Some(removal) = &mut phone.removal {
            removal.since = Timestamp(0);
            self.age_of(&mut removal.accepted_at, SETTLED);
            self.trouble(&mut removal.trouble);
        }
        for key in phone.keys.values_mut() {
            self.key(key);
        }
    }

    fn key(&self, key: &mut Key) {
        for held in key.held.values_mut() {
            self.held(held);
        }
        match &mut key.doubt.stage {
            DoubtStage::Settled => {}
            DoubtStage::Open {
                gave_up_at,
                blank_at,
            } => {
                self.age(gave_up_at, SHOWN);
                self.age_of(blank_at, SETTLED);
            }
            DoubtStage::Repeated { at, .. } => *at = self.doubled(*at),
        }
        self.trouble(&mut key.trouble);
        known(&mut key.out_of_stock_since);
        // Only a policy of repair asks when.
        key.drift = Drift::default();
    }

    fn held(&self, held: &mut Held) {
        self.age(&mut held.seen_at, SETTLED);
        self.age_of(&mut held.missing_since, SETTLED);
        self.age_of(&mut held.revoked_at, SETTLED);
        self.trouble(&mut held.trouble);
    }
}

/// Only whether it is counts.
fn known(at: &mut Option<Timestamp>) {
    *at = at.map(|_| Timestamp(0));
}

fn unnumber(call: &mut InFlight) {
    call.call = CallNo(0);
    call.started_at = Timestamp(0);
}
