//! Stories about one trouble each: calls that take effect late, and processes that stand still.

use origo_adapter::simulator::DuplicateIssue;

use super::rules::{Late, Rules};
use super::{all_hold, asked, told};

/// In CI; more by `SIMULATION_SEEDS`.
const SEEDS: u64 = 16;
/// The configuration's default of `issuance.late_effect_bound`.
const BOUND_MS: u64 = 120_000;
/// Beyond a check of the lease, before which nobody repeats the call: what is left of the lease (25 s), the takeover
/// after it (50 s), and the bound (contract.md section 2).
const SAFE_MS: u64 = 25_000 + 50_000 + BOUND_MS;
/// In which a surplus key must be gone.
const GONE_IN_MS: i64 = 600_000;

fn seeds() -> u64 {
    asked("SIMULATION_SEEDS").map_or(SEEDS, |seeds| seeds.div_ceil(20))
}

fn stories(rules: &Rules) -> Vec<(u64, Rules)> {
    (0..seeds()).map(|seed| (seed, rules.clone())).collect()
}

fn late(by_ms: u64, duplicates: DuplicateIssue) -> Rules {
    Rules {
        clean: true,
        steady: Some(60_000),
        acts: Some(60),
        late: Some(Late { by_ms, duplicates }),
        ..Rules::default()
    }
}

#[test]
fn a_late_effect_within_the_bound_makes_no_second_key() {
    for duplicates in [DuplicateIssue::Refuse, DuplicateIssue::SecondCredential] {
        let told_of = all_hold(&stories(&late(BOUND_MS, duplicates)));
        told(
            &format!("{duplicates:?}, late by up to the bound"),
            &told_of,
        );
    }
}

/// With the sweep off: events and the reads after a repeat are enough.
#[test]
fn a_late_effect_beyond_the_bound_makes_a_second_key_that_is_revoked() {
    for duplicates in [DuplicateIssue::Refuse, DuplicateIssue::SecondCredential] {
        let rules = Rules {
            surplus: true,
            ..late(10 * BOUND_MS, duplicates)
        };
        let told_of = all_hold(&stories(&rules));
        told(
            &format!("{duplicates:?}, late by up to ten times the bound"),
            &told_of,
        );
        let surplus: Vec<i64> = told_of
            .iter()
            .flat_map(|ending| ending.surplus.clone())
            .collect();
        let longest = surplus.iter().max().copied().unwrap_or_default();
        assert!(
            longest <= GONE_IN_MS,
            "a surplus key was live for {longest} ms"
        );
        let draws = duplicates == DuplicateIssue::SecondCredential;
        assert_eq!(surplus.is_empty(), !draws, "{surplus:?}");
    }
}

fn two_that_stand_still() -> Rules {
    Rules {
        two: true,
        freezes: Some(SAFE_MS),
        ..Rules::default()
    }
}

/// Those of which no second key may come.
pub(super) fn harmless() -> [Rules; 3] {
    [
        late(BOUND_MS, DuplicateIssue::Refuse),
        late(BOUND_MS, DuplicateIssue::SecondCredential),
        two_that_stand_still(),
    ]
}

#[test]
fn two_daemons_that_die_and_stand_still_do_nothing_twice() {
    told("two daemons", &all_hold(&stories(&two_that_stand_still())));
}

/// Nothing can stop a process that was frozen between its check and its first byte; what it does is mended.
#[test]
fn a_process_frozen_before_its_first_byte_makes_a_second_key_that_is_revoked() {
    let rules = Rules {
        two: true,
        freezes: Some(900_000),
        surplus: true,
        clean: true,
        steady: Some(60_000),
        acts: Some(60),
        ..Rules::default()
    };
    told("two daemons, frozen for long", &all_hold(&stories(&rules)));
}

/// Years of a small site at the default interval, with the standard mix of faults: `YEAR_SEEDS=10 YEAR_DAYS=366`.
#[test]
fn time_passes_and_nothing_is_lost() {
    let days = asked("YEAR_DAYS").unwrap_or(1);
    let rules = Rules {
        clean: true,
        steady: Some(24 * 3_600_000),
        acts: Some(usize::try_from(days * 2).unwrap()),
        ..Rules::default()
    };
    let seeds = asked("YEAR_SEEDS").unwrap_or(1);
    let stories: Vec<_> = (0..seeds).map(|seed| (seed, rules.clone())).collect();
    told(&format!("{seeds} times {days} days"), &all_hold(&stories));
}
