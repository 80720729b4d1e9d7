//! Each endpoint's status and body as printed in `origo-api.md`, and the quirks of its section 12.1.

use origo_adapter::simulator::{
    ContainerStatus, Device, DuplicateIssue, RedeemError, Refused, RevokedVisibility, Settings,
    Violation,
};
use serde_json::{Value, json};

use crate::simulator_support::*;

#[test]
fn a_token_is_opaque_and_wrong_clients_are_refused() {
    let mut caller = Caller::new();
    let got = caller.log_in();
    assert_eq!(got.status, 200);
    assert_eq!(got.body["token_type"], "Bearer");
    assert_eq!(got.body["expires_in"], 3600);
    assert!(got.body["id_token"].is_string());
    let refused = caller.ask_for_token("wrong");
    assert_eq!(
        (refused.status, refused.body),
        (401, json!({ "error": "invalid_client" }))
    );
    caller.wait(3_600_000);
    let late = caller.get("users");
    assert_eq!(late.status, 401);
    assert!(late.headers.contains_key("www-authenticate"));
    assert_eq!(late.body["scimType"], "urn:hid:scim:api:ma:2.2:Error");
}

#[test]
fn a_user_has_the_printed_shape() {
    let mut caller = Caller::new();
    let got = caller.post("users", &person("ada"));
    assert_eq!(got.status, 201);
    let location =
        "https://ma.api.assaabloy.com/credential-management/customer/7001234/users/880001";
    assert_eq!(got.headers["location"], location);
    assert_eq!(
        got.body,
        json!({
            "schemas": [USER],
            "meta": {
                "resourceType": "PACSUser", "lastModified": "2026-03-01T10:00:00Z", "location": location,
            },
            "id": 880_001, "externalId": "ident-ada", "status": "ACTIVE",
            "name": { "familyName": "Okafor", "givenName": "ada" },
            "emails": [{ "value": "ada@tenant.example" }],
        })
    );
    assert_eq!(caller.get("users/880001").body, got.body);
    let missing = caller.get("users/1");
    assert_eq!(
        (missing.status, &missing.body["scimType"]),
        (404, &json!("noTarget"))
    );
    assert_eq!(missing.body["status"], 404);
    assert_eq!(
        missing.body["schemas"],
        json!(["urn:hid:scim:api:ma:2.2:Error"])
    );
}

#[test]
fn a_user_is_checked() {
    let mut caller = Caller::new();
    caller.user("ada");
    let conflict = caller.post("users", &person("ada"));
    assert_eq!(
        (conflict.status, &conflict.body["scimType"]),
        (409, &json!("uniqueness"))
    );
    let refusals = [
        ("externalId", json!(""), "invalidValue"),
        (
            "name",
            json!({ "familyName": "O", "givenName": "Bo" }),
            "invalidSyntax",
        ),
        ("emails", json!([]), "invalidSyntax"),
        ("emails", json!([{ "value": "nobody" }]), "invalidSyntax"),
        ("schemas", json!([USER, USER]), "invalidValue"),
        (
            ACTION,
            json!({ "createInvitationCode": "Y" }),
            "invalidValue",
        ),
    ];
    for (field, value, scim_type) in refusals {
        let mut body = person("bob");
        body[field] = value;
        let got = caller.post("users", &body);
        assert_eq!(
            (got.status, &got.body["scimType"]),
            (400, &json!(scim_type)),
            "{field}"
        );
    }
    let mut request = caller.request("POST", &format!("{MI}/users"), &person("bob"));
    *request.body_mut() = bytes::Bytes::from_static(b"{");
    let malformed = answer(caller.hid.handle(START, request));
    assert_eq!(
        (malformed.status, &malformed.body["scimType"]),
        (400, &Value::Null)
    );
    assert_eq!(
        caller
            .call("PATCH", &format!("{MI}/users/880001"), &person("x"))
            .status,
        501
    );
}

