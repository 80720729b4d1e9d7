//! Bodies as they go out, in the printed shapes and the printed order of fields (origo-api.md 3 to 6).

use serde::Serialize;

use crate::core::effect::{Delivery, NewUser, SearchBy};
use crate::core::ids::PartNumber;

/// Sent without a `charset` parameter: two clients strip it deliberately (origo-api.md 1.2).
pub(super) const MEDIA_TYPE: &str = "application/vnd.assaabloy.ma.credential-management-2.2+json";

const USER_ACTION: &str = "urn:hid:scim:api:ma:2.2:UserAction";
const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const SEARCH_REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// The cap of HID; without a `count` generation 1.0 answers with an empty page (origo-api.md 3.5).
const PAGE: u32 = 25;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'a> {
    schemas: &'a [&'a str],
    external_id: String,
    name: Name<'a>,
    emails: [Email; 1],
    #[serde(
        rename = "urn:hid:scim:api:ma:2.2:UserAction",
        skip_serializing_if = "Option::is_none"
    )]
    action: Option<Action<'a>>,
    meta: Meta,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Name<'a> {
    family_name: &'a str,
    given_name: &'a str,
}

#[derive(Serialize)]
struct Email {
    value: String,
}

/// Write-only; flags are text (origo-api.md 4.2).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Action<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    create_invitation_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_invitation_email: Option<&'static str>,
    assign_credential: &'static str,
    part_number: &'a str,
    credential: &'static str,
}

#[derive(Serialize)]
struct Act<'a> {
    schemas: [&'static str; 1],
    #[serde(rename = "urn:hid:scim:api:ma:2.2:UserAction")]
    action: Action<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    resource_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Search<'a> {
    schemas: [&'static str; 1],
    attributes: [&'static str; 3],
    filter: &'a str,
    sort_by: &'static str,
    sort_order: &'static str,
    start_index: u32,
    count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FilterSet<'a> {
    filter_set: &'a [&'a str],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registration<'a> {
    url: &'a str,
    filter_id: &'a str,
    http_header: &'a str,
    secret: &'a str,
}

const PACS_USER: Meta = Meta {
    resource_type: "PACSUser",
};

fn invitation(delivery: Option<Delivery>) -> Action<'static> {
    let (code, mail) = match delivery {
        None => ("N", "N"),
        Some(Delivery::Api) => ("Y", "N"),
        Some(Delivery::Email) => ("Y", "Y"),
    };
    Action {
        create_invitation_code: Some(code),
        send_invitation_email: Some(mail),
        assign_credential: "N",
        part_number: "",
        credential: "",
    }
}

fn user<'a>(user: &'a NewUser, schemas: &'a [&'a str], action: Option<Action<'a>>) -> Vec<u8> {
    json(&User {
        schemas,
        external_id: user.external_id.to_string(),
        name: Name {
            family_name: &user.family_name.0,
            given_name: &user.given_name.0,
        },
        emails: [Email {
            value: user.email.0.to_lowercase(),
        }],
        action,
        meta: PACS_USER,
    })
}

/// `POST /users` (origo-api.md 3.3).
pub(super) fn create_user(new: &NewUser, invite: Option<Delivery>) -> Vec<u8> {
    user(new, &[USER_ACTION, CORE_USER], Some(invitation(invite)))
}

/// `PUT /users/{id}`: `schemas` is exactly the core user, and there is no action (origo-api.md 3.6).
pub(super) fn update_user(new: &NewUser) -> Vec<u8> {
    user(new, &[CORE_USER], None)
}

/// `POST /users/{id}/invitation` (origo-api.md 4.2).
pub(super) fn create_invitation(delivery: Delivery) -> Vec<u8> {
    json(&Act {
        schemas: [USER_ACTION],
        action: invitation(Some(delivery)),
        meta: Some(PACS_USER),
    })
}

/// `POST /credential-container/{id}/credential` (origo-api.md 6.2).
pub(super) fn issue(part_number: &PartNumber) -> Vec<u8> {
    json(&Act {
        schemas: [USER_ACTION],
        action: Action {
            create_invitation_code: None,
            send_invitation_email: None,
            assign_credential: "Y",
            part_number: &part_number.0,
            credential: "",
        },
        meta: None,
    })
}

/// `POST /users/.search` (origo-api.md 3.5). Not narrowed to `ACTIVE`: a user that HID still deletes keeps its e-mail address taken, and the caller must see it.
pub(super) fn search_user(by: &SearchBy) -> Vec<u8> {
    let filter = match by {
        SearchBy::ExternalId(id) => format!("externalId eq {}", quoted(&id.to_string())),
        SearchBy::Email(email) => format!("emails eq {}", quoted(&email.0.to_lowercase())),
    };
    json(&Search {
        schemas: [SEARCH_REQUEST],
        attributes: [
            "urn:ietf:params:scim:schemas:core:2.0:User:emails",
            "name.familyName",
            "name.givenName",
        ],
        filter: &filter,
        sort_by: "name.familyName",
        sort_order: "descending",
        start_index: 1,
        count: PAGE,
    })
}

/// The page of active users that begins at `start_index`, from 1 (origo-api.md 3.5).
pub(super) fn list_users(start_index: u32) -> Vec<u8> {
    json(&Search {
        schemas: [SEARCH_REQUEST],
        attributes: [
            "urn:ietf:params:scim:schemas:core:2.0:User:emails",
            "name.familyName",
            "name.givenName",
        ],
        filter: "status eq \"ACTIVE\"",
        sort_by: "name.familyName",
        sort_order: "descending",
        start_index,
        count: PAGE,
    })
}

/// `POST {events}/organization/{org}/events/filter` (origo-api.md 9.1).
pub(super) fn create_filter(statuses: &[&str]) -> Vec<u8> {
    json(&FilterSet {
        filter_set: statuses,
    })
}

/// `POST {callback}/organization/{org}/callback` (origo-api.md 9.4).
pub(super) fn create_callback(url: &str, filter: &str, header: &str, secret: &str) -> Vec<u8> {
    json(&Registration {
        url,
        filter_id: filter,
        http_header: header,
        secret,
    })
}

/// A value of a SCIM filter, in double quotes.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("bodies are structs of texts and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_value_cannot_leave_its_quotes() {
        assert_eq!(quoted(r#"a" or "b\"#), r#""a\" or \"b\\""#);
    }
}
