import json
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.ledger.actions import verify
from portal.ledger.checkpoints import BadCheckpoint, read_checkpoints
from portal.ledger.exports import check_export, check_receipt
from portal.ledger.models import Chain


def _count(number, one, many):
    return f"{number} {one if number == 1 else many}"


def _read(path):
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be read as JSON: {error}") from error


class Command(BaseCommand):
    help = (
        "Check that nothing in the ledger was altered, removed, swapped, added by hand, cut off or rehashed;"
        " exit 1 names the first bad entry."
    )

    def add_arguments(self, parser):
        parser.add_argument("--chain", help="check this chain only")
        parser.add_argument("--receipt", metavar="FILE", help="check a receipt, and the chain it is of against it")
        parser.add_argument("--export", metavar="FILE", help="check a JSON export, without the database's ledger")

    def handle(self, *, chain, receipt, export, **options):
        try:
            if export:
                self._check_export(export)
                return
            seen = self._checkpoints()
            if receipt:
                point = check_receipt(_read(receipt))
                chain = point["chain"]
                seen.setdefault(chain, {})[point["length"]] = point["head"]
        except BadCheckpoint as bad:
            raise CommandError(str(bad) if not (receipt or export) else f"{receipt or export}: {bad}") from bad
        if chain and not Chain.objects.filter(name=chain).exists() and chain not in seen:
            raise CommandError(f"There is no chain named {chain}.")
        rows = {each.name: each for each in Chain.objects.all()}
        names = [chain] if chain else sorted({*rows, *seen})
        for name in names:
            if fault := verify(rows.get(name) or Chain(name=name), seen.get(name)):
                raise CommandError(str(fault))
        total = sum(rows[name].length for name in names)
        if receipt:
            self.stdout.write(f"The receipt is of entry #{point['length']} of {chain}, which is as it was recorded.")
        self.stdout.write(f"{_count(len(names), 'chain', 'chains')}, {_count(total, 'entry', 'entries')}: intact.")

    def _checkpoints(self):
        path = settings.CHECKPOINT_FILE
        if path and Path(path).exists():
            return read_checkpoints(path)
        if path and Chain.objects.filter(checkpointed__gt=0).exists():
            raise CommandError(f"Checkpoints were written to {path}, and it is not there.")
        return {}

    def _check_export(self, path):
        faults, chains = check_export(_read(path))
        if faults:
            raise CommandError(str(faults[0]))
        if not chains:
            raise CommandError(f"{path} holds no whole chain: it was filtered, or is of somebody’s own acts only.")
        self.stdout.write(f"{_count(chains, 'chain', 'chains')}: intact.")
