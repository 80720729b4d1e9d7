//! A child's record in its access system: what it should say, what is owed for it, and how it stands.
//!
//! Promises: one call of a record at a time; whatever was told last is what is wanted, or is told again; a record of an
//! unwanted key is removed at once, and again once nothing that was sent before can still take effect.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::effect::{Class, Effect, Lane, Owed};
use super::identity::{Child, Identity, Parent, Phone, Trouble};
use super::ids::{AcsSystemId, CallNo, ChildId, ParentId, Personal, PhoneId, Timestamp};
use super::plan::is_child_wanting;
use super::policy::Policy;

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// What a record may say; the names are those of the configuration's placeholders.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Field {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Field {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As the configuration spells it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

fields! {
    /// The child: one phone's share in a parent, the same for ever.
    ChildId = "child.id";
    /// From when the key opens doors.
    StartsAt = "child.starts_at";
    /// Until when.
    EndsAt = "child.ends_at";
    /// The parent.
    ParentId = "parent.id";
    /// As given with the parent.
    CardFormat = "parent.card_format";
    /// As given with the parent.
    FacilityCode = "parent.facility_code";
    /// What the reader sees, as HID tells it.
    CardNumber = "key.card_number";
    /// HID's part number.
    PartNumber = "key.part_number";
    /// The phone.
    PhoneId = "phone.id";
    /// The cardholder in the access system.
    AcsUserId = "acs_user.id";
    /// The cardholder's name.
    AcsUserName = "acs_user.full_name";
    /// The cardholder's e-mail address.
    AcsUserEmail = "acs_user.email_address";
    /// The person.
    IdentityId = "user_identity.id";
    /// The operator's own key of the person.
    IdentityKey = "user_identity.key";
}

impl Field {
    /// Never changes while the child lives, so it may stand in an address.
    #[must_use]
    pub fn is_stable(self) -> bool {
        matches!(self, Self::ChildId | Self::ParentId | Self::PhoneId)
    }

    /// A moment, kept as milliseconds since the epoch.
    #[must_use]
    pub fn is_instant(self) -> bool {
        matches!(self, Self::StartsAt | Self::EndsAt)
    }
}

/// What one record says. Fields that are empty are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contents(pub BTreeMap<Field, Personal>);

impl Contents {
    /// The text of a field, where it has one.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&str> {
        self.0.get(&field).map(|text| text.0.as_str())
    }
}

/// What the access system was told of a child, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was sent last, until a removal was taken.
    pub sent: Option<Contents>,
    /// The access system took it.
    pub confirmed: bool,
    /// The call under way.
    pub call: Option<Call>,
    /// A call that was given up then may still take effect.
    pub unsure_since: Option<Timestamp>,
    /// Its own failures.
    pub trouble: Trouble,
}

/// A call of an access system under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its number within the identity.
    pub number: CallNo,
    /// What it does.
    pub act: Act,
    /// When its mark was made.
    pub since: Timestamp,
    /// Whoever makes it has given up by then.
    pub until: Timestamp,
    /// Of whoever makes it; several that go out together share one.
    pub token: Uuid,
}

/// What a call does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// The record is to say this.
    Put(Contents),
    /// There is to be no record; what it said last.
    Remove(Contents),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So it is.
    Done,
    /// It was not sent, or the whole system refuses: says nothing about the record.
    Refused,
    /// It may or may not take effect.
    Unanswered,
    /// This record is refused.
    Rejected,
}

/// How a record stands (contract.md section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// To be told, or being told.
    Importing,
    /// The access system has it as wanted.
    Imported,
    /// To be removed, or being removed.
    Removing,
    /// There is none.
    Removed,
}

impl RecordState {
    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Importing => "importing",
            Self::Imported => "imported",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }
}

