//! Tolerance: what HID may change in an answer without our noticing, and what it may not.

use serde_json::json;

use super::*;

fn user(body: &Value) -> Option<UserSeen> {
    Reader::default().user(body, None)
}

fn key(body: &Value) -> Option<CredentialSeen> {
    only_credential(body, None)
}

#[test]
fn ids_are_numbers_or_text() {
    for (id, seen) in [
        (json!(72001), Some("72001")),
        (json!("72001"), Some("72001")),
        (json!("a1-b2"), Some("a1-b2")),
        (json!("undefined"), None),
        (json!(""), None),
        (json!("7/8"), None),
        (json!(1.5), None),
        (json!(null), None),
        (json!([1]), None),
        (json!(true), None),
    ] {
        let read = key(&json!({"id": id, "status": "ISSUED"}));
        assert_eq!(read.as_ref().map(|key| key.id.as_str()), seen, "{id}");
    }
}

#[test]
fn a_key_is_found_bare_or_in_a_list_of_any_version() {
    let one = json!({"id": 1, "partNumber": "P", "cardNumber": 1003, "status": "issued"});
    let seen = CredentialSeen {
        id: CredentialId::parse("1").unwrap(),
        part_number: Some(PartNumber("P".into())),
        card_number: Some("1003".into()),
        status: CredentialStatus::Issued,
    };
    for body in [
        one.clone(),
        json!([one]),
        json!({"urn:hid:scim:api:ma:1.0:Credential": [one]}),
        json!({"urn:hid:scim:api:ma:2.1:Credential": [one]}),
        json!({"urn:hid:scim:api:ma:2.2:Credential": one, "schemas": null}),
        json!({"Resources": [one]}),
        json!({"resources": [one], "later": {"a": 1}}),
    ] {
        assert_eq!(key(&body), Some(seen.clone()), "{body}");
    }
    for body in [
        json!([]),
        json!({}),
        json!(null),
        json!("1"),
        json!([one, one]),
        json!({"urn:hid:scim:api:ma:2.2:Credential": [one, one]}),
        json!({"urn:hid:scim:api:ma:2.2:Credential": "1"}),
        json!({"id": 1, "emails": [{"value": "a@b.example"}]}),
    ] {
        assert_eq!(key(&body), None, "{body}");
    }
}

#[test]
fn another_object_than_asked_for_is_no_answer() {
    let asked = HidUserId::parse("5").unwrap();
    let read = |id: u64| Reader::default().user(&json!({"id": id}), Some(&asked));
    assert!(read(5).is_some());
    assert!(read(6).is_none());
    let issued = |named: Value| {
        issued(
            &json!({"id": 1, "partNumber": named}),
            &PartNumber("P".into()),
        )
    };
    assert!(issued(json!("P")).is_some());
    assert!(issued(json!(null)).is_some());
    assert!(issued(json!("Q")).is_none());
}

#[test]
fn members_may_be_missing_null_or_odd() {
    let bare = user(&json!({"id": "9"})).unwrap();
    assert_eq!(bare.external_id, None);
    assert!(!bare.deleting);
    assert!(bare.containers.is_empty() && bare.invitations.is_empty());
    let null = json!({"id": 9, "externalId": null, "status": null, "name": null,
        "urn:hid:scim:api:ma:2.2:UserInvitation": null,
        "urn:hid:scim:api:ma:2.2:CredentialContainer": null});
    assert_eq!(user(&null), Some(bare));
    let key = key(&json!({"id": 1, "cardNumber": "0042", "status": {"a": 1}})).unwrap();
    assert_eq!(key.card_number.as_deref(), Some("0042"));
    assert_eq!(key.status, CredentialStatus::Unknown(String::new()));
}

#[test]
fn an_entry_that_cannot_be_used_is_left_out_and_counted() {
    let body = json!({"id": 9,
        "urn:hid:scim:api:ma:2.2:UserInvitation": [{"id": null}, {"id": 5}, 7],
        "urn:hid:scim:api:ma:2.2:CredentialContainer": [
            {"id": 6, "status": "active", "urn:hid:scim:api:ma:2.1:Credential": [{"id": "x/y"}, {"id": 8}]},
            {"status": "ACTIVE"}]});
    let mut reader = Reader::default();
    let seen = reader.user(&body, None).unwrap();
    assert_eq!(seen.invitations.len(), 1);
    assert_eq!(seen.containers.len(), 1);
    assert_eq!(seen.containers[0].status, ContainerStatus::Active);
    assert_eq!(seen.containers[0].credentials.len(), 1);
    assert_eq!(reader.skipped, 4);
}

