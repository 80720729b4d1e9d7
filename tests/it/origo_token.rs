//! Logging in: once for all, early, once more after a 401, and never in a loop (origo-api.md 2).

use std::sync::Arc;
use std::time::Duration;

use origo_adapter::core::ids::HidUserId;
use origo_adapter::core::{Answer, Effect, Fault};
use origo_adapter::origo::{Client, Error, Service, TransportError, Trouble};

use crate::origo_stub::{SECRET, Stub, body, client, header, json, settings, token};

fn delete() -> Effect {
    Effect::DeleteUser {
        user: HidUserId::parse("880123").expect("an id"),
    }
}

async fn perform(client: &Client) -> Result<Answer, Error> {
    client.perform(&delete(), &|| true).await
}

fn counts(stub: &Stub) -> (usize, usize) {
    let (logins, calls) = stub.take();
    (logins.len(), calls.len())
}

#[tokio::test]
async fn a_login_is_the_printed_form() {
    let (stub, client, _) = client();
    let until = client.token().await.unwrap();
    assert_eq!(until.0, crate::origo_stub::START + 3_600_000);
    let (logins, _) = stub.take();
    assert_eq!(
        logins[0].uri().to_string(),
        "https://hid.example/idp/authentication/customer/7001234/token"
    );
    assert_eq!(logins[0].method(), "POST");
    assert_eq!(
        body(&logins[0]),
        "grant_type=client_credentials&client_id=7001234-OSRV900001&client_secret=s3cret+%26+sons"
    );
    assert_eq!(
        header(&logins[0], "content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[tokio::test]
async fn many_tasks_share_one_login() {
    let (stub, client, _) = client();
    let client = Arc::new(client);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            stub.answer(json(204, ""));
            let client = Arc::clone(&client);
            tokio::spawn(async move { perform(&client).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(Answer::UserDeleted));
    }
    assert_eq!(counts(&stub), (1, 20));
}

#[tokio::test]
async fn tasks_that_fail_with_one_token_share_one_login() {
    let (stub, client, _) = client();
    let client = Arc::new(client);
    client.token().await.unwrap();
    // All ten are sent before the first 401 is dealt with, and find it at the head of the queue.
    for status in [401; 10].into_iter().chain([204; 10]) {
        stub.answer(json(status, ""));
    }
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { perform(&client).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(Answer::UserDeleted));
    }
    assert_eq!(counts(&stub), (2, 20));
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let (stub, client, hand) = client();
    client.token().await.unwrap();
    hand.forward(Duration::from_secs(2_879));
    client.token().await.unwrap();
    assert_eq!(counts(&stub).0, 1);
    hand.forward(Duration::from_secs(1));
    client.token().await.unwrap();
    assert_eq!(counts(&stub).0, 1);
    // A clock that went back makes it old.
    hand.back(Duration::from_hours(1));
    client.token().await.unwrap();
    assert_eq!(counts(&stub).0, 1);
}

#[tokio::test]
async fn an_old_token_bridges_a_failing_login() {
    let (stub, client, hand) = client();
    client.token().await.unwrap();
    stub.take();
    hand.forward(Duration::from_mins(50));
    stub.log_in(json(503, ""));
    for _ in 0..3 {
        stub.answer(json(204, ""));
        assert_eq!(perform(&client).await, Ok(Answer::UserDeleted));
    }
    assert_eq!(counts(&stub), (1, 3));
    hand.forward(Duration::from_secs(601));
    stub.log_in(json(503, ""));
    let error = perform(&client).await.unwrap_err();
    assert_eq!(error.trouble, Some(Trouble::ServerError));
    assert_eq!(counts(&stub), (1, 0));
}

#[tokio::test]
async fn a_401_is_answered_by_one_login_and_one_replay() {
    let (stub, client, _) = client();
    for status in [401, 204] {
        stub.answer(json(status, ""));
    }
    assert_eq!(perform(&client).await, Ok(Answer::UserDeleted));
    let (logins, calls) = stub.take();
    assert_eq!((logins.len(), calls.len()), (2, 2));
    assert_eq!(header(&calls[0], "authorization"), Some("Bearer token-1"));
    assert_eq!(header(&calls[1], "authorization"), Some("Bearer token-2"));
}

#[tokio::test]
async fn the_lease_is_asked_again_before_a_replay() {
    let (stub, client, _) = client();
    stub.answer(json(401, ""));
    let asked = std::sync::atomic::AtomicU32::new(0);
    let once = || asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
    let error = client.perform(&delete(), &once).await.unwrap_err();
    assert_eq!(error.trouble, Some(Trouble::LeaseOver));
    assert_eq!(counts(&stub), (2, 1));
}

#[tokio::test]
async fn a_service_that_takes_no_token_is_not_flooded_with_logins() {
    let (stub, client, hand) = client();
    let mut logins = 0;
    for second in 0..300 {
        for _ in 0..2 {
            stub.answer(json(401, r#"{"detail":"no"}"#));
        }
        let error = perform(&client).await.unwrap_err();
        assert_eq!(error.fault, Fault::Refused, "{second}");
        assert_eq!(error.trouble, Some(Trouble::Unauthorized), "{second}");
        assert_eq!(error.service, Service::MobileIdentities);
        logins += counts(&stub).0;
        hand.forward(Duration::from_secs(1));
    }
    assert!(logins <= 10, "{logins}");
}

#[tokio::test]
async fn tokens_that_die_at_once_do_not_use_up_the_window() {
    let (stub, client, hand) = client();
    let mut logins = 0;
    let mut refused = 0;
    for _ in 0..300 {
        stub.answers(&[401, 204]);
        if let Err(error) = perform(&client).await {
            assert_eq!((error.fault, error.status), (Fault::Refused, None));
            assert_eq!(error.trouble, Some(Trouble::Window));
            assert_eq!(error.service, Service::Token);
            assert!(error.retry_after.unwrap() > Duration::from_mins(4));
            refused += 1;
            break;
        }
        logins += counts(&stub).0;
        hand.forward(Duration::from_secs(1));
    }
    assert_eq!((logins, refused), (25, 1));
    hand.forward(Duration::from_mins(5));
    stub.answers(&[204]);
    assert_eq!(perform(&client).await, Ok(Answer::UserDeleted));
}

#[tokio::test]
async fn refused_credentials_are_not_tried_in_a_loop() {
    for status in [400, 401] {
        let (stub, client, hand) = client();
        let mut tried = Vec::new();
        for second in 0..300 {
            stub.log_in(json(status, r#"{"error":"invalid_client"}"#));
            let error = perform(&client).await.unwrap_err();
            assert_eq!(error.fault, Fault::Refused);
            assert_eq!(error.trouble, Some(Trouble::Credentials));
            assert_eq!(error.service, Service::Token);
            assert_eq!(error.status, Some(status));
            assert!(error.retry_after.unwrap() <= Duration::from_mins(1));
            let (logins, calls) = counts(&stub);
            assert_eq!(calls, 0);
            if logins > 0 {
                tried.push(second);
            }
            hand.forward(Duration::from_secs(1));
        }
        assert_eq!(tried, [0, 5, 15, 35, 75, 135, 195, 255]);
    }
}

#[tokio::test]
async fn a_failed_login_tells_its_kind() {
    let unsent = || Err(TransportError::Unsent("refused".into()));
    let unanswered = || Err(TransportError::Unanswered("reset".into()));
    let mut throttled = json(429, "").unwrap();
    throttled
        .headers_mut()
        .insert("retry-after", "90".parse().unwrap());
    for (reply, trouble, wait) in [
        (unsent(), Trouble::Unreachable, 5),
        (unanswered(), Trouble::TimedOut, 5),
        (json(500, ""), Trouble::ServerError, 5),
        (json(403, "{}"), Trouble::Window, 5),
        (Ok(throttled), Trouble::Window, 90),
        (json(302, ""), Trouble::ServerError, 5),
        (json(200, "{}"), Trouble::ServerError, 5),
        (
            json(200, r#"{"access_token":"opaque-half"#),
            Trouble::ServerError,
            5,
        ),
        (token("", 3600), Trouble::ServerError, 5),
        (token(&"x".repeat(70_000), 3600), Trouble::TimedOut, 5),
    ] {
        let (stub, client, hand) = client();
        stub.log_in(reply);
        let error = perform(&client).await.unwrap_err();
        assert_eq!(error.fault, Fault::Refused);
        assert_eq!(error.trouble, Some(trouble), "{error}");
        assert_eq!(error.retry_after, Some(Duration::from_secs(wait)));
        assert!(!format!("{error:?} {error}").contains("opaque-half"));
        hand.forward(Duration::from_secs(wait));
        stub.answer(json(204, ""));
        assert_eq!(perform(&client).await, Ok(Answer::UserDeleted));
    }
}

#[tokio::test]
async fn secrets_are_shown_by_nothing() {
    let (stub, client, _) = client();
    stub.log_in(token("opaqueAbc123+/=", 3600));
    stub.answer(json(401, r#"{"detail":"token opaqueAbc123+/= s3cret"}"#));
    stub.log_in(json(
        400,
        r#"{"error_description":"bad \"s3cret & sons\""}"#,
    ));
    let error = perform(&client).await.unwrap_err();
    let shown = format!(
        "{client:?} {error:?} {error} {:?}",
        settings("https://hid.example")
    );
    assert!(!shown.contains("opaque"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    let (_, calls) = stub.take();
    assert!(!format!("{:?}", calls[0].headers()).contains("opaque"));
}
