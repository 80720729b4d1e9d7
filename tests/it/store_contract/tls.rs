//! The way to `PostgreSQL` over TCP: who is believed, and by what we are.

use std::fs;

use origo_adapter::store::postgres::{Host, Postgres, Settings, Tls};
use origo_adapter::store::{Options, Store as _, Threads};
use secrecy::SecretString;
use sqlx::Row as _;

use super::samples::commit;
use crate::support::cluster::{CERTIFIED, Database, PASSWORD, SECRET};

fn over_tcp(database: &Database, host: &str, tls: Tls) -> Settings {
    Settings {
        host: Host::Tcp(host.to_owned(), database.cluster().port()),
        tls,
        ..database.settings()
    }
}

async fn open(settings: &Settings) -> Result<Postgres, String> {
    let threads = Threads::Background;
    let opened = Postgres::open(settings, Options { threads }).await;
    opened.map_err(|error| format!("{error:?}"))
}

#[tokio::test]
async fn whoever_is_not_vouched_for_is_told_nothing() {
    let Some(database) = Database::new() else {
        return;
    };
    let roots = database.cluster().roots();
    let site = tempfile::tempdir().unwrap();
    let stranger = site.path().join("stranger.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&stranger, made.cert.pem()).unwrap();
    for (host, tls, is_let_in) in [
        ("localhost", Tls::Verified(roots.clone(), None), true),
        ("127.0.0.1", Tls::Verified(roots, None), false),
        ("localhost", Tls::Verified(stranger, None), false),
        ("127.0.0.1", Tls::Unverified(None), true),
        ("127.0.0.1", Tls::Off, false),
    ] {
        let opened = open(&over_tcp(&database, host, tls.clone())).await;
        assert_eq!(
            opened.is_ok(),
            is_let_in,
            "{host} {tls:?}: {:?}",
            opened.err()
        );
    }
}

#[tokio::test]
async fn what_is_written_goes_over_tls_and_we_prove_who_we_are() {
    let Some(database) = Database::new() else {
        return;
    };
    let cluster = database.cluster();
    let verified = |client| Tls::Verified(cluster.roots(), client);
    let nobody = over_tcp(&database, "localhost", verified(None));
    let certified = Settings {
        user: CERTIFIED.to_owned(),
        tls: verified(Some(cluster.client())),
        ..nobody.clone()
    };
    let uncertified = Settings {
        tls: verified(None),
        ..certified.clone()
    };
    let with_password = |password: &str| Settings {
        user: SECRET.to_owned(),
        password: Some(SecretString::from(password)),
        ..nobody.clone()
    };
    assert!(open(&uncertified).await.is_err());
    let refused = open(&with_password("Zwetschge0815")).await;
    let refused = refused.err().expect("another's password");
    assert!(!refused.contains("Zwetschge0815"), "{refused}");
    for (revision, settings) in [(0, certified), (1, with_password(PASSWORD))] {
        let store = open(&settings).await.unwrap();
        store.commit(commit(1, revision)).await.unwrap();
        let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE datname = current_database() AND usename = $1";
        let query = sqlx::query(sql).bind(settings.user.clone());
        let row = query
            .fetch_one(&mut database.connect().await)
            .await
            .unwrap();
        assert_eq!(
            row.get::<Option<bool>, _>(0),
            Some(true),
            "{}",
            settings.user
        );
    }
}
