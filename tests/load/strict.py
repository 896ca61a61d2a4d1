"""Every introspection is of a live token. RFC 7662 answers 200 for any other, which wrk would take for right."""


def strict(application):
    """Wrap a WSGI application: an introspection that does not call its token active gets status 500."""

    def wrapped(environ, start_response):
        if "/introspect" not in environ["PATH_INFO"]:
            return application(environ, start_response)
        told = []
        body = b"".join(application(environ, lambda *head: told.append(head)))
        status, headers = told[0][:2]
        start_response(status if b'"active": true' in body else "500 Not active", headers)
        return [body]

    return wrapped
