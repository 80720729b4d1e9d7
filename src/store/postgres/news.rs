//! What daemons tell each other at once, by NOTIFY. A hint and no more: whoever misses one finds out by looking.

use sqlx::postgres::PgListener;

use super::Postgres;
use crate::core::ids::AcsSystemId;
use crate::store::Error;

const CHANNEL: &str = "origo_adapter";
const TELL: &str = "SELECT pg_notify($1, $2)";

/// What others tell.
pub struct News(PgListener);

impl News {
    /// Somebody says that a manager's feed has something new. Ends with an error where the connection is lost.
    pub async fn next(&mut self) -> Result<AcsSystemId, Error> {
        loop {
            let told = self.0.recv().await?;
            if let Ok(manager) = told.payload().parse() {
                return Ok(AcsSystemId(manager));
            }
        }
    }
}

impl Postgres {
    /// Tells all daemons that a manager's feed has something new.
    pub async fn tell(&self, manager: AcsSystemId) -> Result<(), Error> {
        let told = sqlx::query(TELL).bind(CHANNEL).bind(manager.to_string());
        told.execute(&self.pool()).await?;
        Ok(())
    }

    /// What is told from now on, to this daemon as well.
    pub async fn news(&self) -> Result<News, Error> {
        let mut listener = PgListener::connect_with(&self.pool()).await?;
        listener.listen(CHANNEL).await?;
        Ok(News(listener))
    }
}
