//! HID's client over a transport that gives back what the input says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use origo_adapter::origo::{Client, Sending, Settings, Transport, TransportError, Unlimited};

pub(crate) const NOW: i64 = 1_800_000_000_000;
/// Words that nothing may repeat.
pub(crate) const SECRETS: [&str; 2] = ["Zwetschge-und-Quitte", "Mirabelle.und.Schlehe"];

/// What HID gives back, to every request of one call.
#[derive(Clone)]
pub(crate) enum Reply {
    /// An answer.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// No connection.
    Unsent,
    /// No whole answer.
    Unanswered,
}

impl Reply {
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Answer { status, .. } => Some(*status),
            Self::Unsent | Self::Unanswered => None,
        }
    }

    fn send(&self) -> Result<Response<Bytes>, TransportError> {
        match self {
            Self::Unsent => Err(TransportError::Unsent("no route".into())),
            Self::Unanswered => Err(TransportError::Unanswered("time is up".into())),
            Self::Answer {
                status,
                headers,
                body,
            } => {
                let mut response = Response::new(Bytes::from(body.clone()));
                *response.status_mut() = (*status).try_into().expect("a status");
                for (name, value) in headers {
                    // What is no header cannot come over the wire.
                    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                        let name = HeaderName::from_static(name);
                        response.headers_mut().insert(name, value);
                    }
                }
                Ok(response)
            }
        }
    }
}

/// Answers logins with a token, or with `login`; everything else with `reply`.
pub(crate) struct Script {
    pub(crate) reply: Reply,
    pub(crate) login: Option<Reply>,
    /// How many logins and other calls there were.
    pub(crate) seen: Mutex<(u32, u32)>,
}

impl Transport for Script {
    fn send(&self, request: Request<Bytes>) -> Sending<'_> {
        let path = request.uri().path();
        let is_login = path.contains("/authentication/");
        let mut seen = self.seen.lock().expect("no panic");
        if is_login {
            seen.0 += 1;
        } else {
            seen.1 += 1;
            let authorization = request.headers()["authorization"].clone();
            assert!(authorization.is_sensitive());
            assert!(path.contains("/7001234"), "{path} is nobody's");
        }
        let answer = match (&self.login, is_login) {
            (Some(login), true) => login.send(),
            (None, true) => token(),
            (_, false) => self.reply.send(),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn token() -> Result<Response<Bytes>, TransportError> {
    let token = SECRETS[1];
    let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#);
    let headers = vec![("content-type", "application/json".to_owned())];
    let body = body.into_bytes();
    let status = 200;
    Reply::Answer {
        status,
        headers,
        body,
    }
    .send()
}

/// A client that knows nothing yet, and what it talks to.
pub(crate) fn client(reply: Reply, login: Option<Reply>) -> (Client, Arc<Script>) {
    let script = Arc::new(Script {
        reply,
        login,
        seen: Mutex::default(),
    });
    let url = |path: &str| {
        let url = format!("https://hid.example/{path}");
        url.parse().expect("an address")
    };
    let settings = Settings {
        organization_id: "7001234".into(),
        client_id: "7001234-OSRV900001".into(),
        login: origo_adapter::origo::Login::Secret(SECRETS[0].to_owned().into()),
        token_url: url("idp"),
        mobile_identities_url: url("credential-management"),
        events_url: url(""),
        callback_url: Some(url("")),
        application_id: "HID-EXAMPLE-ADAPTER".into(),
        application_version: "1.0".into(),
        request_timeout: Duration::from_secs(20),
    };
    let transport = Arc::<Script>::clone(&script);
    let client = Client::new(settings, transport, Arc::new(Unlimited), Arc::new(|| NOW));
    (client, script)
}
