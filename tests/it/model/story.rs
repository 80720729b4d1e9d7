//! Tells how a state comes about.

use std::fmt::Write;
use std::time::Duration;

use origo_adapter::core::effect::Lane;
use origo_adapter::core::observation::Fault;

use super::state::{Log, State, World};
use super::ways::Action;

/// Leads through a story again and tells it.
pub(super) struct Teller<'a> {
    world: &'a World,
    pub(super) state: State,
    pub(super) told: String,
}

impl<'a> Teller<'a> {
    pub(super) fn new(world: &'a World, start: &State) -> Self {
        Self {
            world,
            state: start.clone(),
            told: String::new(),
        }
    }

    pub(super) fn take(&mut self, action: &Action) {
        let what = self.describe(action);
        let before = self.state.now;
        let Ok((after, log)) = self.state.clone().takes(self.world, action) else {
            return;
        };
        let passed = after.now.since(before);
        self.state = after;
        let Log { changes, started } = log;
        let at = self.state.now.since(crate::support::scene::START);
        write!(self.told, "{:>8.3} s  {what}", at.as_secs_f64()).expect("text");
        if passed > Duration::from_secs(1) {
            write!(self.told, " ({passed:?} later)").expect("text");
        }
        if let Some(effect) = started {
            write!(self.told, ": {effect:?}").expect("text");
        }
        self.told.push('\n');
        for change in changes {
            let name = |state: Option<String>| state.unwrap_or("·".to_owned());
            let (from, to) = (name(change.from), name(change.to));
            writeln!(self.told, "{:>12}{}: {from} → {to}", "", change.entity).expect("text");
        }
    }

    fn describe(&self, action: &Action) -> String {
        let lane = |lane: &Lane| lane.to_string();
        match action {
            Action::Call(person, at) => format!("person {person} calls, {}", lane(at)),
            Action::CallAstray(person, at) => {
                format!(
                    "person {person} calls, {}, and nobody hears of it",
                    lane(at)
                )
            }
            Action::ReadStale(person, at) => {
                format!("person {person} calls, {}, and is shown old news", lane(at))
            }
            Action::Answer(person) => {
                let reply = self.state.replies[*person].as_ref();
                format!("person {person} is answered: {reply:?}")
            }
            Action::GiveUp(person) => {
                format!("person {person} gives up: {:?}", Fault::Unanswered)
            }
            Action::Land(n) => {
                let effect = &self.state.astray[*n].call.effect;
                format!("HID gets the stray call {effect:?}")
            }
            Action::AnswerLate(n) => {
                let astray = &self.state.astray[*n];
                format!("a stray call is answered late: {:?}", astray.reply)
            }
            Action::Tell(n) => format!("the feed tells {:?}", self.state.feed[*n].told.what),
            Action::Lose(n) => format!("the feed loses {:?}", self.state.feed[*n].told.what),
            Action::TellTwice(n) => {
                format!(
                    "the feed tells, not for the last time, {:?}",
                    self.state.feed[*n].told.what
                )
            }
            Action::Delay(n) => format!("the feed delays {:?}", self.state.feed[*n].told.what),
            Action::Happen(deed) => format!("HID does {deed:?}"),
            Action::Redeem(invitation) => format!("an app redeems {invitation}"),
            Action::LosePhone(phone) => format!("the app is removed from {phone}"),
            Action::Wish(person, wish) => format!("person {person} is wished {wish:?}"),
            Action::Pass => "time passes".to_owned(),
        }
    }

    pub(super) fn end(self) -> String {
        let Self {
            state, mut told, ..
        } = self;
        for (lane, owed) in state.owed.iter().flatten() {
            let (class, effect) = (owed.class.name(), owed.effect.name());
            let ahead = owed.not_before.since(state.now);
            writeln!(
                told,
                "owed in the end: {lane}: {class} {effect}, {ahead:?} ahead"
            )
            .expect("text");
        }
        writeln!(told, "HID in the end: {:?}", state.hid).expect("text");
        told
    }
}
