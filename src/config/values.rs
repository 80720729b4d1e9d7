//! Reads single values; a message says what was wanted, and what was there instead.

use std::path::PathBuf;
use std::time::Duration;

use config::{Value, ValueKind};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use uuid::Uuid;

use super::duration;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Shows a value in a complaint.
pub(super) fn show(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "nothing".into(),
        ValueKind::Boolean(flag) => flag.to_string(),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::I128(number) => number.to_string(),
        ValueKind::U64(number) => number.to_string(),
        ValueKind::U128(number) => number.to_string(),
        ValueKind::Float(number) => number.to_string(),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(_) => "a list".into(),
        ValueKind::Table(_) => "a table".into(),
    }
}

fn string(value: &Value) -> Option<&str> {
    if let ValueKind::String(text) = &value.kind {
        Some(text)
    } else {
        None
    }
}

/// Reads text that is not empty.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match string(value) {
        Some("") => Err("must not be empty".into()),
        Some(text) => Ok(text.into()),
        None => Err(format!("must be text in quotes, not {}", show(value))),
    }
}

/// Reads digits.
pub(super) fn digits(value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(format!("must be digits in quotes, not {text:?}"))
    }
}

/// Reads one of a few words.
pub(super) fn word<'a, T: Copy>(
    words: &'a [(&'a str, T)],
) -> impl FnOnce(&Value) -> Result<T, String> + use<'a, T> {
    move |value| {
        string(value)
            .and_then(|text| words.iter().find(|(word, _)| *word == text))
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                format!("must be {}, not {}", words.join(" or "), show(value))
            })
    }
}

/// Reads true or false.
pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match &value.kind {
        ValueKind::Boolean(flag) => Some(*flag),
        ValueKind::String(text) => text.parse().ok(),
        ValueKind::Nil
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::Array(_)
        | ValueKind::Table(_) => None,
    }
    .ok_or_else(|| format!("must be true or false, not {}", show(value)))
}

/// Reads a whole number of at least `least`; as text where it comes from the environment.
pub(super) fn whole(least: u32) -> impl FnOnce(&Value) -> Result<u32, String> {
    move |value| {
        match &value.kind {
            ValueKind::I64(number) => u32::try_from(*number).ok(),
            ValueKind::String(text) => text.parse().ok(),
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::Array(_)
            | ValueKind::Table(_) => None,
        }
        .filter(|number| *number >= least)
        .ok_or_else(|| {
            format!(
                "must be a whole number from {least} to {}, not {}",
                u32::MAX,
                show(value)
            )
        })
    }
}

/// Reads a number above 0 and at most 1.
pub(super) fn share(value: &Value) -> Result<f64, String> {
    number(value)
        .filter(|number| *number > 0.0 && *number <= 1.0)
        .ok_or_else(|| {
            let shown = show(value);
            format!("must be a number above 0 and at most 1, not {shown}")
        })
}

/// Reads a number from 0 to 1.
pub(super) fn share_or_nothing(value: &Value) -> Result<f64, String> {
    number(value)
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or_else(|| format!("must be a number from 0 to 1, not {}", show(value)))
}

fn number(value: &Value) -> Option<f64> {
    match &value.kind {
        ValueKind::Float(number) => Some(*number),
        ValueKind::I64(0) => Some(0.0),
        ValueKind::I64(1) => Some(1.0),
        ValueKind::String(text) => text.parse().ok(),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Array(_)
        | ValueKind::Table(_) => None,
    }
}

/// Reads a duration of at least `least`.
pub(super) fn at_least(least: Duration) -> impl FnOnce(&Value) -> Result<Duration, String> {
    move |value| {
        let duration = any_duration(value)?;
        if duration >= least {
            Ok(duration)
        } else {
            let least = duration::text(least);
            Err(format!("must be at least {least}, not {}", show(value)))
        }
    }
}

