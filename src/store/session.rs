//! The words of client sessions: who may act as one person for a while.

use secrecy::SecretString;
use uuid::Uuid;

use crate::core::ids::{IdentityId, Timestamp};

/// The right to act as one user identity.
#[derive(Clone, Debug)]
pub struct ClientSession {
    /// Ours.
    pub id: Uuid,
    /// What its bearer shows. Whoever reads the database can be the bearer.
    pub token: SecretString,
    /// As whom; `None`: as nobody, until it is granted.
    pub user_identity: Option<IdentityId>,
    /// Seam's `user_identifier_key`: the operator's own name for it; of one name only one session holds at a time.
    pub key: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then it is worth nothing.
    pub expires_at: Timestamp,
    /// Taken back since then.
    pub revoked_at: Option<Timestamp>,
}

impl ClientSession {
    /// It is neither expired nor revoked.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// What is asked of the client sessions. Filters that are `None` let all pass.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    /// Only this one.
    pub id: Option<Uuid>,
    /// Only that of this token.
    pub token: Option<SecretString>,
    /// Only those of this name.
    pub key: Option<String>,
    /// Only those of this identity.
    pub user_identity: Option<IdentityId>,
}

/// What may become of a client session; neither is ever undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// It acts as this identity from now on, unless it acts as one already.
    Grant(IdentityId),
    /// It is taken back.
    Revoke(Timestamp),
}
