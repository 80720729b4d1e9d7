//! Whether a service of HID may be called now: open, or paused and probed by one call at a time.
//!
//! Imports core and origo. A service's refusals pause the service, never an object's own schedule
//! (contract.md G2).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::Lane;
use crate::core::ids::{IdentityId, Timestamp};
use crate::origo::Trouble;

/// Pauses between probes (contract.md G2: every 5–60 s); the last repeats.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_secs(40),
    Duration::from_mins(1),
];
/// Who refuses us for so long will not take us back by itself: a person must act.
const QUARANTINED_AFTER: Duration = Duration::from_mins(30);
/// Between probes then.
const QUARANTINE_PAUSE: Duration = Duration::from_mins(15);
/// One refusal may be one call's bad luck; so many in a row are the service's.
const REFUSALS: u32 = 2;

/// HID's window is over by then: what is still refused as if it were full is refused for another reason.
const FORBIDDEN_AFTER: Duration = Duration::from_mins(6);
/// So often one call is refused while others go through, and it is the call's own fault.
const FORBIDDEN_TIMES: u32 = 3;
/// More calls than are ever under way.
const SUSPECTS: usize = 256;

/// A circuit breaker for one service.
#[derive(Debug, Default)]
pub struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    refusals: u32,
    pauses: u32,
    /// The next probe; `None`: open.
    closed_until: Option<Timestamp>,
    /// Since when nothing but 403 is answered.
    throttled_since: Option<Timestamp>,
    /// Since when our credentials are refused, and nothing else.
    refused_since: Option<Timestamp>,
    /// So long that it is rarely asked.
    quarantined_at: Option<Timestamp>,
    condition: Condition,
}

/// HID's condition, as status and logs call it (contract.md section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Answers.
    #[default]
    Ok,
    /// Says that a window is used up.
    Throttled,
    /// Refuses our credentials.
    Refused,
    /// Does not answer, or not usably.
    Unreachable,
}

impl Condition {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Throttled, Self::Refused, Self::Unreachable];

    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What an answer did to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It was open.
    Nothing,
    /// It was paused.
    FromPause,
    /// It was quarantined.
    FromQuarantine,
}

/// What a refusal did to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was closed already, or stays open.
    Unchanged,
    /// It closed now.
    Paused(Condition),
    /// It was refused for so long that it is rarely asked from now on.
    Quarantined,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: go. Else not before that time. Going through a paused gate is a probe: until its
    /// outcome is told, or `probe_bound` has passed, nobody else goes.
    pub fn pass(&self, now: Timestamp, probe_bound: Duration) -> Option<Timestamp> {
        let mut state = self.state();
        match state.closed_until {
            None => None,
            Some(until) if until > now => Some(until),
            Some(_) => {
                state.closed_until = Some(now.plus(probe_bound));
                None
            }
        }
    }

    /// When the gate may be passed next; `None`: now. Asks without going.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.state().closed_until.filter(|until| *until > now)
    }

    /// A call through the gate had an answer.
    pub fn succeeded(&self) -> Opened {
        let mut state = self.state();
        let opened = match (state.closed_until, state.quarantined_at) {
            (_, Some(_)) => Opened::FromQuarantine,
            (Some(_), None) => Opened::FromPause,
            (None, None) => Opened::Nothing,
        };
        *state = State::default();
        opened
    }

    /// Since when it is rarely asked, having been refused for long; `None`: it is not.
    pub fn quarantined_at(&self) -> Option<Timestamp> {
        self.state().quarantined_at
    }

    /// A person says that it may work again: the next probe may go at once.
    pub fn probe(&self) {
        self.unused(Timestamp(0));
    }

    /// Another service of the same manager takes us back: it is probed at once, and as before.
    pub fn end_quarantine(&self) {
        let mut state = self.state();
        if state.quarantined_at.take().is_some() {
            state.refused_since = None;
            state.closed_until = Some(Timestamp(0));
        }
    }

    /// The probe that passed was not sent after all: the next may go at once.
    pub fn unused(&self, now: Timestamp) {
        let mut state = self.state();
        if state.closed_until.is_some() {
            state.closed_until = Some(now);
        }
    }

    /// A call through the gate was refused by the service.
    pub fn refused(
        &self,
        trouble: Trouble,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) -> Verdict {
        let mut state = self.state();
        let throttled_since = state.throttled_since.unwrap_or(now);
        let condition = match trouble {
            Trouble::LeaseOver | Trouble::Oversized => return Verdict::Unchanged,
            Trouble::Window if now.since(throttled_since) >= FORBIDDEN_AFTER => Condition::Refused,
            Trouble::Window => Condition::Throttled,
            Trouble::Unauthorized | Trouble::Credentials => Condition::Refused,
            Trouble::Unreachable | Trouble::TimedOut | Trouble::ServerError => {
                Condition::Unreachable
            }
        };
        state.throttled_since = (trouble == Trouble::Window).then_some(throttled_since);
        state.refusals += 1;
        let was_closed = state.closed_until.is_some();
        // A refused login and a full window concern every call; anything else may be one call's own.
        if !was_closed && condition == Condition::Unreachable && state.refusals < REFUSALS {
            return Verdict::Unchanged;
        }
        if condition == Condition::Refused {
            state.refused_since.get_or_insert(now);
        } else if state.quarantined_at.is_none() {
            state.refused_since = None;
        }
        let is_due = state
            .refused_since
            .is_some_and(|since| now.since(since) >= QUARANTINED_AFTER);
        let quarantined = is_due && state.quarantined_at.is_none();
        if quarantined {
            state.quarantined_at = Some(now);
        }
        let index = usize::try_from(state.pauses).unwrap_or(usize::MAX);
        let pause = match state.quarantined_at {
            Some(_) => QUARANTINE_PAUSE,
            None => PAUSES.get(index).copied().unwrap_or(Duration::from_mins(1)),
        };
        state.pauses = state.pauses.saturating_add(1);
        let pause = pause.max(retry_after.unwrap_or_default().min(Duration::from_mins(5)));
        state.closed_until = Some(now.plus(pause));
        let changed = !was_closed || state.condition != condition;
        state.condition = condition;
        if quarantined {
            Verdict::Quarantined
        } else if changed {
            Verdict::Paused(condition)
        } else {
            Verdict::Unchanged
        }
    }

    /// HID's condition as this gate saw it last.
    pub fn condition(&self) -> Condition {
        self.state().condition
    }
}

