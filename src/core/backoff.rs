//! Attempt → delay, from the operator's schedule. Jitter is a hash, so a replay gives the same times.

use std::time::Duration;

use super::identity::Trouble;
use super::ids::{IdentityId, Timestamp};

/// How long an object waits when its service refused the call: long enough that the next probe
/// takes another object, so that one poisoned request can't keep a service closed.
pub const DEFER: Duration = Duration::from_secs(5);

impl Trouble {
    /// Counts a failure of the object's own and sets the next try.
    pub fn fail(&mut self, schedule: &[Duration], seed: (IdentityId, &str), now: Timestamp) {
        self.not_before = now.plus(delay(schedule, self.failures, seed));
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
    }

    /// Counts nothing: the service refused, not the object (contract.md G2).
    pub fn defer(&mut self, now: Timestamp) {
        self.not_before = self.not_before.max(now.plus(DEFER));
    }

    /// Forgets all failures.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Failing for longer than `give_up_after`.
    #[must_use]
    pub fn is_stuck(&self, give_up_after: Duration, now: Timestamp) -> bool {
        self.since
            .is_some_and(|since| now.since(since) >= give_up_after)
    }
}

/// The delay after `failures` earlier ones: the schedule's entry, the last one repeating, plus up to a fifth.
#[must_use]
pub fn delay(schedule: &[Duration], failures: u32, seed: (IdentityId, &str)) -> Duration {
    let index = usize::try_from(failures).unwrap_or(usize::MAX);
    let base = schedule
        .get(index)
        .or(schedule.last())
        .copied()
        .unwrap_or(Duration::from_mins(1));
    let jitter = hash(seed, failures) % 1000;
    base + base * u32::try_from(jitter).unwrap_or(0) / 5000
}

/// FNV-1a over the identity, the object's name and the attempt.
fn hash((identity, object): (IdentityId, &str), attempt: u32) -> u64 {
    let bytes = identity
        .0
        .as_bytes()
        .iter()
        .chain(object.as_bytes())
        .copied()
        .chain(attempt.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const SCHEDULE: [Duration; 3] = [
        Duration::from_secs(5),
        Duration::from_secs(30),
        Duration::from_mins(2),
    ];

    #[test]
    fn follows_the_schedule_and_repeats_its_last_entry() {
        for (failures, base) in [(0, 5), (1, 30), (2, 120), (3, 120), (400, 120)] {
            for object in 0..50_u128 {
                let seed = (IdentityId(Uuid::from_u128(object)), "key");
                let delay = delay(&SCHEDULE, failures, seed);
                let base = Duration::from_secs(base);
                assert!(
                    delay >= base && delay < base + base / 5,
                    "{failures}: {delay:?}"
                );
            }
        }
    }

    #[test]
    fn jitter_spreads_objects_and_repeats_itself() {
        let of = |object: &str| delay(&SCHEDULE, 1, (IdentityId(Uuid::nil()), object));
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // Of 16 zeros, "a" and 4 zeros, by another implementation.
        assert_eq!(
            hash((IdentityId(Uuid::nil()), "a"), 0),
            0xca6e_9e28_1369_558c
        );
    }

    #[test]
    fn a_success_forgets_every_failure() {
        let mut trouble = Trouble::default();
        trouble.fail(&SCHEDULE, (IdentityId(Uuid::nil()), "key"), Timestamp(1000));
        assert_ne!(trouble, Trouble::default());
        trouble.clear();
        assert_eq!(trouble, Trouble::default());
    }

    #[test]
    fn a_service_refusal_neither_counts_nor_gives_up() {
        let mut trouble = Trouble::default();
        trouble.defer(Timestamp(1000));
        assert_eq!(
            (trouble.failures, trouble.since, trouble.not_before),
            (0, None, Timestamp(6000))
        );
    }
}
