"""Every number that the README and docs/interface.md state is the one that the code has."""

import re
from pathlib import Path

from django.conf import settings

from consent.actions import failing
from marketplace.vendors import actions, running
from portal.accounts import choosing
from portal.accounts.actions import notifying
from portal.celery import EVERY
from portal.demo import vendors
from portal.demo.management.commands import run
from portal.foundation import lists, once
from portal.foundation.limits import breaker, rates, slots
from tests.load import audit
from tests.portal import test_ledger_volume

BASE = Path(settings.BASE_DIR)
README = (BASE / "README.md").read_text() + (BASE / "docs/interface.md").read_text()
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
SPANS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
UNIT = (
    r"(?:MB|KB|bytes|characters|fields|seconds?|minutes?|hours?|days?|weeks?|months?|years?|times|tries|calls|threads)"
)
NUMBER = rf"(?:\d[\d,]*(?:\.\d+)?|{'|'.join(WORDS[1:])})"

DAYS = settings.CONSENT_LIFETIME.days
MINUTES = settings.ACCESS_TOKEN_LIFETIME.total_seconds() / 60
PORT = int(re.search(r'"PORT", default=(\d+)', (BASE / "portal/settings.py").read_text())[1])
PYTHON = float(re.search(r'requires-python = ">=([\d.]+)', (BASE / "pyproject.toml").read_text())[1])
PORTS = [offset for _name, _level, offset in vendors.VENDORS.values()]
TRIES = 1 + len(actions.REVOKE_RETRIES)
SWEEPS = [minutes for task, minutes in EVERY.items() if "sweep" in task]
SMALL, FIELDS = settings.DATA_UPLOAD_MAX_MEMORY_SIZE, settings.DATA_UPLOAD_MAX_NUMBER_FIELDS

