//! Who lives through the week: people who arrive in bursts, their phones, a foreigner who uses our windows, and
//! an HID that is away for half an hour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use origo_adapter::core::ids::{ContainerId, ParentId, PartNumber, PhoneId};
use origo_adapter::core::wish::Wish;
use origo_adapter::engine::Engine;
use origo_adapter::simulator::{Device, Effect, Fault, Faults, Hid, Reply};
use uuid::Uuid;

use super::super::wishes::{asked_of, identity};
use super::super::world::{MANAGER, START};
use super::line::Line;
use super::{DAWN, DAY, HOUR, MINUTE, SECOND};
use crate::support::dice::Dice;

/// When HID is away, from the midst of a burst: for the first half it is silent, for the second it refuses connections.
pub(super) const OUTAGE: (i64, i64) = {
    let begin = START + 12 * HOUR + 50 * MINUTE + 10 * SECOND;
    (begin, begin + 30 * MINUTE)
};
/// The hours of a day in which somebody else of our organization calls HID, once in five seconds.
pub(super) const FOREIGN: (i64, i64) = (7 * HOUR + 30 * MINUTE, 9 * HOUR + 30 * MINUTE);
const FOREIGN_EVERY: i64 = 5 * SECOND;
/// Mail is looked at so often.
const MAIL_EVERY: i64 = 10 * MINUTE;
pub(super) const PART: &str = "MID-SUB-EXAMPLE_1";

/// What happens at a time of its own.
enum Deed {
    Arrives(usize),
    ReadMail,
    Redeems(usize, String),
    Loses(usize, u64),
    Leaves(usize),
    Foreigner,
    Silence,
    Refusals,
    Back,
}

#[derive(Clone, Default)]
pub(super) struct Person {
    /// Of those who never do, the invitation ends in vain.
    redeems: bool,
    pub(super) left_at: Option<i64>,
    pub(super) lost_at: BTreeMap<u64, i64>,
}

pub(super) struct Town {
    hid: Arc<Mutex<Hid>>,
    line: Arc<Line>,
    dice: Dice,
    deeds: BTreeMap<(i64, u64), Deed>,
    planned: u64,
    pub(super) people: Vec<Person>,
    by_name: BTreeMap<String, usize>,
    /// The invitations up to here, and the entries of HID's book, were looked at.
    mail_read: (u64, usize),
    token: Option<(i64, String)>,
    /// The foreigner's requests, by number.
    pub(super) foreign: BTreeSet<u64>,
    pub(super) foreign_refused: usize,
    end: i64,
}

impl Town {
    pub(super) fn new(line: Arc<Line>, people: usize, days: i64, seed: u64) -> Self {
        let names = (0..people).map(|who| (identity(who).to_string(), who));
        let mut town = Self {
            hid: Arc::clone(&line.hid),
            line,
            dice: Dice::new(seed),
            deeds: BTreeMap::new(),
            planned: 0,
            people: vec![Person::default(); people],
            by_name: names.collect(),
            mail_read: (0, 0),
            token: None,
            foreign: BTreeSet::new(),
            foreign_refused: 0,
            end: START + days * DAY,
        };
        for (who, at) in (0..people).zip(arrivals(people, days)) {
            town.people[who].redeems = !town.dice.one_in(20);
            town.plan(at, Deed::Arrives(who));
            if town.dice.one_in(50) {
                let stays = HOUR + town.up_to(4 * DAY);
                town.plan(at + stays, Deed::Leaves(who));
            }
        }
        town.plan(START + DAWN, Deed::ReadMail);
        for day in 0..days {
            town.plan(START + day * DAY + FOREIGN.0, Deed::Foreigner);
        }
        town.plan(OUTAGE.0, Deed::Silence);
        town.plan(OUTAGE.0.midpoint(OUTAGE.1), Deed::Refusals);
        town.plan(OUTAGE.1, Deed::Back);
        town
    }

    fn plan(&mut self, at: i64, deed: Deed) {
        if at >= self.end {
            return;
        }
        self.planned += 1;
        self.deeds.insert((at, self.planned), deed);
    }

