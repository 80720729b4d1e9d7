"""Makes some objects through the API and prints its OpenAPI document with their ids among those to try."""

import json
import sys
import time
import urllib.error
import urllib.request

API, KEY, HID = sys.argv[1:]
MANAGER = "6737e186-8d54-48ce-a7da-a0be4d252172"
ACCESS_SYSTEM = "8aaa5fa0-9381-4463-a0ed-85f9c1fbcef4"


def call(path, body=None, base=API):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers), timeout=10) as answer:
        return json.load(answer)


known = {"acs_system_id": {MANAGER, ACCESS_SYSTEM}, "credential_manager_acs_system_id": {MANAGER}}


def learn(value):
    """Every id of an answer, by its name."""
    if isinstance(value, list):
        for one in value:
            learn(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name.endswith("_id") and isinstance(one, str):
                known.setdefault(name, set()).add(one)
            learn(one)


for n in range(3):
    person = {
        "user_identity_key": f"known-{n}",
        "full_name": f"Known Person{n}",
        "email_address": f"known-{n}@tenant.example",
        "acs_system_ids": [ACCESS_SYSTEM],
    }
    identity = call("/user_identities/create", person)["user_identity"]["user_identity_id"]
    credential = {
        "user_identity_id": identity,
        "acs_system_id": ACCESS_SYSTEM,
        "access_method": "mobile_key",
        "is_multi_phone_sync_credential": True,
    }
    call("/acs/credentials/create", credential)
    for _ in range(100):
        try:
            call("/control/redeem", {"external_id": identity}, HID)
            break
        except urllib.error.HTTPError:
            time.sleep(0.1)
call("/webhooks/create", {"url": "http://127.0.0.1:9/known"})
call("/client_sessions/create", {"user_identity_id": identity, "user_identifier_key": "known"})
for _ in range(100):
    if len([one for one in call("/acs/credentials/list", {})["acs_credentials"] if one["is_issued"]]) == 6:
        break
    time.sleep(0.1)
for path in ["/user_identities/list", "/acs/users/list", "/acs/credentials/list", "/phones/list", "/webhooks/list", "/client_sessions/list"]:
    learn(call(path, {}))
for identity in known["user_identity_id"]:
    learn(call("/enrollment_automations/list", {"user_identity_id": identity}))
learn(call("/events/list", {"since": "2020-01-01"}))
known["owner_user_identity_id"] = known["user_identity_id"]
known["credential_manager_acs_user_id"] = known["acs_user_id"]


def offer(name, schema):
    real = known.get(name) or known.get(name.removesuffix("s"))
    if not real:
        return schema
    if schema.get("type") == "array" or "array" in schema.get("type", []):
        return {**schema, "items": offer(name.removesuffix("s"), schema["items"])}
    return {"anyOf": [{"type": "string", "enum": sorted(real)}, schema]}


document = call("/openapi.json")
# It waits for others, and may say so with a 503; tests/it/sandbox.rs has it.
del document["paths"]["/phones/simulate/create_sandbox_phone"]
for item in document["paths"].values():
    for operation in item.values():
        for parameter in operation.get("parameters", []):
            parameter["schema"] = offer(parameter["name"], parameter["schema"])
        content = operation.get("requestBody", {}).get("content", {})
        for body in content.values():
            fields = body["schema"]["properties"]
            body["schema"]["properties"] = {name: offer(name, fields[name]) for name in fields}
json.dump(document, sys.stdout)
