from django.db import migrations

from portal.foundation import guards

# The portal's own words were kept beside those of vendors.
OWN = "The access ran out, and the vendor gave no way to renew it."


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0007_upgrades")]

    operations = guards.rewritten(
        "marketplace_connection",
        f"UPDATE marketplace_connection SET problem = '' WHERE problem = '{OWN}'",
        f"UPDATE marketplace_connection SET problem = '{OWN}' WHERE problem = '' AND broken_at IS NOT NULL",
    )
