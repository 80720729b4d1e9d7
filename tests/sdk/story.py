"""The story of story.md, told by Seam's Python SDK as it comes. One line a step on stdout."""

import json
import os
import sys
import threading
import time
import traceback
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import seam as sdk
from seam import Seam, SeamHttpApiError, SeamHttpInvalidInputError, SeamHttpUnauthorizedError

PATIENCE = 40
ENDPOINT = os.environ["SEAM_ENDPOINT"]
HID = os.environ["HID"]
seam = Seam()
it = SimpleNamespace()
received = []
steps = []


def step(*needed):
    def register(run):
        steps.append((run.__name__, needed, run))
        return run

    return register


def until(what, look, patience=1):
    end = time.monotonic() + PATIENCE * patience
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


def refused(kind, run, code=None, status=None):
    try:
        run()
    except kind as error:
        assert code is None or error.code == code, error.code
        assert status is None or error.status_code == status, error.status_code
        assert error.request_id, "no request id"
        return error
    raise AssertionError(f"no {kind.__name__}")


def ids(things, field):
    return sorted(getattr(thing, field) for thing in things)


def control(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"{HID}/control/{path}", data, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


class Automations:
    """Typed where the SDK still has them, else by its raw client."""

    typed = getattr(seam.user_identities, "enrollment_automations", None)
    path = "/user_identities/enrollment_automations/"

    def launch(self, **params):
        if self.typed:
            return self.typed.launch(**params)
        return SimpleNamespace(**seam.client.post(self.path + "launch", json=params)["enrollment_automation"])

    def get(self, **params):
        if self.typed:
            return self.typed.get(**params)
        return SimpleNamespace(**seam.client.get(self.path + "get", params=params)["enrollment_automation"])

    def list(self, **params):
        if self.typed:
            return self.typed.list(**params)
        listed = seam.client.get(self.path + "list", params=params)["enrollment_automations"]
        return [SimpleNamespace(**one) for one in listed]

    def delete(self, **params):
        if self.typed:
            return self.typed.delete(**params)
        return seam.client.delete(self.path + "delete", params=params)


automations = Automations()


def children():
    listed = seam.acs.credentials.list(acs_user_id=it.user, is_multi_phone_sync_credential=False)
    return [one for one in listed if one.parent_acs_credential_id == it.parent]


def told(kind, field, wanted):
    """The events of this type that name one of these."""
    listed = seam.events.list(event_type=kind)
    return [one for one in listed if getattr(one, field, None) in wanted]


@step("/acs/systems/list", "/acs/systems/get", "/acs/systems/list_compatible_credential_manager_acs_systems")
def systems():
    listed = seam.acs.systems.list()
    access = [one for one in listed if not one.is_credential_manager]
    assert len(access) == 1 and len(listed) == 2, listed
    it.access = access[0].acs_system_id
    compatible = seam.acs.systems.list_compatible_credential_manager_acs_systems(acs_system_id=it.access)
    it.manager = compatible[0].acs_system_id
    manager = seam.acs.systems.get(acs_system_id=it.manager)
    assert manager.is_credential_manager
    assert manager.external_type == "hid_credential_manager_organization"


@step("/workspaces/get")
def workspace():
    it.workspace = seam.workspaces.get().workspace_id
    assert seam.workspaces.get().is_sandbox


@step("/user_identities/create", "/user_identities/get", "/user_identities/list")
def identity():
    made = seam.user_identities.create(
        user_identity_key="jean", full_name="Jean Example", email_address="jean@tenant.example"
    )
    it.identity = made.user_identity_id
    assert made.workspace_id == it.workspace and made.display_name == "Jean Example"
    by_id = seam.user_identities.get(user_identity_id=it.identity)
    by_key = seam.user_identities.get(user_identity_key="jean")
    assert by_id.user_identity_id == by_key.user_identity_id == it.identity
    assert ids(seam.user_identities.list(), "user_identity_id") == [it.identity]
    refused(
        SeamHttpApiError,
        lambda: seam.user_identities.create(user_identity_key="other", email_address="jean@tenant.example"),
        "user_identity_email_or_phone_conflict",
        409,
    )


@step("/user_identities/update")
def update():
    seam.user_identities.update(user_identity_id=it.identity, phone_number="+15551234567")
    shown = seam.user_identities.get(user_identity_id=it.identity)
    assert shown.phone_number == "+15551234567" and shown.full_name == "Jean Example"


@step("/acs/users/create", "/acs/users/get", "/acs/users/list")
def acs_user():
    linked = {} if "/user_identities/add_acs_user" in served else {"user_identity_id": it.identity}
    made = seam.acs.users.create(acs_system_id=it.access, full_name="Jean Example", **linked)
    it.user = made.acs_user_id
    assert made.acs_system_id == it.access
    assert seam.acs.users.get(acs_user_id=it.user).full_name == "Jean Example"
    assert ids(seam.acs.users.list(acs_system_id=it.access), "acs_user_id") == [it.user]


@step("/user_identities/add_acs_user", "/user_identities/list_acs_users", "/user_identities/list_acs_systems")
def link():
    seam.user_identities.add_acs_user(user_identity_id=it.identity, acs_user_id=it.user)
    assert ids(seam.user_identities.list_acs_users(user_identity_id=it.identity), "acs_user_id") == [it.user]
    systems = seam.user_identities.list_acs_systems(user_identity_id=it.identity)
    assert it.access in ids(systems, "acs_system_id")
    assert seam.acs.users.get(acs_user_id=it.user).user_identity_id == it.identity


@step("/webhooks/create", "/webhooks/get", "/webhooks/list")
def webhook():
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            received.append((body, dict(self.headers)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = seam.webhooks.create(url=f"http://127.0.0.1:{server.server_port}/hook", event_types=["*"])
    it.webhook, it.secret = made.webhook_id, made.secret
    assert it.secret and seam.webhooks.get(webhook_id=it.webhook).url == made.url
    assert ids(seam.webhooks.list(), "webhook_id") == [it.webhook]


@step("/user_identities/enrollment_automations/launch")
def launch():
    ask = {
        "user_identity_id": it.identity,
        "credential_manager_acs_system_id": it.manager,
        "create_credential_manager_user": True,
    }
    made = automations.launch(**ask)
    it.automation = made.enrollment_automation_id
    assert made.user_identity_id == it.identity
    assert automations.launch(**ask).enrollment_automation_id == it.automation
    assert automations.get(enrollment_automation_id=it.automation).workspace_id == it.workspace
    listed = automations.list(user_identity_id=it.identity)
    assert ids(listed, "enrollment_automation_id") == [it.automation]
    return "typed" if automations.typed else "raw client"


@step("/acs/credentials/create", "/acs/credentials/get", "/acs/credentials/list")
def credential():
    ask = {"acs_user_id": it.user, "access_method": "mobile_key", "is_multi_phone_sync_credential": True}
    made = seam.acs.credentials.create(**ask, credential_manager_acs_system_id=it.manager)
    it.parent = made.acs_credential_id
    assert made.is_multi_phone_sync_credential and not made.is_issued
    again = seam.acs.credentials.create(**ask, credential_manager_acs_system_id=it.manager)
    assert again.acs_credential_id == it.parent


@step()
def phones():
    if "/phones/simulate/create_sandbox_phone" in served:
        made = [
            seam.phones.simulate.create_sandbox_phone(
                user_identity_id=it.identity,
                custom_sdk_installation_id=f"installation-{system}",
                phone_metadata={"operating_system": system},
            )
            for system in ["ios", "android"]
        ]
        it.phones = ids(made, "device_id")
        assert sorted(one.device_type for one in made) == ["android_phone", "ios_phone"]
        return "create_sandbox_phone"
    redeem = lambda: "container_id" in control("redeem", {"external_id": it.identity})
    until("the first phone", redeem)
    until("the phone to be known", lambda: seam.phones.list(owner_user_identity_id=it.identity))
    ask = {"enrollment_automation_id": it.automation}
    seam.client.post("/enrollment_automations/invitations/get_or_create", json=ask)
    until("the second phone", redeem)
    return "simulator's control API; create_sandbox_phone is not served"


@step("/phones/list", "/phones/get")
def issued():
    def both():
        found = children()
        return found if len(found) == 2 and all(one.is_issued for one in found) else None

    it.children = ids(until("two issued children", both), "acs_credential_id")
    parent = seam.acs.credentials.get(acs_credential_id=it.parent)
    assert parent.is_issued and parent.is_latest_desired_state_synced_with_provider
    assert len(control("state")["live_credentials"]) == 2


@step()
def read():
    for one in children():
        same = seam.acs.credentials.get(acs_credential_id=one.acs_credential_id)
        assert same.card_number and same.card_number == one.card_number
        assert same.user_identity_id == it.identity and not same.is_multi_phone_sync_credential
        holder = seam.phones.list(acs_credential_id=one.acs_credential_id)
        assert len(holder) == 1
    parents = seam.acs.credentials.list(user_identity_id=it.identity, is_multi_phone_sync_credential=True)
    assert ids(parents, "acs_credential_id") == [it.parent]
    everything = seam.acs.credentials.list()
    assert ids(everything, "acs_credential_id") == sorted(it.children + [it.parent])
    owned = ids(seam.phones.list(owner_user_identity_id=it.identity), "device_id")
    assert owned == getattr(it, "phones", owned) and len(owned) == 2
    it.phones = owned
    assert ids(seam.phones.list(acs_credential_id=it.parent), "device_id") == owned
    assert seam.phones.get(device_id=owned[0]).device_id == owned[0]
    assert sorted(seam.user_identities.get(user_identity_id=it.identity).acs_user_ids) == sorted(
        ids(seam.acs.users.list(user_identity_id=it.identity), "acs_user_id")
    )


@step()
def pages():
    extra = [seam.user_identities.create(user_identity_key=f"extra-{n}").user_identity_id for n in range(2)]
    raw = []

    def all_of(path, key, request, field, **params):
        wanted = ids(request(**params), field)
        try:
            paged = seam.create_paginator(request, {**params, "limit": 1}).flatten_to_list()
            found = ids(paged, field)
        except TypeError:
            # Python 1.116 pages ACS users alone; its raw client does the rest.
            raw.append(key)
            found, more = [], {}
            while more is not None:
                page = seam.client.post(path, json={**params, "limit": 1, **more})
                found += [one[field] for one in page[key]]
                cursor = page["pagination"]["next_page_cursor"]
                more = {"page_cursor": cursor} if cursor else None
            found.sort()
        assert found == wanted and len(found) > 1, (key, found, wanted)

    all_of("/user_identities/list", "user_identities", seam.user_identities.list, "user_identity_id")
    all_of("/acs/users/list", "acs_users", seam.acs.users.list, "acs_user_id")
    all_of(
        "/acs/credentials/list", "acs_credentials", seam.acs.credentials.list, "acs_credential_id", acs_user_id=it.user
    )
    for one in extra:
        seam.user_identities.delete(user_identity_id=one)
    return f"raw client for {', '.join(raw)}" if raw else None


@step("/events/list", "/events/get")
def events():
    field = "acs_credential_id"
    found = until(
        "both events", lambda: len(told("acs_credential.issued", field, it.children)) == 2
        and told("acs_credential.issued", field, it.children)
    )
    same = seam.events.get(event_id=found[0].event_id)
    assert same.event_type == "acs_credential.issued" and same.workspace_id == it.workspace
    many = seam.events.list(event_types=["acs_credential.issued", "acs_user.created"], since="2020-01-01")
    assert {one.event_id for one in found} <= {one.event_id for one in many}


@step("/client_sessions/create", "/client_sessions/list", "/client_sessions/revoke", "/client_sessions/delete")
def session():
    stranger = seam.user_identities.create(user_identity_key="stranger").user_identity_id
    made = seam.client_sessions.create(user_identity_id=it.identity, user_identifier_key="jean@app")
    assert made.token.startswith("seam_cst") and made.user_identity_ids == [it.identity]
    asked = {"user_identity_id": it.identity, "user_identifier_key": "jean@app"}
    assert seam.client_sessions.get_or_create(**asked).token == made.token
    assert ids(seam.client_sessions.list(), "client_session_id") == [made.client_session_id]

    # The SDK itself takes API keys only.
    def as_app(path):
        headers = {"Authorization": f"Bearer {made.token}"}
        try:
            with urllib.request.urlopen(urllib.request.Request(ENDPOINT + path, headers=headers), timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)["error"]["type"]

    seen = [one["user_identity_id"] for one in as_app("/user_identities/list")["user_identities"]]
    assert seen == [it.identity], seen
    assert len(as_app("/acs/credentials/list")["acs_credentials"]) == 3
    assert as_app("/phones/list") == "client_session_token_used_for_api_key"
    seam.client_sessions.revoke(client_session_id=made.client_session_id)
    assert as_app("/user_identities/list") == "client_session_revoked"
    seam.client_sessions.delete(client_session_id=made.client_session_id)
    assert seam.client_sessions.list() == []
    seam.user_identities.delete(user_identity_id=stranger)


@step("/webhooks/create")
def verified():
    it.verifier = sdk.SeamWebhook(it.secret)

    def delivered():
        seen = [it.verifier.verify(body, headers) for body, headers in list(received)]
        named = [one for one in seen if one.event_type == "acs_credential.issued"]
        return {one.acs_credential_id for one in named} >= set(it.children)

    until("both deliveries", delivered)
    body, headers = received[0]
    try:
        it.verifier.verify(body + " ", headers)
    except sdk.SeamWebhookVerificationError:
        return
    raise AssertionError("a changed body was accepted")


@step("/phones/deactivate")
def lost_phone():
    lost, kept = it.phones
    seam.phones.deactivate(device_id=lost)
    refused(SeamHttpApiError, lambda: seam.phones.get(device_id=lost), status=404)
    assert ids(seam.phones.list(owner_user_identity_id=it.identity), "device_id") == [kept]
    left = until("one child", lambda: children() if len(children()) == 1 else None)
    assert left[0].is_issued
    assert ids(seam.phones.list(acs_credential_id=left[0].acs_credential_id), "device_id") == [kept]
    until("one live key", lambda: len(control("state")["live_credentials"]) == 1)
    if "/events/list" in served:
        until("phone.deactivated", lambda: told("phone.deactivated", "device_id", [lost]))


@step()
def errors():
    nobody = "ffffffff-ffff-4fff-8fff-ffffffffffff"
    refused(
        SeamHttpApiError, lambda: seam.user_identities.get(user_identity_id=nobody), "user_identity_not_found", 404
    )
    error = refused(SeamHttpInvalidInputError, lambda: seam.user_identities.get(user_identity_id="no uuid"))
    # Since Python 3.1.
    if hasattr(error, "get_validation_error_messages"):
        assert error.get_validation_error_messages("user_identity_id") == ["Invalid uuid"]
    refused(SeamHttpInvalidInputError, lambda: seam.client.post("/acs/credentials/create", json={}))
    stranger = Seam(api_key="seam_test_nobody")
    refused(SeamHttpUnauthorizedError, stranger.user_identities.list)


@step("/user_identities/enrollment_automations/delete")
def delete_automation():
    automations.delete(enrollment_automation_id=it.automation)
    ask = {"enrollment_automation_id": it.automation}
    refused(SeamHttpApiError, lambda: automations.get(**ask), "enrollment_automation_not_found", 404)
    assert automations.list(user_identity_id=it.identity) == []
    if "/events/list" in served:
        field = "enrollment_automation_id"
        until("its event", lambda: told("enrollment_automation.deleted", field, [it.automation]))


@step("/user_identities/delete")
def delete_identity():
    seam.user_identities.delete(user_identity_id=it.identity)

    def gone():
        try:
            seam.user_identities.get(user_identity_id=it.identity)
        except SeamHttpApiError as error:
            return error.code == "user_identity_not_found" and error.status_code == 404
        return False

    # The daemon looks after half a minute whether HID has revoked, and then whether it has no such user.
    until("the end of the identity", gone, patience=4)
    assert seam.acs.credentials.list() == [] and seam.acs.users.list(user_identity_id=it.identity) == []
    assert control("state")["live_credentials"] == []
    assert control("violations") == [], control("violations")
    if "/events/list" in served:
        lost = [it.parent] + it.children
        until("their events", lambda: len(told("acs_credential.deleted", "acs_credential_id", lost)) == 3)


@step("/webhooks/delete")
def delete_webhook():
    seam.webhooks.delete(webhook_id=it.webhook)
    assert seam.webhooks.list() == []


with urllib.request.urlopen(f"{ENDPOINT}/openapi.json", timeout=10) as answer:
    served = set(json.load(answer)["paths"])
failed = False
for name, needed, run in steps:
    missing = [path for path in needed if path not in served]
    if missing:
        print(f"absent {name}: {', '.join(missing)}", flush=True)
        continue
    try:
        note = run()
        print(f"ok {name}" + (f": {note}" if note else ""), flush=True)
    except Exception as error:
        failed = True
        # What follows most often fails with it.
        PATIENCE = 3
        print(f"FAILED {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
        traceback.print_exc()
sys.exit(failed)
