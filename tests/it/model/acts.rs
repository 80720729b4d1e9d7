//! What operators may ask for in the models: each wish only where it changes something.

use origo_adapter::core::identity::Identity;
use origo_adapter::core::ids::Personal;
use origo_adapter::core::wish::Wish;

use super::hid::Hid;
use super::state::{Left, State, World};
use crate::support::scene::{
    acs_user, ada, manager, parent_id, wish_acs_user, wish_invite, wish_launch, wish_parent,
    wish_suspend,
};

/// The address that two people have in turn.
const CONTESTED: &str = "ada@example.com";
pub(super) const SPARE: &str = "ada@example.org";

/// Where each story has one act at most, those with acts of one kind can be explored without the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    DeleteParent,
    DeleteChild,
    Suspend,
    DeletePerson,
    DeactivatePhone,
    DeleteAutomation,
    LosePhone,
    /// To have, or to have again; in models of keys only after another act.
    Have,
}

impl Kind {
    /// All that a first act may be of once there are keys.
    pub(super) const FIRST: [Self; 7] = [
        Self::DeleteParent,
        Self::DeleteChild,
        Self::Suspend,
        Self::DeletePerson,
        Self::DeactivatePhone,
        Self::DeleteAutomation,
        Self::LosePhone,
    ];

    pub(super) fn of(wish: &Wish) -> Self {
        let kinds = [
            (Self::DeleteParent, matches!(wish, Wish::DeleteParent(_))),
            (Self::DeleteChild, matches!(wish, Wish::DeleteChild(_))),
            (Self::Suspend, *wish == wish_suspend(true)),
            (Self::DeletePerson, matches!(wish, Wish::DeleteIdentity)),
            (
                Self::DeactivatePhone,
                matches!(wish, Wish::DeactivatePhone(_)),
            ),
            (
                Self::DeleteAutomation,
                matches!(wish, Wish::DeleteAutomation(_)),
            ),
        ];
        let found = kinds.into_iter().find(|(_, is_this)| *is_this);
        found.map_or(Self::Have, |(kind, _)| kind)
    }
}

impl World {
    pub(super) fn may_happen(&self, act: Kind) -> bool {
        self.only.is_none_or(|only| only == act)
    }
}

fn living(state: &State, person: usize) -> Option<&Identity> {
    let identity = state.people[person].as_ref();
    identity.filter(|identity| identity.deleting_since.is_none())
}

/// Parents come and go, by themselves and with all else.
pub(super) fn of_keys(world: &World, state: &State, person: usize) -> Vec<Wish> {
    let Some(identity) = living(state, person) else {
        return vec![];
    };
    let mut acts = vec![];
    for (n, part) in (1..).zip(world.parts) {
        match identity.parents.get(&parent_id(n)) {
            None => acts.push(wish_parent(n, *part)),
            Some(parent) if parent.deleting_since.is_none() => {
                acts.push(Wish::DeleteParent(parent_id(n)));
                let children = parent.children.values();
                let there = children.filter(|child| child.deleting_since.is_none());
                acts.extend(there.map(|child| Wish::DeleteChild(child.id)));
            }
            Some(_) => {}
        }
    }
    let user = identity.acs_users.get(&acs_user());
    acts.push(wish_suspend(!user.is_some_and(|user| user.suspended)));
    acts.extend(of_phones(identity));
    acts
}

/// Phones and automations come and go; an invitation is asked for where none is open.
pub(super) fn of_enrolments(_: &World, state: &State, person: usize) -> Vec<Wish> {
    living(state, person).map_or(vec![], of_phones)
}

fn of_phones(identity: &Identity) -> Vec<Wish> {
    let mut acts = vec![Wish::DeleteIdentity];
    let Some(enrollment) = identity.enrollments.get(&manager()) else {
        return acts;
    };
    for (id, phone) in &enrollment.phones {
        if phone.removed_at.is_none() && phone.removal.is_none() {
            acts.push(Wish::DeactivatePhone(*id));
        }
    }
    match &enrollment.automation {
        Some(automation) if enrollment.is_running() => {
            let open = enrollment.open_invitation().is_some() || enrollment.invite.wanted;
            if !open && enrollment.user_id().is_some() {
                acts.push(wish_invite(false));
            }
            acts.push(Wish::DeleteAutomation(automation.id));
        }
        Some(_) => {}
        None => acts.push(wish_launch(1)),
    }
    acts
}

/// Two people, the second with this address. Both want a key, and there is one licence.
pub(super) fn two(world: &World, address: Option<&str>, left: Left) -> State {
    let mut state = State::new(2, Hid::new(false, 1), left);
    for person in 0..2 {
        let profile = if person == 0 { ada() } else { bea(address) };
        for asked in [
            Wish::Identity(profile),
            wish_acs_user(),
            wish_launch(1),
            wish_parent(1, 1),
        ] {
            super::wish(world, &mut state, person, asked);
        }
    }
    state
}

fn bea(address: Option<&str>) -> origo_adapter::core::identity::Profile {
    origo_adapter::core::identity::Profile {
        key: Some("bea".into()),
        email_address: address.map(|address| Personal(address.into())),
        ..ada()
    }
}

/// The address changes hands as the store allows it: no two identities have it at once. The key may go too.
pub(super) fn of_two(_: &World, state: &State, person: usize) -> Vec<Wish> {
    let has = |identity: &Identity| {
        let address = identity.profile.email_address.as_ref();
        address.is_some_and(|address| address.0 == CONTESTED)
    };
    let taken = state.people.iter().flatten().any(has);
    let Some(identity) = living(state, person) else {
        return vec![];
    };
    let mut acts = vec![Wish::DeleteIdentity];
    if person == 0 && has(identity) {
        let moved = Some(Personal(SPARE.into()));
        acts.push(Wish::Identity(origo_adapter::core::identity::Profile {
            email_address: moved,
            ..ada()
        }));
    }
    if person == 1 && !taken {
        acts.push(Wish::Identity(bea(Some(CONTESTED))));
    }
    if identity.parents.contains_key(&parent_id(1)) && person == 0 {
        acts.push(Wish::DeleteParent(parent_id(1)));
    }
    acts
}
