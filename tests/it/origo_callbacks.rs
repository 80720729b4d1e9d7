//! The register of callbacks on the wire, and the forms in which HID may answer (origo-api.md 9.4).

use origo_adapter::core::observation::Fault;
use origo_adapter::origo::{CallbackId, Trouble};

use crate::origo_stub::{SECRET, body, client, header, json};

const PATH: &str = "/organization/7001234/callback";

#[tokio::test]
async fn a_registration_has_the_printed_body_and_any_success_will_do() {
    let (stub, client, _) = client();
    for (status, answer) in [(201, r#"{"callbackId":"c1"}"#), (200, ""), (204, "")] {
        stub.answer(json(status, answer));
        let secret = SECRET.to_owned().into();
        let made = client.create_callback("https://a.example/hid", "17", "x-origo-secret", &secret);
        made.await.unwrap();
        let (_, requests) = stub.take();
        let (method, path) = (requests[0].method().as_str(), requests[0].uri().path());
        assert_eq!((method, path), ("POST", PATH));
        assert_eq!(
            body(&requests[0]),
            r#"{"url":"https://a.example/hid","filterId":"17","httpHeader":"x-origo-secret","secret":"s3cret & sons"}"#
        );
        let media_type = header(&requests[0], "content-type");
        assert_eq!(media_type, Some("application/json"));
    }
}

#[tokio::test]
async fn a_refused_registration_tells_no_secret() {
    let (stub, client, _) = client();
    stub.answer(json(400, r#"{"message":"secret s3cret is too short"}"#));
    let secret = SECRET.to_owned().into();
    let made = client.create_callback("https://a.example", "17", "x", &secret);
    let error = made.await.unwrap_err();
    assert_eq!(error.trouble, None);
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert!(error.to_string().contains("is too short"), "{error}");
}

#[tokio::test]
async fn a_list_is_read_in_any_form() {
    let (stub, client, _) = client();
    let one = r#"{"callbackId":"c1","url":"https://a.example","filterId":17}"#;
    for answer in [
        format!("[{one}]"),
        format!(r#"{{"callbacks":[{one}],"errors":[]}}"#),
        format!(r#"[{{"url":"x"}},{{"callbackId":"../up"}},{one}]"#),
        one.to_owned(),
        one.replace("callbackId", "id"),
    ] {
        stub.answer(json(200, &answer));
        let found = client.callbacks().await.unwrap();
        assert_eq!(found.len(), 1, "{answer}");
        assert_eq!(found[0].id.as_str(), "c1");
        assert_eq!(found[0].url.as_deref(), Some("https://a.example"));
        assert_eq!(found[0].filter.as_deref(), Some("17"));
    }
    for (status, answer) in [(200, "[]"), (204, "")] {
        stub.answer(json(status, answer));
        assert_eq!(client.callbacks().await, Ok(vec![]));
    }
    stub.answer(json(200, r#"{"what":"ever"}"#));
    let error = client.callbacks().await.unwrap_err();
    assert_eq!(error.trouble, Some(Trouble::ServerError));
    let (_, requests) = stub.take();
    let asked = requests
        .iter()
        .map(|r| (r.method().as_str(), r.uri().path()));
    assert!(asked.into_iter().all(|asked| asked == ("GET", PATH)));
}

#[tokio::test]
async fn one_is_removed_by_its_id_and_by_nothing_that_leads_elsewhere() {
    let (stub, client, _) = client();
    stub.answer(json(204, ""));
    let id = CallbackId::parse("c1").unwrap();
    client.delete_callback(&id).await.unwrap();
    let (_, requests) = stub.take();
    let (method, path) = (requests[0].method().as_str(), requests[0].uri().path());
    assert_eq!((method, path), ("DELETE", format!("{PATH}/c1").as_str()));
    stub.answer(json(404, ""));
    let error = client.delete_callback(&id).await.unwrap_err();
    assert_eq!((error.fault, error.trouble), (Fault::Gone, None));
    for text in ["", ".", "..", "../events/filter", "a/b", "a?b", "a b"] {
        assert_eq!(CallbackId::parse(text), None, "{text:?}");
    }
}
