//! The simulator's shell over a real loopback connection.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use origo_adapter::simulator::{Class, Fault, Hid, Server, Settings};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use crate::simulator_support::{MEDIA, MI, START, invite, person};

const SHORT: Duration = Duration::from_millis(100);

/// Sends one request and reads until the server closes.
async fn raw(address: &str, verb: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{verb} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset connection ends the reading too, and what came before it counts.
    while let Ok(1..) = stream.read_buf(&mut answer).await {}
    String::from_utf8(answer).unwrap()
}

fn body(answer: &str) -> Value {
    let text = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(text).unwrap_or(Value::Null)
}

struct Running {
    address: String,
    hid: Arc<Mutex<Hid>>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
    /// Headers of a caller who is logged in.
    caller: String,
}

impl Running {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hid = Arc::new(Mutex::new(Hid::new(Settings::default(), 1)));
        let server = Server {
            hid: Arc::clone(&hid),
            clock: Arc::new(|| START),
            control: true,
            latency: Duration::ZERO,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(listener, async {
            stopped.await.ok();
        }));
        let form = "client_id=7001234-OSRV900001&client_secret=simulator-secret&grant_type=client_credentials";
        let answer = raw(
            &address,
            "POST",
            "/authentication/customer/7001234/token",
            "",
            form,
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(
            answer.contains("date: Sun, 01 Mar 2026 10:00:00 GMT"),
            "{answer}"
        );
        let token = body(&answer)["access_token"].as_str().unwrap().to_owned();
        let caller = format!(
            "authorization: Bearer {token}\r\napplication-id: HID-EXAMPLE\r\ncontent-type: {MEDIA}\r\n"
        );
        Self {
            address,
            hid,
            stop,
            serving,
            caller,
        }
    }

    async fn send(&self, verb: &str, path: &str, input: &Value) -> String {
        let input = if input.is_null() {
            String::new()
        } else {
            input.to_string()
        };
        raw(
            &self.address,
            verb,
            &format!("{MI}/{path}"),
            &self.caller,
            &input,
        )
        .await
    }

    async fn control(&self, path: &str, input: Value) -> String {
        raw(
            &self.address,
            "POST",
            &format!("/control/{path}"),
            "",
            &input.to_string(),
        )
        .await
    }

