//! A scene, the little HID, and time: what is due is performed, one call at a time, as a worker would.

use std::time::Duration;

use origo_adapter::core::effect::{Class, Effect, Lane};
use origo_adapter::core::identity::InFlight;
use origo_adapter::core::ids::{ContainerId, InvitationId, Timestamp};
use origo_adapter::core::observation::{
    Answer, CredentialStatus, Fault, Happening, InvitationStatus, Observation,
};

use super::hid_model::Hid;
use super::scene::{Scene, check_round_trip, is_wanted, manager, part, secs};

const LATENCY: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(20);
const FEED_DELAY: Duration = Duration::from_secs(3);
/// A read that may be stale shows what was there before a write at most so long ago.
const STALE_FOR: Duration = Duration::from_secs(10);

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    Refused,
    /// HID says no, and nothing happened.
    Fails(Fault),
    LostRequest,
    LostReply,
    /// Takes effect so many seconds after we gave up.
    LateEffect(u8),
    /// Takes effect at once; the answer comes after we gave up.
    LateAnswer,
    /// A read shows what was before the last write.
    Stale,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Told,
    Twice,
    Lost,
    /// Told so many minutes late, out of order.
    Late(u8),
}

#[derive(Clone, Debug)]
enum Due {
    Answer(InFlight, Answer),
    Fail(InFlight, Fault),
    Effect(Effect),
    Event(Timestamp, Happening),
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) hid: Hid,
    /// Drawn from the end; empty: all is well.
    pub(crate) fates: Vec<Fate>,
    /// Drawn from the end; empty: all are told.
    pub(crate) deliveries: Vec<Delivery>,
    before_write: Option<(Timestamp, Box<Hid>)>,
    due: Vec<(Timestamp, Due)>,
    /// Every call made, the standing reads aside.
    pub(crate) calls: Vec<(Timestamp, Effect)>,
}

impl World {
    pub(crate) fn new(refuses_duplicates: bool) -> Self {
        Self {
            scene: Scene::new(),
            hid: Hid {
                refuses_duplicates,
                ..Hid::default()
            },
            fates: vec![],
            deliveries: vec![],
            before_write: None,
            due: vec![],
            calls: vec![],
        }
    }

    /// All goes well from now on.
    pub(crate) fn heal(&mut self) {
        self.fates.clear();
        self.deliveries.clear();
    }

