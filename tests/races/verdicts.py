"""What must hold after every race, and what single races promise besides."""

import json

from django.db import DatabaseError, connection
from django.db.models import F

from consent import check
from consent.models import Access, AccessToken, Consent, RefreshToken
from consent.reasons import FamilyEnd
from credentials.models import Endpoint, ProductSecret, Scope
from marketplace.models import App, Connection
from portal.accounts.models import Membership, Role
from portal.ledger.actions import verify
from portal.ledger.models import Chain, Entry
from tests.factories import EDIT, VIEW
from tests.races.acts import answer_of

# Rows made, by the database's clock, after the end of what they depend on.
_YOUNGER_THAN_THE_ENDING = """
SELECT 'access token' FROM consent_accesstoken issued JOIN consent_consent consent ON consent.id = issued.consent_id
JOIN consent_access access ON access.id = consent.access_id
LEFT JOIN accounts_membership member ON member.id = consent.membership_id AND (SELECT locks_members FROM races.rules)
WHERE issued.expires - interval '30 minutes' > least(access.ended_at, consent.revoked_at, member.ended_at)
UNION ALL
SELECT 'code' FROM consent_authorizationcode issued JOIN consent_consent consent ON consent.id = issued.consent_id
JOIN consent_access access ON access.id = consent.access_id
LEFT JOIN accounts_membership member ON member.id = consent.membership_id
WHERE issued.expires - interval '60 seconds' > least(access.ended_at, consent.revoked_at, member.ended_at)
UNION ALL
SELECT 'consent' FROM consent_consent consent JOIN consent_access access ON access.id = consent.access_id
JOIN accounts_membership member ON member.account_id = access.account_id AND member.user_id = consent.granted_by_id
WHERE consent.granted_at > least(access.ended_at, member.ended_at)
UNION ALL
SELECT 'family' FROM consent_refreshtoken issued WHERE issued.current_made_at > issued.ended_at
UNION ALL
SELECT 'wider than its consent' FROM consent_accesstoken issued JOIN consent_consent consent ON consent.id = issued.consent_id
WHERE issued.revoked_at IS NULL AND NOT string_to_array(issued.scope, ' ') <@ consent.granted::text[]
UNION ALL
SELECT 'wider than its consent' FROM consent_refreshtoken issued JOIN consent_consent consent ON consent.id = issued.consent_id
WHERE issued.ended_at IS NULL AND NOT string_to_array(issued.scope, ' ') <@ consent.granted::text[]
UNION ALL
SELECT 'wider than its consent' FROM consent_authorizationcode issued JOIN consent_consent consent ON consent.id = issued.consent_id
WHERE issued.used_at IS NULL AND NOT string_to_array(issued.scope, ' ') <@ consent.granted::text[]
"""


def hold(w):
    """Assert what holds after every race: times, nesting (T1), the ledger, one admin at least."""
    with connection.cursor() as cursor:
        cursor.execute(_YOUNGER_THAN_THE_ENDING)
        assert not (found := cursor.fetchall()), found
    grown = [chain for chain in Chain.objects.all() if chain.length != w.lengths[chain.name]]
    faults = [fault for chain in grown if (fault := verify(chain))]
    assert not faults, faults
    _nobody_acted_after_leaving(w)
    assert Membership.objects.admins().filter(account=w.account).exists(), "no admin is left"


def _nobody_acted_after_leaving(w):
    gone = set()
    for entry in Entry.objects.filter(chain_id=w.account.chain_name).order_by("sequence"):
        assert entry.actor not in gone, f"{entry.event} by somebody who was no admin any more"
        left = entry.event == "member.removed"
        if left or (entry.event == "member.role_changed" and entry.details["role"] == Role.AGENT):
            gone.add(entry.subject)


def issued(outcome):
    """Return the access token in an answer, or None."""
    status, body = answer_of(outcome)
    return json.loads(body).get("access_token") if status == 200 and body else None


def accepted(token):
    try:
        return check.read(token)
    except check.Refusal:
        return None


def _tokens(w, played, name):
    fresh = [issued(outcome) for outcome in played.outcomes]
    return [w.tokens[name]["access_token"], *filter(None, fresh)]


def one_row(w, played, kinds):
    """Both were done, and made one thing."""
    both(w, played, kinds)
    assert Connection.objects.filter(integration="boards").count() == 1


def stays_ended(w, played, kinds):
    """Disconnecting was done, and a worker's write revives nothing."""
    assert "done" in kinds and not [each for each in played.outcomes if isinstance(each, DatabaseError)]
    assert Connection.objects.get(pk=w.connection.pk).ended_at


def made_before_the_end(w, played, kinds):
    assert kinds[1] == "done"
    assert not AccessToken.objects.filter(consent__access__ended_at__lt=F("created")).exists()


def dead(name):
    """The ending was done, and no token of the app passes, in either order."""

    def verdict(w, played, kinds):
        assert "done" in kinds
        assert [token for token in _tokens(w, played, name) if accepted(token)] == []

    return verdict


