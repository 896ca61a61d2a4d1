from django.urls import path

from .trying import views as trying
from .views import authorize, endpoints, failures, metadata, people, permissions, postman, receipts

urlpatterns = [
    path("oauth/authorize", authorize.authorize, name="oauth-authorize"),
    path("oauth/token", endpoints.token, name="oauth-token"),
    path("oauth/revoke", endpoints.revoke, name="oauth-revoke"),
    path("oauth/introspect", endpoints.introspect, name="oauth-introspect"),
    path("oauth/check/<slug:product>", endpoints.check, name="oauth-check"),
    path(".well-known/oauth-authorization-server", metadata.authorization_server, name="oauth-server-metadata"),
    path(".well-known/oauth-protected-resource", metadata.portal_resource, name="oauth-resource-metadata"),
    path(".well-known/oauth-protected-resource/<path:path>", metadata.product_resource, name="product-metadata"),
    path("authorizations/", people.authorization_list, name="authorization-list"),
    path("authorizations/ending/", people.ending_list, name="ending-list"),
    path("authorizations/<uuid:access_id>/", people.authorization_view, name="authorization-view"),
    path("authorizations/<uuid:access_id>/reauthorize/", permissions.reauthorize, name="authorization-reauthorize"),
    path("authorizations/<uuid:access_id>/end/", people.end_access, name="authorization-end"),
    path("authorizations/<uuid:access_id>/revoke-for-all/", people.revoke_for_all, name="authorization-revoke-for-all"),
    path("consents/<uuid:consent_id>/trim/", permissions.trim_consent, name="consent-trim"),
    path("consents/<uuid:consent_id>/widen/", permissions.widen_consent, name="consent-widen"),
    path("consents/<uuid:consent_id>/renew/", permissions.renew_consent, name="consent-renew"),
    path("consents/<uuid:consent_id>/revoke/", people.revoke_consent, name="consent-revoke"),
    path("consents/<uuid:consent_id>/confirm/", people.confirm_consent, name="consent-confirm"),
    path("credentials/<slug:client_id>/log/", failures.failure_list, name="failure-list"),
    # Before the page of a client, since `new` could be one's id.
    path("credentials/new/test/", trying.client_try, name="client-try"),
    path("credentials/test/callback/", trying.client_test_callback, name="client-test-callback"),
    path("credentials/<slug:client_id>/test/", trying.client_test, name="client-test"),
    path(
        "credentials/<slug:client_id>/postman/collection.json",
        postman.postman_download,
        {"kind": "collection"},
        name="postman-collection",
    ),
    path(
        "credentials/<slug:client_id>/postman/environment.json",
        postman.postman_download,
        {"kind": "environment"},
        name="postman-environment",
    ),
    path("receipts/<uuid:entry_id>/", receipts.receipt_view, name="receipt-view"),
    path("receipts/<uuid:entry_id>/progress/", receipts.receipt_progress, name="receipt-progress"),
]
