//! How far the store came: compared with what was kept at start, kept while it runs, and what a store that went back
//! owes before it goes on (contract.md section 2, State that went back).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use super::loops::{STORE_PAUSE, TURN_BOUND, look, sleep, store_failed};
use super::opened::patiently;
use crate::core::identity::Identity;
use crate::core::ids::Timestamp;
use crate::core::index::Kind;
use crate::core::observation::Observation;
use crate::core::plan::regressed;
use crate::core::policy::Policy;
use crate::emit;
use crate::engine::Engine;
use crate::lifecycle::Lifecycle;
use crate::manager::Manager;
use crate::store::head::HeadFile;
use crate::store::postgres::{Over, Postgres};
use crate::store::{Error, ListQuery};
use crate::telemetry::{HEAD_FAILED, STORE_REGRESSED};

/// The head is kept this often, where something was committed.
const KEPT_EVERY: Duration = Duration::from_secs(3);
/// Whether all was read again is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// People looked at together.
const PAGE: u32 = 200;
/// Who is asked for what a store that went back owes.
const CAUSE: &str = "state_regressed";

/// Before anything is done: a store behind its head is marked, and one that is marked makes the engine wait for reads.
pub(super) async fn compare(engine: &Engine, file: &HeadFile) -> anyhow::Result<()> {
    let head = patiently(|| engine.store().head())
        .await
        .context("reading the head")?;
    let recorded = file.read().context("reading the head that was kept")?;
    let behind = recorded.filter(|recorded| recorded.is_ahead_of(&head));
    if let Some(recorded) = behind {
        let same = recorded.database == head.database;
        engine
            .regressed(engine.now(), "head")
            .await
            .context("marking the store")?;
        emit!(STORE_REGRESSED, commits = head.commits, commits.kept = recorded.commits, database.same = same;
            "the store is older than what was done: {} commits, {} were kept", head.commits, recorded.commits);
    } else if let Some(since) = head.regressed_at {
        engine.read_again(since);
        emit!(STORE_REGRESSED, commits = head.commits; "the store went back, and is not yet read again");
    }
    Ok(())
}

/// Keeps the head now.
pub(super) async fn keep(engine: &Engine, file: &HeadFile) {
    let head = match engine.store().head().await {
        Ok(head) => head,
        Err(error) => return store_failed(&error),
    };
    if let Err(error) = file.write(&head) {
        emit!(HEAD_FAILED, error = %error; "cannot keep how far the store came: {error}");
    }
}

/// Keeps the head now and then.
pub(super) fn spawn(lifecycle: &Lifecycle, engine: &Arc<Engine>, file: &HeadFile) {
    let (engine, soft, file) = (Arc::clone(engine), lifecycle.soft(), file.clone());
    let beat = lifecycle.beat("head", TURN_BOUND);
    lifecycle.spawn("head", async move {
        let mut commits = engine.commits();
        commits.mark_changed();
        while !soft.is_cancelled() {
            if commits.has_changed().unwrap_or(false) {
                commits.mark_unchanged();
                keep(&engine, &file).await;
                sleep(KEPT_EVERY, &beat, &soft).await;
            } else {
                tokio::select! {
                    // Looked at above.
                    Ok(()) = commits.changed() => commits.mark_changed(),
                    () = look(&beat) => beat.turn(),
                    () = soft.cancelled() => {}
                }
            }
        }
    });
}

/// A database that lost what it had acknowledged is marked, and the process ends, to begin anew: what it remembers is of
/// a database that is no more.
pub(super) fn spawn_failover(lifecycle: &Lifecycle, engine: &Arc<Engine>, database: Postgres) {
    let (engine, soft) = (Arc::clone(engine), lifecycle.soft());
    lifecycle.spawn("failover", async move {
        let over = tokio::select! {
            over = database.over() => over,
            () = soft.cancelled() => return,
        };
        if over == Over::Marked {
            emit!(STORE_REGRESSED; "another daemon found that the database lost acknowledged transactions; this one begins anew");
            return;
        }
        emit!(STORE_REGRESSED; "the database has lost transactions that it had acknowledged; the daemon begins anew");
        while let Err(error) = database.mark_regressed(engine.now(), "failover").await {
            store_failed(&error);
            tokio::time::sleep(STORE_PAUSE).await;
        }
    });
}

