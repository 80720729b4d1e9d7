//! The simulator's callbacks: who is told of what, and each switch for what nobody knows of HID's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use origo_adapter::simulator::{CallbackAuthentication, Fault, Hid, Post, Server, Settings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::simulator_support::*;

const PATH: &str = "/organization/7001234/callback";

/// A caller with a callback for new users; its id.
fn registered(settings: Settings) -> (Caller, String) {
    let mut caller = Caller::with(settings);
    let filter = caller.call(
        "POST",
        &format!("{EVENTS}/filter"),
        &json!({ "filterSet": ["USER_CREATED"] }),
    );
    let made = caller.call("POST", PATH, &registration(&filter.body["filterId"]));
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.body["callbackId"].as_str().unwrap().to_owned();
    (caller, id)
}

fn registration(filter: &Value) -> Value {
    json!({
        "url": "http://127.0.0.1:9/hid",
        "filterId": filter,
        "httpHeader": "x-origo-secret",
        "secret": "sesame",
    })
}

fn due(caller: &mut Caller) -> Vec<Post> {
    caller.hid.take_callbacks(caller.now)
}

#[test]
fn who_registered_is_told_in_one_batch_of_what_the_filter_takes() {
    let (mut caller, id) = registered(Settings::default());
    caller.user("ada");
    caller.user("bob");
    caller.delete("users/880001");
    let posts = due(&mut caller);
    assert_eq!(posts.len(), 1);
    let post = &posts[0];
    assert_eq!(post.callback, id);
    assert_eq!(post.url, "http://127.0.0.1:9/hid");
    assert_eq!(post.content_type, "application/cloudevents-batch+json");
    let header = ("x-origo-secret".to_owned(), "sesame".to_owned());
    assert_eq!(post.header, Some(header));
    let batch: Vec<Value> = serde_json::from_str(&post.body).unwrap();
    let mut told = caller.events();
    told.retain(|event| event["data"]["status"] == "USER_CREATED");
    assert_eq!(batch, told);
    assert!(due(&mut caller).is_empty(), "once");
    caller.call("DELETE", &format!("{PATH}/{id}"), &Value::Null);
    caller.user("cid");
    assert!(due(&mut caller).is_empty(), "removed");
}

#[test]
fn an_event_that_hid_loses_is_told_to_nobody() {
    let (mut caller, _) = registered(Settings::default());
    caller.hid.faults_mut().next_any(Fault::EventMissing);
    caller.user("ada");
    assert!(due(&mut caller).is_empty());
}

#[test]
fn each_open_question_is_a_switch() {
    let (mut caller, _) = registered(Settings {
        callback_batches: false,
        callback_duplicates: 1,
        callback_delay_ms: 700,
        ..Settings::default()
    });
    caller.user("ada");
    assert!(due(&mut caller).is_empty());
    caller.wait(700);
    let posts = due(&mut caller);
    assert_eq!(posts.len(), 2);
    assert_eq!(posts[0].body, posts[1].body);
    assert_eq!(posts[0].content_type, "application/cloudevents+json");
    let event: Value = serde_json::from_str(&posts[0].body).unwrap();
    assert_eq!(event["data"]["status"], "USER_CREATED");

    let mut caller = Caller::with(Settings {
        callback_needs_filter: false,
        ..Settings::default()
    });
    let made = caller.call("POST", PATH, &registration(&Value::Null));
    assert_eq!(made.status, 201);
    caller.user("ada");
    caller.delete("users/880001");
    let batch: Vec<Value> = serde_json::from_str(&due(&mut caller)[0].body).unwrap();
    assert_eq!(batch.len(), caller.events().len(), "everything");

    let mut caller = Caller::with(Settings {
        callback_authentication: CallbackAuthentication::ApiKey,
        callback_needs_filter: false,
        ..Settings::default()
    });
    let refused = caller.call("POST", PATH, &registration(&Value::Null));
    assert_eq!(refused.status, 400);
    let form = json!({ "url": "http://a.example", "authenticationType": "API_KEY", "apiKey": "k" });
    assert_eq!(caller.call("POST", PATH, &form).status, 201);
    assert!(
        !caller
            .call("GET", PATH, &Value::Null)
            .text
            .contains("apiKey")
    );
}

#[test]
fn what_is_not_taken_is_lost_unless_it_is_tried_again() {
    for retries in [0, 2] {
        let (mut caller, id) = registered(Settings {
            callback_retries: retries,
            ..Settings::default()
        });
        caller.user("ada");
        let mut tries = 0;
        for _ in 0..5 {
            for post in due(&mut caller) {
                tries += 1;
                caller.hid.callback_ended(caller.now, post, None);
            }
            caller.wait(1_000);
        }
        assert_eq!(tries, 1 + retries);
        let told = caller.hid.deliveries();
        assert_eq!(told.len(), usize::try_from(tries).unwrap());
        assert!(
            told.iter()
                .all(|one| one.callback == id && one.status.is_none())
        );
        assert_eq!(told[0].events.len(), 1);
    }
}

/// The shell: a real request to this machine, and none to any other.
#[tokio::test]
async fn the_shell_posts_to_this_machine_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    let mut caller = Caller::with(Settings {
        callback_needs_filter: false,
        ..Settings::default()
    });
    for url in [
        format!("http://{here}/hid?site=1"),
        "http://192.0.2.1/hid".to_owned(),
        "https://localhost/hid".to_owned(),
    ] {
        let body = json!({ "url": url, "httpHeader": "x-a", "secret": "sesame" });
        assert_eq!(caller.call("POST", PATH, &body).status, 201);
    }
    caller.user("ada");
    let hid: Arc<Mutex<Hid>> = Arc::new(Mutex::new(caller.hid));
    let server = Server {
        hid: Arc::clone(&hid),
        clock: Arc::new(|| START + 1_000),
        control: false,
        latency: Duration::ZERO,
    };
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let serving = tokio::spawn(server.serve(port, std::future::pending()));
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"]") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let request = String::from_utf8(request).unwrap();
    assert!(
        request.starts_with("POST /hid?site=1 HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nx-a: sesame\r\n"), "{request}");
    let ended = async {
        loop {
            let told = hid.lock().unwrap().deliveries().to_vec();
            if told.len() == 3 {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), ended).await;
    for delivery in told.unwrap() {
        let expected = delivery.url.contains("127.0.0.1").then_some(200);
        assert_eq!(delivery.status, expected, "{}", delivery.url);
    }
    serving.abort();
}
