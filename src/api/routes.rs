//! The one list of routes: paths, verbs, scope, client sessions, parameters, response key, handler (seam-api.md 3, 9).
//!
//! To add a route is one entry here and one function; nothing else names a path.

use std::future::Future;
use std::pin::Pin;

use super::params::{
    Param, code, count, email, fields, flag, id, ids, instant, not_yet, one_of, phone_number, rows,
    text, texts,
};
use super::problem::Problem;
use super::{
    Api, Call, Reply, acs_systems, adapter, adopt, apply, automations, client_sessions,
    credentials, events, hold, identities, issue, link, metrics, openapi, operate, orphans, phones,
    reading, sandbox_phones, status, users, users_change, webhooks, why,
};
use crate::config::Scope;

/// One route.
pub(super) struct Route {
    /// The first is Seam's; others are aliases.
    pub(super) paths: &'static [&'static str],
    pub(super) verbs: Verbs,
    /// `None`: no key is needed.
    pub(super) scope: Option<Scope>,
    /// Client sessions may use it too, for their own person (seam-api.md 1.1).
    pub(super) sessions: bool,
    /// What is not named here is dropped.
    pub(super) params: &'static [Param],
    /// Under which the answer stands; `None`: it is `{"ok": true}`; [`ALONE`]: it stands alone.
    pub(super) key: Option<&'static str>,
    pub(super) run: Run,
}

/// The key of an answer that is no envelope.
pub(super) const ALONE: &str = "";
/// The key of an answer that is no JSON.
pub(super) const PLAIN: &str = "text/plain";

/// A handler.
pub(super) type Run = for<'a> fn(&'a Api, &'a Call) -> Answer<'a>;

/// What a handler returns.
pub(super) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send + 'a>>;

/// The semantic verb; POST goes everywhere, because old SDKs know no other (seam-api.md 3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbs {
    /// POST alone.
    Create,
    /// Also GET.
    Read,
    /// Also DELETE.
    Delete,
    /// Also PATCH.
    Update,
    /// Also PUT.
    Put,
    /// GET alone, for probes.
    Probe,
}

impl Verbs {
    /// For the 405.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Create => &["POST"],
            Self::Read => &["GET", "POST"],
            Self::Delete => &["DELETE", "POST"],
            Self::Update => &["PATCH", "POST"],
            Self::Put => &["POST", "PUT"],
            Self::Probe => &["GET"],
        }
    }

    /// The route takes this one. HEAD is a GET whose body nobody sees.
    pub(super) fn takes(self, verb: &str) -> bool {
        let verb = if verb == "HEAD" { "GET" } else { verb };
        self.names().contains(&verb)
    }
}

/// How many rows a page has unless asked otherwise, and at most (seam-api.md 1.8).
pub(super) const PAGE: i64 = 500;

macro_rules! routes {
    ($($verbs:ident $scope:ident $(or $session:ident)? [$($path:literal)+] ($($param:expr),* $(,)?) $(=> $key:literal)? : $run:tt;)+) => {
        /// Every route.
        pub(super) static ROUTES: &[Route] = &[$(Route {
            paths: &[$($path),+],
            verbs: Verbs::$verbs,
            scope: routes!(@scope $scope),
            sessions: routes!(@sessions $($session)?),
            params: &[$($param),*],
            key: routes!(@key $($key)?),
            run: routes!(@run $run),
        }),+];
    };
    (@scope Open) => { None };
    (@scope $scope:ident) => { Some(Scope::$scope) };
    (@sessions) => { false };
    (@sessions Session) => { true };
    (@run {$module:ident::$run:ident}) => { |api, call| Box::pin($module::$run(api, call)) };
    (@run {at_once $module:ident::$run:ident}) => {
        |_, call| Box::pin(std::future::ready($module::$run(call)))
    };
    (@key) => { None };
    (@key $key:literal) => { Some($key) };
}

