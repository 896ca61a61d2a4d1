"""What a scope's risk demands, also of a level that is added above today's."""

import sys

import pytest
from django.db import connection
from django.http import QueryDict
from django.template.loader import render_to_string

from consent.asking import grantable_scopes
from credentials import actions, models
from credentials.forms import ScopesForm, scope_picker
from credentials.models import Kind, Risk, RiskPolicy, Scope
from tests import factories
from tests.factories import DELETE, EDIT, VIEW

pytestmark = pytest.mark.django_db


# Today's levels and one above them.
Higher = RiskPolicy(
    "Higher", {**{level.name: (level.value, level.label) for level in Risk}, "UTMOST": ("utmost", "Utmost risk")}
)


@pytest.fixture
def utmost(cast, monkeypatch):
    """A scope whose risk is above high."""
    for module in [*sys.modules.values()]:
        if getattr(module, "Risk", None) is Risk:
            monkeypatch.setattr(module, "Risk", Higher)
    assert models.Risk is Higher
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE credentials_scope DROP CONSTRAINT scope_risk_is_known")
    Scope.objects.filter(name=DELETE).update(risk=Higher.UTMOST)
    return Scope.objects.get(name=DELETE)


def test_a_scope_above_high_needs_a_justification(cast, utmost):
    row = factories.client(cast.dev)[0]
    with pytest.raises(actions.JustificationMissing, match="Delete and restore tickets"):
        actions.add_scopes(row, scopes={DELETE: " "}, by=cast.dev)
    lacking = {
        scope.name: scope.lacks_why
        for _product, groups in scope_picker({DELETE: "", EDIT: ""})
        for _resource, scopes in groups
        for scope in scopes
    }
    assert lacking[DELETE] and not lacking[EDIT]


def test_a_scope_above_high_is_kept_for_verified_teams(cast, utmost):
    row = factories.client(cast.dev, kind=Kind.EXTERNAL, scopes=[VIEW, DELETE])[0]
    assert grantable_scopes(row, cast.acme, None) == {VIEW}
    assert grantable_scopes(row, factories.team_of(cast.dev).test_account, None) == {VIEW, DELETE}


def test_a_scope_above_high_is_shown_with_its_own_words_and_the_strongest_colour(cast, utmost):
    shown = render_to_string("components/scope.html", {"scope": utmost})
    assert '<span class="badge tone-danger">Utmost risk</span>' in shown
    picker = render_to_string("components/scope_picker.html", {"form": ScopesForm(QueryDict(f"scope={DELETE}"))})
    assert picker.count("Why does the app need this? People will read your answer.") == 1


@pytest.mark.parametrize(
    ("level", "strict", "tone"),
    [(Risk.LOW, False, "success"), (Risk.MEDIUM, False, "warning"), (Risk.HIGH, True, "danger")],
)
def test_what_each_level_demands(level, strict, tone):
    assert (level.needs_justification, level.is_for_verified_teams, level.tone) == (strict, strict, tone)
