//! Reads what is left of each part number, and lets go of what waited for it.
//!
//! Imports core, store, origo, engine, budget, manager, gate and telemetry. Promises: at most 48 calls a day, restarts included, and
//! a reading more when HID says that nothing is left; what HID does not tell the number of is tried again now and then.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::clock::rfc3339;
use crate::core::Class;
use crate::core::hold::{HoldReason, HoldScope};
use crate::core::ids::{PartNumber, Timestamp};
use crate::core::stock::{Part, Stock};
use crate::emit;
use crate::engine::Engine;
use crate::manager::Manager;
use crate::origo::{self, License};
use crate::store::{Error, Grant, StandingHold};
use crate::telemetry::{STOCK_LOW, STOCK_REPLENISHED, STOCK_UNREAD};

/// After HID said that nothing is left, it is read again no sooner.
const AFTER_NONE: Duration = Duration::from_mins(5);
/// Where HID does not say how many are left, the next one in line tries after so long.
const PROBE: Duration = Duration::from_mins(30);
/// After a reading that failed.
const FAILED: Duration = Duration::from_mins(30);
/// Licences that are not in one of these states are told of.
const GOOD: [&str; 2] = ["GOOD_STANDING", "NORMAL"];

/// Looks after the stock of one credential manager.
pub struct Keeper {
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    stock: Stock,
    not_before: Timestamp,
}

/// A licence that is short, with HID's word for how.
fn shortage(license: License) -> Option<(String, String)> {
    let states = [license.license_state, license.period_state];
    let mut states = states.into_iter().flatten();
    let state = states.find(|state| !GOOD.contains(&state.as_str()))?;
    let name = license.name.or(license.part_number);
    Some((name.unwrap_or_default(), state))
}

/// Why nothing was read.
enum Unread {
    Store(Error),
    /// HID's window has no room before then.
    Full(Timestamp),
    Hid(Box<origo::Error>),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<origo::Error> for Unread {
    fn from(error: origo::Error) -> Self {
        Self::Hid(Box::new(error))
    }
}

impl Keeper {
    /// Goes on where the last one stood.
    pub async fn open(engine: Arc<Engine>, manager: Arc<Manager>) -> Result<Self, Error> {
        let mut keeper = Self {
            engine,
            manager,
            stock: Stock::default(),
            not_before: Timestamp(0),
        };
        keeper.go_on().await?;
        Ok(keeper)
    }

    /// Goes on where another daemon stopped.
    pub async fn go_on(&mut self) -> Result<(), Error> {
        let known = self.engine.store().load_stock(self.manager.id).await?;
        self.stock = known.unwrap_or_default();
        self.manager.stock.set(self.stock.clone());
        Ok(())
    }

    /// Does what is due; returns when to ask again, unless a part number runs out before.
    pub async fn turn(&mut self) -> Result<Timestamp, Error> {
        let now = self.engine.now();
        let out = self.out().await?;
        let unread_out = out.iter().any(|(_, hold)| {
            self.stock.read_at.is_none_or(|at| at < hold.since)
                && self
                    .stock
                    .read_at
                    .is_none_or(|at| now.since(at) >= AFTER_NONE)
        });
        let due = if unread_out { now } else { self.stock.due() };
        if due.max(self.not_before) > now {
            return Ok(due.max(self.not_before));
        }
        match self.read(now).await {
            Ok(()) => {
                let store = self.engine.store();
                store
                    .save_stock(self.manager.id, self.stock.clone())
                    .await?;
                self.manager.stock.set(self.stock.clone());
            }
            Err(Unread::Store(error)) => return Err(error),
            Err(Unread::Full(until)) => self.not_before = until,
            Err(Unread::Hid(error)) => {
                self.not_before = now.plus(FAILED);
                let name = &self.manager.name;
                emit!(STOCK_UNREAD, manager.name = %name, error = %error; "the stock of {name} can't be read: {error}");
            }
        }
        self.resume(out, now).await?;
        Ok(self.stock.due().max(self.not_before))
    }

    /// The part numbers of which HID said that none is left.
    async fn out(&self) -> Result<Vec<(PartNumber, StandingHold)>, Error> {
        let holds = self.engine.store().holds().await?.into_iter();
        let holds = holds.filter(|hold| hold.reason == HoldReason::OutOfStock);
        let mine = holds.filter_map(|hold| match hold.scope.clone() {
            HoldScope::Part(manager, part) if manager == self.manager.id => Some((part, hold)),
            HoldScope::Part(..) | HoldScope::Manager(_) | HoldScope::All => None,
        });
        Ok(mine.collect())
    }

    async fn read(&mut self, now: Timestamp) -> Result<(), Unread> {
        let client = &self.manager.client;
        self.place().await?;
        let ids = client.part_number_ids().await?;
        let mut seen = Vec::new();
        for id in &ids {
            self.place().await?;
            let part = client.part_number(id).await?;
            seen.push((part.part_number, part.available));
        }
        self.place().await?;
        // Not every account may read it, and only subscriptions have licences.
        if let Ok(organization) = client.organization().await {
            let licenses = organization.licenses.into_iter();
            self.stock.licenses = licenses.filter_map(shortage).collect();
        }
        let calls = u32::try_from(ids.len() + 2).unwrap_or(u32::MAX);
        self.stock.note(&seen, calls, now);
        self.tell();
        Ok(())
    }

    async fn place(&self) -> Result<(), Unread> {
        let at = self.engine.window_now().await?;
        let budget = &self.manager.mobile_identities;
        let slot = budget.slot(Uuid::new_v4(), Some(Class::Confirm), at);
        match self
            .engine
            .store()
            .take_slots(vec![slot], Vec::new())
            .await?
        {
            Grant::Taken => Ok(()),
            Grant::NotBefore(free) => Err(Unread::Full(self.engine.now().plus(free.since(at)))),
        }
    }

    /// Once, until it is better.
    fn tell(&mut self) {
        let name = &self.manager.name;
        for (number, part) in &mut self.stock.parts {
            let (low, available) = (part.is_low(), part.available().unwrap_or_default());
            if low && !part.told_low {
                let ends = part
                    .ends_at()
                    .map_or("unknown".to_owned(), |at| rfc3339(at.0));
                emit!(STOCK_LOW, manager.name = %name, part_number = %number, stock.available = available, stock.ends_at = %ends;
                    "{available} left of {number} at {name}; used up by {ends}");
            }
            part.told_low = low;
        }
    }

    /// What waited goes on, in the order in which it waited.
    async fn resume(
        &self,
        out: Vec<(PartNumber, StandingHold)>,
        now: Timestamp,
    ) -> Result<(), Error> {
        for (number, hold) in out {
            let part = self.stock.parts.get(&number);
            let fresh = self.stock.read_at.is_some_and(|at| at >= hold.since);
            let available = part.and_then(Part::available).filter(|_| fresh);
            let again = match available {
                Some(available) => available > 0,
                None => now.since(hold.since) >= PROBE,
            };
            if again {
                self.engine
                    .let_go(hold.scope, &[HoldReason::OutOfStock], "stock")
                    .await?;
                let name = &self.manager.name;
                emit!(STOCK_REPLENISHED, manager.name = %name, part_number = %number, stock.available = ?available;
                    "keys of {number} at {name} are issued again");
            }
        }
        Ok(())
    }
}
