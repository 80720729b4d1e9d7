//! How long phones waited for their issue call, and for what (G2).

use std::collections::BTreeMap;

use origo_adapter::simulator::{Class, Effect, Service};

use super::books::{Books, Call, Outcome, is_foreign_hour, since_start};
use super::line::{Line, SLOWEST};
use super::spans::Spans;
use super::town::{OUTAGE, Town};
use super::{HOUR, INTERVAL, PLACES, SECOND, WINDOW};

/// The last poll's answer, and this one's.
const SLACK: i64 = 2 * SLOWEST + SECOND;
/// A closed gate lets one call through so often, and that may take its time.
const PROBE: i64 = 60 * SECOND + 20 * SECOND + SLACK;

/// A phone that was active at HID.
struct Phone {
    container: u64,
    active: i64,
    issued: i64,
}

pub(super) struct Waits {
    /// By the time of issue.
    phones: Vec<Phone>,
    /// Times at which an adapter that never idles may make no call.
    excused: Spans,
    /// Times at which it may not make as many as otherwise.
    pub(super) hindered: Spans,
    full: Spans,
    /// Nobody waited for a call but those who are swept.
    quiet: Spans,
    outage: Spans,
    /// Issues with the reads before them, and other calls, each by time.
    issues: Vec<i64>,
    others: Vec<i64>,
    unserved: usize,
    doubtful: usize,
    /// When phones were lost, and how long after that HID heard of it.
    withdrawals: Vec<(i64, i64)>,
    lowered: Spans,
}

impl Waits {
    pub(super) fn of(books: &Books, line: &Line, town: &Town, backlog: &[(i64, bool)]) -> Self {
        let calls = books.mobile_identities();
        let refusals: Vec<i64> = books.refusals().map(|call| call.at).collect();
        // A refusal lowers our share for an hour; half of it is used all the same.
        let lowered = refusals.iter().map(|at| (*at, at + HOUR + WINDOW));
        let lowered = Spans::of(lowered.collect());
        let held = |places| Spans::where_overlap(calls.iter().map(Call::holds), places);
        let full = held(PLACES).and(&held(PLACES / 2).only_in(&lowered));
        let outage = Spans::of(vec![(OUTAGE.0, back(books))]);
        let throttled = refusals.iter().map(|at| (*at, at + PROBE));
        let excused = full
            .and(&Spans::of(calls.iter().map(Call::under_way).collect()))
            .and(&Spans::of(throttled.collect()))
            .and(&outage);
        let after_outage = Spans::of(vec![(OUTAGE.0, back(books) + 2 * WINDOW)]);
        let quiet = backlog.windows(2).filter(|pair| !pair[0].1 && !pair[1].1);
        let mut waits = Self {
            phones: Vec::new(),
            quiet: Spans::of(quiet.map(|pair| (pair[0].0, pair[1].0)).collect()),
            excused,
            hindered: lowered.and(&after_outage),
            full,
            outage,
            issues: times(calls, is_for_issue),
            others: times(calls, |call| !is_for_issue(call) && !call.is_withdrawal()),
            unserved: 0,
            doubtful: 0,
            withdrawals: Vec::new(),
            lowered,
        };
        waits.read(line, town);
        waits
    }

    fn read(&mut self, line: &Line, town: &Town) {
        let hid = line.hid.lock().unwrap();
        let doubtful = line.doubtful();
        let lost = town.people.iter().flat_map(|person| &person.lost_at);
        let lost: BTreeMap<u64, i64> = lost.map(|(phone, at)| (*phone, *at)).collect();
        let mut active = BTreeMap::new();
        for entry in hid.ledger().entries() {
            if let Effect::ContainerActive { container } = entry.effect {
                active.insert(container, entry.at);
            } else if let Effect::CredentialAccepted { container, .. } = entry.effect {
                let Some(since) = active.remove(&container) else {
                    continue;
                };
                if doubtful.contains(&container) {
                    self.doubtful += 1;
                    continue;
                }
                self.phones.push(Phone {
                    container,
                    active: since,
                    issued: entry.at,
                });
            } else if let Effect::ContainerDeleteInitiated { container } = entry.effect {
                let since = lost.get(&container).map(|at| (*at, entry.at - at));
                self.withdrawals.extend(since);
            }
        }
        self.unserved = active.len();
    }

