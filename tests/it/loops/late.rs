//! Withdrawals that do not come through are told of, whatever is in their way (contract.md section 7).

use std::time::Duration;

use origo_adapter::core::Class;
use origo_adapter::core::wish::Wish;
use origo_adapter::daemon::late::{self, Side};
use origo_adapter::worker::Next;

use super::{Line, Rig, person};
use crate::support::alerts::raises;
use crate::support::lines::Lines;
use crate::support::scene;

const MINUTE: Duration = Duration::from_mins(1);

/// Does what is due for so long.
async fn work(rig: &mut Rig, during: Duration) {
    let end = rig.now().plus(during);
    while rig.now() < end {
        match rig.worker.next().await.unwrap() {
            Next::Job(job) => rig.perform(job).await,
            Next::Wait(until) => {
                let until = until.unwrap_or(end).min(end);
                rig.pass(until.since(rig.now()).max(Duration::from_millis(1)));
            }
        }
    }
}

fn sides() -> [Side; 1] {
    [Side {
        name: "hq".to_owned(),
        id: scene::manager(),
        class: Class::Withdrawal,
    }]
}

/// After how many minutes it was first told, if it is within half an hour.
async fn told_after(rig: &mut Rig, lines: &Lines) -> Option<u64> {
    for minute in 1..=30 {
        work(rig, MINUTE).await;
        late::tell(&rig.engine, &sides()).await.unwrap();
        if !lines.told("withdrawal.late").is_empty() {
            return Some(minute);
        }
    }
    None
}

#[tokio::test]
async fn a_withdrawal_that_does_not_come_through_is_told_after_a_quarter_of_an_hour() {
    // Nobody answers; answers get lost; HID says that it can't be.
    for (name, line) in [
        ("down", Line::Down),
        ("silent", Line::Silent),
        ("in use", Line::InUse),
    ] {
        let lines = Lines::listen();
        let mut rig = Rig::new(|manager| manager.sweep_share = 0.0);
        rig.launch(1).await;
        assert_eq!(rig.works().await, "create_user");
        rig.line(line);
        rig.wish(1, &[Wish::DeleteIdentity]).await;
        let after = told_after(&mut rig, &lines).await;
        assert!(matches!(after, Some(15 | 16)), "{name}: {after:?}");
        let told = lines.told("withdrawal.late").remove(0);
        assert_eq!(told["level"], "ERROR");
        raises("OrigoWithdrawalLate", &told);
        assert_eq!(told["system.name"], "hq");
        assert_eq!(told["identity.id"], person(1).to_string());

        // Once it came through nobody is told any more.
        rig.line(Line::Good);
        work(&mut rig, Duration::from_hours(2)).await;
        let before = lines.told("withdrawal.late").len();
        late::tell(&rig.engine, &sides()).await.unwrap();
        assert_eq!(lines.told("withdrawal.late").len(), before, "{name}");
    }
}

#[tokio::test]
async fn what_waits_for_its_time_is_not_late() {
    let lines = Lines::listen();
    let mut rig = Rig::new(|manager| manager.sweep_share = 0.0);
    rig.launch(1).await;
    assert_eq!(rig.works().await, "create_user");
    rig.line(Line::Down);
    work(&mut rig, Duration::from_mins(40)).await;
    late::tell(&rig.engine, &sides()).await.unwrap();
    assert!(
        lines.told("withdrawal.late").is_empty(),
        "nothing is withdrawn"
    );
    rig.line(Line::Good);
    work(&mut rig, MINUTE * 2).await;
    rig.wish(1, &[Wish::DeleteIdentity]).await;
    work(&mut rig, MINUTE).await;
    late::tell(&rig.engine, &sides()).await.unwrap();
    assert!(lines.told("withdrawal.late").is_empty(), "it came through");
}
