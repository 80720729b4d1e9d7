//! What happens later by itself: late requests, expiry, the phone's confirmations, deletions.

use std::collections::BTreeMap;

use super::{
    hid::Hid,
    ledger::{Cause, Effect},
    model::{ContainerStatus, CredentialStatus, InvitationStatus},
    routes::Call,
};

/// One piece of background work.
#[derive(Debug)]
pub(super) enum Work {
    LateCall(Box<Call>),
    ExpireInvitation(u64),
    FinishCancel(u64),
    ContainerReady(u64),
    BeginIssuing(u64),
    ConfirmIssue(u64),
    BeginRevoking(u64),
    ConfirmRevoke(u64),
    FinishContainer(u64),
    FinishUser(u64),
}

/// Work by time, then by order of arrival; and work that waits for a phone to come back.
#[derive(Debug, Default)]
pub(super) struct Due {
    queue: BTreeMap<(i64, u64), Work>,
    added: u64,
    /// By container: present means offline.
    parked: BTreeMap<u64, Vec<Work>>,
}

impl Due {
    pub(super) fn add(&mut self, at: i64, work: Work) {
        self.added += 1;
        self.queue.insert((at, self.added), work);
    }

    pub(super) fn take(&mut self, now: i64) -> Option<(i64, Work)> {
        let entry = self.queue.first_entry()?;
        let at = entry.key().0;
        (at <= now).then(|| (at, entry.remove()))
    }

    pub(super) fn next(&self) -> Option<i64> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn is_offline(&self, container: u64) -> bool {
        self.parked.contains_key(&container)
    }

    pub(super) fn go_offline(&mut self, container: u64) {
        self.parked.entry(container).or_default();
    }

    pub(super) fn park(&mut self, container: u64, work: Work) {
        self.parked.entry(container).or_default().push(work);
    }

    pub(super) fn come_back(&mut self, now: i64, container: u64) {
        for work in self.parked.remove(&container).unwrap_or_default() {
            self.add(now, work);
        }
    }
}

impl Hid {
    /// Does one piece of work. Work whose object has moved on or is gone does nothing.
    pub(super) fn work(&mut self, at: i64, work: Work) {
        match work {
            Work::LateCall(call) => self.late_call(&call),
            Work::ExpireInvitation(id) => self.expire_invitation(at, id),
            Work::FinishCancel(id) => self.finish_cancel(at, id),
            Work::ContainerReady(id) => self.container_ready(at, id),
            Work::BeginIssuing(id) => self.begin_issuing(at, id),
            Work::ConfirmIssue(id) => {
                self.on_phone(at, id, Work::ConfirmIssue, Self::confirm_issue);
            }
            Work::BeginRevoking(id) => self.begin_revoking(at, id),
            Work::ConfirmRevoke(id) => {
                self.on_phone(at, id, Work::ConfirmRevoke, Self::confirm_revoke);
            }
            Work::FinishContainer(id) => self.finish_container(at, id),
            Work::FinishUser(id) => self.finish_user(at, id),
        }
    }

    /// Does what the phone must confirm, or puts it aside while the phone is offline.
    fn on_phone(
        &mut self,
        at: i64,
        credential: u64,
        work: fn(u64) -> Work,
        act: fn(&mut Self, i64, u64),
    ) {
        let container = self
            .world
            .credential_mut(credential)
            .and_then(|credential| credential.container);
        match container.and_then(|id| self.due.parked.get_mut(&id)) {
            Some(parked) => parked.push(work(credential)),
            None => act(self, at, credential),
        }
    }

    fn expire_invitation(&mut self, at: i64, id: u64) {
        if self.move_invitation(at, id, InvitationStatus::Pending, InvitationStatus::Expired) {
            self.ledger.note(
                at,
                Cause::Clock,
                Effect::InvitationExpired { invitation: id },
            );
            self.invitation_event(at, id, "INVITATION_EXPIRED");
            self.release_reserved(at, id);
        }
    }

    fn finish_cancel(&mut self, at: i64, id: u64) {
        if self.move_invitation(
            at,
            id,
            InvitationStatus::CancelInitiated,
            InvitationStatus::Cancelled,
        ) {
            self.ledger.note(
                at,
                Cause::Clock,
                Effect::InvitationCancelled { invitation: id },
            );
            self.invitation_event(at, id, "INVITATION_CANCELLED");
            self.release_reserved(at, id);
            if let Some(user) = self.world.owner_of_invitation.get(&id).copied() {
                self.finish_user(at, user);
            }
        }
    }

    pub(super) fn move_invitation(
        &mut self,
        at: i64,
        id: u64,
        from: InvitationStatus,
        to: InvitationStatus,
    ) -> bool {
        match self.world.invitation_mut(id) {
            Some(invitation) if invitation.status == from => {
                invitation.status = to;
                invitation.modified = at;
                true
            }
            Some(_) | None => false,
        }
    }

    fn container_ready(&mut self, at: i64, id: u64) {
        let Some(container) = self.world.container_mut(id) else {
            return;
        };
        if container.status != ContainerStatus::Initialized {
            return;
        }
        container.status = ContainerStatus::Active;
        container.was_active = true;
        container.modified = at;
        self.ledger
            .note(at, Cause::Clock, Effect::ContainerActive { container: id });
        self.endpoint_event(at, id, "ENDPOINT_ACTIVE");
        self.deliver_reserved(at, id);
    }

    fn begin_issuing(&mut self, at: i64, id: u64) {
        if self.move_credential(
            at,
            id,
            CredentialStatus::IssueInitiated,
            CredentialStatus::Issuing,
        ) {
            self.due.add(
                at.saturating_add_unsigned(self.settings.issue_confirm_ms),
                Work::ConfirmIssue(id),
            );
        }
    }

    fn begin_revoking(&mut self, at: i64, id: u64) {
        if self.move_credential(
            at,
            id,
            CredentialStatus::RevokeInitiated,
            CredentialStatus::Revoking,
        ) {
            self.due.add(
                at.saturating_add_unsigned(self.settings.revoke_confirm_ms),
                Work::ConfirmRevoke(id),
            );
        }
    }

    pub(super) fn move_credential(
        &mut self,
        at: i64,
        id: u64,
        from: CredentialStatus,
        to: CredentialStatus,
    ) -> bool {
        match self.world.credential_mut(id) {
            Some(credential) if credential.status == from => {
                credential.status = to;
                credential.modified = at;
                true
            }
            Some(_) | None => false,
        }
    }
}
