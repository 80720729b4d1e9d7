"""What the benches share: the daemon, its API, the simulator's control API, statistics and the table.

Times that are compared with each other come from one clock, the machine's: the simulator stamps its ledger with it.
"""

import argparse
import contextlib
import ctypes
import http.client
import itertools
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

ACCESS_SYSTEM = "8aaa5fa0-9381-4463-a0ed-85f9c1fbcef4"
MANAGER = "6737e186-8d54-48ce-a7da-a0be4d252172"
ORGANIZATION = "7001234"
STOCK_OVERLAP = "2m"
PART_NUMBER = "MID-SUB-EXAMPLE_1"
MISSED = 3
# What reads the stock of part numbers.
STOCK_CALLS = ("organization", "part_number_list", "part_number_get")
# No window at all, for whoever does not ask what windows do.
OPEN = 1_000_000
# What HID gives (origo-api.md 10.4), and what the stock configuration uses of it.
REQUESTS, PER, SHARE = 300, 300, 0.95


class Http:
    """One kept connection."""

    def __init__(self, address, headers=None, timeout=60):
        self.connection = http.client.HTTPConnection(address, timeout=timeout)
        self.headers = headers or {}

    def ask(self, method, path, body=None, headers=None):
        """Status and raw body; a connection that the server closed meanwhile is opened again, once."""
        sent = body if isinstance(body, (str, bytes)) or body is None else json.dumps(body)
        for is_last in (False, True):
            try:
                self.connection.request(method, path, sent, {**self.headers, **(headers or {})})
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.connection.close()
                if is_last:
                    raise


class Api(Http):
    """The daemon's."""

    def __init__(self, address, key):
        super().__init__(address, {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})

    def call(self, path, **body):
        status, text = self.ask("POST", path, body)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {text[:300]}")
        return json.loads(text)


class Control(Http):
    """The simulator's: phones, the portal, bad luck, and the ledger, by which everything is counted."""

    def call(self, path, body=None):
        status, text = self.ask("GET" if body is None else "POST", f"/control/{path}", body)
        if status != 200:
            raise RuntimeError(f"/control/{path}: {status} {text[:300]}")
        return json.loads(text)

    def ledger(self):
        return self.call("ledger")

    def tail(self, name):
        """The ledger from that key on; what took effect comes before it and may be a hundred megabytes."""
        _, text = self.ask("GET", "/control/ledger")
        return json.loads(b"{" + text[text.rindex(f'"{name}":['.encode()) :])

    def requests(self, service="mobile_identities"):
        """Every request so far, also those that were refused or lost, oldest first."""
        return [
            one
            for one in self.tail("requests")["requests"]
            if one["service"] == service and not is_echo(one["outcome"])
        ]

    def counts(self, service="mobile_identities"):
        """The same, as {(class, outcome): count}."""
        rows = self.tail("requests_by_class")["requests_by_class"]
        return {
            (row["class"], row["outcome"]): row["count"]
            for row in rows
            if row["service"] == service and not is_echo(row["outcome"])
        }

    def calls(self):
        return sum(self.counts().values())

    def phone_calls(self):
        """Without those that read the stock of part numbers, of which a day has 48 at most, whoever comes."""
        return sum(count for (what, _), count in self.counts().items() if what not in STOCK_CALLS)

    def issues(self):
        return self.counts().get(("issue", "200"), 0)

    def window(self, requests, per):
        """Windows of the Mobile Identities API; the others stay open."""
        wide = {"requests": OPEN, "per_s": 1}
        windows = {"mobile_identities": {"requests": requests, "per_s": per}, "events": wide, "token": wide}
        self.call("settings", {"windows": windows})

    def refusals(self):
        """Calls that met a full window."""
        return sum("window_exceeded" in violation for violation in self.call("violations"))

    def quiet(self, seconds, limit=600, every=0.5):
        """Waits until no Mobile Identities call has come for so long."""
        seen, since = self.calls(), time.monotonic()

        def still():
            nonlocal seen, since
            now = self.calls()
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since >= seconds

        wait("HID is left alone", still, limit, every)