    /// Lets `span` pass, performing what comes due.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.scene.now.plus(span);
        self.collect_events();
        while let Some(at) = self.next_moment().filter(|at| *at <= end) {
            self.scene.now = self.scene.now.max(at);
            self.turn();
        }
        self.scene.now = end;
        self.hid.tick(end);
        self.collect_events();
    }

    fn next_moment(&self) -> Option<Timestamp> {
        let due = self.due.iter().map(|(at, _)| *at).min();
        let call = self.next_call().map(|(_, at)| at.max(self.scene.now));
        due.into_iter()
            .chain(call)
            .chain(self.hid.next_tick())
            .min()
    }

    /// The most urgent of what is due first. The feed is on, so waiting users are not read.
    fn next_call(&self) -> Option<(Lane, Timestamp)> {
        if self.scene.identity.as_ref()?.in_flight.is_some() {
            return None;
        }
        let calls = self
            .scene
            .owed
            .iter()
            .filter(|(_, o)| o.class != Class::Wait);
        let (lane, owed) = calls.min_by_key(|(_, owed)| {
            let waits = owed.not_before.max(self.scene.now);
            (waits, owed.class)
        })?;
        Some((lane.clone(), owed.not_before))
    }

    fn turn(&mut self) {
        let now = self.scene.now;
        self.hid.tick(now);
        self.collect_events();
        let first = self.due.iter().position(|(at, _)| *at <= now);
        if let Some(first) = first {
            let (_, due) = self.due.remove(first);
            self.bring(due);
        } else if let Some((lane, _)) = self.next_call().filter(|(_, at)| *at <= now) {
            self.call(&lane);
        }
        self.check();
    }

    fn bring(&mut self, due: Due) {
        match due {
            Due::Answer(call, answer) => self.scene.answer(call, answer),
            Due::Fail(call, fault) => self.scene.fail(call, fault),
            Due::Effect(effect) => {
                // Nobody waits for this answer any more.
                drop(self.perform(&effect));
            }
            Due::Event(time, what) => self.scene.event_at(time, what),
        }
    }

    fn collect_events(&mut self) {
        for (time, what) in std::mem::take(&mut self.hid.events) {
            let at = time.plus(FEED_DELAY);
            match self.deliveries.pop().unwrap_or(Delivery::Told) {
                Delivery::Told => self.due.push((at, Due::Event(time, what))),
                Delivery::Twice => {
                    self.due.push((at, Due::Event(time, what.clone())));
                    self.due.push((at.plus(secs(5)), Due::Event(time, what)));
                }
                Delivery::Lost => {}
                Delivery::Late(minutes) => {
                    let at = at.plus(secs(60 * u64::from(minutes)));
                    self.due.push((at, Due::Event(time, what)));
                }
            }
        }
    }

    fn call(&mut self, lane: &Lane) {
        let class = self.scene.owed[lane].class;
        let Some(call) = self.scene.see(&Observation::Started(lane.clone())) else {
            // What is stored may be older than the dates say: as a worker does, look again.
            self.scene.wake();
            return;
        };
        let now = self.scene.now;
        if class == Class::Timer {
            self.scene.fail(call, Fault::Refused);
            return;
        }
        let effect = call.effect.clone();
        if class != Class::Sweep {
            self.calls.push((now, effect.clone()));
        }
        self.check_pace(&effect);
        let fate = self.fates.pop().unwrap_or(Fate::Fine);
        let (soon, later) = (now.plus(LATENCY), now.plus(TIMEOUT));
        match fate {
            Fate::Fine => {
                let due = self.outcome(call);
                self.due.push((soon, due));
            }
            Fate::Refused => self.due.push((soon, Due::Fail(call, Fault::Refused))),
            Fate::Fails(fault) => self.due.push((soon, Due::Fail(call, fault))),
            Fate::LostRequest => self.due.push((later, Due::Fail(call, Fault::Unanswered))),
            Fate::LostReply => {
                drop(self.perform(&effect));
                self.due.push((later, Due::Fail(call, Fault::Unanswered)));
            }
            Fate::LateEffect(after) => {
                let bound = secs(u64::from(after)).min(self.scene.policy.late_effect_bound);
                self.due.push((later.plus(bound), Due::Effect(effect)));
                self.due.push((later, Due::Fail(call, Fault::Unanswered)));
            }
            Fate::LateAnswer => {
                if let Due::Answer(call, answer) = self.outcome(call.clone()) {
                    let at = later.plus(secs(40));
                    self.due.push((at, Due::Answer(call, answer)));
                }
                self.due.push((later, Due::Fail(call, Fault::Unanswered)));
            }
            Fate::Stale => {
                let due = match self.stale(&effect) {
                    Some(Ok(answer)) => Due::Answer(call, answer),
                    Some(Err(fault)) => Due::Fail(call, fault),
                    None => self.outcome(call),
                };
                self.due.push((soon, due));
            }
        }
    }

    fn outcome(&mut self, call: InFlight) -> Due {
        match self.perform(&call.effect) {
            Ok(answer) => Due::Answer(call, answer),
            Err(fault) => Due::Fail(call, fault),
        }
    }

    fn perform(&mut self, effect: &Effect) -> Result<Answer, Fault> {
        let now = self.scene.now;
        if !is_read(effect) {
            self.before_write = Some((now, Box::new(self.hid.clone())));
        }
        self.hid.perform(effect, now)
    }

    fn stale(&mut self, effect: &Effect) -> Option<Result<Answer, Fault>> {
        let now = self.scene.now;
        let (at, hid) = self.before_write.as_mut()?;
        (is_read(effect) && now.since(*at) < STALE_FOR).then(|| hid.perform(effect, now))
    }

    /// No hot loop: never the same call three times within a second.
    fn check_pace(&self, effect: &Effect) {
        let now = self.scene.now;
        let lately = self
            .calls
            .iter()
            .rev()
            .take_while(|(at, _)| now.since(*at) < secs(1));
        let same = lately.filter(|(_, made)| made == effect).count();
        assert!(
            same < 3,
            "hot loop: {effect:?} in {:#?}",
            self.scene.identity
        );
    }

    /// At most one live key of a pair, at any moment (contract.md G1).
    fn check(&self) {
        for container in self.hid.containers.keys() {
            for n in 1..=2 {
                let live = self.hid.live(container, &part(n));
                assert!(live.len() <= 1, "two live keys on {container}: {live:?}");
            }
        }
    }

    /// The open invitation that we know of, as an app would get it.
    pub(crate) fn open_invitation(&self) -> Option<InvitationId> {
        let identity = self.scene.identity.as_ref()?;
        let enrollment = identity.enrollments.get(&manager())?;
        enrollment.open_invitation().map(|(id, _)| id.clone())
    }

    pub(crate) fn redeem(&mut self) -> Option<ContainerId> {
        let invitation = self.open_invitation()?;
        self.hid.redeem(&invitation, self.scene.now)
    }

    /// With all well and enough time passed: HID has what is wanted and nothing else.
    pub(crate) fn expect_settled(&self) {
        let story = || {
            format!(
                "{:#?}\n{:#?}\n{:#?}",
                self.scene.identity, self.hid, self.calls
            )
        };
        let Some(identity) = &self.scene.identity else {
            assert!(self.hid.users.is_empty(), "a user is left: {}", story());
            return;
        };
        check_round_trip(identity);
        assert!(identity.deleting_since.is_none(), "never over: {}", story());
        let now = self.scene.now;
        let Some(enrollment) = identity.enrollments.get(&manager()) else {
            return;
        };
        let data = origo_adapter::core::plan::new_user(identity);
        let user = enrollment.user_id().and_then(|id| self.hid.users.get(id));
        if let (Some(user), Some(data)) = (user, data) {
            let told = (&user.email, &user.name);
            assert_eq!(told, (&data.email.0, &data.family_name.0), "{}", story());
        }
        for phone in enrollment.phones.values() {
            let gone = phone.removed_at.is_some();
            assert!(phone.removal.is_none() || gone, "never gone: {}", story());
        }
        for container in self.hid.containers.keys() {
            let phone = enrollment
                .phones
                .iter()
                .find(|(_, p)| p.container == *container);
            if enrollment.is_running() {
                assert!(phone.is_some(), "phone {container} not found: {}", story());
            }
            for n in 1..=2 {
                let live = self.hid.live(container, &part(n));
                let wanted =
                    phone.is_some_and(|(id, _)| is_wanted(identity, manager(), *id, &part(n), now));
                assert_eq!(
                    live.len(),
                    usize::from(wanted),
                    "{container} {n}: {}",
                    story()
                );
                let issued = live
                    .iter()
                    .all(|id| self.hid.credentials[id].status == CredentialStatus::Issued);
                assert!(issued, "{}", story());
                if let Some((id, phone)) = phone.filter(|_| wanted) {
                    assert_eq!(phone.keys[&part(n)].current.as_ref(), live.first().copied());
                    let name = self.scene.key_state(container.as_str(), n);
                    assert_eq!(name, "issued", "{id}: {}", story());
                }
            }
        }
        let known = |id: &InvitationId| enrollment.invitations.get(id).is_some_and(|i| i.ours);
        let open =
            self.hid.invitations.iter().filter(|(id, invitation)| {
                invitation.status == InvitationStatus::Pending && known(id)
            });
        let most = usize::from(enrollment.is_running());
        assert!(open.count() <= most, "open invitations: {}", story());
        for (lane, owed) in &self.scene.owed {
            let standing = matches!(owed.class, Class::Sweep | Class::Wait | Class::Timer);
            assert!(
                standing || owed.not_before > now.plus(Duration::from_mins(5)),
                "{lane} is due for ever: {owed:?} {}",
                story()
            );
        }
    }
}

fn is_read(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::ReadUser { .. } | Effect::ReadPhone { .. } | Effect::SearchUser { .. }
    )
}
