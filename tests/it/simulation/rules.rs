//! What kind of stories are told: which HID, which faults, which deliberate bug.

use origo_adapter::simulator::{self, Class, DuplicateIssue, Fault, Faults};

use crate::support::dice::Dice;

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
pub(super) struct Rules {
    pub(super) bug: Option<Bug>,
    /// No faults and no crashes but those named here.
    pub(super) clean: bool,
    /// The one crash: at this operation of the store, after its transaction or before.
    pub(super) crash_at: Option<(i64, bool)>,
    /// The faults of a clean story of one person.
    pub(super) strikes: Vec<Strike>,
    /// Our clock is set wrong now and then, by up to an hour.
    pub(super) clock_jumps: bool,
    /// Return what was done even where nothing failed.
    pub(super) trace: bool,
}

/// Every kind of HID that the documents leave open and that matters here.
pub(super) fn settings(dice: &mut Dice) -> simulator::Settings {
    let mut settings = simulator::Settings::default();
    if dice.one_in(2) {
        settings.duplicate_issue = DuplicateIssue::SecondCredential;
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

/// Faults far above the `standard` mix, so that a short story meets several.
pub(super) fn faults(dice: &mut Dice) -> Faults {
    let mut faults = Faults::none();
    for fault in [
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
    ] {
        let percent = [0, 0, 2, 5, 15][usize::try_from(dice.roll(5)).unwrap()];
        faults.set(fault, f64::from(percent) / 100.0);
    }
    faults
}
