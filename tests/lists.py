"""Thousands of everything that a person lists, multiplied from the one of each in tests/people/world.py."""

import contextlib
from functools import partial

from django.db import connection
from django.db.models.functions import Now

from consent.models import Failure
from marketplace.models import Connection, Offer
from portal.ledger.models import Chain, Entry
from tests import factories
from tests.backend.base import unguarded
from tests.people.world import MINE
from tests.volume import Copies, multiply, relist

# Everything is analyzed at the end.
_multiply = partial(multiply, analyze=False)


def prepare(world):
    """Make the rows that the world lacks, so that each table has one to multiply."""
    own = world.mine
    own.made = {}
    # Credentials with two active secrets cannot have another.
    world.ids[MINE][1]["credentials/<slug:client_id>/"] = {"client_id": own.grown.client.client_id}
    factories.invited(own.team, "mate@example.com", by=own.dev, role="member")
    Connection.objects.create(
        installation=own.planned,
        integration="boards",
        membership=own.account.memberships.get(user=own.agent),
        values={},
        tokens={"access_token": "t"},
        connected_at=Now(),
        connected_by=own.agent,
    )


def grow(world, count, batch, guarded=True):
    """Multiply everything that a person of `mine` may list `count` times, by set-based SQL.

    Without the guards, which passed the same rows before, this takes seconds instead of minutes.
    """
    own, copies = world.mine, Copies(batch)
    with connection.cursor() as cursor:
        with contextlib.nullcontext() if guarded else unguarded(cursor, None):
            for grown in (_organisations, _people, _clients, _versions, _records, _registry):
                grown(own, copies, count)
            if not guarded:
                relist()
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; ANALYZE")


def _made(own, rows):
    """Return the rows of a queryset from before anything was multiplied."""
    query = str(rows.query)
    if query not in own.made:
        own.made[query] = [*rows]
    return own.made[query]


def _organisations(own, copies, count):
    """Grow accounts of one admin and agent that use the same apps, and teams of one developer."""
    # By name they come after the one of which they are copies.
    number, slug, name = copies.number, f"'{copies.batch}-' || n", "'Zoo ' || n"
    _multiply(own.account, count, id=number, slug=slug, name=name)
    for user in (own.admin, own.agent):
        [member] = _made(own, own.account.memberships.filter(user=user))
        _multiply(member, count, id=copies.key(f"in {member.pk}"), account_id=number)

    def members(consent):
        return copies.key(f"in {consent.membership_id}")

    for installation in (own.installation, own.growing, own.unfinished, own.planned, own.agent_installation):
        _install(own, installation, copies.of(f"{installation.pk} in"), count, members, account_id=number)
    _multiply(own.team, count, id=number, public_id=copies.key("team"), name=name)
    [teammate] = _made(own, own.team.memberships.filter(user=own.dev))
    _multiply(teammate, count, id=number, team_id=number)
    test, member = f"{number} + 500000", copies.key("test member")
    _multiply(own.team.test_account, count, id=test, slug=f"'{copies.batch}-test-' || n", test_of_team_id=number)
    [tester] = _made(own, own.team.test_account.memberships.filter(user=own.dev))
    _multiply(tester, count, id=member, account_id=test)
    slugs = f"(SELECT array_agg('{copies.batch}-' || n) FROM generate_series(1, {count}) n)"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE marketplace_app SET custom_accounts = custom_accounts || {slugs} WHERE id = {own.custom.pk}"
        )


def _install(own, installation, copies, count, members=None, **columns):
    """Copies of an installation with its agreements and offers; `columns` say in which account, or of which client.

    `members` says as which member of that account an agent agreed.
    """
    access, opened, installed = installation.access, copies.key("access"), copies.key("installation")
    of_access = {name: columns[name] for name in ("account_id", "client_id", "app_name") if name in columns}
    of_row = {name: columns[name] for name in ("account_id", "app_id", "version_id") if name in columns}
    _multiply(access, count, id=opened, installation_id=installed, **of_access)
    _multiply(installation, count, id=installed, access_id=opened, **of_row)
    for consent in _made(own, access.consents.all()):
        member = {"membership_id": members(consent)} if members and consent.membership_id else {}
        _multiply(consent, count, id=copies.key(consent.pk), access_id=opened, **member)
    for offer in _made(own, Offer.objects.filter(installation=installation)):
        of_offer = {"from_version_id": columns["version_id"]} if "version_id" in columns else {}
        of_offer |= {"version_id": columns["next_id"]} if "next_id" in columns else {}
        _multiply(offer, count, id=copies.of(f"offer {offer.pk}").number, installation_id=installed, **of_offer)


def _people(own, copies, count):
    """Agents and teammates, each with agreements and connections of their own, and invitations."""
    number, member = copies.of("people").number, copies.key("member")
    email = f"'many' || n || '@{copies.batch}.example.com'"
    _multiply(own.agent, count, id=number, email=email, public_id=copies.key("person"))
    [agent] = _made(own, own.account.memberships.filter(user=own.agent))
    [teammate] = _made(own, own.team.memberships.filter(user=own.dev))
    _multiply(agent, count, id=member, user_id=number)
    _multiply(teammate, count, id=copies.of("mates").number, user_id=number)
    [pocket] = _made(own, own.pocket.consents.all())
    for consent in (own.agent_consent, pocket):
        _multiply(consent, count, id=copies.key(consent.pk), membership_id=member, granted_by_id=number)
    [boards] = _made(own, own.planned.connections.filter(integration="boards"))
    _multiply(boards, count, id=copies.key("boards"), membership_id=member, connected_by_id=number)
    for organisation in (own.account, own.team):
        [invitation] = _made(own, organisation.invitations.all())
        key = copies.key(f"{invitation.pk}")
        _multiply(
            invitation, count, id=key, email=f"'to-' || {email}", token_hash=f"md5('{copies.batch}{organisation}' || n)"
        )
    _multiply(agent, count, id=copies.key("ended"), ended_at="now()")


