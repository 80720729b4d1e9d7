//! What must be true, by the simulator's own books.

use std::collections::{BTreeMap, BTreeSet};

use origo_adapter::simulator::Violation;

use super::story::Story;
use super::wishes::identity;

impl Story {
    /// What must be true at every moment, by the simulator's own books.
    pub(super) fn check_always(&self) -> Result<(), String> {
        let violations = self.world.hid.lock().unwrap().violations();
        if let Some(violation) = violations.first() {
            match violation {
                Violation::Duplicate { .. } => {
                    return Err(format!(
                        "two keys of one pair are live at once: {violation:?}"
                    ));
                }
                Violation::WindowExceeded { .. } => {
                    return Err(format!("a window is exceeded: {violation:?}"));
                }
                Violation::NeverActive { .. } | Violation::NoApplicationId { .. } => {
                    return Err(format!("{violation:?}"));
                }
            }
        }
        Ok(())
    }

    /// What must be true once everything has come to its rest.
    pub(super) fn check_settled(&mut self) -> Result<(), String> {
        self.check_always()?;
        let now = self.world.now();
        let mut hid = self.world.hid.lock().unwrap();
        hid.advance(now.0);
        let mut live: BTreeMap<(String, u64, String), Vec<u64>> = BTreeMap::new();
        for key in hid.live_credentials() {
            let Some(container) = key.container else {
                continue;
            };
            live.entry((key.user_external_id, container, key.part_number))
                .or_default()
                .push(key.credential);
        }
        let mut wanted = BTreeSet::new();
        for phone in hid.active_containers() {
            let person = (0..self.people.len())
                .find(|who| identity(*who).to_string() == phone.user_external_id);
            let Some(who) = person else { continue };
            let person = &self.people[who];
            if person.deactivated.contains(&phone.container) {
                return Err(format!("phone {} was deactivated", phone.container));
            }
            let parents = person.parents.values().filter(|_| !person.suspended);
            for asked in parents.filter(|asked| asked.ends_at.is_none_or(|at| now < at)) {
                wanted.insert((
                    phone.user_external_id.clone(),
                    phone.container,
                    asked.part_number.0.clone(),
                ));
            }
        }
        for pair in &wanted {
            match live.get(pair).map_or(0, Vec::len) {
                1 => {}
                0 => return Err(format!("{pair:?} has no key")),
                _ => return Err(format!("{pair:?} has several keys that are live at once")),
            }
        }
        if let Some((pair, _)) = live.iter().find(|(pair, _)| !wanted.contains(*pair)) {
            return Err(format!("{pair:?} is live but was withdrawn"));
        }
        for (who, _) in self
            .people
            .iter()
            .enumerate()
            .filter(|(_, person)| person.deleted)
        {
            if hid
                .user_by_external_id(&identity(who).to_string())
                .is_some()
            {
                return Err(format!(
                    "{} was deleted, but its user is still there",
                    identity(who)
                ));
            }
        }
        Ok(())
    }
}
