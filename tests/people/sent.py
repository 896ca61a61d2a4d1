"""What to send to a URL where the method alone is not enough: the correctly filled-in form."""

import json

from django.core.files.uploadedfile import SimpleUploadedFile

from marketplace.seals import seal_of, seal_with_accounts
from portal.accounts.actions import profiles
from tests import factories
from tests.factories import CREATE, DELETE, EDIT, PASSWORD, VIEW
from tests.marketplace import packages
from tests.oauth import authorize_url, basic, pkce
from tests.people.forms import forms_of

STRONG = "another long enough one"


def _hidden(world, who, path, *names):
    """Return the values of a page's hidden fields as this person sees them, or else as somebody who may see them."""
    if found := _read_hidden(world, who, path, names):
        return found
    kept = world.for_outsiders
    if (path, names) not in kept:
        others = (_read_hidden(world, reader, path, names) for reader in ("admin", "dev", "agent"))
        kept[path, names] = next(filter(None, others), None)
    assert kept[path, names], f"{path} has no {' and '.join(names)}"
    return kept[path, names]


def _read_hidden(world, reader, path, names):
    for form in forms_of(world.browsers[reader].get(path)):
        if all(form.values.get(name) for name in names):
            return {name: form.values[name] for name in names}
    return None


def authorize_desk(world, who):
    return authorize_url(world.mine.client, pkce()[1], account=world.mine.account.slug, scope=f"{VIEW} {EDIT}")


def authorize_pocket(world, who):
    return authorize_url(
        world.mine.external_agent, pkce()[1], account=world.mine.account.slug, scope=f"{VIEW} {CREATE}"
    )


def _decide(url, decision):
    def post(world, who):
        path = url(world, who)
        shown = _hidden(world, who, path, "shown") if decision == "agree" else {"shown": ""}
        return {"path": path, "data": {"decision": decision, **shown}}

    return post


def _reauthorize(world, who):
    path = f"/authorizations/{world.mine.outside.pk}/reauthorize/"
    return {"data": {"decision": "agree", **_hidden(world, who, path, "shown")}}


def _upgrade(decision):
    def post(world, who):
        path = f"/installations/{world.mine.growing.pk}/upgrade/"
        return {"data": {**_hidden(world, who, path, "version", "shown"), "decision": decision}}

    return post


def _agree(what, name):
    def post(world, who):
        path = f"/consents/{getattr(world.mine, name).pk}/{what}/"
        return {"data": {"decision": "agree", **_hidden(world, who, path, "shown")}}

    return post


def _confirm(world, who):
    return {"data": _hidden(world, who, f"/consents/{world.mine.left.pk}/confirm/", "shown")}


def _client_form(world, who):
    return {
        "data": {
            "team": world.mine.team.pk,
            "name": "Fresh",
            "redirect_uris": factories.REDIRECT_URI,
            "level": "account",
            "kind": "platform",
            "scope": [VIEW, DELETE],
            f"why:{DELETE}": "To clean up",
        }
    }


def _version(number):
    fields = {
        "number": number,
        "name": "Quokka Desk",
        "tagline": "t",
        "category": "hr",
        "description": "d",
        "release_notes": "n",
    }
    return {**fields, f"level:{VIEW}": "required", f"level:{EDIT}": "none"}


def _package(world, who):
    """Return an upload: the form's other field and a file."""
    made = packages.as_zip(packages.good(world.mine.client))
    return {"data": {"package": SimpleUploadedFile("app.zip", made, "application/zip"), "keep_secrets": "on"}}


def _bearer(own):
    return {"HTTP_AUTHORIZATION": f"Bearer {own.token}"}


def _app(own):
    return {**basic(own.client.client_id, own.secret), "content_type": "application/x-www-form-urlencoded"}


def _ticket(world, who):
    data = json.dumps({"subject": "Quokka printer is well", "status": 4})
    return {"data": data, "content_type": "application/json", **_bearer(world.mine)}


def _of(**data):
    return lambda world, who: {"data": data}


def _read(row):
    return type(row)._default_manager.get(pk=row.pk)


def _accounts(world, who):
    return {"data": {"accounts": "somebody-else", "shown": seal_with_accounts(_read(world.mine.custom))}}


