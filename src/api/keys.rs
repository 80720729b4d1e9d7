//! Who calls, and how far that reaches (contract.md section 6).
//!
//! Promises: a key is known by its hash alone, and finding it takes the same time whichever it is; a
//! client session enters no route that does not name it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, header};
use secrecy::SecretString;
use uuid::Uuid;

use super::Api;
use super::problem::Problem;
use super::routes::Route;
use super::sight::Sight;
use crate::config::{self, Scope};
use crate::store::SessionQuery;

/// How a client session's token begins; no key begins so.
pub(super) const SESSION_TOKEN: &str = "seam_cst";

/// Who was let in.
pub(super) struct Caller {
    /// A key's name, or which client session: the cause of what it asks for.
    pub(super) name: String,
    /// How far a key reaches; `None`: it is none.
    pub(super) scope: Option<Scope>,
    /// The client session that it is.
    pub(super) session: Option<Uuid>,
    /// Whom it may see.
    pub(super) sight: Sight,
}

impl Caller {
    /// Where no key is needed.
    pub(super) fn anybody() -> Self {
        Self {
            name: String::new(),
            scope: None,
            session: None,
            sight: Sight::Nobody,
        }
    }
}

/// The API keys in force.
pub(super) struct Keys(Vec<Key>);

/// One of them.
struct Key {
    /// As configured.
    name: String,
    scope: Scope,
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

    /// The key that `token` is, if it reaches `needed`.
    fn admit(&self, token: &[u8], needed: Scope) -> Result<&Key, Problem> {
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

impl Api {
    /// Who sends a request to `route`, if it may.
    pub(super) async fn admit(
        &self,
        keys: &Keys,
        route: &Route,
        needed: Scope,
        headers: &HeaderMap,
    ) -> Result<Caller, Problem> {
        let token = bearer(headers).ok_or_else(Problem::unauthorized)?;
        if token.starts_with(SESSION_TOKEN.as_bytes()) {
            return self.admit_session(route, token).await;
        }
        let key = keys.admit(token, needed)?;
        Ok(Caller {
            name: key.name.clone(),
            scope: Some(key.scope),
            session: None,
            sight: Sight::Everybody,
        })
    }

    /// The client session of `token`, while it holds and its person stays.
    async fn admit_session(&self, route: &Route, token: &[u8]) -> Result<Caller, Problem> {
        if !route.sessions {
            return Err(Problem::session_refused());
        }
        let unknown = || Problem::session("client_session_not_found", "there is no such session");
        let token = std::str::from_utf8(token).map_err(|_| unknown())?;
        let query = SessionQuery {
            token: Some(SecretString::from(token)),
            ..SessionQuery::default()
        };
        let store = self.engine.store();
        let session = store.client_sessions(query).await?.pop();
        let session = session.ok_or_else(unknown)?;
        if session.revoked_at.is_some() {
            let why = "this client session was revoked";
            return Err(Problem::session("client_session_revoked", why));
        }
        if !session.holds(self.engine.now()) {
            let why = "this client session has expired";
            return Err(Problem::session("client_session_expired", why));
        }
        let sight = match session.user_identity {
            Some(id) => {
                let person = store.load(id).await?.map(|loaded| loaded.identity);
                let stays =
                    person.filter(|person| person.listed && person.deleting_since.is_none());
                Sight::Only(stays.ok_or_else(unknown)?.id)
            }
            None => Sight::Nobody,
        };
        Ok(Caller {
            name: format!("client_session/{}", session.id),
            scope: None,
            session: Some(session.id),
            sight,
        })
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
