//! `/openapi.json`: the one list of routes and the tables of answers, as `OpenAPI` 3.1.
//!
//! Imports routes, params and the schema tables. Promises: what the list names is in the document,
//! and nothing else is.

use serde_json::{Map, Value, json};

use super::openapi_schemas as schemas;
use super::params::{Param, ParamKind};
use super::problem::Problem;
use super::routes::{ALONE, PLAIN, ROUTES, Route};
use super::{Call, Reply};
use crate::config::Scope;

/// How a request may be refused, beside the statuses that a route has for itself.
const REFUSALS: &[(&str, &str)] = &[
    ("400", "a parameter is missing, wrong, or does not fit"),
    ("408", "the request did not arrive in time"),
    ("413", "the body is too large"),
    ("503", "not now; try again"),
];
/// And where a key is needed, or an object looked up.
const KEYED_REFUSALS: &[(&str, &str)] = &[
    (
        "401",
        "no key, or an unknown one, or a client session that does not hold or reach so far",
    ),
    ("403", "the key's scope does not reach so far"),
    ("404", "there is no such object"),
    ("409", "it clashes with what is there"),
];

/// The document; the same for every caller.
#[expect(clippy::unnecessary_wraps, reason = "handlers are alike")]
pub(super) fn document(_: &Call) -> Result<Reply, Problem> {
    Ok(Reply::one(render()))
}

/// The `OpenAPI` document of this API.
pub fn render() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        for path in route.paths {
            let verbs = route.verbs.names().iter();
            let item: Map<String, Value> = verbs
                .map(|verb| (verb.to_lowercase(), operation(route, path, verb)))
                .collect();
            paths.insert((*path).to_owned(), Value::Object(item));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": env!("CARGO_PKG_DESCRIPTION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": {
                "api_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of `origo-adapter api-key new`. Scopes: read < invite < write.",
                },
                "client_session": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of a client session; reaches what is its person's.",
                },
            },
        },
    })
}

fn operation(route: &Route, path: &str, verb: &str) -> Value {
    let name = path.trim_start_matches('/').replace(['/', '.'], "_");
    let tag = path.split('/').nth(1).unwrap_or_default();
    let mut operation = json!({
        "operationId": format!("{name}_{}", verb.to_lowercase()),
        "tags": [tag],
        "responses": responses(route),
    });
    if verb == "POST" {
        let required: Vec<&str> = route
            .params
            .iter()
            .filter(|param| param.required)
            .map(|param| param.name)
            .collect();
        operation["requestBody"] = json!({
            "required": !required.is_empty(),
            "content": { "application/json": { "schema": {
                "type": "object",
                "properties": properties(route.params),
                "required": required,
            } } },
        });
    } else {
        let parameters = route.params.iter().map(|param| {
            json!({
                "name": param.name,
                "in": "query",
                "required": param.required,
                "schema": in_query(param),
            })
        });
        operation["parameters"] = parameters.collect();
    }
    operation["security"] = security(route);
    operation
}

/// Any one of these lets a request in.
fn security(route: &Route) -> Value {
    let key = route
        .scope
        .map(|scope| json!({ "api_key": [scope_name(scope)] }));
    let session = route.sessions.then(|| json!({ "client_session": [] }));
    key.into_iter().chain(session).collect()
}

fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Invite => "invite",
        Scope::Write => "write",
    }
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    let mut done = answer("done", &success(route));
    if route.key == Some(PLAIN) {
        done["content"] = json!({ PLAIN: { "schema": { "type": "string" } } });
    }
    responses.insert("200".to_owned(), done);
    let refusals = if route.scope.is_some() {
        KEYED_REFUSALS
    } else {
        &[]
    };
    for (status, why) in REFUSALS.iter().chain(refusals) {
        let refusal = answer(why, &schemas::reference("error_envelope"));
        responses.insert((*status).to_owned(), refusal);
    }
    Value::Object(responses)
}

fn answer(description: &str, schema: &Value) -> Value {
    json!({
        "description": description,
        "headers": { "seam-request-id": {
            "description": "names the request in our log",
            "required": true,
            "schema": { "type": "string", "format": "uuid" },
        } },
        "content": { "application/json": { "schema": schema } },
    })
}

