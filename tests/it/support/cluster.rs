//! A throw-away `PostgreSQL`: one cluster for the whole test process, gone with it, and a database of its own for each
//! test. It listens on a socket file; and on loopback, for TLS only and by a certificate for `localhost`.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use origo_adapter::store::postgres::{Client, Host, Postgres, Settings, Tls};
use origo_adapter::store::{Options, Threads};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use sqlx::postgres::PgConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
};
use tempfile::TempDir;

use super::machine::not_run;

const USER: &str = "postgres";
/// Whoever is this proves it, by a certificate or by [`PASSWORD`].
pub(crate) const CERTIFIED: &str = "certified";
pub(crate) const SECRET: &str = "secret";
pub(crate) const PASSWORD: &str = "Quittengelee";
/// Has the schema, and is copied for each test.
const TEMPLATE: &str = "origo_adapter_template";
const LOOK: Duration = Duration::from_millis(10);
const LOOKS: usize = 6000;

/// Makes a cluster, and has it run until its input ends: with the test process, however that does.
const GUARD: &str = r#"
set -eu
PATH="$1:$PATH" folder=$2
cd "$folder"
initdb -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >log 2>&1
cat >>data/postgresql.conf <<END
listen_addresses = '127.0.0.1'
port = $3
unix_socket_directories = '$folder'
ssl = on
ssl_ca_file = '$folder/ca.pem'
ssl_cert_file = '$folder/server.pem'
ssl_key_file = '$folder/server.key'
fsync = off
full_page_writes = off
max_connections = 300
autovacuum = off
log_line_prefix = '%d '
END
cat >data/pg_hba.conf <<END
local all all trust
hostssl all certified 127.0.0.1/32 cert
hostssl all secret 127.0.0.1/32 scram-sha-256
hostssl all all 127.0.0.1/32 trust
END

postgres -D data </dev/null >>log 2>&1 &
cat >/dev/null
kill -QUIT $!
wait $! || true
cd /
rm -rf "$folder"
"#;

/// A cluster at work.
pub(crate) struct Cluster {
    folder: PathBuf,
    port: u16,
    /// Its input is open as long as this process lives.
    guard: Child,
}

static CLUSTER: LazyLock<Option<Cluster>> = LazyLock::new(|| {
    let cluster = Cluster::start();
    cluster
        .map_err(|why| not_run("whatever needs PostgreSQL", &why))
        .ok()
});
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// The cluster of this process; `None`: there is no `PostgreSQL` here, and that was said.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    CLUSTER.as_ref()
}

/// Where its programs lie.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
        .collect();
    found.sort();
    found.pop()
}

impl Cluster {
    fn start() -> Result<Self, String> {
        let programs = programs().ok_or("initdb and postgres are not installed")?;
        let folder = TempDir::new().unwrap().keep();
        certify(&folder);
        let port = free_port().ok_or("there is no free port")?;
        let mut guard = Command::new("sh");
        guard
            .args(["-c", GUARD, "sh"])
            .arg(&programs)
            .arg(&folder)
            .arg(port.to_string())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .process_group(0);
        if nix::unistd::geteuid().is_root() {
            // initdb refuses root.
            let named = |name| nix::unistd::User::from_name(name).ok().flatten();
            let user = named("postgres").or_else(|| named("nobody"));
            let user = user.ok_or("there is no user to run it as")?;
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            chown(&folder, Some(uid), Some(gid)).unwrap();
            for entry in fs::read_dir(&folder).unwrap() {
                chown(entry.unwrap().path(), Some(uid), Some(gid)).unwrap();
            }
            guard.uid(uid).gid(gid);
        }
        let guard = guard
            .spawn()
            .map_err(|error: io::Error| format!("sh: {error}"))?;
        let mut cluster = Self {
            folder,
            port,
            guard,
        };
        cluster.wait()?;
        cluster.admin(&format!(
            "CREATE USER {CERTIFIED} SUPERUSER; CREATE USER {SECRET} SUPERUSER PASSWORD '{PASSWORD}'"
        ));
        let template = cluster.settings(TEMPLATE);
        cluster.admin(&format!("CREATE DATABASE {TEMPLATE} TEMPLATE template0"));
        apart(async move {
            let options = Options {
                threads: Threads::Caller,
            };
            drop(Postgres::open(&template, options).await.unwrap());
        });
        // A connection that was let go of is gone a moment later.
        cluster.admin(&format!(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'"
        ));
        Ok(cluster)
    }

    fn wait(&mut self) -> Result<(), String> {
        for _ in 0..LOOKS {
            let state = fs::read_to_string(self.folder.join("data/postmaster.pid"));
            if state.is_ok_and(|state| state.lines().nth(7).is_some_and(|at| at.trim() == "ready"))
            {
                return Ok(());
            }
            if let Some(ended) = self.guard.try_wait().unwrap() {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(format!("initdb: {ended}: {log}"));
            }
            std::thread::sleep(LOOK);
        }
        Err("it does not start".to_owned())
    }

