"""Read parameters, in the same way at authorize and at the endpoints for programs (RFC 6749 sections 3.1 and 3.2).

A known parameter may come once, and counts as omitted if it is empty. Unknown ones are ignored, however often they come.
"""

from django.http import QueryDict

MAX_LENGTH = 4096
AUTHORIZE = (
    "client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method",
    "account", "installation", "prompt", "response_mode",
)  # fmt: skip
# Of token, revoke and introspect.
PROGRAMS = (
    "grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope", "account", "client_id",
    "client_secret", "token", "token_type_hint",
)  # fmt: skip
# What must not be in an address, since logs keep addresses; parameters unknown to this server may be secrets too.
NEVER_IN_ADDRESS = {
    *PROGRAMS, "username", "password", "assertion", "client_assertion", "client_assertion_type", "access_token", "device_code",
}  # fmt: skip


def clean_scope(value: str) -> str:
    """Return a scope parameter with one space between its tokens and no other white space (RFC 6749 section 3.3)."""
    return " ".join(token for part in value.split(" ") if (token := part.strip()))


def values(sent: QueryDict, known: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the first value of each known parameter that has one."""
    read = [(name, sent.getlist(name)[0]) for name in known if name in sent]
    cleaned = [(name, clean_scope(value) if name == "scope" else value) for name, value in read]
    return [(name, value) for name, value in cleaned if value]


def problem(sent: QueryDict, known: tuple[str, ...], *, max_length: int | None = None) -> str:
    """Say what is wrong with the known parameters, in ASCII; empty if nothing is."""
    for name in known:
        every = sent.getlist(name)
        if len(every) > 1:
            return f"{name} is repeated"
        if "\0" in "".join(every):
            return f"{name} has a NUL character"
        if max_length and len("".join(every)) > max_length:
            return f"{name} is longer than {max_length} characters"
    return ""


def misplaced(address: QueryDict) -> str:
    """Name the first parameter of an address that belongs in the body; empty if there is none."""
    return next((name for name in address if name.lower() in NEVER_IN_ADDRESS), "")
