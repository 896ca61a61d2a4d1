"""What has to hold after each step, read from the tables and asked of the portal, and compared with the model."""

import hashlib

import pytest
from django.db import connection, transaction

from consent import check
from consent.models import AccessToken, AuthorizationCode, RefreshToken
from consent.validity import (
    good_codes,
    good_families,
    good_tokens,
    live_consents,
    live_consents_of_accounts,
    why_code_ended,
    why_family_ended,
    why_token_ended,
    with_validity,
)
from portal.accounts.models import Invitation
from portal.ledger.actions import verify
from portal.ledger.models import Chain, Entry
from tests.factories import CREATE, DELETE, EDIT, VIEW
from tests.oauth import basic

# Whatever these find is against the rule that each names.
BROKEN = """
WITH issued AS (
    SELECT id::text, consent_id, scope FROM consent_authorizationcode WHERE used_at IS NULL
    UNION ALL SELECT id::text, consent_id, scope FROM consent_refreshtoken WHERE ended_at IS NULL
    UNION ALL SELECT id::text, consent_id, scope FROM consent_accesstoken WHERE revoked_at IS NULL
), held AS (
    SELECT client.id, client.kind, array_remove(array_agg(scope.name::text), NULL) AS scopes
    FROM credentials_client client
    LEFT JOIN credentials_clientscope row ON row.client_id = client.id
    LEFT JOIN credentials_scope scope ON scope.id = row.scope_id
    GROUP BY client.id
)
SELECT 'T1: no consent, or one that does not go as far', issued.id
FROM issued LEFT JOIN consent_consent consent ON consent.id = issued.consent_id
WHERE consent.id IS NULL OR NOT string_to_array(issued.scope, ' ') <@ consent.granted::text[]
UNION ALL
SELECT 'T1: an access token beyond its family', token.id::text
FROM consent_accesstoken token JOIN consent_refreshtoken family ON family.id = token.family_id
WHERE token.revoked_at IS NULL AND family.ended_at IS NULL
  AND NOT string_to_array(token.scope, ' ') <@ string_to_array(family.scope, ' ')
UNION ALL
SELECT 'T1: a consent beyond its terms or its client', consent.id::text
FROM consent_consent consent JOIN consent_access access ON access.id = consent.access_id
JOIN held ON held.id = access.client_id
WHERE NOT consent.granted::text[] <@ held.scopes
   OR (held.kind = 'platform' AND NOT consent.granted <@ (access.required_scopes || access.optional_scopes)
       -- What has ended tells what was agreed to, whatever later versions ask for.
       AND consent.revoked_at IS NULL)
UNION ALL
SELECT 'T1: a version or its terms beyond the client', access.id::text
FROM consent_access access JOIN held ON held.id = access.client_id
WHERE NOT (access.required_scopes || access.optional_scopes)::text[] <@ held.scopes
UNION ALL
SELECT 'M6: two live installations of an app in an account', min(id::text)
FROM marketplace_installation WHERE uninstalled_at IS NULL GROUP BY app_id, account_id HAVING count(*) > 1
UNION ALL
SELECT 'M6: two live accesses of a client in an account', min(id::text)
FROM consent_access WHERE ended_at IS NULL GROUP BY client_id, account_id HAVING count(*) > 1
UNION ALL
SELECT 'M6: two live consents of a member or an account', min(id::text)
FROM consent_consent WHERE revoked_at IS NULL GROUP BY access_id, membership_id HAVING count(*) > 1
UNION ALL
SELECT 'M6: an installation and its access do not end together', i.id::text
FROM marketplace_installation i JOIN consent_access access ON access.id = i.access_id
WHERE (i.uninstalled_at IS NULL) <> (access.ended_at IS NULL)
"""

