//! A manager that refuses our credentials for hours, and takes us back.

use std::time::Duration;

use origo_adapter::worker::Next;

use super::{Line, Rig};
use crate::support::alerts::raises;
use crate::support::lines::Lines;

/// Works for so long; when calls were tried, in seconds from now.
async fn tried(rig: &mut Rig, during: Duration) -> Vec<i64> {
    let (begun, end) = (rig.now(), rig.now().plus(during));
    let mut tried = Vec::new();
    while rig.now() < end {
        match rig.worker.next().await.unwrap() {
            Next::Job(job) => {
                tried.push((rig.now().0 - begun.0) / 1000);
                rig.perform(job).await;
            }
            Next::Wait(until) => {
                let until = until.unwrap_or(end).min(end);
                rig.pass(until.since(rig.now()).max(Duration::from_millis(1)));
            }
        }
    }
    tried
}

#[tokio::test]
async fn who_refuses_us_for_hours_is_rarely_asked_and_at_once_when_a_person_says_so() {
    let lines = Lines::listen();
    let told = |event| lines.told(event).len();
    let mut rig = Rig::new(|_| ());
    rig.launch(1).await;
    rig.line(Line::Locked);
    let first = tried(&mut rig, Duration::from_mins(29)).await;
    assert!(first.len() > 25, "{first:?}");
    assert_eq!(rig.manager.quarantined_at(), None);
    assert_eq!(told("service.paused"), 1);
    assert_eq!(told("manager.quarantined"), 0);
    tried(&mut rig, Duration::from_mins(2)).await;
    assert!(rig.manager.quarantined_at().is_some());
    let later = tried(&mut rig, Duration::from_hours(2)).await;
    assert!((7..=9).contains(&later.len()), "{later:?}");
    let apart = later.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(apart.clone().all(|pause| pause >= 900), "{later:?}");
    let notice = lines.told("manager.quarantined");
    assert_eq!(notice.len(), 1, "a person is told once");
    assert_eq!(notice[0]["level"], "ERROR");
    assert_eq!(notice[0]["manager.name"], "hq");
    raises("OrigoManagerQuarantined", &notice[0]);
    assert_eq!(told("manager.taken_back"), 0);

    rig.line(Line::Good);
    let waits = rig.waits().await.unwrap();
    assert!(waits > rig.now());
    rig.manager.probe().await;
    assert_eq!(rig.works().await, "create_user");
    assert_eq!(
        rig.manager.quarantined_at(),
        None,
        "the first success ends it"
    );
    assert_eq!(told("manager.taken_back"), 1);
}
