//! A write as one transaction, which is tried again where others were in its way.

use std::sync::Arc;

use sqlx::{PgConnection, PgPool};

use super::history::History;
use super::{Failed, feeds, files, head, holds, outbox, sessions, slots, write};
use crate::store::Error;
use crate::store::write::Write;

/// So often is a write tried.
const TRIES: u32 = 5;

/// What passes: a deadlock or a conflict of transactions, and rows that came or went between two looks at them.
const PASSING: [&str; 4] = ["40001", "40P01", "23505", "23503"];

/// Does all of it, durable when this returns, or nothing.
pub(super) async fn carry_out(
    pool: PgPool,
    history: Arc<History>,
    write: Write,
) -> Result<(), Error> {
    for _ in 1..TRIES {
        match once(&pool, &history, &write).await {
            Err(error) if passes(&error) => {}
            result => return result,
        }
    }
    once(&pool, &history, &write).await
}

async fn once(pool: &PgPool, history: &History, write: &Write) -> Result<(), Error> {
    let mut transaction = pool.begin().await?;
    if let Err(error) = apply(&mut transaction, write).await {
        // The refusal is what is told; a connection that is lost undoes it as well.
        transaction.rollback().await.ok();
        return Err(error);
    }
    let counted = head::count(&mut transaction).await?;
    transaction.commit().await?;
    history.note(counted);
    Ok(())
}

fn passes(error: &Error) -> bool {
    let Error::Database(source) = error else {
        return false;
    };
    let code = source
        .downcast_ref()
        .and_then(|Failed(error)| error.as_database_error())
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| PASSING.contains(&&*code))
}

async fn apply(conn: &mut PgConnection, write: &Write) -> Result<(), Error> {
    match write {
        Write::Commit { commits } => write::commit_all(conn, commits).await,
        Write::TakeSlots { slots, answered } => slots::take_after(conn, slots, answered).await,
        Write::WindowEpoch { boot, epoch, now } => slots::begin(conn, *boot, *epoch, *now).await,
        Write::SaveFeed {
            manager,
            feed,
            seen,
            kept_since,
        } => feeds::save(conn, *manager, feed, seen, *kept_since).await,
        Write::Prune { before } => {
            outbox::prune(conn, *before).await?;
            sessions::prune(conn, *before).await
        }
        Write::CreateWebhook { webhook, since } => outbox::create(conn, webhook, *since).await,
        Write::UpdateWebhook { id, event_types } => {
            outbox::update(conn, *id, event_types.as_ref()).await
        }
        Write::DeleteWebhook { id } => outbox::delete(conn, *id).await,
        Write::ClaimDeliveries { claim } => outbox::claim(conn, *claim).await,
        Write::SettleDelivery { settled } => outbox::settle(conn, *settled).await,
        Write::CreateSession { session } => sessions::create(conn, session).await,
        Write::ChangeSession { id, change } => sessions::change(conn, *id, *change).await,
        Write::DeleteSession { id, now } => {
            let told = sessions::delete(conn, *id, *now).await?;
            let told: Vec<_> = told.into_iter().map(|event| (event, *now)).collect();
            outbox::append(conn, &told).await
        }
        Write::SaveStock { manager, stock } => feeds::save_stock(conn, *manager, stock).await,
        Write::NoteBatch { batch } => files::note(conn, batch, batch.old()).await,
        Write::ForgetFile { file } => files::forget(conn, *file).await,
        Write::Hold { hold } => holds::hold(conn, hold).await,
        Write::Release { scope, reasons } => holds::remove(conn, scope, reasons).await,
        Write::Regress { at, cause } => head::regress(conn, *at, cause).await,
    }
}
