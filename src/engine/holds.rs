//! Holding and letting go of what concerns more than one identity: no identity is walked through, the store keeps back
//! what is held and has it in line as it was.

use super::Engine;
use crate::core::hold::{HoldReason, HoldScope};
use crate::emit;
use crate::store::{Error, StandingHold};
use crate::telemetry::{HOLD_RELEASED, HOLD_SET};

impl Engine {
    /// Holds a scope from now on: no new call of it is claimed once this returns.
    pub async fn hold(
        &self,
        scope: HoldScope,
        reason: HoldReason,
        cause: &str,
    ) -> Result<(), Error> {
        if self.is_held(&scope, reason).await? {
            return Ok(());
        }
        let hold = StandingHold {
            scope: scope.clone(),
            reason,
            since: self.now(),
            cause: cause.to_owned(),
        };
        self.store.hold(hold).await?;
        let (what, why) = (name(&scope), reason.name());
        emit!(HOLD_SET, hold.scope = %what, hold.reason = why, cause = %cause; "{what} is held ({why}) by {cause}");
        Ok(())
    }

    /// Lets go of all that a person may let go of in a scope, at once; part numbers go with their manager.
    pub async fn release(&self, scope: HoldScope, cause: &str) -> Result<(), Error> {
        let reasons = HoldReason::ALL.into_iter();
        let reasons: Vec<_> = reasons.filter(|reason| reason.is_releasable()).collect();
        for hold in self.store.holds().await? {
            let inside = match &hold.scope {
                HoldScope::Part(manager, _) => scope.covers(*manager),
                HoldScope::All | HoldScope::Manager(_) => false,
            };
            if inside {
                self.let_go(hold.scope, &reasons, cause).await?;
            }
        }
        self.let_go(scope, &reasons, cause).await?;
        // Whoever rests looks again, even where nothing was held: a gate may be open to a probe.
        self.tell();
        Ok(())
    }

    /// Lets go of what is held in a scope for one of these reasons.
    pub async fn let_go(
        &self,
        scope: HoldScope,
        reasons: &[HoldReason],
        cause: &str,
    ) -> Result<(), Error> {
        let mut gone = Vec::new();
        for reason in reasons {
            if self.is_held(&scope, *reason).await? {
                gone.push(*reason);
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        self.store.release(scope.clone(), gone.clone()).await?;
        self.tell();
        for reason in gone {
            let (what, why) = (name(&scope), reason.name());
            emit!(HOLD_RELEASED, hold.scope = %what, hold.reason = why, cause = %cause;
                "{what} is no longer held ({why}): {cause}");
        }
        Ok(())
    }

    async fn is_held(&self, scope: &HoldScope, reason: HoldReason) -> Result<bool, Error> {
        let holds = self.store.holds().await?;
        let same = |hold: &StandingHold| hold.scope == *scope && hold.reason == reason;
        Ok(holds.iter().any(same))
    }
}

/// For logs.
fn name(scope: &HoldScope) -> String {
    match scope {
        HoldScope::All => "everything".to_owned(),
        HoldScope::Manager(manager) => format!("credential manager {manager}"),
        HoldScope::Part(manager, part) => {
            format!("part number {part} of credential manager {manager}")
        }
    }
}