def is_echo(outcome):
    """A call that takes effect late is in the ledger twice: as it was cut off, and with its late answer."""
    return outcome.startswith("late_") and outcome != "late_effect"


class Site:
    """A folder that benches/bench.bash prepared: a running simulator and a configuration."""

    def __init__(self, options, name):
        self.folder = pathlib.Path(options.scratch) / name
        self.program = options.program
        known = dict(line.split("=", 1) for line in (self.folder / "site").read_text().split())
        self.hid, self.key = known["hid"], known["key"]

    def control(self):
        return Control(self.hid)

    def fresh_window(self, requests, per):
        """Lets HID limit calls from now on; gives settings for a daemon that does so, too. Windows are then counted by
        host, and the host has another name than before: what came before counts for nobody."""
        control = self.control()
        control.window(requests, per)
        control.call("settings", {"window_key": "host"})
        name = self.hid.replace("127.0.0.1", "localhost")
        return {"hid": name, "requests": requests, "per": per, "windows__window_key": "host"}


class Daemon:
    """A running daemon of a site; a setting is what the configuration calls it: `polling__interval="5s"`."""

    def __init__(self, site, *, hid=None, requests=OPEN, per=1, share=SHARE, store=None, **settings):
        self.site = site
        self.address = f"127.0.0.1:{free_port()}"
        # Where everything goes faster than HID's windows allow in life, the feed is denser than in life as well, and
        # an overlap of two minutes would be one of hours.
        manager = {"polling__interval": "1s", "polling__overlap": "10s"}
        for window in ("mobile_identities", "events", "token"):
            limited = window == "mobile_identities"
            manager[f"windows__{window}__requests"] = requests if limited else OPEN
            manager[f"windows__{window}__per"] = f"{per if limited else 1}s"
            manager[f"windows__{window}__share"] = share
        if hid:
            manager["token_url"] = manager["events_url"] = f"http://{hid}"
            manager["mobile_identities_url"] = f"http://{hid}/credential-management"
        manager.update(settings)
        # The environment is the last layer of the configuration, so nothing is written anew.
        self.environment = {
            f"ORIGO_ADAPTER__CREDENTIAL_MANAGERS__HQ__{name.upper()}": str(value) for name, value in manager.items()
        }
        self.environment["ORIGO_ADAPTER__API__LISTEN"] = self.address
        for name, value in (store or {}).items():
            self.environment[f"ORIGO_ADAPTER__STORE__{name.upper()}"] = str(value)
        # As the systemd unit has it.
        self.environment["MALLOC_ARENA_MAX"] = "2"
        self.start()

    def start(self):
        """Until it is ready; `ready_in` are the seconds from exec until then."""
        log = open(self.site.folder / "daemon.log", "ab")
        command = [self.site.program, "--config", str(self.site.folder / "config.toml"), "run"]
        begun = time.monotonic()
        self.process = spawn(command, env={**os.environ, **self.environment}, stdout=log, stderr=log)
        log.close()
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() - begun > 60:
                self.stop()
                log = (self.site.folder / "daemon.log").read_text()
                raise RuntimeError(f"the daemon did not start:\n{log[-2000:]}")
            time.sleep(0.002)
        self.ready_in, self.ready_at = time.monotonic() - begun, time.time() * 1000

    def is_ready(self):
        try:
            return Http(self.address, timeout=1).ask("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def api(self):
        return Api(self.address, self.site.key)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Daemons:
    """Several of a site, as one: they share a database, and whoever asks them asks each in turn."""

    def __init__(self, site, count, url=None, **settings):
        """`url`: of a database; without one there is one daemon, with a file."""
        own = lambda n: {"url": url, "head_file": site.folder / f"head-{n}"} if url else None
        self.all, self.asked = [], itertools.count()
        try:
            for n in range(count):
                self.all.append(Daemon(site, store=own(n), **settings))
        except BaseException:
            self.stop()
            raise

    def api(self):
        return self.all[next(self.asked) % len(self.all)].api()

    def stop(self):
        for daemon in self.all:
            daemon.process.terminate()
        for daemon in self.all:
            daemon.process.wait()

    def kill(self):
        for daemon in self.all:
            daemon.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def spawn(command, **more):
    """A process that does not outlive this one, however this one ends."""
    die_with_parent = lambda: ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    return subprocess.Popen(command, preexec_fn=die_with_parent, **more)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(what, condition, limit, every=0.1):
    """Until the condition holds; gives what it gave."""
    end = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > end:
            raise RuntimeError(f"in vain for {limit} s: {what}")
        time.sleep(every)
    return found


def each(items, work, make, workers=8):
    """Results of `work(client, item)` in the items' order; every worker has a client of its own."""
    items, results, failures = list(items), {}, []
    numbers = iter(range(len(items)))

    def some():
        client = make()
        try:
            for number in numbers:
                results[number] = work(client, items[number])
        except Exception as error:  # Told by the caller's thread.
            failures.append(error)

    threads = [threading.Thread(target=some, daemon=True) for _ in range(min(workers, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(items))]


class Person:
    """What the API made for one person."""

    def __init__(self, number):
        self.key, self.name = f"person-{number}", f"Person Number{number}"
        self.email = f"person-{number}@tenant.example"

    def identity_asked(self):
        return {"user_identity_key": self.key, "full_name": self.name, "email_address": self.email}

    def identify(self, api):
        made = api.call("/user_identities/create", **self.identity_asked())["user_identity"]
        self.identity = made["user_identity_id"]
        return self

    def create(self, api):
        """In our store and as a user of the access system; HID knows nothing of it."""
        self.identify(api)
        asked = {"acs_system_id": ACCESS_SYSTEM, "full_name": self.name, "user_identity_id": self.identity}
        self.user = api.call("/acs/users/create", **asked)["acs_user"]["acs_user_id"]
        return self

    def launch(self, api):
        asked = {"user_identity_id": self.identity, "credential_manager_acs_system_id": MANAGER}
        made = api.call(
            "/user_identities/enrollment_automations/launch", create_credential_manager_user=True, **asked
        )
        self.automation = made["enrollment_automation"]["enrollment_automation_id"]
        return self

    def credential_asked(self):
        asked = {"acs_user_id": self.user, "access_method": "mobile_key", "is_multi_phone_sync_credential": True}
        return {**asked, "card_format": "rfid48", "facility_code": "9"}

    def grant(self, api):
        """Wants a key on each of the person's phones."""
        made = api.call("/acs/credentials/create", **self.credential_asked())
        self.credential = made["acs_credential"]["acs_credential_id"]
        return self

    def invite(self, api):
        """One more phone may come."""
        api.call("/enrollment_automations/invitations/get_or_create", enrollment_automation_id=self.automation)
        return self

    def phones(self, api):
        found = api.call("/phones/list", owner_user_identity_id=self.identity)["phones"]
        return [phone["device_id"] for phone in found]


def create(daemon, count, *steps, first=0):
    """Persons for whom each step was done, in this order."""

    def whole(api, number):
        person = Person(number).create(api)
        for step in steps:
            step(person, api)
        return person

    return each(range(first, first + count), whole, daemon.api)


@contextlib.contextmanager
def redeeming(site, every=0.3):
    """Meanwhile whoever has a code redeems it; gives the list of the codes that were."""
    over, failures, redeemed = threading.Event(), [], []

    def redeem():
        control = site.control()
        try:
            while not over.is_set():
                for item in control.call("invitations"):
                    control.call("redeem", {"code": item["code"]})
                    redeemed.append(item["code"])
                over.wait(every)
        except Exception as error:  # Told when it is over.
            failures.append(error)

    thread = threading.Thread(target=redeem, daemon=True)
    thread.start()
    try:
        yield redeemed
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


def register(site, count, *steps, first=0, url=None):
    """Persons for whom the steps were done, one registered phone each; HID is left alone when it returns."""
    site.control().window(OPEN, 1)
    persons = []
    with Daemons(site, 1, url) as daemon, redeeming(site):
        # Not faster than the feed is heard: events that come late make a daemon careful, which costs calls later.
        for begin in range(first, first + count, 250):
            persons += create(daemon, min(250, first + count - begin), Person.launch, *steps, first=begin)
            wait("the phone is seen", lambda: persons[-1].phones(daemon.api()), 120)
        seen = lambda: all(each(persons, lambda api, person: person.phones(api), daemon.api))
        wait("all phones are seen", seen, 60, every=1)
        site.control().quiet(4)
    return persons


def events_of(ledger, name):
    """The ledger's effects of one kind, as (milliseconds, details)."""
    return [(entry["at"], entry["effect"][name]) for entry in ledger["effects"] if name in entry["effect"]]


def latencies(ledger):
    """Seconds from each phone's registration to the issue that HID accepted for it; phones without one are left out."""
    active = {what["container"]: at for at, what in events_of(ledger, "container_active")}
    issued = {}
    for at, what in events_of(ledger, "credential_accepted"):
        issued.setdefault(what["container"], at)
    return [(issued[container] - at) / 1000 for container, at in active.items() if container in issued]


def arrivals(count, span, interval):
    """Random moments within so many seconds, in order, and spread evenly over the phases of whatever happens once an
    interval: when a poll begins is chance, and no few hundred phones should be lucky or unlucky with it."""
    golden = (5**0.5 - 1) / 2
    slots = sorted(random.uniform(0, span) // interval for _ in range(count))
    return sorted((slot + golden * number % 1) * interval for number, slot in enumerate(slots))


def at_times(moments, act):
    """Lets `act(index)` happen at these seconds from now, which are in order."""
    begun = time.monotonic()
    for index, moment in enumerate(moments):
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        act(index)


def percentile(values, percent):
    """The nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


class Table:
    """Rows of: measure, what was found, the goal, what no program could do better than, and found / limit."""

    HEADER = "| measure | found | goal | limit | found / limit | met |\n| --- | --- | --- | --- | --- | --- |"

    def __init__(self):
        self.rows, self.is_met = [], True

    def add(self, measure, found, at_most=None, at_least=None, exactly=None, limit=None, unit=""):
        wishes = [("≤", at_most), ("≥", at_least), ("=", exactly)]
        sign, goal = next((wish for wish in wishes if wish[1] is not None), ("", None))
        met = {"≤": lambda: found <= goal, "≥": lambda: found >= goal, "=": lambda: found == goal}
        is_met = goal is None or met[sign]()
        self.is_met &= is_met
        show = lambda number: "–" if number is None else f"{number:,.4g}" if number % 1 else f"{number:,.0f}"
        ratio = show(found / limit) if limit else "–"
        told = "–" if goal is None else "yes" if is_met else "**no**"
        wished = "–" if goal is None else f"{sign} {show(goal)}"
        unit = unit and f" {unit}"
        self.rows.append(f"| {measure} | {show(found)}{unit} | {wished} | {show(limit)} | {ratio} | {told} |")

    def end(self):
        """Prints and leaves."""
        load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
        say(f"{len(os.sched_getaffinity(0))} cores, whose load was {load} in the last 1, 5 and 15 minutes")
        print(self.HEADER, *self.rows, sep="\n", flush=True)
        if "BENCH_RESULTS" in os.environ:
            with open(os.environ["BENCH_RESULTS"], "a") as results:
                results.writelines(row + "\n" for row in self.rows)
        sys.exit(0 if self.is_met else MISSED)


def options(description, **defaults):
    """The command line: `--name VALUE` for each default; a pair of defaults is (in full, with --quick)."""
    parser = argparse.ArgumentParser(prog=sys.argv[0].removesuffix(".py"), description=description)
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="small counts, to see that the bench still works")
    small = "--quick" in sys.argv
    for name, value in defaults.items():
        value = value[small] if isinstance(value, tuple) else value
        kind = type(value) if value is not None else str
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value, help="default: %(default)s")
    # So that everything begun here is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    random.seed(1)
    return parser.parse_args()


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
