//! Credentials, that is Mobile IDs (`origo-api.md` 6).

use super::{
    answer::{Answer, Outcome, Refusal},
    clockwork::Work,
    faults::Fault,
    hid::Hid,
    invitations::Action,
    ledger::{Cause, Effect, Violation},
    model::{ContainerStatus, Credential, CredentialStatus, UserStatus},
    part_numbers::Drawn,
    routes::Call,
    settings::{DuplicateIssue, RevokedVisibility},
    shapes,
    users::schemas,
};

impl Hid {
    /// Answers 200 with the bare object, not 201 with a list (quirk 5). Every problem with the part number is a 412
    /// here (7), told apart by its text only (10.2).
    pub(super) fn issue(&mut self, call: &Call, fault: Option<Fault>) -> Outcome {
        let body = call.json()?;
        if self.settings.strict_bodies && schemas(&body).first() != Some(&shapes::ACTION) {
            return Err(Refusal::value("The schemas are not valid."));
        }
        let action = Action::read(&body)?;
        if !action.assign {
            return Err(Refusal::value("assignCredential must be Y."));
        }
        let id = call.number();
        let (user, container) = self.find_container(call)?;
        let (owner, status, was_active) = (user.id, container.status, container.was_active);
        if !was_active {
            let violation = Violation::NeverActive {
                at: call.at,
                no: call.no,
                container: id,
                status,
            };
            self.ledger.violations.push(violation);
        }
        if fault == Some(Fault::NotCompatible) {
            return Err(Refusal::mutability(
                "The credential container and the credential type are not compatible.",
            ));
        }
        let part_number = self.check_issue(
            &call.organization,
            id,
            &action.part_number,
            &action.credential,
        )?;
        if fault == Some(Fault::AssignmentRace) {
            return Err(Refusal::mutability(
                "The credential could not be assigned, please try again.",
            ));
        }
        self.remember(call, owner);
        let credential = self.accept_issue(call.at, call.cause(), owner, id, &part_number);
        let (_, credential) = self
            .world
            .user_with_credential(&call.organization, credential)
            .ok_or_else(|| Refusal::missing("credential"))?;
        let meta = shapes::credential_meta(&self.settings, &call.organization, credential);
        let location = meta["location"].as_str().unwrap_or_default().to_owned();
        let mut entry = shapes::with_meta(shapes::credential(&self.settings, credential), meta);
        if self.settings.issue_answers_list {
            return Ok(Answer::ok(shapes::under_urn(shapes::CREDENTIAL, &entry)).at(location));
        }
        entry["schemas"] = serde_json::json!([shapes::CREDENTIAL]);
        entry["referenceNumber"] = serde_json::json!("");
        Ok(Answer::ok(entry).at(location))
    }

    /// The table of 412s in 10.2; gives the part number that would be issued.
    pub(super) fn check_issue(
        &self,
        organization: &str,
        container: u64,
        part_number: &str,
        named: &str,
    ) -> Result<String, Refusal> {
        let (user, found) = self
            .world
            .user_with_container(organization, container)
            .ok_or_else(|| Refusal::missing("credential container"))?;
        if found.status != ContainerStatus::Active || user.status != UserStatus::Active {
            return Err(Refusal::mutability(
                "The credential container is not in a valid state.",
            ));
        }
        let wanted = self
            .resolve_part_number(organization, part_number)
            .map_err(|problem| Refusal::mutability(problem.text()))?;
        let held: Vec<&str> = user
            .credentials_on(container)
            .filter(|credential| credential.status != CredentialStatus::Revoked)
            .map(|credential| credential.part_number.as_str())
            .collect();
        if self.settings.duplicate_issue == DuplicateIssue::Refuse
            && held.contains(&wanted.as_str())
        {
            return Err(Refusal::mutability(
                "The credential is already delivered to this credential container.",
            ));
        }
        if held.len() >= self.settings.container_limit {
            let detail = "The credential container holds the maximum number of credentials.";
            return Err(Refusal::mutability(detail));
        }
        self.choose_part_number(organization, &wanted, named)
            .map_err(|problem| Refusal::mutability(problem.text()))
    }