    async fn look(&self, path: &str) -> Value {
        body(&raw(&self.address, "GET", &format!("/control/{path}"), "", "").await)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_shell_cuts_and_hangs() {
    let running = Running::start().await;
    for fault in ["lost_reply", "truncated_body", "hang"] {
        let next = json!({ "next": [{ "class": "user_list", "fault": fault }] });
        let answer = running.control("faults", next).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let answer = timeout(SHORT, running.send("GET", "users", &Value::Null)).await;
        match (fault, answer) {
            ("lost_reply", Ok(answer)) => assert_eq!(answer, ""),
            ("truncated_body", Ok(answer)) => {
                assert!(
                    answer.starts_with("HTTP/1.1 200") && body(&answer).is_null(),
                    "{answer}"
                );
            }
            ("hang", answer) => assert!(answer.is_err()),
            (fault, answer) => panic!("{fault}: {answer:?}"),
        }
    }
    let answer = running.send("GET", "users", &Value::Null).await;
    assert_eq!(body(&answer)["totalResults"], 0);
    running
        .hid
        .lock()
        .unwrap()
        .faults_mut()
        .set_for(Class::UserGet, Fault::Http503, 1.0);
    let unavailable = running.send("GET", "users/880001", &Value::Null).await;
    assert!(unavailable.starts_with("HTTP/1.1 503"));
    running.stop().await;
}

#[tokio::test]
async fn the_control_api_plays_phone_and_portal() {
    let running = Running::start().await;
    running
        .control("settings", json!({ "container_ready_ms": 0 }))
        .await;
    let made = running.send("POST", "users", &person("ada")).await;
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    running
        .send("POST", "users/880001/invitation", &invite())
        .await;
    assert_eq!(
        running.look("invitations").await[0]["email"],
        "ada@tenant.example"
    );
    let redeemed = running
        .control("redeem", json!({ "external_id": "ident-ada" }))
        .await;
    assert_eq!(body(&redeemed)["container_id"], 61_001);
    assert_eq!(
        running.look("state").await["active_containers"][0]["container"],
        61_001
    );
    let issued = running
        .control("portal/issue", json!({ "container_id": 61_001 }))
        .await;
    assert_eq!(body(&issued)["credential_id"], 72_001);
    let removed = running
        .control("remove_phone", json!({ "container_id": 61_001 }))
        .await;
    assert!(removed.starts_with("HTTP/1.1 200"));
    let ledger = running.look("ledger").await;
    assert_eq!(
        ledger["effects"][0]["effect"]["user_created"]["user"],
        880_001
    );
    assert_eq!(running.look("violations").await, json!([]));
    let deleted = running
        .control("portal/delete_user", json!({ "external_id": "ident-ada" }))
        .await;
    assert!(deleted.starts_with("HTTP/1.1 200"));
    assert_eq!(
        running
            .hid
            .lock()
            .unwrap()
            .ledger()
            .count(Class::UserCreate),
        1
    );
    running.stop().await;
}

#[tokio::test]
async fn an_installation_keeps_its_container() {
    let running = Running::start().await;
    running.send("POST", "users", &person("ada")).await;
    let invite_path = "users/880001/invitation";
    running.send("POST", invite_path, &invite()).await;
    let code = running.look("invitations").await[0]["code"].clone();
    let redeem =
        |code: &Value, installation: &str| json!({ "code": code, "installation": installation });
    let first = running.control("redeem", redeem(&code, "one")).await;
    assert_eq!(body(&first)["container_id"], 61_001);
    let again = running.control("redeem", redeem(&code, "one")).await;
    assert_eq!(body(&again)["container_id"], 61_001, "the code is spent");
    let other = running.control("redeem", redeem(&code, "two")).await;
    assert!(other.starts_with("HTTP/1.1 400"), "{other}");

    running.send("POST", invite_path, &invite()).await;
    let open = running.look("invitations").await[0]["code"].clone();
    let kept = running.control("redeem", redeem(&open, "one")).await;
    assert_eq!(body(&kept)["container_id"], 61_001);
    let other = running.control("redeem", redeem(&open, "two")).await;
    assert_eq!(body(&other)["container_id"], 61_002, "the code was left");

    let gone = json!({ "container_id": 61_001 });
    running
        .control("settings", json!({ "phone_removal": "noticed" }))
        .await;
    running.control("remove_phone", gone).await;
    let anew = running.control("redeem", redeem(&code, "one")).await;
    assert!(anew.starts_with("HTTP/1.1 400"), "{anew}");
    running.stop().await;
}

#[tokio::test]
async fn bad_control_input_is_one_clear_message() {
    let running = Running::start().await;
    let bad = running
        .control("faults", json!({ "no_such_fault": 0.5 }))
        .await;
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
    assert_eq!(body(&bad)["error"], "no such fault: no_such_fault");
    for (path, input) in [
        ("redeem", json!({ "code": "X" })),
        ("redeem", json!({})),
        ("settings", json!({ "no_such": 1 })),
        ("faults", json!({ "lost_reply": 2 })),
        ("faults", json!({ "preset": "mild" })),
        ("remove_phone", json!({ "container_id": 1 })),
        ("phone_offline", json!({ "container_id": 1 })),
        ("stock", json!({ "part_number": "X" })),
        ("portal/revoke", json!({ "credential_id": 1 })),
        ("portal/delete_user", json!({})),
        ("nothing", json!({})),
    ] {
        let answer = running.control(path, input).await;
        assert!(answer.starts_with("HTTP/1.1 400") && body(&answer)["error"].is_string());
    }
    let windows = json!({ "windows": { "token": { "requests": 1 } } });
    let settings = running.control("settings", windows).await;
    assert_eq!(
        body(&settings)["windows"]["token"],
        json!({ "requests": 1, "per_s": 300 })
    );
    let set = running
        .control("faults", json!({ "preset": "standard", "http_500": 0.0 }))
        .await;
    assert_eq!(body(&set)["rates"]["lost_reply"], 0.01);
    running.stop().await;
}
