"""Find secrets that a developer wrote into a package, where everyone who sees it can read them."""

import re
from collections.abc import Iterator

from .expressions import Template, Text

# Headers that carry no secrets.
_OPEN_HEADERS = {"accept", "accept-language", "content-type", "user-agent"}
# Next to fields: text too short for a secret (as in “Basic <%= encode(iparam.key + ':X') %>”), or the start of credentials.
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z-]{0,30} +|[A-Za-z_]{1,30}=")
_WRITTEN = re.compile(r"[^\s:;,\"=]{6}")
# What the last word of a name says about its value.
_NAMES = {
    "auth", "authorization", "bearer", "token", "jwt", "secret", "password", "passwd", "pwd", "apikey", "authkey", "accesskey",
    "accesstoken", "apitoken", "authtoken", "signature", "sig", "credential", "credentials", "session", "sid", "cookie",
}  # fmt: skip
_PREFIXED = re.compile(
    r"(?:gh[opsur]_|github_pat_|glpat-|xox[abeprs]-|[rs]k[-_](?:live|test|proj|ant)[-_]|AKIA|ASIA|AIza|shp(?:at|ss|ca|pa)_"
    r"|SG\.|ya29\.|eyJ|amp_(?:at|rt|cs|ac|ps)_)[A-Za-z0-9._-]{10,}"
)
_WORD = re.compile(r"[A-Za-z0-9_+=-]{20,}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PARAMETER = re.compile(r"[?&]([^=&#\0]+)=([^&#]*)")


def may_be_secret(name: str, template: Template | None) -> bool:
    """Return True if a header could be a secret; an unreadable value or an unknown header counts as one."""
    if name.lower() in _OPEN_HEADERS:
        return False
    return template is None or not any(template.names()) or any(_is_written(text) for text in template.texts())


def looks_secret(name: str, template: Template) -> bool:
    """Return True if the developer's text looks like a secret, by its name or value."""
    texts = [*template.texts()]
    if any(map(_is_random, texts)):
        return True
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    last = re.split(r"[^A-Za-z0-9]+", words.strip("[]_- "))[-1].lower()
    if last == "key":
        # Other keys, such as a sort key, have a word as their value.
        return any(_is_written(text) and (re.search(r"\d", text) or len(text) > 15) for text in texts)
    return last in _NAMES and any(map(_is_written, texts))


def secrets_of_url(url: Template) -> Iterator[str]:
    """Return the names of a URL's parameters that look like secrets, and "" for the rest of the URL."""
    plain = "".join(part.text if isinstance(part, Text) else "\0" for part in url.parts)
    path, _mark, query = plain.partition("?")
    if any(map(_is_random, re.split("[\0/]", path))):
        yield ""
    for name, value in _PARAMETER.findall(f"?{query}"):
        if looks_secret(name, Template(tuple(Text(part) for part in value.split("\0")))):
            yield name


def _is_written(text: str) -> bool:
    return _WRITTEN.search(_SCHEME.sub("", text)) is not None


def _is_random(text: str) -> bool:
    """Return True for tokens in well-known formats, and for values that are clearly not words."""
    if _PREFIXED.search(text):
        return True
    for word in _WORD.findall(_UUID.sub("", text)):
        digits = len(re.findall(r"\d", word))
        is_mixed = digits > 2 and re.search("[a-z]", word) and re.search("[A-Z]", word)
        if is_mixed or (digits > 2 and re.fullmatch(r"[0-9a-f]{32,}|[0-9A-F]{32,}", word) and digits < len(word)):
            return True
    return False