#[test]
fn a_user_is_made_with_an_invitation_and_a_reserved_credential() {
    let mut caller = Caller::new();
    let mut body = person("ada");
    body["schemas"] = json!([ACTION, USER]);
    body[ACTION] =
        json!({ "createInvitationCode": "Y", "assignCredential": "y", "partNumber": "" });
    let got = caller.post("users", &body);
    assert_eq!(got.status, 201);
    assert_eq!(got.body["schemas"], json!([USER, INVITATION, CREDENTIAL]));
    assert_eq!(got.body[INVITATION][0]["status"], "PENDING");
    assert_eq!(
        got.body[INVITATION][0]["expirationDate"],
        "2026-03-03T10:00:00Z"
    );
    assert_eq!(got.body[CREDENTIAL][0]["status"], "ISSUE_INITIATED");
    assert_eq!(got.body[CREDENTIAL][0]["cardNumber"], "1001");
    let code = got.body[INVITATION][0]["invitationCode"].as_str().unwrap();
    assert!(code.len() == 19 && code.split('-').all(|block| block.len() == 4));
    caller.hid.redeem(START, code, Device::default()).unwrap();
    caller.wait(5_000);
    assert_eq!(caller.statuses(880_001), ["ISSUED"]);
}

#[test]
fn a_user_is_updated_and_deleted() {
    let mut caller = Caller::new();
    let (user, container) = caller.phone("ada");
    caller.user("bob");
    let path = format!("{MI}/users/{user}");
    assert_eq!(caller.call("PUT", &path, &person("bob")).status, 409);
    let changed = caller.call("PUT", &path, &person("eve"));
    assert_eq!(
        (changed.status, &changed.body["externalId"]),
        (200, &json!("ident-eve"))
    );
    caller.issue(container);
    caller.wait(4_000);
    caller.hid.set_phone_offline(caller.now, container, true);
    assert_eq!(caller.delete(&format!("users/{user}")).status, 204);
    assert_eq!(caller.delete(&format!("users/{user}")).status, 412);
    assert_eq!(caller.call("PUT", &path, &person("eve")).status, 412);
    assert_eq!(
        caller
            .post(&format!("users/{user}/invitation"), &invite())
            .status,
        412
    );
    caller.wait(3_600_000 - 100_000);
    caller.log_in();
    assert_eq!(
        caller.get(&format!("users/{user}")).body["status"],
        "DELETE_INITIATED"
    );
    caller.hid.set_phone_offline(caller.now, container, false);
    caller.wait(10_000);
    assert_eq!(caller.get(&format!("users/{user}")).status, 404);
    assert!(caller.hid.live_credentials().is_empty());
    let bob = caller.post("users/.search", &search("name.givenName eq \"bob\""));
    assert_eq!(bob.body["totalResults"], 1);
    assert_eq!(caller.delete("users/880002").status, 204);
    assert_eq!(
        caller.get("users/880002").status,
        404,
        "nothing to tear down: gone at once"
    );
}

