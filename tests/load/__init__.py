"""`make bench`: the token path beside a stock django-oauth-toolkit and bare views, on the same PostgreSQL."""