/// Tells a missing permission from a full window, since HID answers 403 to both (origo-api.md 10.3): a full window
/// refuses every call, a missing permission one kind of them.
#[derive(Debug, Default)]
pub struct Forbidden(Mutex<Suspects>);

#[derive(Debug, Default)]
struct Suspects {
    successes: u64,
    /// How often each was refused in a row with a success of another between, and how many successes there were by then.
    refused: BTreeMap<(IdentityId, Lane), (u32, u64)>,
}

impl Forbidden {
    fn suspects(&self) -> MutexGuard<'_, Suspects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// HID answered 403 to this call. `true`: it does so to this call alone.
    pub fn refused(&self, identity: IdentityId, lane: &Lane) -> bool {
        let mut suspects = self.suspects();
        if suspects.refused.len() >= SUSPECTS {
            suspects.refused.clear();
        }
        let successes = suspects.successes;
        let call = (identity, lane.clone());
        let (times, seen) = suspects.refused.entry(call).or_insert((0, 0));
        if *times == 0 || *seen < successes {
            *times += 1;
        }
        *seen = successes;
        *times >= FORBIDDEN_TIMES
    }

    /// HID performed this call.
    pub fn succeeded(&self, identity: IdentityId, lane: &Lane) {
        let mut suspects = self.suspects();
        suspects.successes += 1;
        if !suspects.refused.is_empty() {
            suspects.refused.remove(&(identity, lane.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::AcsSystemId;
    use uuid::Uuid;

    const BOUND: Duration = Duration::from_secs(30);

    #[test]
    fn one_lost_call_pauses_nothing_two_in_a_row_do() {
        let gate = Gate::default();
        assert_eq!(
            gate.refused(Trouble::TimedOut, None, Timestamp(0)),
            Verdict::Unchanged
        );
        assert_eq!(gate.succeeded(), Opened::Nothing);
        assert_eq!(
            gate.refused(Trouble::ServerError, None, Timestamp(0)),
            Verdict::Unchanged
        );
        assert_eq!(
            gate.refused(Trouble::Unreachable, None, Timestamp(0)),
            Verdict::Paused(Condition::Unreachable)
        );
        assert_eq!(gate.pass(Timestamp(4999), BOUND), Some(Timestamp(5000)));
    }

    #[test]
    fn a_paused_gate_is_probed_by_one_at_a_time_ever_slower() {
        let gate = Gate::default();
        assert_eq!(
            gate.refused(Trouble::Window, None, Timestamp(0)),
            Verdict::Paused(Condition::Throttled)
        );
        let mut now = 0;
        for pause in [5, 10, 20, 40, 60, 60, 60] {
            now += pause * 1000;
            assert_eq!(
                gate.pass(Timestamp(now - 1), BOUND),
                Some(Timestamp(now)),
                "{pause}"
            );
            assert_eq!(gate.pass(Timestamp(now), BOUND), None, "{pause}");
            assert_eq!(
                gate.pass(Timestamp(now), BOUND),
                Some(Timestamp(now + 30_000)),
                "only one probes"
            );
            assert_eq!(
                gate.refused(Trouble::Window, None, Timestamp(now)),
                Verdict::Unchanged
            );
        }
        assert_eq!(gate.succeeded(), Opened::FromPause);
        assert_eq!(gate.pass(Timestamp(now), BOUND), None);
    }

    #[test]
    fn a_window_that_stays_full_for_longer_than_it_is_long_is_no_window() {
        let gate = Gate::default();
        gate.refused(Trouble::Window, None, Timestamp(0));
        let verdict = gate.refused(Trouble::Window, None, Timestamp(359_999));
        assert_eq!(verdict, Verdict::Unchanged);
        let verdict = gate.refused(Trouble::Window, None, Timestamp(360_000));
        assert_eq!(verdict, Verdict::Paused(Condition::Refused));
        gate.succeeded();
        let verdict = gate.refused(Trouble::Window, None, Timestamp(360_000));
        assert_eq!(verdict, Verdict::Paused(Condition::Throttled));
    }

    /// Refuses at each probe for so many minutes; the pauses in seconds between the last probes.
    fn refused_for(gate: &Gate, trouble: Trouble, minutes: i64) -> (Vec<Verdict>, Vec<i64>) {
        let (mut now, mut told, mut pauses) = (0, Vec::new(), Vec::new());
        while now <= minutes * 60_000 {
            assert_eq!(gate.pass(Timestamp(now), BOUND), None);
            told.push(gate.refused(trouble, None, Timestamp(now)));
            let next = gate.closed_until(Timestamp(now)).unwrap();
            pauses.push((next.0 - now) / 1000);
            now = next.0;
        }
        (told, pauses)
    }

    #[test]
    fn who_refuses_us_for_half_an_hour_is_quarantined_once_and_rarely_asked() {
        let gate = Gate::default();
        let (told, pauses) = refused_for(&gate, Trouble::Credentials, 120);
        let notices = told.iter().filter(|told| **told == Verdict::Quarantined);
        assert_eq!(notices.count(), 1);
        let before = pauses.iter().filter(|pause| **pause <= 60);
        assert!(before.count() >= 30, "{pauses:?}");
        assert_eq!(pauses[pauses.len() - 4..], [900; 4]);
        let since = gate.quarantined_at().unwrap();
        assert!((1_800_000..1_860_001).contains(&since.0), "{since:?}");
        // A person asks for a probe, which fails: it stays quarantined, and nobody is told again.
        gate.probe();
        assert_eq!(gate.pass(Timestamp(9_000_000), BOUND), None);
        let again = gate.refused(Trouble::Credentials, None, Timestamp(9_000_000));
        assert_eq!(again, Verdict::Unchanged);
        assert_eq!(
            gate.closed_until(Timestamp(9_000_000)),
            Some(Timestamp(9_900_000))
        );
        assert_eq!(gate.succeeded(), Opened::FromQuarantine);
        assert_eq!(gate.quarantined_at(), None);
        assert_eq!(gate.succeeded(), Opened::Nothing);
    }

    #[test]
    fn one_service_takes_the_other_out_of_quarantine() {
        let gate = Gate::default();
        gate.end_quarantine();
        assert_eq!(gate.succeeded(), Opened::Nothing, "there was none");
        refused_for(&gate, Trouble::Credentials, 60);
        gate.end_quarantine();
        assert_eq!(gate.quarantined_at(), None);
        assert_eq!(gate.pass(Timestamp(3_600_000), BOUND), None);
        let refused = |at| gate.refused(Trouble::Credentials, None, Timestamp(at));
        assert_eq!(refused(3_600_000), Verdict::Unchanged);
        assert_eq!(refused(5_399_999), Verdict::Unchanged, "it counts anew");
        assert_eq!(gate.succeeded(), Opened::FromPause);
    }

    #[test]
    fn who_is_merely_unreachable_is_not_quarantined() {
        for trouble in [Trouble::TimedOut, Trouble::ServerError] {
            let gate = Gate::default();
            gate.refused(trouble, None, Timestamp(0));
            let (told, pauses) = refused_for(&gate, trouble, 120);
            assert!(!told.contains(&Verdict::Quarantined));
            assert!(pauses.iter().all(|pause| *pause <= 60), "{pauses:?}");
            assert_eq!(gate.quarantined_at(), None);
        }
    }

    #[test]
    fn refusals_count_from_the_first_after_anything_else() {
        let gate = Gate::default();
        gate.refused(Trouble::Credentials, None, Timestamp(0));
        gate.refused(Trouble::ServerError, None, Timestamp(1_000_000));
        gate.refused(Trouble::Credentials, None, Timestamp(1_100_000));
        let early = gate.refused(Trouble::Credentials, None, Timestamp(2_899_999));
        assert_eq!(early, Verdict::Unchanged);
        let due = gate.refused(Trouble::Credentials, None, Timestamp(2_900_000));
        assert_eq!(due, Verdict::Quarantined);
    }

    #[test]
    fn a_call_that_is_refused_alone_is_forbidden_and_a_full_window_forbids_none() {
        let forbidden = Forbidden::default();
        let lanes = [1, 2].map(|n| Lane::Read(AcsSystemId(Uuid::from_u128(n))));
        let identity = IdentityId(Uuid::nil());
        let refused = |lane: usize| forbidden.refused(identity, &lanes[lane]);
        for _ in 0..9 {
            assert!(!refused(0), "nothing else went through");
        }
        forbidden.succeeded(identity, &lanes[1]);
        for _ in 0..9 {
            assert!(!refused(0), "one call went through");
        }
        forbidden.succeeded(identity, &lanes[1]);
        assert!(refused(0), "the third time");
        assert!(refused(0), "it stays so");
        forbidden.succeeded(identity, &lanes[0]);
        assert!(!refused(0), "until it is performed");
    }

    #[test]
    fn however_many_are_refused_few_are_kept_in_mind() {
        let forbidden = Forbidden::default();
        for n in 0..1000 {
            forbidden.refused(IdentityId(Uuid::from_u128(n)), &Lane::Timer);
            assert!(forbidden.suspects().refused.len() <= SUSPECTS, "{n}");
        }
    }

    #[test]
    fn a_lost_probe_does_not_close_the_gate_for_ever() {
        let gate = Gate::default();
        gate.refused(Trouble::Credentials, None, Timestamp(0));
        assert_eq!(gate.pass(Timestamp(5000), BOUND), None);
        assert_eq!(gate.pass(Timestamp(35_000), BOUND), None);
    }

    #[test]
    fn a_server_that_says_when_is_believed_within_a_window() {
        let gate = Gate::default();
        gate.refused(Trouble::Window, Some(Duration::from_hours(1)), Timestamp(0));
        assert_eq!(gate.closed_until(Timestamp(0)), Some(Timestamp(300_000)));
    }

    #[test]
    fn it_says_why_once_and_again_when_the_reason_changes() {
        let gate = Gate::default();
        assert_eq!(gate.condition(), Condition::Ok);
        let mut told = Vec::new();
        for trouble in [
            Trouble::Window,
            Trouble::Window,
            Trouble::Credentials,
            Trouble::ServerError,
        ] {
            told.push(gate.refused(trouble, None, Timestamp(0)));
        }
        let paused = Verdict::Paused;
        assert_eq!(
            told,
            [
                paused(Condition::Throttled),
                Verdict::Unchanged,
                paused(Condition::Refused),
                paused(Condition::Unreachable),
            ]
        );
        assert_eq!(gate.condition(), Condition::Unreachable);
        assert_eq!(gate.succeeded(), Opened::FromPause);
        assert_eq!(gate.condition(), Condition::Ok);
        let again = gate.refused(Trouble::Window, None, Timestamp(0));
        assert_eq!(again, paused(Condition::Throttled));
    }

    #[test]
    fn a_probe_that_was_not_sent_leaves_the_gate_to_the_next() {
        let gate = Gate::default();
        gate.unused(Timestamp(0));
        assert_eq!(gate.closed_until(Timestamp(-1)), None, "it was open");
        gate.refused(Trouble::Window, None, Timestamp(0));
        assert_eq!(gate.closed_until(Timestamp(4999)), Some(Timestamp(5000)));
        assert_eq!(gate.closed_until(Timestamp(5000)), None);
        assert_eq!(gate.pass(Timestamp(5000), BOUND), None);
        assert!(gate.pass(Timestamp(5001), BOUND).is_some());
        gate.unused(Timestamp(5001));
        assert_eq!(gate.pass(Timestamp(5001), BOUND), None);
    }

    #[test]
    fn conditions_have_the_names_that_operators_know() {
        let conditions = [
            Condition::Ok,
            Condition::Throttled,
            Condition::Refused,
            Condition::Unreachable,
        ];
        let names = conditions.map(Condition::name);
        assert_eq!(names, ["ok", "throttled", "refused", "unreachable"]);
    }
}
