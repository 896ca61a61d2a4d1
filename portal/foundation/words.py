"""The portal's word list: one word for one thing, in every text that people read. tests/test_words.py holds it."""

import re
from typing import NamedTuple


class Word(NamedTuple):
    """`not_` are patterns of what must not stand for it."""

    word: str
    meaning: str
    not_: tuple[str, ...]

    @property
    def instead_of(self) -> str:
        return ", ".join(re.sub(r"\(\?:([^|)]*)[^)]*\)|\\b|\\w\*", r"\1", each) for each in self.not_)


WORDS = [
    Word("agree", "What people do on the consent screen. What results is an agreement.", ("consent to", "gave? consent", "accept the permissions")),
    Word("permission", "What a scope is to a person who does not develop apps.", ("privilege",)),
    Word("connect, disconnect", "A vendor’s service.", ("unlink", "link to the vendor")),
    Word("authorize, reauthorize", "An agent or an admin lets an app in.", ("authoris", "re-authori")),
    Word("decline", "An offered version. The answer is remembered.", ("say no", "said no")),
    Word("not now", "Ask me later.", ("ask me later", "maybe later")),
    Word("revoke", "End an app’s access.", ("take back (?:all|the) access", "withdraw access")),
    Word("remove a permission", "Take one permission away from an app.", ("take (?:this|it|them|permissions) back", "taken back", "took (?:this|it|them) back", "take back")),
    Word("uninstall", "End an installed app.", ("deinstall", "delete the app")),
    Word("discard", "Give up an unfinished installation.", ("abandon",)),
    Word("withdraw", "A published version.", ("unpublish",)),
    Word("cancel", "A submission for review, or an invitation.", ("revoke (?:the|this) invitation",)),
    Word("update", "Move an installation to another version.", ("upgrade",)),
    Word("sign in, sign out, sign up", "The entrance.", ("log ?in\\b", "log(?:ged)? out", "signing in:")),
    Word("someone, anyone", "A person who is not known.", ("somebody", "anybody")),
    Word("email", "An address, and what is sent to it.", ("e-mail", "\\bmails?\\b")),
    Word("the portal team", "The staff who run this portal.", ("people who run this portal",)),
]  # fmt: skip