    fn up_to(&mut self, ms: i64) -> i64 {
        i64::try_from(self.dice.roll(u64::try_from(ms).unwrap())).unwrap()
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<i64> {
        self.deeds.keys().next().map(|(at, _)| *at)
    }

    /// Lets happen whatever is to happen up to now.
    pub(super) async fn act(&mut self, engine: &Engine, now: i64) {
        while let Some(first) = self.deeds.first_entry()
            && first.key().0 <= now
        {
            let ((at, _), deed) = first.remove_entry();
            match deed {
                Deed::Arrives(who) => {
                    let parent = ParentId(Uuid::from_u128(0xbeef_0000 + who as u128));
                    let wishes = asked_of(who, 0, parent, PartNumber(PART.to_owned()));
                    wish(engine, who, wishes).await;
                }
                Deed::ReadMail => self.read_mail(now),
                Deed::Redeems(who, code) => self.redeem(now, who, &code),
                Deed::Loses(who, container) => self.lose(engine, now, who, container).await,
                Deed::Leaves(who) => {
                    self.people[who].left_at = Some(now);
                    wish(engine, who, vec![Wish::DeleteIdentity]).await;
                }
                Deed::Foreigner => self.foreigner(at, now),
                Deed::Silence => {
                    let mut hid = self.hid.lock().unwrap();
                    hid.faults_mut().set(Fault::Hang, 0.7);
                    hid.faults_mut().set(Fault::HangWithEffect, 0.3);
                }
                Deed::Refusals => self.line.refuse(true),
                Deed::Back => {
                    self.line.refuse(false);
                    *self.hid.lock().unwrap().faults_mut() = Faults::none();
                }
            }
        }
    }

    /// New codes arrive; most people redeem theirs within minutes or hours, some within two days, some never.
    fn read_mail(&mut self, now: i64) {
        self.plan(now + MAIL_EVERY, Deed::ReadMail);
        let hid = self.hid.lock().unwrap();
        let entries = hid.ledger().entries();
        let new = &entries[self.mail_read.1..];
        self.mail_read.1 = entries.len();
        let made = |effect: &Effect| matches!(effect, Effect::InvitationCreated { .. });
        if !new.iter().any(|entry| made(&entry.effect)) {
            return;
        }
        let pending = hid.pending_invitations();
        drop(hid);
        for invitation in pending {
            if invitation.invitation <= self.mail_read.0 {
                continue;
            }
            self.mail_read.0 = invitation.invitation;
            let who = self.by_name[&invitation.user_external_id];
            if !self.people[who].redeems {
                continue;
            }
            let delay = match self.dice.roll(20) {
                0..10 => self.up_to(30 * MINUTE),
                10..16 => self.up_to(8 * HOUR),
                _ => self.up_to(44 * HOUR),
            };
            self.plan(now + delay, Deed::Redeems(who, invitation.code));
        }
    }

    fn redeem(&mut self, now: i64, who: usize, code: &str) {
        let redeemed = self
            .hid
            .lock()
            .unwrap()
            .redeem(now, code, Device::default());
        // Cancelled, or its owner has left.
        let Ok(container) = redeemed else { return };
        if self.dice.one_in(33) {
            let later = MINUTE + self.up_to(2 * DAY);
            self.plan(now + later, Deed::Loses(who, container));
        }
    }

    /// The operator takes a lost phone from its owner, and invites them anew.
    async fn lose(&mut self, engine: &Engine, now: i64, who: usize, container: u64) {
        if self.people[who].left_at.is_some() {
            return;
        }
        let id = ContainerId::parse(&container.to_string()).unwrap();
        let phone = PhoneId::of(MANAGER, &id);
        let loaded = engine.store().load(identity(who)).await.unwrap();
        if loaded.is_none_or(|loaded| loaded.identity.phone(phone).is_none()) {
            // Of a phone that nobody has told of yet nothing can be asked.
            self.plan(now + MINUTE, Deed::Loses(who, container));
            return;
        }
        self.people[who].lost_at.insert(container, now);
        let invite = Wish::Invite {
            manager: MANAGER,
            installation: None,
            resend: false,
        };
        wish(engine, who, vec![Wish::DeactivatePhone(phone), invite]).await;
    }

    /// Another client of the organization, with a token of its own.
    fn foreigner(&mut self, at: i64, now: i64) {
        if (at - START) % DAY < FOREIGN.1 {
            self.plan(at + FOREIGN_EVERY, Deed::Foreigner);
        }
        let known = self.token.take().filter(|(until, _)| *until > now);
        let token = known.or_else(|| {
            let form = "client_id=7001234-OSRV900001&client_secret=simulator-secret\
                        &grant_type=client_credentials";
            let request = http::Request::post("/authentication/customer/7001234/token")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Bytes::from(form))
                .unwrap();
            let response = self.foreign_call(now, request)?;
            let body: serde_json::Value = serde_json::from_slice(response.body()).ok()?;
            let token = body["access_token"].as_str()?.to_owned();
            Some((now + HOUR - MINUTE, token))
        });
        let Some((until, token)) = token else { return };
        let request = http::Request::get("/credential-management/customer/7001234/sdk-version")
            .header("authorization", format!("Bearer {token}"))
            .header("application-id", "HID-EXAMPLE-FOREIGNER")
            .body(Bytes::new())
            .unwrap();
        let answered = self.foreign_call(now, request);
        let refused = answered.is_some_and(|response| response.status() == 403);
        self.foreign_refused += usize::from(refused);
        self.token = Some((until, token));
    }

    fn foreign_call(
        &mut self,
        now: i64,
        request: http::Request<Bytes>,
    ) -> Option<http::Response<Bytes>> {
        let mut hid = self.hid.lock().unwrap();
        let reply = hid.handle(now, request);
        self.foreign
            .extend(hid.ledger().requests().last().map(|request| request.no));
        match reply {
            Reply::Answer(response) => Some(response),
            Reply::Reset | Reply::Hang => None,
        }
    }
}

async fn wish(engine: &Engine, who: usize, wishes: Vec<Wish>) {
    let done = engine.wish(identity(who), "week", |_| Ok::<_, ()>(wishes.clone()));
    done.await.unwrap();
}

/// When people arrive: on the first morning four of ten at once, beside the foreigner; the others in three bursts on
/// each of the days that follow, or in two on a single day, most of them in the last.
fn arrivals(people: usize, days: i64) -> Vec<i64> {
    let burst = |day: i64, hour: i64, part: usize| {
        std::iter::repeat_n(START + day * DAY + hour, people * part / 1000)
    };
    let (noon, afternoon) = (12 * HOUR + 50 * MINUTE, 16 * HOUR);
    let mut arrivals: Vec<i64> = burst(0, 8 * HOUR, 400).collect();
    if days == 1 {
        arrivals.extend(burst(0, noon, 100));
    }
    let each = 200 / usize::try_from(days - 1).unwrap().max(1);
    for day in 1..days {
        arrivals.extend(burst(day, 8 * HOUR, each));
        arrivals.extend(burst(day, noon, each));
        arrivals.extend(burst(day, afternoon, each));
    }
    arrivals.resize(people, START + (days - 1) * DAY + afternoon);
    arrivals
}
