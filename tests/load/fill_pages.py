"""Fill a database with what the pages list: `rows` of each, all of one account, team and reviewer's queue.

One person administers that account; another administers it too, and a hundredth of `rows` further accounts.
"""

import sys

import django

django.setup()

from django.db import connection, transaction  # noqa: E402

from consent.actions import failing  # noqa: E402
from consent.models import Failure, Where, Why  # noqa: E402
from credentials.models import Kind, Level  # noqa: E402
from marketplace.actions import installing, publishing  # noqa: E402
from marketplace.choices import Category  # noqa: E402
from portal.ledger.models import Chain  # noqa: E402
from tests import factories  # noqa: E402
from tests.backend.base import unguarded  # noqa: E402
from tests.volume import Copies, multiply, relist  # noqa: E402

# An app in ten copies of its first version; an account with ninety apps.
VERSIONS, APPS = 10, 90
_NOUNS = (
    "insights", "sync", "bridge", "backup", "deploy", "alerts", "calendar", "tickets", "forms", "survey", "badge", "shield",
    "radar", "notes", "board",
)  # fmt: skip
_MAKERS = (
    "acorn", "birch", "cedar", "drift", "ember", "fjord", "grove", "heath", "inlet", "jetty", "kelp", "linden", "maple",
    "north", "otter", "pebble",
)  # fmt: skip


def name(number):
    """SQL of an app's name, of words that a sixteenth, a fifteenth and one of all apps have."""
    makers, nouns = (f"{_array(words)}[mod({number}, {len(words)}) + 1]" for words in (_MAKERS, _NOUNS))
    return f"initcap({makers} || ' ' || {nouns}) || ' ' || ({number})"


def _array(words):
    return "(ARRAY[" + ", ".join(f"'{word}'" for word in words) + "])"


def _key(what, number="n"):
    return f"md5('{what} ' || ({number}))::uuid"


class World:
    """One of everything, made by actions."""

    def __init__(self):
        self.dev = factories.person("Dev")
        self.account = factories.account("acme")
        self.one, self.many = (factories.member(self.account, "admin", name) for name in ("One", "Many"))
        self.agent = factories.member(self.account, "agent", "Axel")
        self.reviewer = factories.reviewer()
        self.client, self.secret = factories.client(self.dev, name="Insights")
        self.version = factories.publish(factories.app(self.dev, self.client), self.dev, by=self.reviewer)
        self.installation = installing.install(self.version.app, self.account, by=self.one)
        self.consent = factories.agree(self.client, self.account, self.one)
        other, _secret = factories.client(self.dev, name="Waiting")
        self.waiting = publishing.submit_version(factories.app(self.dev, other), by=self.dev)
        outside, _secret = factories.client(self.dev, name="Outside", kind=Kind.EXTERNAL)
        self.outside = factories.agree(outside, self.account, self.one, requested={factories.VIEW}).access
        each, _secret = factories.client(self.dev, name="Pocket", kind=Kind.EXTERNAL, level=Level.AGENT)
        self.pocket = factories.agree(each, self.account, self.agent, requested={factories.VIEW})
        failing.note_failure(self.client.pk, where=Where.TOKEN, why=Why.SECRET, error="invalid_client")
        self.failure = Failure.objects.get()


def fill(world, rows):
    apps, accounts, agents = rows // VERSIONS, rows // 100, rows // 100
    number = Copies("pages").number
    _clients(world, rows, number)
    _marketplace(world, rows, apps, number)
    _accounts(world, accounts, number)
    _installations(world, rows, apps, number)
    _outside(world, rows, apps, agents, number)
    _ledger(world, rows, accounts)


def _multiply(row, count, /, **columns):
    multiply(row, count, analyze=False, **columns)


def _shifted(number, by):
    """SQL of the key of another copy: `by` is SQL of its n."""
    return number.removesuffix(" n") + f" ({by})"