    /// Where its socket lies.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its port is.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Who vouches for it.
    pub(crate) fn roots(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// What [`CERTIFIED`] proves itself with.
    pub(crate) fn client(&self) -> Client {
        Client {
            certificate: self.folder.join("client.pem"),
            key: self.folder.join("client.key"),
        }
    }

    fn settings(&self, database: &str) -> Settings {
        Settings {
            host: Host::Socket(self.folder.clone(), self.port),
            user: USER.to_owned(),
            password: None,
            database: database.to_owned(),
            tls: Tls::Off,
        }
    }

    /// Says something to the cluster as a whole.
    pub(crate) fn admin(&self, sql: &str) {
        let (options, sql) = (self.options("postgres"), sql.to_owned());
        apart(async move {
            let mut conn = options.connect().await.unwrap();
            conn.execute(AssertSqlSafe(sql)).await.unwrap();
            conn.close().await.unwrap();
        });
    }

    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.folder)
            .port(self.port)
            .username(USER)
            .database(database)
    }

    fn create(&'static self, template: &str) -> Database {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.admin(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Database {
            cluster: self,
            name,
        }
    }
}

/// An authority, and what it signs: the server as `localhost`, a client as [`CERTIFIED`].
fn certify(folder: &Path) {
    let named = |name: &str, hosts: Vec<String>| {
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut authority = named("authority", vec![]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let put = |file: &str, text: &str| {
        let path = folder.join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    put("ca.pem", &authority.pem());
    for (file, params) in [
        ("server", named("localhost", vec!["localhost".to_owned()])),
        ("client", named(CERTIFIED, vec![])),
    ] {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        put(&format!("{file}.pem"), &certificate.pem());
        put(&format!("{file}.key"), &key.serialize_pem());
    }
}

/// None that is given away to whoever asks for any.
fn free_port() -> Option<u16> {
    let from = 20_000 + u16::try_from(std::process::id() % 10_000).ok()?;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (from..from + 1000).find(is_free)
}

/// Does it on a thread of its own: the caller's may have a runtime already.
fn apart<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    std::thread::spawn(move || runtime().block_on(work))
        .join()
        .unwrap()
}

/// A database for one test; dropped, it is gone.
pub(crate) struct Database {
    cluster: &'static Cluster,
    pub(crate) name: String,
}

impl Database {
    /// One with the schema, and nothing in it.
    pub(crate) fn new() -> Option<Self> {
        Some(cluster()?.create(TEMPLATE))
    }

    /// One with nothing at all.
    pub(crate) fn empty() -> Option<Self> {
        Some(cluster()?.create("template0"))
    }

    pub(crate) fn settings(&self) -> Settings {
        self.cluster.settings(&self.name)
    }

    pub(crate) fn cluster(&self) -> &'static Cluster {
        self.cluster
    }

    /// As it is now, under another name. Whoever is connected is cut off.
    pub(crate) fn copy(&self) -> Self {
        let name = &self.name;
        let closed = |is_closed: bool| {
            let sql = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !is_closed);
            self.cluster.admin(&sql);
        };
        // Else whoever is cut off may be back before it is copied.
        closed(true);
        self.cluster.admin(&format!(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
        ));
        let copy = self.cluster.create(name);
        closed(false);
        copy
    }

    /// A copy has its name from now on, and the database itself is gone.
    pub(crate) fn taken_over_by(&self, copy: Self) {
        let (name, other) = (&self.name, &copy.name);
        self.cluster
            .admin(&format!("DROP DATABASE {name} WITH (FORCE)"));
        self.cluster
            .admin(&format!("ALTER DATABASE {other} RENAME TO {name}"));
        // Nothing of that name is left to be dropped.
        std::mem::forget(copy);
    }

    pub(crate) async fn open(&self, threads: Threads) -> Postgres {
        Postgres::open(&self.settings(), Options { threads })
            .await
            .unwrap()
    }

    /// A connection beside the store's.
    pub(crate) async fn connect(&self) -> PgConnection {
        self.cluster.options(&self.name).connect().await.unwrap()
    }

    /// What it answers to a question for texts, asked behind the store's back.
    pub(crate) fn tells(&self, sql: &str) -> Vec<String> {
        let (options, sql) = (self.cluster.options(&self.name), sql.to_owned());
        apart(async move {
            let mut conn = options.connect().await.unwrap();
            let rows = conn.fetch_all(AssertSqlSafe(sql)).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        })
    }

    /// Says something to it behind the store's back.
    pub(crate) async fn raw(&self, sql: &str) {
        let mut conn = self.connect().await;
        conn.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let name = &self.name;
            self.cluster
                .admin(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}
