//! SIGHUP: the configuration is read again, and what a running daemon can take over counts from then on
//! (contract.md section 4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Notify;

use super::build;
use crate::api::{Api, Certificate};
use crate::config::{self, Config, Listen};
use crate::emit;
use crate::engine::Engine;
use crate::lifecycle::Lifecycle;
use crate::manager::Manager;
use crate::telemetry::{self, CONFIG_LATER, CONFIG_REFUSED, CONFIG_RELOADED};

/// Reads the configuration anew.
pub type Reader = Box<dyn Fn() -> Result<Config, config::Error> + Send + Sync>;

/// All that follows the configuration while it runs.
pub(super) struct Following {
    pub(super) engine: Arc<Engine>,
    pub(super) api: Arc<Api>,
    pub(super) managers: BTreeMap<String, Arc<Manager>>,
    pub(super) certificate: Certificate,
    /// Has the files of people read again.
    pub(super) people: Arc<Notify>,
    /// What counts now.
    pub(super) config: Config,
}

/// Starts the loop that waits for SIGHUP. A file that is bad changes nothing.
pub(super) fn spawn(lifecycle: &Lifecycle, mut following: Following, read: Reader) {
    let (life, hangup, soft) = (lifecycle.clone(), lifecycle.reload(), lifecycle.soft());
    lifecycle.spawn("reload", async move {
        while soft.run_until_cancelled(hangup.notified()).await.is_some() {
            life.reloading();
            match read() {
                Ok(wanted) => following.take_over(&wanted),
                Err(error) => {
                    for complaint in &error.complaints {
                        emit!(CONFIG_REFUSED, error = %complaint;
                            "the configuration is left as it was: {complaint}");
                    }
                }
            }
            life.reloaded();
        }
    });
}

impl Following {
    fn take_over(&mut self, wanted: &Config) {
        let (next, changed) = self.config.reloaded(wanted);
        telemetry::set_level(next.log.level);
        self.engine.renew(build::policy(&next));
        self.api.reload(&next);
        for (name, manager) in &self.managers {
            if let Some(settings) = next.credential_managers.get(name) {
                build::renew_windows(manager, settings, &next);
            }
        }
        if let Listen::Tcp(_, Some(tls)) = &next.api.listen {
            self.certificate.renew(tls);
        }
        self.people.notify_one();
        self.config = next;
        let keys = listed(&changed.at_once);
        emit!(CONFIG_RELOADED, config.keys = %keys; "the configuration was read again; new are: {keys}");
        if !changed.at_restart.is_empty() {
            let keys = listed(&changed.at_restart);
            emit!(CONFIG_LATER, config.keys = %keys; "these count from the next start on: {keys}");
        }
    }
}

fn listed(keys: &BTreeSet<String>) -> String {
    if keys.is_empty() {
        return "none".to_owned();
    }
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    keys.join(", ")
}