#[test]
fn invitations_have_the_printed_shapes() {
    let mut caller = Caller::new();
    let user = caller.user("ada");
    let mut body = invite();
    body[ACTION]["assignCredential"] = json!("Y");
    let got = caller.post(&format!("users/{user}/invitation"), &body);
    assert_eq!(got.status, 201);
    assert!(
        got.headers["location"]
            .to_str()
            .unwrap()
            .ends_with("/invitation/5101")
    );
    assert_eq!(got.body["schemas"], json!([INVITATION, CREDENTIAL]));
    assert_eq!(
        got.body[INVITATION][0]["meta"]["resourceType"],
        "UserInvitation"
    );
    assert_eq!(
        got.body[CREDENTIAL][0]["partnumberFriendlyName"],
        "Main site"
    );
    let listed = caller.get(&format!("users/{user}/invitation")).body;
    assert_eq!(listed["Resources"][0].as_object().unwrap().len(), 1);
    let bare = caller.get(&format!("users/{user}/invitation/5101")).body;
    assert_eq!(
        (&bare["id"], &bare["status"]),
        (&json!(5101), &json!("PENDING"))
    );
    assert_eq!(
        caller.get("invitation/5101").body[INVITATION][0]["id"],
        5101
    );
    let mut body = search("status eq \"PENDING\"");
    body["attributes"] = json!(["status"]);
    let found = caller
        .post(&format!("users/{user}/invitation/.search"), &body)
        .body;
    assert_eq!(found["Resources"][0]["status"], "PENDING");
    let mailed = caller.post("invitation/5101/email", &Value::Null);
    assert_eq!((mailed.status, mailed.text.as_str()), (200, ""));
    assert!(caller.hid.pending_invitations()[0].mailed);
    let mut body = invite();
    body[ACTION]["createInvitationCode"] = json!("maybe");
    assert_eq!(
        caller.post(&format!("users/{user}/invitation"), &body).body["scimType"],
        "invalidValue"
    );
}

#[test]
fn an_invitation_ends_once() {
    let settings = Settings {
        invitation_lifetime_ms: 60_000,
        ..Settings::default()
    };
    let mut caller = Caller::with(settings);
    let user = caller.user("ada");
    let (cancelled, code) = caller.code(user);
    let (expired, old) = caller.code(user);
    assert_eq!(caller.hid.surplus_invitations().len(), 1);
    assert_eq!(
        caller.delete(&format!("invitation/{cancelled}")).status,
        204
    );
    let twice = caller.delete(&format!("invitation/{cancelled}"));
    assert_eq!(
        (twice.status, &twice.body["scimType"]),
        (412, &json!("mutability"))
    );
    assert!(matches!(
        caller.hid.redeem(caller.now, &code, Device::default()),
        Err(RedeemError::NotPending(_))
    ));
    caller.wait(60_000);
    let status = |caller: &mut Caller, id: u64| {
        caller.get(&format!("invitation/{id}")).body[INVITATION][0]["status"].clone()
    };
    assert_eq!(status(&mut caller, cancelled), "CANCELLED");
    assert_eq!(status(&mut caller, expired), "EXPIRED");
    assert!(
        caller
            .hid
            .redeem(caller.now, &old, Device::default())
            .is_err()
    );
    let (refused, code) = caller.code(user);
    let device = Device {
        refused: Some(Refused::NotEligible),
        ..Device::default()
    };
    assert!(caller.hid.redeem(caller.now, &code, device).is_err());
    assert_eq!(status(&mut caller, refused), "NOT_ELIGIBLE");
    assert_eq!(caller.delete("invitation/1").status, 404);
}

#[test]
fn a_phone_becomes_active_and_is_flat() {
    let mut caller = Caller::new();
    let user = caller.user("ada");
    let (_, code) = caller.code(user);
    let container = caller.hid.redeem(START, &code, Device::default()).unwrap();
    let early = caller.issue(container);
    assert_eq!(early.status, 412);
    assert!(early.body["detail"].as_str().unwrap().contains("state"));
    let never = Violation::NeverActive {
        at: START,
        no: 4,
        container,
        status: ContainerStatus::Initialized,
    };
    assert_eq!(caller.hid.violations(), [never]);
    caller.wait(1_000);
    let got = caller.get(&format!("credential-container/{container}"));
    let phone = &got.body[CONTAINER][0];
    assert_eq!(
        (&phone["id"], &phone["status"]),
        (&json!(61_001), &json!("ACTIVE"))
    );
    assert_eq!(phone["meta"]["resourceType"], "UserCredentialContainer");
    assert!(phone["manufacturer"].is_string() && phone.get(CREDENTIAL).is_none());
    let listed = caller
        .get(&format!("users/{user}/credential-container"))
        .body;
    assert_eq!(
        (&listed["totalResults"], &listed["Resources"][0]["id"]),
        (&json!(1), &Value::Null)
    );
    let user_meta = caller.get(&format!("users/{user}")).body["meta"]["lastModified"].clone();
    assert_eq!(
        user_meta, "2026-03-01T10:00:00Z",
        "registering does not touch the user"
    );
}

