//! What the outside was told, held against what is.

use std::collections::BTreeMap;

use origo_adapter::core::announce::EventType;
use origo_adapter::core::ids::{ChildId, ParentId, PhoneId};
use origo_adapter::store::EventQuery;
use uuid::Uuid;

use super::story::Story;
use super::wishes::identity;

/// What was told of one credential, in order.
#[derive(Default)]
struct Told {
    /// Since it was last told to be deleted.
    issued: u32,
    deleted: u32,
}

impl Story {
    /// Once everything is at rest: each key that is on a phone for a child was told to be issued once
    /// since the child's last deletion, and each parent and child that is gone was told to be, once.
    pub(super) async fn check_told(&self) -> Result<(), String> {
        let query = EventQuery {
            oldest_first: true,
            limit: u32::MAX,
            ..EventQuery::default()
        };
        let mut told: BTreeMap<Uuid, Told> = BTreeMap::new();
        for event in self.world.store.events(query).await.unwrap() {
            let Some(credential) = event.announcement.acs_credential else {
                continue;
            };
            let told = told.entry(credential).or_default();
            if event.announcement.event_type == EventType::CredentialIssued {
                told.issued += 1;
            } else if event.announcement.event_type == EventType::CredentialDeleted {
                told.issued = 0;
                told.deleted += 1;
            }
        }
        let deletions = |id: Uuid| told.get(&id).map_or(0, |told| told.deleted);
        let issues = |id: Uuid| told.get(&id).map_or(0, |told| told.issued);
        let mut there: Vec<Uuid> = Vec::new();
        for (who, person) in self.people.iter().enumerate() {
            for parent in &person.gone {
                if deletions(parent.0) != 1 {
                    let times = deletions(parent.0);
                    return Err(format!("{parent} was told to be deleted {times} times"));
                }
            }
            let Some(loaded) = self.world.store.load(identity(who)).await.unwrap() else {
                continue;
            };
            let identity = loaded.identity;
            // A phone that is lost keeps its children until its keys are known to be gone.
            let children = identity.parents.values().flat_map(|p| p.children.values());
            there.extend(children.filter(|c| c.gone_at.is_none()).map(|c| c.id.0));
            for (id, asked) in &person.parents {
                there.push(id.0);
                if deletions(id.0) != 0 {
                    return Err(format!("{id} was told to be deleted, but is there"));
                }
                if person.suspended || asked.ends_at.is_some() {
                    // Its keys come and go meanwhile, or were never there.
                    continue;
                }
                let phones = identity.enrollments.values().flat_map(|e| &e.phones);
                for (phone, _) in phones.filter(|(_, phone)| phone.enrolled && phone.is_active()) {
                    self.check_told_of_child((*id, *phone), &issues)?;
                }
            }
        }
        for (id, told) in &told {
            if !there.contains(id) && told.deleted != 1 {
                let times = told.deleted;
                return Err(format!("{id} is gone, and was told to be {times} times"));
            }
        }
        Ok(())
    }

    fn check_told_of_child(
        &self,
        (parent, phone): (ParentId, PhoneId),
        issues: &dyn Fn(Uuid) -> u32,
    ) -> Result<(), String> {
        let child = ChildId::of(parent, phone);
        match issues(child.0) {
            1 => Ok(()),
            times => Err(format!(
                "child {child} of {parent} was told to be issued {times} times (seed {})",
                self.seed
            )),
        }
    }
}
