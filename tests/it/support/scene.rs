//! One identity on a stage: every observation goes through `step`, and each step is held against
//! what must be true of any step.

use std::collections::BTreeMap;
use std::time::Duration;

use origo_adapter::core::change::Change;
use origo_adapter::core::effect::{Effect, Lane, Owed};
use origo_adapter::core::identity::{
    DoubtStage, Enrollment, Identity, InFlight, Key, Phone, Profile,
};
use origo_adapter::core::ids::{
    AcsSystemId, AcsUserId, AutomationId, ContainerId, CredentialId, HidUserId, IdentityId,
    InvitationId, ParentId, PartNumber, Personal, PhoneId, Timestamp,
};
use origo_adapter::core::observation::{
    Answer, ContainerSeen, ContainerStatus, CredentialSeen, CredentialStatus, Device, Event, Fault,
    Happening, InvitationSeen, InvitationStatus, Observation, UserSeen,
};
use origo_adapter::core::policy::{DriftPolicy, ManagerPolicy, PhonePolicy, Policy};
use origo_adapter::core::state;
use origo_adapter::core::wish::Wish;
use origo_adapter::core::{Step, plan, step};
use uuid::Uuid;

/// When every scene begins.
pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);

pub(crate) fn manager() -> AcsSystemId {
    AcsSystemId(Uuid::from_u128(0xC0))
}

pub(crate) fn doors() -> AcsSystemId {
    AcsSystemId(Uuid::from_u128(0xD0))
}

pub(crate) fn acs_user() -> AcsUserId {
    AcsUserId(Uuid::from_u128(0xAC))
}

pub(crate) fn automation_id(n: u8) -> AutomationId {
    AutomationId(Uuid::from_u128(0xA000 + u128::from(n)))
}

pub(crate) fn parent_id(n: u8) -> ParentId {
    ParentId(Uuid::from_u128(0xF000 + u128::from(n)))
}

pub(crate) fn part(n: u8) -> PartNumber {
    PartNumber(format!("MID-{n}"))
}

pub(crate) fn container(id: &str) -> ContainerId {
    ContainerId::parse(id).expect("an id")
}

pub(crate) fn credential(id: &str) -> CredentialId {
    CredentialId::parse(id).expect("an id")
}

pub(crate) fn invitation(id: &str) -> InvitationId {
    InvitationId::parse(id).expect("an id")
}

pub(crate) fn hid_user(id: &str) -> HidUserId {
    HidUserId::parse(id).expect("an id")
}

pub(crate) fn phone_id(id: &str) -> PhoneId {
    PhoneId::of(manager(), &container(id))
}

