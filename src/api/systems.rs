//! Credential managers and access systems as configured: both are `acs_system`s to Seam.
//!
//! Imports config and core. Promises: one id, one system; the order is that of configured names.

use std::collections::BTreeMap;

use url::Url;
use uuid::Uuid;

use crate::config::{self, Config, Environment};
use crate::core::ids::{AcsSystemId, PartNumber};

/// Every configured system.
pub(super) struct Systems {
    workspace: Uuid,
    by_id: BTreeMap<AcsSystemId, System>,
}

/// One of them.
pub(super) struct System {
    /// Seam's `acs_system_id`.
    pub(super) id: AcsSystemId,
    /// As configured.
    pub(super) name: String,
    /// Which of the two it is.
    pub(super) role: Role,
}

/// Credential manager or access system.
pub(super) enum Role {
    /// Issues keys.
    Manager(Manager),
    /// Opens doors; its keys come from this manager unless a credential names another.
    Access {
        /// The configured one.
        manager: AcsSystemId,
    },
}

/// What a credential manager issues.
pub(super) struct Manager {
    /// Where its organization lives.
    pub(super) environment: Environment,
    /// Where sandbox phones register; `None`: they don't.
    pub(super) control_url: Option<Url>,
    /// Where nothing else names one.
    pub(super) default_part_number: Option<PartNumber>,
    /// Card details that name a part number.
    pub(super) card_profiles: Vec<config::CardProfile>,
    /// Pools that name one.
    pub(super) pools: BTreeMap<Uuid, PartNumber>,
}

impl Systems {
    /// The API's view of the configuration.
    pub(super) fn of(config: &Config) -> Self {
        let id_of = |name: &String| {
            config
                .credential_managers
                .get(name)
                .map(|manager| AcsSystemId(manager.acs_system_id))
        };
        let managers = config.credential_managers.iter().map(|(name, manager)| {
            let pools = manager.part_numbers.iter().map(|entry| {
                let part_number = PartNumber(entry.part_number.clone());
                (entry.acs_credential_pool_id, part_number)
            });
            let simulated = manager.environment == Environment::Simulator;
            System {
                id: AcsSystemId(manager.acs_system_id),
                name: name.clone(),
                role: Role::Manager(Manager {
                    environment: manager.environment,
                    control_url: manager.control_url.clone().filter(|_| simulated),
                    default_part_number: manager.default_part_number.clone().map(PartNumber),
                    card_profiles: manager.card_profiles.clone(),
                    pools: pools.collect(),
                }),
            }
        });
        let accesses = config.access_systems.iter().filter_map(|(name, access)| {
            Some(System {
                id: AcsSystemId(access.acs_system_id),
                name: name.clone(),
                role: Role::Access {
                    manager: id_of(&access.credential_manager)?,
                },
            })
        });
        Self {
            workspace: config.workspace_id,
            by_id: managers
                .chain(accesses)
                .map(|system| (system.id, system))
                .collect(),
        }
    }

    /// The workspace that all ids live in.
    pub(super) fn workspace(&self) -> Uuid {
        self.workspace
    }

    /// The system of this id.
    pub(super) fn get(&self, id: AcsSystemId) -> Option<&System> {
        self.by_id.get(&id)
    }

    /// The credential manager of this id.
    pub(super) fn manager(&self, id: AcsSystemId) -> Option<&Manager> {
        match &self.get(id)?.role {
            Role::Manager(manager) => Some(manager),
            Role::Access { .. } => None,
        }
    }

    /// Every system: credential managers and access systems, each by name.
    pub(super) fn all(&self) -> Vec<&System> {
        let mut all: Vec<&System> = self.by_id.values().collect();
        all.sort_by_key(|system| (!system.is_manager(), &system.name));
        all
    }

    /// The pool that stands for a part number.
    pub(super) fn pool_of(&self, manager: AcsSystemId, part_number: &PartNumber) -> Option<Uuid> {
        let pools = &self.manager(manager)?.pools;
        pools
            .iter()
            .find(|(_, known)| *known == part_number)
            .map(|(pool, _)| *pool)
    }

    /// Everything lives in HID's simulator: nobody's real door depends on it.
    pub(super) fn is_sandbox(&self) -> bool {
        let mut managers = self.by_id.values().filter_map(|system| match &system.role {
            Role::Manager(manager) => Some(manager),
            Role::Access { .. } => None,
        });
        let is_simulated = |manager: &Manager| manager.environment == Environment::Simulator;
        managers.next().is_some_and(is_simulated) && managers.all(is_simulated)
    }
}

impl System {
    /// It is a credential manager.
    pub(super) fn is_manager(&self) -> bool {
        matches!(self.role, Role::Manager(_))
    }

    /// Seam's `connected_account_id`: the same at every start.
    pub(super) fn connected_account(&self, workspace: Uuid) -> Uuid {
        let name = format!("connected_account/{}", self.name);
        Uuid::new_v5(&workspace, name.as_bytes())
    }
}