#[test]
fn issue_answers_200_with_a_bare_object_and_goes_its_way() {
    let mut caller = Caller::new();
    let (user, container) = caller.phone("ada");
    let got = caller.issue(container);
    assert_eq!(got.status, 200);
    assert!(
        got.headers["location"]
            .to_str()
            .unwrap()
            .ends_with("/credential/72001")
    );
    let mut body = got.body.clone();
    body.as_object_mut().unwrap().remove("meta");
    assert_eq!(
        body,
        json!({
            "schemas": [CREDENTIAL], "id": 72_001, "partNumber": PART,
            "partnumberFriendlyName": "Main site", "cardNumber": "1001", "referenceNumber": "",
            "status": "ISSUE_INITIATED", "credentialType": "ICLASSSEOS",
        })
    );
    caller.wait(500);
    assert_eq!(caller.statuses(user), ["ISSUING"]);
    caller.wait(3_000);
    assert_eq!(caller.statuses(user), ["ISSUED"]);
    let schemas = caller.get(&format!("users/{user}")).body["schemas"].clone();
    assert_eq!(schemas, json!([USER, INVITATION, CONTAINER, CREDENTIAL]));
    assert_eq!(
        caller.get("credential/72001").body[CREDENTIAL][0]["id"],
        72_001
    );
    let list = caller
        .get(&format!("credential-container/{container}/credential"))
        .body;
    assert_eq!(list["Resources"][0].as_object().unwrap().len(), 1);

    assert_eq!(caller.delete("credential/72001").status, 204);
    assert_eq!(caller.delete("credential/72001").status, 412);
    caller.wait(500);
    assert_eq!(caller.statuses(user), ["REVOKING"]);
    caller.wait(3_000);
    assert_eq!(caller.statuses(user), ["REVOKED"]);
    assert!(caller.statuses(user).is_empty(), "one read, then gone");
    assert_eq!(caller.delete("credential/72001").status, 404);
}

#[test]
fn each_412_of_issue_names_its_cause() {
    let mut settings = Settings {
        default_part_number: None,
        container_limit: 1,
        ..Settings::default()
    };
    settings.part_numbers[1].stock = Some(0);
    let mut caller = Caller::with(settings);
    let (_, container) = caller.phone("ada");
    let detail = |caller: &mut Caller, body: &Value| {
        let got = caller.post(
            &format!("credential-container/{container}/credential"),
            body,
        );
        assert_eq!(
            (got.status, &got.body["scimType"]),
            (412, &json!("mutability"))
        );
        got.body["detail"].as_str().unwrap().to_owned()
    };
    assert!(detail(&mut caller, &issue("")).contains("default part number"));
    assert!(detail(&mut caller, &issue("X")).contains("not associated to your company"));
    assert!(detail(&mut caller, &issue("MID-SUB-EXAMPLE_2")).contains("does not have any"));
    let mut named = issue(PART);
    named[ACTION]["credential"] = json!(72_001);
    assert!(detail(&mut caller, &named).contains("not available"));
    assert_eq!(caller.issue(container).status, 200);
    assert!(detail(&mut caller, &issue(PART)).contains("already delivered"));
    assert!(detail(&mut caller, &issue("MID-SUB-EXAMPLE_2")).contains("maximum"));
    let user = caller.user("bob");
    let mut body = invite();
    body[ACTION]["assignCredential"] = json!("Y");
    body[ACTION]["partNumber"] = json!("MID-SUB-EXAMPLE_2");
    let on_invitation = caller.post(&format!("users/{user}/invitation"), &body);
    assert_eq!(
        (on_invitation.status, &on_invitation.body["scimType"]),
        (400, &json!("invalidValue"))
    );
}

