//! HID's own book: whose calls arrived when, whether they fitted, and what there is in the end.

use std::collections::{BTreeMap, BTreeSet};

use origo_adapter::simulator::{Class, Effect, RequestRecord, Service, Violation};

use super::super::wishes::identity;
use super::line::{Line, SLOWEST};
use super::spans::Spans;
use super::town::{FOREIGN, Town};
use super::{DAY, MINUTE, PLACES, PLACES_OF_TOKENS, PLACES_OF_WITHDRAWALS, SECOND, START, WINDOW};

/// One of our calls, as it arrived.
pub(super) struct Call {
    pub(super) at: i64,
    pub(super) class: Class,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Refused,
    /// By window.
    Full,
    Unanswered,
}

/// What HID wrote down of us.
pub(super) struct Books {
    pub(super) calls: BTreeMap<Service, Vec<Call>>,
    foreign: usize,
    foreign_refused: usize,
    violations: Vec<Violation>,
}

impl Call {
    fn of(record: &RequestRecord) -> Self {
        let outcome = match record.outcome.as_str() {
            "403" => Outcome::Full,
            status if status.starts_with('2') => Outcome::Done,
            status if status.parse::<u16>().is_ok() => Outcome::Refused,
            _ => Outcome::Unanswered,
        };
        Self {
            at: record.at,
            class: record.class,
            outcome,
        }
    }

    /// For how long it holds a place by contract.md section 8.
    pub(super) fn holds(&self) -> (i64, i64) {
        let held = match self.outcome {
            Outcome::Done | Outcome::Refused | Outcome::Full => SLOWEST,
            Outcome::Unanswered => 20 * SECOND + 2 * MINUTE,
        };
        (self.at, self.at + held + WINDOW)
    }

    /// While it was under way.
    pub(super) fn under_way(&self) -> (i64, i64) {
        let (_, end) = self.holds();
        let unanswered = self.outcome == Outcome::Unanswered;
        let end = if unanswered { end - 2 * MINUTE } else { end };
        (self.at, end - WINDOW)
    }

    pub(super) fn is_withdrawal(&self) -> bool {
        let kinds = [
            Class::Revoke,
            Class::ContainerDelete,
            Class::InvitationCancel,
            Class::UserDelete,
        ];
        kinds.contains(&self.class)
    }
}

impl Books {
    pub(super) fn read(line: &Line, town: &Town) -> Self {
        let hid = line.hid.lock().unwrap();
        let mut calls: BTreeMap<Service, Vec<Call>> = BTreeMap::new();
        for record in hid.ledger().requests() {
            if !town.foreign.contains(&record.no) {
                calls
                    .entry(record.service)
                    .or_default()
                    .push(Call::of(record));
            }
        }
        Self {
            calls,
            foreign: town.foreign.len(),
            foreign_refused: town.foreign_refused,
            violations: hid.violations(),
        }
    }

    pub(super) fn mobile_identities(&self) -> &[Call] {
        &self.calls[&Service::MobileIdentities]
    }

    /// Our calls that met a full window.
    pub(super) fn refusals(&self) -> impl Iterator<Item = &Call> {
        let calls = self.calls.values().flatten();
        calls.filter(|call| call.outcome == Outcome::Full)
    }

    /// G1, G4: no window of HID's had more of us than it may; refused were we only beside the foreigner.
    pub(super) fn windows(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (service, calls) in &self.calls {
            let mut first = 0;
            for (last, call) in calls.iter().enumerate() {
                while calls[first].at <= call.at - WINDOW {
                    first += 1;
                }
                let many = last + 1 - first;
                let most = match service {
                    Service::Token => PLACES_OF_TOKENS / 2,
                    Service::MobileIdentities if call.is_withdrawal() => PLACES_OF_WITHDRAWALS,
                    Service::MobileIdentities | Service::Events => PLACES,
                };
                if many > most {
                    let (at, class) = (since_start(call.at), call.class);
                    wrong.push(format!(
                        "{at}: {class:?} is call {many} in a window of {service:?}"
                    ));
                }
            }
        }
        for call in self.refusals().filter(|call| !is_foreign_hour(call.at)) {
            let at = since_start(call.at);
            wrong.push(format!("{at}: {:?} was refused by window", call.class));
        }
        for violation in &self.violations {
            if !matches!(violation, Violation::WindowExceeded { .. }) {
                wrong.push(format!("{violation:?}"));
            }
        }
        wrong
    }

