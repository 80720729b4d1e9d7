//! Logins by a signed assertion (`origo-api.md` 2.4).

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::settings::{Organization, Settings};

/// How far apart the clocks may be, in seconds.
const LEEWAY: i64 = 60;

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    nbf: i64,
    exp: i64,
    jti: String,
}

/// The ids of assertions that were taken, until they expire: none is taken twice.
pub(super) type Seen = BTreeMap<String, i64>;

/// Whether the organization's account has signed `assertion`, for now and for this service.
pub(super) fn holds(
    settings: &Settings,
    organization: &Organization,
    form: &BTreeMap<&str, &str>,
    seen: &mut Seen,
    now_ms: i64,
) -> bool {
    let (Some(assertion), Some(key)) = (form.get("client_assertion"), &organization.public_key)
    else {
        return false;
    };
    let typed = form.contains_key("client_assertion_type");
    if settings
        .assertion_type_sent
        .is_some_and(|sent| sent != typed)
    {
        return false;
    }
    let Some(claims) = signed(assertion, key) else {
        return false;
    };
    let now = now_ms / 1_000;
    seen.retain(|_, expires| *expires + LEEWAY > now);
    let audience = settings.assertion_audience.as_ref();
    claims.iss == organization.client_id
        && claims.sub == organization.client_id
        && audience.is_none_or(|wanted| *wanted == claims.aud)
        && claims.nbf - LEEWAY <= now
        && now < claims.exp + LEEWAY
        && seen.insert(claims.jti, claims.exp).is_none()
}

fn signed(assertion: &str, key: &str) -> Option<Claims> {
    let key = DecodingKey::from_rsa_pem(key.as_bytes()).ok()?;
    let mut rules = Validation::new(Algorithm::RS256);
    // Its clock is the machine's; HID's here is its own, and `holds` goes by that.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    let token = jsonwebtoken::decode::<Claims>(assertion, &key, &rules);
    token.ok().map(|token| token.claims)
}
