//! Each effect against a scripted transport: what goes out byte for byte, and what comes back (origo-api.md 3 to 9).

use origo_adapter::core::effect::{Delivery, NewUser, SearchBy};
use origo_adapter::core::ids::{
    ContainerId, CredentialId, HidUserId, IdentityId, InvitationCode, InvitationId, PartNumber,
    Personal,
};
use origo_adapter::core::observation::{
    ContainerSeen, ContainerStatus, CredentialSeen, CredentialStatus, Device, InvitationSeen,
    InvitationStatus, UserSeen,
};
use origo_adapter::core::{Answer, Effect, Fault, Timestamp};
use origo_adapter::origo::{Error, Trouble};
use uuid::Uuid;

use crate::origo_stub::{MEDIA_TYPE, START, body, client, header, json};

fn user_id() -> HidUserId {
    HidUserId::parse("880123").expect("an id")
}

fn container_id() -> ContainerId {
    ContainerId::parse("61001").expect("an id")
}

fn invitation_id() -> InvitationId {
    InvitationId::parse("5150").expect("an id")
}

fn credential_id(id: &str) -> CredentialId {
    CredentialId::parse(id).expect("an id")
}

fn part_number() -> PartNumber {
    PartNumber("MID-SUB-EXAMPLE_1".into())
}

fn new_user() -> NewUser {
    NewUser {
        external_id: IdentityId(Uuid::from_u128(0x42)),
        given_name: Personal("Ada".into()),
        family_name: Personal("Okafor".into()),
        email: Personal("Ada.Okafor@Tenant.example".into()),
    }
}

fn key(id: &str, card_number: &str, status: CredentialStatus) -> CredentialSeen {
    CredentialSeen {
        id: credential_id(id),
        part_number: Some(part_number()),
        card_number: Some(card_number.into()),
        status,
    }
}

fn invitation(id: &str, code: &str, status: InvitationStatus) -> InvitationSeen {
    InvitationSeen {
        id: InvitationId::parse(id).expect("an id"),
        code: Some(InvitationCode(code.into())),
        status,
        expires_at: Some(Timestamp(1_772_532_005_000)),
    }
}

fn phone() -> ContainerSeen {
    ContainerSeen {
        id: container_id(),
        status: ContainerStatus::Active,
        device: Device {
            manufacturer: Some("Maker".into()),
            model: Some("M1".into()),
            os_version: Some("Android 16".into()),
            application_version: Some("3.2".into()),
        },
        credentials: vec![key("72001", "1001", CredentialStatus::Issued)],
    }
}

const INVITATION: &str = r#"{"id":5150,"invitationCode":"AAAA-BBBB-CCCC-DDDD","status":"ACKNOWLEDGED","createdDate":"2026-03-01T10:00:05Z","expirationDate":"2026-03-03T10:00:05Z"}"#;
const PENDING: &str = r#"{"schemas":["urn:hid:scim:api:ma:2.2:UserInvitation"],"urn:hid:scim:api:ma:2.2:UserInvitation":[{"meta":{"resourceType":"UserInvitation","location":"https://hid.example/invitation/5151"},"id":5151,"invitationCode":"EEEE-FFFF-GGGG-HHHH","status":"PENDING","createdDate":"2026-03-01T10:00:05Z","expirationDate":"2026-03-03T10:00:05Z"}]}"#;
const PHONE: &str = r#"{"id":61001,"status":"ACTIVE","osVersion":"Android 16","secureElementType":"x","manufacturer":"Maker","model":"M1","applicationVersion":"3.2","simOperator":null,"urn:hid:scim:api:ma:2.2:Credential":[{"id":72001,"partNumber":"MID-SUB-EXAMPLE_1","partnumberFriendlyName":"Main site","cardNumber":"1001","status":"ISSUED","credentialType":"ICLASSSEOS"}]}"#;
const ISSUED: &str = r#"{"schemas":["urn:hid:scim:api:ma:2.2:Credential"],"meta":{"resourceType":"UserCredential","location":"https://hid.example/credential/72003"},"id":72003,"partNumber":"MID-SUB-EXAMPLE_1","partnumberFriendlyName":"Main site","cardNumber":"1003","referenceNumber":"","status":"ISSUE_INITIATED","credentialType":"ICLASSSEOS"}"#;

