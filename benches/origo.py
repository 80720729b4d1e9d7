"""HID as its documents tell to call it, for the rivals: a plain client that neither hides nor repeats anything."""

import json
import urllib.parse
from datetime import datetime, timezone

from common import ORGANIZATION, PART_NUMBER, Http

MEDIA_TYPE = "application/vnd.assaabloy.ma.credential-management-2.2+json"
ACTION = "urn:hid:scim:api:ma:2.2:UserAction"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
CONTAINERS = "urn:hid:scim:api:ma:2.2:CredentialContainer"
CREDENTIALS = "urn:hid:scim:api:ma:2.2:Credential"


class WindowFull(Exception):
    """403: the window is used up, as long as nothing is wrong with the account."""


class Origo(Http):
    def __init__(self, address):
        super().__init__(address, {"Application-ID": "HID-EXAMPLE-RIVAL", "Application-Version": "1.0"})
        form = {"client_id": f"{ORGANIZATION}-OSRV900001", "client_secret": "simulator-secret"}
        body = urllib.parse.urlencode({**form, "grant_type": "client_credentials"})
        path = f"/authentication/customer/{ORGANIZATION}/token"
        token = self.call("POST", path, body, "application/x-www-form-urlencoded")["access_token"]
        self.headers["Authorization"] = f"Bearer {token}"

    def call(self, method, path, body=None, media_type=MEDIA_TYPE):
        headers = {"Content-Type": media_type} if body else {}
        status, text = self.ask(method, path, body, headers)
        if status == 403:
            raise WindowFull
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status} {text[:300]}")
        return json.loads(text)

    def identities(self, method, path, body=None):
        return self.call(method, f"/credential-management/customer/{ORGANIZATION}/{path}", body)

    def create_user(self, person):
        """With an invitation in the same call; gives the user's id."""
        given, _, family = person["name"].rpartition(" ")
        action = {"createInvitationCode": "Y", "sendInvitationEmail": "Y", "assignCredential": "N"}
        body = {
            "schemas": [ACTION, USER],
            "externalId": person["key"],
            "name": {"familyName": family, "givenName": given},
            "emails": [{"value": person["email"]}],
            ACTION: {**action, "partNumber": "", "credential": ""},
            "meta": {"resourceType": "PACSUser"},
        }
        return self.identities("POST", "users", body)["id"]

    def find_user(self, key):
        """By `externalId`; gives the user's id."""
        body = {"schemas": [SEARCH], "filter": f'externalId eq "{key}"', "startIndex": 1, "count": 25}
        found = self.identities("POST", "users/.search", body)["Resources"]
        return int(found[0]["meta"]["location"].rpartition("/")[2]) if found else None

    def phones(self, user):
        """A user's phones that can be issued to, by one read: {container: it has a key}."""
        found = self.identities("GET", f"users/{user}").get(CONTAINERS, [])
        return {one["id"]: bool(one.get(CREDENTIALS)) for one in found if one["status"].upper() == "ACTIVE"}

    def issue(self, container):
        action = {"assignCredential": "Y", "partNumber": PART_NUMBER, "credential": ""}
        self.identities("POST", f"credential-container/{container}/credential", {"schemas": [ACTION], ACTION: action})

    def events(self, since, until):
        """Of the feed, between two times in seconds."""
        text = lambda at: datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")[:23] + "Z"
        query = urllib.parse.urlencode({"dateFrom": text(since), "dateTo": text(until)})
        return self.call("GET", f"/organization/{ORGANIZATION}/events?{query}")