routes! {
    Create Write ["/user_identities/create"]
        (text("user_identity_key"), email("email_address"), phone_number("phone_number"), text("full_name"), ids("acs_system_ids"))
        => "user_identity": {identities::create};
    Read Read ["/user_identities/get"]
        (id("user_identity_id"), text("user_identity_key"))
        => "user_identity": {identities::get};
    Read Read or Session ["/user_identities/list"]
        (ids("user_identity_ids"), id("credential_manager_acs_system_id"), instant("created_before"), text("search"), count("limit", PAGE), text("page_cursor"))
        => "user_identities": {identities::list};
    Delete Write ["/user_identities/delete"]
        (id("user_identity_id").required())
        : {identities::delete};

    Update Write ["/user_identities/update"]
        (id("user_identity_id").required(), text("user_identity_key"), email("email_address"), phone_number("phone_number"), text("full_name"))
        : {identities::update};
    Put Write ["/user_identities/add_acs_user"]
        (id("acs_user_id").required(), id("user_identity_id"), text("user_identity_key"))
        : {link::add};
    Delete Write ["/user_identities/remove_acs_user"]
        (id("acs_user_id").required(), id("user_identity_id").required())
        : {link::remove};
    Read Read ["/user_identities/list_acs_users"]
        (id("user_identity_id").required())
        => "acs_users": {link::list_acs_users};
    Read Read or Session ["/user_identities/list_acs_systems"]
        (id("user_identity_id").required())
        => "acs_systems": {link::list_acs_systems};
    Read Read ["/user_identities/list_accessible_entrances"]
        (id("user_identity_id").required())
        => "acs_entrances": {link::list_nothing};
    Read Read ["/user_identities/list_accessible_devices"]
        (id("user_identity_id").required())
        => "devices": {link::list_nothing};

    Create Write ["/user_identities/enrollment_automations/launch" "/enrollment_automations/launch"]
        (id("user_identity_id").required(), id("credential_manager_acs_system_id").required(), flag("create_credential_manager_user"), id("credential_manager_acs_user_id"), id("acs_credential_pool_id"))
        => "enrollment_automation": {automations::launch};
    Read Read or Session ["/user_identities/enrollment_automations/get" "/enrollment_automations/get"]
        (id("enrollment_automation_id").required())
        => "enrollment_automation": {automations::get};
    Read Read or Session ["/user_identities/enrollment_automations/list" "/enrollment_automations/list"]
        (id("user_identity_id").required())
        => "enrollment_automations": {automations::list};
    Delete Write ["/user_identities/enrollment_automations/delete" "/enrollment_automations/delete"]
        (id("enrollment_automation_id").required())
        : {automations::delete};

    Create Invite or Session ["/enrollment_automations/invitations/get_or_create"]
        (id("enrollment_automation_id").required(), text("custom_sdk_installation_id"))
        => "invitation": {automations::get_or_create_invitation};
    Create Invite ["/enrollment_automations/invitations/resend"]
        (id("enrollment_automation_id").required(), text("custom_sdk_installation_id"))
        => "invitation": {automations::resend_invitation};

    Create Write ["/acs/users/create"]
        (id("acs_system_id").required(), text("full_name").required(), email("email_address"), email("email"), phone_number("phone_number"), id("user_identity_id"), not_yet("access_schedule"), not_yet("acs_access_group_ids"))
        => "acs_user": {users::create};
    Read Read ["/acs/users/get"]
        (id("acs_user_id"), id("user_identity_id"), id("acs_system_id"))
        => "acs_user": {users::get};
    Read Read or Session ["/acs/users/list"]
        (id("acs_system_id"), id("user_identity_id"), email("user_identity_email_address"), phone_number("user_identity_phone_number"), instant("created_before"), text("search"), count("limit", PAGE), text("page_cursor"))
        => "acs_users": {users::list};

    Update Write ["/acs/users/update"]
        (id("acs_user_id"), id("user_identity_id"), id("acs_system_id"), text("full_name"), email("email_address"), email("email"), phone_number("phone_number"), not_yet("access_schedule"), id("hid_acs_system_id"))
        : {users_change::update};
    Delete Write ["/acs/users/delete"]
        (id("acs_user_id"), id("user_identity_id"), id("acs_system_id"))
        : {users_change::delete};
    Create Write ["/acs/users/suspend"]
        (id("acs_user_id"), id("user_identity_id"), id("acs_system_id"))
        : {users_change::suspend};
    Create Write ["/acs/users/unsuspend"]
        (id("acs_user_id"), id("user_identity_id"), id("acs_system_id"))
        : {users_change::unsuspend};
    Read Read ["/acs/users/list_accessible_entrances"]
        (id("acs_user_id"), id("user_identity_id"), id("acs_system_id"))
        => "acs_entrances": {users_change::list_accessible_entrances};

    Read Read ["/acs/systems/get"]
        (id("acs_system_id").required())
        => "acs_system": {at_once acs_systems::get};
    Read Read or Session ["/acs/systems/list"]
        (id("connected_account_id"), text("search"), not_yet("customer_key"))
        => "acs_systems": {acs_systems::list};
    Read Read ["/acs/systems/list_compatible_credential_manager_acs_systems"]
        (id("acs_system_id").required())
        => "acs_systems": {at_once acs_systems::list_compatible};

    Create Write ["/acs/credentials/create"]
        (one_of("access_method", &["code", "card", "mobile_key", "cloud_key"]).required(), flag("is_multi_phone_sync_credential"), id("acs_user_id"), id("user_identity_id"), id("acs_system_id"), id("credential_manager_acs_system_id"), code("card_format"), code("facility_code"), ids("allowed_acs_entrance_ids"), instant("starts_at"), instant("ends_at"))
        => "acs_credential": {issue::create};
    Read Read ["/acs/credentials/get"]
        (id("acs_credential_id").required())
        => "acs_credential": {credentials::get};
    Read Read or Session ["/acs/credentials/list"]
        (id("acs_user_id"), id("acs_system_id"), id("user_identity_id"), flag("is_multi_phone_sync_credential"), instant("created_before"), text("search"), count("limit", PAGE), text("page_cursor"))
        => "acs_credentials": {credentials::list};
    Delete Write ["/acs/credentials/delete"]
        (id("acs_credential_id").required())
        : {credentials::delete};

    Update Write ["/acs/credentials/update"]
        (id("acs_credential_id").required(), instant("starts_at"), instant("ends_at"), code("code"))
        => "acs_credential": {credentials::update};
    Update Write ["/acs/credentials/assign"]
        (id("acs_credential_id").required(), id("acs_user_id"), id("user_identity_id"))
        => "acs_credential": {credentials::assign};
    Update Write ["/acs/credentials/unassign"]
        (id("acs_credential_id").required(), id("acs_user_id"), id("user_identity_id"))
        => "acs_credential": {credentials::unassign};
    Read Read ["/acs/credentials/list_accessible_entrances"]
        (id("acs_credential_id").required())
        => "acs_entrances": {credentials::list_accessible_entrances};
    Read Read ["/acs/credential_pools/list"]
        (id("acs_system_id").required())
        => "acs_credential_pools": {at_once acs_systems::list_pools};
    Create Write ["/acs/credential_provisioning_automations/launch"]
        (id("user_identity_id").required(), id("credential_manager_acs_system_id").required(), flag("create_credential_manager_user"), id("credential_manager_acs_user_id"), id("acs_credential_pool_id"))
        => "acs_credential_provisioning_automation": {automations::launch};

    Delete Write or Session ["/phones/deactivate"]
        (id("device_id").required())
        : {phones::deactivate};
    Read Read ["/phones/list"]
        (id("owner_user_identity_id"), id("acs_credential_id"))
        => "phones": {phones::list};
    Read Read ["/phones/get"]
        (id("device_id").required())
        => "phone": {phones::get};
    Create Write ["/phones/simulate/create_sandbox_phone"]
        (id("user_identity_id").required(), text("custom_sdk_installation_id"), fields("phone_metadata", sandbox_phones::METADATA))
        => "phone": {sandbox_phones::create};

    Read Read or Session ["/events/get"]
        (id("event_id"), text("event_type"), id("device_id"))
        => "event": {events::get};
    Read Read or Session ["/events/list"]
        (text("since"), texts("between"), text("event_type"), texts("event_types"), ids("event_ids"), id("acs_credential_id"), id("acs_user_id"), id("acs_system_id"), ids("acs_system_ids"), id("user_identity_id"), id("device_id"), ids("device_ids"), id("connected_account_id"), count("limit", PAGE), code("unstable_offset"))
        => "events": {events::list};

    Create Write ["/webhooks/create"]
        (text("url").required(), texts("event_types"))
        => "webhook": {webhooks::create};
    Read Read ["/webhooks/get"]
        (text("webhook_id").required())
        => "webhook": {webhooks::get};
    Read Read ["/webhooks/list"] () => "webhooks": {webhooks::list};
    Put Write ["/webhooks/update"]
        (text("webhook_id").required(), texts("event_types").required())
        : {webhooks::update};
    Delete Write ["/webhooks/delete"]
        (text("webhook_id").required())
        : {webhooks::delete};

    Put Write ["/client_sessions/create"]
        (id("user_identity_id"), ids("user_identity_ids"), text("user_identifier_key"), not_yet("connected_account_ids"), not_yet("connect_webview_ids"), instant("expires_at"), not_yet("customer_key"))
        => "client_session": {client_sessions::create};
    Read Read or Session ["/client_sessions/get"]
        (id("client_session_id"), text("user_identifier_key"))
        => "client_session": {client_sessions::get};
    Create Write ["/client_sessions/get_or_create"]
        (id("user_identity_id"), ids("user_identity_ids"), text("user_identifier_key"), not_yet("connected_account_ids"), not_yet("connect_webview_ids"), instant("expires_at"))
        => "client_session": {client_sessions::get_or_create};
    Read Read ["/client_sessions/list"]
        (id("client_session_id"), text("user_identifier_key"), id("user_identity_id"), id("connect_webview_id"), flag("without_user_identifier_key"))
        => "client_sessions": {client_sessions::list};
    Update Write ["/client_sessions/grant_access"]
        (id("client_session_id"), text("user_identifier_key"), id("user_identity_id"), ids("user_identity_ids"), not_yet("connected_account_ids"), not_yet("connect_webview_ids"))
        => "client_session": {client_sessions::grant_access};
    Create Write ["/client_sessions/revoke"]
        (id("client_session_id").required())
        : {client_sessions::revoke};
    Delete Write ["/client_sessions/delete"]
        (id("client_session_id").required())
        : {client_sessions::delete};

    Create Write ["/adapter/apply"] (rows("rows", apply::ROW).required(), id("file"), flag("prune"), count("batches", 1_000_000))
        => "applied": {apply::apply};
    Create Write ["/adapter/plan"] (rows("rows", apply::ROW).required(), id("file"), flag("prune"), count("batches", 1_000_000))
        => "planned": {apply::dry_run};
    Create Write ["/adapter/adopt"] (flag("dry_run")) => "adoptions": {adopt::adopt};
    Create Write ["/adapter/hold"]
        (id("id"), text("credential_manager"), flag("all"))
        => "holds": {hold::hold};
    Create Write ["/adapter/release"]
        (id("id"), text("credential_manager"), flag("all"))
        => "holds": {hold::release};
    Read Read ["/adapter/list"]
        (one_of("kind", reading::KINDS).required(), text("state"), count("limit", PAGE), text("page_cursor"))
        => "objects": {reading::list};
    Read Read ["/adapter/show"] (id("id").required()) => "show": {reading::object};
    Read Read ["/adapter/history"]
        (id("id").required(), count("limit", PAGE), text("page_cursor"))
        => "history": {reading::history};
    Create Invite ["/adapter/invite"]
        (id("id").required(), flag("resend"))
        => "invitation": {automations::invite_by_id};
    Read Read ["/adapter/status"] () => "status": {adapter::status};
    Create Write ["/adapter/retry"] (id("id").required()) => "retry": {operate::retry};
    Create Write ["/adapter/resync"] (id("id").required()) => "resync": {operate::resync};
    Create Write ["/adapter/adopt_user"] (id("id").required()) => "adopt_user": {operate::adopt_user};
    Read Read ["/adapter/orphans"] (count("limit", PAGE), text("page_cursor")) => "orphans": {orphans::list};
    Create Write ["/adapter/orphans/remove"] (id("orphan_id").required()) => "orphan": {orphans::remove};
    Read Read ["/adapter/why"] (id("id").required()) => "why": {why::why};

    Read Read or Session ["/workspaces/get"] () => "workspace": {at_once status::workspace};
    Probe Open ["/healthz"] () => "health": {at_once status::healthz};
    Probe Open ["/readyz"] () => "readiness": {status::readyz};
    Probe Read ["/metrics"] () => "text/plain": {metrics::metrics};
    Probe Open ["/openapi.json"] () => "": {at_once openapi::document};
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_path_is_named_once_and_its_scope_fits_its_verb() {
        let mut paths = BTreeSet::new();
        for route in ROUTES {
            for path in route.paths {
                assert!(path.starts_with('/') && !path.ends_with('/'), "{path}");
                assert!(paths.insert(path), "{path} twice");
            }
            let path = route.paths[0];
            match route.verbs {
                Verbs::Read => assert!(route.scope == Some(Scope::Read), "{path}"),
                Verbs::Delete | Verbs::Update | Verbs::Put => {
                    assert!(route.scope == Some(Scope::Write), "{path}");
                }
                Verbs::Create => assert!(route.scope > Some(Scope::Read), "{path}"),
                Verbs::Probe => assert!(route.scope <= Some(Scope::Read), "{path}"),
            }
            assert!(route.scope.is_some() || !route.sessions, "{path}");
            let names: BTreeSet<_> = route.params.iter().map(|param| param.name).collect();
            assert_eq!(
                names.len(),
                route.params.len(),
                "{path} names a parameter twice"
            );
            // Seam's events have a limit, and no pages (seam-api.md 1.8).
            let is_paged = names.contains("limit") && path != "/events/list";
            assert_eq!(is_paged, names.contains("page_cursor"), "{path}");
        }
    }
}
