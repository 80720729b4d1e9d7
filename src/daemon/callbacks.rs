//! The listener for HID's callbacks, apart from the API's: whoever may reach this one reaches no route of that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;

use crate::callback::{self, Receiver};
use crate::config::Callbacks;
use crate::emit;
use crate::lifecycle::Lifecycle;
use crate::manager::Manager;
use crate::telemetry::CALLBACK_LISTENING;
use crate::{api, config};

/// HID is one client, behind one proxy.
const LIMITS: api::Limits = api::Limits {
    connections: 64,
    header_deadline: Duration::from_secs(10),
};
/// What was refused is told at the latest so long after.
const TELL_EVERY: Duration = Duration::from_secs(20);

/// A listener that takes nothing yet.
pub(super) struct Bound<'a> {
    settings: &'a Callbacks,
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes the address, where the site has one.
pub(super) async fn bind(
    settings: Option<&config::Callbacks>,
) -> anyhow::Result<Option<Bound<'_>>> {
    let Some(settings) = settings else {
        return Ok(None);
    };
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("listening on {} (callbacks.listen)", settings.listen))?;
    let address = listener
        .local_addr()
        .context("reading the address for callbacks")?;
    Ok(Some(Bound {
        settings,
        listener,
        address,
    }))
}

impl Bound<'_> {
    /// Has every callback wake the pollers of `managers`.
    pub(super) fn spawn(self, lifecycle: &Lifecycle, managers: Vec<Arc<Manager>>) {
        let receiver = Arc::new(Receiver::new(self.settings, managers));
        let router = callback::router(Arc::clone(&receiver));
        let address = self.address;
        emit!(CALLBACK_LISTENING, address = %address; "taking HID's callbacks on {address}");
        let (listener, soft) = (self.listener, lifecycle.soft());
        lifecycle.spawn("callbacks", async move {
            let serving = api::serve_with(listener, router, soft, LIMITS);
            tokio::pin!(serving);
            loop {
                tokio::select! {
                    () = &mut serving => return,
                    () = tokio::time::sleep(TELL_EVERY) => receiver.tell(),
                }
            }
        });
    }
}
