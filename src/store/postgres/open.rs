//! Connections and schema: all that happens before the first verb.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool, Row as _};

use super::history::History;
use super::{locks, member};
use crate::store::Error;

/// A change of the schema.
struct Migration {
    statements: &'static str,
    /// The oldest schema whose program may go on working with what this makes. From the first release on it is the
    /// number before or an older one, as long as a migration only adds what that program need not know of, and what is
    /// written into rows is what it can read: a new field of them is read by one release, and written by the next.
    oldest: i64,
}

/// Only ever added to; the schema version is their number.
const MIGRATIONS: [Migration; 4] = [
    Migration {
        statements: include_str!("../migrations/postgres/0001_initial.sql"),
        oldest: 1,
    },
    Migration {
        statements: include_str!("../migrations/postgres/0002_several_daemons.sql"),
        oldest: 2,
    },
    Migration {
        statements: include_str!("../migrations/postgres/0003_oldest.sql"),
        oldest: 3,
    },
    Migration {
        statements: include_str!("../migrations/postgres/0004_events_of_acs_user.sql"),
        oldest: 3,
    },
];

/// How long a connection may take to be made, and a verb to get one.
const CONNECT: Duration = Duration::from_secs(10);
/// More at once than the database has anything of.
const CONNECTIONS: u32 = 12;
/// For each connection: an answered write is on disk, who waited for a lock sees what was done meanwhile, nothing waits
/// for ever, and a dead peer is noticed.
const SESSION: &str = "\
    SET synchronous_commit = on;
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = 10000;
    SET idle_in_transaction_session_timeout = 30000;
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET client_min_messages = warning";
/// What takes its time may have it, to the end of the transaction; whoever waits for a lock holds others up.
pub(super) const UNHURRIED: &str = "\
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0;
    SET LOCAL lock_timeout = 10000";
const STANDBY: &str = "SELECT pg_is_in_recovery()";
// What lies where our tables would be made.
const TABLES: &str = "\
    SELECT count(*), count(*) FILTER (WHERE c.relname = 'origo_adapter')
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
const ENCODING: &str = "SELECT current_setting('server_encoding') = 'UTF8'";
// Before version 3 there was no word about older ones.
const VERSION: &str = "\
    SELECT schema, coalesce((to_jsonb(us) ->> 'oldest')::bigint, schema) FROM origo_adapter AS us";
const CHANGED: &str = "UPDATE origo_adapter SET schema = $1, oldest = $2";

/// Which database, and how it is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub host: Host,
    /// As whom.
    pub user: String,
    /// `None`: it is not asked for.
    pub password: Option<SecretString>,
    /// Its name there.
    pub database: String,
    /// What the way there is protected by.
    pub tls: Tls,
}

/// Where a database listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, and a port.
    Tcp(String, u16),
    /// The folder of a socket file, and the port in its name.
    Socket(PathBuf, u16),
}

/// What protects the way to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nothing.
    Off,
    /// TLS with whoever is there.
    Unverified(Option<Client>),
    /// TLS with whom one of these certificates (a PEM file) says to be that host.
    Verified(PathBuf, Option<Client>),
}

/// What we prove ourselves with, two PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Our certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Settings {
    fn options(&self) -> PgConnectOptions {
        let mut options = PgConnectOptions::new_without_pgpass()
            .username(&self.user)
            .database(&self.database)
            .application_name("origo-adapter")
            .disable_statement_logging();
        options = match &self.host {
            Host::Tcp(host, port) => options.host(host).port(*port),
            Host::Socket(folder, port) => options.socket(folder).port(*port),
        };
        if let Some(password) = &self.password {
            options = options.password(password.expose_secret());
        }
        let (mode, client) = match &self.tls {
            Tls::Off => (PgSslMode::Disable, None),
            Tls::Unverified(client) => (PgSslMode::Require, client.as_ref()),
            Tls::Verified(roots, client) => {
                options = options.ssl_root_cert(roots);
                (PgSslMode::VerifyFull, client.as_ref())
            }
        };
        if let Some(client) = client {
            options = options
                .ssl_client_cert(&client.certificate)
                .ssl_client_key(&client.key);
        }
        options.ssl_mode(mode)
    }
}

