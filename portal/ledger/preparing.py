"""Large exports, which workers prepare: piece by piece, each in one transaction, so that a worker can be killed anywhere (T3).

A person finds theirs only as long as they may read all that it was made of (E1).
"""

import json
import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone, translation

from docs.verify_receipt import Digest
from portal.foundation.broker import queue_on_commit
from portal.foundation.zones import zone_of

from .actions import actor_name
from .exports import KINDS, Lines, checkpoints_of, signature_of
from .filters import Filters
from .models import Chain, Entry, Export, ExportPiece
from .reading import chains_seen_by, entries_seen_by

KEPT_FOR = timedelta(days=1)
# In entries: how many are looked at for one piece.
STEP = 2_000
# In seconds: how long a worker writes before other tasks get their turn, and after how long nobody is writing.
TURN, IDLE = 5, 60


@transaction.atomic
def ask(filters: Filters, kind: str) -> Export:
    """Have workers prepare an export of all entries that a person's filters leave. It takes the place of their last one."""
    user = filters.user
    seen = chains_seen_by(user)
    names = {filters.chain} if filters.chain else {*seen, *_chains_of_own(user)}
    chains = Chain.objects.filter(pk__in=names).order_by("pk")
    whole = [] if filters.query.keys() - {"chain"} else [chain for chain in chains if chain.name in seen]
    export = Export.objects.create(
        person=user,
        kind=kind,
        query=filters.query,
        time_zone=user.time_zone,
        language=translation.get_language() or "",
        places=[[chain.name, chain.length, chain.name in seen] for chain in chains],
        checkpoints=checkpoints_of(whole),
        whole=sum(chain.length for chain in chains),
    )
    queue_on_commit("portal.ledger.tasks.prepare_export", str(export.pk))
    return export


def _chains_of_own(user: Any) -> QuerySet[Any, str]:
    """Return the chains in which a person reads acts of their own."""
    return entries_seen_by(user).filter(actor=actor_name(user)).order_by().values_list("chain", flat=True).distinct()


def export_of(user: Any) -> Export | None:
    """Return a person's export, unless they may no longer read all that it was made of (E1)."""
    export = Export.objects.filter(~_superseded(), person=user, asked_at__gt=Now() - KEPT_FOR).first()
    if export is None:
        return None
    seen = {*chains_seen_by(user)}
    own = {chain for chain, _length, is_whole in export.places if not is_whole} - seen
    if any(is_whole and chain not in seen for chain, _length, is_whole in export.places):
        return None
    return export if own == {*_chains_of_own(user).filter(chain__in=own)} else None


def _superseded() -> Exists:
    """Match exports whose person has asked for another one since."""
    return Exists(Export.objects.filter(person=OuterRef("person"), asked_at__gt=OuterRef("asked_at")))


def write_some(export_id: str) -> bool:
    """Write pieces for a few seconds, and tell whether there is more to write that nobody else is writing."""
    end = time.monotonic() + TURN
    while time.monotonic() < end:
        if not _write_piece(export_id):
            return False
    return True


@transaction.atomic
def _write_piece(export_id: str) -> bool:
    """Write the next piece; return False if there is none, or somebody else writes it."""
    exports = Export.objects.select_for_update(of=("self",), no_key=True, skip_locked=True).select_related("person")
    export = exports.filter(~_superseded(), pk=export_id, done_at=None).first()
    if export is None:
        return False
    kind = KINDS[export.kind]
    number = export.pieces.aggregate(last=Max("number", default=-1))["last"] + 1
    with timezone.override(zone_of(export.time_zone)), translation.override(export.language or None):
        if export.place < len(export.places):
            told = Lines(kind.names, export.count)
            text = kind.text(_next_entries(export), told)
            piece = ExportPiece(count=told.count - export.count, lines=_packed(json.dumps(told.collected)))
            export.count = told.count
        else:
            text = kind.tail(export.checkpoints, signature_of(export.checkpoints, _digest(export, kind.names)))
            piece = ExportPiece()
            export.done_at = Now()
    text = (kind.head if number == 0 else "") + text
    piece.export, piece.number, piece.content = export, number, _packed(text)
    piece.save(force_insert=True)
    export.size += len(text.encode())
    export.worked_at = Now()
    export.save(update_fields=["place", "after", "looked_at", "count", "size", "worked_at", "done_at"])
    return export.done_at is None


def _next_entries(export: Export) -> list[Entry]:
    """Look at the next STEP entries, return those that belong in the file, and move on behind them."""
    filters, left = Filters.again(export.person, export.query), STEP
    found: list[Entry] = []
    entries = filters.apply(entries_seen_by(export.person)).order_by("sequence")
    while left and export.place < len(export.places):
        chain, length, is_whole = export.places[export.place]
        last = min(export.after + left, length)
        # Whoever reads more of a chain meanwhile may read less of it again, before the file is complete (E1).
        acts = {} if is_whole else {"actor": actor_name(export.person)}
        found += entries.filter(chain=chain, sequence__gt=export.after, sequence__lte=last, **acts)
        export.looked_at, left = export.looked_at + last - export.after, left - (last - export.after)
        export.place, export.after = (export.place + 1, 0) if last == length else (export.place, last)
    return found


def _packed(text: str) -> bytes:
    return zlib.compress(text.encode(), 1)


def _digest(export: Export, names: Sequence[str]) -> Digest:
    """Return what the signature says of the entries, from the pieces: no worker that began has to live on."""
    told = Digest(names)
    for number in range(export.pieces.count()):
        piece = export.pieces.defer("content").get(number=number)
        told.add_lines(piece.count, json.loads(zlib.decompress(piece.lines)))
    return told


def pieces_of(export: Export) -> Iterator[bytes]:
    """Yield the file's bytes, in constant memory."""
    for number in range(export.pieces.count()):
        yield zlib.decompress(export.pieces.defer("lines").get(number=number).content)


def left_alone() -> QuerySet[Export]:
    """Return the exports that are not complete and that nobody writes."""
    return Export.objects.filter(~_superseded(), done_at=None, worked_at__lt=Now() - timedelta(seconds=IDLE))


@transaction.atomic
def erase_exports() -> None:
    """Erase what was asked for over a day ago or has been superseded, but nothing that somebody is just writing."""
    over = Export.objects.filter(Q(asked_at__lte=Now() - KEPT_FOR) | _superseded())
    # Locked first: a piece that is written meanwhile would outlive its export.
    keys = list(over.select_for_update(skip_locked=True).values_list("pk", flat=True))
    Export.objects.filter(pk__in=keys).delete()
