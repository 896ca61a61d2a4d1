"""The console on which an account's people try an app's requests."""

import pytest
from django.db.models.functions import Now

from marketplace.models import Connection
from tests.people.forms import forms_of, text
from tests.pressing import token

pytestmark = pytest.mark.django_db


def test_the_console_shows_the_request_and_the_answer(connected_app, browse, cast):
    browser, page = browse(cast.admin), f"/installations/{connected_app.installation.pk}/console/"
    assert "Try the app’s requests" in text(browser.get(f"/installations/{connected_app.installation.pk}/"))
    offered = browser.get(f"{page}?template=events")
    (form,) = [form for form in forms_of(offered) if "context" in form.values]
    # The links to the templates are the only chooser.
    assert form.values["context"] == '{\n  "id": ""\n}' and form.fields["template"]["kind"] == "hidden"
    assert "/api/items/<%= context.id %> Authorization: Bearer <%= access_token %>" in text(offered)
    assert "context.id" in text(browser.post(page, form.values))
    shown = browser.post(page, {"template": "events", "context": '{"id": "a b"}', "body": ""})
    token = Connection.objects.get(integration="calendar").tokens["access_token"]
    assert "/api/items/a%20b" in text(shown) and "Bearer ••••••" in text(shown)
    assert "Response: 200" in text(shown) and token not in shown.content.decode()
    for context, said in (("no", "not valid JSON"), ("[]", 'Enter a JSON object, such as {"ticket": 7}.')):
        answer = browser.post(page, {"template": "events", "context": context})
        assert answer.status_code == 422 and said in text(answer)
    assert "Nothing was sent" in text(browser.post(page, {"template": "events", "context": '{"id": ".."}'}))
    # An agent is offered the templates that agents may run.
    assert "events" not in text(browse(cast.agent).get(page)) and "cards" in text(browse(cast.agent).get(page))
    assert browse(cast.agent).post(page, {"template": "events", "context": "{}"}).status_code == 422


def test_pressing_send_twice_sends_once(connected_app, browse, cast, vendors):
    browser, page = browse(cast.admin), f"/installations/{connected_app.installation.pk}/console/"
    sent = {"template": "events", "context": '{"id": 1}', "once": token(browser, page)}
    assert "Response: 200" in text(browser.post(page, sent))
    calls = len(vendors[0].log("/api/"))
    again = browser.post(page, sent)
    assert (
        again.status_code == 409
        and "You submitted this form twice, but the request was sent only once. Its response is not stored and cannot be shown again. To send the request again, press Send."
        in text(again)
    )
    assert len(vendors[0].log("/api/")) == calls
    # This page has a new form.
    (form,) = [form for form in forms_of(again) if "context" in form.values]
    assert "Response: 200" in text(browser.post(page, {**sent, "once": form.values["once"]}))


def test_the_consoles_failures_say_which_side_failed(connected_app, browse, cast, vendors):
    page = f"/installations/{connected_app.installation.pk}/console/"
    vendors[0].switch(api_fault={"status": 0})
    assert "The other service failed." in text(
        browse(cast.admin).post(page, {"template": "events", "context": '{"id": 1}'})
    )
    Connection.objects.update(broken_at=Now(), problem="invalid_grant")
    answer = browse(cast.admin).post(page, {"template": "events", "context": '{"id": 1}'})
    assert "Nothing was sent" in text(answer) and "Go to the app’s connections" in text(answer)
