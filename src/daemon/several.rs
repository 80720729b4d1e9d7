//! What daemons on one database do because there are several: they agree on the time, take turns at reading a credential
//! manager's feed and stock, and tell each other when one has committed, and what a callback told.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::loops::{TURN_BOUND, look, sleep_with_others, store_failed};
use crate::clock::{Agreed, Clock};
use crate::core::ids::Timestamp;
use crate::emit;
use crate::engine::Engine;
use crate::lifecycle::{Beat, Lifecycle};
use crate::manager::Manager;
use crate::store::Error;
use crate::store::postgres::{CommonTime, HostTime, News, Offsets, Postgres};
use crate::telemetry::CLOCK_OFF;

/// How often the daemons compare their clocks.
const COMPARED_EVERY: Duration = Duration::from_secs(10);
/// A host's clock that is further off is told of (contract.md section 9: a second daemon).
const FAR_OFF: Duration = Duration::from_secs(30);
/// So long a daemon reads a manager's feed and stock without saying so again; it says so when half of it is over.
const READING: Duration = Duration::from_mins(1);
/// Who heard nothing for so long listens anew: the connection may be lost without a word.
const LISTENED_ANEW: Duration = Duration::from_mins(2);
/// However much a daemon commits, it tells the others no more often than this.
const TOLD_APART: Duration = Duration::from_secs(1);

/// A clock that agrees with the other daemons', and what keeps it so.
pub(super) struct Common {
    time: CommonTime,
    clock: Arc<Agreed>,
    host: Arc<dyn Clock>,
    is_told: bool,
}

/// The clock for this daemon: the host's own, where it is the only one.
pub(super) async fn agree(
    database: Option<&Postgres>,
    host: &Arc<dyn Clock>,
) -> Result<(Option<Common>, Arc<dyn Clock>), Error> {
    let Some(database) = database else {
        return Ok((None, Arc::clone(host)));
    };
    let name = crate::store::Store::head(database).await?.database;
    let mut common = Common {
        time: CommonTime::of(database),
        clock: Arc::new(Agreed::on(Arc::clone(host), name)),
        host: Arc::clone(host),
        is_told: false,
    };
    common.compare().await?;
    let clock = Arc::clone(&common.clock) as Arc<dyn Clock>;
    Ok((Some(common), clock))
}

impl Common {
    async fn compare(&mut self) -> Result<(), Error> {
        let host = Arc::clone(&self.host);
        let tells = move || HostTime {
            now: Timestamp(host.now()),
            boottime: host.boottime(),
        };
        let Offsets { wall, boot, behind } = self.time.agree(tells).await?;
        self.clock.set(wall, boot);
        let is_far = Duration::from_millis(behind.unsigned_abs()) > FAR_OFF;
        if is_far && !self.is_told {
            emit!(CLOCK_OFF, clock.off_ms = behind;
                "the clock of this host is {} s off the database's, whose time is used instead", behind / 1000);
        }
        self.is_told = is_far;
        Ok(())
    }

    /// Compares now and then.
    pub(super) fn spawn(mut self, lifecycle: &Lifecycle) {
        let beat = lifecycle.beat("common time", TURN_BOUND);
        let soft = lifecycle.soft();
        lifecycle.spawn("common time", async move {
            while !soft.is_cancelled() {
                sleep_with_others(COMPARED_EVERY, &beat, &soft).await;
                if let Err(error) = self.compare().await {
                    store_failed(&error);
                }
            }
        });
    }
}

/// Has this daemon read the manager's feed and stock, unless another one does.
pub(super) async fn read(engine: &Engine, manager: &Manager) -> Result<(), Error> {
    manager.reading.set(Duration::ZERO);
    claim(engine, manager, READING).await
}

/// Has it read them again and again while no other one does; else what a callback tells it is passed on.
pub(super) fn read_in_turn(
    lifecycle: &Lifecycle,
    database: &Postgres,
    engine: &Arc<Engine>,
    manager: &Arc<Manager>,
) {
    let name = format!("reader {}", manager.name);
    let beat = lifecycle.beat(&name, TURN_BOUND);
    let reading = take_turns(
        database.clone(),
        Arc::clone(engine),
        Arc::clone(manager),
        beat,
        lifecycle.soft(),
    );
    lifecycle.spawn(&name, reading);
}

