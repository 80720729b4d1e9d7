//! `/adapter/why`: in one paragraph what something waits for, since when, and when it goes on (contract.md section 3).

use std::collections::BTreeMap;

use serde_json::json;

use super::about::{self, Subject};
use super::problem::Problem;
use super::schedule::{NextCall, next_call};
use super::{Api, Call, Reply, hold, show};
use crate::clock::rfc3339;
use crate::core::hold::{HoldReason, is_held_back};
use crate::core::identity::{Enrollment, Identity, Phone};
use crate::core::ids::{AcsSystemId, PhoneId, Timestamp};
use crate::core::record::{self, RecordState};
use crate::core::state::{self, KeyState};
use crate::core::wish::Target;
use crate::core::{Class, phones, plan};
use crate::store::JournalRow;

pub(super) async fn why(api: &Api, call: &Call) -> Result<Reply, Problem> {
    let subject = Subject::of(api, call).await?;
    tell(api, call, &subject).await
}

/// How it stands with `subject`.
pub(super) async fn tell(api: &Api, call: &Call, subject: &Subject) -> Result<Reply, Problem> {
    let owner = subject.owner;
    let identity = api.load(owner).await?.ok_or_else(about::missing)?;
    let target = subject.target(&identity);
    let journal = api.engine.store().journal(owner).await?;
    let mut holds = Vec::new();
    for manager in identity.enrollments.keys() {
        holds.extend(
            hold::at(api, &identity, *manager)
                .await?
                .map(|held| (*manager, held)),
        );
    }
    let told = Told {
        api,
        identity: &identity,
        target,
        journal,
        holds: holds.into_iter().collect(),
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
        let held = identity.held.is_some() || !told.holds.is_empty();
        let rest = if held {
            "Nothing else is owed to HID; what is held goes on when it is released."
        } else {
            "Nothing is owed to HID."
        };
        sentences.push(rest.to_owned());
    }
    let first = next.iter().map(|(_, next)| next).min_by_key(|next| next.at);
    Ok(Reply::one(json!({
        "id": subject.id,
        "object_type": subject.kind.name(),
        "user_identity_id": owner,
        "text": sentences.join(" "),
        "effect": first.map(|next| next.effect),
        "queue_position": first.map(|next| next.place.ahead + 1),
        "eta": first.map(|next| show::instant(next.at)),
    })))
}

/// Everything from which the paragraph is made.
struct Told<'a> {
    api: &'a Api,
    identity: &'a Identity,
    target: Target,
    journal: Vec<JournalRow>,
    /// What each manager's new calls are held by.
    holds: BTreeMap<AcsSystemId, (HoldReason, Timestamp)>,
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
            if !self.target.has_manager(*manager) {
                continue;
            }
            let held = self.holds.get(manager);
            if let Some((reason, since)) = held {
                sentences.push(format!(
                    "Nothing new is asked of {} since {} ({}).",
                    self.name(*manager),
                    rfc3339(since.0),
                    reason.name()
                ));
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
                if self.target.has_phone(*id) && phones::is_over_limit(phone) {
                    sentences.push(self.over_limit(*manager, *id, enrollment));
                }
                sentences.extend(self.keys(*manager, *id, phone));
            }
        }
        sentences.extend(self.records());
        sentences
    }

    /// Of records that an access system has yet to take or to remove.
    fn records(&self) -> Vec<String> {
        let policy = self.api.engine.policy();
        let mut sentences = Vec::new();
        for (id, parent) in &self.identity.parents {
            for (phone, child) in &parent.children {
                let state = record::state(&policy, self.identity, (*id, parent), *phone, self.now);
                let waits = state.filter(|state| *state != RecordState::Imported);
                let Some(state) =
                    waits.filter(|_| self.target.has_key(*phone, &parent.part_number))
                else {
                    continue;
                };
                let since = self.since(&format!("record/{}", child.id));
                let next = child.record.trouble.not_before;
                let next = if next > self.now {
                    format!("; tried again at {}", rfc3339(next.0))
                } else {
                    String::new()
                };
                let system = self.system(parent.acs_system);
                sentences.push(format!(
                    "The record {} in {system} is {}{since}{next}.",
                    child.id,
                    state.name()
                ));
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
            if is_settled || !self.target.has_key(id, part_number) {
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
                .filter(|manager| self.target.has_manager(*manager))
            else {
                continue;
            };
            let is_held = self.holds.contains_key(&manager) && is_held_back(&owed.effect);
            if is_standing || is_held || !about::has_lane(&self.target, &lane) {
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
                && self.target.has_manager(manager.id)
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

    fn system(&self, id: AcsSystemId) -> String {
        let settings = self.api.settings();
        let known = settings.systems.get(id);
        known.map_or_else(|| id.to_string(), |known| known.name.clone())
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
