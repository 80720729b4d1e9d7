//! Every way on from a state: what is due, what may go wrong, what people do.

use std::collections::{BTreeMap, BTreeSet};

use origo_adapter::core::effect::{Class, Lane, Owed};
use origo_adapter::core::identity::{CmUserState, Enrollment};
use origo_adapter::core::ids::{ContainerId, CredentialId, InvitationId, PhoneId, Timestamp};
use origo_adapter::core::observation::{CredentialStatus, InvitationStatus};
use origo_adapter::core::wish::Wish;

use super::acts::Kind;
use super::hid::Deed;
use super::state::{Astray, MOMENT, State, UNIT, World, is_read};
use crate::support::scene::manager;

/// So many dull reads, or units of time, HID lets us wait.
const PATIENCE: u32 = 2;

/// One way on.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A due call is started and HID does what it asks for.
    Call(usize, Lane),
    /// A due read is started, and answered with what was before the last write.
    ReadStale(usize, Lane),
    /// A due call is started, and nobody knows what becomes of it.
    CallAstray(usize, Lane),
    Answer(usize),
    /// A time-out, or a restart after a crash.
    GiveUp(usize),
    /// A call that went astray comes to HID after all.
    Land(usize),
    /// Its answer comes after we had given up.
    AnswerLate(usize),
    Tell(usize),
    Lose(usize),
    TellTwice(usize),
    Delay(usize),
    Happen(Deed),
    Redeem(InvitationId),
    LosePhone(ContainerId),
    Wish(usize, Box<Wish>),
    Pass,
}

impl State {
    /// The moment to which time leaps. Sweeps are waited for only where nothing else is, and then all of them.
    pub(super) fn next_moment(&self) -> Option<Timestamp> {
        let people = || 0..self.people.len();
        let calls = || people().flat_map(|p| self.owed(p)).map(|(_, owed)| owed);
        let urgent = || calls().filter(|owed| owed.class != Class::Sweep);
        let ahead = |owed: &&Owed| owed.not_before > self.now;
        let ends = self.astray.iter().filter_map(|astray| astray.until);
        let next = urgent().filter(ahead).map(|owed| owed.not_before);
        let next = next.chain(ends.map(|at| at.plus(MOMENT))).min();
        let is_idle = urgent().all(|owed| ahead(&owed));
        let sweep = calls().filter(ahead).map(|owed| owed.not_before).max();
        next.or(sweep.filter(|_| is_idle))
    }

    /// Every way on. The first is the one that a scheduler takes once nothing goes wrong any more, unless it is a mishap or a deed
    /// of people; there is such a one in every state but the last.
    pub(super) fn actions(&self, world: &World) -> (Vec<Action>, Option<usize>) {
        let mut actions = vec![];
        let fresh = |n: &usize| !self.feed[*n].late;
        let entries = || 0..self.feed.len();
        if entries().any(|n| fresh(&n)) {
            // An event comes at once, or it is one of the late ones.
            actions.extend(entries().filter(fresh).map(Action::Tell));
            for n in entries().filter(fresh).filter(|_| self.left.events > 0) {
                actions.extend([Action::Lose(n), Action::TellTwice(n), Action::Delay(n)]);
            }
            return (actions, Some(0));
        }
        for person in (0..self.people.len()).filter(|p| self.is_calling(*p)) {
            actions.push(if self.replies[person].is_some() {
                Action::Answer(person)
            } else {
                Action::GiveUp(person)
            });
        }
        actions.extend(entries().map(Action::Tell));
        let mut due = self.due();
        if world.in_order {
            self.pick(&mut due);
        }
        let busy = self.busy_phones(&due);
        let deeds = self.hid.deeds().into_iter();
        let deeds = deeds.filter(|deed| !self.may_wait(deed, busy.as_ref()));
        actions.extend(deeds.map(Action::Happen));
        let call = |(person, lane): &(usize, Lane)| Action::Call(*person, lane.clone());
        actions.extend(due.iter().map(call));
        if due.is_empty() && self.hid.deeds().len() <= world.late && self.may_pass() {
            actions.push(Action::Pass);
        }
        let scheduled = (!actions.is_empty()).then_some(0);
        self.mishaps(due, &mut actions);
        self.deeds_of_people(world, busy.as_ref(), &mut actions);
        (actions, scheduled)
    }