    /// Draws a credential for the container and starts its delivery.
    pub(super) fn accept_issue(
        &mut self,
        at: i64,
        cause: Cause,
        owner: u64,
        container: u64,
        part_number: &str,
    ) -> u64 {
        let organization = self
            .world
            .users
            .get(&owner)
            .map(|user| user.organization.clone())
            .unwrap_or_default();
        let Drawn {
            card_number,
            friendly_name,
        } = self.draw_card(&organization, part_number, at);
        self.ids.credential += 1;
        let id = self.ids.credential;
        self.world.owner_of_credential.insert(id, owner);
        if let Some(user) = self.world.users.get_mut(&owner) {
            user.credentials.push(Credential {
                id,
                container: Some(container),
                invitation: None,
                part_number: part_number.to_owned(),
                friendly_name,
                card_number,
                status: CredentialStatus::IssueInitiated,
                modified: at,
                cause,
            });
        }
        self.credential_accepted(at, cause, owner, container, id);
        id
    }

    /// Binds what was reserved with the container's invitation to it, now that it is there (lifecycles 4).
    pub(super) fn deliver_reserved(&mut self, at: i64, container: u64) {
        let Some(owner) = self.world.owner_of_container.get(&container).copied() else {
            return;
        };
        let Some(user) = self.world.users.get_mut(&owner) else {
            return;
        };
        let invitation = user.container(container).map(|item| item.invitation);
        let mut bound = Vec::new();
        for credential in &mut user.credentials {
            if credential.container.is_none() && credential.invitation == invitation {
                credential.container = Some(container);
                credential.modified = at;
                bound.push((credential.id, credential.cause));
            }
        }
        for (id, cause) in bound {
            self.credential_accepted(at, cause, owner, container, id);
        }
    }

    fn credential_accepted(&mut self, at: i64, cause: Cause, owner: u64, container: u64, id: u64) {
        let Some(user) = self.world.users.get(&owner) else {
            return;
        };
        let Some(part_number) = user
            .credential(id)
            .map(|credential| credential.part_number.clone())
        else {
            return;
        };
        let live: Vec<&Credential> = user
            .credentials_on(container)
            .filter(|credential| {
                credential.part_number == part_number && credential.status.is_live()
            })
            .collect();
        if live.len() > 1 {
            let late = live
                .iter()
                .any(|item| matches!(item.cause, Cause::Request { late: true, .. }));
            let ids = live.iter().map(|credential| credential.id).collect();
            self.ledger
                .duplicate(at, container, &part_number, ids, late);
        }
        self.ledger.note(
            at,
            cause,
            Effect::CredentialAccepted {
                credential: id,
                container,
                part_number,
            },
        );
        if self.settings.issue_initiated_events {
            self.credential_event(at, id, "CREDENTIAL_ISSUE_INITIATED");
        }
        self.due.add(
            at.saturating_add_unsigned(self.settings.issuing_delay_ms),
            Work::BeginIssuing(id),
        );
    }

    /// The phone confirms, or refuses.
    pub(super) fn confirm_issue(&mut self, at: i64, id: u64) {
        if self
            .world
            .credential_mut(id)
            .is_none_or(|item| item.status != CredentialStatus::Issuing)
        {
            return;
        }
        if self.faults.strikes_now(&mut self.chance, Fault::IssueFails) {
            self.move_credential(
                at,
                id,
                CredentialStatus::Issuing,
                CredentialStatus::IssueFailed,
            );
            self.ledger.note(
                at,
                Cause::Phone,
                Effect::CredentialIssueFailed { credential: id },
            );
            self.extra_credential_event(at, id, "CREDENTIAL_ISSUE_FAILED");
            self.look_for_end_of_duplicate(at, id);
            return;
        }
        self.move_credential(at, id, CredentialStatus::Issuing, CredentialStatus::Issued);
        self.ledger.note(
            at,
            Cause::Phone,
            Effect::CredentialIssued { credential: id },
        );
        self.credential_event(at, id, "CREDENTIAL_ISSUED");
    }