    /// A phone waits one interval and then only for the window, for HID, or for a turn: of the calls that are made
    /// meanwhile six of ten are issues. As nobody's phone comes before their user, issues are half of the work at most,
    /// and where nobody hinders us one window has a place for each.
    pub(super) fn complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for phone in &self.phones {
            let Phone {
                container,
                active,
                issued,
            } = phone;
            let waited = issued - active;
            let idle = waited - self.excused.within(*active, *issued);
            let mut complain = |what: String| {
                let at = since_start(*active);
                wrong.push(format!(
                    "phone {container}, active on {at}, waited {waited} ms: {what}"
                ));
            };
            if idle > INTERVAL + SLACK {
                complain(format!("for {idle} ms there was a place for it"));
            }
            let free = self.hindered.within(active - HOUR, *issued) == 0;
            if free && waited > WINDOW + INTERVAL + SLACK {
                complain("longer than one window".to_owned());
            }
            let known = self.outage.end_of(active + INTERVAL + SLACK);
            let issues = between(&self.issues, known, *issued);
            let others = between(&self.others, known, *issued);
            if others > issues * 40 / 60 + 16 {
                complain(format!(
                    "{issues} issues and {others} other calls went first"
                ));
            }
        }
        wrong
    }

    /// By how much later the latest phone was active that went before each phone that was known by then.
    fn overtaken(&self) -> Vec<i64> {
        let mut latest = 0;
        let by = self.phones.iter().map(|phone| {
            latest = latest.max(phone.active);
            latest - self.outage.end_of(phone.active + INTERVAL + SLACK)
        });
        by.filter(|by| *by > 0).collect()
    }

    pub(super) fn figures(&self) -> String {
        let mut sorted: Vec<&Phone> = self.phones.iter().collect();
        sorted.sort_by_key(|phone| phone.active);
        let ideal = ideal(&sorted);
        let waits = |chosen: &dyn Fn(&Phone) -> bool| {
            let chosen = self.phones.iter().filter(|phone| chosen(phone));
            spread(chosen.map(|phone| phone.issued - phone.active).collect())
        };
        let in_outage = |phone: &Phone| self.outage.contains(phone.active);
        let foreign =
            |phone: &Phone| is_foreign_hour(phone.active) || self.lowered.contains(phone.active);
        let full = |phone: &Phone| self.full.contains(phone.active);
        let quiet = |phone: &Phone| self.quiet.contains(phone.active);
        let free = |phone: &Phone| !in_outage(phone) && !foreign(phone);
        let withdrawn = |hindered: bool| {
            let ours = self.withdrawals.iter();
            let ours = ours.filter(|(at, _)| self.hindered.contains(*at) == hindered);
            spread(ours.map(|(_, took)| *took).collect())
        };
        let lines = [
            format!("waits of all: {}", waits(&|_| true)),
            format!(
                "  of an ideal server that knows at once and does nothing but issue: {}",
                spread(ideal)
            ),
            format!("  while HID was away: {}", waits(&in_outage)),
            format!(
                "  beside the foreigner: {}",
                waits(&|p| foreign(p) && !in_outage(p))
            ),
            format!(
                "  when the window was full of others who waited: {}",
                waits(&|p| free(p) && full(p) && !quiet(p))
            ),
            format!(
                "  when it was full of the sweep: {}",
                waits(&|p| free(p) && full(p) && quiet(p))
            ),
            format!(
                "  when there was a place: {}",
                waits(&|p| free(p) && !full(p))
            ),
            format!(
                "  in doubt {}, gone before {}",
                self.doubtful, self.unserved
            ),
            format!("  overtaken, by how much: {}", spread(self.overtaken())),
            format!("lost phone to its deletion: {}", withdrawn(false)),
            format!(
                "  beside the foreigner or while HID was away: {}",
                withdrawn(true)
            ),
        ];
        lines.map(|line| format!("week: {line}")).join("\n")
    }
}

/// When both services had answered after the outage, or should have.
fn back(books: &Books) -> i64 {
    let first = |service: Service| {
        let calls = books.calls.get(&service).into_iter().flatten();
        let mut after = calls.filter(|call| call.at >= OUTAGE.1 && call.outcome == Outcome::Done);
        after.next().map_or(i64::MAX, |call| call.at)
    };
    let back = first(Service::MobileIdentities).max(first(Service::Events));
    back.min(OUTAGE.1 + PROBE) + SLACK
}

fn times(calls: &[Call], of: impl Fn(&Call) -> bool) -> Vec<i64> {
    let calls = calls.iter().filter(|call| of(call));
    calls.map(|call| call.at).collect()
}

/// A phone whose event was late is read first.
fn is_for_issue(call: &Call) -> bool {
    [Class::Issue, Class::ContainerGet, Class::UserSearch].contains(&call.class)
}

fn between(times: &[i64], from: i64, to: i64) -> usize {
    let before = |at: i64| times.partition_point(|time| *time < at);
    before(to).saturating_sub(before(from))
}

/// How long each would wait for a server with our places, HID being away or not.
fn ideal(phones: &[&Phone]) -> Vec<i64> {
    let mut served: Vec<i64> = Vec::new();
    for (nth, phone) in phones.iter().enumerate() {
        let place = nth
            .checked_sub(PLACES)
            .map_or(0, |freed| served[freed] + WINDOW);
        let mut at = phone.active.max(place);
        if (OUTAGE.0..OUTAGE.1).contains(&at) {
            at = OUTAGE.1;
        }
        served.push(at);
    }
    let waits = phones
        .iter()
        .zip(served)
        .map(|(phone, at)| at - phone.active);
    waits.collect()
}

/// The middle and the end of what was measured.
fn spread(mut waits: Vec<i64>) -> String {
    waits.sort_unstable();
    let at = |percent: usize| {
        waits.get((waits.len() * percent / 100).min(waits.len().saturating_sub(1)))
    };
    let seconds = |ms: Option<&i64>| {
        ms.map_or("-".to_owned(), |ms| {
            format!("{}.{:03}", ms / 1000, ms % 1000)
        })
    };
    format!(
        "{} phones, p50 {} s, p99 {} s, longest {} s",
        waits.len(),
        seconds(at(50)),
        seconds(at(99)),
        seconds(waits.last())
    )
}
