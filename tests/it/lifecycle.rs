//! The life of a real process: real signals, and what systemd is told.
//!
//! Each test starts this very binary again as the daemon, with a socket to speak to.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use origo_adapter::lifecycle::{Lifecycle, Outcome, Signals};
use tempfile::TempDir;

/// Marks the process that is the daemon, and says how its loop behaves.
const ROLE: &str = "LIFECYCLE_TEST_ROLE";
/// Long enough for any machine, short enough to see a hang.
const PATIENCE: Duration = Duration::from_secs(20);

struct Daemon {
    child: Child,
    socket: UnixDatagram,
    _folder: TempDir,
}

impl Daemon {
    fn start(test: &str, role: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, role)
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "100000")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            socket,
            _folder: folder,
        }
    }

    /// Returns the next message, `None` when there is none for as long as set.
    fn hear(&self) -> Option<String> {
        let mut buffer = [0; 1024];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8(buffer[..length].to_vec()).unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                None
            }
        }
    }

    fn wait_for(&self, word: &str) {
        loop {
            let said = self.hear();
            let said = said.unwrap_or_else(|| panic!("{word} was not said"));
            if said.lines().any(|line| line == word) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

/// Plays the daemon if this process is one.
fn plays(run: impl FnOnce(&str, &tokio::runtime::Runtime)) -> bool {
    let Some(role) = std::env::var_os(ROLE) else {
        return false;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    run(role.to_str().unwrap(), &runtime);
    true
}

#[test]
fn systemd_is_told_each_step() {
    if plays(|_, runtime| {
        let outcome = runtime.block_on(async {
            let signals = Signals::install().unwrap();
            let life = Lifecycle::new(PATIENCE);
            let soft = life.soft();
            life.spawn("loop", async move { soft.cancelled().await });
            life.ready("serving");
            life.run(signals).await
        });
        assert_eq!(outcome, Outcome::Clean);
    }) {
        return;
    }
    let daemon = Daemon::start("lifecycle::systemd_is_told_each_step", "obedient");
    daemon.wait_for("READY=1");
    daemon.wait_for("WATCHDOG=1");
    daemon.signal("HUP");
    daemon.wait_for("WATCHDOG=1");
    daemon.signal("TERM");
    daemon.wait_for("STOPPING=1");
    assert!(daemon.end().success());
}

#[test]
fn a_second_signal_cuts() {
    if plays(|_, runtime| {
        let outcome = runtime.block_on(async {
            let signals = Signals::install().unwrap();
            let life = Lifecycle::new(10 * PATIENCE);
            life.spawn("deaf", std::future::pending());
            life.ready("serving");
            life.run(signals).await
        });
        assert_eq!(outcome, Outcome::Cut);
    }) {
        return;
    }
    let daemon = Daemon::start("lifecycle::a_second_signal_cuts", "deaf");
    daemon.wait_for("READY=1");
    daemon.signal("INT");
    daemon.wait_for("STOPPING=1");
    daemon.wait_for("WATCHDOG=1");
    daemon.signal("TERM");
    assert!(daemon.end().success());
}

#[test]
fn a_hung_loop_starves_the_watchdog() {
    if plays(|_, runtime| {
        runtime.block_on(async {
            let signals = Signals::install().unwrap();
            let life = Lifecycle::new(PATIENCE);
            let _beat = life.beat("hung", Duration::from_millis(200));
            life.ready("serving");
            life.run(signals).await
        });
    }) {
        return;
    }
    let daemon = Daemon::start("lifecycle::a_hung_loop_starves_the_watchdog", "hung");
    daemon.wait_for("READY=1");
    daemon.wait_for("WATCHDOG=1");
    let second = Some(Duration::from_secs(1));
    daemon.socket.set_read_timeout(second).unwrap();
    let mut fed = 1;
    while daemon.hear().is_some() {
        fed += 1;
    }
    assert!(fed < 20, "fed {fed} times");
    daemon.signal("TERM");
    assert!(daemon.end().success());
}