    /// Which phones a call under way, a call that is due or a stray one is about. `None`: any, or time passes next, or
    /// what a phone does may be of weight elsewhere: where licences are few, people are two, reads stale.
    fn busy_phones(&self, due: &[(usize, Lane)]) -> Option<BTreeSet<PhoneId>> {
        let under_way = self.people.iter().flatten();
        let under_way = under_way.filter_map(|identity| identity.in_flight.as_ref());
        let under_way: Vec<_> = under_way.map(|call| &call.lane).collect();
        let alone = self.people.len() == 1 && self.hid.stock > 4 && self.left.stale == 0;
        if !alone || (under_way.is_empty() && due.is_empty()) {
            return None;
        }
        let stray = self.astray.iter().map(|astray| &astray.call.lane);
        let lanes = due.iter().map(|(_, lane)| lane).chain(under_way);
        let of = |lane: &Lane| match lane {
            Lane::Key(phone, _) | Lane::Phone(phone) | Lane::Removal(phone) => Some(*phone),
            Lane::CmUser(_)
            | Lane::Invitation(_)
            | Lane::Read(_)
            | Lane::Wait(_)
            | Lane::Sweep(_)
            | Lane::Record(_)
            | Lane::Timer => None,
        };
        lanes.chain(stray).map(of).collect()
    }

    /// What nobody can tell from its happening later happens later: nothing else that may come before is about its
    /// phone. And what no event tells of may wait for an answer that was made already.
    fn may_wait(&self, deed: &Deed, busy: Option<&BTreeSet<PhoneId>>) -> bool {
        let idle = |container: &ContainerId| {
            busy.is_some_and(|busy| !busy.contains(&PhoneId::of(manager(), container)))
        };
        let silent = || {
            let answered = self.replies.iter().any(Option::is_some);
            let arrived = self.astray.iter().all(|astray| astray.reply.is_some());
            answered && arrived && self.people.len() == 1
        };
        match deed {
            Deed::Deliver(key) => {
                let phone = self.hid.phone_of(key);
                idle(&phone.id) && self.is_held(key)
            }
            Deed::Remove(key) => silent() || idle(&self.hid.phone_of(key).id),
            Deed::ForgetPhone(phone) => silent() || idle(phone),
            Deed::ForgetUser(_) => silent(),
        }
    }

    /// Somebody knows the key: its event means nothing to any other.
    fn is_held(&self, key: &CredentialId) -> bool {
        let enrollments = self.people.iter().flatten();
        let enrollments = enrollments.flat_map(|identity| identity.enrollments.values());
        let phones = enrollments.flat_map(|enrollment| enrollment.phones.values());
        let mut keys = phones.flat_map(|phone| phone.keys.values());
        keys.any(|known| known.held.contains_key(key))
    }

    /// As the store does: of the calls of one class only the oldest is claimed, or one of several equally old.
    fn pick(&self, due: &mut Vec<(usize, Lane)>) {
        let owed = |(person, lane): &(usize, Lane)| &self.owed[*person][lane];
        let mut oldest = BTreeMap::new();
        for call in due.iter() {
            let since = owed(call).not_before;
            let known = oldest.entry((call.0, owed(call).class)).or_insert(since);
            *known = since.min(*known);
        }
        due.retain(|call| oldest[&(call.0, owed(call).class)] == owed(call).not_before);
    }

