//! Where the API is reached: an address, with TLS or without, or a socket file.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::config::{Listen, Tls, UnixSocket};

/// What HTTP is spoken over.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A listener that is bound. With it dropped, its socket file is gone.
pub struct Listener {
    socket: Socket,
    certificate: Certificate,
}

enum Socket {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        _file: SocketFile,
    },
}

/// What a listener shows to whoever connects from now on. Clones are handles on the same.
#[derive(Clone, Default)]
pub struct Certificate(Arc<Mutex<Option<TlsAcceptor>>>);

impl Certificate {
    /// Shows another one from the next connection on.
    pub fn renew(&self, tls: &Tls) {
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
    }

    fn get(&self) -> Option<TlsAcceptor> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Is removed when it is dropped.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What is left behind is replaced by the next start.
        std::fs::remove_file(&self.0).ok();
    }
}

impl Listener {
    /// Binds. A socket file that is there is replaced: whoever has the store has the file too.
    pub async fn bind(place: &Listen) -> io::Result<Self> {
        let certificate = Certificate::default();
        let socket = match place {
            Listen::Tcp(address, tls) => {
                if let Some(tls) = tls {
                    certificate.renew(tls);
                }
                Socket::Tcp(TcpListener::bind(address).await?)
            }
            Listen::Unix(socket) => Socket::Unix {
                listener: bind_file(socket)?,
                _file: SocketFile(socket.path.clone()),
            },
        };
        Ok(Self {
            socket,
            certificate,
        })
    }

    /// The address in use; `None`: a socket file.
    pub fn address(&self) -> io::Result<Option<SocketAddr>> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Some),
            Socket::Unix { .. } => Ok(None),
        }
    }

    /// The handle by which its certificate is renewed.
    pub fn certificate(&self) -> Certificate {
        self.certificate.clone()
    }

    pub(super) async fn accept(&self) -> io::Result<Incoming> {
        let stream: Box<dyn Io> = match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Without it the second half of a short answer waits for an acknowledgement; where it can't be
                // set the answer is only later.
                stream.set_nodelay(true).ok();
                Box::new(stream)
            }
            Socket::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        };
        Ok(Incoming {
            stream,
            tls: self.certificate.get(),
        })
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self {
            socket: Socket::Tcp(listener),
            certificate: Certificate::default(),
        }
    }
}

/// A connection that nothing was said on so far.
pub(super) struct Incoming {
    stream: Box<dyn Io>,
    tls: Option<TlsAcceptor>,
}

impl Incoming {
    /// Shakes hands where there is TLS; `None`: that failed, or took longer than `patience`.
    pub(super) async fn secure(self, patience: Duration) -> Option<Box<dyn Io>> {
        let Some(tls) = self.tls else {
            return Some(self.stream);
        };
        let shaken = tokio::time::timeout(patience, tls.accept(self.stream)).await;
        let stream: Box<dyn Io> = Box::new(shaken.ok()?.ok()?);
        Some(stream)
    }
}

/// The file appears under its name with its mode and group, never without.
fn bind_file(socket: &UnixSocket) -> io::Result<UnixListener> {
    let unready = beside(&socket.path);
    std::fs::remove_file(&unready).or_else(absent_is_fine)?;
    let listener = UnixListener::bind(&unready)?;
    // Giving it to the group that it has already would still be refused below the unit's sandbox.
    let given = socket
        .group
        .filter(|group| has_group(&unready) != Some(*group));
    if let Some(group) = given {
        chown(&unready, None, Some(group))?;
    }
    std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(socket.mode))?;
    std::fs::rename(&unready, &socket.path)?;
    Ok(listener)
}

fn has_group(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|file| file.gid())
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}