    pub(super) fn get_credential(&mut self, call: &Call) -> Outcome {
        let (_, credential) = self.find_credential(call)?;
        let meta = shapes::credential_meta(&self.settings, &call.organization, credential);
        let entry = shapes::with_meta(shapes::credential(&self.settings, credential), meta);
        Ok(Answer::ok(shapes::under_urn(shapes::CREDENTIAL, &entry)))
    }

    pub(super) fn revoke(&mut self, call: &Call) -> Outcome {
        let (owner, credential) = self.find_credential(call)?;
        if !credential.status.is_revocable() || credential.container.is_none() {
            return Err(Refusal::mutability("The credential is not assigned."));
        }
        self.remember(call, owner);
        self.start_revoke(call.at, call.cause(), call.number());
        Ok(Answer::empty(204))
    }

    /// Starts a revoke where one is possible; what was never delivered still goes the whole way.
    pub(super) fn start_revoke(&mut self, at: i64, cause: Cause, id: u64) {
        let Some(credential) = self.world.credential_mut(id) else {
            return;
        };
        if !credential.status.is_revocable() {
            return;
        }
        credential.status = CredentialStatus::RevokeInitiated;
        credential.modified = at;
        self.ledger.note(
            at,
            cause,
            Effect::CredentialRevokeInitiated { credential: id },
        );
        self.extra_credential_event(at, id, "CREDENTIAL_REVOKE_INITIATED");
        self.due.add(
            at.saturating_add_unsigned(self.settings.revoking_delay_ms),
            Work::BeginRevoking(id),
        );
    }

    pub(super) fn confirm_revoke(&mut self, at: i64, id: u64) {
        if self
            .world
            .credential_mut(id)
            .is_some_and(|item| item.status == CredentialStatus::Revoking)
        {
            self.credential_gone(at, Cause::Phone, id);
        }
    }

    /// The end of a credential, whatever it was before.
    pub(super) fn credential_gone(&mut self, at: i64, cause: Cause, id: u64) {
        let Some(credential) = self.world.credential_mut(id) else {
            return;
        };
        if credential.status == CredentialStatus::Revoked {
            return;
        }
        credential.status = CredentialStatus::Revoked;
        credential.modified = at;
        let (container, part_number) = (credential.container, credential.part_number.clone());
        let owner = self
            .world
            .owner_of_credential
            .get(&id)
            .copied()
            .unwrap_or(0);
        let organization = self
            .world
            .users
            .get(&owner)
            .map(|user| user.organization.clone())
            .unwrap_or_default();
        if self.settings.stock_returns_on_revoke {
            self.return_card(&organization, &part_number, at);
        }
        self.ledger
            .note(at, cause, Effect::CredentialRevoked { credential: id });
        self.extra_credential_event(at, id, "CREDENTIAL_REVOKED");
        self.look_for_end_of_duplicate(at, id);
        if self.settings.revoked_visibility == RevokedVisibility::GoneAtOnce {
            self.forget_credential(id);
        }
        if let Some(container) = container {
            self.finish_container(at, container);
        }
        self.finish_user(at, owner);
    }

    /// Removes a record that is no longer shown.
    pub(super) fn forget_credential(&mut self, id: u64) {
        let owner = self.world.owner_of_credential.remove(&id);
        if let Some(user) = owner.and_then(|owner| self.world.users.get_mut(&owner)) {
            user.credentials.retain(|credential| credential.id != id);
        }
    }

    fn look_for_end_of_duplicate(&mut self, at: i64, id: u64) {
        let Some(owner) = self.world.owner_of_credential.get(&id) else {
            return;
        };
        let Some(user) = self.world.users.get(owner) else {
            return;
        };
        let Some(ended) = user.credential(id) else {
            return;
        };
        let Some(container) = ended.container else {
            return;
        };
        let live = user
            .credentials_on(container)
            .filter(|item| item.part_number == ended.part_number && item.status.is_live())
            .count();
        if live <= 1 {
            self.ledger
                .duplicate_over(at, container, &ended.part_number);
        }
    }

    fn find_credential(&self, call: &Call) -> Result<(u64, &Credential), Refusal> {
        self.world
            .user_with_credential(&call.organization, call.number())
            .map(|(user, credential)| (user.id, credential))
            .ok_or_else(|| Refusal::missing("credential"))
    }
}
