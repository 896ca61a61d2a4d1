import json
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from credentials.actions import create_product
from credentials.models import Product
from credentials.registry import import_document
from portal.foundation.refusals import Refused


class Command(BaseCommand):
    help = "Read a product's scopes and endpoints from an OpenAPI 3 document."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--product", required=True, help="the product's slug; it is made when it is not there")
        parser.add_argument("--name", help="what people call the product")

    @transaction.atomic
    def handle(self, *, file: Path, product: str, name: str | None, **options: Any) -> None:
        try:
            document = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise CommandError(f"{file}: {error}") from None
        try:
            row = Product.objects.filter(slug=product).first() or create_product(
                slug=product, name=name or product.title()
            )
            result = import_document(row, document)
        except Refused as refusal:
            raise CommandError(f"{file}: {refusal}") from None
        except ValidationError as refusal:
            raise CommandError(" ".join(refusal.messages)) from None
        self.stdout.write(
            f"{row.name}: {row.scopes.count()} scopes ({len(result['added'])} new, "
            f"{len(result['deprecated'])} deprecated now), {row.endpoints.count()} endpoints."
        )