def _custom(world, who):
    shown = seal_with_accounts(_read(world.mine.app), _read(world.mine.draft))
    return {"data": {"accounts": world.mine.account.slug, "shown": shown}}


def _email(world, who):
    return world.people[who].email if who in world.people else "nobody@example.com"


def _totp(world, who):
    world.browsers[who].get("/accounts/2fa/totp/activate/")
    return {"data": {"code": "000000"}}


def _opened(world, who):
    """Open the link in the mail first."""
    world.browsers[who].get(f"/invitations/{world.mine.invitation_token}/")
    return {}


def _password(**names):
    return _of(**{name: PASSWORD if value else STRONG for name, value in names.items()})


def _zip(world):
    return {"data": packages.as_zip(packages.good(world.mine.client)), "content_type": "application/zip"}


# A package's form, without vendors and requests.
_NO_MORE = {f"{part}-{name}_FORMS": "0" for part in ("vendors", "requests") for name in ("TOTAL", "INITIAL")}
_JSON = {"content_type": "application/json"}
REASON = _of(reason="It was time")
# (method with what it is about, address of portal/urls.py) → what the test's browser is given.
SENT = {
    "POST accounts/login/": lambda world, who: {"data": {"login": world.mine.admin.email, "password": PASSWORD}},
    "POST/wrong accounts/login/": lambda world, who: {"data": {"login": world.mine.admin.email, "password": STRONG}},
    "POST accounts/signup/": _of(name="Nia", email="nia@example.com", password1=STRONG),
    "POST accounts/reauthenticate/": _password(password=True),
    "POST/add accounts/email/": _of(action_add="", email="more@example.com"),
    "POST/remove accounts/email/": lambda world, who: {"data": {"action_remove": "", "email": _email(world, who)}},
    "POST accounts/password/change/": _password(oldpassword=True, password1=False, password2=False),
    "POST accounts/password/set/": _password(password1=False, password2=False),
    "POST accounts/password/reset/": lambda world, who: {"data": {"email": world.mine.admin.email}},
    "POST accounts/login/code/confirm/": _of(code="123456"),
    "POST accounts/2fa/authenticate/": _of(code="123456"),
    "POST accounts/2fa/reauthenticate/": _of(code="123456"),
    "POST accounts/2fa/totp/activate/": _totp,
    "POST scopes/": _of(pasted="curl -H 'Authorization: Bearer amp_at_x' https://desk.example.com/api/v2/tickets/7"),
    "POST settings/": _of(name="Renamed", time_zone="Europe/Berlin"),
    "POST settings/mail/": _of(ends="on"),
    "POST members/<slug:slug>/invite/": _of(email="nia@example.com", role="agent"),
    "POST members/<slug:slug>/<uuid:pk>/role/": _of(role="admin"),
    "POST teams/<uuid:public_id>/profile/": _of(name="Acorn"),
    "POST teams/<uuid:public_id>/invite/": _of(email="nia@example.com", role="owner"),
    "POST teams/<uuid:public_id>/<int:pk>/role/": _of(role="owner"),
    "GET/opened invitations/": _opened,
    "POST/opened invitations/": _opened,
    "POST credentials/new/": _client_form,
    "POST credentials/<slug:client_id>/": _of(redirect_uris="https://quokka.example/cb", description="Changed"),
    "POST credentials/<slug:client_id>/scopes/": _of(
        **{"scope": DELETE, f"why:{DELETE}": "To clean up", "confirmed": "1"}
    ),
    "POST/ask credentials/<slug:client_id>/scopes/": _of(**{"scope": DELETE, f"why:{DELETE}": "To clean up"}),
    "POST credentials/<slug:client_id>/secrets/": _of(overlap_hours=24),
    "POST/now credentials/<slug:client_id>/secrets/": _of(overlap_hours=0, confirmed="1"),
    "POST/ask credentials/<slug:client_id>/secrets/": _of(overlap_hours=0),
    "POST credentials/new/test/": lambda world, who: {"data": {"team": world.mine.team.public_id}},
    "POST credentials/<slug:client_id>/test/": _of(act="add-callback"),
    "POST apps/new/": lambda world, who: {
        "data": {
            "team": world.mine.team.pk,
            "name": "Fresh",
            "slug": "fresh",
            "client": world.mine.free.pk,
        }
    },
    "POST apps/<slug:slug>/accounts/": _accounts,
    "POST apps/<slug:slug>/": lambda world, who: {"data": {"client": world.mine.free.pk, "confirmed": "1"}},
    "POST/ask apps/<slug:slug>/": lambda world, who: {"data": {"client": world.mine.free.pk}},
    "GET/names apps/<slug:slug>/accounts/": _of(accounts="somebody-else"),
    "POST apps/<slug:slug>/versions/new/": _of(**_version("5.0")),
    "POST apps/<slug:slug>/versions/<int:pk>/edit/": _of(**_version("4.1")),
    "POST apps/<slug:slug>/versions/<int:pk>/package/": _package,
    "POST/wrong apps/<slug:slug>/versions/<int:pk>/package/": lambda world, who: {
        "data": {"package": SimpleUploadedFile("app.zip", b"no zip")}
    },
    "POST apps/<slug:slug>/versions/<int:pk>/package/edit/": _of(**{**_NO_MORE, f"level:{VIEW}": "required"}),
    "POST/add apps/<slug:slug>/versions/<int:pk>/package/edit/": _of(**_NO_MORE, add="vendors"),
    "POST apps/<slug:slug>/versions/<int:pk>/package/preview/": _of(**{f"level:{VIEW}": "required"}),
    "POST apps/<slug:slug>/versions/<int:pk>/package/secrets/<str:integration>/": _of(secret="s3cret"),
    "POST apps/<slug:slug>/versions/<int:pk>/custom/": _custom,
    "POST apps/<slug:slug>/versions/<int:pk>/submit/": lambda world, who: {
        "data": {"shown": seal_of(_read(world.mine.draft))}
    },
    "GET/names apps/<slug:slug>/versions/<int:pk>/custom/": _of(accounts="somebody-else"),
    "POST marketplace/<slug:slug>/install/": lambda world, who: {"data": {"account": world.mine.account.slug}},
    "GET/account installations/": lambda world, who: {"data": {"account": world.mine.account.slug}},
    "GET/account installations/overview/": lambda world, who: {"data": {"account": world.mine.account.slug}},
    "POST installations/<uuid:pk>/console/": _of(template="events", context='{"id": ".."}'),
    "POST api/v1/installations/<uuid:pk>/requests/<str:name>": lambda world, who: {
        **_JSON,
        "data": '{"context": {"id": ".."}}',
    },
    "POST/token api/v1/installations/<uuid:pk>/requests/<str:name>": lambda world, who: {
        **_JSON,
        "data": "{}",
        **_bearer(world.mine),
    },
    "POST/own api/v1/packages/check": lambda world, who: {
        **_zip(world),
        "path": f"/api/v1/packages/check?app={world.mine.app.slug}",
    },
    "POST/client api/v1/packages/check": lambda world, who: {
        **_zip(world),
        **basic(world.mine.client.client_id, world.mine.secret),
    },
    "POST/agree installations/<uuid:pk>/upgrade/": _upgrade("agree"),
    "POST/decline installations/<uuid:pk>/upgrade/": _upgrade("decline"),
    "POST installations/<uuid:pk>/upgrades-itself/": _of(on="1"),
    "POST apps/<slug:slug>/versions/<int:pk>/withdraw/": _of(reason="It loses tickets."),
    "POST installations/<uuid:pk>/settings/": _of(**{"value-owner": "acme"}),
    "POST installations/<uuid:pk>/connections/<str:integration>/": _of(**{"value-room": "5"}),
    "GET/answer oauth/callback/<slug:slug>/<str:integration>": _of(state="made-up", code="x"),
    "GET/answer oauth/callback": lambda world, who: {"data": {"state": "made-up", "code": "x"}},
    "GET oauth/authorize": lambda world, who: {"path": authorize_desk(world, who)},
    "GET/agent oauth/authorize": lambda world, who: {"path": authorize_pocket(world, who)},
    "POST/agree oauth/authorize": _decide(authorize_desk, "agree"),
    "POST/cancel oauth/authorize": _decide(authorize_desk, "cancel"),
    "POST/agent oauth/authorize": _decide(authorize_pocket, "agree"),
    "POST oauth/token": lambda world, who: {
        "data": f"grant_type=client_credentials&account={world.mine.account.slug}",
        "content_type": "application/x-www-form-urlencoded",
    },
    "POST/app oauth/token": lambda world, who: {
        "data": f"grant_type=client_credentials&account={world.mine.account.slug}",
        **_app(world.mine),
    },
    "POST/app oauth/revoke": lambda world, who: {"data": f"token={world.mine.desk_token}", **_app(world.mine)},
    "POST/product oauth/introspect": lambda world, who: {
        "data": f"token={world.mine.token}",
        "content_type": "application/x-www-form-urlencoded",
        **basic("freshservice", world.product_secret),
    },
    "GET/token oauth/check/<slug:product>": lambda world, who: {
        "HTTP_X_ORIGINAL_METHOD": "GET",
        "HTTP_X_ORIGINAL_URI": "/api/v2/tickets",
        **_bearer(world.mine),
    },
    "POST authorizations/<uuid:access_id>/reauthorize/": _reauthorize,
    "GET/chosen consents/<uuid:consent_id>/trim/": _of(scope=VIEW),
    "POST consents/<uuid:consent_id>/trim/": _of(scope=VIEW, warned=VIEW),
    "POST/unwarned consents/<uuid:consent_id>/trim/": _of(scope=VIEW),
    "POST/agent consents/<uuid:consent_id>/trim/": _of(scope=VIEW, warned=VIEW),
    "POST consents/<uuid:consent_id>/widen/": _agree("widen", "consent"),
    "POST/agent consents/<uuid:consent_id>/widen/": _agree("widen", "agent_consent"),
    "POST consents/<uuid:consent_id>/renew/": _agree("renew", "consent"),
    "POST/agent consents/<uuid:consent_id>/renew/": _agree("renew", "agent_consent"),
    "POST consents/<uuid:consent_id>/confirm/": _confirm,
    "GET/json receipts/<uuid:entry_id>/": _of(format="json"),
    "POST ledger/exports/": lambda world, who: {"data": {"kind": "csv"}},
    "GET/chain ledger/": lambda world, who: {"data": {"chain": world.mine.account.chain_name}},
    "GET/token sandbox/api/v2/tickets": lambda world, who: _bearer(world.mine),
    "POST/token sandbox/api/v2/tickets": _ticket,
    "GET/token sandbox/api/v2/tickets/<int:ticket_id>": lambda world, who: _bearer(world.mine),
    "PUT/token sandbox/api/v2/tickets/<int:ticket_id>": _ticket,
    "DELETE/token sandbox/api/v2/tickets/<int:ticket_id>": lambda world, who: _bearer(world.mine),
    "POST admin/login/": lambda world, who: {"data": {"username": world.mine.admin.email, "password": PASSWORD}},
    "GET admin/autocomplete/": _of(app_label="accounts", model_name="membership", field_name="user", term="ada"),
    "POST admin/accounts/user/add/": _of(email="nia@example.com", name="Nia", password=STRONG),
    "POST admin/accounts/account/add/": _of(slug="fresh", name="Fresh"),
    "POST admin/accounts/membership/add/": lambda world, who: {
        "data": {"user": world.people["dev"].pk, "account": world.mine.account.pk, "role": "agent"}
    },
    "POST/staff admin/accounts/user/<path:object_id>/press/<slug:button>/": _of(is_staff="on"),
    "POST/suspend admin/accounts/account/<path:object_id>/press/<slug:button>/": REASON,
    "POST/verify admin/accounts/team/<path:object_id>/press/<slug:button>/": lambda world, who: {
        "data": {"shown": profiles.seal_of(_read(world.mine.team))}
    },
    "POST/base_address admin/credentials/product/<path:object_id>/press/<slug:button>/": _of(
        base_address="https://elsewhere.example.com"
    ),
    "POST/approve admin/marketplace/version/<path:object_id>/press/<slug:button>/": REASON,
    "POST/reject admin/marketplace/version/<path:object_id>/press/<slug:button>/": REASON,
    "POST/take-down admin/marketplace/version/<path:object_id>/press/<slug:button>/": lambda world, who: {
        "data": {"picture": world.mine.version.screenshots[0]["picture"], "reason": "It shows a person"}
    },
    "POST/suspend admin/credentials/client/<path:object_id>/press/<slug:button>/": REASON,
}
