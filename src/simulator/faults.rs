//! What can go wrong, by name and probability, per endpoint class where wanted; plus faults scripted one by one.
//! The names are those of the fault model in the contract.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{rng::Rng, routes::Class};

/// One way to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The connection breaks before the request arrives: no effect.
    LostRequest,
    /// The request takes effect, the connection breaks instead of the answer.
    LostReply,
    /// Never answered, no effect.
    Hang,
    /// Never answered, though it took effect.
    HangWithEffect,
    #[serde(rename = "http_500")]
    Http500,
    #[serde(rename = "http_500_with_effect")]
    Http500WithEffect,
    #[serde(rename = "http_503")]
    Http503,
    #[serde(rename = "http_429")]
    Http429,
    /// The connection breaks now; the request takes effect within `late_by_max_ms`.
    LateEffect,
    /// A read answers from before each user's last write, when that is within `stale_within_ms`.
    StaleRead,
    MalformedJson,
    /// The body ends halfway although the header promises all of it.
    TruncatedBody,
    /// Every status in the answer is a word never seen.
    UnknownEnum,
    /// The token dies midway.
    #[serde(rename = "token_401")]
    Token401,
    /// The token endpoint refuses good client data.
    TokenRefused,
    /// A refusal by window although ours is not full: somebody else's traffic.
    #[serde(rename = "window_403")]
    Window403,
    #[serde(rename = "permission_403")]
    Permission403,
    /// 412 on issue: another writer took the credential.
    AssignmentRace,
    /// 412 on issue: container and credential types do not fit.
    NotCompatible,
    /// The phone refuses a credential: `ISSUE_FAILED`.
    IssueFails,
    EventDuplicated,
    EventMissing,
    /// Listed before earlier events.
    EventReordered,
    /// Readable only after up to `event_late_by_max_ms`, with its true time.
    EventLate,
    /// Reading events answers an empty list.
    FeedEmpty,
}

/// Which faults strike, how often, and how far they reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    rates: BTreeMap<Fault, f64>,
    by_class: Vec<(Class, Fault, f64)>,
    scripted: VecDeque<(Option<Class>, Fault)>,
    /// Longest wait of a late effect.
    pub late_by_max_ms: u64,
    /// How old a write may be for a stale read not to see it.
    pub stale_within_ms: u64,
    /// Longest wait of a late event.
    pub event_late_by_max_ms: u64,
}

impl Fault {
    /// Whether a request of this class can suffer it.
    fn strikes(self, class: Class) -> bool {
        match self {
            Self::LostRequest
            | Self::LostReply
            | Self::Hang
            | Self::HangWithEffect
            | Self::Http500
            | Self::Http500WithEffect
            | Self::Http503
            | Self::Http429
            | Self::MalformedJson
            | Self::TruncatedBody
            | Self::Window403
            | Self::Permission403 => true,
            Self::LateEffect => !class.is_read() && class != Class::Token,
            Self::StaleRead | Self::UnknownEnum => class.is_read(),
            Self::Token401 => class != Class::Token,
            Self::TokenRefused => class == Class::Token,
            Self::AssignmentRace | Self::NotCompatible => class == Class::Issue,
            Self::FeedEmpty => class == Class::EventsRead,
            Self::IssueFails
            | Self::EventDuplicated
            | Self::EventMissing
            | Self::EventReordered
            | Self::EventLate => false,
        }
    }
}

impl Faults {
    /// A HID that never fails.
    pub fn none() -> Self {
        Self {
            rates: BTreeMap::new(),
            by_class: Vec::new(),
            scripted: VecDeque::new(),
            late_by_max_ms: 60_000,
            stale_within_ms: 5_000,
            event_late_by_max_ms: 60_000,
        }
    }

    /// The contract's `standard` mix.
    pub fn standard() -> Self {
        let mut faults = Self::none();
        faults.set(Fault::LostReply, 0.01);
        faults.set(Fault::LostRequest, 0.01);
        faults.set(Fault::Http500, 0.005);
        faults.set(Fault::Http500WithEffect, 0.005);
        faults.set(Fault::StaleRead, 0.01);
        faults.set(Fault::LateEffect, 0.005);
        faults.set(Fault::EventDuplicated, 0.01);
        faults.set(Fault::EventMissing, 0.005);
        faults
    }

    /// Sets the probability of a fault for all classes it can strike.
    pub fn set(&mut self, fault: Fault, probability: f64) {
        self.rates.insert(fault, probability);
    }

    /// Sets the probability of a fault for one class, over the general one.
    pub fn set_for(&mut self, class: Class, fault: Fault, probability: f64) {
        self.by_class.retain(|(c, f, _)| (*c, *f) != (class, fault));
        self.by_class.push((class, fault, probability));
    }

    /// Lets the next request of `class` (or the next occasion, for events and phones) suffer `fault`.
    pub fn next(&mut self, class: Class, fault: Fault) {
        self.scripted.push_back((Some(class), fault));
    }

    /// Lets the next occasion of whatever class suffer `fault`.
    pub fn next_any(&mut self, fault: Fault) {
        self.scripted.push_back((None, fault));
    }

    /// Scripted faults that have not struck yet.
    pub fn pending(&self) -> usize {
        self.scripted.len()
    }

    fn rate(&self, class: Option<Class>, fault: Fault) -> f64 {
        self.by_class
            .iter()
            .find(|(c, f, _)| Some(*c) == class && *f == fault)
            .map(|(_, _, probability)| *probability)
            .or_else(|| self.rates.get(&fault).copied())
            .unwrap_or(0.0)
    }

    /// The one fault this request suffers, if any. Draws exactly one number, so that a scripted fault does not
    /// shift what follows it.
    pub(super) fn draw(&mut self, rng: &mut Rng, class: Class) -> Option<Fault> {
        let drawn = rng.unit();
        let scripted = self.scripted.iter().position(|(wanted, fault)| {
            fault.strikes(class) && wanted.is_none_or(|wanted| wanted == class)
        });
        if let Some(index) = scripted {
            return self.scripted.remove(index).map(|(_, fault)| fault);
        }
        let mut reach = 0.0;
        REQUEST_FAULTS
            .iter()
            .copied()
            .filter(|fault| fault.strikes(class))
            .find(|fault| {
                reach += self.rate(Some(class), *fault);
                drawn < reach
            })
    }

    /// Whether a fault outside any request strikes now.
    pub(super) fn strikes_now(&mut self, rng: &mut Rng, fault: Fault) -> bool {
        let drawn = rng.unit();
        if let Some(index) = self
            .scripted
            .iter()
            .position(|(_, scripted)| *scripted == fault)
        {
            self.scripted.remove(index);
            return true;
        }
        drawn < self.rate(None, fault)
    }
}

const REQUEST_FAULTS: [Fault; 20] = [
    Fault::LostRequest,
    Fault::LostReply,
    Fault::Hang,
    Fault::HangWithEffect,
    Fault::Http500,
    Fault::Http500WithEffect,
    Fault::Http503,
    Fault::Http429,
    Fault::LateEffect,
    Fault::StaleRead,
    Fault::MalformedJson,
    Fault::TruncatedBody,
    Fault::UnknownEnum,
    Fault::Token401,
    Fault::TokenRefused,
    Fault::Window403,
    Fault::Permission403,
    Fault::AssignmentRace,
    Fault::NotCompatible,
    Fault::FeedEmpty,
];
