"""What the database itself refuses. Only these tests write rows by hand."""

import uuid

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction
from django.db.models.functions import Now

from consent.models import Access, Consent, Failure, RefreshToken
from credentials import actions as credentials
from credentials.models import ClientScope, ClientSecret, Endpoint, Level, Product, Scope
from marketplace.models import Connection, Installation, Offer, Picture, VendorSecret
from portal.accounts.actions import inviting
from portal.accounts.models import Invitation, Membership, Notice, SuspensionNotice, Team, TeamMembership
from portal.demo.sandbox.models import Ticket
from portal.foundation.models import OutgoingMail
from portal.ledger import preparing
from portal.ledger.filters import Filters
from portal.ledger.keys import signer
from portal.ledger.models import Entry, ExportPiece, KeyPeriod
from tests import factories
from tests.factories import EDIT, VIEW
from tests.worlds import shared

OURS = ("accounts", "ledger", "credentials", "consent", "marketplace", "sandbox")


def copy(row, **changes):
    """Insert a copy of a row under a new key."""
    key = row._meta.pk
    row.pk = uuid.uuid4() if isinstance(key, models.UUIDField) else None
    row._state.adding = True
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(force_insert=True)


def offer(it, kind="ask"):
    step = {"from_version": it.version, "version": it.version}
    return Offer.objects.create(installation=it.installation, kind=kind, **step)


def change(row, **changes):
    type(row).objects.filter(pk=row.pk).update(**changes)


# The rows that each constraint must refuse: from the cast's `everything`.
REFUSED = {
    "one_live_membership_per_user_and_account": lambda it: copy(it.cast.admin.memberships.get()),
    "membership_role_is_known": lambda it: change(it.cast.admin.memberships.get(), role="owner"),
    "one_live_team_membership_per_user_and_team": lambda it: copy(it.cast.dev.team_memberships.get()),
    "team_membership_role_is_known": lambda it: change(it.cast.dev.team_memberships.get(), role="admin"),
    "one_open_invitation_per_place_and_address": lambda it: copy(it.invitation),
    "invitation_is_to_one_place_in_a_role_of_it": lambda it: Invitation.objects.create(
        account=it.cast.acme,
        team=factories.team_of(it.cast.dev),
        role="admin",
        invited_by=it.cast.admin,
        expires_at=Now(),
    ),
    "notice_kind_is_known": lambda it: Notice.objects.create(
        team=it.version.app.team, to_reviewers=False, kind="else", name="Insights 1.0", path="/"
    ),
    "suspension_notice_kind_is_known": lambda it: SuspensionNotice.objects.create(
        kind="approved", subject="client:x", name="Insights"
    ),
    "mail_kind_is_known": lambda it: OutgoingMail.objects.create(kind="else", content={}),
    "sent_mail_keeps_no_content": lambda it: OutgoingMail.objects.create(kind="ends", content={}, sent_at=Now()),
    "one_entry_per_chain_and_sequence": lambda it: copy(Entry.objects.first()),
    "one_piece_per_export_and_number": lambda it: [
        ExportPiece.objects.create(export=it.export, number=0, content=b"") for _twice in range(2)
    ],
    "one_key_signs_at_a_time": lambda it: [KeyPeriod.objects.create(key=key) for key in ("one", "another")],
    "scope_risk_is_known": lambda it: change(Scope.objects.first(), risk="none"),
    "one_product_per_base_address": lambda it: [
        Product.objects.create(slug=slug, name=slug, base_address="https://api.example") for slug in ("one", "another")
    ],
    "one_team_per_look": lambda it: Team.objects.update(look="acorn"),
    "one_endpoint_per_method_and_path": lambda it: copy(Endpoint.objects.first()),
    "client_kind_is_known": lambda it: copy(it.client, client_id="another", kind="plain"),
    "client_level_is_known": lambda it: copy(it.client, client_id="another", level="team"),
    "one_secret_without_expiry_per_client": lambda it: copy(it.client.secrets.get(), hash="another"),
    "one_set_of_test_credentials_per_team": lambda it: [
        copy(it.client, client_id=name, is_for_trying=True) for name in ("one", "another")
    ],
    "secret_for_trying_expires": lambda it: copy(it.client.secrets.get(), hash="another", is_for_trying=True),
    "one_row_per_client_and_scope": lambda it: copy(it.client.scopes.first()),
    "one_live_access_per_client_and_account": lambda it: copy(it.access, installation_id=None),
    "access_reason_is_known": lambda it: change(it.access, reason="it was time"),
    "consent_reason_is_known": lambda it: change(it.consent, reason="it was time"),
    "family_reason_is_known": lambda it: RefreshToken.objects.create(
        consent=it.consent, scope=VIEW, salt=b"salt", reason="it was time"
    ),
    "one_live_consent_per_access_and_membership": lambda it: copy(it.consent),
    "one_failure_per_hour_and_cause": lambda it: [
        Failure.objects.create(client=it.client, hour=it.client.created, last_at=it.client.created, times=1)
        for _twice in range(2)
    ],
    "a_blank_picture_was_taken_down": lambda it: Picture.objects.create(id="1" * 64),
    "version_category_is_known": lambda it: copy(it.version, number="2.0", category="games"),
    "one_version_per_app_and_number": lambda it: copy(it.version),
    "version_status_is_known": lambda it: copy(it.version, number="2.0", status="retired"),
    "version_beyond_draft_has_an_audience": lambda it: copy(it.version, number="2.0", audience=""),
    "one_vendor_secret_per_app_and_integration": lambda it: [
        VendorSecret.objects.create(
            app=it.version.app, integration="octo", secret="s", saved_at=Now(), saved_by=it.cast.dev
        )
        for _twice in range(2)
    ],
    "one_offer_per_installation_and_step": lambda it: [offer(it) for _twice in range(2)],
    "offer_kind_is_known": lambda it: offer(it, kind="else"),
    "one_live_connection_per_installation_integration_and_membership": lambda it: [
        Connection.objects.create(installation=it.installation, integration="octo") for _twice in range(2)
    ],
    "an_erased_connection_has_no_tokens": lambda it: Connection.objects.create(
        installation=it.installation, integration="octo", tokens={"access_token": "t"}, erased_at=Now()
    ),
    "one_live_installation_per_account_and_app": lambda it: copy(it.installation, access=it.another_access),
    "ticket_status_is_known": lambda it: Ticket.objects.create(account=it.cast.acme, subject="x", status=9),
    "ticket_priority_is_known": lambda it: Ticket.objects.create(account=it.cast.acme, subject="x", priority=9),
}