impl Record {
    /// Nothing of it is left, or may still come to be.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.sent.is_none() && self.unsure_since.is_none() && self.call.is_none()
    }

    /// What is to be done next, and not before when.
    fn next(&self, share: &Share<'_>, bound: Duration) -> Option<(Act, Timestamp)> {
        let wanted = share.wanted();
        let settled_at = self.unsure_since.map(|since| since.plus(bound));
        let at = self.trouble.not_before;
        match (wanted, &self.sent) {
            (Some(wanted), Some(sent)) if self.confirmed && *sent == wanted => {
                settled_at.map(|settled_at| (Act::Put(wanted), settled_at.max(at)))
            }
            (Some(wanted), _) => Some((Act::Put(wanted), at)),
            (None, Some(sent)) => Some((Act::Remove(sent.clone()), at)),
            (None, None) => {
                settled_at.map(|settled_at| (Act::Remove(share.contents()), settled_at.max(at)))
            }
        }
    }

    /// The former owner of the call is gone: whether it was made is unknown.
    fn abandon(&mut self) {
        let Some(call) = self.call.take() else { return };
        if let Act::Put(contents) = call.act {
            self.sent = Some(contents);
        }
        self.confirmed = false;
        self.unsure_since = Some(call.until);
    }

    fn ended(&mut self, call: Call, outcome: Outcome, bound: Duration, now: Timestamp) {
        match outcome {
            Outcome::Refused => return self.trouble.defer(now),
            Outcome::Rejected | Outcome::Unanswered => self.confirmed = false,
            Outcome::Done => self.trouble.clear(),
        }
        if outcome == Outcome::Unanswered {
            self.unsure_since = Some(now);
        }
        let settles = |since: Timestamp| call.since >= since.plus(bound);
        if outcome == Outcome::Done && self.unsure_since.is_some_and(settles) {
            self.unsure_since = None;
        }
        match (call.act, outcome) {
            (Act::Put(contents), Outcome::Done) => {
                self.sent = Some(contents);
                self.confirmed = true;
            }
            (Act::Put(contents), Outcome::Unanswered) => self.sent = Some(contents),
            (Act::Remove(_), Outcome::Done) => self.sent = None,
            (_, Outcome::Refused | Outcome::Rejected | Outcome::Unanswered) => {}
        }
    }
}

/// A child with all that its record is made of.
struct Share<'a> {
    fields: &'a BTreeSet<Field>,
    identity: &'a Identity,
    parent_id: ParentId,
    parent: &'a Parent,
    phone_id: PhoneId,
    phone: &'a Phone,
    child: &'a Child,
    now: Timestamp,
}

impl<'a> Share<'a> {
    /// `None` where the access system takes no records.
    fn of(
        policy: &'a Policy,
        identity: &'a Identity,
        (parent_id, parent): (ParentId, &'a Parent),
        phone_id: PhoneId,
        now: Timestamp,
    ) -> Option<Self> {
        Some(Self {
            fields: policy.imports.get(&parent.acs_system)?,
            identity,
            parent_id,
            parent,
            phone_id,
            phone: identity.phone(phone_id)?.1,
            child: parent.children.get(&phone_id)?,
            now,
        })
    }

    /// What the record is to say; `None`: there is to be none, or the card number is not known yet.
    fn wanted(&self) -> Option<Contents> {
        let wanting = is_child_wanting(
            self.identity,
            self.parent,
            self.phone_id,
            self.phone,
            self.now,
        );
        let contents = self.contents();
        let numbered = contents.0.contains_key(&Field::CardNumber)
            || !self.fields.contains(&Field::CardNumber);
        (wanting && self.is_accepted() && numbered).then_some(contents)
    }

    fn held(&self) -> Option<&'a super::identity::Held> {
        let key = self.phone.keys.get(&self.parent.part_number)?;
        let held = key.held.get(key.current.as_ref()?)?;
        (held.status.is_issue() && !held.doomed).then_some(held)
    }

    fn is_accepted(&self) -> bool {
        self.held().is_some()
    }

    fn contents(&self) -> Contents {
        let texts = self.fields.iter();
        let texts = texts.filter_map(|field| Some((*field, Personal(self.text(*field)?))));
        Contents(texts.collect())
    }

    fn text(&self, field: Field) -> Option<String> {
        let (identity, parent) = (self.identity, self.parent);
        let user = identity.acs_users.get(&parent.acs_user);
        let instant = |at: Option<Timestamp>| at.map(|at| at.0.to_string());
        match field {
            Field::ChildId => Some(self.child.id.to_string()),
            Field::StartsAt => instant(parent.starts_at),
            Field::EndsAt => instant(parent.ends_at),
            Field::ParentId => Some(self.parent_id.to_string()),
            Field::CardFormat => parent.card_format.clone(),
            Field::FacilityCode => parent.facility_code.clone(),
            Field::CardNumber => self.held()?.card_number.clone(),
            Field::PartNumber => Some(parent.part_number.to_string()),
            Field::PhoneId => Some(self.phone_id.to_string()),
            Field::AcsUserId => Some(parent.acs_user.to_string()),
            Field::AcsUserName => Some(user?.full_name.as_ref()?.0.clone()),
            Field::AcsUserEmail => Some(user?.email_address.as_ref()?.0.clone()),
            Field::IdentityId => Some(identity.id.to_string()),
            Field::IdentityKey => identity.profile.key.clone(),
        }
    }
}

/// What is owed to the access systems, at most one call a child.
pub(super) fn owe(
    policy: &Policy,
    identity: &Identity,
    now: Timestamp,
    owed: &mut BTreeMap<Lane, Owed>,
) {
    for (parent_id, parent) in identity.parents.iter().chain(&identity.released) {
        for (phone, child) in &parent.children {
            let Some((act, not_before)) = next(policy, identity, (*parent_id, parent), *phone, now)
            else {
                continue;
            };
            let class = match act {
                Act::Put(_) => Class::Import,
                Act::Remove(_) => Class::Removal,
            };
            let order = Owed {
                effect: Effect::Wake,
                not_before,
                class,
                manager: Some(parent.acs_system),
            };
            owed.insert(Lane::Record(child.id), order);
        }
    }
}

