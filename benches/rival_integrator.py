"""Rival B, what a competent integrator would write: HID's events tell of new phones, nothing is read in rounds.

It looks for a user before it makes one, so that a second run makes none twice; it reads the user before an issue, for an
event is no proof, and after it, to know what became of it. So five calls a person. Fair, for:

- the feed is read at a fixed pace, with an overlap and without repeats, and every phone of a reading is served at once;
- people are made on a connection and in a thread of their own, so that they hold up no phone;
- it keeps its connections and its token, and makes a user and the invitation in one call;
- when HID refuses because of the window it waits one interval, then twice as long each time, up to a whole window,
  and begins with the shortest wait again as soon as a call is let through.

usage: rival_integrator.py HID PEOPLE INTERVAL WINDOW
"""

import json
import pathlib
import sys
import threading
import time

from origo import Origo, WindowFull

OVERLAP = 5


class Patient:
    """Calls with backoff."""

    def __init__(self, interval, window):
        self.interval, self.window = interval, window

    def __call__(self, call, *details):
        pause = self.interval
        while True:
            try:
                return call(*details)
            except WindowFull:
                time.sleep(pause)
                pause = min(2 * pause, self.window)


def make(hid, people, patiently):
    client = Origo(hid)
    for person in people:
        if patiently(client.find_user, person["key"]) is None:
            patiently(client.create_user, person)


def serve(client, event, patiently):
    """A phone that an event tells of."""
    user, phone = event["data"]["userId"], int(event["data"]["endpointId"])
    if patiently(client.phones, user).get(phone) is False:
        patiently(client.issue, phone)
        patiently(client.phones, user)


def main(hid, people, interval, window):
    patiently = Patient(interval, window)
    threading.Thread(target=make, args=(hid, people, patiently), daemon=True).start()
    client, seen = Origo(hid), set()
    since = due = time.time()
    while True:
        until = time.time()
        for event in patiently(client.events, since - OVERLAP, until):
            if event["id"] not in seen:
                seen.add(event["id"])
                if event["data"]["status"] == "ENDPOINT_ACTIVE":
                    serve(client, event, patiently)
        since = until
        # At the pace's next beat; beats that passed meanwhile are left out.
        due = max(due + interval, time.time())
        time.sleep(max(0.0, due - time.time()))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(pathlib.Path(sys.argv[2]).read_text()), float(sys.argv[3]), float(sys.argv[4]))