@shared
def everything(cast, installed):
    installed.cast = cast
    installed.access = installed.installation.access
    installed.consent = factories.agree(installed.client, cast.acme, cast.admin)
    installed.export = preparing.ask(Filters(cast.admin), "csv")
    installed.invitation = inviting.invite(cast.acme, email="nia@example.com", role="agent", by=cast.admin)
    other = factories.client(cast.dev)[0]
    installed.another_access = Access.objects.create(client=other, account=cast.acme, opened_by=cast.admin)
    return installed


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_the_database_refuses_a_row_against(name, everything):
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        REFUSED[name](everything)


def test_every_named_constraint_is_tried_here():
    named = {
        constraint.name
        for label in OURS
        for model in apps.get_app_config(label).get_models()
        for constraint in model._meta.constraints
    }
    assert named == set(REFUSED)


def test_a_second_live_consent_of_one_agent_is_refused_as_well(cast, installed_agent):
    """M6, at agent level, where the consent names a membership."""
    consent = factories.agree(installed_agent.client, cast.acme, cast.agent)
    with pytest.raises(IntegrityError, match="one_live_consent"), transaction.atomic():
        copy(consent)


def _integrations(*ones):
    return {"config/oauth_config.json": {"integrations": {f"number{n}": one for n, one in enumerate(ones)}}}


NESTING = {
    "a consent beyond its terms": (lambda it: change(it.consent, granted=[VIEW, EDIT, "other"]), "beyond its terms"),
    "a consent that names a member at account level": (
        lambda it: copy(it.consent, membership=it.cast.agent.memberships.get()),
        "at agent level, and only there",
    ),
    "a family beyond its consent": (
        lambda it: RefreshToken.objects.create(consent=it.consent, scope=f"{VIEW} {EDIT}", salt=b"salt"),
        "beyond its consent",
    ),
    "a version beyond its client": (
        lambda it: copy(it.version, number="2.0", required_scopes=["freshservice.tickets.delete"]),
        "beyond its client",
    ),
    "a scope both required and optional": (
        lambda it: copy(it.version, number="2.0", required_scopes=[VIEW], optional_scopes=[VIEW]),
        "required or optional",
    ),
    "a fourth integration": (
        lambda it: copy(it.version, number="2.0", status="draft", package=_integrations(*[{}] * 4)),
        "at_most_three_integrations",
    ),
    "a second agent-level integration": (
        lambda it: copy(
            it.version, number="2.0", status="draft", package=_integrations(*[{"token_type": "agent"}] * 2)
        ),
        "at_most_one_agent_level",
    ),
    "a second first-party integration": (
        lambda it: copy(
            it.version,
            number="2.0",
            status="draft",
            package=_integrations(*[{"client_id": it.client.client_id}] * 2),
        ),
        "one first-party integration",
    ),
    "an integration with another app's credentials": (
        lambda it: copy(
            it.version,
            number="2.0",
            status="draft",
            package=_integrations({"client_id": it.another_access.client.client_id}),
        ),
        "credentials of its app",
    ),
    "an app with another team's client": (
        lambda it: copy(it.version.app, slug="stolen", client=factories.client(it.cast.other_dev)[0]),
        "its own team",
    ),
}


