"""A stock project with django-oauth-toolkit, at its best: persistent connections and a fast secret hash."""