def _clients(own, copies, count):
    """OAuth credentials with and without an app, apps installed in the account, and agreements without an installation."""
    for row in (own.free, own.external, own.external_agent, own.left.access.client, own.gone.client):
        copy = copies.of(f"client {row.pk}")
        _client(own, row, copy, count)
        for access in _made(own, row.accesses.all()):
            opened = copy.key("access")
            _multiply(access, count, id=opened, client_id=copy.number, app_name="'Many ' || n")
            for consent in _made(own, access.consents.all()):
                _multiply(consent, count, id=copy.key(consent.pk), access_id=opened)
    for installation in (own.installation, own.growing, own.unfinished, own.planned, own.agent_installation):
        copy, app = copies.of(f"app {installation.pk}"), installation.app
        number, later = copy.number, copy.of("next").number
        _client(own, app.client, copy, count)
        _multiply(app, count, id=number, slug=f"'a-' || ({number})", client_id=number)
        package = f"replace(package::text, '{app.client.client_id}', 'many-' || ({number}))::jsonb"
        _multiply(installation.version, count, id=number, app_id=number, name="'Many ' || n", package=package)
        columns = {"client_id": number, "app_id": number, "version_id": number, "app_name": "'Many ' || n"}
        if installation == own.growing:
            _multiply(own.grown_next, count, id=later, app_id=number, name="'Many ' || n")
            columns["next_id"] = later
        _install(own, installation, copy, count, **columns)
    copy = copies.of("waiting")
    _client(own, own.waiting.client, copy, count)
    _multiply(own.waiting, count, id=copy.number, slug=f"'a-' || ({copy.number})", client_id=copy.number)
    _multiply(own.waiting_version, count, id=copy.number, app_id=copy.number)


def _client(own, row, copies, count):
    number = copies.number
    _multiply(row, count, id=number, client_id=f"'many-' || ({number})", name="'Many ' || n")
    for held in _made(own, row.scopes.all()):
        _multiply(held, count, id=copies.of(f"scope {held.pk}").number, client_id=number)


def _versions(own, copies, count):
    """Versions of one app in every state."""
    for version in (own.version, own.approved, own.in_review, own.taken_back, own.draft, own.packaged):
        copy = copies.of(f"version {version.pk}")
        _multiply(version, count, id=copy.number, number=f"'{version.pk}.{copies.batch}.' || n")


def _records(own, copies, count):
    """Grow what acts and calls leave behind: secrets, refusals, tokens, tickets and the ledger."""
    digest = f"md5('{copies.batch}' || n)"
    [secret] = _made(own, own.grown.client.secrets.all())
    _multiply(secret, count, id=copies.number, hash=digest, expires_at="now() - interval '1 day'")
    failure = _made(own, Failure.objects.filter(client=own.client))[0]
    _multiply(failure, count, id=copies.number, hour="hour - n * interval '1 minute'", parameter=f"'{copies.batch}'")
    _multiply(own.ticket, count, id=copies.number)
    for chain in (own.account.chain_name, own.team.chain_name, "portal"):
        _entries(own, Chain.objects.get(name=chain), copies, count)
    for name, start in ((own.account.chain_name, "account:"), (own.team.chain_name, "team:")):
        chain = Chain.objects.get(name=name)
        key = f"'{start}{copies.batch}-' || n" if start == "account:" else f"'team:' || {copies.key('team')}"
        _multiply(chain, count, name=key)


def _entries(own, chain, copies, count):
    """Grow the chain by `count` entries, of each kind and thing in it. Lists do not check hashes."""
    kinds = Entry.objects.filter(chain=chain).order_by("subject", "event", "sequence").distinct("subject", "event")
    entries = _made(own, kinds)
    for entry in entries:
        copy = copies.of(entry.pk)
        key, at = copy.key("entry"), "at - n * interval '1 second'"
        _multiply(entry, max(count // len(entries), 1), id=key, sequence=copy.number, at=at)


def _registry(own, copies, count):
    """Grow products with scopes and operations, a hundredth as many, since only staff add them."""
    product, number, few = factories.product(), copies.of("product").number, max(count // 100, 1)
    _multiply(product, few, id=number, slug=f"'p-{copies.batch}-' || n", base_address="''")
    scope, endpoint = _made(own, product.scopes.all())[0], _made(own, product.endpoints.all())[0]
    scopes, names = copies.of("scope").number, f"'more.{copies.batch}' || n"
    _multiply(scope, few, id=scopes, name=names, product_id=number)
    held = _made(own, own.grown.client.scopes.all())[0]
    _multiply(held, few, id=scopes, scope_id=scopes)
    _multiply(endpoint, few, id=scopes, path=f"'/{copies.batch}/' || n", product_id=number)
