//! Commands that ask a running daemon, through its API.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::target::Target;
use super::{Refusal, load_listen, runtime, say};

/// A daemon answers from its own store, at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a running daemon is asked.
#[derive(Args, Debug)]
pub(super) struct Asked {
    /// Where its API listens: an address and port, a URL, or unix: and a path [default: api.listen of the configuration]
    #[arg(long, value_name = "WHERE")]
    api: Option<Target>,
    /// File with certificates that are trusted besides the system's, for --api with https
    #[arg(long, value_name = "FILE", requires = "api")]
    api_ca_file: Option<PathBuf>,
    /// File with a key of the API
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// A key of the API
    #[arg(long, env = "SEAM_API_KEY", hide = true, hide_env_values = true)]
    api_key: Option<SecretString>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Asked {
    /// Sends one question and prints what comes back: as JSON, or as `tell` puts it.
    pub(super) fn ask(
        &self,
        config: Option<&Path>,
        path: &str,
        query: &[(&str, &str)],
        tell: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        let daemon = self.daemon(config)?;
        let mut answer = runtime(1)?.block_on(daemon.get(path, query))?;
        // What stands under the answer's key.
        let answer = answer[path.rsplit('/').next().unwrap_or_default()].take();
        say(&if self.json {
            serde_json::to_string_pretty(&answer)?
        } else {
            tell(&answer)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints every row below `key`, page by page, each as it comes: one JSON list, or a line as `tell` puts it.
    pub(super) fn page_through(
        &self,
        config: Option<&Path>,
        (path, key): (&str, &str),
        query: &[(&str, &str)],
        tell: impl Fn(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        let (daemon, runtime) = (self.daemon(config)?, runtime(1)?);
        let mut cursor: Option<String> = None;
        let mut rows = 0;
        loop {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|cursor| ("page_cursor", cursor)));
            let answer = runtime.block_on(daemon.get(path, &query))?;
            for row in answer[key].as_array().into_iter().flatten() {
                if self.json {
                    let before = if rows == 0 { "[" } else { "," };
                    say(&format!("{before}{row}"))?;
                } else {
                    say(&tell(row))?;
                }
                rows += 1;
            }
            let next = &answer["pagination"]["next_page_cursor"];
            cursor = next.as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        if self.json {
            say(if rows == 0 { "[]" } else { "]" })?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Asks for something to be done and prints what comes back: as JSON, or as `tell` puts it.
    pub(super) fn order(
        &self,
        config: Option<&Path>,
        path: &str,
        body: &Value,
        tell: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        let daemon = self.daemon(config)?;
        let answer = runtime(1)?.block_on(daemon.post(path, body))?;
        let mut answer = fields(answer);
        let answer = answer.next().unwrap_or_default();
        say(&if self.json {
            serde_json::to_string_pretty(&answer)?
        } else {
            tell(&answer)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Every row of a list, page by page.
    pub(super) fn pages(&self, config: Option<&Path>, path: &str) -> anyhow::Result<Vec<Value>> {
        let daemon = self.daemon(config)?;
        runtime(1)?.block_on(async {
            let mut rows = Vec::new();
            let mut cursor: Option<String> = None;
            loop {
                let query = cursor.as_deref().map(|cursor| ("page_cursor", cursor));
                let answer = daemon.get(path, query.as_slice()).await?;
                let next = &answer["pagination"]["next_page_cursor"];
                cursor = next.as_str().map(str::to_owned);
                let page =
                    fields(answer).find_map(|mut page| Some(std::mem::take(page.as_array_mut()?)));
                rows.extend(page.unwrap_or_default());
                if cursor.is_none() {
                    return Ok(rows);
                }
            }
        })
    }

    /// JSON is to be printed.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Where to ask; nothing is sent yet.
    pub(super) fn daemon(&self, config: Option<&Path>) -> anyhow::Result<Daemon> {
        let target = match &self.api {
            Some(target) => target.clone(),
            None => Target::of(&load_listen(config)?),
        };
        let mut trusted = Vec::new();
        if let Some(path) = &self.api_ca_file {
            let pem = std::fs::read(path);
            let pem = pem.with_context(|| format!("reading {} (--api-ca-file)", path.display()))?;
            trusted = reqwest::Certificate::from_pem_bundle(&pem)?;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "our own daemon is asked, not HID; with a time-out and without redirects, retries or a proxy"
        )]
        let client = reqwest::Client::builder();
        let client = target
            .reach(client)?
            .tls_certs_merge(trusted)
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy();
        Ok(Daemon {
            client: client.build()?,
            target,
            key: self.key()?,
        })
    }

    fn key(&self) -> anyhow::Result<SecretString> {
        if let Some(path) = &self.api_key_file {
            let text = std::fs::read_to_string(path);
            let text =
                text.with_context(|| format!("reading {} (--api-key-file)", path.display()))?;
            // What `api-key new` prints begins with the key.
            let first = text.lines().next().unwrap_or_default();
            return Ok(first.trim().to_owned().into());
        }
        let given = self.api_key.clone();
        given.context(
            "a key of the API is needed: --api-key-file, or SEAM_API_KEY in the environment",
        )
    }
}

/// What an answer says, its envelope aside.
fn fields(answer: Value) -> impl Iterator<Item = Value> {
    let fields = match answer {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            serde_json::Map::new()
        }
    };
    let envelope = ["ok", "pagination"];
    fields
        .into_iter()
        .filter(move |(name, _)| !envelope.contains(&name.as_str()))
        .map(|(_, value)| value)
}

/// A running daemon, and the key to it.
#[derive(Clone)]
pub(super) struct Daemon {
    client: reqwest::Client,
    target: Target,
    key: SecretString,
}

impl Daemon {
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.client.get(self.target.url(path));
        self.send(request.query(query)).await
    }

    /// Sends a body and returns the whole answer.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(self.target.url(path));
        self.send(request.json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let address = &self.target;
        let answer = request
            .bearer_auth(self.key.expose_secret())
            .send()
            .await
            .context(Refusal::Unavailable)
            .with_context(|| format!("asking the daemon at {address}"))?;
        let status = answer.status();
        let body: Value = answer.json().await.context("understanding the answer")?;
        if status.is_success() {
            return Ok(body);
        }
        let message = body["error"]["message"]
            .as_str()
            .unwrap_or("no reason given");
        let error = anyhow::anyhow!("the daemon at {address} says {status}: {message}");
        Err(match status.as_u16() {
            401 | 403 => error.context(Refusal::NotPermitted),
            503 => error.context(Refusal::Unavailable),
            _ => error,
        })
    }
}

/// The status as an operator reads it.
pub(super) fn status(status: &Value) -> String {
    let mut lines = vec![format!(
        "{} identities, {} calls to HID under way",
        status["identities"], status["calls_under_way"]
    )];
    let holds = status["holds"].as_array();
    lines.extend(holds.into_iter().flatten().map(super::hold::line));
    for manager in status["credential_managers"]
        .as_array()
        .into_iter()
        .flatten()
    {
        lines.push(text(&manager["name"]));
        for (service, window) in manager["windows"].as_object().into_iter().flatten() {
            lines.push(format!(
                "  {service}: {}; {} of {} places of the window taken",
                text(&window["condition"]),
                window["used"],
                window["limit"]
            ));
        }
        let queue = manager["queue"].as_object();
        for (class, queue) in queue.into_iter().flatten() {
            let sent_by = queue["sent_by"].as_str();
            let goes = sent_by.map_or_else(|| "held".to_owned(), |at| format!("all sent by {at}"));
            lines.push(format!(
                "  {class}: {} due, the oldest since {}; {goes}",
                queue["due"],
                text(&queue["oldest_due_at"]),
            ));
        }
        if queue.is_none_or(serde_json::Map::is_empty) {
            lines.push("  nothing is due".to_owned());
        }
        lines.extend(withdrawal(manager));
        let detection = &manager["detection"];
        lines.push(format!(
            "  new phones are found by {}, within {}",
            text(&detection["by"]),
            text(&detection["expected_latency"])
        ));
        lines.extend(stock(&manager["stock"]));
        if let Some(age) = detection["feed"]["cursor_age_s"].as_u64() {
            let gaps = &detection["feed"]["gaps"];
            lines.push(format!(
                "  the feed was read up to {age} s ago; gaps: {gaps}"
            ));
        }
    }
    for system in status["access_systems"].as_array().into_iter().flatten() {
        lines.push(text(&system["name"]));
        for (kind, name) in [("removals", "to be removed"), ("imports", "to be told")] {
            let queue = &system[kind];
            if let Some(oldest) = queue["oldest_due_at"].as_str() {
                lines.push(format!(
                    "  {} {name}, the oldest since {oldest}",
                    queue["due"]
                ));
            }
        }
        if system["removals"]["due"] == 0 && system["imports"]["due"] == 0 {
            lines.push("  nothing is due".to_owned());
        }
        lines.extend(withdrawal(system));
    }
    lines.join("\n")
}

/// Since when the oldest withdrawal of a side has not come through.
fn withdrawal(side: &Value) -> Option<String> {
    let since = side["oldest_withdrawal_at"].as_str()?;
    Some(format!("  the oldest withdrawal is owed since {since}"))
}

fn stock(stock: &Value) -> Vec<String> {
    let parts = stock["part_numbers"].as_array().into_iter().flatten();
    let parts = parts.map(|part| {
        let low = if part["low"] == true {
            "; buy more"
        } else {
            ""
        };
        let ends = part["ends_at"].as_str();
        let ends = ends.map_or(String::new(), |at| {
            format!(", used up by {at} if it goes on so")
        });
        let left = part["available"].as_i64();
        let left = left.map_or("an unknown number".to_owned(), |left| left.to_string());
        format!("  {left} left of {}{ends}{low}", text(&part["part_number"]))
    });
    let licenses = stock["licenses"].as_object().into_iter().flatten();
    let licenses = licenses.map(|(name, state)| format!("  licence {name}: {}", text(state)));
    parts.chain(licenses).collect()
}

/// The paragraph of a `why`.
pub(super) fn why(why: &Value) -> String {
    text(&why["text"])
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_is_told_in_lines() {
        let told = status(&json!({
            "identities": 3, "calls_under_way": 1,
            "credential_managers": [{
                "name": "hq",
                "windows": {"mobile_identities": {"used": 285, "limit": 285, "condition": "ok"}},
                "queue": {"issue": {"due": 40, "oldest_due_at": "A", "sent_by": "B"}},
                "oldest_withdrawal_at": "C",
                "detection": {"by": "events", "expected_latency": "5 s", "feed": {"cursor_age_s": 2, "gaps": 0}},
            }],
        }));
        assert_eq!(
            told,
            "3 identities, 1 calls to HID under way\n\
             hq\n  mobile_identities: ok; 285 of 285 places of the window taken\n  \
             issue: 40 due, the oldest since A; all sent by B\n  \
             the oldest withdrawal is owed since C\n  \
             new phones are found by events, within 5 s\n  the feed was read up to 2 s ago; gaps: 0"
        );
    }
}
