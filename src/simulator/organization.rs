//! Organization info (`origo-api.md` 8).

use serde_json::{Value, json};

use super::{
    answer::{Answer, Outcome, Refusal},
    hid::Hid,
    model::{InvitationStatus, User, UserStatus},
    routes::Call,
    shapes,
};

impl Hid {
    pub(super) fn get_organization(&mut self, call: &Call) -> Outcome {
        let organization = self
            .settings
            .organizations
            .iter()
            .find(|organization| organization.id == call.organization)
            .ok_or_else(|| Refusal::missing("company"))?;
        let users: Vec<&User> = self
            .world
            .users
            .values()
            .filter(|user| user.organization == organization.id)
            .collect();
        let active = users
            .iter()
            .filter(|user| user.status == UserStatus::Active)
            .count();
        let pending = users
            .iter()
            .flat_map(|user| &user.invitations)
            .filter(|invitation| invitation.status == InvitationStatus::Pending)
            .count();
        let mut body = json!({
            "schemas": ["urn:hid:scim:api:ma:2.2:Customer"],
            "id": organization.id.parse::<u64>().unwrap_or_default(),
            "name": organization.name,
            "mobileKeysets": "",
            "subscriptionMode": self.settings.subscription_mode,
            "activeUsers": active,
            "pendingInvitations": pending,
        });
        // Licences apply only when the mode is not perpetual.
        if self.settings.subscription_mode != "Perpetual" {
            let licenses: Vec<Value> = self
                .stock_of(&call.organization)
                .map(|(part_number, stock)| {
                    let available = stock.available.unwrap_or(9_999);
                    json!({
                        "partNumber": part_number,
                        "name": stock.friendly_name,
                        "availableQty": available,
                        "consumedQty": stock.used,
                        "startDate": "2026-01-01T00:00:00Z",
                        "endDate": "2027-01-01T00:00:00Z",
                        "licenseState": if available == 0 { "FULL_USAGE" } else { "GOOD_STANDING" },
                        "periodState": self.settings.period_state,
                        "statusMessage": "",
                    })
                })
                .collect();
            body["totalUsers"] = json!(users.len());
            body[shapes::LICENSE] = Value::Array(licenses);
        }
        Ok(Answer::ok(body))
    }

    pub(super) fn get_sdk_version() -> Answer {
        Answer::ok(json!({ "sdkVersions": [] }))
    }
}
