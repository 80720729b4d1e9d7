//! Records as the JSON printed in `origo-api.md` sections 3 to 6.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    answer::seconds,
    model::{Container, ContainerStatus, Credential, Invitation, User},
    settings::{NumberForm, Settings},
};

pub(super) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(super) const ACTION: &str = "urn:hid:scim:api:ma:2.2:UserAction";
pub(super) const INVITATION: &str = "urn:hid:scim:api:ma:2.2:UserInvitation";
pub(super) const CONTAINER: &str = "urn:hid:scim:api:ma:2.2:CredentialContainer";
pub(super) const CREDENTIAL: &str = "urn:hid:scim:api:ma:2.2:Credential";
pub(super) const PART_NUMBER: &str = "urn:hid:scim:api:ma:2.2:PartNumber";
pub(super) const LICENSE: &str = "urn:hid:scim:api:ma:2.2:LicenseInfo";
pub(super) const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
pub(super) const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
pub(super) const ERROR: &str = "urn:hid:scim:api:ma:2.2:Error";

/// A status as it is spelled on the wire.
pub(super) fn word(status: impl Serialize) -> String {
    serde_json::to_value(status)
        .ok()
        .and_then(|value| value.as_str().map(ToOwned::to_owned))
        .unwrap_or_default()
}

pub(super) fn location(settings: &Settings, organization: &str, path: &str) -> String {
    format!(
        "{}/credential-management/customer/{organization}/{path}",
        settings.public_url
    )
}

pub(super) fn meta(
    settings: &Settings,
    organization: &str,
    kind: &str,
    modified: i64,
    path: &str,
) -> Value {
    json!({
        "resourceType": kind, "lastModified": seconds(modified), "location": location(settings, organization, path),
    })
}

pub(super) fn user_meta(settings: &Settings, user: &User) -> Value {
    meta(
        settings,
        &user.organization,
        "PACSUser",
        user.modified,
        &format!("users/{}", user.id),
    )
}

pub(super) fn invitation_meta(
    settings: &Settings,
    organization: &str,
    invitation: &Invitation,
) -> Value {
    let path = format!("invitation/{}", invitation.id);
    meta(
        settings,
        organization,
        "UserInvitation",
        invitation.modified,
        &path,
    )
}

pub(super) fn container_meta(
    settings: &Settings,
    organization: &str,
    container: &Container,
) -> Value {
    let path = format!("credential-container/{}", container.id);
    meta(
        settings,
        organization,
        "UserCredentialContainer",
        container.modified,
        &path,
    )
}

pub(super) fn credential_meta(
    settings: &Settings,
    organization: &str,
    credential: &Credential,
) -> Value {
    let path = format!("credential/{}", credential.id);
    meta(
        settings,
        organization,
        "UserCredential",
        credential.modified,
        &path,
    )
}

/// The full user (3.4). URN keys are absent when there is nothing; entries inside carry no `meta`.
pub(super) fn user(settings: &Settings, user: &User) -> Value {
    let mut schemas = vec![USER];
    let mut body = Map::new();
    body.insert("meta".to_owned(), user_meta(settings, user));
    body.insert("id".to_owned(), json!(user.id));
    body.insert("externalId".to_owned(), json!(user.external_id));
    body.insert("status".to_owned(), json!(user.status));
    body.insert(
        "name".to_owned(),
        json!({ "familyName": user.family_name, "givenName": user.given_name }),
    );
    body.insert("emails".to_owned(), emails(user));
    if !user.invitations.is_empty() {
        schemas.push(INVITATION);
        let list: Vec<Value> = user.invitations.iter().map(invitation).collect();
        body.insert(INVITATION.to_owned(), Value::Array(list));
    }
    if !user.containers.is_empty() {
        schemas.push(CONTAINER);
        let list: Vec<Value> = user
            .containers
            .iter()
            .map(|item| container(settings, user, item))
            .collect();
        body.insert(CONTAINER.to_owned(), Value::Array(list));
    }
    let reserved: Vec<Value> = user
        .credentials
        .iter()
        .filter(|item| item.container.is_none() && settings.reserved_shown_on_user)
        .map(|item| credential(settings, item))
        .collect();
    let nested = user
        .containers
        .iter()
        .any(|item| user.credentials_on(item.id).next().is_some());
    if nested || !reserved.is_empty() {
        schemas.push(CREDENTIAL);
    }
    if !reserved.is_empty() {
        body.insert(CREDENTIAL.to_owned(), Value::Array(reserved));
    }
    body.insert("schemas".to_owned(), json!(schemas));
    Value::Object(body)
}

pub(super) fn emails(user: &User) -> Value {
    user.emails
        .iter()
        .map(|value| json!({ "value": value }))
        .collect()
}

/// An invitation without `schemas` and `meta`.
pub(super) fn invitation(invitation: &Invitation) -> Value {
    json!({
        "id": invitation.id,
        "invitationCode": invitation.code,
        "status": invitation.status,
        "createdDate": seconds(invitation.created),
        "expirationDate": seconds(invitation.expires),
    })
}

/// A container with its credentials nested (5), without `schemas` and `meta`.
pub(super) fn container(settings: &Settings, user: &User, container: &Container) -> Value {
    let status = match container.status {
        ContainerStatus::Active => settings.active_spelling.clone(),
        ContainerStatus::Initialized
        | ContainerStatus::DeleteInitiated
        | ContainerStatus::Deleted => word(container.status),
    };
    let mut body = json!({
        "id": container.id,
        "status": status,
        "osVersion": container.device.os_version,
        "secureElementType": "HCE",
        "manufacturer": container.device.manufacturer,
        "model": container.device.model,
        "applicationVersion": container.device.application_version,
        "simOperator": "",
        "bluetoothCapability": "Y",
        "nfcCapability": "Y",
        "hceCapability": "Y",
    });
    let credentials: Vec<Value> = user
        .credentials_on(container.id)
        .map(|item| credential(settings, item))
        .collect();
    if !credentials.is_empty() {
        body[CREDENTIAL] = Value::Array(credentials);
    }
    body
}

/// A credential without `schemas` and `meta`. Note the small n of `partnumberFriendlyName` (6.2).
pub(super) fn credential(settings: &Settings, credential: &Credential) -> Value {
    let card_number = match settings.card_number {
        NumberForm::String => json!(credential.card_number.to_string()),
        NumberForm::Number => json!(credential.card_number),
    };
    json!({
        "id": credential.id,
        "partNumber": credential.part_number,
        "partnumberFriendlyName": credential.friendly_name,
        "cardNumber": card_number,
        "status": credential.status,
        "credentialType": "ICLASSSEOS",
    })
}

/// Puts `meta` into an entry.
pub(super) fn with_meta(mut entry: Value, meta: Value) -> Value {
    entry["meta"] = meta;
    entry
}

/// A one-element list under its URN, as most GETs answer (4.1, 5, 6.1, 7).
pub(super) fn under_urn(urn: &str, entry: &Value) -> Value {
    let mut schemas = vec![urn];
    if entry.get(CREDENTIAL).is_some() {
        schemas.push(CREDENTIAL);
    }
    json!({ "schemas": schemas, urn: [entry] })
}

/// A list response of entries that hold `meta` only (quirk 17).
pub(super) fn list(total: usize, start: usize, resources: &[Value]) -> Value {
    json!({
        "schemas": [LIST], "totalResults": total, "itemsPerPage": resources.len(), "startIndex": start,
        "Resources": resources,
    })
}