def narrow(w, played, kinds):
    """The scope was taken back, and no token has it."""
    both(w, played, kinds)
    for token in _tokens(w, played, "account"):
        assert accepted(token).scopes == {VIEW}


def upgraded(name):
    """The upgrade was done, and no token has a scope that the new version dropped or added."""

    def verdict(w, played, kinds):
        both(w, played, kinds)
        for token in _tokens(w, played, name):
            assert accepted(token).scopes == {VIEW}

    return verdict


def both(w, played, kinds):
    assert {*kinds} == {"done"}, played.outcomes


def unchanged(w, played, kinds):
    """Both were done, and the tokens have the scopes that were agreed to."""
    both(w, played, kinds)
    for token in _tokens(w, played, "account"):
        assert accepted(token).scopes == {*w.consents["account"].granted}


def one(*events, count=1):
    """Exactly one was done, and the ledger has exactly one more entry of these events."""

    def verdict(w, played, kinds):
        assert kinds.count("done") == 1, played.outcomes
        if events:
            assert Entry.objects.filter(event__in=events).count() - w.before(events) == count

    return verdict


def once(event):
    """Both were accepted, and the ledger has one more entry: the second found it done."""

    def verdict(w, played, kinds):
        both(w, played, kinds)
        assert Entry.objects.filter(event=event).count() - w.before([event]) == 1

    return verdict


def any_of_both(w, played, kinds):
    """Either order will do."""
    assert "done" in kinds


def not_after(position):
    """If the act at `position` (0 or 1) was overtaken by the other, it was refused."""

    def verdict(w, played, kinds):
        assert "done" in kinds
        if played.overtaken and played.begun == position:
            assert kinds[position] == "refused"

    return verdict


def ended_once(w, played, kinds):
    """The replay was refused and no token passes; the ledger says once why the family ended."""
    assert kinds[0] == "refused"
    assert [token for token in _tokens(w, played, "account") if accepted(token)] == []
    events = ["family.reuse_detected", "family.revoked"]
    assert Entry.objects.filter(event__in=events).count() - w.before(events) == 1


def ended_by_reuse(w, played, kinds):
    """Whether the current token rotated first or not, the replaced one ended the family, once, and no token passes (T6)."""
    assert kinds[0] == "refused"
    assert RefreshToken.objects.get(consent=w.consents["reused"]).reason == FamilyEnd.REUSED
    tokens = [w.replaced["access_token"], *_tokens(w, played, "reused")]
    assert [token for token in tokens if accepted(token)] == []
    assert Entry.objects.filter(event="family.reuse_detected").count() - w.before(["family.reuse_detected"]) == 1


def same_pair(w, played, kinds):
    """Two refreshes of one token: one successor pair (T6)."""
    both(w, played, kinds)
    assert issued(played.outcomes[0]) == issued(played.outcomes[1])
    assert RefreshToken.objects.get(consent=w.consents["account"]).generation == 2


def current_secrets(count):
    def verdict(w, played, kinds):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM credentials_clientsecret WHERE client_id = %s AND expires_at IS NULL",
                [w.sides["account"].client.pk],
            )
            assert cursor.fetchone()[0] == 1, "one secret is the current one"
        assert kinds.count("done") == count

    return verdict


def listed(w, played, kinds):
    both(w, played, kinds)
    app = App.objects.get(pk=w.versions["custom"].app_id)
    assert {*app.custom_accounts} == {"first", "second", "third"}


def relisted(w, played, kinds):
    both(w, played, kinds)
    assert App.objects.get(pk=w.versions["custom"].app_id).custom_accounts == ["second"]


def renewed_once(w, played, kinds):
    """The expired consent was ended once, by either, and at most one consent is live (M6)."""
    assert "done" in kinds
    rows = Consent.objects.filter(access__client=w.sides["expired"].client)
    assert rows.get(pk=w.consents["expired"].pk).revision == 2
    assert Entry.objects.filter(event="consent.expired").count() - w.before(["consent.expired"]) <= 1
    assert rows.filter(revoked_at=None).count() <= 1


def registered(w, played, kinds):
    """The registry has the scopes and routes of the document imported last."""
    both(w, played, kinds)
    scopes = {*Scope.objects.filter(deprecated_at=None).values_list("name", flat=True)}
    assert scopes in ({VIEW, EDIT}, {VIEW, "freshservice.new"}), scopes
    assert {*Endpoint.objects.values_list("path", flat=True)} == {f"/{name}" for name in scopes}


def one_product_secret(w, played, kinds):
    both(w, played, kinds)
    assert ProductSecret.objects.filter(expires_at=None).count() == 1


def counted(w, played, kinds):
    """Endings are counted once, however many workers stamped them (T3)."""
    both(w, played, kinds)
    access = Access.objects.get(pk=w.consents["ended"].access_id)
    assert access.revoked_counts == {"refresh_tokens": 1, "access_tokens": 1}, access.revoked_counts


def two_agents(w, played, kinds):
    """The first agent's agreement opens the access; the other reads the page again, or agrees under the same one (M6)."""
    assert "done" in kinds
    assert Access.objects.filter(client=w.sides["new_agent"].client).count() == 1
