"""Loads identities through the API, then measures one call at a time over a kept connection."""

import http.client
import json
import os
import sys
import threading
import time

API, KEY, HID, COUNT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
ACCESS_SYSTEM = "8aaa5fa0-9381-4463-a0ed-85f9c1fbcef4"
LOADERS = 16
SAMPLES = 500


class Client:
    def __init__(self):
        self.connection = http.client.HTTPConnection(API, timeout=60)

    def call(self, path, body):
        self.connection.request("POST", path, json.dumps(body), HEADERS)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 200, (path, answer.status, text[:300])
        return text


def person(n):
    return {
        "user_identity_key": f"person-{n}",
        "full_name": f"Person Number{n}",
        "email_address": f"person-{n}@tenant.example",
    }


def control(path, body=None):
    hid = http.client.HTTPConnection(HID, timeout=10)
    hid.request("POST" if body else "GET", f"/control/{path}", body and json.dumps(body))
    answer = hid.getresponse()
    assert answer.status == 200, answer.read()
    return json.load(answer)


def load():
    """Every tenth has an ACS user in the access system as well."""
    users = [None] * COUNT

    def some(first):
        client = Client()
        for n in range(first, COUNT, LOADERS):
            made = json.loads(client.call("/user_identities/create", person(n)))["user_identity"]
            if n % 10 == 0:
                asked = {
                    "acs_system_id": ACCESS_SYSTEM,
                    "full_name": made["full_name"],
                    "user_identity_id": made["user_identity_id"],
                }
                user = json.loads(client.call("/acs/users/create", asked))["acs_user"]["acs_user_id"]
                users[n] = (made["user_identity_id"], user)

    threads = [threading.Thread(target=some, args=(first,)) for first in range(LOADERS)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    found = [user for user in users if user]
    assert len(found) == (COUNT + 9) // 10
    print(f"loaded {COUNT} identities and {len(found)} ACS users in {took:.0f} s, {LOADERS} at a time", flush=True)
    return found


def measure(client, name, goal, calls):
    times = []
    for path, body in calls:
        begun = time.perf_counter()
        client.call(path, body)
        times.append((time.perf_counter() - begun) * 1000)
    times.sort()
    median, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"| {name} | {len(times)} | {median:.2f} | {p99:.2f} | < {goal} |", flush=True)
    return median < goal


control("faults", {"hang": 1.0})
users = load()
client = Client()
sample = [users[n * len(users) // SAMPLES % len(users)] for n in range(SAMPLES)]
print(f"{len(os.sched_getaffinity(0))} cores; milliseconds")
print("| call | calls | median | p99 | goal, median |\n| --- | --- | --- | --- | --- |")
credential = {"access_method": "mobile_key", "is_multi_phone_sync_credential": True}
good = [
    measure(client, "`/user_identities/get`", 5, [("/user_identities/get", {"user_identity_id": i}) for i, _ in sample]),
    measure(client, "`/acs/users/get`", 5, [("/acs/users/get", {"acs_user_id": u}) for _, u in sample]),
    measure(
        client,
        "`/user_identities/list`, a page of 20",
        5,
        [("/user_identities/list", {"limit": 20})] * SAMPLES,
    ),
    measure(
        client,
        "`/acs/credentials/list` of one user",
        5,
        [("/acs/credentials/list", {"acs_user_id": u}) for _, u in sample],
    ),
    measure(
        client, "`/user_identities/create`", 50, [("/user_identities/create", person(COUNT + n)) for n in range(SAMPLES)]
    ),
    measure(
        client,
        "`/acs/credentials/create`",
        50,
        [("/acs/credentials/create", {**credential, "acs_user_id": u}) for _, u in sample],
    ),
]
hung = [one for one in control("ledger")["requests_by_class"] if one["outcome"] == "hang"]
print(f"calls that HID left without an answer meanwhile: {sum(one['count'] for one in hung)}")
sys.exit(not all(good))