fn user(lists: &str) -> String {
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"meta":{{"resourceType":"PACSUser"}},"id":880123,"externalId":"ident-0042","status":"ACTIVE","name":{{"familyName":"Okafor","givenName":"Ada"}},"emails":[{{"value":"ada.okafor@tenant.example"}}]{lists}}}"#
    )
}

fn seen_user(invitations: Vec<InvitationSeen>, containers: Vec<ContainerSeen>) -> UserSeen {
    UserSeen {
        id: user_id(),
        external_id: Some("ident-0042".into()),
        deleting: false,
        invitations,
        containers,
    }
}

fn create_body(code: &str, mail: &str) -> String {
    format!(
        r#"{{"schemas":["urn:hid:scim:api:ma:2.2:UserAction","urn:ietf:params:scim:schemas:core:2.0:User"],"externalId":"00000000-0000-0000-0000-000000000042","name":{{"familyName":"Okafor","givenName":"Ada"}},"emails":[{{"value":"ada.okafor@tenant.example"}}],"urn:hid:scim:api:ma:2.2:UserAction":{{"createInvitationCode":"{code}","sendInvitationEmail":"{mail}","assignCredential":"N","partNumber":"","credential":""}},"meta":{{"resourceType":"PACSUser"}}}}"#
    )
}

fn invitation_body(mail: &str) -> String {
    format!(
        r#"{{"schemas":["urn:hid:scim:api:ma:2.2:UserAction"],"urn:hid:scim:api:ma:2.2:UserAction":{{"createInvitationCode":"Y","sendInvitationEmail":"{mail}","assignCredential":"N","partNumber":"","credential":""}},"meta":{{"resourceType":"PACSUser"}}}}"#
    )
}

fn search_body(filter: &str) -> String {
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"attributes":["urn:ietf:params:scim:schemas:core:2.0:User:emails","name.familyName","name.givenName"],"filter":"{filter}","sortBy":"name.familyName","sortOrder":"descending","startIndex":1,"count":25}}"#
    )
}

const ISSUE_BODY: &str = r#"{"schemas":["urn:hid:scim:api:ma:2.2:UserAction"],"urn:hid:scim:api:ma:2.2:UserAction":{"assignCredential":"Y","partNumber":"MID-SUB-EXAMPLE_1","credential":""}}"#;
const HIT: &str = r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":1,"itemsPerPage":1,"startIndex":1,"Resources":[{"meta":{"resourceType":"PACSUser","location":"https://other.example/customer/7001234/users/880123"},"emails":[{"value":"ada.okafor@tenant.example"}]}]}"#;

struct Row {
    effect: Effect,
    request: (&'static str, &'static str, String),
    reply: (u16, String),
    answer: Answer,
}

fn row(
    effect: Effect,
    (method, path, sent): (&'static str, &'static str, &str),
    (status, reply): (u16, &str),
    answer: Answer,
) -> Row {
    Row {
        effect,
        request: (method, path, sent.to_owned()),
        reply: (status, reply.to_owned()),
        answer,
    }
}

