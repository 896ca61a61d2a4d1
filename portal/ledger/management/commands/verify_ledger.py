from django.core.management.base import BaseCommand, CommandError

from portal.ledger.actions import verify
from portal.ledger.models import Chain


class Command(BaseCommand):
    help = "Check that nothing in the ledger was altered, removed, swapped or added by hand; exit 1 names the first bad entry."

    def add_arguments(self, parser):
        parser.add_argument("--chain", help="check this chain only")

    def handle(self, *, chain, **options):
        chains = Chain.objects.order_by("name")
        if chain:
            chains = chains.filter(name=chain)
            if not chains:
                raise CommandError(f"There is no chain named {chain}.")
        for each in chains:
            fault = verify(each)
            if fault:
                raise CommandError(str(fault))
        self.stdout.write(f"{len(chains)} chains, {sum(each.length for each in chains)} entries: intact.")
