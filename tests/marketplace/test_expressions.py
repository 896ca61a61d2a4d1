"""The grammar of templates in packages: what it accepts, how it fills in, and that no value escapes its place."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.package.expressions import MalformedExpression, NoValue, parse

VALUES = {"iparam.a": "A/1", "iparam.b": "", "context.c": "x y", "secret": "ä:"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("", ""),
        ("/x/<%= iparam.a %>/y", "/x/A/1/y"),
        ("{{ iparam.a }}{{context.c}}", "A/1x y"),
        ("<%= iparam.b || 'default' %>", "default"),
        ("<%= iparam.b || missing || iparam.a %>", "A/1"),
        ("<%= iparam.b || '' %>", ""),
        ("<%= iparam.a == 'A/1' ? 'yes' : 'no' %>", "yes"),
        ("<%= iparam.a == iparam.b ? 'yes' : iparam.b == '' ? 'empty' : 'no' %>", "empty"),
        ("<%= 'Basic ' + encode(iparam.a + ':' + secret) %>", "Basic " + base64.b64encode("A/1:ä:".encode()).decode()),
        ("<%= (iparam.b || 'a') + 'b' %>", "ab"),
        (r"<%= 'it\'s' + "+ r'"a \"word\" \\"' + " %>", 'it\'sa "word" \\'),
        ("<%= '%>' %>", "%>"),
        ("50% } %> {", "50% } %> {"),
    ],
)  # fmt: skip
def test_a_template_is_filled_in(text, filled):
    assert parse(text).fill(VALUES) == filled


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("<%= nobody %>", "nobody"),
        ("{{ nobody }}", "nobody"),
        ("<%= encode('a' + nobody) %>", "nobody"),
        ("<%= nobody == '' ? 'yes' : 'no' %>", "nobody"),
        ("<%= iparam.b || nobody %>", "nobody"),
    ],
)
def test_a_name_without_a_value_is_not_treated_as_empty(text, name):
    with pytest.raises(NoValue, match=name):
        parse(text).fill(VALUES)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("<% code %>", 2), ("<%- x %>", 2), ("<%= x", 5), ("<%= %>", 3), ("a<%= x y %>", 6), ("<%= x == y %>", 3), ("<%= x ? y : z %>", 3),
        ("<%= x == y ? z %>", 14), ("<%= shell('x') %>", 4), ("<%= 1 %>", 3), ("<%= x.constructor['y'] %>", 17), ("<%= x || y == z ? a : b %>", 15),
        ("<%= 'open %>", 3), (r"<%= 'a\n' %>", 7), ("{{ x + y }}", 4), ("{{ 'x' }}", 6), ("{{ x", 4), ("<%= (x %>", 6), ("<%= x + %>", 7),
        ("<%= " + "(" * 30 + "x" + ")" * 30 + " %>", 24), ("x" * 2001, 2000), ("<%= `x` %>", 3), ("<%= x; y %>", 5),
    ],
)  # fmt: skip
def test_anything_outside_the_grammar_is_an_error_with_its_offset(text, offset):
    with pytest.raises(MalformedExpression) as refused:
        parse(text)
    assert refused.value.offset == offset


def test_names_are_listed_with_their_offsets():
    names = parse("a <%= encode(x.y + z) || w == 'q' ? 1 %>".replace(" || w == 'q' ? 1", "")).names()
    assert [(name.name, name.offset) for name in names] == [("x.y", 13), ("z", 19)]


names = st.sampled_from(["iparam.a", "iparam.b", "context.c", "secret", "nobody"])
strings = st.text(st.characters(exclude_characters="\\'", exclude_categories=["Cs"]), max_size=8).map(
    lambda text: f"'{text}'"
)
atoms = names | strings
expressions = st.recursive(
    atoms,
    lambda inner: (
        st.tuples(inner, inner).map(lambda two: f"({two[0]}) + ({two[1]})")
        | st.tuples(inner, inner).map(lambda two: f"({two[0]}) || ({two[1]})")
        | inner.map(lambda one: f"encode({one})")
        | st.tuples(inner, inner, inner, inner).map(lambda four: "({}) == ({}) ? ({}) : ({})".format(*four))
    ),
    max_leaves=8,
)


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            ["<%=", "%>", "{{", "}}", "'", "x", ".", "(", ")", "+", "||", "==", "?", ":", " ", "\\", "encode"]
        )
    ).map("".join)
)
def test_any_text_is_parsed_or_refused(text):
    try:
        assert isinstance(parse(text).fill({"x": "", "encode": ""}), str)
    except NoValue as missing:
        assert "." in str(missing)
    except MalformedExpression as refused:
        assert 0 <= refused.offset <= max(len(text), 1) and str(refused)


@given(expressions)
def test_everything_in_the_grammar_is_parsed(text):
    try:
        assert isinstance(parse(f"a<%= {text} %>b").fill({"nobody": "", **VALUES}), str)
    except MalformedExpression as refused:
        assert "deeply" in str(refused) or "longer" in str(refused)


@given(expressions, st.dictionaries(names, st.text(max_size=20)))
def test_values_are_escaped_wherever_they_stand(text, values):
    """Literals contain no characters that the escape marks, so that any marks in the result come from values."""
    text = re.sub(r"'[^']*'", "'lit'", text)
    try:
        values = {**dict.fromkeys([*VALUES, "nobody"], ""), **values}
        filled = parse(f"<%= {text} %>").fill(
            values, lambda value, _name: "⟦" + value.encode().hex() + "⟧" if value else ""
        )
    except MalformedExpression:
        return
    assert re.fullmatch(r"(lit|⟦[0-9a-f]+⟧)*", filled)