    /// What may be called now, the oldest first.
    fn due(&self) -> Vec<(usize, Lane)> {
        let people = (0..self.people.len()).filter(|p| !self.is_calling(*p));
        let all = people.flat_map(|p| self.owed(p).map(move |(lane, owed)| (p, lane, owed)));
        let due = all.filter(|(_, _, owed)| owed.not_before <= self.now);
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(person, lane, owed)| (owed.not_before, owed.class, *person, *lane));
        due.into_iter()
            .map(|(person, lane, _)| (person, lane.clone()))
            .collect()
    }

    fn may_pass(&self) -> bool {
        let calling = (0..self.people.len()).any(|p| self.is_calling(p));
        !calling && !self.is_overdue() && self.next_moment().is_some()
    }

    /// A phone or HID has let us wait for so long that it must do something before time passes on. Waiting longer would
    /// repeat the same reads.
    fn is_overdue(&self) -> bool {
        let busy = |phone: &super::hid::Phone| {
            let keys = || phone.keys.iter();
            phone.leaving || keys().any(|key| key.status != CredentialStatus::Issued)
        };
        let dull = |enrollment: &Enrollment| {
            let phones = enrollment.phones.values();
            let mut dull = phones.filter(|known| known.dull_reads >= PATIENCE);
            let deleting = matches!(&enrollment.user.state, CmUserState::Deleting { since, .. }
                if self.now.since(*since) >= UNIT * PATIENCE);
            let waits = dull.any(|known| {
                let mut phones = self.hid.phones();
                phones.any(|(_, phone)| phone.id == known.container && busy(phone))
            });
            waits || (deleting && self.hid.users.iter().any(|user| user.deleting))
        };
        let people = self.people.iter().flatten();
        people.flat_map(|p| p.enrollments.values()).any(dull)
    }

    /// What goes wrong, as far as the budgets go, and what follows from it.
    fn mishaps(&self, due: Vec<(usize, Lane)>, actions: &mut Vec<Action>) {
        if self.left.stale > 0 && self.before.is_some() {
            let reads = due.iter();
            let reads = reads.filter(|(person, lane)| is_read(&self.owed[*person][lane].effect));
            actions.extend(reads.map(|(p, lane)| Action::ReadStale(*p, lane.clone())));
        }
        if self.left.astray > 0 {
            let astray = due.into_iter().map(|(p, lane)| Action::CallAstray(p, lane));
            actions.extend(astray);
        }
        let soon = self.now.plus(MOMENT);
        let in_time = |astray: &Astray| astray.until.is_none_or(|until| soon <= until);
        let astray = self.astray.iter().enumerate();
        for (n, astray) in astray.filter(|(_, astray)| in_time(astray)) {
            match (&astray.reply, astray.until) {
                (None, _) => actions.push(Action::Land(n)),
                (Some(_), Some(_)) => actions.push(Action::AnswerLate(n)),
                (Some(_), None) => {}
            }
        }
    }

    /// What operators and people with phones do.
    fn deeds_of_people(
        &self,
        world: &World,
        busy: Option<&BTreeSet<PhoneId>>,
        actions: &mut Vec<Action>,
    ) {
        for user in &self.hid.users {
            let free = user.phones_made < world.phones && !user.deleting;
            let pending = |i: &&super::hid::Invitation| i.status == InvitationStatus::Pending;
            for invitation in user.invitations.iter().filter(pending).filter(|_| free) {
                actions.push(Action::Redeem(invitation.id.clone()));
            }
            let may_wait = |phone: &super::hid::Phone| {
                let id = PhoneId::of(manager(), &phone.id);
                busy.is_some_and(|busy| !busy.contains(&id))
            };
            let may_lose = self.left.acts > 0 && world.may_happen(Kind::LosePhone);
            let lost = user.phones.iter().filter(|_| may_lose);
            for phone in lost.filter(|phone| !may_wait(phone)) {
                actions.push(Action::LosePhone(phone.id.clone()));
            }
        }
        for person in 0..self.people.len() {
            let wishes = (world.acts)(world, self, person).into_iter();
            let wishes = wishes.filter(|wish| self.may_ask(wish));
            let wishes = wishes.filter(|wish| world.may_happen(Kind::of(wish)));
            actions.extend(wishes.map(|wish| Action::Wish(person, Box::new(wish))));
        }
    }

    fn may_ask(&self, wish: &Wish) -> bool {
        if matches!(wish, Wish::Invite { .. }) {
            self.left.invites > 0
        } else {
            self.left.acts > 0
        }
    }
}
