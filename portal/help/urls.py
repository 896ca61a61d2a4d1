from django.urls import path

from . import views

urlpatterns = [
    path("help/", views.guide_list, name="guide-list"),
    path("help/<slug:slug>/", views.guide_view, name="guide-view"),
    path("help/<slug:slug>.md", views.guide_markdown, name="guide-markdown"),
    path("llms.txt", views.llms, name="llms"),
]