# What there is, as sets to compare: clients and their scopes for ever (C1, C2), what lives (T4), and who may do what.
THERE_IS = """
SELECT 'client', client.client_id::text, scope.name::text, ''
FROM credentials_client client LEFT JOIN credentials_clientscope row ON row.client_id = client.id
LEFT JOIN credentials_scope scope ON scope.id = row.scope_id
UNION ALL SELECT 'version', id::text, status, '' FROM marketplace_version WHERE status <> 'snapshot'
UNION ALL SELECT 'member', id::text, role, '' FROM accounts_membership WHERE ended_at IS NULL
UNION ALL SELECT 'teammate', id::text, role, '' FROM accounts_teammembership WHERE ended_at IS NULL
UNION ALL SELECT 'invitation', id::text, role, email FROM accounts_invitation
WHERE accepted_at IS NULL AND revoked_at IS NULL
UNION ALL SELECT 'installation', id::text, version_id::text, '' FROM marketplace_installation WHERE uninstalled_at IS NULL
UNION ALL SELECT 'access', id::text, '', '' FROM consent_access WHERE ended_at IS NULL
UNION ALL SELECT 'consent', id::text, array_to_string(granted, ' '), array_to_string(left_off || ARRAY[';'] || trimmed, ' ')
FROM consent_consent WHERE revoked_at IS NULL
UNION ALL SELECT 'family', id::text, scope, generation::text FROM consent_refreshtoken WHERE ended_at IS NULL
UNION ALL SELECT 'code', code, scope, '' FROM consent_authorizationcode WHERE used_at IS NULL
UNION ALL SELECT 'token', token_checksum, scope, '' FROM consent_accesstoken WHERE revoked_at IS NULL
"""


