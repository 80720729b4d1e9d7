//! What daemons tell each other at once, by NOTIFY. A hint and no more: whoever misses one finds out by looking.

use sqlx::postgres::PgListener;

use super::{LONGEST, Postgres, late, open};
use crate::core::ids::AcsSystemId;
use crate::store::Error;

const CHANNEL: &str = "origo_adapter";
const TELL: &str = "SELECT pg_notify($1, $2)";
const COMMITTED: &str = "committed";

/// What one daemon tells all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something may have become due.
    Committed,
    /// A manager's feed has something new.
    Feed(AcsSystemId),
}

impl News {
    fn payload(self) -> String {
        match self {
            Self::Committed => COMMITTED.to_owned(),
            Self::Feed(manager) => manager.to_string(),
        }
    }

    /// `None`: a newer daemon tells something else.
    fn read(payload: &str) -> Option<Self> {
        if payload == COMMITTED {
            return Some(Self::Committed);
        }
        let manager = payload.parse().ok()?;
        Some(Self::Feed(AcsSystemId(manager)))
    }
}

/// What is told, from when it was asked for.
pub struct Listener(PgListener);

impl Listener {
    /// The next, which may be this daemon's own. Ends with an error where the connection is lost.
    pub async fn next(&mut self) -> Result<News, Error> {
        loop {
            let told = self.0.recv().await?;
            if let Some(news) = News::read(told.payload()) {
                return Ok(news);
            }
        }
    }
}

impl Postgres {
    /// Tells all daemons.
    pub async fn tell(&self, news: News) -> Result<(), Error> {
        let (pool, payload) = (self.pool(), news.payload());
        self.ask(async move {
            let told = sqlx::query(TELL).bind(CHANNEL).bind(payload);
            told.execute(&pool).await?;
            Ok(())
        })
        .await
    }

    /// What is told from now on.
    pub async fn listen(&self) -> Result<Listener, Error> {
        // A connection of its own: one that is lost without a word is in nobody's way.
        let own = open::connections_to(&self.0.settings, Some(1), &self.0.history);
        let listening = async {
            let mut listener = PgListener::connect_with(&own).await?;
            listener.listen(CHANNEL).await?;
            Ok(Listener(listener))
        };
        let listening = tokio::time::timeout(LONGEST, listening);
        listening.await.unwrap_or_else(late)
    }
}