fn next(
    policy: &Policy,
    identity: &Identity,
    parent: (ParentId, &Parent),
    phone: PhoneId,
    now: Timestamp,
) -> Option<(Act, Timestamp)> {
    let share = Share::of(policy, identity, parent, phone, now)?;
    let mut record = share.child.record.clone();
    let until = record.call.as_ref().map(|call| call.until);
    record.abandon();
    let (act, not_before) = record.next(&share, policy.late_effect_bound)?;
    Some((act, until.unwrap_or(not_before)))
}

/// HID's read must tell the card number first.
#[must_use]
pub(super) fn awaits_number(
    policy: &Policy,
    identity: &Identity,
    id: PhoneId,
    phone: &Phone,
    now: Timestamp,
) -> bool {
    identity.parents.iter().any(|(parent_id, parent)| {
        let share = Share::of(policy, identity, (*parent_id, parent), id, now);
        share.is_some_and(|share| {
            share.fields.contains(&Field::CardNumber)
                && share.held().is_some_and(|held| held.card_number.is_none())
                && is_child_wanting(identity, parent, id, phone, now)
        })
    })
}

/// Makes the mark of a child's next call, where one is due; it stands until `until`.
pub(super) fn start(
    policy: &Policy,
    identity: &mut Identity,
    id: ChildId,
    until: Timestamp,
    token: Uuid,
    now: Timestamp,
) {
    let Some((parent_id, phone, _)) = identity.child(id) else {
        return;
    };
    let parents = [&identity.parents, &identity.released];
    let Some(parent) = parents.iter().find_map(|all| all.get(&parent_id)) else {
        return;
    };
    let next = next(policy, identity, (parent_id, parent), phone, now);
    let Some((act, _)) = next.filter(|(_, not_before)| *not_before <= now) else {
        return;
    };
    let number = CallNo(identity.calls.0.saturating_add(1));
    identity.calls = number;
    if let Some(record) = record_mut(identity, id) {
        record.abandon();
        record.call = Some(Call {
            number,
            act,
            since: now,
            until,
            token,
        });
    }
}

/// Takes in how a call ended, unless it was given up before.
pub(super) fn end(
    policy: &Policy,
    identity: &mut Identity,
    id: ChildId,
    number: CallNo,
    outcome: Outcome,
    now: Timestamp,
) {
    let identity_id = identity.id;
    let Some(record) = record_mut(identity, id) else {
        return;
    };
    let Some(call) = record.call.take_if(|call| call.number == number) else {
        return;
    };
    record.ended(call, outcome, policy.late_effect_bound, now);
    if matches!(outcome, Outcome::Rejected | Outcome::Unanswered) {
        let seed = (identity_id, "record");
        record.trouble.fail(&policy.retry_schedule, seed, now);
    }
}

fn record_mut(identity: &mut Identity, id: ChildId) -> Option<&mut Record> {
    let parents = identity.parents.values_mut();
    let mut children = parents
        .chain(identity.released.values_mut())
        .flat_map(|parent| &mut parent.children);
    children
        .find(|(_, child)| child.id == id)
        .map(|(_, child)| &mut child.record)
}

/// How the record of a child stands; `None` where there is none to be.
#[must_use]
pub fn state(
    policy: &Policy,
    identity: &Identity,
    parent: (ParentId, &Parent),
    phone: PhoneId,
    now: Timestamp,
) -> Option<RecordState> {
    let share = Share::of(policy, identity, parent, phone, now)?;
    let record = &share.child.record;
    let wanted = share.wanted();
    match wanted {
        Some(wanted) if record.confirmed && record.sent.as_ref() == Some(&wanted) => {
            Some(RecordState::Imported)
        }
        Some(_) => Some(RecordState::Importing),
        None if !record.is_gone() => Some(RecordState::Removing),
        None => None,
    }
}

/// Nothing that was told of a released parent's keys is left, so it is not remembered any more.
pub(super) fn forget_released(policy: &Policy, identity: &mut Identity) {
    let mut released = std::mem::take(&mut identity.released);
    released.retain(|_, parent| {
        let system = parent.acs_system;
        parent.children.retain(|phone, child| {
            identity.phone(*phone).is_some() && !is_gone(policy, system, child)
        });
        !parent.children.is_empty()
    });
    identity.released = released;
}

/// Nothing of a child is left in its access system.
#[must_use]
pub(super) fn is_gone(policy: &Policy, system: AcsSystemId, child: &Child) -> bool {
    !policy.imports.contains_key(&system) || child.record.is_gone()
}