/// Reads a duration, nought included.
pub(super) fn any_duration(value: &Value) -> Result<Duration, String> {
    string(value).and_then(duration::parse).ok_or_else(|| {
        format!(
            "must be a duration such as \"30s\", \"5m\" or \"1h30m\", not {}",
            show(value)
        )
    })
}

/// Reads a list of durations above nought, at least one.
pub(super) fn schedule(value: &Value) -> Result<Vec<Duration>, String> {
    let ValueKind::Array(items) = &value.kind else {
        return Err(format!("must be a list of durations, not {}", show(value)));
    };
    if items.is_empty() {
        return Err("must not be empty".into());
    }
    items
        .iter()
        .map(|item| at_least(Duration::from_millis(1))(item))
        .collect()
}

/// Reads a UUID.
pub(super) fn id(value: &Value) -> Result<Uuid, String> {
    string(value)
        .and_then(|text| Uuid::try_parse(text).ok())
        .ok_or_else(|| format!("must be a UUID, not {}", show(value)))
}

/// Reads the base of a service.
pub(super) fn base_url(value: &Value) -> Result<Url, String> {
    let text = text(value)?;
    let url = Url::parse(&text).map_err(|error| format!("must be a whole URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("must begin with https://, not {text:?}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not repeated: it holds what should have been in a file.
        return Err("must not hold a user or password".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("must end with the path, not as {text:?}"));
    }
    if url.scheme() == "http" && !is_this_machine(&url) {
        return Err(format!(
            "must begin with https:// unless the host is this machine, not {text:?}"
        ));
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Reads where a proxy is.
pub(super) fn proxy_url(value: &Value) -> Result<Url, String> {
    let text = text(value)?;
    let url = Url::parse(&text).map_err(|error| format!("must be a whole URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password; proxy_credentials_file is for them".into());
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("must begin with http:// or https://, not {text:?}"));
    }
    Ok(url)
}

/// Reads the file of certificates that a key names.
pub(super) fn certificates(value: &Value) -> Result<Vec<u8>, String> {
    let path = text(value)?;
    let pem = std::fs::read(&path).map_err(|error| format!("{path:?} cannot be read: {error}"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let roots = found.unwrap_or_default();
    if roots.is_empty() {
        return Err(format!("{path:?} holds no certificate in PEM"));
    }
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|error| {
            format!("{path:?} holds a certificate that cannot be used: {error}")
        })?;
    }
    Ok(pem)
}

/// Reads the file of an RSA key that a key names; no message ever holds what is in it.
pub(super) fn rsa_key(value: &Value) -> Result<SecretString, String> {
    let path = text(value)?;
    let pem = secret(value)?;
    jsonwebtoken::EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes())
        .map_err(|_| format!("{path:?} holds no RSA key in PEM (PKCS#8), or an encrypted one"))?;
    Ok(pem)
}

/// Reads the absolute path of a directory that is there.
pub(super) fn directory(value: &Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(text(value)?);
    if !path.is_absolute() {
        return Err(format!("must be an absolute path, not {}", show(value)));
    }
    if !path.is_dir() {
        return Err(format!("{} is no directory", show(value)));
    }
    Ok(path)
}

/// Reads the file that a key names; no message ever holds what is in it.
pub(super) fn secret(value: &Value) -> Result<SecretString, String> {
    let path = text(value)?;
    let secret = std::fs::read_to_string(&path).map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::InvalidData {
            "not UTF-8 text".into()
        } else {
            error.to_string()
        };
        format!("{path:?} cannot be read: {why}")
    })?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(format!("{path:?} is empty"));
    }
    Ok(SecretString::from(secret))
}

/// Reads a SHA-256.
pub(super) fn hash(value: &Value) -> Result<[u8; 32], String> {
    text(value)?
        .strip_prefix("sha256:")
        .and_then(unhex)
        .ok_or_else(|| "must be sha256: and 64 hexadecimal digits".into())
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Returns the id of something that a site has not given one.
pub(super) fn derive(namespace: Uuid, name: &str) -> Uuid {
    Uuid::new_v5(&namespace, name.as_bytes())
}
