//! What the operator asks of people, and what of it was taken in.

use std::collections::{BTreeMap, BTreeSet};

use origo_adapter::core::identity::{Identity, Profile};
use origo_adapter::core::ids::{
    AcsSystemId, AcsUserId, AutomationId, ContainerId, IdentityId, ParentId, PartNumber, Personal,
    PhoneId, Timestamp,
};
use origo_adapter::core::wish::Wish;
use origo_adapter::store::{ClaimChange, Commit};
use origo_adapter::{core, engine};
use uuid::Uuid;

use super::rules::Bug;
use super::story::Story;
use super::world::{MANAGER, policy};

const DOORS: AcsSystemId = AcsSystemId(Uuid::from_u128(0xd0));

/// What the operator asked of one person; the story's own record, apart from the product's.
#[derive(Clone, Default)]
pub(super) struct Person {
    pub(super) parents: BTreeMap<ParentId, Asked>,
    /// Those that were to go.
    pub(super) gone: BTreeSet<ParentId>,
    pub(super) suspended: bool,
    /// Which of their names and addresses they go by.
    name: u64,
    /// Containers that were deactivated.
    pub(super) deactivated: BTreeSet<u64>,
    pub(super) deleted: bool,
    asked: bool,
}

/// A parent as asked for.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) part_number: PartNumber,
    pub(super) ends_at: Option<Timestamp>,
}

impl Story {
    pub(super) async fn wish(&mut self) {
        let people = self.people.len() as u64;
        let who = usize::try_from(self.dice.roll(people)).unwrap();
        let id = identity(who);
        if self.people[who].deleted {
            return;
        }
        let Some((wishes, result)) = self.drawn(who) else {
            return;
        };
        self.note(&format!("wishes for {id}: {wishes:?}"));
        let done = self
            .daemon
            .engine
            .wish(id, "story", |_| Ok::<_, ()>(wishes.clone()))
            .await;
        let blown = self.world.fuse.is_blown();
        let accepted = match done {
            // Of a phone that nobody has told of yet nothing can be asked.
            Ok(_) => self.was_taken(id, &wishes).await,
            Err(engine::WishError::Store(error)) => {
                assert!(blown, "seed {}: {error}", self.seed);
                self.crash().await;
                // The app does not know; it looks.
                self.was_taken(id, &wishes).await
            }
            Err(engine::WishError::Refused(())) => unreachable!("nothing refuses"),
        };
        if !accepted {
            return;
        }
        self.people[who] = result;
        if self.world.rules.bug == Some(Bug::LiftedLease) {
            self.lift_the_lease(id).await;
        }
    }

    /// A wish of one person, and what the operator has asked of them once it is taken.
    fn drawn(&mut self, who: usize) -> Option<(Vec<Wish>, Person)> {
        let mut person = self.people[who].clone();
        let first = person.parents.keys().next().copied();
        // A bug is looked for in the plain stories that it was put in for.
        let kinds = if self.world.rules.bug.is_some() {
            10
        } else {
            15
        };
        let roll = self.dice.roll(kinds);
        let wishes = if !person.asked || (roll < 3 && person.parents.len() < 2) {
            let part = format!("MID-SUB-EXAMPLE_{}", 1 + self.dice.roll(2));
            let parent = ParentId(Uuid::from_u128(
                0xbeef_0000 + u128::from(self.dice.roll(u64::MAX)),
            ));
            let asked = Asked {
                part_number: PartNumber(part),
                ends_at: None,
            };
            person.asked = true;
            person.parents.insert(parent, asked.clone());
            asked_of(who, person.name, parent, asked.part_number)
        } else {
            match roll {
                0..6 => {
                    person.parents.remove(&first?);
                    person.gone.insert(first?);
                    vec![Wish::DeleteParent(first?)]
                }
                6..9 => vec![Wish::Invite {
                    manager: MANAGER,
                    installation: None,
                    resend: roll == 8,
                }],
                9 if kinds == 10 && !self.dice.one_in(4) => return None,
                9 if kinds == 10 || self.dice.one_in(4) => {
                    person.deleted = true;
                    let gone = std::mem::take(&mut person.parents);
                    person.gone.extend(gone.into_keys());
                    vec![Wish::DeleteIdentity]
                }
                9 | 10 => {
                    person.suspended = !person.suspended;
                    vec![Wish::Suspend {
                        id: acs_user(who),
                        suspended: person.suspended,
                    }]
                }
                11 | 12 => {
                    person.name = self.dice.roll(3);
                    vec![Wish::Identity(profile(who, person.name))]
                }
                13 => {
                    let phones = self.world.hid.lock().unwrap().active_containers();
                    let name = identity(who).to_string();
                    let phone = phones.iter().find(|phone| phone.user_external_id == name)?;
                    let container = ContainerId::parse(&phone.container.to_string()).unwrap();
                    person.deactivated.insert(phone.container);
                    vec![Wish::DeactivatePhone(PhoneId::of(MANAGER, &container))]
                }
                _ => {
                    let ends_at = match self.dice.roll(3) {
                        0 => None,
                        _ => Some(Timestamp(
                            self.world.now().0 + i64::try_from(self.dice.roll(900_000)).unwrap(),
                        )),
                    };
                    person.parents.get_mut(&first?)?.ends_at = ends_at;
                    vec![Wish::SetDates {
                        id: first?,
                        starts_at: None,
                        ends_at,
                    }]
                }
            }
        };
        Some((wishes, person))
    }