    /// G1, G2, G3 at rest: whoever has a phone has one key on it, and nobody else has any.
    pub(super) fn settled(line: &Line, town: &Town) -> Vec<String> {
        let hid = line.hid.lock().unwrap();
        let mut keys: BTreeMap<u64, usize> = BTreeMap::new();
        for key in hid.live_credentials() {
            *keys.entry(key.container.unwrap_or_default()).or_default() += 1;
        }
        let gone: BTreeSet<String> = (0..town.people.len())
            .filter(|who| town.people[*who].left_at.is_some())
            .map(|who| identity(who).to_string())
            .collect();
        let lost: BTreeSet<u64> = town
            .people
            .iter()
            .flat_map(|p| p.lost_at.keys().copied())
            .collect();
        let mut wrong = Vec::new();
        for phone in hid.active_containers() {
            let id = phone.container;
            let has = keys.remove(&id).unwrap_or(0);
            if lost.contains(&id) || gone.contains(&phone.user_external_id) {
                wrong.push(format!("phone {id} is still there, with {has} keys"));
            } else if has != 1 {
                wrong.push(format!("phone {id} has {has} keys"));
            }
        }
        wrong.extend(
            keys.into_iter()
                .map(|(id, has)| format!("{has} keys live on no phone: {id}")),
        );
        wrong
    }

    /// What part of our places was used while people or phones waited and nobody hindered us; and for how long.
    pub(super) fn use_in_backlog(&self, backlog: &[(i64, bool)], hindered: &Spans) -> (f64, i64) {
        let calls = self.mobile_identities();
        let before = |at: i64| calls.partition_point(|call| call.at < at);
        let (mut made, mut ms) = (0, 0);
        for pair in backlog.windows(2) {
            let [(from, true), (to, true)] = *pair else {
                continue;
            };
            if hindered.within(from, to) == 0 {
                made += before(to) - before(from);
                ms += to - from;
            }
        }
        (ratio(made, PLACES) * ratio(WINDOW, ms), ms)
    }

    pub(super) fn figures(&self, line: &Line, town: &Town) -> String {
        let hid = line.hid.lock().unwrap();
        let entries = hid.ledger().entries().iter();
        let accepted = |effect: &Effect| matches!(effect, Effect::CredentialAccepted { .. });
        let keys = entries.filter(|entry| accepted(&entry.effect)).count();
        let mut by_class: BTreeMap<Class, usize> = BTreeMap::new();
        for call in self.mobile_identities() {
            *by_class.entry(call.class).or_default() += 1;
        }
        let all = self.mobile_identities().len();
        let refused = self.refusals().count();
        let per = |count: usize| ratio(count, keys);
        let makes = [Class::UserCreate, Class::InvitationCreate, Class::Issue];
        let makes: usize = makes.iter().filter_map(|class| by_class.get(class)).sum();
        let services: Vec<_> = self
            .calls
            .iter()
            .map(|(s, calls)| format!("{s:?} {}", calls.len()))
            .collect();
        let lost: usize = town.people.iter().map(|p| p.lost_at.len()).sum();
        let left = town.people.iter().filter(|p| p.left_at.is_some()).count();
        format!(
            "{keys} keys, {lost} phones lost, {left} people left; at HID: {}, {by_class:?}; users, invitations and issues a key {:.3}, all calls a key {:.2}; \
             {refused} refused by window, of the foreigner's {} calls {}",
            services.join(", "),
            per(makes),
            per(all),
            self.foreign,
            self.foreign_refused
        )
    }
}

/// So much of so much.
pub(super) fn ratio<T: TryInto<u32>>(part: T, whole: T) -> f64 {
    let number = |n: T| n.try_into().ok().map_or(f64::MAX, f64::from);
    number(part) / number(whole).max(1.0)
}

/// Somebody else may have used the window up.
pub(super) fn is_foreign_hour(at: i64) -> bool {
    let of_day = (at - START).rem_euclid(DAY);
    (FOREIGN.0..FOREIGN.1 + WINDOW + MINUTE).contains(&of_day)
}

/// As days and time.
pub(super) fn since_start(at: i64) -> String {
    let s = (at - START) / SECOND;
    let (day, h, m) = (s / 86_400, s / 3600 % 24, s / 60 % 60);
    format!("day {day} {h:02}:{m:02}:{:02}", s % 60)
}
