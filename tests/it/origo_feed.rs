//! The events feed, read in the core's words, and its filters (origo-api.md 9).

use origo_adapter::core::Timestamp;
use origo_adapter::core::ids::{ContainerId, CredentialId, InvitationId};
use origo_adapter::core::observation::{Device, Happening, InvitationStatus};
use origo_adapter::origo::Trouble;

use crate::origo_stub::{START, body, client, header, json};

#[tokio::test]
async fn filters_are_made_and_listed() {
    let (stub, client, _) = client();
    stub.answer(json(201, r#"{"filterId":17}"#));
    let made = client.create_filter(&["USER_CREATED"]).await.unwrap();
    assert_eq!(made.id, "17");
    stub.answer(json(
        200,
        r#"[{"filterId":"17","filterSet":["USER_CREATED"]},{}]"#,
    ));
    let filters = client.filters().await.unwrap();
    assert_eq!(filters[0].filter_set, ["USER_CREATED"]);
    assert_eq!(client.skipped(), 1);
    let (_, requests) = stub.take();
    let path = "/organization/7001234/events/filter";
    assert_eq!(requests[0].uri().path(), path);
    assert_eq!(body(&requests[0]), r#"{"filterSet":["USER_CREATED"]}"#);
    assert_eq!(
        header(&requests[0], "content-type"),
        Some("application/json")
    );
    assert_eq!(
        (requests[1].method().as_str(), requests[1].uri().path()),
        ("GET", path)
    );
}

fn entry(id: &str, kind: &str, data: &str) -> String {
    format!(
        r#"{{"type":"com.origo.mi.{kind}","specversion":"1.0","source":"x","id":"{id}","time":"2026-03-01T10:05:00.123Z","data":{data}}}"#
    )
}

/// What HID says, and what it means.
fn rows() -> Vec<(&'static str, &'static str, Option<Happening>)> {
    let container = ContainerId::parse("61001").unwrap();
    vec![
        (
            "user",
            r#"{"status":"USER_CREATED","userId":"880123"}"#,
            None,
        ),
        (
            "user",
            r#"{"status":"USER_DELETED","userId":"880123"}"#,
            Some(Happening::UserOther),
        ),
        (
            "invitation",
            r#"{"status":"INVITATION_ACKNOWLEDGED","userId":"880123","invitationId":"5150","invitationCode":"undefined"}"#,
            Some(Happening::Invitation {
                invitation: InvitationId::parse("5150").unwrap(),
                status: InvitationStatus::Acknowledged,
            }),
        ),
        (
            "endpoint",
            r#"{"status":"ENDPOINT_ACTIVE","userId":"undefined","endpointId":"61001","endpointManufacturer":"Maker","osVersion":"undefined","invitationId":5150}"#,
            Some(Happening::PhoneActive {
                container: container.clone(),
                invitation: Some(InvitationId::parse("5150").unwrap()),
                device: Device {
                    manufacturer: Some("Maker".into()),
                    ..Device::default()
                },
            }),
        ),
        (
            "endpoint",
            r#"{"status":"ENDPOINT_LATER","endpointId":61001}"#,
            Some(Happening::PhoneOther {
                container: container.clone(),
            }),
        ),
        (
            "credential",
            r#"{"status":"CREDENTIAL_ISSUED","mid":72001,"endpointId":"61001","cardNumber":1001}"#,
            Some(Happening::KeyIssued {
                credential: CredentialId::parse("72001").unwrap(),
                container: Some(container),
            }),
        ),
        (
            "credential",
            r#"{"status":"Credential_Issuing","mid":"72001","endpointId":"undefined"}"#,
            Some(Happening::KeyBegun {
                credential: CredentialId::parse("72001").unwrap(),
                container: None,
            }),
        ),
        (
            "credential",
            r#"{"status":"CREDENTIAL_LATER","mid":"72001","endpointId":"undefined"}"#,
            Some(Happening::KeyOther {
                credential: CredentialId::parse("72001").unwrap(),
                container: None,
            }),
        ),
        (
            "credential",
            r#"{"status":"CREDENTIAL_ISSUED","mid":"undefined","userId":880123}"#,
            Some(Happening::UserOther),
        ),
        ("later", r#"{"status":"X","userId":"880123"}"#, None),
    ]
}

#[tokio::test]
async fn the_feed_is_read_in_the_cores_words() {
    let rows = rows();
    let entries: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(i, (kind, data, _))| entry(&format!("e{i}"), kind, data))
        .collect();
    let broken = r#"7, null, {"id":"x"}, {"type":"com.origo.mi.user","data":{}}"#;
    let array = format!("[{},{broken}]", entries.join(","));
    let (stub, client, _) = client();
    for reply in [
        array.clone(),
        format!(r#"{{"errors":[],"total":9,"events":{array}}}"#),
    ] {
        stub.answer(json(200, &reply));
        let events = client.events(START, START + 1500).await.unwrap();
        assert_eq!(events.len(), rows.len());
        for (event, (kind, data, happening)) in events.iter().zip(&rows) {
            assert_eq!(event.happening(), *happening, "{kind} {data}");
            assert_eq!(event.time, Some(Timestamp(1_772_359_500_123)));
        }
        assert_eq!(events[3].user, None);
        let (_, requests) = stub.take();
        assert_eq!(
            requests[0].uri().to_string(),
            "https://hid.example/organization/7001234/events?dateFrom=2026-03-01T10%3A00%3A00.000Z&dateTo=2026-03-01T10%3A00%3A01.500Z"
        );
        assert_eq!(header(&requests[0], "accept"), Some("application/json"));
    }
    assert_eq!(client.skipped(), 8);
    stub.answer(json(204, ""));
    assert_eq!(client.events(START, START).await, Ok(vec![]));
    for reply in ["{}", "7", ""] {
        stub.answer(json(200, reply));
        let error = client.events(START, START).await.unwrap_err();
        assert_eq!(error.trouble, Some(Trouble::ServerError), "{reply}");
    }
}
