//! `/adapter/why`: in one paragraph what something waits for, since when, and when it goes on (contract.md section 3).

use serde_json::json;
use uuid::Uuid;

use super::problem::Problem;
use super::schedule::{NextCall, next_call};
use super::{Api, Call, Reply, show};
use crate::clock::rfc3339;
use crate::core::identity::{Enrollment, Identity, Phone};
use crate::core::ids::{AcsSystemId, IdentityId, PartNumber, PhoneId, Timestamp};
use crate::core::index::Kind;
use crate::core::state::{self, KeyState};
use crate::core::{Class, Lane, phones, plan};
use crate::store::JournalRow;

/// What may be asked about: by any of its ids one comes to a person.
const KINDS: [Kind; 6] = [
    Kind::Identity,
    Kind::Automation,
    Kind::Phone,
    Kind::Parent,
    Kind::Child,
    Kind::AcsUser,
];

/// What of a person is asked about.
#[derive(Default)]
struct About {
    manager: Option<AcsSystemId>,
    phone: Option<PhoneId>,
    part_number: Option<PartNumber>,
}

impl About {
    fn of(identity: &Identity, kind: Kind, id: Uuid) -> Self {
        let mut about = Self::default();
        if kind == Kind::Phone {
            about.phone = Some(PhoneId(id));
        }
        for (manager, enrollment) in &identity.enrollments {
            let automation = enrollment.automation.as_ref();
            if automation.is_some_and(|automation| automation.id.0 == id) {
                about.manager = Some(*manager);
            }
        }
        for (parent_id, parent) in &identity.parents {
            let child = parent.children.iter().find(|(_, child)| child.id.0 == id);
            if parent_id.0 == id || child.is_some() {
                about.manager = Some(parent.manager);
                about.part_number = Some(parent.part_number.clone());
                about.phone = child.map(|(phone, _)| *phone);
            }
        }
        about
    }

    fn has_manager(&self, manager: AcsSystemId) -> bool {
        self.manager.is_none_or(|asked| asked == manager)
    }

    fn has_key(&self, phone: PhoneId, part_number: &PartNumber) -> bool {
        self.phone.is_none_or(|asked| asked == phone)
            && (self.part_number.as_ref()).is_none_or(|asked| asked == part_number)
    }

    /// What is owed in this lane has to do with it.
    fn has_lane(&self, lane: &Lane) -> bool {
        match lane {
            Lane::Key(phone, part_number) => self.has_key(*phone, part_number),
            Lane::Phone(phone) | Lane::Removal(phone) => {
                self.phone.is_none_or(|asked| asked == *phone)
            }
            Lane::CmUser(_)
            | Lane::Invitation(_)
            | Lane::Read(_)
            | Lane::Wait(_)
            | Lane::Sweep(_)
            | Lane::Timer => true,
        }
    }
}

pub(super) async fn why(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let missing = || Problem::missing("not_found", "object with this id");
    let id = call.params.need_id("id")?;
    let (kind, owner) = find(api, id).await?.ok_or_else(missing)?;
    let identity = api.load(owner).await?.ok_or_else(missing)?;
    let about = About::of(&identity, kind, id);
    let journal = api.engine.store().journal(owner).await?;
    let told = Told {
        api,
        identity: &identity,
        about,
        journal,
        now: call.now,
    };
    let next = told.next().await?;
    let mut sentences = told.states();
    sentences.extend(
        next.iter()
            .map(|(name, next)| sentence(name, next, call.now)),
    );
    sentences.extend(told.pauses());
    if next.is_empty() {
        sentences.push("Nothing is owed to HID.".to_owned());
    }
    let first = next.iter().map(|(_, next)| next).min_by_key(|next| next.at);
    Ok(Reply::one(json!({
        "id": id,
        "object_type": kind.name(),
        "user_identity_id": owner,
        "text": sentences.join(" "),
        "effect": first.map(|next| next.effect),
        "queue_position": first.map(|next| next.place.ahead + 1),
        "eta": first.map(|next| show::instant(next.at)),
    })))
}

async fn find(api: &Api, id: Uuid) -> Result<Option<(Kind, IdentityId)>, Problem> {
    for kind in KINDS {
        if let Some(owner) = api.engine.store().find(kind, id.to_string()).await? {
            return Ok(Some((kind, owner)));
        }
    }
    Ok(None)
}

/// Everything from which the paragraph is made.
struct Told<'a> {
    api: &'a Api,
    identity: &'a Identity,
    about: About,
    journal: Vec<JournalRow>,
    now: Timestamp,
}

