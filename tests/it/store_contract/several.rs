//! Several daemons on one `PostgreSQL` database: what they have in common, and what one tells the others.

use std::sync::Mutex;
use std::time::Duration;

use origo_adapter::core::ids::{AcsSystemId, Timestamp};
use origo_adapter::store::Store as _;
use origo_adapter::store::postgres::{CommonTime, HostTime, News, Offsets, Over, Postgres};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use super::postgres::until;
use super::samples::{at, commit};
use crate::support::cluster::Database;

const MANAGER: AcsSystemId = AcsSystemId(Uuid::from_u128(77));

/// A daemon with a host whose clocks are what they are.
struct Daemon {
    time: CommonTime,
    began: Instant,
    /// Milliseconds that the wall clock and the time since boot are moved by.
    moved: Mutex<(i64, u64)>,
    offsets: Offsets,
    /// So long it took to agree, at the longest.
    took: Duration,
}

impl Daemon {
    async fn join(database: &Database, wall: i64, boot: u64) -> Self {
        let store = Postgres::join(&database.settings()).await.unwrap();
        let mut daemon = Self {
            time: CommonTime::of(&store),
            began: Instant::now(),
            moved: Mutex::new((wall, boot)),
            offsets: Offsets::default(),
            took: Duration::ZERO,
        };
        daemon.agree().await;
        daemon
    }

    fn host(&self) -> HostTime {
        host(self.began, &self.moved)
    }

    fn passes(&self, ms: u64) {
        self.moved.lock().unwrap().1 += ms;
    }

    async fn agree(&mut self) {
        let (began, moved) = (self.began, &self.moved);
        let asked = Instant::now();
        self.offsets = self.time.agree(|| host(began, moved)).await.unwrap();
        self.took = self.took.max(asked.elapsed());
    }

    fn now(&self) -> i64 {
        ms(self.host().boottime) + self.offsets.wall
    }

    fn boottime(&self) -> i64 {
        ms(self.host().boottime) + self.offsets.boot
    }
}

