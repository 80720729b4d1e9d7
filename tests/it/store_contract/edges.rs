//! Where the store on `PostgreSQL` meets the database: what passes and what stays, what is away, what is damaged.

use origo_adapter::core::hold::HoldReason;
use origo_adapter::store::journal::Audit;
use origo_adapter::store::postgres::{
    Host, News, Over, Postgres, Settings, audit, is_away, version,
};
use origo_adapter::store::{Commit, Error, Options, Store as _, Threads};
use sqlx::{Executor as _, Row as _};

use super::samples::{at, change, commit, id};
use crate::several::link::Link;
use crate::support::cluster::Database;

/// Fails the first inserts of identities, and counts all of them.
fn failing(code: &str, times: u32) -> String {
    format!(
        "CREATE SEQUENCE tries;
        CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') <= {times} THEN
                RAISE EXCEPTION 'in the way' USING ERRCODE = '{code}';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER fails BEFORE INSERT ON identities FOR EACH ROW EXECUTE FUNCTION fails()"
    )
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_stays_is_told_at_once() {
    for (code, times, tries, is_done) in [
        ("40001", 4, 5, true),
        ("40P01", 1, 2, true),
        ("23505", 1, 2, true),
        ("23503", 1, 2, true),
        ("40001", 9, 5, false),
        ("23514", 1, 1, false),
        ("22003", 1, 1, false),
    ] {
        let Some(database) = Database::new() else {
            return;
        };
        database.raw(&failing(code, times)).await;
        let store = database.open(Threads::Background).await;
        let done = store.commit(commit(1, 0)).await;
        assert_eq!(done.is_ok(), is_done, "{code}: {done:?}");
        assert_eq!(store.load(id(1)).await.unwrap().is_some(), is_done);
        let mut conn = database.connect().await;
        let tried = "SELECT last_value FROM tries";
        let tried: i64 = conn.fetch_one(tried).await.unwrap().get(0);
        assert_eq!(tried, tries, "{code}");
    }
}

/// Whatever the database's own defaults are.
#[tokio::test]
async fn an_answered_write_is_on_disk_and_nothing_waits_for_ever() {
    let Some(database) = Database::new() else {
        return;
    };
    let name = &database.name;
    database
        .raw(&format!(
            "ALTER DATABASE {name} SET synchronous_commit = off;
            ALTER DATABASE {name} SET default_transaction_isolation = 'serializable';
            CREATE TABLE of_session AS SELECT '' AS durable, '' AS sees, '' AS lasts, '' AS idle;
            CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                UPDATE of_session SET durable = current_setting('synchronous_commit'),
                    sees = current_setting('transaction_isolation'),
                    lasts = current_setting('statement_timeout'),
                    idle = current_setting('idle_in_transaction_session_timeout');
                RETURN NEW;
            END $$;
            CREATE TRIGGER notes BEFORE INSERT ON identities FOR EACH ROW EXECUTE FUNCTION notes();
            CREATE TRIGGER notes BEFORE UPDATE ON head FOR EACH ROW EXECUTE FUNCTION notes()"
        ))
        .await;
    let store = database.open(Threads::Background).await;
    let mut conn = database.connect().await;
    for alone in [false, true] {
        if alone {
            database.raw("UPDATE of_session SET durable = ''").await;
            store.mark_regressed(at(7), "a test").await.unwrap();
        } else {
            store.commit(commit(1, 0)).await.unwrap();
        }
        let row = conn.fetch_one("SELECT * FROM of_session").await.unwrap();
        let found: [&str; 4] = [0, 1, 2, 3].map(|place| row.get(place));
        assert_eq!(found, ["on", "read committed", "10s", "30s"]);
    }
}

#[tokio::test]
async fn what_is_away_is_told_from_what_refuses() {
    let Some(database) = Database::new() else {
        return;
    };
    let settings = database.settings();
    let mut elsewhere = settings.clone();
    elsewhere.host = Host::Socket("/nonexistent".into(), 5432);
    let error = Postgres::join(&elsewhere).await.err().unwrap();
    assert!(is_away(&error), "{error:?}");
    let options = Options {
        threads: Threads::Caller,
    };
    assert!(Postgres::open(&elsewhere, options).await.is_err());
    let mut nobody = settings.clone();
    nobody.user = "nobody-of-ours".to_owned();
    let error = Postgres::join(&nobody).await.err().unwrap();
    assert!(!is_away(&error), "{error:?}");
    assert!(!is_away(&Error::InUse));

    let store = database.open(Threads::Background).await;
    let told = "ALTER DATABASE {} SET default_transaction_read_only = on";
    database.raw(&told.replace("{}", &database.name)).await;
    drop(store);
    let store = Postgres::join(&settings).await;
    let error = match store {
        Err(error) => error,
        Ok(store) => store.commit(commit(1, 0)).await.unwrap_err(),
    };
    assert!(is_away(&error), "{error:?}");
}

/// There may be much that a new index has to read.
#[tokio::test]
async fn a_schema_that_is_brought_up_to_date_takes_its_time() {
    let Some(database) = Database::empty() else {
        return;
    };
    database.raw(UNHURRIED).await;
    let watch = "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM unhurried();
        END $$;
        CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION watch()";
    database.raw(watch).await;
    let store = database.open(Threads::Background).await;
    let hurried = sqlx::raw_sql("SET statement_timeout = 1000; CREATE TABLE of_others ()");
    assert!(
        hurried
            .execute(&mut database.connect().await)
            .await
            .is_err()
    );
    store.commit(commit(1, 0)).await.unwrap();
}

#[tokio::test]
async fn a_version_is_told_and_an_empty_database_has_none() {
    let (Some(database), Some(empty)) = (Database::new(), Database::empty()) else {
        return;
    };
    assert_eq!(version(&database.settings()).await.unwrap(), 4);
    assert_eq!(version(&empty.settings()).await.unwrap(), 0);
}

/// The schema is made by one of them, and suits all.
#[tokio::test(flavor = "multi_thread")]
async fn daemons_may_begin_together_on_an_empty_database() {
    let Some(database) = Database::empty() else {
        return;
    };
    let settings = database.settings();
    let joined: tokio::task::JoinSet<bool> = (0..4)
        .map(|_| {
            let settings = settings.clone();
            async move { Postgres::join(&settings).await.is_ok() }
        })
        .collect();
    assert_eq!(joined.join_all().await, [true; 4]);
}

#[tokio::test]
async fn an_audit_is_of_a_database_that_holds_something() {
    let (Some(database), Some(empty)) = (Database::new(), Database::empty()) else {
        return;
    };
    let store = database.open(Threads::Background).await;
    let told = Commit {
        changes: vec![change("phone", None, Some("ready"))],
        ..commit(1, 0)
    };
    store.commit(told).await.unwrap();
    let found = audit::verify(&database.settings()).await.unwrap();
    assert!(matches!(found, Audit::Whole { rows: 1, heads } if heads.identities == 1));
    assert!(audit::verify(&empty.settings()).await.is_err());
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_damage() {
    let Some(database) = Database::new() else {
        return;
    };
    let store = database.open(Threads::Background).await;
    store.check().await.unwrap();
    database.raw("ALTER TABLE holds RENAME TO elsewhere").await;
    assert!(store.check().await.is_err());
}

/// Found out on the next connection that is made; from then on nothing is read or written there.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_lost_a_commit_is_named_and_not_used() {
    let Some(database) = Database::new() else {
        return;
    };
    let store = database.open(Threads::Background).await;
    for revision in 0..3 {
        store.commit(commit(1, revision)).await.unwrap();
    }
    let lost = "UPDATE commits SET number = number - 1 WHERE number > 0;
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.raw(lost).await;
    let over = tokio::time::timeout(std::time::Duration::from_mins(1), async {
        // Who was cut off asks on a new connection.
        while store.ping().await.is_ok() {}
        store.load(id(1)).await.ok();
        store.over().await
    });
    assert_eq!(over.await.unwrap(), Over::WentBack);
    let error = store.load(id(1)).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        cause,
        "the database has lost transactions that it had acknowledged"
    );
}