impl Told<'_> {
    /// ` since …`, as the journal has it.
    fn since(&self, entity: &str) -> String {
        let mut rows = self.journal.iter().rev();
        let last = rows.find(|row| row.change.entity == entity);
        last.map_or_else(String::new, |row| format!(" since {}", rfc3339(row.at.0)))
    }

    fn states(&self) -> Vec<String> {
        let policy = self.api.engine.policy();
        let mut sentences = Vec::new();
        if let Some(since) = self.identity.deleting_since {
            sentences.push(format!(
                "The identity is being deleted since {}.",
                rfc3339(since.0)
            ));
        }
        for (manager, enrollment) in &self.identity.enrollments {
            if !self.about.has_manager(*manager) {
                continue;
            }
            let state = state::automation(&policy, self.identity, *manager, self.now);
            if let (Some(automation), Some(state)) = (&enrollment.automation, state) {
                let reason = state
                    .reason
                    .map_or_else(String::new, |why| format!(" ({why})"));
                let since = self.since(&format!("automation/{}", automation.id));
                sentences.push(format!(
                    "The enrollment automation with {} is {}{reason}{since}.",
                    self.name(*manager),
                    state.name
                ));
            }
            for (id, phone) in &enrollment.phones {
                let asked = self.about.phone.is_none_or(|asked| asked == *id);
                if asked && phones::is_over_limit(phone) {
                    sentences.push(self.over_limit(*manager, *id, enrollment));
                }
                sentences.extend(self.keys(*manager, *id, phone));
            }
        }
        sentences
    }

    /// Of a phone that waits for another to go.
    fn over_limit(&self, manager: AcsSystemId, id: PhoneId, enrollment: &Enrollment) -> String {
        let policy = self.api.engine.policy();
        let most = policy.managers.get(&manager);
        let most = most.map_or(0, |manager| manager.phones.max_per_identity);
        let enrolled = phones::enrolled(enrollment);
        let since = self.since(&format!("phone/{id}"));
        format!(
            "Phone {id} gets no keys (over_limit){since}: {enrolled} phones have them, and {most} may."
        )
    }

    /// Of keys that are neither on their phone nor gone.
    fn keys(&self, manager: AcsSystemId, id: PhoneId, phone: &Phone) -> Vec<String> {
        let mut sentences = Vec::new();
        for (part_number, key) in &phone.keys {
            let state = state::key(self.identity, manager, (id, phone), part_number, self.now);
            let is_settled = matches!(state, KeyState::Issued | KeyState::Revoked);
            if is_settled || !self.about.has_key(id, part_number) {
                continue;
            }
            let since = self.since(&format!("key/{id}/{part_number}"));
            let why = match (&key.failed, key.out_of_stock_since) {
                (Some(rejection), _) => format!(" ({})", rejection.name()),
                (None, Some(_)) => " (out_of_stock)".to_owned(),
                (None, None) => String::new(),
            };
            sentences.push(format!(
                "The key {part_number} of phone {id} is {}{why}{since}.",
                state.name()
            ));
        }
        sentences
    }

    /// The calls that are owed, but for those that nobody waits for.
    async fn next(&self) -> Result<Vec<(String, NextCall)>, Problem> {
        let policy = self.api.engine.policy();
        let in_line = self.api.engine.store().owed(self.identity.id).await?;
        let mut next = Vec::new();
        for (lane, owed) in plan::owed(&policy, self.identity, self.now) {
            let is_standing = matches!(owed.class, Class::Wait | Class::Sweep | Class::Timer);
            let Some(manager) = owed
                .manager
                .filter(|manager| self.about.has_manager(*manager))
            else {
                continue;
            };
            if is_standing || !self.about.has_lane(&lane) {
                continue;
            }
            if let Some(forecast) = self.api.schedule.forecast(self.api, manager).await? {
                let since = in_line.get(&lane).copied().unwrap_or(self.now);
                let call = next_call(&forecast, lane, &owed, since, self.now);
                next.push((self.name(manager), call));
            }
        }
        Ok(next)
    }

    fn pauses(&self) -> Vec<String> {
        let managers = self.api.schedule.managers.iter();
        let managers = managers.filter(|manager| {
            self.identity.enrollments.contains_key(&manager.id)
                && self.about.has_manager(manager.id)
        });
        let paused = managers.filter_map(|manager| {
            let at = self.api.engine.window_time();
            let until = self.now.plus(manager.gate.closed_until(at)?.since(at));
            let condition = manager.gate.condition().name();
            Some(format!(
                "HID's mobile_identities of {} is {condition}; it is asked again at {}.",
                manager.name,
                rfc3339(until.0)
            ))
        });
        paused.collect()
    }

    fn name(&self, manager: AcsSystemId) -> String {
        let mut managers = self.api.schedule.managers.iter();
        let known = managers.find(|known| known.id == manager);
        known.map_or_else(|| manager.to_string(), |known| known.name.clone())
    }
}

fn sentence(manager: &str, next: &NextCall, now: Timestamp) -> String {
    let NextCall {
        lane,
        effect,
        place,
        at,
    } = next;
    let (ahead, at) = (place.ahead, rfc3339(at.0));
    if next.at <= now {
        format!("The call {effect} ({lane}) is being made now.")
    } else {
        format!(
            "The call {effect} ({lane}) is expected at {at}, in {} s; {ahead} calls of {manager} go first.",
            place.wait.as_secs()
        )
    }
}