/// Reads again what a store that went back may have forgotten, and lets go of it when all is read.
pub(super) fn spawn_reading(
    lifecycle: &Lifecycle,
    engine: &Arc<Engine>,
    managers: Vec<Arc<Manager>>,
) {
    let Some(since) = engine.policy().regressed_at else {
        return;
    };
    let (engine, soft) = (Arc::clone(engine), lifecycle.soft());
    let beat = lifecycle.beat("reading again", TURN_BOUND);
    lifecycle.spawn("reading again", async move {
        let mut walk = Walk::default();
        let mut owed = false;
        while !soft.is_cancelled() {
            beat.turn();
            let turned = if owed {
                walk.is_over(&engine, &managers, since).await
            } else {
                walk.owe(&engine).await.map(|all| {
                    owed = all;
                    false
                })
            };
            match turned {
                Ok(true) => match engine.caught_up(CAUSE).await {
                    Ok(()) => break,
                    Err(error) => store_failed(&error),
                },
                Ok(false) if !owed => continue,
                Ok(false) => {}
                Err(error) => {
                    store_failed(&error);
                    sleep(STORE_PAUSE, &beat, &soft).await;
                }
            }
            sleep(LOOK_EVERY, &beat, &soft).await;
        }
        drop(beat);
        soft.cancelled().await;
    });
}

/// A walk through everybody, page by page.
#[derive(Default)]
struct Walk {
    /// The last of the page before; `None`: at the beginning.
    after: Option<(Timestamp, String)>,
}

impl Walk {
    /// Makes the reads of a page of people owed; `true` when all were walked through.
    async fn owe(&mut self, engine: &Engine) -> Result<bool, Error> {
        let policy = engine.policy();
        let (page, last) = self.page(engine).await?;
        for identity in page.iter().filter(|identity| is_unread(&policy, identity)) {
            engine
                .observe(identity.id, &Observation::Woken, CAUSE)
                .await?;
        }
        self.after = last;
        Ok(self.after.is_none())
    }

    /// Nobody is left to be read, and every feed was read up to when the state went back. Who was read stays read, so
    /// a look goes on where the last one ended, and once more through all of them at the end.
    async fn is_over(
        &mut self,
        engine: &Engine,
        managers: &[Arc<Manager>],
        since: Timestamp,
    ) -> Result<bool, Error> {
        let told =
            |manager: &Arc<Manager>| manager.polling.is_none() || manager.progress.get().0 >= since;
        if !managers.iter().all(told) {
            return Ok(false);
        }
        let policy = engine.policy();
        let mut from_the_beginning = self.after.is_none();
        loop {
            let (page, last) = self.page(engine).await?;
            if page.iter().any(|identity| is_unread(&policy, identity)) {
                return Ok(false);
            }
            self.after = last;
            if self.after.is_none() {
                if from_the_beginning {
                    return Ok(true);
                }
                from_the_beginning = true;
            }
        }
    }

    /// The people after the last page, and where the next begins; `None`: there is none.
    async fn page(
        &self,
        engine: &Engine,
    ) -> Result<(Vec<Identity>, Option<(Timestamp, String)>), Error> {
        let query = ListQuery {
            kinds: vec![Kind::Identity],
            after: self.after.clone(),
            limit: PAGE,
            ..ListQuery::default()
        };
        let rows = engine.store().list(query).await?;
        let last = rows.last().map(|(row, _)| (row.created_at, row.id.clone()));
        let is_full = u32::try_from(rows.len()).is_ok_and(|rows| rows == PAGE);
        let people = rows.into_iter().map(|(_, loaded)| loaded.identity);
        Ok((people.collect(), last.filter(|_| is_full)))
    }
}

/// At a manager that is configured: of others nothing is asked.
fn is_unread(policy: &Policy, identity: &Identity) -> bool {
    let mut enrollments = identity.enrollments.iter();
    enrollments.any(|(manager, enrollment)| {
        policy.managers.contains_key(manager) && regressed::is_unread(policy, enrollment)
    })
}