#[tokio::test]
async fn a_mark_holds_back_whoever_opens_the_database_next() {
    let Some(database) = Database::new() else {
        return;
    };
    let store = database.open(Threads::Background).await;
    let before = store.head().await.unwrap().commits;
    store.mark_regressed(at(7), "a test").await.unwrap();
    assert_eq!(store.head().await.unwrap().commits, before + 1);
    let next = database.open(Threads::Background).await;
    assert_eq!(next.head().await.unwrap().regressed_at, Some(at(7)));
    let holds = next.holds().await.unwrap();
    let reasons: Vec<HoldReason> = holds.iter().map(|hold| hold.reason).collect();
    assert_eq!(reasons, [HoldReason::StateRegressed]);
}

/// Refuses whoever has not all the time that it takes.
pub(super) const UNHURRIED: &str = "\
    CREATE FUNCTION unhurried() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('statement_timeout') <> '0'
            OR current_setting('idle_in_transaction_session_timeout') <> '0' THEN
            RAISE EXCEPTION 'in a hurry';
        END IF;
        RETURN TRUE;
    END $$";

#[tokio::test]
async fn what_reads_all_that_there_is_may_take_its_time() {
    let Some(database) = Database::new() else {
        return;
    };
    let store = database.open(Threads::Background).await;
    let told = Commit {
        changes: vec![change("phone", None, Some("ready"))],
        ..commit(1, 0)
    };
    store.commit(told).await.unwrap();
    database.raw(UNHURRIED).await;
    let journal = "ALTER TABLE journal RENAME TO all_of_it;
        CREATE VIEW journal AS SELECT * FROM all_of_it WHERE unhurried()";
    database.raw(journal).await;
    assert!(store.journal(id(1)).await.is_err(), "others are in a hurry");
    store.check().await.unwrap();
    assert_eq!(store.heads().await.unwrap().identities, 1);
    audit::verify(&database.settings()).await.unwrap();
}