fn user_rows() -> Vec<Row> {
    let create = |invite| Effect::CreateUser {
        user: new_user(),
        invite,
    };
    let search = |by| Effect::SearchUser { by };
    let invited = user(&format!(
        r#","urn:hid:scim:api:ma:2.2:UserInvitation":[{INVITATION}]"#
    ));
    let whole = user(&format!(
        r#","urn:hid:scim:api:ma:2.2:UserInvitation":[{INVITATION}],"urn:hid:scim:api:ma:2.2:CredentialContainer":[{PHONE}],"urn:hid:scim:api:ma:2.2:LicenseInfo":[{{"partNumber":"P","consumedQty":1}}]"#
    ));
    let acknowledged = || {
        invitation(
            "5150",
            "AAAA-BBBB-CCCC-DDDD",
            InvitationStatus::Acknowledged,
        )
    };
    vec![
        row(
            create(None),
            ("POST", "/users", &create_body("N", "N")),
            (201, &user("")),
            Answer::UserCreated(seen_user(vec![], vec![])),
        ),
        row(
            create(Some(Delivery::Email)),
            ("POST", "/users", &create_body("Y", "Y")),
            (201, &invited),
            Answer::UserCreated(seen_user(vec![acknowledged()], vec![])),
        ),
        row(
            create(Some(Delivery::Api)),
            ("POST", "/users", &create_body("Y", "N")),
            (201, &invited),
            Answer::UserCreated(seen_user(vec![acknowledged()], vec![])),
        ),
        row(
            search(SearchBy::Email(Personal("Ada\"\\@Tenant.example".into()))),
            (
                "POST",
                "/users/.search",
                &search_body(r#"emails eq \"ada\\\"\\\\@tenant.example\""#),
            ),
            (200, HIT),
            Answer::UserFound(Some(user_id())),
        ),
        row(
            search(SearchBy::ExternalId(IdentityId(Uuid::from_u128(0x42)))),
            (
                "POST",
                "/users/.search",
                &search_body(r#"externalId eq \"00000000-0000-0000-0000-000000000042\""#),
            ),
            (
                200,
                r#"{"totalResults":0,"itemsPerPage":0,"startIndex":1,"Resources":[]}"#,
            ),
            Answer::UserFound(None),
        ),
        row(
            Effect::ReadUser { user: user_id() },
            ("GET", "/users/880123", ""),
            (200, &whole),
            Answer::User(seen_user(vec![acknowledged()], vec![phone()])),
        ),
        row(
            Effect::DeleteUser { user: user_id() },
            ("DELETE", "/users/880123", ""),
            (204, ""),
            Answer::UserDeleted,
        ),
    ]
}

fn other_rows() -> Vec<Row> {
    let invite = |delivery| Effect::CreateInvitation {
        user: user_id(),
        delivery,
    };
    let issue = || Effect::Issue {
        container: container_id(),
        part_number: part_number(),
    };
    let pending = || invitation("5151", "EEEE-FFFF-GGGG-HHHH", InvitationStatus::Pending);
    let issued = || Answer::Issued(key("72003", "1003", CredentialStatus::IssueInitiated));
    let read = format!(r#"{{"urn:hid:scim:api:ma:2.2:CredentialContainer":[{PHONE}]}}"#);
    let listed = format!(r#"{{"urn:hid:scim:api:ma:2.2:Credential":[{ISSUED}]}}"#);
    vec![
        row(
            invite(Delivery::Email),
            ("POST", "/users/880123/invitation", &invitation_body("Y")),
            (201, PENDING),
            Answer::InvitationCreated(pending()),
        ),
        row(
            invite(Delivery::Api),
            ("POST", "/users/880123/invitation", &invitation_body("N")),
            (200, PENDING),
            Answer::InvitationCreated(pending()),
        ),
        row(
            Effect::EmailInvitation {
                invitation: invitation_id(),
            },
            ("POST", "/invitation/5150/email", ""),
            (200, ""),
            Answer::InvitationEmailed,
        ),
        row(
            Effect::CancelInvitation {
                invitation: invitation_id(),
            },
            ("DELETE", "/invitation/5150", ""),
            (204, ""),
            Answer::InvitationCancelled,
        ),
        row(
            Effect::ReadPhone {
                container: container_id(),
            },
            ("GET", "/credential-container/61001", ""),
            (200, &read),
            Answer::Phone(phone()),
        ),
        row(
            issue(),
            ("POST", "/credential-container/61001/credential", ISSUE_BODY),
            (200, ISSUED),
            issued(),
        ),
        row(
            issue(),
            ("POST", "/credential-container/61001/credential", ISSUE_BODY),
            (201, &listed),
            issued(),
        ),
        row(
            Effect::Revoke {
                credential: credential_id("72001"),
            },
            ("DELETE", "/credential/72001", ""),
            (200, "<anything>"),
            Answer::Revoked,
        ),
    ]
}

#[tokio::test]
async fn each_effect_is_one_request_in_the_printed_shape() {
    let (stub, client, _) = client();
    for Row {
        effect,
        request: (method, path, sent),
        reply: (status, reply),
        answer,
    } in user_rows().into_iter().chain(other_rows())
    {
        stub.answer(json(status, &reply));
        assert_eq!(
            client.perform(&effect, &|| true).await,
            Ok(answer),
            "{effect:?}"
        );
        let (_, requests) = stub.take();
        let [request] = requests.as_slice() else {
            panic!("{effect:?} made {} requests", requests.len());
        };
        assert_eq!(request.method(), method, "{effect:?}");
        let root = "https://hid.example/credential-management/customer/7001234";
        assert_eq!(request.uri().to_string(), format!("{root}{path}"));
        assert_eq!(body(request), sent);
        assert_eq!(header(request, "authorization"), Some("Bearer token-1"));
        assert_eq!(
            header(request, "application-id"),
            Some("HID-EXAMPLE-ADAPTER")
        );
        assert_eq!(header(request, "application-version"), Some("1.0"));
        let has_body = (!sent.is_empty()).then_some(MEDIA_TYPE);
        assert_eq!(header(request, "content-type"), has_body, "{effect:?}");
        let is_get = (method == "GET").then_some(MEDIA_TYPE);
        assert_eq!(header(request, "accept"), is_get, "{effect:?}");
        assert!(request.headers()["authorization"].is_sensitive());
    }
    assert_eq!(client.skipped(), 0);
}

async fn failure(effect: &Effect, status: u16, reply: &str) -> Error {
    let (stub, client, _) = client();
    stub.answer(json(status, reply));
    client
        .perform(effect, &|| true)
        .await
        .expect_err("a failure")
}

#[tokio::test]
async fn an_answer_about_something_else_is_no_answer() {
    let issue = Effect::Issue {
        container: container_id(),
        part_number: PartNumber("OTHER".into()),
    };
    let read = Effect::ReadUser {
        user: HidUserId::parse("1").unwrap(),
    };
    for (effect, fault, trouble) in [
        (issue, Fault::Unanswered, None),
        (read, Fault::Refused, Some(Trouble::ServerError)),
    ] {
        for reply in [ISSUED, &user(""), "", "null", "{", "[]"] {
            let error = failure(&effect, 200, reply).await;
            assert_eq!((error.fault, error.trouble), (fault, trouble), "{reply}");
            assert_eq!(error.status, Some(200));
        }
    }
}

#[tokio::test]
async fn an_error_says_why_but_not_who() {
    let (stub, client, _) = client();
    let create = Effect::CreateUser {
        user: new_user(),
        invite: None,
    };
    let mut reply = json(
        409,
        r#"{"status":409,"scimType":"uniqueness","detail":"Ada Okafor with \"ada.okafor@tenant.example\" (ADA.okafor@tenant.example) is enrolled"}"#,
    )
    .unwrap();
    let headers = reply.headers_mut();
    headers.insert("x-request-id", "req-1".parse().unwrap());
    headers.insert("retry-after", "7".parse().unwrap());
    headers.insert("date", "Sun, 01 Mar 2026 10:00:02 GMT".parse().unwrap());
    stub.answer(Ok(reply));
    assert_eq!(client.clock_skew(), None);
    let error = client.perform(&create, &|| true).await.unwrap_err();
    assert_eq!(error.fault, Fault::Conflict);
    assert_eq!(error.request_id.as_deref(), Some("req-1"));
    assert_eq!(error.retry_after.unwrap().as_secs(), 7);
    assert_eq!(
        error.to_string(),
        "create_user of mobile_identities was answered with 409: … … with … … is enrolled"
    );
    assert_eq!(client.clock_skew(), Some(2000));
    assert_eq!(START % 1000, 0);
}

#[tokio::test]
async fn nothing_is_sent_once_the_lease_is_over() {
    let (stub, client, _) = client();
    let read = Effect::ReadUser { user: user_id() };
    let error = client.perform(&read, &|| false).await.unwrap_err();
    assert_eq!(error.fault, Fault::Refused);
    assert_eq!(error.trouble, Some(Trouble::LeaseOver));
    assert!(stub.take().1.is_empty());
    let error = client.perform(&Effect::Wake, &|| true).await.unwrap_err();
    assert_eq!((error.fault, error.trouble), (Fault::Refused, None));
    assert!(stub.take().1.is_empty());
}

#[tokio::test]
async fn what_later_features_need() {
    let (stub, client, _) = client();
    stub.answer(json(200, &user("")));
    client
        .update_user(&user_id(), &new_user(), &|| true)
        .await
        .unwrap();
    stub.answer(json(204, ""));
    client
        .delete_container(&container_id(), &|| true)
        .await
        .unwrap();
    let listed = r#"{"urn:hid:scim:api:ma:2.2:Credential":[{"id":72001,"partNumber":"MID-SUB-EXAMPLE_1","cardNumber":1001,"status":"REVOKING"}]}"#;
    stub.answer(json(200, listed));
    let seen = client
        .get_credential(&credential_id("72001"))
        .await
        .unwrap();
    assert_eq!(seen, key("72001", "1001", CredentialStatus::Revoking));
    stub.answer(json(200, INVITATION));
    let seen = client.get_invitation(&invitation_id()).await.unwrap();
    assert_eq!(seen.status, InvitationStatus::Acknowledged);
    stub.answer(json(200, r#"{"id":7001234,"name":"Tenant","subscriptionMode":"Perpetual","activeUsers":3,"urn:hid:scim:api:ma:2.2:LicenseInfo":[{"partNumber":"P","availableQty":"5","licenseState":"GOOD_STANDING"}]}"#));
    let organization = client.organization().await.unwrap();
    assert_eq!(organization.name.as_deref(), Some("Tenant"));
    assert_eq!(organization.active_users, Some(3));
    assert_eq!(organization.licenses[0].available, Some(5));
    stub.answer(json(200, r#"{"totalResults":1,"Resources":[{"meta":{"location":"https://hid.example/part-number/12_34"}}]}"#));
    stub.answer(json(200, r#"{"urn:hid:scim:api:ma:2.2:PartNumber":[{"id":"12_34","partNumber":"MID-SUB-EXAMPLE_1","friendlyName":"Main site","availableQty":9}]}"#));
    let part_numbers = client.part_numbers().await.unwrap();
    assert_eq!(part_numbers[0].part_number, part_number());
    assert_eq!(part_numbers[0].available, Some(9));
    let (_, requests) = stub.take();
    let lines: Vec<String> = requests
        .iter()
        .map(|request| format!("{} {}", request.method(), request.uri().path()))
        .collect();
    let root = "/credential-management/customer/7001234";
    assert_eq!(
        lines,
        [
            format!("PUT {root}/users/880123"),
            format!("DELETE {root}/credential-container/61001"),
            format!("GET {root}/credential/72001"),
            format!("GET {root}/invitation/5150"),
            format!("GET {root}"),
            format!("GET {root}/part-number"),
            format!("GET {root}/part-number/12_34"),
        ]
    );
    assert_eq!(
        body(&requests[0]),
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"externalId":"00000000-0000-0000-0000-000000000042","name":{"familyName":"Okafor","givenName":"Ada"},"emails":[{"value":"ada.okafor@tenant.example"}],"meta":{"resourceType":"PACSUser"}}"#
    );
}
