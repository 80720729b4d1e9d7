"""Applies a file of people to a daemon with an empty store, and once more when it is true already."""

import json
import os
import subprocess
import time

from common import OPEN, Daemon, Site, Table, options, say

# So many writes share a sync of the disk, at most (src/store/sqlite/group.rs).
BATCH = 512

asked = options(__doc__, rows=(100_000, 2000))
site, table = Site(asked, "site"), Table()
control = site.control()
control.window(OPEN, 1)
# Nobody can log in, so that nothing but the rows is worked on.
control.call("faults", {"token_refused": 1.0})

people = site.folder / "people.csv"
with open(people, "w") as file:
    file.write("user_identity_key,full_name,email_address,access_system,card_format,facility_code\n")
    for n in range(asked.rows):
        file.write(f"person-{n},Person Number{n},person-{n}@tenant.example,hq_doors,rfid48,9\n")


def syncs():
    """A second, on the disk that the store is on."""
    file, begun, count = os.open(site.folder / "synced", os.O_CREAT | os.O_WRONLY), time.monotonic(), 0
    while time.monotonic() - begun < 1:
        os.write(file, b"x" * 4096)
        os.fsync(file)
        count += 1
    os.close(file)
    return count


def apply(daemon):
    command = [site.program, "apply", people, "--api", daemon.address, "--json"]
    begun = time.monotonic()
    done = subprocess.run(command, env={**os.environ, "SEAM_API_KEY": site.key}, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr)
    return time.monotonic() - begun, json.loads(done.stdout)


rate = syncs()
say(f"{rate} syncs a second")
with Daemon(site) as daemon:
    first, told = apply(daemon)
    assert told["changed"] == asked.rows, told
    again, told = apply(daemon)
    assert told["unchanged"] == asked.rows, told
    say(f"again, with nothing to change: {again:.1f} s")
goal = 60 * asked.rows / 100_000
table.add(f"{asked.rows:,} rows applied", first, at_most=goal, limit=asked.rows / rate / BATCH, unit="s")
table.end()
