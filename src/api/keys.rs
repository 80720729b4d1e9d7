//! Who calls, and how far their key reaches (contract.md section 6).
//!
//! Promises: a key is known by its hash alone, and finding it takes the same time whichever it is.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, header};

use super::problem::Problem;
use crate::config::{self, Scope};

/// The API keys in force.
pub(super) struct Keys(Vec<Key>);

/// One of them.
pub(super) struct Key {
    /// As configured; the cause of what it asks for.
    pub(super) name: String,
    pub(super) scope: Scope,
    hash: [u8; 32],
}

impl Keys {
    /// The keys of the configuration.
    pub(super) fn of(config: &config::Api) -> Self {
        let key = |(name, key): (&String, &config::ApiKey)| Key {
            name: name.clone(),
            scope: key.scope,
            hash: key.hash,
        };
        Self(config.keys.iter().map(key).collect())
    }

    /// The key that a request carries, if it reaches `needed`.
    pub(super) fn admit(&self, headers: &HeaderMap, needed: Scope) -> Result<&Key, Problem> {
        let token = bearer(headers).ok_or_else(Problem::unauthorized)?;
        let hash = digest(&SHA256, token);
        // Every key is looked at, so that time tells nothing of their order.
        let known = self.0.iter().fold(None, |found, key| {
            let same = verify_slices_are_equal(hash.as_ref(), &key.hash).is_ok();
            if same { Some(key) } else { found }
        });
        let key = known.ok_or_else(Problem::unauthorized)?;
        if key.scope < needed {
            return Err(Problem::forbidden(scope_name(needed)));
        }
        Ok(key)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    // Seam's own server takes the one spelling; HTTP says that case does not matter.
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Invite => "invite",
        Scope::Write => "write",
    }
}