fn host(began: Instant, moved: &Mutex<(i64, u64)>) -> HostTime {
    let (wall, boot) = *moved.lock().unwrap();
    let since = began.elapsed();
    HostTime {
        now: Timestamp(wall + ms(since)),
        boottime: since + Duration::from_millis(boot),
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap()
}

/// As far as can be told by asking, which takes its time on a machine with much else to do.
fn assert_same_time(one: &Daemon, other: &Daemon) {
    let (bare, began) = ((one.now(), one.boottime()), Instant::now());
    let (now, boot) = (other.now() - bare.0, other.boottime() - bare.1);
    let passed = ms(began.elapsed() + one.took + other.took);
    let most = 100 + passed;
    assert!(now.abs() <= most && boot.abs() <= most, "{now}, {boot}");
}

/// It has gone on from what it was then.
fn assert_went_on(daemon: &Daemon, (before, then): (i64, Instant)) {
    let off = daemon.boottime() - before - ms(then.elapsed());
    assert!(off.abs() <= 100 + 2 * ms(daemon.took), "{off}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_agree_on_the_time_whatever_their_clocks_say() {
    let Some(database) = Database::new() else {
        return;
    };
    let first = Daemon::join(&database, 0, 5_000_000).await;
    let second = Daemon::join(&database, 1_900_000_000_000, 17).await;
    assert_same_time(&first, &second);
    // Nobody else is there any more: time goes on.
    drop((first, second));
    let third = Daemon::join(&database, -5, 70_000).await;
    let again = Daemon::join(&database, 99, 1).await;
    assert_same_time(&third, &again);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_behind_catches_up_slowly_and_nobody_goes_back() {
    let Some(database) = Database::new() else {
        return;
    };
    let mut first = Daemon::join(&database, 0, 0).await;
    let mut second = Daemon::join(&database, 0, 50_000_000).await;
    let before = (first.offsets.boot, second.offsets.boot);
    first.passes(100_000);
    second.passes(95_000);
    first.agree().await;
    second.agree().await;
    assert_eq!(first.offsets.boot, before.0, "it is ahead");
    let caught_up = second.offsets.boot - before.1;
    assert!((95..=100).contains(&caught_up), "{caught_up} of 95 s");
    // It did not drift: it stood still.
    first.agree().await;
    second.agree().await;
    assert_same_time(&first, &second);
    // Nearer than what is mismeasured, nobody moves.
    first.passes(50);
    first.agree().await;
    let before = second.offsets.boot;
    second.agree().await;
    assert_eq!(second.offsets.boot, before);
}

/// The database's clock was set forward: what others told before that says nothing, and moves nobody far.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_before_the_last_compare_moves_nobody() {
    let Some(database) = Database::new() else {
        return;
    };
    let first = Daemon::join(&database, 0, 0).await;
    let mut second = Daemon::join(&database, 0, 50_000_000).await;
    second.agree().await;
    let before = second.offsets.boot;
    database
        .raw(
            "UPDATE members SET ahead = ahead + 3600000,
                heard_at = floor(extract(epoch FROM clock_timestamp()) * 1000)",
        )
        .await;
    for _ in 0..3 {
        second.agree().await;
    }
    let moved = second.offsets.boot - before;
    assert!((0..=100).contains(&moved), "{moved}");
    assert_same_time(&first, &second);
}

/// One that comes when nobody is there any more begins where the last one was, however far that was from the database.
#[tokio::test(flavor = "multi_thread")]
async fn the_common_time_outlives_whoever_keeps_it() {
    let Some(database) = Database::new() else {
        return;
    };
    let mut first = Daemon::join(&database, 0, 5_000).await;
    first.passes(3_600_000);
    first.agree().await;
    let before = (first.boottime(), Instant::now());
    drop(first);
    database
        .raw("UPDATE members SET heard_at = heard_at - 3600000")
        .await;
    let second = Daemon::join(&database, 0, 900_000).await;
    assert_went_on(&second, before);
    // Whoever was not heard of for a day is forgotten.
    let told = "SELECT count(*) FROM members";
    let mut conn = database.connect().await;
    assert_eq!(conn.fetch_one(told).await.unwrap().get::<i64, _>(0), 2);
    database
        .raw("UPDATE members SET heard_at = heard_at - 86400000")
        .await;
    let third = Daemon::join(&database, 0, 3).await;
    assert_went_on(&third, before);
    assert_eq!(conn.fetch_one(told).await.unwrap().get::<i64, _>(0), 1);
}

/// An answer was given in the middle of the time that it took; the quickest of a few tells most.
#[tokio::test(flavor = "multi_thread")]
async fn the_quickest_answer_is_believed_and_half_of_its_time() {
    let Some(database) = Database::new() else {
        return;
    };
    let store = Postgres::join(&database.settings()).await.unwrap();
    // Seconds that each question takes by this host's clocks, which stand still between them.
    let took = [3_000, 1_000, 2_000, 4_000, 5_000];
    let looks = Mutex::new(0);
    let began = Instant::now();
    let slow = || {
        let mut looks = looks.lock().unwrap();
        let past: u64 = took.iter().take(*looks / 2 + *looks % 2).sum();
        *looks += 1;
        HostTime {
            now: Timestamp(ms(began.elapsed()) + ms(Duration::from_millis(past))),
            boottime: began.elapsed() + Duration::from_millis(past),
        }
    };
    let mut time = CommonTime::of(&store);
    let asked = Instant::now();
    let offsets = time.agree(slow).await.unwrap();
    let asked = asked.elapsed();
    let there = Daemon::join(&database, 0, 0).await;
    let since = ms(began.elapsed());
    // Before the second question three seconds had passed by these clocks, and half a second until its answer.
    let expected = there.now() - since - 3_500;
    let most = 100 + ms(asked + there.took);
    let off = offsets.wall - expected;
    assert!(off.abs() <= most, "{off}");
    // What it tells others is the least that it may be: half a second less.
    let off = offsets.boot - offsets.wall - there.boottime() + there.now() - 500;
    assert!(off.abs() <= most, "{off}");
}

/// The database's clock only serves to compare: all are as far from it as before.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_in_takes_the_time_of_those_who_are_there() {
    let Some(database) = Database::new() else {
        return;
    };
    let mut first = Daemon::join(&database, 0, 0).await;
    first.passes(7_200_000);
    first.agree().await;
    let second = Daemon::join(&database, 0, 0).await;
    assert_same_time(&first, &second);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_daemon_reads_while_its_lease_lasts() {
    let Some(database) = Database::new() else {
        return;
    };
    let first = Postgres::join(&database.settings()).await.unwrap();
    let second = Postgres::join(&database.settings()).await.unwrap();
    let claim = async |store: &Postgres, now: i64, until: i64| {
        let claimed = store.claim_reading(MANAGER, at(now), at(until));
        claimed.await.unwrap()
    };
    assert!(claim(&first, 0, 60).await);
    assert!(!claim(&second, 59, 100).await);
    assert!(claim(&first, 59, 90).await, "it goes on");
    assert!(!claim(&second, 60, 100).await);
    assert!(claim(&second, 90, 120).await, "its time is over");
    assert!(!claim(&first, 91, 200).await);
    assert!(claim(&second, 100, 100).await, "it gives it back");
    assert!(claim(&first, 100, 160).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_tells_all_hear() {
    let Some(database) = Database::new() else {
        return;
    };
    let first = Postgres::join(&database.settings()).await.unwrap();
    let second = Postgres::join(&database.settings()).await.unwrap();
    let mut ears = [
        first.listen().await.unwrap(),
        second.listen().await.unwrap(),
    ];
    database
        .raw("NOTIFY origo_adapter, 'what only a newer version tells'")
        .await;
    second.tell(News::Feed(MANAGER)).await.unwrap();
    first.tell(News::Committed).await.unwrap();
    for listener in &mut ears {
        assert_eq!(listener.next().await.unwrap(), News::Feed(MANAGER));
        assert_eq!(listener.next().await.unwrap(), News::Committed);
    }
}

/// Whoever did not see what was lost begins anew as well, once another one has marked it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_one_ends_the_others() {
    let Some(database) = Database::new() else {
        return;
    };
    let first = Postgres::join(&database.settings()).await.unwrap();
    let mut other = Daemon::join(&database, 0, 0).await;
    other.agree().await;
    first.regress(Some(at(7)), "head".into()).await.unwrap();
    CommonTime::of(&first)
        .agree(|| other.host())
        .await
        .expect("it knows of its own mark");
    let store = Postgres::join(&database.settings()).await.unwrap();
    let mut late = CommonTime::of(&store);
    late.agree(|| other.host())
        .await
        .expect("and who finds it at its start");
    let (began, moved) = (other.began, &other.moved);
    assert!(other.time.agree(|| host(began, moved)).await.is_err());
    assert_eq!(other.time.store().over().await, Over::Marked);
    first.regress(None, "reading".into()).await.unwrap();
    first.ping().await.unwrap();
    late.agree(|| host(began, moved))
        .await
        .expect("it has caught up");
}

/// It finds its own mark while it is told that this was made; and what was taken away may come again.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_his_own_mark_for_another_ones() {
    let Some(database) = Database::new() else {
        return;
    };
    let store = Postgres::join(&database.settings()).await.unwrap();
    let (began, still) = (Instant::now(), Mutex::new((0, 0)));
    let looks = async {
        loop {
            let mut time = CommonTime::of(&store);
            time.agree(|| host(began, &still)).await.unwrap();
        }
    };
    let marks = async {
        for n in 0..200 {
            store.regress(Some(at(n)), "head".into()).await.unwrap();
            store.regress(None, "reading".into()).await.unwrap();
        }
    };
    tokio::select! {
        () = looks => {}
        () = marks => {}
    }
    let another = Postgres::join(&database.settings()).await.unwrap();
    let (same, cause) = (Some(at(199)), "head".into());
    another.regress(same, cause).await.unwrap();
    let mut time = CommonTime::of(&store);
    assert!(time.agree(|| host(began, &still)).await.is_err());
    assert_eq!(store.over().await, Over::Marked);
}

/// Another server took over: nobody knows yet whether something is lost, so all wait, and who knows may say so.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_nothing_is_done_for_a_while() {
    let stories = (Database::new(), Database::new(), Database::new());
    let (Some(together), Some(alone), Some(marked)) = stories else {
        return;
    };
    tokio::join!(
        all_wait_and_go_on(together),
        one_alone_goes_on(alone),
        who_is_told_meanwhile_does_not(marked)
    );
}

/// A daemon on a database that another server takes over, with all that was committed.
async fn failed_over(database: &Database) -> Postgres {
    let store = Postgres::join(&database.settings()).await.unwrap();
    store.commit(commit(1, 0)).await.unwrap();
    let standby = database.copy();
    database.taken_over_by(standby);
    store
}

/// Whatever is tried meanwhile, it is not done.
async fn goes_on(store: &Postgres) {
    while store.commit(commit(2, 0)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn assert_kept_still(since: Instant) {
    let waited = since.elapsed();
    assert!(waited >= Duration::from_secs(20), "{waited:?}");
}

async fn all_wait_and_go_on(database: Database) {
    let first = failed_over(&database).await;
    let since = Instant::now();
    let settings = database.settings();
    let (second, ()) = tokio::join!(Postgres::join(&settings), goes_on(&first));
    second.unwrap().ping().await.unwrap();
    assert_kept_still(since);
    let mut conn = database.connect().await;
    let settled = "SELECT 1 FROM head WHERE lineage LIKE '________/%'";
    conn.fetch_one(settled).await.expect("they agreed");
    let third = Postgres::join(&settings).await.unwrap();
    third.ping().await.unwrap();
}

async fn one_alone_goes_on(database: Database) {
    let store = failed_over(&database).await;
    let since = Instant::now();
    goes_on(&store).await;
    assert_kept_still(since);
}

/// Whoever knows that something is lost marks it within that while.
async fn who_is_told_meanwhile_does_not(database: Database) {
    let gone = failed_over(&database).await;
    drop(gone);
    let mut conn = database.connect().await;
    let mut there = async |which: &str| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = 'origo-adapter' AND {which}"
        );
        let row = conn.fetch_one(sqlx::raw_sql(AssertSqlSafe(sql))).await;
        row.unwrap().get::<i64, _>(0)
    };
    until(async || there("TRUE").await == 0).await;
    let settings = database.settings();
    let marks = async {
        let has_looked = "state = 'idle' AND query LIKE 'SELECT head.regressed_at%'";
        until(async || there(has_looked).await > 0).await;
        database.raw("UPDATE head SET regressed_at = 7").await;
    };
    let (joined, ()) = tokio::join!(Postgres::join(&settings), marks);
    assert!(joined.is_err(), "it is older than what was done");
}
