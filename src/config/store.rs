//! `store`: a file, or a database on a server.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use config::Value;
use secrecy::SecretString;
use url::Url;

use super::read::Table;
use super::values::{secret, text};

/// Where it is kept how far a database on a server came, where systemd names no directory.
const HEAD: &str = "/var/lib/origo-adapter/head";
const PORT: u16 = 5432;

/// Where the truth is kept.
#[derive(Clone, Debug)]
pub struct Store {
    /// The database.
    pub place: Place,
    /// Where it is kept on this machine how far that came: as `head_file` says, else `head` in systemd's state
    /// directory, else beside the file.
    pub head: PathBuf,
    /// `head_file` says so.
    pub(super) head_is_given: bool,
}

/// Which database.
#[derive(Clone, Debug)]
pub enum Place {
    /// A `SQLite` file, an absolute path.
    Sqlite(PathBuf),
    /// A `PostgreSQL` database.
    Postgres(Postgres),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(place) => place.fmt(f),
        }
    }
}

/// A `PostgreSQL` database, and how it is reached.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// A name, an address, or the folder of a socket file, which begins with a slash.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<SecretString>,
    pub database: String,
    /// `None`: no TLS.
    pub tls: Option<PostgresTls>,
}

impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            port,
            user,
            database,
            ..
        } = self;
        write!(f, "{database} on {host}:{port} as {user}")
    }
}

impl Postgres {
    /// As `url` and the file with the password say. The error is what is wrong with one of them, and repeats neither.
    pub fn of(url: &str, password_file: Option<&Path>) -> Result<Self, String> {
        if !is_postgres(url) {
            return Err("must be postgres:// and a database".into());
        }
        let mut database = postgres(url)?;
        let password = password_file.map(|file| secret(&file.to_string_lossy().as_ref().into()));
        database.password = password.transpose()?;
        Ok(database)
    }
}

/// How the way to a `PostgreSQL` database is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresTls {
    /// The certificates (PEM) one of which must vouch for the host's; `None`: whoever answers is believed.
    pub roots: Option<PathBuf>,
    /// Our own certificate and its key (PEM).
    pub client: Option<(PathBuf, PathBuf)>,
}

pub(super) fn store(mut table: Table<'_>) -> Option<Store> {
    let place = table.required("url", place);
    let password = table.optional("password_file", secret);
    let head = table.optional("head_file", absolute);
    if let (Some(Place::Sqlite(_)), Some(Some(_))) = (&place, &password) {
        table.complain("password_file", "a file has no password");
    }
    table.close();
    let (mut place, password, head) = (place?, password?, head?);
    if let Place::Postgres(place) = &mut place {
        place.password = password;
    }
    let usual = match &place {
        Place::Sqlite(path) => {
            let mut head = path.clone().into_os_string();
            head.push(".head");
            head.into()
        }
        Place::Postgres(_) => HEAD.into(),
    };
    Some(Store {
        head_is_given: head.is_some(),
        head: head.unwrap_or(usual),
        place,
    })
}

fn absolute(value: &Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(text(value)?);
    if path.is_absolute() && path.file_name().is_some() {
        Ok(path)
    } else {
        Err("must be the absolute path of a file".into())
    }
}

fn place(value: &Value) -> Result<Place, String> {
    let text = text(value)?;
    if is_postgres(&text) {
        return postgres(&text).map(Place::Postgres);
    }
    let path = text.strip_prefix("sqlite://").map(PathBuf::from);
    path.filter(|path| path.is_absolute() && path.file_name().is_some())
        .map(Place::Sqlite)
        .ok_or_else(|| {
            "must be sqlite:// and the absolute path of a file, or postgres:// and a database"
                .into()
        })
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// The text is never repeated: it may hold a password.
fn postgres(text: &str) -> Result<Postgres, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    let mut words = BTreeMap::new();
    for (key, value) in url.query_pairs() {
        if words.insert(key.to_string(), value.into_owned()).is_some() {
            return Err(format!("names {key:?} twice"));
        }
    }
    if url.password().is_some() || words.contains_key("password") {
        return Err("must not hold a password; password_file is for it".into());
    }
    let mut word = |key: &str| words.remove(key);
    let host = word("host").or_else(|| filled(url.host_str()));
    let host = host.ok_or("names no host: a name, or host=/run/postgresql")?;
    let port = match word("port") {
        Some(port) => port.parse().map_err(|_| "names a port that is none")?,
        None => url.port().unwrap_or(PORT),
    };
    let user = word("user").or_else(|| filled(Some(url.username())));
    let database = word("dbname").or_else(|| filled(url.path().strip_prefix('/')));
    let (mode, roots) = (word("sslmode"), word("sslrootcert"));
    let client = match (word("sslcert"), word("sslkey")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((pem("sslcert", certificate)?, pem("sslkey", key)?)),
        _ => return Err("names one of sslcert and sslkey without the other".into()),
    };
    let roots = roots.map(|roots| pem("sslrootcert", roots)).transpose()?;
    if let Some(key) = words.keys().next() {
        return Err(format!("has an unknown parameter {key:?}"));
    }
    Ok(Postgres {
        tls: tls(host.starts_with('/'), mode.as_deref(), roots, client)?,
        host,
        port,
        user: user.ok_or("names no user")?,
        password: None,
        database: database.ok_or("names no database")?,
    })
}

fn tls(
    is_socket: bool,
    mode: Option<&str>,
    roots: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
) -> Result<Option<PostgresTls>, String> {
    let mode = mode.unwrap_or(if is_socket { "disable" } else { "verify-full" });
    match (mode, &roots) {
        ("disable", None) if client.is_none() => Ok(None),
        ("disable", _) => Err("names certificates beside sslmode=disable".into()),
        _ if is_socket => Err("asks for TLS on a socket file, which has none".into()),
        ("require", None) | ("verify-full", Some(_)) => Ok(Some(PostgresTls { roots, client })),
        ("require", Some(_)) => Err("names sslrootcert, which sslmode=verify-full looks at".into()),
        ("verify-full", None) => Err("must name sslrootcert, who vouches for the host; \
            or sslmode=require to believe whoever answers, or sslmode=disable"
            .into()),
        _ => Err("must have sslmode disable, require or verify-full".into()),
    }
}

fn pem(key: &str, path: String) -> Result<PathBuf, String> {
    let readable = Path::new(&path).is_absolute() && File::open(&path).is_ok();
    if readable {
        return Ok(path.into());
    }
    Err(format!("{key}: {path:?} is no file that can be read"))
}

/// What stands in a part of a URL, if anything does.
fn filled(part: Option<&str>) -> Option<String> {
    let part = part?.replace('+', "%2B");
    let (name, _) = form_urlencoded::parse(part.as_bytes()).next()?;
    Some(name.into_owned()).filter(|name| !name.is_empty())
}