def _clients(world, rows, number):
    kind = f"CASE WHEN n > {rows // 2} THEN 'external' ELSE 'platform' END"
    _multiply(
        world.client,
        rows,
        id=number,
        client_id="'pages-' || n",
        name=name("n"),
        kind=kind,
        created="created - n * interval '1 second'",
    )
    [held, *_more] = world.client.scopes.all()
    _multiply(held, rows, id=number, client_id=number)
    # The newest tenth were refused something within the hour.
    _multiply(world.failure, rows // VERSIONS, id=number, client_id=number)


def _marketplace(world, rows, apps, number):
    """Publish every fiftieth app for one account alone, the others for all; submit as many versions for review."""
    each = f"((n - 1) / {VERSIONS} + 1)"
    app, release, called = _shifted(number, each), f"mod(n - 1, {VERSIONS})", name(each)
    _multiply(
        world.version.app, apps, id=number, slug="'pages-' || n", client_id=number,
        created_at="created_at - n * interval '1 second'", custom_accounts=f"CASE WHEN mod(n, 50) = 0 THEN ARRAY['pages-' || (mod(n, {rows // 100}) + 1)] ELSE '{{}}' END",
    )  # fmt: skip
    times = {column: f"{column} - n * interval '1 second'" for column in ("created_at", "submitted_at")}
    _multiply(
        world.version, rows, id=number, app_id=app, number=f"'1.' || ({release})", name=called, category=_category(each),
        audience=f"CASE WHEN mod({each}, 50) = 0 THEN 'custom' ELSE 'public' END",
        published_at=f"published_at + ({release}) * interval '1 second'", **times,
    )  # fmt: skip
    waiting = Copies("waiting").number
    _multiply(world.waiting, rows, id=waiting, app_id=app, number=f"'2.' || ({release})", name=called, **times)
    relist()


def _category(number):
    return f"{_array(Category.values)}[mod({number}, {len(Category.values)}) + 1]"


def _accounts(world, accounts, number):
    _multiply(world.account, accounts, id=number, slug="'pages-' || n", name=name("n"))
    [member] = world.account.memberships.filter(user=world.many)
    _multiply(member, accounts, id=_key("many in"), account_id=number)


def _installations(world, rows, apps, number):
    """The account installs every app, and each of the others ninety of them."""
    access = world.installation.access
    for what, count, of_account, app in (
        ("own", apps, str(world.account.pk), "n"),
        (
            "theirs",
            rows - apps,
            _shifted(number, f"(n - 1) / {APPS} + 1"),
            f"mod(mod(n - 1, {APPS}) * 7919 + (n - 1) / {APPS} * 17, {apps}) + 1",
        ),
    ):
        app_key, opened, installed = _shifted(number, app), _key(f"access {what}"), _key(f"installation {what}")
        version = _shifted(number, f"(({app}) - 1) * {VERSIONS} + 1")
        at = "n * interval '1 second'"
        _multiply(
            access,
            count,
            id=opened,
            client_id=app_key,
            account_id=of_account,
            app_name=name(app),
            installation_id=installed,
            opened_at=f"opened_at - {at}",
        )
        _multiply(
            world.installation, count, id=installed, app_id=app_key, version_id=version, access_id=opened, account_id=of_account,
            installed_at=f"installed_at - {at}",
        )  # fmt: skip
        _multiply(world.consent, count, id=_key(f"consent {what}"), access_id=opened)


def _outside(world, rows, apps, agents, number):
    """A tenth of the account's rows are external apps, and eight tenths are agents' authorizations; one agent has a hundredth."""
    key, called = _shifted(number, f"n + {rows // 2}"), name("n")
    _multiply(world.outside, apps, id=_key("outside"), client_id=key)
    _multiply(world.outside.consents.get(), apps, id=_key("consent outside"), access_id=_key("outside"))
    people = Copies("agents").number
    _multiply(
        world.agent,
        agents,
        id=people,
        email="'agent' || n || '@pages.example.com'",
        public_id=_key("person"),
        name=called,
    )
    [member] = world.account.memberships.filter(user=world.agent)
    _multiply(member, agents, id=_key("member"), user_id=people)
    pocket = _shifted(number, f"n + {rows * 3 // 4}")
    mine = max(80, rows // 100)
    _multiply(world.pocket.access, mine, id=_key("pocket"), client_id=pocket)
    granted = "granted_at - n * interval '1 second'"
    _multiply(world.pocket, mine, id=_key("consent of one"), access_id=_key("pocket"), granted_at=granted)
    agent, opened = f"mod(n - 1, {agents}) + 1", f"(n - 1) / {agents} + 1"
    columns = {
        "access_id": _key("pocket", opened),
        "membership_id": _key("member", agent),
        "granted_by_id": _shifted(people, agent),
    }
    _multiply(world.pocket, 80 * agents, id=_key("consent pocket"), **columns)


def _ledger(world, rows, accounts):
    chain = Chain.objects.get(name=world.account.chain_name)
    entry = chain.entries.latest("sequence")
    at = "at - n * interval '1 second'"
    _multiply(entry, rows, id=_key("entry"), sequence="1000 + n", at=at)
    _multiply(chain, accounts, name="'account:pages-' || n")
    theirs = {"chain_id": "'account:pages-' || ((n - 1) / 10 + 1)", "sequence": "1000 + n"}
    _multiply(entry, accounts * 10, id=_key("their entry"), at=at, actor="'person:' || md5('x' || n)::uuid", **theirs)


def main(rows):
    world = World()
    with transaction.atomic(), connection.cursor() as cursor, unguarded(cursor, None):
        fill(world, rows)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    main(int(sys.argv[1]))
