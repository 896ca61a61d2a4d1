from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import InvalidToken
from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db.models import TextField, Value
from django.db.models.functions import Cast

from portal.foundation.encryption import EncryptedField, rotate

BATCH = 500


class Command(BaseCommand):
    help = (
        "Encrypt again, with the first of FIELD_ENCRYPTION_KEYS, all that the database keeps encrypted; "
        "then the other keys can be taken out. May run beside the portal, and twice."
    )

    def handle(self, **options: Any) -> None:
        rotated = 0
        try:
            for model in apps.get_models():
                for field in model._meta.concrete_fields:
                    if isinstance(field, EncryptedField):
                        rotated += self._column(model, field.attname)
            rotated += self._second_factors()
        except InvalidToken:
            raise CommandError(
                f"{rotated} values done; one of the rest was encrypted with a key that is not in FIELD_ENCRYPTION_KEYS."
            ) from None
        self.stdout.write(f"{rotated} values are encrypted with the first key.")

    def _column(self, model: Any, name: str) -> Any:
        rows = model._base_manager.exclude(**{name: None}).annotate(raw=Cast(name, TextField())).order_by("pk")
        done, last = 0, None
        while batch := list((rows.filter(pk__gt=last) if last else rows).values_list("pk", "raw")[:BATCH]):
            for pk, raw in batch:
                # What changed meanwhile was encrypted anew by whoever changed it.
                unchanged = model._base_manager.annotate(raw=Cast(name, TextField())).filter(pk=pk, raw=raw)
                done += unchanged.update(**{name: Value(rotate(raw), output_field=TextField())})
            last = batch[-1][0]
        return done

    def _second_factors(self) -> Any:
        done = 0
        for row in Authenticator.objects.order_by("pk").iterator(BATCH):
            data = row.data | {name: rotate(row.data[name]) for name in ("secret", "seed") if name in row.data}
            if data != row.data:
                done += Authenticator.objects.filter(pk=row.pk, data=row.data).update(data=data)
        return done
