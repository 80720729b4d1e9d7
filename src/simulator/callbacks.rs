//! Callbacks: who registered for events, and what is posted to them (`origo-api.md` 9.4).
//!
//! The model says what is owed; the shell posts it, to addresses of this machine and to no other, by plain HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};
use url::{Host, Url};

use super::{
    answer::{Answer, Outcome, Refusal},
    hid::Hid,
    routes::Call,
    settings::CallbackAuthentication,
};

/// Where the key of the other form of registration travels; a guess.
const API_KEY: &str = "x-api-key";
/// Between two tries of one delivery.
const AGAIN_MS: i64 = 1_000;
/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The register, and what is owed to those in it.
#[derive(Debug, Default)]
pub(super) struct Callbacks {
    /// By id.
    registered: BTreeMap<String, Registered>,
    owed: Vec<Owed>,
    deliveries: Vec<Delivery>,
}

#[derive(Debug)]
struct Registered {
    organization: String,
    url: String,
    filter: String,
    /// Name and value.
    header: Option<(String, String)>,
}

#[derive(Debug)]
struct Owed {
    at: i64,
    callback: String,
    events: Vec<Value>,
    tries: u32,
}

/// One request that HID makes.
#[derive(Debug)]
pub struct Post {
    pub callback: String,
    pub url: String,
    /// Name and value.
    pub header: Option<(String, String)>,
    pub content_type: &'static str,
    pub body: String,
    events: Vec<Value>,
    tries: u32,
}

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    pub at: i64,
    pub callback: String,
    pub url: String,
    /// CloudEvents ids.
    pub events: Vec<String>,
    /// HTTP's; absent where nobody answered.
    pub status: Option<u16>,
}

impl Hid {
    /// Its secret is never given back (9.4).
    pub(super) fn create_callback(&mut self, call: &Call) -> Outcome {
        let body = call.json()?;
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if text("url").is_empty() {
            return Err(Refusal::plain(400, "url is required."));
        }
        let header = match self.settings.callback_authentication {
            CallbackAuthentication::HeaderSecret => {
                let (name, secret) = (text("httpHeader"), text("secret"));
                if name.is_empty() != secret.is_empty() {
                    return Err(Refusal::plain(400, "httpHeader and secret go together."));
                }
                (!name.is_empty()).then_some((name, secret))
            }
            CallbackAuthentication::ApiKey => {
                if text("authenticationType").is_empty() || text("apiKey").is_empty() {
                    let wanted = "authenticationType and apiKey are required.";
                    return Err(Refusal::plain(400, wanted));
                }
                Some((API_KEY.to_owned(), text("apiKey")))
            }
        };
        let filter = text("filterId");
        if self.settings.callback_needs_filter || !filter.is_empty() {
            self.find_filter(&call.organization, &filter)?;
        }
        let id = self.names.uuid().to_string();
        let registered = Registered {
            organization: call.organization.clone(),
            url: text("url"),
            filter,
            header,
        };
        let answer = registered.body(&id);
        self.callbacks.registered.insert(id, registered);
        Ok(Answer::new(201, answer))
    }

    pub(super) fn list_callbacks(&mut self, call: &Call) -> Answer {
        let all = self.callbacks.registered.iter();
        let own = all.filter(|(_, callback)| callback.organization == call.organization);
        Answer::ok(own.map(|(id, callback)| callback.body(id)).collect())
    }

    pub(super) fn delete_callback(&mut self, call: &Call) -> Outcome {
        let known = self.callbacks.registered.get(&call.id);
        if known.is_none_or(|callback| callback.organization != call.organization) {
            return Err(Refusal::missing("callback"));
        }
        self.callbacks.registered.remove(&call.id);
        Ok(Answer::empty(204))
    }

    /// An event happened: everybody is to be told whose filter takes it.
    pub(super) fn owe_callbacks(&mut self, at: i64, organization: &str, event: &Value) {
        let at = at.saturating_add_unsigned(self.settings.callback_delay_ms);
        for (id, callback) in &self.callbacks.registered {
            let filter = self.find_filter(organization, &callback.filter).ok();
            let is_taken = callback.filter.is_empty() || filter.is_some_and(|f| f.takes(event));
            if callback.organization != organization || !is_taken {
                continue;
            }
            for _ in 0..=self.settings.callback_duplicates {
                self.callbacks.owed.push(Owed {
                    at,
                    callback: id.clone(),
                    events: vec![event.clone()],
                    tries: 0,
                });
            }
        }
    }

