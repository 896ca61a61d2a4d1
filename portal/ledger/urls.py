from django.urls import path

from . import views

urlpatterns = [
    path("ledger/", views.ledger_list, name="ledger-list"),
    path("ledger/export.csv", views.ledger_export, {"kind": "csv"}, name="ledger-export-csv"),
    path("ledger/export.json", views.ledger_export, {"kind": "json"}, name="ledger-export-json"),
    path("ledger/exports/", views.export_create, name="export-create"),
    path("ledger/exports/<uuid:export_id>/", views.export_view, name="export-view"),
    path("ledger/exports/<uuid:export_id>/progress/", views.export_progress, name="export-progress"),
    path("ledger/exports/<uuid:export_id>/download/", views.export_download, name="export-download"),
    path(".well-known/ledger-keys.json", views.ledger_keys, name="ledger-keys"),
    path("receipts/verify_receipt.py", views.receipt_verifier, name="receipt-verifier"),
]
