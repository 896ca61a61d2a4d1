"""The base of every admin page: a read-only window with a few buttons, each of which calls an action."""

import contextlib
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from portal.foundation.once import Press, once
from portal.foundation.refusals import Refused
from portal.foundation.text import Textarea


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=2000,
        widget=Textarea(attrs={"rows": 4}),
        help_text=_("The people concerned will read it, and it stays on record."),
    )


class OptionalReasonForm(ReasonForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = False
        self.fields["reason"].label = _("Reason (optional)")


def shown(label: Any, value: Callable[[Any], object]) -> Any:
    """Return a read-only field that shows text. The admin's own fields link to pages that the reader may not open."""

    @admin.display(description=label)
    def field(obj: Any) -> object:
        return value(obj) or "-"

    return field


class CountedPaginator(Paginator):
    """Counts no more rows than the page needs that is asked for, and those of the first ten pages."""

    # The page asked for, and whether there are more rows than were counted.
    number, is_cut = 1, False

    @cached_property
    def count(self) -> int:
        most = max(10, self.number) * self.per_page + 1
        # In order, so that PostgreSQL reads the index of that order and not the table from its start.
        count = self.object_list[:most].count()  # type: ignore[attr-defined]
        self.is_cut = count == most
        return count


class WindowAdmin(admin.ModelAdmin):
    """No adding, no deleting, nothing editable. `buttons` maps a name to (label, form class or None, action)."""

    actions = None
    view_on_site = False
    show_full_result_count = False
    buttons: dict[str, tuple[Any, type[forms.Form] | None, Callable[..., Any]]] = {}
    # What a button does, where its name does not say it.
    notes: dict[str, Any] = {}
    change_form_template = "admin/portal/window.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_paginator(self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any) -> Paginator:
        paginator = CountedPaginator(queryset, per_page, *args, **kwargs)
        with contextlib.suppress(ValueError):
            paginator.number = min(int(request.GET.get("p", "1")), 10**12)
        return paginator

    def may_press(self, request: HttpRequest, name: str, obj: Any) -> bool:
        """Tell whether this person may press a button; the action checks again."""
        return request.user.is_superuser

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_press"
        press = once(self.press, again=self.secret_again)
        return [
            path("<path:object_id>/press/<slug:button>/", self.admin_site.admin_view(press), name=name),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        obj = self.get_object(request, object_id)
        shown = [
            {"url": self._url(obj, "press", name), "label": label}
            for name, (label, *_) in self.buttons.items()
            if obj is not None and self.may_press(request, name, obj)
        ]
        context = {"buttons": shown, "show_save": False, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Django's looks for the object first, and so tells anyone of the staff whether there is one.
        if not self.has_view_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)

    def _url(self, obj: Any, what: str, *args: object) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{what}", args=[obj.pk, *args])

    def values_of(self, request: HttpRequest, button: str) -> dict[str, Any]:
        """Return what an action takes besides its form's fields."""
        return {}

    def secret_page(self, request: HttpRequest, title: str, secret: str) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "title": title, "secret": secret}
        response = render(request, "admin/portal/secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def secret_again(self, request: HttpRequest, press: Press) -> HttpResponse:
        """Answer the second press of a button that shows a secret."""
        raise NotImplementedError

    def press(self, request: HttpRequest, object_id: str, button: str) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is None or button not in self.buttons or not self.has_view_permission(request, obj):
            raise PermissionDenied
        if not self.may_press(request, button, obj):
            messages.error(request, _("This cannot be done now. The page shows the current state."))
            return redirect(self._url(obj, "change"))
        label, form_class, action = self.buttons[button]
        form = None
        if form_class:
            posted = request.POST if request.method == "POST" else None
            form = form_class(posted, initial=model_to_dict(obj, fields=list(form_class.base_fields)))
        if request.method == "POST" and (form is None or form.is_valid()):
            try:
                given = self.values_of(request, button) | (form.cleaned_data if form else {})
                result = action(obj, by=request.user, **given)
                if isinstance(result, str):
                    return self.secret_page(request, label, result)
                messages.success(request, _("%(what)s: done.") % {"what": label})
                return redirect(self._url(obj, "change"))
            except (Refused, ValidationError) as refusal:
                messages.error(
                    request, " ".join(refusal.messages) if isinstance(refusal, ValidationError) else str(refusal)
                )
        context = {
            **self.admin_site.each_context(request),
            "title": label,
            "note": self.notes.get(button, ""),
            "object": obj,
            "form": form,
            "opts": self.opts,
            "back": self._url(obj, "change"),
        }
        return render(
            request, "admin/portal/action_confirm.html", context, status=422 if request.method == "POST" else 200
        )
