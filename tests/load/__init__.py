"""`make bench`: the token path beside stock peers and bare views, on the same PostgreSQL."""