    /// Whether wishes were taken in, as the store shows it: all of them or none.
    async fn was_taken(&self, id: IdentityId, wishes: &[Wish]) -> bool {
        let loaded = self.world.store.load(id).await.unwrap();
        let Some(identity) = loaded.map(|loaded| loaded.identity) else {
            return wishes.contains(&Wish::DeleteIdentity);
        };
        let shows = |wish: &Wish| match wish {
            Wish::Parent { id, .. } => identity.parents.contains_key(id),
            Wish::DeleteParent(id) => {
                let parent = identity.parents.get(id);
                parent.is_none_or(|parent| parent.deleting_since.is_some())
            }
            Wish::DeleteIdentity => identity.deleting_since.is_some(),
            Wish::Suspend { id, suspended } => identity.acs_users[id].suspended == *suspended,
            Wish::Identity(profile) => identity.profile == *profile,
            Wish::DeactivatePhone(id) => {
                let known = identity.phone(*id);
                known.is_some_and(|(_, p)| p.removal.is_some() || p.removed_at.is_some())
            }
            Wish::SetDates { id, ends_at, .. } => {
                let parent = identity.parents.get(id);
                parent.is_some_and(|parent| parent.ends_at == *ends_at)
            }
            Wish::Hold(reason) => identity.held.is_some_and(|hold| hold.reason == *reason),
            Wish::Release => identity.held.is_none(),
            Wish::Prune { parents, .. } => parents.iter().all(|id| {
                let parent = identity.parents.get(id);
                parent.is_none_or(|p| p.deleting_since.or(p.prune_held_since).is_some())
            }),
            Wish::AcsUser { .. }
            | Wish::ChangeAcsUser { .. }
            | Wish::DeleteAcsUser(_)
            | Wish::ReleaseAcsUser(_)
            | Wish::ReleaseParent(_)
            | Wish::TakeIn { .. }
            | Wish::Launch { .. }
            | Wish::DeleteAutomation(_)
            | Wish::Assign(..)
            | Wish::DeleteChild(_)
            | Wish::Invite { .. }
            | Wish::Retry(_)
            | Wish::Resync(_)
            | Wish::AdoptUser(_)
            | Wish::RemoveOrphan(_) => true,
        };
        wishes.iter().all(shows)
    }

    async fn lift_the_lease(&self, id: IdentityId) {
        let Some(loaded) = self.world.store.load(id).await.unwrap() else {
            return;
        };
        let identity = Identity {
            in_flight: None,
            ..loaded.identity
        };
        let commit = Commit {
            id,
            expected: loaded.revision,
            owed: Some(core::plan::owed(&policy(), &identity, self.world.now())),
            identity: Some(identity),
            rows_removed: BTreeSet::new(),
            rows_added: BTreeSet::new(),
            changes: Vec::new(),
            events: Vec::new(),
            cause: "bug".to_owned(),
            claim: ClaimChange::Abandon,
            now: self.world.now(),
        };
        self.world.store.commit(commit).await.unwrap();
    }
}

pub(super) fn identity(who: usize) -> IdentityId {
    IdentityId(Uuid::from_u128(0x1d00 + who as u128))
}

fn acs_user(who: usize) -> AcsUserId {
    AcsUserId(Uuid::from_u128(0xac00 + who as u128))
}

fn profile(who: usize, name: u64) -> Profile {
    let text = |text: String| Some(Personal(text));
    Profile {
        key: Some(format!("person-{who}")),
        full_name: text(format!(
            "Person Number{who}{}",
            "x".repeat(usize::try_from(name).unwrap())
        )),
        email_address: text(format!("person{who}.{}@tenant.example", name / 2)),
        phone_number: None,
    }
}

/// What an app asks for a person: all of it, each time; what is there already changes nothing.
pub(super) fn asked_of(
    who: usize,
    name: u64,
    parent: ParentId,
    part_number: PartNumber,
) -> Vec<Wish> {
    let acs_user = acs_user(who);
    vec![
        Wish::Identity(profile(who, name)),
        Wish::AcsUser {
            id: acs_user,
            acs_system: DOORS,
            full_name: None,
            email_address: None,
            phone_number: None,
        },
        Wish::Launch {
            id: AutomationId(Uuid::from_u128(0xaa00 + who as u128)),
            manager: MANAGER,
            part_number: None,
        },
        Wish::Parent {
            id: parent,
            acs_user,
            manager: MANAGER,
            automation: AutomationId(Uuid::from_u128(0xaa00 + who as u128)),
            part_number,
            card_format: None,
            facility_code: None,
            allowed_acs_entrance_ids: vec![],
            starts_at: None,
            ends_at: None,
        },
    ]
}
