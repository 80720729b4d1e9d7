//! Repairs of drift within `issuance.mass_change_guard` (contract.md section 4).

use uuid::Uuid;

use super::Engine;
use crate::core::drift;
use crate::core::hold::HoldReason;
use crate::core::identity::Identity;
use crate::core::ids::Timestamp;
use crate::core::observation::Observation;
use crate::core::step::{Step, step};
use crate::core::wish::Wish;
use crate::store::{Error, Grant, Slot, Window};

/// In which keys count that files and repairs issue to phones that are there.
const WINDOW: &str = "guard/issues";

impl Engine {
    /// `step` as it is where its repairs are within the guard; else with the person held until somebody lets go.
    pub(super) async fn guarded(
        &self,
        before: &Identity,
        stepped: Step,
        now: Timestamp,
    ) -> Result<Step, Error> {
        let policy = self.policy();
        let (Some((limit, per)), Some(after)) = (policy.repairs_guard, &stepped.identity) else {
            return Ok(stepped);
        };
        let found = drift::found(before, after, now).into_iter();
        let repairs = found.filter(|found| found.repaired && found.what == "key_revoked");
        for _ in repairs {
            let at = self.window_now().await?;
            let slot = Slot {
                token: Uuid::new_v4(),
                windows: vec![Window {
                    key: WINDOW.to_owned(),
                    limit,
                }],
                at,
                frees_at: at.plus(per),
            };
            if limit == 0 || self.store.take_slots(vec![slot], Vec::new()).await? != Grant::Taken {
                let wish = Observation::Wish(Wish::Hold(HoldReason::Guard));
                let held = step(&policy, after, &wish, now);
                let changes = stepped.changes.into_iter().chain(held.changes).collect();
                return Ok(Step {
                    changes,
                    started: stepped.started,
                    ..held
                });
            }
        }
        Ok(stepped)
    }
}
