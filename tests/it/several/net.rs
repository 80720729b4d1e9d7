//! A network of its own for a daemon, where the machine allows: nothing is in it but a loopback that nobody else reaches.

use std::fs::File;
use std::net::TcpStream;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use crate::process_support::Site;
use crate::support::machine::tell;

/// `None`: the machine's own. Linux gives a new one to root only.
#[derive(Clone)]
pub(super) struct Net(Option<Arc<File>>);

impl Net {
    pub(super) fn new() -> Self {
        // A thread leaves the network of all others for good.
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).ok()?;
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            up.ok().filter(ExitStatus::success)?;
            File::open("/proc/thread-self/ns/net").ok()
        });
        Self(made.join().unwrap().map(Arc::new))
    }

    pub(super) fn is_own(&self) -> bool {
        self.0.is_some()
    }

    /// What is opened or started by `what` is and stays in this network.
    pub(super) fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            if let Some(net) = &self.0 {
                setns(net, CloneFlags::CLONE_NEWNET).unwrap();
            }
            what()
        };
        thread::scope(|scope| scope.spawn(enter).join().unwrap())
    }
}

#[test]
fn nobody_is_reached_from_a_network_of_its_own() {
    let net = Net::new();
    if !net.is_own() {
        tell("networks of daemons' own: this machine does not allow them");
        return;
    }
    let site = Site::without_daemon();
    let reaches = || TcpStream::connect(&site.hid.address).is_ok();
    assert!(reaches());
    assert!(!net.within(reaches));
}
