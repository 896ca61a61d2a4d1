import os

from django.core.wsgi import get_wsgi_application

from tests.load.strict import strict

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.load.toolkit.settings"
application = strict(get_wsgi_application())
