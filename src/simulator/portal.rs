//! The portal's side: what people do by hand behind the adapter's back.

use super::{hid::Hid, ledger::Cause, model::UserStatus};

/// Why the portal did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortalError {
    #[error("no such object")]
    Unknown,
    #[error("{0}")]
    Refused(String),
}

impl Hid {
    /// Sets what is left of a part number in every organization; `None`: it never runs out. False: unknown.
    pub fn set_stock(&mut self, now: i64, part_number: &str, available: Option<u32>) -> bool {
        self.advance(now);
        let mut known = false;
        for ((_, name), stock) in &mut self.world.stock {
            if name == part_number {
                stock.available = available;
                known = true;
            }
        }
        known
    }

    /// Adds to what is left of a part number in every organization.
    pub fn add_stock(&mut self, now: i64, part_number: &str, more: u32) -> bool {
        self.advance(now);
        let mut known = false;
        for ((_, name), stock) in &mut self.world.stock {
            if name == part_number {
                stock.available = stock.available.map(|left| left.saturating_add(more));
                known = true;
            }
        }
        known
    }

    /// Revokes a credential by hand.
    pub fn portal_revoke(&mut self, now: i64, credential: u64) -> Result<(), PortalError> {
        self.advance(now);
        let status = self
            .world
            .credential_mut(credential)
            .ok_or(PortalError::Unknown)?
            .status;
        if !status.is_revocable() {
            return Err(PortalError::Refused(
                "the credential is not revocable".to_owned(),
            ));
        }
        let now = self.now();
        self.start_revoke(now, Cause::Portal, credential);
        Ok(())
    }

    /// Issues a credential by hand, under the rules of the API; gives its id.
    pub fn portal_issue(
        &mut self,
        now: i64,
        container: u64,
        part_number: &str,
    ) -> Result<u64, PortalError> {
        self.advance(now);
        let owner = *self
            .world
            .owner_of_container
            .get(&container)
            .ok_or(PortalError::Unknown)?;
        let organization = self
            .world
            .users
            .get(&owner)
            .map(|user| user.organization.clone())
            .ok_or(PortalError::Unknown)?;
        let part_number = self
            .check_issue(&organization, container, part_number, "")
            .map_err(|refusal| PortalError::Refused(refusal.detail))?;
        let now = self.now();
        Ok(self.accept_issue(now, Cause::Portal, owner, container, &part_number))
    }

    /// The oldest user with this `externalId`, which HID does not hold to be unique (3.3).
    pub fn user_by_external_id(&self, external_id: &str) -> Option<u64> {
        let mut users = self.world.users.values();
        users
            .find(|user| user.external_id == external_id)
            .map(|user| user.id)
    }

    /// Deletes a user by hand.
    pub fn portal_delete_user(&mut self, now: i64, user: u64) -> Result<(), PortalError> {
        self.advance(now);
        let status = self
            .world
            .users
            .get(&user)
            .ok_or(PortalError::Unknown)?
            .status;
        if status != UserStatus::Active {
            return Err(PortalError::Refused("the user is being deleted".to_owned()));
        }
        let now = self.now();
        self.tear_down_user(now, Cause::Portal, user);
        Ok(())
    }
}
