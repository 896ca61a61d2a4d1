from django.db import migrations


def put_samples(apps, schema_editor):
    """Give the test accounts of teams that exist already what new ones get with their team."""
    from portal.demo.sandbox.samples import samples

    Account, Ticket = apps.get_model("accounts", "Account"), apps.get_model("sandbox", "Ticket")
    accounts = Account.objects.exclude(test_of_team=None).filter(tickets=None)
    for account in accounts.order_by("pk").iterator(500):
        Ticket.objects.bulk_create(Ticket(account_id=account.pk, **fields) for fields in samples(account.name))


class Migration(migrations.Migration):
    dependencies = [("sandbox", "0001_initial"), ("accounts", "0011_mail")]

    operations = [migrations.RunPython(put_samples, migrations.RunPython.noop)]
