//! A worker under a hold: it rests, and lets go on what goes on.

use origo_adapter::core::hold::{HoldReason, HoldScope};
use origo_adapter::core::wish::Wish;
use origo_adapter::simulator::Fault;

use super::{Rig, automation};
use crate::support::scene;

fn here() -> HoldScope {
    HoldScope::Manager(scene::manager())
}

async fn hold(rig: &Rig, scope: HoldScope) {
    let held = rig.engine.hold(scope, HoldReason::Operator, "ops");
    held.await.unwrap();
}

#[tokio::test]
async fn what_is_held_waits_and_goes_in_its_order_once_released() {
    for scope in [HoldScope::All, here()] {
        let mut rig = Rig::new(|_| ());
        hold(&rig, scope.clone()).await;
        for n in 1..=3 {
            rig.launch(n).await;
            rig.pass(std::time::Duration::from_secs(1));
        }
        assert_eq!(
            rig.waits().await,
            None,
            "it rests until something is committed"
        );
        assert_eq!(rig.requests(), 0);
        let mut commits = rig.engine.commits();
        commits.mark_unchanged();
        rig.engine.release(scope, "ops").await.unwrap();
        assert!(commits.has_changed().unwrap(), "whoever rests is woken");
        for n in 1..=3 {
            let job = rig.job().await;
            assert_eq!(job.identity, super::person(n));
            rig.perform(job).await;
        }
    }
}

#[tokio::test]
async fn what_was_fetched_before_the_hold_is_held_as_well() {
    let mut rig = Rig::new(|_| ());
    for n in 1..=3 {
        rig.launch(n).await;
    }
    assert_eq!(rig.works().await, "create_user");
    hold(&rig, here()).await;
    let wait = rig.waits().await;
    assert!(wait.is_none_or(|until| until > rig.now()), "{wait:?}");
    rig.engine.release(here(), "ops").await.unwrap();
    assert_eq!(rig.works().await, "create_user");
}

#[tokio::test]
async fn an_unknown_outcome_is_read_and_a_withdrawal_made_under_a_hold() {
    let mut rig = Rig::new(|_| ());
    rig.launch(1).await;
    rig.launch(2).await;
    rig.breaks_next(Fault::LostReply);
    assert_eq!(rig.works().await, "create_user");
    assert_eq!(rig.works().await, "create_user");
    hold(&rig, HoldScope::All).await;
    rig.pass(std::time::Duration::from_mins(4));
    rig.launch(3).await;
    assert_eq!(rig.works().await, "search_user");
    rig.wish(2, &[Wish::DeleteAutomation(automation(2))]).await;
    assert_eq!(rig.works().await, "cancel_invitation");
    let mut others = Vec::new();
    while let origo_adapter::worker::Next::Job(job) = rig.worker.next().await.unwrap() {
        others.push(origo_adapter::core::Effect::name(job.effect()));
        rig.perform(job).await;
    }
    assert!(!others.contains(&"create_user"), "{others:?}");
}

#[tokio::test]
async fn a_hold_is_there_after_a_restart() {
    let rig = Rig::new(|_| ());
    hold(&rig, here()).await;
    let holds = rig.sqlite.reopened().unwrap();
    let holds = origo_adapter::store::Store::holds(&holds).await.unwrap();
    assert_eq!(holds.len(), 1);
    assert_eq!(
        (holds[0].scope.clone(), holds[0].cause.as_str()),
        (here(), "ops")
    );
}