def rows(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def hashed(value):
    return hashlib.sha256(value.encode()).hexdigest()


def words(scopes):
    return " ".join(sorted(scopes))


def expected(model):
    """What THERE_IS finds where the portal did as the model did."""
    for client in model.clients:
        yield from (("client", client.ref, scope, "") for scope in client.scopes)
    for version in model.versions:
        yield "version", str(version.pk), version.status, ""
    for member in model.members:
        if not member.ended:
            yield "member", str(member.pk), member.role, ""
    for mate in model.team.mates:
        if not mate.ended:
            yield "teammate", str(mate.pk), mate.role, ""
    for invitation in model.invitations:
        if not invitation.over:
            yield "invitation", invitation.ref, invitation.role, invitation.email
    for installation in model.installations:
        if not installation.ended:
            yield "installation", installation.ref, str(installation.version.pk), ""
    for access in model.accesses:
        if not access.ended:
            yield "access", access.ref, "", ""
    for consent in model.consents:
        if not consent.revoked:
            rest = " ".join([*sorted(consent.left_off), ";", *sorted(consent.trimmed)])
            yield "consent", consent.ref, words(consent.granted), rest
    for family in model.families:
        if not family.ended:
            yield "family", family.ref, words(family.scopes), str(len(family.tokens))
    for code in model.codes:
        if not code.used and not code.erased:
            yield "code", hashed(code.value), words(code.scopes), ""
    for token in model.tokens:
        if token.revoked_at is None and not token.erased:
            yield "token", hashed(token.value), words(token.scopes), ""


class Truth:
    """Compares a world's portal with its model."""

    def __init__(self, world, product_secret):
        self.world, self.model = world, world.model
        self.product = basic("freshservice", product_secret)
        self.told = len(self.model.story)
        self.since = Entry.objects.order_by("-at").first().at
        self.turn = 0

    def check(self):
        self.turn += 1
        self.model.now = self.world.now()
        with connection.cursor() as cursor:
            # What a commit would check.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        assert rows(BROKEN) == []
        there_is, should_be = rows(THERE_IS), list(expected(self.model))
        assert len(there_is) == len(set(there_is)) and set(there_is) == set(should_be)
        living = {consent.ref for consent in self.model.consents if consent.lives(self.model.now)}
        live = dict(live_consents().values_list("pk", "membership"))
        assert {str(pk) for pk in live} == living
        assert {*live_consents_of_accounts().values_list("pk", flat=True)} == {
            pk for pk, agent in live.items() if agent is None
        }
        assert {str(row.pk) for row in Invitation.objects.with_state() if not row.why_over()} == {
            each.ref for each in self.model.invitations if self.model.can_be_accepted(each)
        }
        self._ledger()
        self._all_tokens()
        if self.model.tokens:
            self._ask_with(self.model.tokens[-1 - self.turn % len(self.model.tokens)])
        self._probe()

    def check_at_length(self):
        """Ask with each token and family, where the steps asked with one."""
        self.model.now = self.world.now()
        for token in self.model.tokens:
            self._ask_with(token)
        for family in self.model.families:
            self._probe_family(family)
        for chain in Chain.objects.all():
            assert verify(chain) is None

    # --- the ledger ---

    def _ledger(self):
        """Chain by chain, what was recorded since the last step is what the model tells."""
        entries = list(Entry.objects.filter(at__gt=self.since).order_by("at").select_related("chain"))
        said, story = {}, {}
        for entry in entries:
            said.setdefault(entry.chain_id, []).append(entry)
        for event in self.model.story[self.told :]:
            story.setdefault(str(event.chain), []).append(event)
        for name in said.keys() | story.keys():
            found = [(e.event, e.actor, e.subject) for e in said.get(name, [])]
            assert found == [(e.event, str(e.actor), str(e.about)) for e in story.get(name, [])], name
            for entry, event in zip(said[name], story[name], strict=True):
                assert {key: entry.details[key] for key in event.details} == event.details, entry
        for chain in {entry.chain_id: entry.chain for entry in entries}.values():
            assert verify(chain) is None
        self.told = len(self.model.story)
        self.since = entries[-1].at if entries else self.since

    # --- tokens ---

    def _all_tokens(self):
        """Every token that should work does and none that should not."""
        found = {row.token_checksum: row for row in with_validity(AccessToken.objects.all())}
        # The statement that says yes, and the steps that say why not, never disagree.
        good = {*good_tokens().values_list("pk", flat=True)}
        for token in self.model.tokens:
            row, verdict = found.pop(hashed(token.value), None), token.verdict(self.model.now)
            if row is None or verdict == "unknown":
                assert row is None and verdict == "unknown", token
                continue
            assert (row.pk in good) == (verdict == "good"), (token, verdict)
            assert (row.expires <= row.now) == (verdict == "expired"), (token, verdict)
            if verdict != "expired":
                assert (why_token_ended(row, row.now) is None) == (verdict == "good"), (token, verdict)
        assert not found, "a token that nobody was given"
        self._agree_on(RefreshToken, good_families, why_family_ended)
        self._agree_on(AuthorizationCode, good_codes, why_code_ended)

    def _agree_on(self, model, good, why_ended):
        """The statements of the fast lane, and the steps that say why not, never disagree."""
        found = {*good().values_list("pk", flat=True)}
        assert found == {row.pk for row in with_validity(model.objects.all()) if not why_ended(row, row.now)}

    def _ask_with(self, token):
        """What a product is told of a token: by the check, and by introspection."""
        self.model.now = self.world.now()
        verdict, value = token.verdict(self.model.now), token.value
        seen = self._introspect(value)
        assert seen["active"] == (verdict == "good"), (token, verdict)
        if verdict == "good":
            assert (seen["scope"], seen["account"]) == (words(token.scopes), token.consent.account.ref)
            assert seen["client_id"] == token.consent.client.ref
            assert seen.get("agent") == (token.consent.member and str(token.consent.member.pk))
            for scope in (VIEW, EDIT, CREATE, DELETE):
                self._check_scope(token, scope)
            return
        with pytest.raises(check.Refusal) as refusal:
            check.read(value)
        text, url = refusal.value.description, refusal.value.reauthorize_url
        assert ("unknown" in text) == (verdict == "unknown") and ("has expired" in text) == (verdict == "expired"), text
        ended = verdict in ("ended", "expired")
        assert bool(url) == (ended and token.could_be_agreed_again(self.model.now)), (token, text)

    def _introspect(self, value):
        form = "application/x-www-form-urlencoded"
        return self.world.http.post("/oauth/introspect", f"token={value}", content_type=form, **self.product).json()

    def _check_scope(self, token, scope):
        if scope in token.scopes:
            assert check.check(token.value, [scope]).account == token.consent.account.ref
            return
        with pytest.raises(check.Refusal) as refusal:
            check.check(token.value, [scope])
        assert refusal.value.error == "insufficient_scope" and refusal.value.scope == scope
        assert bool(refusal.value.reauthorize_url) == (scope in token.consent.trimmed)

    # --- what would be answered, were it asked ---

    def _probe(self):
        """Ask for a token in a transaction that is then undone: by a refresh, or by client credentials."""
        if self.turn % 2 and self.model.families:
            self._probe_family(self.model.families[-1 - self.turn // 2 % len(self.model.families)])
        elif self.turn % 2 == 0:
            client = self.model.clients[self.turn // 2 % len(self.model.clients)]
            account = self.model.accounts[self.turn // 2 // len(self.model.clients) % len(self.model.accounts)]
            works = not client.agent_level and self.model.standing(client, account)
            self._undone(client, lambda side: side.client_credentials(account.ref), works)

    def _probe_family(self, family):
        self.model.now = self.world.now()
        works = family.lives(self.model.now) and family.scopes
        self._undone(family.consent.client, lambda side: side.refresh(family.refresh[-1]), works)

    def _undone(self, client, ask, works):
        secret = client.secrets[-1]
        known = client.suspended_at is None and self.model.now < secret.ends
        with transaction.atomic():
            status = ask(self.world.side(secret)).status_code
            transaction.set_rollback(True)
        assert status == (401 if not known else 200 if works else 400), (client, status)
