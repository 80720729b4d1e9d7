//! Where the API listens, and what it shows to whoever connects.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use config::Value;
use nix::unistd::Group;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};

use super::read::Table;
use super::values::{secret, text};

/// Where the API listens.
#[derive(Clone, Debug)]
pub enum Listen {
    /// An address and port; with TLS it may lie beyond loopback.
    Tcp(SocketAddr, Option<Tls>),
    /// A socket file that is made anew at each start.
    Unix(UnixSocket),
}

/// A socket file and who may connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// Absolute.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Id of the group that it is given to; absent: the daemon's own.
    pub group: Option<u32>,
}

/// A certificate with its key; TLS 1.2 and newer.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What a listener needs.
    pub server: Arc<rustls::ServerConfig>,
    /// The certificate itself, by which our own commands know the daemon.
    pub certificate: CertificateDer<'static>,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address, _) => write!(f, "{address}"),
            Self::Unix(socket) => write!(f, "unix:{}", socket.path.display()),
        }
    }
}

/// Reads `listen` and the keys that go with it.
pub(super) fn listen(table: &mut Table<'_>) -> Option<Listen> {
    let place = table.required("listen", place);
    let mode = table.required("socket_mode", mode);
    let group = table.optional("socket_group", group);
    let certificate = table.optional("tls_cert_file", secret);
    let key = table.optional("tls_key_file", secret);
    let asked = !matches!((&certificate, &key), (Some(None), Some(None)));
    let tls = tls(table, certificate.flatten(), key.flatten());
    match place? {
        Place::Unix(path) => {
            if tls.is_some() {
                table.complain("tls_cert_file", "for an address and port, not for a socket");
            }
            Some(Listen::Unix(UnixSocket {
                path,
                mode: mode?,
                group: group?,
            }))
        }
        Place::Tcp(address) => {
            if tls.is_none() && !asked && !address.ip().is_loopback() {
                let message = format!(
                    "beyond loopback, {:?} needs tls_cert_file and tls_key_file",
                    address.to_string()
                );
                table.complain("listen", message);
            }
            Some(Listen::Tcp(address, tls))
        }
    }
}

enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

fn place(value: &Value) -> Result<Place, String> {
    let text = text(value)?;
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        if !path.is_absolute() || path.file_name().is_none() {
            return Err(format!("must be unix: and an absolute path, not {text:?}"));
        }
        return Ok(Place::Unix(path));
    }
    let address = text.parse().map(Place::Tcp);
    address.map_err(|_| format!("must be an address and port, not {text:?}"))
}

/// Reads permission bits as `chmod` takes them.
fn mode(value: &Value) -> Result<u32, String> {
    let text = text(value)?;
    let mode = u32::from_str_radix(&text, 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("must be octal digits such as \"0660\", not {text:?}"))
}

fn group(value: &Value) -> Result<u32, String> {
    let name = text(value)?;
    match Group::from_name(&name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("there is no group {name:?}")),
        Err(error) => Err(format!("the group {name:?} cannot be looked up: {error}")),
    }
}

fn tls(
    table: &mut Table<'_>,
    certificate: Option<SecretString>,
    key: Option<SecretString>,
) -> Option<Tls> {
    let (certificate, key) = match (certificate, key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            table.complain("tls_key_file", "missing: tls_cert_file needs it");
            return None;
        }
        (None, Some(_)) => {
            table.complain("tls_cert_file", "missing: tls_key_file needs it");
            return None;
        }
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificate.expose_secret().as_bytes()).collect();
    let chain = chain.unwrap_or_default();
    let Some(first) = chain.first().cloned() else {
        table.complain("tls_cert_file", "holds no certificate in PEM");
        return None;
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()) else {
        table.complain(
            "tls_key_file",
            "holds no private key in PEM, or an encrypted one",
        );
        return None;
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    match server {
        Ok(server) => Some(Tls {
            server: Arc::new(server),
            certificate: first,
        }),
        Err(error) => {
            table.complain(
                "tls_cert_file",
                format!("does not go with its key: {error}"),
            );
            None
        }
    }
}
