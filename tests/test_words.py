"""One word for one thing, in every text that people read (portal/foundation/words.py)."""

import ast
import re
from pathlib import Path

import pytest

from portal.foundation.words import WORDS

ROOT = Path(__file__).parents[1]
APPS = "portal", "credentials", "consent", "marketplace"
GETTEXT = {"_", "gettext", "gettext_lazy", "ngettext", "ngettext_lazy"}
_TAGS = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<!--.*?-->|<[^>]*>", re.S)
_SAID = re.compile(r"""(?:translate\s+|_\()(?:"([^"]*)"|'([^']*)')""")


def said_by_templates():
    """Yield each template with the text that it shows: what is marked for translation, and what stands between tags."""
    for path in sorted((ROOT / "templates").rglob("*")):
        if path.is_file() and path.name != "component_list.html":
            source = re.sub(r"\{% comment %\}.*?\{% endcomment %\}", "", path.read_text(), flags=re.S)
            said = [one or other for one, other in _SAID.findall(source)]
            yield str(path.relative_to(ROOT)), " · ".join([*said, _TAGS.sub(" ", source)])


def said_by_guides():
    """Yield each guide without its code and the messages that it quotes."""
    for path in sorted((ROOT / "portal/help/guides").glob("*.md")):
        yield str(path.relative_to(ROOT)), re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", " ", path.read_text(), flags=re.S)


def said_by_code():
    """Yield each module of the apps with the texts that it marks for translation."""
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if "migrations" in path.parts or path.name == "words.py":
                continue
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            marked = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in GETTEXT]
            texts = [arg.value for call in marked for arg in call.args if isinstance(arg, ast.Constant)]
            yield str(path.relative_to(ROOT)), " · ".join(text for text in texts if isinstance(text, str))


SAID = {where: " ".join(text.split()) for where, text in [*said_by_templates(), *said_by_code(), *said_by_guides()]}


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.word)
def test_no_text_uses_another_word_for_it(word):
    pattern = re.compile("|".join(word.not_), re.I)
    found = [
        f"{where}: …{text[max(match.start() - 40, 0) : match.end() + 30]}…"
        for where, text in SAID.items()
        for match in pattern.finditer(text)
    ]
    assert not found, f"“{word.word}”, not:\n" + "\n".join(found)


def test_texts_are_found_in_templates_mails_and_code():
    assert "Agree" in SAID["templates/consent/consent_ask.html"]
    assert "submitted this version" in SAID["templates/members/mail/notice.txt"]
    assert any("refresh token" in text for where, text in SAID.items() if where.endswith(".py"))
