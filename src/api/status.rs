//! The workspace, and whether we live and are ready (contract.md section 6).

use serde_json::json;

use super::problem::Problem;
use super::{Api, Call, Reply};

/// What we call ourselves where Seam names a customer.
const NAME: &str = "origo-adapter";

#[expect(clippy::unnecessary_wraps, reason = "handlers are alike")]
pub(super) fn workspace(call: &Call) -> Result<Reply, Problem> {
    Ok(Reply::one(json!({
        "workspace_id": call.systems().workspace(),
        "name": NAME,
        "company_name": NAME,
        "connect_partner_name": null,
        "is_sandbox": call.systems().is_sandbox(),
        "is_suspended": false,
        "is_publishable_key_auth_enabled": false,
        "organization_id": null,
        "connect_webview_customization": {},
    })))
}

/// This process answers.
#[expect(clippy::unnecessary_wraps, reason = "handlers are alike")]
pub(super) fn healthz(_: &Call) -> Result<Reply, Problem> {
    Ok(Reply::one(json!({ "status": "ok" })))
}

/// The store answers and every loop turns; how HID does is no part of it.
pub(super) async fn readyz(api: &Api, _: &Call) -> Result<Reply, Problem> {
    api.engine.store().ping().await?;
    if (api.probe)() {
        Ok(Reply::one(json!({ "status": "ready" })))
    } else {
        Err(Problem::unavailable("a loop of this daemon does not turn"))
    }
}
