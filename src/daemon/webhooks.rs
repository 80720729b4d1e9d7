//! The loop of webhooks: claims and delivers, and forgets old events and client sessions.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::loops::{STORE_PAUSE, TURN_BOUND, rest, store_failed};
use crate::config::Config;
use crate::core::Timestamp;
use crate::engine::Engine;
use crate::lifecycle::{Beat, Lifecycle};
use crate::store;
use crate::webhook::target::Sender;
use crate::webhook::{self, Courier};

/// What is old is forgotten this often, a batch at a time.
const PRUNE_EVERY: Duration = Duration::from_mins(5);

/// Who carries webhooks.
pub(super) fn courier(engine: &Arc<Engine>, config: &Config) -> anyhow::Result<Courier> {
    let sender = Sender::new(config.webhooks.allow_private, config.http.ca.as_deref())
        .context("preparing the HTTP client of webhooks")?;
    Ok(Courier::new(
        Arc::clone(engine),
        config.workspace_id,
        sender,
    ))
}

/// Starts the loop of webhooks.
pub(super) fn spawn(lifecycle: &Lifecycle, engine: &Arc<Engine>, courier: Courier) {
    let beat = lifecycle.beat("webhooks", TURN_BOUND);
    let turning = carry(
        Arc::new(courier),
        Arc::clone(engine),
        beat,
        lifecycle.soft(),
    );
    lifecycle.spawn("webhooks", turning);
}

/// Delivers while it may, and forgets what is old now and then. What is under way ends by its time-out.
async fn carry(courier: Arc<Courier>, engine: Arc<Engine>, beat: Beat, soft: CancellationToken) {
    let mut commits = engine.commits();
    let mut jobs = JoinSet::new();
    let mut prune_at = engine.now();
    while !soft.is_cancelled() {
        beat.turn();
        commits.mark_unchanged();
        let turned = turn(&courier, &engine, &mut jobs, &mut prune_at).await;
        let until = turned.unwrap_or_else(|error| {
            store_failed(&error);
            Some(engine.now().plus(STORE_PAUSE))
        });
        tokio::select! {
            () = rest(&engine, until, Some(&mut commits), &beat, &soft) => {}
            Some(_) = jobs.join_next() => {}
        }
    }
    while jobs.join_next().await.is_some() {
        beat.turn();
    }
}

/// Starts what is due; returns when more will be.
async fn turn(
    courier: &Arc<Courier>,
    engine: &Engine,
    jobs: &mut JoinSet<()>,
    prune_at: &mut Timestamp,
) -> Result<Option<Timestamp>, store::Error> {
    let now = engine.now();
    if now >= *prune_at {
        *prune_at = now.plus(PRUNE_EVERY);
        let kept = i64::try_from(webhook::RETENTION.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(now.0.saturating_sub(kept));
        engine.store().prune(before).await?;
    }
    loop {
        match courier.next().await? {
            webhook::Next::Wait(until) => return Ok(until),
            webhook::Next::Deliver(deliveries) => {
                for delivery in deliveries {
                    let courier = Arc::clone(courier);
                    jobs.spawn(async move {
                        if let Err(error) = courier.deliver(&delivery).await {
                            store_failed(&error);
                        }
                    });
                }
            }
        }
    }
}
