//! The app on a sandbox phone: redeems an invitation code at the control API of HID's simulator.
//!
//! Imports core, and origo for its transport. It speaks no HID: the phone that it makes is found like any
//! other. Promises: one request, never repeated, and an answer within [`TIMEOUT`]; no error holds the code.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use crate::core::ids::{ContainerId, InvitationCode};
use crate::core::observation::Device;
use crate::origo::{HttpTransport, Options, Transport as _, TransportError};

/// Longest wait for the simulator.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Why no phone registered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not answer, or not as the control API does.
    #[error("the simulator's control API does not answer")]
    Unavailable(#[source] Option<TransportError>),
    /// It does not take the code: spent, cancelled or unknown.
    #[error("the simulator refuses the code")]
    Refused,
}

/// Lets `device` register with `code`; returns its container. An `installation` of the app that has one
/// with the same person already keeps it, and the code with it.
pub async fn redeem(
    control_url: &Url,
    code: &InvitationCode,
    device: &Device,
    installation: Option<&str>,
) -> Result<ContainerId, Error> {
    let body = json!({
        "code": code.0,
        "installation": installation,
        "device": {
            "manufacturer": device.manufacturer,
            "model": device.model,
            "os_version": device.os_version,
        },
    });
    let base = control_url.as_str().trim_end_matches('/');
    let request = Request::post(format!("{base}/control/redeem"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(body.to_string()))
        .map_err(|_| Error::Unavailable(None))?;
    let unavailable = |error| Error::Unavailable(Some(error));
    let transport = HttpTransport::new(&Options {
        request_timeout: TIMEOUT,
        proxy: None,
        ca_certificates: None,
    });
    let answer = transport.map_err(unavailable)?.send(request).await;
    let answer = answer.map_err(unavailable)?;
    match answer.status() {
        StatusCode::OK => container(answer.body()).ok_or(Error::Unavailable(None)),
        StatusCode::BAD_REQUEST => Err(Error::Refused),
        _ => Err(Error::Unavailable(None)),
    }
}

fn container(body: &[u8]) -> Option<ContainerId> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    ContainerId::parse(&answer["container_id"].as_u64()?.to_string())
}