fn success(route: &Route) -> Value {
    let mut properties = Map::new();
    match route.key {
        Some(ALONE | PLAIN) => return json!({ "type": "object" }),
        // The empty schema takes anything; a test refuses a key without a table.
        Some(key) => {
            let schema = schemas::under(key).unwrap_or_else(|| json!({}));
            properties.insert(key.to_owned(), schema);
        }
        None => {}
    }
    if route.params.iter().any(|param| param.name == "page_cursor") {
        properties.insert("pagination".to_owned(), schemas::reference("pagination"));
    }
    properties.insert("ok".to_owned(), json!({ "const": true }));
    let required: Vec<String> = properties.keys().cloned().collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn properties(params: &[Param]) -> Map<String, Value> {
    params
        .iter()
        .map(|param| (param.name.to_owned(), in_body(param)))
        .collect()
}

/// In a body null is a value of its own, and the same as absent unless a route says otherwise.
fn in_body(param: &Param) -> Value {
    let mut schema = kind(param.kind);
    if let ParamKind::Code = param.kind {
        schema["type"] = json!(["string", "number"]);
    }
    if !param.required {
        let one_or_more = schema["type"].take();
        let mut types = match one_or_more.as_array() {
            Some(types) => types.clone(),
            None => vec![one_or_more],
        };
        if !types.contains(&json!("null")) {
            types.push(json!("null"));
        }
        schema["type"] = Value::Array(types);
        if let Some(Value::Array(words)) = schema.get_mut("enum") {
            words.push(Value::Null);
        }
    }
    schema
}

fn in_query(param: &Param) -> Value {
    if let ParamKind::NotYet = param.kind {
        return json!({ "type": "string", "maxLength": 0, "description": NOT_YET });
    }
    kind(param.kind)
}

const NOT_YET: &str = "not supported yet: refused where it says anything";

fn kind(kind: ParamKind) -> Value {
    match kind {
        ParamKind::Id => json!({ "type": "string", "format": "uuid" }),
        ParamKind::Ids => {
            json!({ "type": "array", "items": { "type": "string", "format": "uuid" } })
        }
        ParamKind::Texts => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
        }
        ParamKind::Text | ParamKind::Code => {
            json!({ "type": "string", "minLength": 1, "maxLength": 1000 })
        }
        ParamKind::Email => json!({ "type": "string", "format": "email", "maxLength": 254 }),
        ParamKind::PhoneNumber => {
            json!({ "type": "string", "pattern": "^\\+[1-9][0-9]{1,14}$" })
        }
        ParamKind::Flag => json!({ "type": "boolean" }),
        ParamKind::Count(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
        ParamKind::Instant => json!({ "type": "string", "format": "date-time" }),
        ParamKind::Rows(fields) => {
            json!({ "type": "array", "items": { "type": "object", "properties": properties(fields) } })
        }
        ParamKind::Fields(fields) => {
            json!({ "type": "object", "properties": properties(fields) })
        }
        ParamKind::OneOf(words) => json!({ "type": "string", "enum": words }),
        ParamKind::NotYet => json!({ "type": "null", "description": NOT_YET }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every path, verb and parameter, with whether it is required.
    type Said = BTreeSet<(String, String, String, bool)>;

    fn said_by_list() -> Said {
        let mut said = Said::new();
        for route in ROUTES {
            for path in route.paths {
                for verb in route.verbs.names() {
                    let verb = verb.to_lowercase();
                    said.insert(((*path).to_owned(), verb.clone(), String::new(), false));
                    for param in route.params {
                        let name = param.name.to_owned();
                        said.insert(((*path).to_owned(), verb.clone(), name, param.required));
                    }
                }
            }
        }
        said
    }

    fn said_by_document() -> Said {
        let document = render();
        let mut said = Said::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (verb, operation) in item.as_object().unwrap() {
                said.insert((path.clone(), verb.clone(), String::new(), false));
                for param in operation["parameters"].as_array().into_iter().flatten() {
                    let name = param["name"].as_str().unwrap().to_owned();
                    let required = param["required"] == true;
                    said.insert((path.clone(), verb.clone(), name, required));
                }
                let body = &operation["requestBody"]["content"]["application/json"]["schema"];
                let required = body["required"].as_array();
                for name in body["properties"].as_object().into_iter().flatten() {
                    let required = required.unwrap().contains(&json!(name.0));
                    said.insert((path.clone(), verb.clone(), name.0.clone(), required));
                }
            }
        }
        said
    }

    #[test]
    fn the_document_says_what_the_list_says_and_no_more() {
        assert_eq!(said_by_document(), said_by_list());
    }

    #[test]
    fn a_scope_is_a_requirement_and_a_response_key_has_a_table() {
        let document = render();
        for route in ROUTES {
            for (path, verb) in route
                .paths
                .iter()
                .flat_map(|path| route.verbs.names().iter().map(move |verb| (path, verb)))
            {
                let operation = &document["paths"][path][verb.to_lowercase()];
                let wanted = match (route.scope, route.sessions) {
                    (Some(scope), false) => json!([{ "api_key": [scope_name(scope)] }]),
                    (Some(scope), true) => {
                        json!([{ "api_key": [scope_name(scope)] }, { "client_session": [] }])
                    }
                    (None, _) => json!([]),
                };
                assert_eq!(operation["security"], wanted, "{verb} {path}");
            }
            let path = route.paths[0];
            if let Some(key) = route.key.filter(|key| !matches!(*key, ALONE | PLAIN)) {
                assert!(schemas::under(key).is_some(), "{path}: no table for {key}");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_no_operation_is_named_twice() {
        let document = render();
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        let mut names = BTreeSet::new();
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                assert!(names.insert(operation["operationId"].to_string()));
            }
        }
    }
}
