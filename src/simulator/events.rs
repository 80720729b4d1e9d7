//! What events say (`origo-api.md` 9.3): the type names the resource, `data.status` what happened.

use serde_json::{Map, Value, json};

use super::{
    answer::millis,
    hid::Hid,
    settings::{InvitationIdInEvents, NumberForm, Settings},
    shapes::location,
};

fn id(settings: &Settings, id: u64) -> Value {
    match settings.event_ids {
        NumberForm::String => json!(id.to_string()),
        NumberForm::Number => json!(id),
    }
}

/// Puts `invitationId` and the like as this HID is set: some were seen as the text `undefined`.
fn put_invitation(settings: &Settings, data: &mut Map<String, Value>, name: &str, value: Value) {
    match settings.invitation_id_in_events {
        InvitationIdInEvents::Present => drop(data.insert(name.to_owned(), value)),
        InvitationIdInEvents::Undefined => drop(data.insert(name.to_owned(), json!("undefined"))),
        InvitationIdInEvents::Absent => {}
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

impl Hid {
    pub(super) fn user_event(&mut self, at: i64, user: u64, status: &str) {
        let Some(user) = self.world.users.get(&user) else {
            return;
        };
        let organization = user.organization.clone();
        let data = fields(json!({
            "status": status,
            "userId": id(&self.settings, user.id),
            "firstname": user.given_name,
            "lastname": user.family_name,
            "email": user.emails.first(),
            "organizationId": organization,
        }));
        let path = format!("users/{}", user.id);
        self.emit(at, &organization, "user", &path, &data);
    }

    pub(super) fn invitation_event(&mut self, at: i64, invitation: u64, status: &str) {
        let owner = self.world.owner_of_invitation.get(&invitation);
        let Some(user) = owner.and_then(|owner| self.world.users.get(owner)) else {
            return;
        };
        let Some(invitation) = user.invitation(invitation) else {
            return;
        };
        let organization = user.organization.clone();
        let mut data = fields(json!({
            "status": status,
            "invitationId": id(&self.settings, invitation.id),
            "invitationExpiryMin": self.settings.invitation_lifetime_ms / 60_000,
            "userId": id(&self.settings, user.id),
            "organizationId": organization,
            "sourceTimestamp": millis(at),
        }));
        put_invitation(
            &self.settings,
            &mut data,
            "invitationCode",
            json!(invitation.code),
        );
        let path = format!("invitation/{}", invitation.id);
        self.emit(at, &organization, "invitation", &path, &data);
    }

    pub(super) fn endpoint_event(&mut self, at: i64, container: u64, status: &str) {
        let owner = self.world.owner_of_container.get(&container);
        let Some(user) = owner.and_then(|owner| self.world.users.get(owner)) else {
            return;
        };
        let Some(container) = user.container(container) else {
            return;
        };
        let organization = user.organization.clone();
        let mut data = fields(json!({
            "status": status,
            "endpointId": id(&self.settings, container.id),
            "endpointManufacturer": container.device.manufacturer,
            "endpointModel": container.device.model,
            "osVersion": container.device.os_version,
            "applicationVersion": container.device.application_version,
            "mobileSDKVersion": "9.0",
            "bleCapability": "Y", "nfcCapability": "Y", "hceCapability": "Y",
            "jailBroken": "N", "simOperator": "", "appletStatus": "", "cardletVersion": "",
            "organizationId": organization,
            "userId": id(&self.settings, user.id),
            "sourceTimestamp": millis(at),
        }));
        if let Some(invitation) = user.invitation(container.invitation) {
            let expiry = json!(self.settings.invitation_lifetime_ms / 60_000);
            let settings = &self.settings;
            put_invitation(
                settings,
                &mut data,
                "invitationId",
                id(settings, invitation.id),
            );
            put_invitation(
                settings,
                &mut data,
                "invitationCode",
                json!(invitation.code),
            );
            data.insert("invitationStatus".to_owned(), json!(invitation.status));
            data.insert("invitationExpiryMin".to_owned(), expiry);
        }
        let path = format!("credential-container/{}", container.id);
        self.emit(at, &organization, "endpoint", &path, &data);
    }

    pub(super) fn credential_event(&mut self, at: i64, credential: u64, status: &str) {
        let owner = self.world.owner_of_credential.get(&credential);
        let Some(user) = owner.and_then(|owner| self.world.users.get(owner)) else {
            return;
        };
        let Some(credential) = user.credential(credential) else {
            return;
        };
        let organization = user.organization.clone();
        let container = credential.container.unwrap_or(0);
        let invitation = user
            .container(container)
            .map_or(0, |container| container.invitation);
        let mut data = fields(json!({
            "status": status,
            "mid": credential.id,
            "midTypeId": "1",
            "orderId": "",
            "cardNumber": credential.card_number,
            "endpointId": id(&self.settings, container),
            "userId": id(&self.settings, user.id),
            "organizationId": organization,
            "sourceTimestamp": millis(at),
        }));
        put_invitation(
            &self.settings,
            &mut data,
            "invitationId",
            id(&self.settings, invitation),
        );
        let path = format!("credential/{}", credential.id);
        self.emit(at, &organization, "credential", &path, &data);
    }

    /// An event whose status was never seen at HID; only where the settings want such.
    pub(super) fn extra_endpoint_event(&mut self, at: i64, container: u64, status: &str) {
        if self.settings.extra_event_statuses {
            self.endpoint_event(at, container, status);
        }
    }

    /// As [`Hid::extra_endpoint_event`], for credentials.
    pub(super) fn extra_credential_event(&mut self, at: i64, credential: u64, status: &str) {
        if self.settings.extra_event_statuses {
            self.credential_event(at, credential, status);
        }
    }

    fn emit(
        &mut self,
        at: i64,
        organization: &str,
        resource: &str,
        path: &str,
        data: &Map<String, Value>,
    ) {
        let body = json!({
            "type": format!("com.origo.mi.{resource}"),
            "specversion": "1.0",
            "source": location(&self.settings, organization, path),
            "id": self.names.uuid().to_string(),
            "time": millis(at),
            "datacontenttype": format!("application/vnd.hidglobal.origo.events.{resource}-2.0+json"),
            "data": data,
        });
        self.store_event(at, organization, &body);
    }
}
