//! A way between a daemon and somebody that can be cut: then nothing comes through, and nobody is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(20);

/// What was on its way when it was cut never arrives.
#[derive(Clone, Default)]
pub(crate) struct Link(Arc<State>);

#[derive(Default)]
struct State {
    /// Odd while it is cut.
    cuts: AtomicU64,
    /// Nobody is ever told that a connection is lost.
    is_silent: AtomicBool,
}

trait Stream: Read + Write + Send + Sized + 'static {
    fn again(&self) -> Self;
    fn close(&self);
}

impl Stream for TcpStream {
    fn again(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn close(&self) {
        self.shutdown(Shutdown::Both).ok();
    }
}

impl Stream for UnixStream {
    fn again(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn close(&self) {
        self.shutdown(Shutdown::Both).ok();
    }
}

impl Link {
    /// From where `near` listens to what `far` connects to.
    pub(crate) fn from(
        near: TcpListener,
        far: impl Fn() -> Option<TcpStream> + Clone + Send + 'static,
    ) -> Self {
        let link = Self::default();
        let taken = link.clone();
        thread::spawn(move || {
            for near in near.incoming().map_while(Result::ok) {
                taken.join(near, far.clone());
            }
        });
        link
    }

    /// The same between socket files.
    pub(crate) fn between(near: &Path, far: &Path) -> Self {
        let link = Self::default();
        let listener = UnixListener::bind(near).unwrap();
        let (taken, far) = (link.clone(), far.to_owned());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = far.clone();
                taken.join(near, move || UnixStream::connect(far).ok());
            }
        });
        link
    }

    pub(crate) fn cut(&self) {
        assert!(!self.is_cut());
        self.0.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// What was connected stays lost; new connections come through.
    pub(crate) fn mend(&self) {
        assert!(self.is_cut());
        self.0.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// As if another host had the address from now on: what was connected waits for ever.
    pub(crate) fn mend_without_a_word(&self) {
        self.0.is_silent.store(true, Ordering::SeqCst);
        self.mend();
    }

    fn is_cut(&self) -> bool {
        self.0.cuts.load(Ordering::SeqCst) % 2 == 1
    }

    fn until_mended(&self) {
        while self.is_cut() {
            thread::sleep(LOOK);
        }
    }

    fn join<S: Stream>(&self, near: S, far: impl FnOnce() -> Option<S> + Send + 'static) {
        let link = self.clone();
        thread::spawn(move || {
            let since = link.0.cuts.load(Ordering::SeqCst);
            let Some(far) = far().filter(|_| !link.is_cut()) else {
                // Nobody is there who could answer, or refuse.
                link.until_mended();
                return near.close();
            };
            let (back, there) = (near.again(), far.again());
            let answers = link.clone();
            thread::spawn(move || answers.carry(since, there, back));
            link.carry(since, near, far);
        });
    }

    fn carry<S: Stream>(&self, since: u64, mut from: S, mut to: S) {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if self.0.cuts.load(Ordering::SeqCst) != since {
                // Whoever sends is not told before it could come through again.
                self.until_mended();
                while self.0.is_silent.load(Ordering::SeqCst) {
                    thread::park();
                }
                break;
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        from.close();
        to.close();
    }
}
