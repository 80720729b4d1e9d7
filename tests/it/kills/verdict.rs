//! Whether all is as it was wished, asked of HID's own books and of the API.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::story::{PART_NUMBERS, Parent, Phone, Somebody};
use crate::process_support::Site;

/// What is not as it must be (yet).
pub(super) fn wrong(site: &Site, people: &[Somebody]) -> Option<String> {
    let violations = site.hid.look("violations");
    if violations != json!([]) {
        return Some(format!("HID holds against us: {violations}"));
    }
    let state = site.hid.look("state");
    if state["surplus_invitations"] != json!([]) {
        return Some(format!("open: {}", state["surplus_invitations"]));
    }
    people.iter().find_map(|somebody| {
        let identity = &somebody.person.identity;
        let wrong = wrong_with(site, &Seen::of(&state, identity), somebody);
        wrong.map(|what| format!("{identity}: {what}"))
    })
}

/// What HID has of a person.
struct Seen {
    active: BTreeSet<u64>,
    /// How many are live of each container and part number.
    keys: BTreeMap<(u64, String), usize>,
}

impl Seen {
    fn of(state: &Value, identity: &str) -> Self {
        let of_this = |list: &str| {
            let all = state[list].as_array().unwrap().clone().into_iter();
            all.filter(|one| one["user_external_id"] == identity)
        };
        let active = of_this("active_containers").filter_map(|one| one["container"].as_u64());
        let mut keys = BTreeMap::new();
        for key in of_this("live_credentials") {
            let part_number = key["part_number"].as_str().unwrap().to_owned();
            let pair = (key["container"].as_u64().unwrap(), part_number);
            *keys.entry(pair).or_default() += 1;
        }
        Self {
            active: active.collect(),
            keys,
        }
    }
}

fn wrong_with(site: &Site, seen: &Seen, somebody: &Somebody) -> Option<String> {
    let Seen { active, keys } = seen;
    let is_there = is_there(site, &somebody.person.identity);
    match somebody.gone {
        None if !is_there => return Some("it is lost".to_owned()),
        Some(true) if is_there => return Some("its deletion is lost".to_owned()),
        None | Some(_) => {}
    }
    let parents = if is_there {
        parents(site, &somebody.person.acs_user)
    } else {
        BTreeMap::new()
    };
    if is_there && let Some(lost) = lost(somebody, &parents, active) {
        return Some(lost);
    }
    if !is_there && !active.is_empty() {
        return Some(format!("deleted, and {active:?} are active"));
    }
    let part_numbers: BTreeSet<&String> = parents.values().collect();
    let pairs = active.iter().flat_map(|phone| {
        let pair = |part_number: &&String| ((*phone, (*part_number).clone()), 1);
        part_numbers.iter().map(pair).collect::<Vec<_>>()
    });
    if *keys != pairs.collect() {
        return Some(format!("{keys:?} live on {active:?} for {parents:?}"));
    }
    let children = site.issued(&somebody.person).into_iter();
    let issued = children.filter(|child| {
        let parent = child["parent_acs_credential_id"].as_str().unwrap();
        parents.contains_key(parent)
    });
    let (issued, due) = (issued.count(), active.len() * parents.len());
    (issued != due).then(|| format!("{issued} of {due} children issued"))
}

/// What was acknowledged and does not hold.
fn lost(
    somebody: &Somebody,
    parents: &BTreeMap<String, String>,
    active: &BTreeSet<u64>,
) -> Option<String> {
    let parent = somebody.parents.iter().find(|(id, known)| match known {
        Parent::Wanted => !parents.contains_key(*id),
        Parent::Deleted => parents.contains_key(*id),
        Parent::Doubtful => false,
    });
    if let Some((id, known)) = parent {
        return Some(format!("not {known:?} is {id}"));
    }
    let phone = somebody.phones.iter().find(|(id, known)| match known {
        Phone::Registered => !active.contains(id),
        Phone::Deactivated => active.contains(id),
        Phone::Doubtful => false,
    });
    phone.map(|(id, known)| format!("not {known:?} is {id}"))
}

/// It is withdrawn at once, and shown until HID has confirmed it.
fn is_being_deleted(shown: &Value) -> bool {
    let mut warnings = shown["warnings"].as_array().unwrap().iter();
    warnings.any(|warning| warning["warning_code"] == "being_deleted")
}

fn is_there(site: &Site, identity: &str) -> bool {
    let asked = json!({ "user_identity_id": identity });
    let answer = site.ask("/user_identities/get", &asked);
    answer.status == 200 && !is_being_deleted(&answer.body["user_identity"])
}

/// The parents that the API lists, with what each stands for.
fn parents(site: &Site, acs_user: &str) -> BTreeMap<String, String> {
    let asked = json!({ "acs_user_id": acs_user, "is_multi_phone_sync_credential": true });
    let listed = site.call("/acs/credentials/list", &asked);
    let listed = listed["acs_credentials"].as_array().unwrap().iter();
    let wanted = listed.filter(|parent| !is_being_deleted(parent));
    let parents = wanted.map(|parent| {
        let code = parent["facility_code"].as_str().unwrap();
        let profile = PART_NUMBERS.iter().find(|(of, _)| *of == code);
        let id = parent["acs_credential_id"].as_str().unwrap();
        (id.to_owned(), profile.unwrap().1.to_owned())
    });
    parents.collect()
}
