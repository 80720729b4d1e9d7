//! How the system account proves who it is: by its password, or by an assertion that it signs (origo-api.md 2.1, 2.4).

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde::Serialize;
use uuid::Uuid;

/// So long an assertion holds, in seconds (origo-api.md 2.4).
const LIFETIME: i64 = 3600;
/// An assertion is dated back by so many seconds, for a clock of HID's that is behind ours.
const DATED_BACK: i64 = 60;

/// What is shown to the token service.
#[derive(Clone, Debug)]
pub enum Login {
    /// The password of the system account.
    Secret(SecretString),
    /// A fresh signature each time.
    Key(Signer),
}

/// Signs assertions with RS256.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    /// `aud`; `None`: the token URL as it is called.
    audience: Option<String>,
    assertion_type: Option<String>,
}

/// The key is none that RS256 can be made with.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not an RSA key in PEM (PKCS#8), or an encrypted one")]
pub struct NoKey;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    nbf: i64,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("audience", &self.audience)
            .field("assertion_type", &self.assertion_type)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// Takes an RSA key in PEM (PKCS#8); `assertion_type` is sent as `client_assertion_type` where given.
    pub fn new(
        pem: &[u8],
        audience: Option<String>,
        assertion_type: Option<String>,
    ) -> Result<Self, NoKey> {
        Ok(Self {
            key: EncodingKey::from_rsa_pem(pem).map_err(|_| NoKey)?,
            audience,
            assertion_type,
        })
    }

    /// What is sent beside the grant type, signed for one login at `now` (milliseconds).
    pub(super) fn fields(
        &self,
        client_id: &str,
        token_url: &str,
        now: i64,
    ) -> Result<Vec<(&'static str, String)>, NoKey> {
        let issued = now / 1000 - DATED_BACK;
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: self.audience.as_deref().unwrap_or(token_url),
            nbf: issued,
            iat: issued,
            exp: issued + LIFETIME,
            jti: Uuid::new_v4(),
        };
        let header = Header::new(Algorithm::RS256);
        let assertion = jsonwebtoken::encode(&header, &claims, &self.key).map_err(|_| NoKey)?;
        let kind = self.assertion_type.clone();
        let kind = kind.map(|kind| ("client_assertion_type", kind));
        Ok(kind
            .into_iter()
            .chain([("client_assertion", assertion)])
            .collect())
    }
}
