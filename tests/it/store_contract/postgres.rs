//! The suite on `PostgreSQL`, and what only that store promises.

use std::collections::BTreeSet;
use std::time::Duration;

use origo_adapter::core::hold::HoldReason;
use origo_adapter::core::index::Kind;
use origo_adapter::store::postgres::{Over, Postgres, audit, migrate};
use origo_adapter::store::sqlite::Sqlite;
use origo_adapter::store::{ClaimChange, Commit, Error, Options, Store, Threads};
use sqlx::{Executor as _, Row as _};
use tokio::task::JoinSet;

use super::records::{all, half_an_id_makes_no_sense};
use super::samples::{adding, at, change, commit, id, releasing, row, slot, taking};
use crate::support::cluster::Database;

/// A store and the database that holds it.
pub(super) struct Bed {
    pub(super) store: Postgres,
    pub(super) database: Database,
}

pub(super) async fn bed(threads: Threads) -> Option<Bed> {
    let database = Database::new()?;
    Some(Bed {
        store: database.open(threads).await,
        database,
    })
}

suite!(background, super::bed(super::Threads::Background).await);
suite!(caller, super::bed(super::Threads::Caller).await);
suite!(beside_the_next, super::beside_the_next().await);

/// What the next version's schema may bring while this one's programs are at work: columns, tables, indexes.
const NEXT: &str = "\
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER TABLE %I ADD COLUMN of_next int NOT NULL DEFAULT 1', name);
        END LOOP;
    END $$;
    CREATE TABLE of_next (identity uuid REFERENCES identities (id) ON DELETE CASCADE, what text);
    CREATE INDEX identities_of_next ON identities (of_next);
    UPDATE origo_adapter SET schema = schema + 1";

/// This version's program on the next version's schema.
async fn beside_the_next() -> Option<Bed> {
    let database = Database::new()?;
    database.raw(NEXT).await;
    Some(Bed {
        store: database.open(Threads::Background).await,
        database,
    })
}

/// Hosts are upgraded one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_at_work_does_not_mind_the_next_schema() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    bed.store.commit(commit(1, 0)).await.unwrap();
    bed.database.raw(NEXT).await;
    bed.store.commit(commit(1, 1)).await.unwrap();
    assert_eq!(bed.store.load(id(1)).await.unwrap().unwrap().revision, 2);
    let (found, left) = migrate(&bed.database.settings()).await.unwrap();
    assert_eq!(found, left, "what is newer stays as it is");
}

/// A schema that the daemons at work could not go on with is not made under them.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_suits_nobody_before_waits_until_none_is_left() {
    let Some(database) = Database::new() else {
        return;
    };
    let daemon = Postgres::join(&database.settings()).await.unwrap();
    database
        .raw(
            "UPDATE origo_adapter SET schema = 2; ALTER TABLE origo_adapter DROP COLUMN oldest;
            DROP INDEX events_of_acs_user",
        )
        .await;
    let other = Postgres::join(&database.settings()).await;
    assert!(matches!(other, Err(Error::InUse)));
    drop(daemon);
    let other = Postgres::join(&database.settings()).await;
    assert!(other.is_ok());
}

/// A standby takes over that lacks what came last: here a copy of the database under its name.
#[tokio::test(flavor = "multi_thread")]
async fn what_lost_an_acknowledged_commit_is_not_used() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    bed.store.commit(commit(1, 0)).await.unwrap();
    let standby = bed.database.copy();
    bed.database.taken_over_by(standby);
    // Connections that were cut are found out one by one.
    let mut tries = 0;
    while bed.store.commit(commit(1, 1)).await.is_err() {
        tries += 1;
        assert!(tries < 20, "nothing was lost");
    }
    let standby = bed.database.copy();
    while bed.store.commit(commit(1, 2)).await.is_err() {
        tries += 1;
        assert!(tries < 40, "nor this time");
    }
    bed.database.taken_over_by(standby);
    for _ in 0..3 {
        let found = bed.store.load(id(1)).await;
        assert!(matches!(found, Err(Error::Database(_))), "{found:?}");
    }
    assert_eq!(bed.store.over().await, Over::WentBack);
    let refused = bed.store.ping().await.unwrap_err();
    assert!(
        format!("{refused:?}").contains("lost transactions"),
        "{refused:?}"
    );
    bed.store.mark_regressed(at(7), "failover").await.unwrap();
    let next = bed.database.open(Threads::Background).await;
    assert_eq!(next.head().await.unwrap().regressed_at, Some(at(7)));
    assert_eq!(
        next.holds().await.unwrap()[0].reason,
        HoldReason::StateRegressed
    );
    assert_eq!(next.load(id(1)).await.unwrap().unwrap().revision, 2);
}