#[test]
fn a_second_credential_is_drawn_where_hid_does_not_refuse_it() {
    let duplicate_issue = DuplicateIssue::SecondCredential;
    let mut caller = Caller::with(Settings {
        duplicate_issue,
        ..Settings::default()
    });
    let (_, container) = caller.phone("ada");
    caller.issue(container);
    let at = caller.now + 10;
    caller.wait(10);
    assert_eq!(caller.issue(container).body["cardNumber"], "1002");
    caller.wait(10_000);
    caller.delete("credential/72001");
    caller.wait(10_000);
    assert_eq!(
        caller.hid.violations(),
        [Violation::Duplicate {
            at,
            until: Some(at + 13_500),
            container,
            part_number: PART.to_owned(),
            credentials: vec![72_001, 72_002],
            late_effect: false,
        }]
    );
}

#[test]
fn deleting_a_container_revokes_what_is_on_it() {
    let revoked_visibility = RevokedVisibility::GoneAtOnce;
    let mut caller = Caller::with(Settings {
        revoked_visibility,
        ..Settings::default()
    });
    let (user, container) = caller.phone("ada");
    caller.issue(container);
    caller.wait(5_000);
    assert_eq!(
        caller
            .delete(&format!("credential-container/{container}"))
            .status,
        204
    );
    assert_eq!(
        caller
            .delete(&format!("credential-container/{container}"))
            .status,
        412
    );
    caller.wait(5_000);
    assert!(caller.statuses(user).is_empty());
    let shown = caller.get(&format!("users/{user}")).body;
    assert_eq!(shown[CONTAINER][0]["status"], "DELETED");
    assert_eq!(shown[INVITATION][0]["status"], "ACKNOWLEDGED");
    assert!(caller.hid.active_containers().is_empty());
}

#[test]
fn part_numbers_and_organization_have_the_printed_shapes() {
    let mut caller = Caller::new();
    let list = caller.get("part-number").body;
    assert_eq!(
        (
            &list["totalResults"],
            list["Resources"][0].as_object().unwrap().len()
        ),
        (&json!(2), 1)
    );
    let part = caller.get("part-number/7001234_1").body;
    let part = &part["urn:hid:scim:api:ma:2.2:PartNumber"][0];
    assert_eq!(
        (&part["id"], &part["partNumber"]),
        (&json!("7001234_1"), &json!(PART))
    );
    assert!(part["availableQty"].is_u64() && part["replenishmentState"] == "Not Needed");
    let mut body = search(&format!("partNumber eq \"{PART}\""));
    body["attributes"] = json!(["friendlyName"]);
    let found = caller.post("part-number/.search", &body).body;
    assert_eq!(found["Resources"][0]["friendlyName"], "Main site");
    caller.phone("ada");
    let company = caller.get("").body;
    assert_eq!(
        (&company["id"], &company["activeUsers"]),
        (&json!(7_001_234), &json!(1))
    );
    assert_eq!(
        company["urn:hid:scim:api:ma:2.2:LicenseInfo"][0]["licenseState"],
        "GOOD_STANDING"
    );
    assert_eq!(caller.get("sdk-version").status, 200);
    assert_eq!(caller.get("nowhere").status, 404);
}

#[test]
fn a_phone_that_leaves_early_releases_what_was_reserved() {
    let mut caller = Caller::new();
    let user = caller.user("ada");
    let mut body = invite();
    body[ACTION]["assignCredential"] = json!("Y");
    caller.post(&format!("users/{user}/invitation"), &body);
    let code = caller.hid.pending_invitations()[0].code.clone();
    let container = caller.hid.redeem(START, &code, Device::default()).unwrap();
    assert_eq!(caller.hid.live_credentials().len(), 1);
    assert!(caller.hid.remove_phone(START, container));
    assert!(caller.hid.live_credentials().is_empty());
}
