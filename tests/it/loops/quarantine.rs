//! A manager that refuses our credentials for hours, and takes us back.

use std::time::Duration;

use origo_adapter::worker::Next;

use super::{Line, Rig};

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
    let mut rig = Rig::new(|_| ());
    rig.launch(1).await;
    rig.line(Line::Locked);
    let first = tried(&mut rig, Duration::from_mins(29)).await;
    assert!(first.len() > 25, "{first:?}");
    assert_eq!(rig.manager.quarantined_at(), None);
    tried(&mut rig, Duration::from_mins(2)).await;
    assert!(rig.manager.quarantined_at().is_some());
    let later = tried(&mut rig, Duration::from_hours(2)).await;
    assert!((7..=9).contains(&later.len()), "{later:?}");
    let apart = later.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(apart.clone().all(|pause| pause >= 900), "{later:?}");

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
}