# What the README may state, and what the code has. Statements that it no longer makes are unused.
STATED = {
    rf"With Python ({NUMBER}) and make": [PYTHON],
    rf"after ({NUMBER}) days\b": [DAYS],
    r"the old one out (a year later)": [{"a year later": 365}, DAYS],
    rf"reached its ({NUMBER}) minutes": [MINUTES],
    r"(a day) after its end": [{"a day": 1}, settings.ERASE_AFTER.days],
    rf"counted by the hour, kept for ({NUMBER}) days": [failing.KEPT.days],
    rf"({NUMBER}) tries within ({NUMBER}) days": [TRIES, -(-sum(actions.REVOKE_RETRIES) // 86400)],
    rf"more than ({NUMBER}) calls a minute of this app": [rates.RATES["requests by app and account"][0]],
    rf"sent more than ({NUMBER}) MB, or took more than ({NUMBER}) seconds": [
        running.MAX_BODY / 2**20,
        running.SECONDS,
    ],
    r"`rate_limits_off` \(an error\) (once a minute)": [{"once a minute": 60}, breaker.ALARM_SECONDS],
    rf"at most ({NUMBER}) MB": [SMALL / 2**20],
    rf"with more than ({NUMBER}) accounts chooses one": [choosing.MOST],
    rf"filters look at the newest ({NUMBER})\s+rows": [lists.SEARCHED],
    rf"\(({NUMBER}) MB with a file": [settings.MAX_BODY / 2**20],
    rf"({NUMBER})\s+fields": [FIELDS],
    rf"an address of ({NUMBER}) KB": [settings.MAX_ADDRESS / 2**10],
    rf"`PORT` \+ ({NUMBER}) and \+ ({NUMBER})": PORTS,
    rf"the port of `make run`, ({NUMBER}) unless set": [PORT],
    r"where the worker appends, (hourly)": [{"hourly": 60}, EVERY["portal.ledger.tasks.checkpoint"]],
    rf"more than ({NUMBER}) times within (a minute)": [{"a minute": 60}, run.MOST_ENDS, run.ENDS_WITHIN],
    rf"every ({NUMBER}) to ({NUMBER}) minutes": [min(SWEEPS), max(SWEEPS)],
    r"waits for Redis about (half a second)": [{"half a second": 0.5}, settings.REDIS_OPTIONS["socket_timeout"]],
    rf"leaves Redis alone for ({NUMBER})\b": [breaker.REST_SECONDS],
    rf"neither takes nor refuses them, after ({NUMBER}) seconds": [
        settings.DATABASES["default"]["OPTIONS"]["connect_timeout"]
    ],
    rf"within ({NUMBER}) seconds shows what the first did": [once.SHOWN_AGAIN_FOR.total_seconds()],
    rf"reviewers at most ({NUMBER}) (a day) about one team": [{"a day": 1}, notifying.MAX_TO_REVIEWERS, 1],
    rf"the median of ({NUMBER}) runs is below ({NUMBER})": [audit.RUNS, audit.LEAST_SCORE],
    rf"takes more than ({NUMBER}) bytes": [audit.MOST_BYTES],
    r"a (million) ledger entries": [{"million": 1_000_000}, test_ledger_volume.SIZES[-1].values[0]],
}

# Of each row: the rates that its last column states, in this order.
LIMITS = {
    "token, revoke": ["token by client", "token by address"],
    "token, revoke: failed authentication": ["token failed by address and client", "token failed by address"],
    "introspect: failed authentication": ["introspection failed by address"],
    "authorize": ["authorize by address and client", "authorize by address"],
    "request templates": ["requests by app and account"],
    "invitations: sent": ["invitations by person", "invitations by organisation and mail address"],
    "invitations: links opened": ["invitations opened by address"],
    "app packages checked, on pages and by the API": ["packages checked by team"],
    "versions made, submitted or tried; published or withdrawn": ["versions by team", "publications by team"],
    "sign-in": ["sign-in by address"],
    "sign-in: failed": ["sign-in failed by address and person", "sign-in failed by address"],
}

# Digits that count nothing: standards, status codes, versions, places in the code and in lists.
INERT = [
    r"RFC \d+(?:,? sections? [\d.]+(?: and [\d.]+)*| [\d.]+)?",
    rf"\b[1-5]\d\d\b(?! {UNIT})",
    r"(?:Python|PostgreSQL|OAuth|OpenAPI|SARIF|Valkey|Redis) \d[\d.]*",
    r"\b\d\.x\b",
    r"Ed25519|SHA-256|S256|HMAC-SHA256|UTF-8",
    r"port 443|localhost:25",
    r"at\s+1\.0, and 1\.1 waits",
    r"PORT=\d+ chooses",
    r"[Ee]xits 0: \w+, 1: [\w ]+(?:, 2: [\w ]+)?",
    # Rules.
    r"\((?:[CTME]\d+(?:, )?)+\)",
    r"Unset: 1 with|otherwise 0",
    r"^\| \d+ \|",
    r"^ *\d+\. ",
]


def value(text):
    return float(text.replace(",", "")) if text[0].isdigit() else WORDS.index(text.lower())


def prose():
    """Return the README without code: of code blocks only the comments remain."""
    lines = [re.sub(r"^    .*?(?=#|$)", "", line) for line in README.splitlines()]
    return "\n".join(lines)


def as_wrapped(pattern):
    """Return a pattern for a text in which any space may be a line break."""
    return pattern.replace(" ", r"\s+")


def stated():
    """Yield each statement of STATED that the README makes, as (match, what it says, what the code has)."""
    for pattern, has in STATED.items():
        for match in re.finditer(as_wrapped(pattern), prose()):
            words, code = (has[0], has[1:]) if isinstance(has[0], dict) else ({}, has)
            says = [" ".join(text.split()) for text in match.groups()]
            yield match, [words[text] if text in words else value(text) for text in says], code


def rows():
    """The rows of the table of limits: {what: [(how many, in how many seconds)]}."""
    table = README[README.index("| what | by | at most |") :].partition("\n\n")[0]
    found = {}
    for line in table.splitlines()[2:]:
        what, _by, most = (cell.strip() for cell in line.strip("|").split("|"))
        found[what] = []
        for each in most.split(";"):
            number, span = re.fullmatch(rf"({NUMBER}) (?:an? |in )(.*)", each.strip()).groups()
            many, unit = span.split() if " " in span else ("1", span)
            found[what].append((int(value(number)), int(value(many)) * SPANS[unit.rstrip("s")]))
    return found


def test_each_number_that_the_readme_states_is_the_one_that_the_code_has():
    assert not [(match[0], says, has) for match, says, has in stated() if says != has]


def test_the_table_of_limits_has_every_limit_and_is_what_the_code_counts():
    assert rows() == {what: [rates.RATES[name] for name in names] for what, names in LIMITS.items()}
    assert {name for names in LIMITS.values() for name in names} == rates.RATES.keys()


def test_the_readme_states_no_number_that_no_test_holds():
    text = prose()
    text = text.replace(text[text.index("| what | by | at most |") :].partition("\n\n")[0], "")
    for pattern in STATED:
        text = re.sub(as_wrapped(pattern), "…", text)
    text = re.sub(r"`[^`]*`", "…", text)
    for pattern in INERT:
        text = re.sub(pattern, "…", text, flags=re.M)
    left = re.findall(rf".{{0,40}}(?:\d|\b{NUMBER} {UNIT}\b).{{0,40}}", text, re.I)
    assert not left, "add it to STATED with what the code has, or do not state it"


def test_the_servers_threads_of_the_readme_leave_some_for_those_who_do_not_call_vendors():
    (threads,) = re.findall(r"--blocking-threads (\d+)", README)
    assert slots.waiting_for_vendors._most < int(threads)
