from allauth.mfa.utils import decrypt, encrypt
from django.db import migrations


def _rewrite(how):
    def rewrite(apps, schema_editor):
        for row in apps.get_model("mfa", "Authenticator").objects.all():
            row.data |= {name: how(row.data[name]) for name in ("secret", "seed") if name in row.data}
            row.save(update_fields=["data"])

    return rewrite


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_readable_names"), ("mfa", "0003_authenticator_type_uniq")]

    operations = [migrations.RunPython(_rewrite(encrypt), _rewrite(decrypt))]