#[tokio::test]
async fn a_claim_is_abandoned_when_its_lease_is_over_and_not_before() {
    let Some(bed) = bed(Threads::Caller).await else {
        return;
    };
    let call = taking(commit(1, 0), slot(1, &[], at(500)));
    bed.store.commit(call).await.unwrap();
    let next = bed.store.reopened();
    let lease = next.load(id(1)).await.unwrap().unwrap().claim.unwrap();
    let before = origo_adapter::core::ids::Timestamp(lease.lease_until.0 - 1);
    assert_eq!(next.abandoned(before).await.unwrap(), []);
    let abandoned = next.abandoned(lease.lease_until).await.unwrap();
    assert_eq!(abandoned, [(id(1), lease.token)]);
    let abandon = Commit {
        claim: ClaimChange::Abandon,
        ..commit(1, 1)
    };
    next.commit(abandon).await.unwrap();
    assert_eq!(next.abandoned(lease.lease_until).await.unwrap(), []);
}

#[tokio::test]
async fn makes_its_schema_once_whoever_comes_first() {
    let Some(database) = Database::empty() else {
        return;
    };
    let mut openings = JoinSet::new();
    for _ in 0..6 {
        let settings = database.settings();
        openings.spawn(async move { Postgres::open(&settings, Options::default()).await });
    }
    let mut heads = BTreeSet::new();
    for opened in openings.join_all().await {
        heads.insert(opened.unwrap().head().await.unwrap().database);
    }
    assert_eq!(heads.len(), 1);
    assert_eq!(migrate(&database.settings()).await.unwrap(), (4, 4));
}

#[tokio::test]
async fn refuses_a_newer_schema() {
    let Some(database) = Database::new() else {
        return;
    };
    database
        .raw("UPDATE origo_adapter SET schema = 999, oldest = 998")
        .await;
    let opened = Postgres::open(&database.settings(), Options::default()).await;
    assert!(matches!(opened, Err(Error::Newer { found: 999, known }) if known < 999));
    let audit = audit::verify(&database.settings()).await;
    assert!(matches!(audit, Err(Error::Newer { found: 999, .. })));
}

#[tokio::test]
async fn refuses_what_is_not_ours() {
    let Some(database) = Database::empty() else {
        return;
    };
    database.raw("CREATE TABLE songs (title text)").await;
    let opened = Postgres::open(&database.settings(), Options::default()).await;
    let Err(Error::Database(cause)) = opened else {
        panic!("it is another program's");
    };
    assert!(cause.to_string().contains("another program"), "{cause}");
    let mut conn = database.connect().await;
    let tables = "SELECT count(*) FROM pg_class WHERE relname IN ('identities', 'origo_adapter')";
    let ours: i64 = conn.fetch_one(tables).await.unwrap().get(0);
    assert_eq!(ours, 0, "nothing was made");
}

#[tokio::test]
async fn daemons_share_a_database_and_keep_off_who_changes_it_as_a_whole() {
    let Some(database) = Database::new() else {
        return;
    };
    let settings = database.settings();
    let first = Postgres::join(&settings).await.unwrap();
    let second = Postgres::join(&settings).await.unwrap();
    first.ping().await.unwrap();
    drop(first);
    assert!(matches!(migrate(&settings).await, Err(Error::InUse)));
    second.ping().await.unwrap();
    drop(second);
    assert_eq!(migrate(&settings).await.unwrap(), (4, 4));
}

#[tokio::test]
async fn a_daemon_that_lost_its_lock_does_nothing_until_it_has_it_again() {
    const LOCK: &str =
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database =
        (SELECT oid FROM pg_database WHERE datname = current_database())";
    let Some(database) = Database::new() else {
        return;
    };
    let store = Postgres::join(&database.settings()).await.unwrap();
    let mut conn = database.connect().await;
    let holder: i32 = conn.fetch_one(LOCK).await.unwrap().get(0);
    // Another has it as soon as it is free.
    let mut other = database.connect().await;
    let lock = "SELECT pg_advisory_lock(((classid::bigint << 32) | objid::bigint)) FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1";
    let waiting = tokio::spawn(async move {
        other.execute(lock).await.unwrap();
        other
    });
    let queued = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    until(async || conn.fetch_one(queued).await.unwrap().get::<i64, _>(0) > 0).await;
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(holder)
        .execute(&mut conn)
        .await
        .unwrap();
    let other = waiting.await.unwrap();
    until(async || store.ping().await.is_err()).await;
    let refused = store.commit(commit(1, 0)).await;
    assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
    drop(other);
    until(async || store.ping().await.is_ok()).await;
    store.commit(commit(1, 0)).await.unwrap();
}