#[test]
fn statuses_are_read_in_any_case_and_unknown_ones_kept() {
    use ContainerStatus as C;
    use CredentialStatus as K;
    use InvitationStatus as I;
    for (said, seen) in [
        ("PENDING", I::Pending),
        ("Acknowledged", I::Acknowledged),
        ("EXPIRED", I::Expired),
        ("CANCEL_INITIATED", I::CancelInitiated),
        ("cancelled", I::Cancelled),
        ("CANCELED", I::Cancelled),
        ("NOT_SUPPORTED", I::NotSupported),
        ("NOT_ELIGIBLE", I::NotEligible),
        ("INVITATION_PENDING", I::Pending),
        ("Later", I::Unknown("Later".into())),
    ] {
        assert_eq!(invitation_status(said), seen, "{said}");
    }
    for (said, seen) in [
        ("ACTIVE", C::Active),
        ("active", C::Active),
        ("INITIALIZED", C::Initialized),
        ("DELETE_INITIATED", C::Deleting),
        ("DELETED", C::Deleting),
        ("INACTIVE", C::Unknown("INACTIVE".into())),
    ] {
        assert_eq!(container_status(said), seen, "{said}");
    }
    for (said, seen) in [
        ("ISSUE_INITIATED", K::IssueInitiated),
        ("ISSUING", K::Issuing),
        ("Issued", K::Issued),
        ("ISSUE_FAILED", K::IssueFailed),
        ("REVOKE_INITIATED", K::RevokeInitiated),
        ("REVOKING", K::Revoking),
        ("REVOKED", K::Revoked),
        ("UNBOUND", K::Unknown("UNBOUND".into())),
    ] {
        assert_eq!(credential_status(said), seen, "{said}");
    }
    for (said, deleting) in [
        ("ACTIVE", false),
        ("DELETE_INITIATED", true),
        ("user_deleted", true),
    ] {
        assert_eq!(
            user(&json!({"id": 1, "status": said})).unwrap().deleting,
            deleting
        );
    }
}

#[test]
fn times_are_iso_8601_or_absent() {
    for (said, at) in [
        (json!("2026-03-01T10:00:05Z"), Some(1_772_359_205_000)),
        (json!("2026-03-01T10:00:05.123Z"), Some(1_772_359_205_123)),
        (json!("2026-03-01T11:00:05+01:00"), Some(1_772_359_205_000)),
        (json!("2026-03-01T10:00:05"), Some(1_772_359_205_000)),
        (json!("yesterday"), None),
        (json!(5), None),
        (json!(null), None),
    ] {
        let read = time(&json!({"t": said}), "t");
        assert_eq!(read.map(|at| at.0), at, "{said}");
    }
}

#[test]
fn a_search_tells_the_id_only_by_location() {
    let hit = |location: &str| json!({"totalResults": 1, "Resources": [{"meta": {"location": location}}]});
    let found = |body: &Value| Reader::default().found_user(body);
    let id = HidUserId::parse("880123");
    assert_eq!(
        found(&hit("https://elsewhere.example/x/users/880123")),
        Some(id.clone())
    );
    assert_eq!(found(&hit("/users/880123/?a=b")), Some(id.clone()));
    assert_eq!(found(&json!({"resources": [{"id": 880_123}]})), Some(id));
    assert_eq!(found(&json!({"totalResults": 0})), Some(None));
    assert_eq!(
        found(&json!({"totalResults": "0", "Resources": null})),
        Some(None)
    );
    assert_eq!(found(&json!({"Resources": []})), Some(None));
    for vague in [
        json!({}),
        json!([]),
        json!({"totalResults": 1}),
        hit("https://x.example/users/a b"),
    ] {
        assert_eq!(found(&vague), None, "{vague}");
    }
}

#[test]
fn a_refusal_is_read_from_any_shape() {
    for (body, detail) in [
        (r#"{"status":412,"detail":"no"}"#, "no"),
        (r#"{"status":"412","message":"no"}"#, "no"),
        (r#"{"detail":null,"message":"no"}"#, "no"),
        (r#"{"error":"invalid_client"}"#, "invalid_client"),
        (r#"{"detail":{"a":1}}"#, ""),
        ("<html>no</html>", ""),
        ("", ""),
    ] {
        assert_eq!(refusal(body.as_bytes()), detail, "{body}");
    }
}
