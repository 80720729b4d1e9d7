//! Small commits, each test changing what it is about.

use std::collections::{BTreeMap, BTreeSet};

use origo_adapter::core::change::Change;
use origo_adapter::core::effect::{Class, Effect, Lane, Owed};
use origo_adapter::core::identity::Identity;
use origo_adapter::core::ids::{AcsSystemId, HidUserId, IdentityId, Timestamp};
use origo_adapter::core::index::{Kind, Row};
use origo_adapter::store::{Claim, ClaimChange, Commit, DueQuery, Slot, Window};
use uuid::Uuid;

pub(crate) const MANAGER: AcsSystemId = AcsSystemId(Uuid::from_u128(0xC0));

pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + ms)
}

pub(crate) fn id(n: u128) -> IdentityId {
    IdentityId(Uuid::from_u128(n))
}

pub(crate) fn token(n: u128) -> Uuid {
    Uuid::from_u128(0x7000 + n)
}

/// The next state of identity `n`, with nothing else.
pub(crate) fn commit(n: u128, expected: u64) -> Commit {
    let mut identity = Identity::new(id(n), at(0));
    identity.profile.key = Some(format!("key-{n}-{expected}"));
    Commit {
        identity: Some(identity),
        id: id(n),
        expected,
        owed: None,
        rows_removed: BTreeSet::new(),
        rows_added: BTreeSet::new(),
        changes: Vec::new(),
        events: Vec::new(),
        cause: "test".into(),
        claim: ClaimChange::Keep,
        now: at(0),
    }
}

pub(crate) fn removal(n: u128, expected: u64) -> Commit {
    Commit {
        identity: None,
        ..commit(n, expected)
    }
}

pub(crate) fn owing(commit: Commit, owed: &[(Lane, Owed)]) -> Commit {
    Commit {
        owed: Some(owed.iter().cloned().collect::<BTreeMap<_, _>>()),
        ..commit
    }
}

pub(crate) fn adding(commit: Commit, rows: &[Row]) -> Commit {
    Commit {
        rows_added: rows.iter().cloned().collect(),
        ..commit
    }
}

pub(crate) fn read_user(class: Class, not_before: Timestamp) -> Owed {
    Owed {
        effect: Effect::ReadUser {
            user: HidUserId::parse("72001").unwrap(),
        },
        not_before,
        class,
        manager: Some(MANAGER),
    }
}

pub(crate) fn wake(not_before: Timestamp) -> Owed {
    Owed {
        effect: Effect::Wake,
        not_before,
        class: Class::Timer,
        manager: None,
    }
}

pub(crate) fn row(kind: Kind, id: &str, created_at: Timestamp) -> Row {
    Row {
        kind,
        id: id.into(),
        created_at,
        acs_system: None,
        acs_user: None,
        parent: None,
    }
}

pub(crate) fn change(entity: &str, from: Option<&str>, to: Option<&str>) -> Change {
    Change {
        entity: entity.into(),
        from: from.map(Into::into),
        to: to.map(Into::into),
    }
}

pub(crate) fn slot(n: u128, windows: &[(&str, u32)], frees_at: Timestamp) -> Slot {
    let window = |(key, limit): &(&str, u32)| Window {
        key: (*key).into(),
        limit: *limit,
    };
    Slot {
        token: token(n),
        windows: windows.iter().map(window).collect(),
        at: at(0),
        frees_at,
    }
}

pub(crate) fn taken_at(now: i64, slot: Slot) -> Slot {
    Slot {
        at: at(now),
        ..slot
    }
}

/// With a lease until `at(100)`.
pub(crate) fn taking(commit: Commit, slot: Slot) -> Commit {
    let claim = Claim {
        token: slot.token,
        lease_until: at(100),
    };
    Commit {
        claim: ClaimChange::Take { claim, slot },
        ..commit
    }
}

pub(crate) fn releasing(commit: Commit, n: u128, frees_at: Option<Timestamp>) -> Commit {
    Commit {
        claim: ClaimChange::Release {
            token: token(n),
            frees_at,
        },
        ..commit
    }
}

pub(crate) fn asking(class: Class, now: Timestamp) -> DueQuery {
    DueQuery {
        manager: Some(MANAGER),
        class,
        now,
        limit: 100,
    }
}
