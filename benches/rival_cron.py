"""Rival A, the cron script: what is often written first, and works for a while.

Each round reads every user who has no phone yet, issues a key to each phone it finds, and begins again. Fair, for:

- it makes a user and the invitation in one call, and never looks for what it made itself;
- it drops a user at the first phone, so that rounds become shorter: the least reading a reader of users can do;
- it keeps its connection and its token, and issues as soon as it sees a phone, not at the end of a round;
- a round begins as often as the others read the feed; one that takes longer is followed by the next without a pause;
- when HID refuses because of the window it sleeps for one interval (at true size a minute), and goes on where it was.

usage: rival_cron.py HID PEOPLE INTERVAL
"""

import json
import pathlib
import sys
import time

from origo import Origo, WindowFull


def patiently(interval, call, *details):
    while True:
        try:
            return call(*details)
        except WindowFull:
            time.sleep(interval)


def main(hid, people, interval):
    client = Origo(hid)
    waiting = [patiently(interval, client.create_user, person) for person in people]
    while True:
        begun = time.monotonic()
        for user in list(waiting):
            for phone, has_key in patiently(interval, client.phones, user).items():
                if not has_key:
                    patiently(interval, client.issue, phone)
                waiting.remove(user)
        time.sleep(max(0.0, begun + interval - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(pathlib.Path(sys.argv[2]).read_text()), float(sys.argv[3]))
