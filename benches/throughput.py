"""Creates people while nobody can log in at HID, then lets everything go and takes the pace from the ledger."""

import pathlib
import subprocess
import sys
import time

import postgres
from common import OPEN, Daemons, Http, Person, Site, Table, create, events_of, options, redeeming, say, spawn, wait

asked = options(__doc__, phones=(3000, 100), latency=5.0, store="sqlite", daemons=1)
site, table = Site(asked, "site"), Table()
control = site.control()
control.window(OPEN, 1)
control.call("settings", {"container_ready_ms": 0})
control.call("faults", {"token_refused": 1.0})

relay = pathlib.Path(__file__).with_name("delay.py")
command = [sys.executable, "-B", str(relay), site.hid, str(asked.latency)]
relay = spawn(command, stdout=subprocess.PIPE, text=True)
try:
    far = f"127.0.0.1:{int(relay.stdout.readline())}"
    begun = time.monotonic()
    Http(far).ask("GET", "/control/settings")
    say(f"HID is {1000 * (time.monotonic() - begun):.1f} ms away")
    # As by default: all come at once, and a phone that is told of later than an overlap after it came is read first.
    settings = {"hid": far, "polling__overlap": "2m"}
    with postgres.store(asked, site) as url, Daemons(site, asked.daemons, url, **settings) as daemons:
        begun = time.monotonic()
        create(daemons, asked.phones, Person.launch, Person.grant)
        say(f"{asked.phones} people created in {time.monotonic() - begun:.1f} s")
        control.call("faults", {"preset": "none"})
        with redeeming(site, every=0.2):
            wait("issues", lambda: control.issues() >= asked.phones, 120 + asked.phones / 5, every=1)
finally:
    relay.terminate()
    relay.wait()

ledger = control.ledger()
first = min(at for at, _ in events_of(ledger, "user_created"))
last = max(at for at, _ in events_of(ledger, "credential_accepted"))
pace = asked.phones / (last - first) * 1000
who = postgres.who(asked)
table.add(f"{who}, no window, HID {asked.latency:g} ms away: enrolled and issued", pace, at_least=50, unit="phones/s")
table.add(f"{who}: calls a phone", control.phone_calls() / asked.phones, limit=2)
table.end()
