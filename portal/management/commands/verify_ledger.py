from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from consent.texts import altered_texts
from docs.verify_receipt import NotIntact, Unreadable, load
from portal.accounts.models import Account, Team
from portal.ledger.actions import verify
from portal.ledger.checkpoints import BadCheckpoint, missing_checkpoints, read_checkpoints
from portal.ledger.exports import check_export, check_receipt
from portal.ledger.models import Chain, Entry

OPERATOR_ONLY = "It was made before receipts were signed with public keys: only whoever runs the portal can verify it."


def _count(number: int, one: Any, many: Any) -> str:
    return f"{number} {one if number == 1 else many}"


def _checked(path: str, check: Any) -> Any:
    """Return what `check` makes of a file's text. Raises CommandError with what is wrong with it."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return check(file.read())
    except NotIntact as bad:
        raise CommandError("\n".join(f"{path}: {problem}" for problem in bad.problems)) from bad
    except (OSError, UnicodeError, RecursionError, Unreadable, BadCheckpoint) as bad:
        raise CommandError(f"{path}: {bad}") from bad


class Command(BaseCommand):
    help = (
        "Check that nothing in the ledger was altered, removed, swapped, added by hand, cut off or rehashed, and that"
        " the words people agreed to are still those they read; exit 1 names each problem."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--chain", help="check this chain only")
        parser.add_argument("--receipt", metavar="FILE", help="check a receipt, and the chain it is of against it")
        parser.add_argument(
            "--export", metavar="FILE", help="check a JSON or CSV export, without the database’s ledger"
        )

    def handle(self, *, chain: Any, receipt: Any, export: Any, **options: Any) -> None:
        if export:
            self._check_export(export)
            return
        seen, problems = self._checkpoints()
        if receipt:
            point, is_public = _checked(receipt, lambda text: check_receipt(load(text)))
            chain = point["chain"]
            seen.setdefault(chain, {})[point["length"]] = point["head"]
        orphaned = Entry.objects.order_by().values_list("chain_id", flat=True).distinct()
        # The act that makes an account or a team records it.
        owed = [organisation.chain_name for model in (Account, Team) for organisation in model.objects.iterator()]
        # Last, so that a chain that begins meanwhile is here wherever it was met.
        rows = {each.name: each for each in Chain.objects.all()}
        known = {*rows, *seen, *orphaned, *owed}
        names = sorted(known & {chain} if chain else known)
        if chain and not names:
            raise CommandError(f"There is no chain named {chain}.")
        for name in names:
            if name not in rows:
                problems.append(f"{name} #1: the entry is missing: the chain is gone")
            elif fault := verify(rows[name], seen.get(name)):
                problems.append(str(fault))
        problems += altered_texts(chain)
        if problems:
            raise CommandError("\n".join(problems))
        if receipt:
            self.stdout.write(f"The receipt is of entry #{point['length']} of {chain}, which is as it was recorded.")
            self._say_who_can_verify(is_public)
        total = sum(rows[name].length for name in names)
        self.stdout.write(f"{_count(len(names), 'chain', 'chains')}, {_count(total, 'entry', 'entries')}: intact.")

    def _say_who_can_verify(self, is_public: bool) -> None:
        if not is_public:
            self.stdout.write(OPERATOR_ONLY)

    def _checkpoints(self) -> Any:
        """Return what checkpoints say of each chain, as {chain: {length: head}}, and the problems with their file."""
        # Read before the file, which a worker writes to first.
        rows = list(Chain.objects.filter(checkpointed__gt=0))
        path, were_written = settings.CHECKPOINT_FILE, bool(rows)
        if not path:
            return {}, ["Checkpoints were written, and CHECKPOINT_FILE does not say where."] if were_written else []
        if not Path(path).exists():
            return {}, [f"Checkpoints were written to {path}, and it is not there."] if were_written else []
        try:
            seen = read_checkpoints(path)
        except (BadCheckpoint, OSError) as bad:
            return {}, [str(bad)]
        return seen, [f"{path}: {problem}" for problem in missing_checkpoints(rows, seen)]

    def _check_export(self, path: str) -> None:
        content, is_public = _checked(path, check_export)
        entries, chains = _count(content["digest"]["count"], "entry", "entries"), len(content["checkpoints"])
        held = f"{_count(chains, 'chain', 'chains')}, {entries}" if chains else f"{entries}, no complete chain"
        self._say_who_can_verify(is_public)
        self.stdout.write(f"{held}: intact.")