/// A connection of its own.
pub(super) async fn connect(settings: &Settings) -> Result<PgConnection, Error> {
    let connected = tokio::time::timeout(CONNECT, async {
        let mut conn = settings.options().connect().await?;
        begin(&mut conn).await?;
        Ok::<_, sqlx::Error>(conn)
    });
    let connected = connected.await;
    Ok(connected.map_err(|late| Error::Database(Box::new(late)))??)
}

/// What comes first on each connection. A standby is no database of ours until it takes over: it cannot be written to,
/// and may show what was acknowledged a little later.
async fn begin(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    conn.execute(SESSION).await?;
    if conn.fetch_one(STANDBY).await?.try_get(0)? {
        let standby = "the server is a standby";
        return Err(std::io::Error::new(std::io::ErrorKind::HostUnreachable, standby).into());
    }
    Ok(())
}

/// Connections for all verbs, to a database whose schema is up to date.
pub(super) async fn pool(
    settings: &Settings,
    connections: Option<u32>,
    history: &Arc<History>,
) -> Result<PgPool, Error> {
    let mut conn = connect(settings).await?;
    migrate(&mut conn).await?;
    Ok(connections_to(settings, connections, history))
}

/// Connections that are made once they are needed.
pub(super) fn connections_to(
    settings: &Settings,
    connections: Option<u32>,
    history: &Arc<History>,
) -> PgPool {
    let history = Arc::clone(history);
    PgPoolOptions::new()
        .max_connections(connections.unwrap_or(CONNECTIONS))
        .acquire_timeout(CONNECT)
        // After the database was away each connection is found out before somebody else's verb fails on it.
        .test_before_acquire(true)
        .after_connect(move |conn, _| {
            let history = Arc::clone(&history);
            Box::pin(async move {
                begin(conn).await?;
                history.compare(conn).await
            })
        })
        .connect_lazy_with(settings.options())
}

/// Version 0: there is nothing yet. Refuses what is not ours, and what is newer than we and not made for us as well.
pub(super) async fn version(conn: &mut PgConnection) -> Result<i64, Error> {
    if !conn.fetch_one(ENCODING).await?.try_get(0)? {
        return Err(Error::Database(
            "the database does not keep texts as UTF8".into(),
        ));
    }
    let tables = conn.fetch_one(TABLES).await?;
    let (tables, ours): (i64, i64) = (tables.try_get(0)?, tables.try_get(1)?);
    if ours > 0 {
        let row = conn.fetch_one(VERSION).await?;
        let (found, oldest): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let known = known();
        return if oldest > known {
            Err(Error::Newer { found, known })
        } else {
            Ok(found)
        };
    }
    if tables > 0 {
        return Err(Error::Database("the database is another program's".into()));
    }
    Ok(0)
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Whether the schema is one that we work on as it is.
pub(super) async fn is_current(conn: &mut PgConnection) -> Result<bool, Error> {
    Ok(version(conn).await? >= known())
}

/// Brings the schema up to date, whoever else does so; returns its versions before and after. Refused with
/// [`Error::InUse`] while daemons work on it that could not go on.
pub(super) async fn migrate(conn: &mut PgConnection) -> Result<(i64, i64), Error> {
    let mut transaction = conn.begin().await?;
    locks::take_one(&mut transaction, locks::SCHEMA).await?;
    let found = version(&mut transaction).await?;
    if found < known() {
        transaction.execute(UNHURRIED).await?;
    }
    let mut oldest = None;
    for (migration, number) in MIGRATIONS.iter().zip(1..) {
        if number <= found {
            continue;
        }
        if 0 < found && found < migration.oldest {
            member::keep_off(&mut transaction).await?;
        }
        let statements = sqlx::raw_sql(migration.statements);
        transaction.execute(statements).await?;
        oldest = Some(migration.oldest);
    }
    if let Some(oldest) = oldest {
        let changed = sqlx::query(CHANGED).bind(known()).bind(oldest);
        changed.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok((found, found.max(known())))
}
