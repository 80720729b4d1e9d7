//! What an answer looks like: one table a resource (seam-api.md 2), beside the renderers of `show*.rs`.
//!
//! Imports nothing. Held by the API's tests: every answer that they see is read against these tables,
//! and a field that is shown and not in them is a failure.

use serde_json::{Map, Value, json};

/// A value of an answer.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Id,
    Text,
    Flag,
    Number,
    /// RFC 3339, UTC, milliseconds.
    Instant,
    /// One of these.
    Words(&'static [&'static str]),
    /// This, or null.
    OrNull(&'static Shape),
    List(&'static Shape),
    Object(&'static [Field]),
    /// An object whose fields are the caller's or nobody's business.
    Open,
    /// A resource of the table.
    Ref(&'static str),
}

/// A field of an object.
#[derive(Clone, Copy)]
pub(super) struct Field {
    name: &'static str,
    shape: Shape,
    required: bool,
}

/// A resource: its name is the response key, its plural that of a list.
pub(super) struct Resource {
    pub(super) name: &'static str,
    pub(super) plural: Option<&'static str>,
    fields: &'static [Field],
}

const fn need(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        shape,
        required: true,
    }
}

const fn may(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        shape,
        required: false,
    }
}

const fn resource(name: &'static str, plural: &'static str, fields: &'static [Field]) -> Resource {
    Resource {
        name,
        plural: Some(plural),
        fields,
    }
}

const fn single(name: &'static str, fields: &'static [Field]) -> Resource {
    Resource {
        name,
        plural: None,
        fields,
    }
}

use Shape::{Flag, Id, Instant, List, Number, Object, Open, OrNull, Ref, Text, Words};

const TEXT_OR_NULL: Shape = OrNull(&Text);
const INSTANT_OR_NULL: Shape = OrNull(&Instant);
const NUMBER_OR_NULL: Shape = OrNull(&Number);
const ID_OR_NULL: Shape = OrNull(&Id);
const IDS: Shape = List(&Id);
const TEXTS: Shape = List(&Text);
const ERRORS: Shape = List(&Ref("issue_error"));
const WARNINGS: Shape = List(&Ref("issue_warning"));

/// What is named by others and is no response key.
const PARTS: &[Resource] = &[
    single(
        "issue_error",
        &[
            need("error_code", Text),
            need("message", Text),
            need("created_at", Instant),
            may("acs_user_id", Id),
            may("acs_system_id", Id),
        ],
    ),
    single(
        "issue_warning",
        &[
            need("warning_code", Text),
            need("message", Text),
            need("created_at", Instant),
        ],
    ),
    single(
        "pending_mutation",
        &[
            need("mutation_code", Text),
            need("message", Text),
            need("created_at", Instant),
            may("from", Open),
            may("to", Open),
        ],
    ),
    single(
        "pagination",
        &[
            need("has_next_page", Flag),
            need("next_page_cursor", TEXT_OR_NULL),
            need("next_page_url", TEXT_OR_NULL),
        ],
    ),
    single(
        "error_envelope",
        &[
            need(
                "error",
                Object(&[
                    need("type", Text),
                    need("message", Text),
                    may("validation_errors", Open),
                    may("data", Open),
                ]),
            ),
            need("ok", Flag),
        ],
    ),
];

/// An enrollment automation, also under its old name.
const AUTOMATION: &[Field] = &[
    need("enrollment_automation_id", Id),
    need("acs_credential_provisioning_automation_id", Id),
    need("user_identity_id", Id),
    need("credential_manager_acs_system_id", Id),
    need("workspace_id", Id),
    need("is_running", Flag),
    need("created_at", Instant),
    need(
        "adapter",
        Object(&[
            need("state", TEXT_OR_NULL),
            need("reason", TEXT_OR_NULL),
            need("next_try_at", INSTANT_OR_NULL),
            need("queue_position", NUMBER_OR_NULL),
            need("eta", INSTANT_OR_NULL),
            need(
                "phones",
                List(&Object(&[
                    need("device_id", Id),
                    need("state", Text),
                    need("enrolled", Flag),
                    need("reason", TEXT_OR_NULL),
                    need(
                        "keys",
                        List(&Object(&[need("part_number", Text), need("state", Text)])),
                    ),
                ])),
            ),
        ]),
    ),
];

/// Rows that are wrong, by their place in the request.
const REFUSED: Shape = List(&Object(&[need("row", Number), need("message", Text)]));
/// What the file no longer names.
const PRUNED: Shape = OrNull(&Object(&[
    need("credentials", Number),
    need("keys", Number),
    need("held", Flag),
]));
/// What became of rows.
const APPLIED: &[Field] = &[
    need("changed", Number),
    need("unchanged", Number),
    need("held", Number),
    need("refused", REFUSED),
    need("pruned", PRUNED),
];

/// What keeps new calls back.
const HOLD: &[Field] = &[
    need(
        "scope",
        Words(&["user_identity", "credential_manager", "part_number", "all"]),
    ),
    need("credential_manager", TEXT_OR_NULL),
    need("part_number", TEXT_OR_NULL),
    need("user_identity_id", OrNull(&Id)),
    need("reason", Text),
    need("since", Instant),
    need("by", TEXT_OR_NULL),
];

/// What the operator lists.
const OBJECT: &[Field] = &[
    need("object_type", Text),
    need("id", Id),
    need("user_identity_id", Id),
    need("credential_manager", TEXT_OR_NULL),
    need("state", Text),
    need("reason", TEXT_OR_NULL),
    need("created_at", Instant),
];

/// A row of a journal.
const HISTORY: &[Field] = &[
    need("seq", Number),
    need("at", Instant),
    need("cause", Text),
    need("entity", Text),
    need("from", TEXT_OR_NULL),
    need("to", TEXT_OR_NULL),
];

/// How something stands.
const WHY: &[Field] = &[
    need("id", Id),
    need("object_type", Text),
    need("user_identity_id", Id),
    need("text", Text),
    need("effect", TEXT_OR_NULL),
    need("queue_position", NUMBER_OR_NULL),
    need("eta", INSTANT_OR_NULL),
];

/// What stands under a response key.
const RESOURCES: &[Resource] = &[
    resource(
        "user_identity",
        "user_identities",
        &[
            need("user_identity_id", Id),
            need("user_identity_key", TEXT_OR_NULL),
            need("email_address", TEXT_OR_NULL),
            need("phone_number", TEXT_OR_NULL),
            need("full_name", TEXT_OR_NULL),
            need("display_name", Text),
            need("created_at", Instant),
            need("workspace_id", Id),
            need("acs_user_ids", IDS),
            need("errors", ERRORS),
            need("warnings", WARNINGS),
            need("merged_user_identity_ids", IDS),
            need("merged_user_identity_keys", TEXTS),
        ],
    ),
    resource(
        "enrollment_automation",
        "enrollment_automations",
        AUTOMATION,
    ),
    single("acs_credential_provisioning_automation", AUTOMATION),
    resource(
        "acs_credential_pool",
        "acs_credential_pools",
        &[
            need("acs_credential_pool_id", Id),
            need("acs_system_id", Id),
            need("display_name", Text),
            need("external_type", Words(&["hid_part_number"])),
            need("external_type_display_name", Text),
            need("workspace_id", Id),
            need("created_at", Instant),
        ],
    ),
    single(
        "invitation",
        &[
            need("invitation_code", TEXT_OR_NULL),
            need("status", Text),
            need("expires_at", INSTANT_OR_NULL),
        ],
    ),
    resource(
        "acs_user",
        "acs_users",
        &[
            need("acs_user_id", Id),
            need("acs_system_id", Id),
            need("connected_account_id", Id),
            need("workspace_id", Id),
            need("created_at", Instant),
            need("display_name", Text),
            need("errors", ERRORS),
            need("warnings", WARNINGS),
            need("is_managed", Flag),
            need("last_successful_sync_at", INSTANT_OR_NULL),
            need("is_suspended", Flag),
            need("pending_mutations", List(&Ref("pending_mutation"))),
            may("full_name", Text),
            may("email_address", Text),
            may("email", Text),
            may("phone_number", Text),
            may(
                "access_schedule",
                Object(&[need("starts_at", Instant), need("ends_at", INSTANT_OR_NULL)]),
            ),
            may("external_type", Words(&["hid_credential_manager_user"])),
            may("external_type_display_name", Text),
            may("hid_acs_system_id", Id),
            may("user_identity_id", Id),
            may("user_identity_full_name", TEXT_OR_NULL),
            may("user_identity_email_address", TEXT_OR_NULL),
            may("user_identity_phone_number", TEXT_OR_NULL),
        ],
    ),
    resource(
        "acs_system",
        "acs_systems",
        &[
            need("acs_system_id", Id),
            need("connected_account_id", Id),
            need("connected_account_ids", IDS),
            need("workspace_id", Id),
            need("created_at", Instant),
            need("name", Text),
            need("is_credential_manager", Flag),
            need("image_url", Text),
            need("image_alt_text", Text),
            need("location", Object(&[need("time_zone", TEXT_OR_NULL)])),
            need("errors", ERRORS),
            need("warnings", WARNINGS),
            need("default_credential_manager_acs_system_id", OrNull(&Id)),
            may(
                "external_type",
                Words(&["hid_credential_manager_organization"]),
            ),
            may("external_type_display_name", Text),
            may(
                "system_type",
                Words(&["hid_credential_manager_organization"]),
            ),
            may("system_type_display_name", Text),
        ],
    ),
    resource(
        "acs_credential",
        "acs_credentials",
        &[
            need("acs_credential_id", Id),
            need("acs_system_id", Id),
            need("connected_account_id", Id),
            need("workspace_id", Id),
            need("access_method", Words(&["mobile_key"])),
            need("display_name", Text),
            need("created_at", Instant),
            need("errors", ERRORS),
            need("warnings", WARNINGS),
            need("is_managed", Flag),
            may("acs_user_id", Id),
            may("user_identity_id", Id),
            may("acs_credential_pool_id", Id),
            may("parent_acs_credential_id", Id),
            need("is_multi_phone_sync_credential", Flag),
            need("is_issued", Flag),
            need("issued_at", INSTANT_OR_NULL),
            need(
                "is_latest_desired_state_synced_with_provider",
                OrNull(&Flag),
            ),
            need(
                "latest_desired_state_synced_with_provider_at",
                INSTANT_OR_NULL,
            ),
            may("starts_at", Instant),
            may("ends_at", Instant),
            need("code", TEXT_OR_NULL),
            need("card_number", TEXT_OR_NULL),
            may("card_format", Text),
            may("facility_code", Text),
            need("external_type", Words(&["hid_credential"])),
            need("external_type_display_name", Text),
            need("is_one_time_use", Flag),
        ],
    ),
    resource(
        "phone",
        "phones",
        &[
            need("device_id", Id),
            need("device_type", Words(&["ios_phone", "android_phone"])),
            need("display_name", Text),
            need("workspace_id", Id),
            need("created_at", Instant),
            need("custom_metadata", Open),
            need("properties", Open),
            need("errors", ERRORS),
            need("warnings", WARNINGS),
        ],
    ),
    // Doors and locks are other systems' matter: these lists are empty.
    resource(
        "acs_entrance",
        "acs_entrances",
        &[need("acs_entrance_id", Id)],
    ),
    resource("device", "devices", &[need("device_id", Id)]),
    resource(
        "event",
        "events",
        &[
            need("event_id", Id),
            need("event_type", Text),
            need("workspace_id", Id),
            need("created_at", Instant),
            need("occurred_at", Instant),
            may("event_description", Text),
            may("connected_account_id", Id),
            may("acs_system_id", Id),
            may("acs_user_id", Id),
            may("acs_credential_id", Id),
            may("user_identity_id", Id),
            may("enrollment_automation_id", Id),
            may("client_session_id", Id),
            may("device_id", Id),
            may("device_custom_metadata", Open),
            may("acs_system_errors", ERRORS),
            may("acs_system_warnings", WARNINGS),
            may("connected_account_errors", ERRORS),
            may("connected_account_warnings", WARNINGS),
        ],
    ),
    resource(
        "webhook",
        "webhooks",
        &[
            need("webhook_id", Text),
            need("url", Text),
            need("event_types", TEXTS),
            // Shown to write keys alone.
            may("secret", Text),
        ],
    ),
    resource(
        "client_session",
        "client_sessions",
        &[
            need("client_session_id", Id),
            // Shown to write keys and to the session itself.
            may("token", Text),
            need("workspace_id", Id),
            need("created_at", Instant),
            need("expires_at", Instant),
            need("device_count", Number),
            need("connected_account_ids", IDS),
            need("connect_webview_ids", IDS),
            need("user_identifier_key", TEXT_OR_NULL),
            need("user_identity_ids", IDS),
            may("user_identity_id", OrNull(&Id)),
            may("customer_key", TEXT_OR_NULL),
        ],
    ),
    single(
        "workspace",
        &[
            need("workspace_id", Id),
            need("name", Text),
            need("company_name", Text),
            need("connect_partner_name", TEXT_OR_NULL),
            need("is_sandbox", Flag),
            need("is_suspended", Flag),
            need("is_publishable_key_auth_enabled", Flag),
            need("organization_id", OrNull(&Id)),
            need("connect_webview_customization", Open),
        ],
    ),
    single("applied", APPLIED),
    single(
        "planned",
        &[
            need("changed", Number),
            need("unchanged", Number),
            need("held", Number),
            need("refused", REFUSED),
            need("pruned", PRUNED),
            need("calls", Open),
            need(
                "licenses",
                Object(&[need("at_least", Number), need("at_most", Number)]),
            ),
            need(
                "keys",
                List(&Object(&[
                    need("part_number", Text),
                    need("at_least", Number),
                    need("at_most", Number),
                ])),
            ),
        ],
    ),
    resource("hold", "holds", HOLD),
    resource(
        "adoption",
        "adoptions",
        &[
            need("credential_manager", Text),
            need("begun", Flag),
            need("users", NUMBER_OR_NULL),
            need("unknown", NUMBER_OR_NULL),
        ],
    ),
    resource("object", "objects", OBJECT),
    resource("history_entry", "history", HISTORY),
    single(
        "show",
        &[
            need("object_type", Text),
            need("id", Id),
            need("user_identity", Ref("user_identity")),
            need("objects", List(&Ref("object"))),
        ],
    ),
    single(
        "status",
        &[
            need("at", Instant),
            need("identities", Number),
            need("calls_under_way", Number),
            need("owed", Open),
            need("holds", List(&Ref("hold"))),
            need(
                "credential_managers",
                List(&Object(&[
                    need("name", Text),
                    need("acs_system_id", Id),
                    need("windows", Open),
                    need("queue", Open),
                    need("oldest_withdrawal_at", INSTANT_OR_NULL),
                    need("detection", Open),
                    need("stock", Open),
                ])),
            ),
            need(
                "access_systems",
                List(&Object(&[
                    need("name", TEXT_OR_NULL),
                    need("acs_system_id", Id),
                    need("oldest_withdrawal_at", INSTANT_OR_NULL),
                    need("imports", Open),
                    need("removals", Open),
                ])),
            ),
        ],
    ),
    single("why", WHY),
    single("retry", WHY),
    single("resync", WHY),
    single("adopt_user", WHY),
    resource(
        "orphan",
        "orphans",
        &[
            need("orphan_id", Id),
            need("object_type", Words(&["credential", "invitation"])),
            need("hid_id", Text),
            need("status", Text),
            need("credential_manager", TEXT_OR_NULL),
            need("credential_manager_acs_system_id", Id),
            need("user_identity_id", Id),
            need("device_id", ID_OR_NULL),
            need("part_number", TEXT_OR_NULL),
            need("found_at", Instant),
            need("is_being_removed", Flag),
        ],
    ),
    single("health", &[need("status", Words(&["ok"]))]),
    single("readiness", &[need("status", Words(&["ready"]))]),
];

/// What stands under a response key; `None`: no table says.
pub(super) fn under(key: &str) -> Option<Value> {
    RESOURCES.iter().find_map(|resource| {
        if resource.name == key {
            Some(json_schema(Ref(resource.name)))
        } else if resource.plural == Some(key) {
            Some(json!({ "type": "array", "items": json_schema(Ref(resource.name)) }))
        } else {
            None
        }
    })
}

/// Every table as JSON schema, by name.
pub(super) fn all() -> Map<String, Value> {
    let tables = PARTS.iter().chain(RESOURCES);
    tables
        .map(|resource| (resource.name.to_owned(), object(resource.fields)))
        .collect()
}

/// The reference to a table.
pub(super) fn reference(name: &'static str) -> Value {
    json_schema(Ref(name))
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| (field.name.to_owned(), json_schema(field.shape)))
        .collect();
    let required = fields.iter().filter(|field| field.required);
    let required: Vec<&str> = required.map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn json_schema(shape: Shape) -> Value {
    match shape {
        Id => json!({ "type": "string", "format": "uuid" }),
        Text => json!({ "type": "string" }),
        Flag => json!({ "type": "boolean" }),
        Number => json!({ "type": "integer" }),
        Instant => json!({ "type": "string", "format": "date-time" }),
        Words(words) => json!({ "type": "string", "enum": words }),
        OrNull(shape) => {
            let mut schema = json_schema(*shape);
            let kind = schema["type"].take();
            schema["type"] = json!([kind, "null"]);
            schema
        }
        List(shape) => json!({ "type": "array", "items": json_schema(*shape) }),
        Object(fields) => object(fields),
        Open => json!({ "type": "object" }),
        Ref(name) => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}