@pytest.mark.parametrize("what", sorted(NESTING))
def test_the_database_refuses(what, everything):
    """T1, C4, M1."""
    write, why = NESTING[what]
    with pytest.raises(IntegrityError, match=why), transaction.atomic():
        write(everything)


def test_an_agents_consent_is_of_a_member_of_its_account(cast, installed_agent):
    access = installed_agent.installation.access
    for membership in (None, cast.globex_agent.memberships.get()):
        with pytest.raises(IntegrityError, match="member"), transaction.atomic():
            Consent.objects.create(
                access=access, membership=membership, granted=[VIEW], granted_at=Now(), granted_by=cast.agent,
                expires_at=Now(),
            )  # fmt: skip


def test_a_third_active_secret_is_refused(everything):
    """C3."""
    secret = everything.client.secrets.get()
    expires = secret.created_at.replace(year=secret.created_at.year + 1)
    copy(everything.client.secrets.get(), hash="second", expires_at=expires)
    with pytest.raises(IntegrityError, match="at most two active"), transaction.atomic():
        copy(everything.client.secrets.get(hash="second"), hash="third")


def test_a_deprecated_scope_is_refused_to_a_client(everything):
    """C6."""
    scope = Scope.objects.get(name="freshservice.tickets.delete")
    change(scope, deprecated_at=Now())
    with pytest.raises(IntegrityError, match="deprecated"), transaction.atomic():
        ClientScope.objects.create(client=everything.client, scope=scope, added_by=everything.cast.dev)


def test_what_has_ended_never_lives_again(everything):
    """T4, at the database."""
    rows = [
        (everything.cast.admin.memberships.get(), "ended_at"),
        (everything.cast.dev.team_memberships.get(), "ended_at"),
        (everything.invitation, "revoked_at"),
        (everything.installation, "uninstalled_at"),
        (everything.consent, "revoked_at"),
        (RefreshToken.objects.create(consent=everything.consent, scope=VIEW, salt=b"salt"), "ended_at"),
        (everything.access, "ended_at"),
        (Connection.objects.create(installation=everything.installation, integration="octo"), "ended_at"),
    ]
    assert {type(row) for row, _ in rows} == {
        Membership, TeamMembership, Invitation, Installation, Consent, RefreshToken, Access, Connection,
    }  # fmt: skip
    for row, ended in rows:
        change(row, **{ended: Now()})
        with pytest.raises(IntegrityError, match="once set"), transaction.atomic():
            change(row, **{ended: None})


def test_what_was_agreed_to_never_changes(everything, cast):
    """C4, and what tokens hang on."""
    fixed = [
        (everything.client, {"name": "Another"}),
        (everything.client, {"kind": "external"}),
        (everything.client, {"level": Level.AGENT}),
        (everything.client, {"client_id": "another"}),
        (everything.access, {"account": cast.globex}),
        (everything.consent, {"access": everything.another_access}),
        (everything.installation, {"account": cast.globex}),
        (everything.installation, {"access": everything.another_access}),
        (everything.version, {"tagline": "Another"}),
        (everything.version, {"package": {"manifest.json": {}}}),
        (everything.version.app, {"slug": "another"}),
        (everything.version.app, {"client": everything.another_access.client}),
        (cast.acme, {"slug": "another"}),
        (ClientSecret.objects.first(), {"hash": "another"}),
    ]
    for row, changes in fixed:
        with pytest.raises(IntegrityError, match=r"never changes|is frozen"), transaction.atomic():
            change(row, **changes)