pub(crate) fn key_lane(phone: &str, n: u8) -> Lane {
    Lane::Key(phone_id(phone), part(n))
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn policy() -> Policy {
    let manager_policy = ManagerPolicy {
        email_invitations: false,
        max_renewals: 3,
        adopt_by_email: false,
        events: true,
        overlap: secs(120),
        phones: PhonePolicy::default(),
        drift: DriftPolicy::Report,
    };
    Policy {
        regressed_at: None,
        retry_schedule: [5, 30, 120, 600, 3600].map(secs).to_vec(),
        settle_delay: secs(30),
        late_effect_bound: secs(120),
        give_up_after: Duration::from_hours(24),
        managers: BTreeMap::from([(manager(), manager_policy)]),
        repairs_guard: None,
        imports: BTreeMap::new(),
    }
}

pub(crate) fn ada() -> Profile {
    Profile {
        key: Some("ada".into()),
        full_name: Some(Personal("Ada Okafor".into())),
        email_address: Some(Personal("ada@example.com".into())),
        phone_number: None,
    }
}

/// Ada by another name, at another address.
pub(crate) fn ada_as(name: &str, email: &str) -> Wish {
    Wish::Identity(Profile {
        full_name: Some(Personal(name.into())),
        email_address: Some(Personal(email.into())),
        ..ada()
    })
}

pub(crate) fn wish_suspend(suspended: bool) -> Wish {
    Wish::Suspend {
        id: acs_user(),
        suspended,
    }
}

pub(crate) fn wish_acs_user() -> Wish {
    Wish::AcsUser {
        id: acs_user(),
        acs_system: doors(),
        full_name: None,
        email_address: None,
        phone_number: None,
    }
}

pub(crate) fn wish_launch(n: u8) -> Wish {
    Wish::Launch {
        id: automation_id(n),
        manager: manager(),
        part_number: None,
    }
}

/// Parent `n` of part number `part_number`.
pub(crate) fn wish_parent(n: u8, part_number: u8) -> Wish {
    wish_parent_between(n, part_number, None, None)
}

pub(crate) fn wish_parent_between(
    n: u8,
    part_number: u8,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
) -> Wish {
    Wish::Parent {
        id: parent_id(n),
        acs_user: acs_user(),
        manager: manager(),
        automation: automation_id(100 + n),
        part_number: part(part_number),
        card_format: None,
        facility_code: None,
        allowed_acs_entrance_ids: vec![],
        starts_at,
        ends_at,
    }
}

pub(crate) fn wish_invite(resend: bool) -> Wish {
    Wish::Invite {
        manager: manager(),
        installation: None,
        resend,
    }
}

pub(crate) fn key_seen(id: &str, part_number: u8, status: CredentialStatus) -> CredentialSeen {
    CredentialSeen {
        id: credential(id),
        part_number: Some(part(part_number)),
        card_number: Some(format!("card-{id}")),
        status,
    }
}

pub(crate) fn phone_seen(id: &str, credentials: Vec<CredentialSeen>) -> ContainerSeen {
    ContainerSeen {
        id: container(id),
        status: ContainerStatus::Active,
        device: Device::default(),
        credentials,
    }
}

pub(crate) fn invitation_seen(id: &str, status: InvitationStatus) -> InvitationSeen {
    InvitationSeen {
        id: invitation(id),
        code: None,
        status,
        expires_at: Some(START.plus(Duration::from_hours(24 * 7))),
    }
}

/// One identity, what it owes, and the time.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) policy: Policy,
    pub(crate) identity: Option<Identity>,
    pub(crate) owed: BTreeMap<Lane, Owed>,
    pub(crate) now: Timestamp,
    pub(crate) changes: Vec<(Timestamp, Change)>,
}

impl Scene {
    /// Ada, listed, with her record at the doors; nothing launched.
    pub(crate) fn new() -> Self {
        let mut scene = Self::empty();
        scene.wish(Wish::Identity(ada()));
        scene.wish(wish_acs_user());
        scene
    }

    pub(crate) fn empty() -> Self {
        Self {
            policy: policy(),
            identity: Some(Identity::new(IdentityId(Uuid::from_u128(1)), START)),
            owed: BTreeMap::new(),
            now: START,
            changes: vec![],
        }
    }

    /// Launched, created at HID as user 700 with invitation 800.
    pub(crate) fn invited() -> Self {
        let mut scene = Self::new();
        scene.wish(wish_launch(1));
        let call = scene.start(&Lane::CmUser(manager()));
        let user = scene.user_seen(
            vec![invitation_seen("800", InvitationStatus::Pending)],
            vec![],
        );
        scene.answer(call, Answer::UserCreated(user));
        scene
    }

    /// Invited, and phone 900 active.
    pub(crate) fn with_phone() -> Self {
        let mut scene = Self::invited();
        scene.phone_active("900", "800");
        scene
    }

    /// With phone, and a parent of part number 1: the issue is owed.
    pub(crate) fn with_parent() -> Self {
        let mut scene = Self::with_phone();
        scene.wish(wish_parent(1, 1));
        scene
    }

    /// With parent, and key 1000 on the phone.
    pub(crate) fn issued() -> Self {
        let mut scene = Self::with_parent();
        let call = scene.start(&key_lane("900", 1));
        let seen = key_seen("1000", 1, CredentialStatus::IssueInitiated);
        scene.answer(call, Answer::Issued(seen));
        scene.pass(10);
        scene.event(Happening::KeyIssued {
            credential: credential("1000"),
            container: Some(container("900")),
        });
        scene
    }

    /// With parent, and the issue unanswered just now.
    pub(crate) fn in_doubt() -> Self {
        let mut scene = Self::with_parent();
        let call = scene.start(&key_lane("900", 1));
        scene.fail(call, Fault::Unanswered);
        scene
    }

