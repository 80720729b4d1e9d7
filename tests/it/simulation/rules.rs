//! What kind of stories are told: which HID, which faults, which deliberate bug.

use std::sync::Arc;

use origo_adapter::simulator::{self, Class, DuplicateIssue, Fault, Faults};

use crate::support::dice::Dice;
use crate::support::machine::is_set;

/// A bug put in on purpose, to see whether it is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A call without an answer counts as not sent.
    BlindRetry,
    /// A new wish frees the identity for another call while one is under way.
    LiftedLease,
    /// The feed's cursor is saved before its events are observed.
    EarlyCursor,
}

/// A fault that is to strike once: the next call of this class, or the next that can suffer it.
pub(super) type Strike = (Option<Class>, Fault);

/// What kind of stories are told.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a choice of its own, and most stories make one"
)]
pub(super) struct Rules {
    pub(super) bug: Option<Bug>,
    /// What happens is kept in a database of PostgreSQL; a dead daemon's claims last as long as their leases.
    pub(super) postgres: bool,
    /// No faults and no crashes but those named here.
    pub(super) clean: bool,
    /// The one crash: at this operation of the store, after its transaction or before.
    pub(super) crash_at: Option<(i64, bool)>,
    /// The faults of a clean story of one person.
    pub(super) strikes: Vec<Strike>,
    /// The daemon dies again and again, each time after a few operations.
    pub(super) deadly: bool,
    /// Our clock is set wrong now and then, by up to an hour.
    pub(super) clock_jumps: bool,
    /// Return what was done even where nothing failed.
    pub(super) trace: bool,
    /// Two daemons share one store and take turns; one dies or stands still without the other.
    pub(super) two: bool,
    /// Calls stand still: before their first byte for up to so many ms, or before their answer for as long as it
    /// pleases the dice.
    pub(super) freezes: Option<u64>,
    /// Nothing goes wrong but that so many of the calls that change something at HID take effect late.
    pub(super) late: Option<Late>,
    /// Surplus keys are counted and must go again; else there must be none.
    pub(super) surplus: bool,
    /// The daemon works and polls all the time, as in life, for up to so many ms between two acts.
    pub(super) steady: Option<u64>,
    /// How many acts, where not the usual number.
    pub(super) acts: Option<usize>,
    /// Only these acts, each with the dice that it had in the whole story.
    pub(super) only: Option<Arc<Vec<Dice>>>,
    /// Faults that do not strike after all.
    pub(super) without: Vec<Fault>,
}

impl Rules {
    /// Of this story, or of all: `SIMULATION_STORE=postgres`.
    pub(super) fn is_on_postgres(&self) -> bool {
        self.postgres || is_set("SIMULATION_STORE", "postgres")
    }
}

/// Calls that take effect after their sender was cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    /// By up to so many ms.
    pub(super) by_ms: u64,
    pub(super) duplicates: DuplicateIssue,
}

/// Every kind of HID that the documents leave open and that matters here.
pub(super) fn settings(rules: &Rules, dice: &mut Dice) -> simulator::Settings {
    let mut settings = simulator::Settings::default();
    if dice.one_in(2) {
        settings.duplicate_issue = DuplicateIssue::SecondCredential;
    }
    if let Some(late) = &rules.late {
        settings.duplicate_issue = late.duplicates;
    }
    settings.extra_event_statuses = dice.one_in(2);
    settings.issue_initiated_events = dice.one_in(2);
    settings.issue_answers_list = dice.one_in(4);
    settings.event_order = if dice.one_in(2) {
        simulator::EventOrder::NewestLast
    } else {
        simulator::EventOrder::Shuffled
    };
    settings.invitation_id_in_events = match dice.roll(3) {
        0 => simulator::InvitationIdInEvents::Undefined,
        1 => simulator::InvitationIdInEvents::Absent,
        _ => simulator::InvitationIdInEvents::Present,
    };
    settings.revoked_visibility = match dice.roll(3) {
        0 => simulator::RevokedVisibility::Stays,
        1 => simulator::RevokedVisibility::GoneAtOnce,
        _ => simulator::RevokedVisibility::OneReadThenGone,
    };
    settings
}

/// What a story meets: nothing but what it is about, or faults by the dice.
pub(super) fn faults_of(rules: &Rules, dice: &mut Dice) -> Faults {
    let mut faults = match (&rules.late, rules.steady) {
        (Some(late), _) => {
            let mut faults = Faults::none();
            faults.late_by_max_ms = late.by_ms;
            faults.set(Fault::LateEffect, 0.2);
            // How late HID is with a revoke is not ours to answer for.
            faults.set_for(Class::Revoke, Fault::LateEffect, 0.0);
            faults
        }
        (None, Some(_)) => Faults::standard(),
        (None, None) if rules.clean => Faults::none(),
        (None, None) => drawn(dice),
    };
    if rules.bug == Some(Bug::EarlyCursor) {
        faults.set(Fault::EventMissing, 0.0);
    }
    for fault in &rules.without {
        faults.set(*fault, 0.0);
    }
    for (class, fault) in &rules.strikes {
        match class {
            Some(class) => faults.next(*class, *fault),
            None => faults.next_any(*fault),
        }
    }
    faults
}

/// Those that a drawn story may meet.
pub(super) const DRAWN: [Fault; 19] = [
    Fault::LostRequest,
    Fault::LostReply,
    Fault::Hang,
    Fault::HangWithEffect,
    Fault::Http500,
    Fault::Http500WithEffect,
    Fault::Http503,
    Fault::LateEffect,
    Fault::StaleRead,
    Fault::MalformedJson,
    Fault::TruncatedBody,
    Fault::UnknownEnum,
    Fault::Token401,
    Fault::Window403,
    Fault::AssignmentRace,
    Fault::EventDuplicated,
    Fault::EventReordered,
    Fault::EventMissing,
    Fault::EventLate,
];

/// All that end by themselves; the others have tests of their own that expect a reason to be told.
pub(super) fn faults_that_end() -> impl Iterator<Item = Fault> {
    let more = [Fault::Http429, Fault::TokenRefused, Fault::FeedEmpty];
    DRAWN.into_iter().chain(more)
}

/// Faults far above the `standard` mix, so that a short story meets several.
fn drawn(dice: &mut Dice) -> Faults {
    let mut faults = Faults::none();
    for fault in DRAWN {
        let percent = [0, 0, 2, 5, 15][usize::try_from(dice.roll(5)).unwrap()];
        faults.set(fault, f64::from(percent) / 100.0);
    }
    faults
}
