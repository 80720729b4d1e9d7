//! HID's windows: how many places a share is, and whose turn it is when places are scarce.

use std::collections::BTreeMap;

use super::effect::Class;

/// How many of `requests` a share may use; at least one.
#[must_use]
pub fn places(requests: u32, share: f64) -> u32 {
    let places = (f64::from(requests) * share.clamp(0.0, 1.0)).floor();
    // A float between 1 and u32::MAX: the cast is exact.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded by `requests`, never negative"
    )]
    let places = places as u32;
    places.clamp(1, requests.max(1))
}

/// What withdrawals may use of a window, whatever the share (contract.md section 8).
pub const WITHDRAWAL_SHARE: f64 = 0.99;

/// What part of the calls may read people of whom no feed tells: a phone that is found must find room for its key.
pub const READING_SHARE: f64 = 0.5;

/// Weighted turns among the classes: each use costs a class 1/weight, and the cheapest that has work
/// goes next. Withdrawals go first whenever there are any. Unused weight is lent by itself.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    spent: BTreeMap<Class, u64>,
}

impl Turns {
    /// Which of `waiting` goes next.
    #[must_use]
    pub fn next(&self, waiting: &[Class], sweep_share: f64) -> Option<Class> {
        if waiting.contains(&Class::Withdrawal) {
            return Some(Class::Withdrawal);
        }
        let spent = |class: &Class| self.spent.get(class).copied().unwrap_or(0);
        let affordable = waiting
            .iter()
            .filter(|class| cost(**class, sweep_share).is_some());
        affordable
            .min_by_key(|class| (spent(class), **class))
            .copied()
    }

    /// A call of `class` was made. Classes that had nothing to do do not save up turns for later.
    pub fn spend(&mut self, class: Class, waiting: &[Class], sweep_share: f64) {
        let Some(cost) = cost(class, sweep_share) else {
            return;
        };
        let spent = self.spent.get(&class).copied().unwrap_or(0) + cost;
        self.spent.insert(class, spent);
        for idle in Class::CALLING.iter().filter(|idle| !waiting.contains(idle)) {
            let behind = self.spent.entry(*idle).or_insert(0);
            *behind = (*behind).max(spent);
        }
    }
}

/// What one call costs, by the weights of contract.md section 8; `None`: never.
fn cost(class: Class, sweep_share: f64) -> Option<u64> {
    if matches!(
        class,
        Class::Withdrawal | Class::Removal | Class::Import | Class::Timer
    ) {
        return Some(0);
    }
    let weight = weight(class, sweep_share)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 6e4 and 6e8 for any weight ≥ 0.01"
    )]
    let cost = (6_000_000.0 / weight.max(0.01)) as u64;
    Some(cost)
}

/// How the classes share what withdrawals leave (contract.md section 8); `None`: it takes no part.
pub(super) fn weight(class: Class, sweep_share: f64) -> Option<f64> {
    let weight = match class {
        Class::Withdrawal | Class::Removal | Class::Import | Class::Timer => return None,
        Class::Issue => 60.0,
        Class::Enroll => 20.0,
        Class::Confirm | Class::Wait => 10.0,
        // A share of the whole, in the others' currency: 100 units of weight.
        Class::Sweep => 100.0 * sweep_share.clamp(0.0, 1.0),
    };
    (weight > 0.0).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_nothing_and_never_more_than_all() {
        for (requests, share, expected) in [
            (300, 0.95, 285),
            (300, 0.99, 297),
            (50, 0.5, 25),
            (1, 0.1, 1),
            (3, 2.0, 3),
        ] {
            assert_eq!(places(requests, share), expected, "{requests} × {share}");
        }
    }

    fn run(waiting: &[Class], calls: usize) -> BTreeMap<Class, usize> {
        let mut turns = Turns::default();
        let mut made = BTreeMap::new();
        for _ in 0..calls {
            let class = turns.next(waiting, 0.1).expect("something waits");
            turns.spend(class, waiting, 0.1);
            *made.entry(class).or_insert(0) += 1;
        }
        made
    }

    #[test]
    fn weights_share_the_calls() {
        let made = run(
            &[Class::Issue, Class::Enroll, Class::Confirm, Class::Sweep],
            1000,
        );
        assert_eq!(made[&Class::Issue], 600);
        assert_eq!(made[&Class::Enroll], 200);
        assert_eq!(made[&Class::Confirm], 100);
        assert_eq!(made[&Class::Sweep], 100);
    }

    #[test]
    fn unused_weight_is_lent_but_not_saved_up() {
        assert_eq!(run(&[Class::Enroll], 10)[&Class::Enroll], 10);
        let mut turns = Turns::default();
        for _ in 0..100 {
            turns.spend(Class::Enroll, &[Class::Enroll], 0.1);
        }
        let both = [Class::Issue, Class::Enroll];
        let mut issues = 0;
        for _ in 0..8 {
            let class = turns.next(&both, 0.1).expect("something waits");
            turns.spend(class, &both, 0.1);
            issues += usize::from(class == Class::Issue);
        }
        assert_eq!(issues, 6, "issues get their share, not a hundred in a row");
    }

    #[test]
    fn withdrawals_go_first_and_a_share_of_nothing_never_goes() {
        assert_eq!(
            Turns::default().next(&[Class::Issue, Class::Withdrawal], 0.1),
            Some(Class::Withdrawal)
        );
        assert_eq!(Turns::default().next(&[Class::Sweep], 0.0), None);
    }
}