async fn take_turns(
    database: Postgres,
    engine: Arc<Engine>,
    manager: Arc<Manager>,
    beat: Beat,
    soft: CancellationToken,
) {
    while !soft.is_cancelled() {
        beat.turn();
        let left = manager.reading.left(engine.clock().boottime());
        if left <= READING / 2
            && let Err(error) = claim(&engine, &manager, READING).await
        {
            store_failed(&error);
        }
        let reads = manager.reading.is_ours(engine.clock().boottime());
        tokio::select! {
            () = look(&beat) => {}
            () = soft.cancelled() => {}
            () = manager.hint.notified(), if !reads => {
                if let Err(error) = database.tell(News::Feed(manager.id)).await {
                    store_failed(&error);
                }
            }
        }
    }
    if manager.reading.is_ours(engine.clock().boottime())
        && let Err(error) = claim(&engine, &manager, Duration::ZERO).await
    {
        store_failed(&error);
    }
}

/// For so long from now on, if nobody else has it. Who does not read knows what the one who does has found.
async fn claim(engine: &Engine, manager: &Manager, lease: Duration) -> Result<(), Error> {
    let (store, id) = (engine.store(), manager.id);
    let boottime = engine.clock().boottime();
    let now = engine.window_now().await?;
    if store.claim_reading(id, now, now.plus(lease)).await? {
        manager.reading.set(boottime + lease);
        return Ok(());
    }
    manager.reading.set(Duration::ZERO);
    if let Some(feed) = store.load_feed(id).await? {
        manager.progress.set(feed.cursor, feed.gaps);
        manager.echo.start_over(feed.deaf);
    }
    manager
        .stock
        .set(store.load_stock(id).await?.unwrap_or_default());
    Ok(())
}

/// Takes in what other daemons tell.
pub(super) fn spawn_news(
    lifecycle: &Lifecycle,
    database: &Postgres,
    engine: &Arc<Engine>,
    managers: Vec<Arc<Manager>>,
) {
    let (database, engine, soft) = (database.clone(), Arc::clone(engine), lifecycle.soft());
    lifecycle.spawn("news", async move {
        let hearing = async {
            loop {
                let Err(error) = hear(&database, &engine, &managers).await;
                store_failed(&error);
                tokio::time::sleep(COMPARED_EVERY).await;
            }
        };
        soft.run_until_cancelled(hearing).await;
    });
}

async fn hear(
    database: &Postgres,
    engine: &Engine,
    managers: &[Arc<Manager>],
) -> Result<Infallible, Error> {
    let mut told = database.listen().await?;
    // Nobody has heard what was told before.
    engine.others_committed();
    loop {
        let Ok(news) = tokio::time::timeout(LISTENED_ANEW, told.next()).await else {
            told = database.listen().await?;
            engine.others_committed();
            continue;
        };
        match news? {
            News::Committed => engine.others_committed(),
            News::Feed(id) => {
                let boottime = engine.clock().boottime();
                let mut readers = managers
                    .iter()
                    .filter(|manager| manager.id == id && manager.reading.is_ours(boottime));
                if let Some(manager) = readers.next() {
                    manager.hint.notify_one();
                }
            }
        }
    }
}

/// Tells other daemons that something may have become due, which whoever is free may do: all that this one does at once
/// is too much for it, or it is cut off from HID, or about to die.
pub(super) fn spawn_telling(lifecycle: &Lifecycle, database: &Postgres, engine: &Arc<Engine>) {
    let (database, engine, soft) = (database.clone(), Arc::clone(engine), lifecycle.soft());
    lifecycle.spawn("telling", async move {
        let mut commits = engine.commits();
        let telling = async {
            let mut told = 0;
            // The engine lives as long as this.
            while let Ok(ours) = commits
                .wait_for(|ours| *ours != told)
                .await
                .map(|ours| *ours)
            {
                told = ours;
                if let Err(error) = database.tell(News::Committed).await {
                    store_failed(&error);
                }
                tokio::time::sleep(TOLD_APART).await;
            }
        };
        soft.run_until_cancelled(telling).await;
    });
}