pub(super) async fn until(mut look: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(30), looking).await;
    looked.expect("it comes");
}

#[tokio::test]
async fn what_is_read_only_or_cut_off_is_the_databases_failure() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let name = &bed.database.name;
    bed.store.commit(commit(1, 0)).await.unwrap();
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    bed.database.raw(&set).await;
    let cut =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    bed.database.cluster().admin(&cut);
    let read_only = |error: &Error| matches!(error, Error::Database(cause) if cause.to_string().contains("read-only"));
    // First each connection learns that it is cut off.
    until(async || {
        let refused = bed.store.commit(commit(1, 1)).await.unwrap_err();
        assert!(matches!(refused, Error::Database(_)), "{refused:?}");
        read_only(&refused)
    })
    .await;
    until(async || bed.store.load(id(1)).await.is_ok()).await;
    let set = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    bed.database.cluster().admin(&set);
    bed.database.cluster().admin(&cut);
    until(async || bed.store.commit(commit(1, 1)).await.is_ok()).await;
}

#[tokio::test]
async fn half_an_id_in_a_file_of_people_makes_no_sense() {
    let Some(bed) = bed(Threads::Background).await else {
        return;
    };
    let spoil = "UPDATE file_batches SET kept = '\\x01'";
    let spoil = async || bed.database.raw(spoil).await;
    half_an_id_makes_no_sense(&bed.store, spoil).await;
}

#[tokio::test]
async fn says_loudly_that_a_row_makes_no_sense() {
    let spoilt = [
        "UPDATE identities SET state = '{\"id\": \"Ada Okafor\"}'",
        "UPDATE identities SET state = replace(state, '0001', '0002')",
    ];
    for sql in spoilt {
        let Some(bed) = bed(Threads::Background).await else {
            return;
        };
        let identity = adding(commit(1, 0), &[row(Kind::Identity, "1", at(0))]);
        bed.store.commit(identity).await.unwrap();
        bed.database.raw(sql).await;
        let error = bed.store.load(id(1)).await.unwrap_err();
        let Error::Corrupt { table, key, source } = error else {
            panic!("{error:?}");
        };
        assert_eq!((table, key), ("identities", id(1).to_string()));
        assert!(!source.to_string().contains("Ada"), "{source}");
        let listed = bed.store.list(all(&[Kind::Identity])).await;
        assert!(matches!(listed, Err(Error::Corrupt { .. })));
    }
}

/// The chain is one and the same, and a row that was changed breaks it.
#[tokio::test]
async fn its_journal_is_that_of_the_other_store() {
    let Some(bed) = bed(Threads::Caller).await else {
        return;
    };
    let other = Sqlite::in_memory().unwrap();
    for n in 1..=30 {
        for store in [&bed.store as &dyn Store, &other] {
            for revision in 0..3 {
                let mut made = commit(n, revision);
                made.changes = vec![
                    change("phone/1", None, Some("active")),
                    change("key/é", Some("active"), None),
                ];
                store.commit(made).await.unwrap();
            }
        }
    }
    let heads = bed.store.heads().await.unwrap();
    assert_eq!(heads, other.heads().await.unwrap());
    let settings = bed.database.settings();
    let whole = audit::verify(&settings).await.unwrap();
    assert_eq!(
        whole,
        origo_adapter::store::journal::Audit::Whole { rows: 180, heads }
    );
    bed.store.check().await.unwrap();
    let spoil = "UPDATE journal SET cause = 'somebody else' WHERE seq = 4 AND identity =
        (SELECT max(identity::text)::uuid FROM journal)";
    bed.database.raw(spoil).await;
    let broken = audit::verify(&settings).await.unwrap();
    let expected = origo_adapter::store::journal::Broken {
        identity: id(30),
        seq: 4,
    };
    assert_eq!(
        broken,
        origo_adapter::store::journal::Audit::Broken(expected)
    );
}

/// The paused clock would run ahead of a thread that tokio does not know.
#[tokio::test(start_paused = true)]
async fn the_callers_thread_holds_a_paused_clock() {
    let Some(bed) = bed(Threads::Caller).await else {
        return;
    };
    let before = tokio::time::Instant::now();
    for n in 1..20 {
        let call = taking(commit(n, 0), slot(n, &[], at(9)));
        bed.store.commit(call).await.unwrap();
        let answer = releasing(commit(n, 1), n, None);
        bed.store.commit(answer).await.unwrap();
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}
