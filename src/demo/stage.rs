//! What the story is played on: a folder, HID's simulator on a port of its own, and the daemon.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_lc_rs::digest::{SHA256, digest};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::pace::{Pace, ms};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Config};
use crate::daemon::Daemon;
use crate::lifecycle::{Lifecycle, Outcome, Signal, Signals};
use crate::simulator::{Hid, Server};

/// The pool that a launch names.
pub(super) const POOL: &str = "3fa85f64-5717-4562-b3fc-2c963f66afa6";
/// What the pool and the card profile stand for.
pub(super) const PART_NUMBER: &str = "MID-SUB-EXAMPLE_1";

/// A folder in the system's temporary one, gone with this value unless it is to be kept.
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// A new folder that nobody else can read.
    pub(super) fn new() -> anyhow::Result<Self> {
        let name = format!("origo-adapter-demo-{}", Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    /// Leaves it to whoever wants to look what happened.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The daemon's log.
    pub(super) fn log(&self) -> PathBuf {
        self.path.with_extension("log")
    }

    /// Makes the file of the daemon's log. It outlives the folder.
    pub(super) fn new_log(&self) -> anyhow::Result<File> {
        let path = self.log();
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("making {}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // The system clears its temporary folder too; nothing more can be done here.
            std::fs::remove_dir_all(&self.path).unwrap_or_default();
        }
    }
}

/// Simulator and daemon, each behind a listener on the loopback.
pub(super) struct Stage {
    hid: Arc<Mutex<Hid>>,
    config: Config,
    daemon: Option<Running>,
    key: String,
    stop_simulator: oneshot::Sender<()>,
    simulator: JoinHandle<std::io::Result<()>>,
}

struct Running {
    address: std::net::SocketAddr,
    stop: mpsc::UnboundedSender<Signal>,
    ended: JoinHandle<Outcome>,
}

impl Stage {
    /// Starts the simulator, and makes the daemon's configuration the way an operator does: a file in `folder`.
    pub(super) async fn build(folder: &Folder, pace: Pace, seed: u64) -> anyhow::Result<Self> {
        let mut hid = Hid::new(pace.settings(), seed);
        *hid.faults_mut() = pace.faults();
        let hid = Arc::new(Mutex::new(hid));
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("finding a port for the simulator")?;
        let address = listener.local_addr()?;
        let server = Server {
            hid: Arc::clone(&hid),
            clock: Arc::new(|| SystemClock.now()),
            control: false,
            latency: pace.latency(),
        };
        let (stop_simulator, stopped) = oneshot::channel::<()>();
        let simulator = tokio::spawn(server.serve(listener, async {
            stopped.await.unwrap_or_default();
        }));

        let key = format!("seam_demo_{}", Uuid::new_v4().simple());
        let file = folder.path().join("config.toml");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "simulator-secret\n").context("writing the secret")?;
        let text = configuration(folder.path(), &format!("http://{address}"), &key, pace);
        std::fs::write(&file, text).context("writing the configuration")?;
        let config = config::load(Some(&file), std::iter::empty())?;
        Ok(Self {
            hid,
            config,
            daemon: None,
            key,
            stop_simulator,
            simulator,
        })
    }

    /// HID as it knows itself; never held across an await.
    pub(super) fn hid(&self) -> MutexGuard<'_, Hid> {
        self.hid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credential manager's id, from which the ids of phones follow.
    pub(super) fn manager(&self) -> Uuid {
        let mut managers = self.config.credential_managers.values();
        managers
            .next()
            .map_or(Uuid::nil(), |manager| manager.acs_system_id)
    }

    /// The key that the daemon's API takes.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Starts the daemon and returns where its API is.
    pub(super) async fn start_daemon(&mut self) -> anyhow::Result<std::net::SocketAddr> {
        let (stop, signals) = Signals::by_hand();
        let lifecycle = Lifecycle::new(self.config.daemon.shutdown_timeout);
        let daemon = Daemon::start(&self.config, &lifecycle, Arc::new(SystemClock)).await?;
        let ended = tokio::spawn(async move { lifecycle.run(signals).await });
        let address = daemon.address.parse()?;
        self.daemon = Some(Running {
            address,
            stop,
            ended,
        });
        Ok(address)
    }

    /// Sends the daemon the signal to stop and waits until it has drained.
    pub(super) async fn stop_daemon(&mut self) -> anyhow::Result<()> {
        let Some(daemon) = self.daemon.take() else {
            return Ok(());
        };
        let told = daemon.stop.send(Signal::Stop);
        let outcome = daemon.ended.await.context("waiting for the daemon's end")?;
        if told.is_err() || outcome != Outcome::Clean {
            bail!("the daemon on {} ended badly: {outcome:?}", daemon.address);
        }
        Ok(())
    }

    /// Ends everything.
    pub(super) async fn clear(mut self) -> anyhow::Result<Arc<Mutex<Hid>>> {
        self.stop_daemon().await?;
        // It may have ended by itself; what it says then follows.
        self.stop_simulator.send(()).unwrap_or_default();
        self.simulator
            .await?
            .context("the simulator's listener failed")?;
        Ok(self.hid)
    }
}

/// What an operator would write, with the times of `pace`.
fn configuration(folder: &Path, hid: &str, key: &str, pace: Pace) -> String {
    use std::fmt::Write as _;
    let folder = folder.display();
    let mut hash = String::new();
    for byte in digest(&SHA256, key.as_bytes()).as_ref() {
        // Writing to a text does not fail.
        write!(hash, "{byte:02x}").unwrap_or_default();
    }
    let text = |duration: Duration| format!("{}ms", ms(duration));
    let schedule = pace
        .retry_schedule()
        .map(|wait| format!("\"{}\"", text(wait)))
        .join(", ");
    let (interval, window) = (text(pace.interval()), text(pace.window()));
    let (settle_delay, bound) = (text(pace.settle_delay()), text(pace.late_effect_bound()));
    format!(
        r#"[credential_managers.hq]
organization_id = "7001234"
environment = "simulator"
token_url = "{hid}"
mobile_identities_url = "{hid}/credential-management"
events_url = "{hid}"
application_id = "HID-EXAMPLE-DEMO"
client_id = "7001234-OSRV900001"
client_secret_file = "{folder}/secret"
request_timeout = "5s"

[credential_managers.hq.windows]
mobile_identities = {{ per = "{window}" }}
events = {{ per = "{window}" }}
token = {{ per = "{window}" }}

[credential_managers.hq.polling]
interval = "{interval}"
overlap = "10s"

[credential_managers.hq.invitations]
delivery = "api"

[[credential_managers.hq.card_profiles]]
card_format = "rfid48"
facility_code = "9"
part_number = "{PART_NUMBER}"

[[credential_managers.hq.part_numbers]]
part_number = "{PART_NUMBER}"
acs_credential_pool_id = "{POOL}"

[access_systems.hq_doors]
credential_manager = "hq"

[issuance]
retry_schedule = [{schedule}]
settle_delay = "{settle_delay}"
late_effect_bound = "{bound}"

[store]
url = "sqlite://{folder}/state.db"

[api]
listen = "127.0.0.1:0"

[api.keys.demo]
scope = "write"
hash = "sha256:{hash}"
"#
    )
}
