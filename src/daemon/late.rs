//! Withdrawals that do not come through: somebody may still open a door (contract.md section 7).

use std::time::Duration;

use crate::clock::rfc3339;
use crate::config::Config;
use crate::core::Class;
use crate::core::ids::AcsSystemId;
use crate::emit;
use crate::engine::Engine;
use crate::store::Error;
use crate::telemetry::WITHDRAWAL_LATE;

/// Later than this a person must know.
const LATE: Duration = Duration::from_mins(15);

/// Where withdrawals go: a credential manager or an access system, each by itself.
pub struct Side {
    /// As configured.
    pub name: String,
    /// Ours.
    pub id: AcsSystemId,
    /// What withdrawals are there.
    pub class: Class,
}

/// All sides of a configuration.
#[must_use]
pub fn sides(config: &Config) -> Vec<Side> {
    let side = |name: &String, id, class| Side {
        name: name.clone(),
        id: AcsSystemId(id),
        class,
    };
    let managers = config.credential_managers.iter();
    let managers = managers.map(|(name, it)| side(name, it.acs_system_id, Class::Withdrawal));
    let systems = config.access_systems.iter();
    let systems = systems.filter(|(_, it)| it.import.is_some());
    let systems = systems.map(|(name, it)| side(name, it.acs_system_id, Class::Removal));
    managers.chain(systems).collect()
}

/// Tells of each side whose oldest withdrawal is late.
pub async fn tell(engine: &Engine, sides: &[Side]) -> Result<(), Error> {
    let now = engine.now();
    for Side { name, id, class } in sides {
        let oldest = engine.store().oldest_owed(*id, *class).await?;
        let Some(oldest) = oldest.filter(|due| now.since(due.owed_since) >= LATE) else {
            continue;
        };
        let (identity, since) = (oldest.identity, rfc3339(oldest.owed_since.0));
        emit!(WITHDRAWAL_LATE, system.name = %name, identity.id = %identity, effect.lane = %oldest.lane, since = %since;
            "a withdrawal at {name} is owed since {since}: identity {identity}, {}", oldest.lane);
    }
    Ok(())
}