# Every row of these stays for ever.
NEVER_REMOVED = [
    "accounts_account", "accounts_membership", "accounts_invitation", "accounts_team", "accounts_teammembership", "accounts_user",
    "credentials_product", "credentials_productsecret", "credentials_client", "credentials_clientscope", "credentials_clientsecret",
    "credentials_scope", "consent_access", "consent_consent", "consent_refreshtoken", "consent_showntext", "ledger_chain", "ledger_entry", "ledger_keyperiod",
    "marketplace_app", "marketplace_version", "marketplace_installation", "marketplace_review",
    "marketplace_connection", "marketplace_offer",
]  # fmt: skip
NEVER_UPDATED = [
    "consent_showntext", "credentials_clientscope", "ledger_entry", "marketplace_review",
]  # fmt: skip
NEVER_CHANGES = {
    "accounts_account": "slug test_of_team_id",
    "accounts_membership": "user_id account_id",
    "accounts_invitation": "account_id team_id role created_at",
    "accounts_team": "public_id",
    "accounts_teammembership": "user_id team_id",
    "accounts_user": "public_id",
    "credentials_client": "id client_id name kind level team_id user_id created",
    "credentials_clientsecret": "client_id hash prefix created_at",
    "credentials_productsecret": "product_id hash prefix created_at",
    "credentials_scope": "name product_id",
    "consent_access": "client_id account_id installation_id opened_at",
    "consent_consent": "access_id membership_id",
    "consent_refreshtoken": "consent_id salt created_at",
    "consent_authorizationcode": "consent_id code redirect_uri code_challenge",
    "consent_accesstoken": "consent_id token_checksum created",
    "ledger_chain": "name",
    "ledger_keyperiod": "id key from_at",
    "marketplace_app": "slug team_id",
    "marketplace_installation": "account_id app_id",
    "marketplace_connection": "installation_id integration membership_id",
    "marketplace_offer": "installation_id from_version_id version_id offered_at",
}
# A value of each type that no row has.
ANOTHER = {
    "character varying": "'another'",
    "text": "'another'",
    "bigint": "2000000000",
    "uuid": "gen_random_uuid()",
    "bytea": r"'\x00'",
    "timestamp with time zone": "'2001-01-01'",
}
ROLES = ("origin", "replica")


def the_guard_refuses(sql, why, role):
    """Also where session_replication_role switches ordinary triggers off, and whatever else would refuse it too."""
    with transaction.atomic(), connection.cursor() as cursor:
        # What the rows still have to be checked for, so that no refusal of theirs is taken for the guard's.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"SET LOCAL session_replication_role = {role}")
        with pytest.raises(IntegrityError, match=why), transaction.atomic():
            cursor.execute(sql)
        cursor.execute("SET LOCAL session_replication_role = origin; SET CONSTRAINTS ALL DEFERRED")


@shared
def a_row_of_each(everything, browse):
    everything.tokens_for(browse(everything.cast.admin))
    Connection.objects.create(installation=everything.installation, integration="octo")
    offer(everything)
    Picture.objects.create(id="0" * 64, webp=b"webp")
    signer()
    credentials.make_product_secret(factories.product(), by=None)


def test_no_row_is_removed_or_changed_where_its_guard_says_so(a_row_of_each):
    """C1, C2, C3, E2, T3, T4: each guard by itself, by the words in which it refuses."""
    for role in ROLES:
        for table in NEVER_REMOVED:
            the_guard_refuses(f"DELETE FROM {table}", f"^DELETE of {table} is refused", role)
            the_guard_refuses(f"TRUNCATE {table} CASCADE", f"^TRUNCATE of {table} is refused", role)
        for table in NEVER_UPDATED:
            # Nothing is written but the same again.
            the_guard_refuses(f"UPDATE {table} SET id = id", f"^UPDATE of {table} is refused", role)


def test_no_column_changes_where_its_guard_says_so(a_row_of_each):
    """C1, C3, C4, and what tokens hang on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        )
        types = {(table, column): kind for table, column, kind in cursor.fetchall()}
    for role in ROLES:
        for table, columns in NEVER_CHANGES.items():
            for column in columns.split():
                value = ANOTHER[types[table, column]]
                the_guard_refuses(f"UPDATE {table} SET {column} = {value}", f"^{column} of {table} never changes", role)


def test_every_guard_of_rows_and_columns_is_tried_here(db):
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT tgname, tgargs FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
            WHERE proname IN ('portal_refuse', 'portal_never_changes') AND tgname NOT LIKE %s
            """,
            # tests/test_guards.py tries these.
            ["%key_never_changes"],
        )
        guards = {name: bytes(columns).decode().replace("\0", " ").strip() for name, columns in cursor.fetchall()}
    tried = {f"{table}_never_{what}": "" for table in NEVER_REMOVED for what in ("deleted", "truncated")}
    tried |= {f"{table}_never_updated": "" for table in NEVER_UPDATED}
    # tests/marketplace/test_screenshots.py
    tried |= {"marketplace_picture_never_truncated": ""}
    assert guards == tried | {f"{table}_never_changes": columns for table, columns in NEVER_CHANGES.items()}


def test_no_session_setting_turns_a_guard_off(db):
    """Every trigger of our tables is ENABLE ALWAYS, so that session_replication_role is no way round it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal")
        guards = dict(cursor.fetchall())
    assert len(guards) >= 40
    assert set(guards.values()) == {"A"}