    pub(crate) fn user_seen(
        &self,
        invitations: Vec<InvitationSeen>,
        containers: Vec<ContainerSeen>,
    ) -> UserSeen {
        UserSeen {
            id: hid_user("700"),
            external_id: self.identity.as_ref().map(|i| i.id.to_string()),
            deleting: false,
            invitations,
            containers,
        }
    }

    pub(crate) fn see(&mut self, seen: &Observation) -> Option<InFlight> {
        let before = self.identity.clone()?;
        let after = step(&self.policy, &before, seen, self.now);
        check(&self.policy, &after, seen, self.now);
        self.changes
            .extend(after.changes.into_iter().map(|change| (self.now, change)));
        self.identity = after.identity;
        self.owed = after.owed;
        after.started
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(secs(seconds));
    }

    pub(crate) fn wake(&mut self) {
        self.see(&Observation::Woken);
    }

    pub(crate) fn wish(&mut self, wish: Wish) {
        self.see(&Observation::Wish(wish));
    }

    pub(crate) fn event(&mut self, what: Happening) {
        self.event_at(self.now, what);
    }

    pub(crate) fn event_at(&mut self, time: Timestamp, what: Happening) {
        self.see(&Observation::Event(Event {
            manager: manager(),
            time,
            what,
        }));
    }

    pub(crate) fn phone_active(&mut self, id: &str, by: &str) {
        self.event(Happening::PhoneActive {
            container: container(id),
            invitation: Some(invitation(by)),
            device: Device::default(),
        });
    }

    pub(crate) fn invitation_event(&mut self, id: &str, status: InvitationStatus) {
        self.event(Happening::Invitation {
            invitation: invitation(id),
            status,
        });
    }

    /// Starts what the lane owes, after waiting until it is due.
    pub(crate) fn start(&mut self, lane: &Lane) -> InFlight {
        let owed = self.owed.get(lane).cloned();
        let owed = owed.unwrap_or_else(|| panic!("{lane} owes nothing, but {:#?}", self.owed));
        self.now = self.now.max(owed.not_before);
        self.see(&Observation::Started(lane.clone()))
            .unwrap_or_else(|| panic!("{lane} did not start {owed:?}"))
    }

    pub(crate) fn answer(&mut self, call: InFlight, answer: Answer) {
        self.see(&Observation::Answered(call, answer));
    }

    pub(crate) fn fail(&mut self, call: InFlight, fault: Fault) {
        self.see(&Observation::Failed(call, fault));
    }

    /// Starts what the lane owes and has it answered.
    pub(crate) fn does(&mut self, lane: &Lane, answer: Answer) {
        let call = self.start(lane);
        self.answer(call, answer);
    }

    /// Starts what the lane owes and has it fail.
    pub(crate) fn fails(&mut self, lane: &Lane, fault: Fault) {
        let call = self.start(lane);
        self.fail(call, fault);
    }

    /// Reads phone 900, as owed, and finds `keys`.
    pub(crate) fn reads_phone(&mut self, keys: Vec<CredentialSeen>) {
        let lane = Lane::Phone(phone_id("900"));
        self.does(&lane, Answer::Phone(phone_seen("900", keys)));
    }

    pub(crate) fn is(&self) -> &Identity {
        self.identity.as_ref().expect("the identity is there")
    }

    pub(crate) fn enrollment(&self) -> &Enrollment {
        &self.is().enrollments[&manager()]
    }

