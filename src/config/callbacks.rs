//! From the `callbacks` table to [`Callbacks`].

use std::net::SocketAddr;

use config::Value;
use http::{HeaderName, header};
use secrecy::{ExposeSecret as _, SecretString};

use super::Callbacks;
use super::read::Table;
use super::values::{self, show, text};

/// Short enough for any server's header, long enough that nobody guesses it.
const SECRET: std::ops::RangeInclusive<usize> = 16..=256;

/// Headers that a proxy or HTTP itself sets: no secret can travel in them.
const TAKEN: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Reads the receiver; `Some(None)`: the site has none.
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the table is usable, like everywhere here"
)]
pub(super) fn callbacks(mut table: Table<'_>) -> Option<Option<Callbacks>> {
    let header = table.required("header", name);
    let is_wanted = table.has("listen") || table.has("secret_file");
    if !is_wanted {
        table.close();
        return header.map(|_| None);
    }
    let listen = table.required("listen", listen);
    let secret = table.required("secret_file", secret);
    table.close();
    Some(Some(Callbacks {
        listen: listen?,
        header: header?,
        secret: secret?,
    }))
}

fn listen(value: &Value) -> Result<SocketAddr, String> {
    let text = text(value)?;
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("must be an address and port, not {text:?}"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "must be a loopback address, behind a proxy that speaks HTTPS, not {text:?}"
        ))
    }
}

fn name(value: &Value) -> Result<HeaderName, String> {
    let text = text(value)?;
    let name = HeaderName::try_from(text.as_str());
    match name {
        Ok(name) if !TAKEN.contains(&name) => Ok(name),
        Ok(_) | Err(_) => Err(format!(
            "must be the name of a header that is free, such as \"x-origo-secret\", not {}",
            show(value)
        )),
    }
}

/// No message ever holds what is in the file.
fn secret(value: &Value) -> Result<SecretString, String> {
    let secret = values::secret(value)?;
    let held = secret.expose_secret();
    let is_plain = held.chars().all(|c| c == ' ' || c.is_ascii_graphic()) && held.trim() == held;
    if is_plain && SECRET.contains(&held.len()) {
        Ok(secret)
    } else {
        let (least, most) = (SECRET.start(), SECRET.end());
        Err(format!(
            "{} must hold {least} to {most} printable characters",
            show(value)
        ))
    }
}