    /// What is to be posted now; what is taken is owed no more.
    pub fn take_callbacks(&mut self, now: i64) -> Vec<Post> {
        let owed = std::mem::take(&mut self.callbacks.owed);
        let (due, later): (Vec<_>, Vec<_>) = owed.into_iter().partition(|owed| owed.at <= now);
        self.callbacks.owed = later;
        let mut posts: Vec<Owed> = Vec::new();
        for owed in due {
            // A duplicate goes out by itself.
            let together = posts.iter_mut().find(|post| {
                self.settings.callback_batches
                    && (&post.callback, post.tries) == (&owed.callback, owed.tries)
                    && !post.events.contains(&owed.events[0])
            });
            match together {
                Some(post) => post.events.extend(owed.events),
                None => posts.push(owed),
            }
        }
        posts
            .into_iter()
            .filter_map(|owed| self.post(owed))
            .collect()
    }

    fn post(&self, owed: Owed) -> Option<Post> {
        let callback = self.callbacks.registered.get(&owed.callback)?;
        let (content_type, body) = match owed.events.as_slice() {
            [event] if !self.settings.callback_batches => {
                ("application/cloudevents+json", event.to_string())
            }
            events => (
                "application/cloudevents-batch+json",
                json!(events).to_string(),
            ),
        };
        Some(Post {
            callback: owed.callback,
            url: callback.url.clone(),
            header: callback.header.clone(),
            content_type,
            body,
            events: owed.events,
            tries: owed.tries,
        })
    }

    /// Notes how a request ended: with a status, or without an answer.
    pub fn callback_ended(&mut self, now: i64, post: Post, status: Option<u16>) {
        let ids = post.events.iter();
        let ids = ids.filter_map(|event| event["id"].as_str().map(ToOwned::to_owned));
        self.callbacks.deliveries.push(Delivery {
            at: now,
            callback: post.callback.clone(),
            url: post.url,
            events: ids.collect(),
            status,
        });
        if status != Some(200) && post.tries < self.settings.callback_retries {
            self.callbacks.owed.push(Owed {
                at: now.saturating_add(AGAIN_MS),
                callback: post.callback,
                events: post.events,
                tries: post.tries + 1,
            });
        }
    }

    /// Every request that was made, oldest first.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.callbacks.deliveries
    }
}

impl Registered {
    fn body(&self, id: &str) -> Value {
        json!({ "callbackId": id, "url": self.url, "filterId": self.filter })
    }
}

/// Makes the request; the status, where there is one.
pub(super) async fn post(owed: &Post) -> Option<u16> {
    let url = Url::parse(&owed.url).ok()?;
    let port = url.port_or_known_default()?;
    let host = match url.host()? {
        Host::Ipv4(ip) if ip.is_loopback() => ip.to_string(),
        Host::Ipv6(ip) if ip.is_loopback() => ip.to_string(),
        Host::Domain("localhost") => "localhost".to_owned(),
        Host::Ipv4(_) | Host::Ipv6(_) | Host::Domain(_) => return None,
    };
    if url.scheme() != "http" {
        return None;
    }
    let header = owed.header.as_ref();
    let secret = header.map_or(String::new(), |(name, value)| {
        format!("{name}: {value}\r\n")
    });
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\ncontent-type: {}\r\n{secret}content-length: {}\r\n\r\n{}",
        &url[url::Position::BeforePath..url::Position::AfterQuery],
        owed.content_type,
        owed.body.len(),
        owed.body
    );
    let exchange = async {
        let mut stream = TcpStream::connect((host.as_str(), port)).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = [0; 64];
        let mut length = 0;
        // "HTTP/1.1 200" is all that matters.
        while length < 12 {
            let read = stream.read(&mut answer[length..]).await.ok()?;
            if read == 0 {
                return None;
            }
            length += read;
        }
        let line = std::str::from_utf8(&answer[..length]).ok()?;
        line.split(' ').nth(1)?.get(..3)?.parse().ok()
    };
    time::timeout(PATIENCE, exchange).await.ok().flatten()
}