/// What a look costs is worth something only if it looks.
#[tokio::test]
async fn a_ping_asks_the_database() {
    let Some(database) = Database::new() else {
        return;
    };
    let store = database.open(Threads::Background).await;
    store.ping().await.unwrap();
    database.raw("ALTER TABLE head RENAME TO elsewhere").await;
    assert!(store.ping().await.is_err());
}

/// Its host is gone, and another one has its address: nobody ends the connections that wait for its answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_lost_without_a_word_is_not_waited_for_for_ever() {
    let Some(database) = Database::new() else {
        return;
    };
    let folder = tempfile::TempDir::new().unwrap();
    let (cluster, port) = (database.cluster().folder(), database.cluster().port());
    let socket = format!(".s.PGSQL.{port}");
    let way = Link::between(&folder.path().join(&socket), &cluster.join(&socket));
    let settings = Settings {
        host: Host::Socket(folder.path().to_owned(), port),
        ..database.settings()
    };
    let store = Postgres::join(&settings).await.unwrap();
    let deaf = store.listen().await.unwrap();
    let all_connections = || async {
        let loads: tokio::task::JoinSet<bool> = (0..12)
            .map(|_| {
                let store = store.clone();
                async move { store.load(id(1)).await.is_ok() }
            })
            .collect();
        loads.join_all().await
    };
    assert_eq!(all_connections().await, [true; 12]);
    way.cut();
    let lost = all_connections();
    let (lost, ()) = tokio::join!(lost, async {
        // The lock's own connection is made anew in the meantime.
        tokio::time::sleep(std::time::Duration::from_secs(8)).await;
        way.mend_without_a_word();
    });
    assert_eq!(lost, [false; 12]);
    let again = async { while all_connections().await != [true; 12] {} };
    let again = tokio::time::timeout(std::time::Duration::from_secs(50), again);
    again.await.expect("others than those that are lost");
    store.commit(commit(1, 0)).await.unwrap();
    drop(deaf);
    let mut news = store.listen().await.unwrap();
    store.tell(News::Committed).await.unwrap();
    assert_eq!(news.next().await.unwrap(), News::Committed);
}