    /// For what no wish can bring about (yet).
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Identity)) {
        change(self.identity.as_mut().expect("the identity is there"));
        self.wake();
    }

    pub(crate) fn phone(&self, id: &str) -> &Phone {
        &self.enrollment().phones[&phone_id(id)]
    }

    pub(crate) fn key(&self, phone: &str, n: u8) -> &Key {
        &self.phone(phone).keys[&part(n)]
    }

    pub(crate) fn key_state(&self, phone: &str, n: u8) -> &'static str {
        let phone = (phone_id(phone), self.phone(phone));
        state::key(self.is(), manager(), phone, &part(n), self.now).name()
    }

    pub(crate) fn child_state(&self, phone: &str, parent: u8) -> Option<&'static str> {
        let parent = self.is().parents.get(&parent_id(parent))?;
        state::child(self.is(), parent, phone_id(phone), self.now).map(state::KeyState::name)
    }

    /// `name` or `name: reason`; `none` without an automation.
    pub(crate) fn automation(&self) -> String {
        match state::automation(&self.policy, self.is(), manager(), self.now) {
            None => "none".to_owned(),
            Some(state) => state.reason.map_or(state.name.to_owned(), |why| {
                format!("{}: {why}", state.name)
            }),
        }
    }

    pub(crate) fn user_state(&self) -> &'static str {
        state::cm_user(&self.enrollment().user.state)
    }

    pub(crate) fn invitation_state(&self, id: &str) -> &'static str {
        state::invitation_name(&self.enrollment().invitations[&invitation(id)].status)
    }

    /// What a lane owes: `class effect +seconds from now`, rounded down; `-` where nothing.
    pub(crate) fn owes(&self, lane: &Lane) -> String {
        self.owed.get(lane).map_or("-".to_owned(), |owed| {
            let wait = owed.not_before.since(self.now).as_secs();
            format!("{} {} +{wait}", owed.class.name(), owed.effect.name())
        })
    }

    pub(crate) fn owes_key(&self) -> String {
        self.owes(&key_lane("900", 1))
    }

    pub(crate) fn owes_phone_read(&self) -> String {
        self.owes(&Lane::Phone(phone_id("900")))
    }
}

/// What holds of every step, whatever was seen.
fn check(policy: &Policy, after: &Step, seen: &Observation, now: Timestamp) {
    let Some(identity) = &after.identity else {
        assert!(after.owed.is_empty() && after.started.is_none());
        return;
    };
    let again = step(policy, identity, seen, now);
    assert_eq!(
        again.identity.as_ref(),
        Some(identity),
        "the second time changes something: {seen:?}"
    );
    assert_eq!(again.changes, vec![], "{seen:?}");
    assert_eq!(again.owed, after.owed, "{seen:?}");
    assert_eq!(plan::owed(policy, identity, now), after.owed);
    for (lane, owed) in &after.owed {
        if let (Lane::Key(phone, part), Effect::Issue { .. }) = (lane, &owed.effect) {
            check_issue(identity, *phone, part, now);
        }
    }
}

fn check_issue(identity: &Identity, id: PhoneId, part: &PartNumber, now: Timestamp) {
    let (manager, phone) = identity.phone(id).expect("a phone we know");
    let key = &phone.keys[part];
    assert!(
        is_wanted(identity, manager, id, part, now),
        "issue of {part} owed, unwanted: {identity:#?}"
    );
    assert!(key.held.is_empty(), "issue owed beside {:?}", key.held);
    let open = matches!(key.doubt.stage, DoubtStage::Open { .. });
    assert!(!open, "issue owed in doubt: {:?}", key.doubt);
}

/// The definition of contract.md section 1, written a second time.
pub(crate) fn is_wanted(
    identity: &Identity,
    manager: AcsSystemId,
    phone: PhoneId,
    part: &PartNumber,
    now: Timestamp,
) -> bool {
    let there = identity.enrollments[&manager].phones.get(&phone);
    let there =
        there.is_some_and(|phone| phone.enrolled && phone.removal.is_none() && phone.is_active());
    let here = |at: Option<Timestamp>, empty: bool| at.map_or(empty, |at| at <= now);
    there
        && identity.deleting_since.is_none()
        && identity.parents.values().any(|parent| {
            let suspended = identity
                .acs_users
                .get(&parent.acs_user)
                .is_none_or(|user| user.suspended || user.deleting_since.is_some());
            let child = parent.children.get(&phone);
            parent.manager == manager
                && parent.part_number == *part
                && parent.deleting_since.is_none()
                && child.is_some_and(|child| child.deleting_since.is_none())
                && here(parent.starts_at, true)
                && !here(parent.ends_at, false)
                && !suspended
                && !parent.unassigned
        })
}

/// Stored and loaded again, it is the same.
pub(crate) fn check_round_trip(identity: &Identity) {
    let text = serde_json::to_string(identity).expect("an identity is JSON");
    let back: Identity = serde_json::from_str(&text).expect("and back");
    assert_eq!(&back, identity);
}
