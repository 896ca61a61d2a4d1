"""node-oidc-provider with a PostgreSQL adapter, as a cluster."""
