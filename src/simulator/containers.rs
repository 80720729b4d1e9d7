//! Credential containers, that is phones (`origo-api.md` 5).

use serde_json::json;

use super::{
    answer::{Answer, Outcome, Refusal},
    clockwork::Work,
    hid::Hid,
    ledger::{Cause, Effect},
    model::{Container, ContainerStatus, Credential, CredentialStatus, User},
    routes::{Call, Class},
    settings::RevokedVisibility,
    shapes,
};

impl Hid {
    pub(super) fn get_container(&mut self, call: &Call) -> Outcome {
        let (user, container) = self.find_container(call)?;
        let meta = shapes::container_meta(&self.settings, &call.organization, container);
        let entry = shapes::with_meta(shapes::container(&self.settings, user, container), meta);
        Ok(Answer::ok(shapes::under_urn(shapes::CONTAINER, &entry)))
    }

    pub(super) fn list_containers(&mut self, call: &Call) -> Outcome {
        let user = self.find_user(call, call.number())?;
        let mut list: Vec<&Container> = user.containers.iter().collect();
        list.sort_by_key(|container| std::cmp::Reverse(container.id));
        let rows = list.iter().take(self.settings.page_cap).map(|container| {
            json!({ "meta": shapes::container_meta(&self.settings, &call.organization, container) })
        });
        Ok(Answer::ok(shapes::list(
            list.len(),
            1,
            &rows.collect::<Vec<_>>(),
        )))
    }

    pub(super) fn list_credentials(&mut self, call: &Call) -> Outcome {
        let (user, container) = self.find_container(call)?;
        let rows: Vec<_> = user
            .credentials_on(container.id)
            .map(|item| {
                json!({ "meta": shapes::credential_meta(&self.settings, &call.organization, item) })
            })
            .collect();
        let shown = rows.len().min(self.settings.page_cap);
        Ok(Answer::ok(shapes::list(rows.len(), 1, &rows[..shown])))
    }

    pub(super) fn delete_container(&mut self, call: &Call) -> Outcome {
        let (user, container) = self.find_container(call)?;
        if container.status != ContainerStatus::Active {
            return Err(Refusal::mutability(
                "The credential container is not in a valid state.",
            ));
        }
        let owner = user.id;
        self.remember(call, owner);
        self.tear_down_container(call.at, call.cause(), call.number());
        Ok(Answer::empty(204))
    }

    /// Revokes what is on it and deletes it when that is done. An acknowledged invitation stays as it is (lifecycles 2).
    pub(super) fn tear_down_container(&mut self, at: i64, cause: Cause, id: u64) {
        let Some(container) = self.world.container_mut(id) else {
            return;
        };
        container.status = ContainerStatus::DeleteInitiated;
        container.modified = at;
        self.ledger.note(
            at,
            cause,
            Effect::ContainerDeleteInitiated { container: id },
        );
        self.extra_endpoint_event(at, id, "ENDPOINT_DELETE_INITIATED");
        for credential in self.credentials_of_container(id) {
            self.start_revoke(at, cause, credential);
        }
        self.due.add(
            at.saturating_add_unsigned(self.settings.container_delete_ms),
            Work::FinishContainer(id),
        );
    }

    /// Deletes a container that is being deleted once its last credential ended and its phone is there to hear it.
    pub(super) fn finish_container(&mut self, at: i64, id: u64) {
        let Some(owner) = self.world.owner_of_container.get(&id).copied() else {
            return;
        };
        let Some(user) = self.world.users.get(&owner) else {
            return;
        };
        let busy = user
            .credentials_on(id)
            .any(|item| item.status != CredentialStatus::Revoked);
        let deleting = user.container(id).is_some_and(|item| {
            item.status == ContainerStatus::DeleteInitiated
                && at
                    >= item
                        .modified
                        .saturating_add_unsigned(self.settings.container_delete_ms)
        });
        if busy || !deleting {
            return;
        }
        if self.due.is_offline(id) {
            self.due.park(id, Work::FinishContainer(id));
            return;
        }
        self.container_gone(at, Cause::Clock, id);
        self.finish_user(at, owner);
    }

    pub(super) fn container_gone(&mut self, at: i64, cause: Cause, id: u64) {
        let Some(container) = self.world.container_mut(id) else {
            return;
        };
        container.status = ContainerStatus::Deleted;
        container.modified = at;
        let invitation = container.invitation;
        // It left before it was ready for what was reserved with its code.
        self.release_reserved(at, invitation);
        self.ledger
            .note(at, cause, Effect::ContainerDeleted { container: id });
        self.extra_endpoint_event(at, id, "ENDPOINT_DELETED");
    }

    pub(super) fn credentials_of_container(&self, id: u64) -> Vec<u64> {
        let owner = self
            .world
            .owner_of_container
            .get(&id)
            .and_then(|owner| self.world.users.get(owner));
        owner
            .map(|user| user.credentials_on(id).map(|item| item.id).collect())
            .unwrap_or_default()
    }

    pub(super) fn find_container(&self, call: &Call) -> Result<(&User, &Container), Refusal> {
        self.world
            .user_with_container(&call.organization, call.number())
            .ok_or_else(|| Refusal::missing("credential container"))
    }

    /// After a read that showed revoked credentials: they are gone, if that is how this HID is set (12.3).
    pub(super) fn forget_what_was_shown(&mut self, call: &Call) {
        if self.settings.revoked_visibility != RevokedVisibility::OneReadThenGone {
            return;
        }
        let world = &self.world;
        let organization = &call.organization;
        let id = call.number();
        let user = if call.class == Class::UserGet {
            world.user_of(organization, id)
        } else if call.class == Class::ContainerGet {
            world
                .user_with_container(organization, id)
                .map(|(user, _)| user)
        } else if call.class == Class::CredentialGet {
            world
                .user_with_credential(organization, id)
                .map(|(user, _)| user)
        } else {
            None
        };
        let Some(user) = user else { return };
        let was_shown = |credential: &Credential| {
            (call.class != Class::ContainerGet || credential.container == Some(id))
                && (call.class != Class::CredentialGet || credential.id == id)
        };
        let shown: Vec<u64> = user
            .credentials
            .iter()
            .filter(|credential| {
                credential.status == CredentialStatus::Revoked && was_shown(credential)
            })
            .map(|credential| credential.id)
            .collect();
        for id in shown {
            self.forget_credential(id);
        }
    }
}
