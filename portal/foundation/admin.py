"""The base of every admin page: a read-only window with a few buttons, each of which calls an action."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from portal.foundation.once import Press, once
from portal.foundation.refusals import Refused
from portal.foundation.seals import ScreenIsStale, check_shown
from portal.foundation.templatetags.times import moment
from portal.foundation.text import Textarea


class Ready(NamedTuple):
    """A reason to start from: people choose it by its label and edit its text."""

    name: str
    label: Any
    text: Any


class ReasonForm(forms.Form):
    ready: tuple[Ready, ...] = ()
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


def when(label: Any, name: str) -> Any:
    """Return a column, and a read-only field, that shows a time as all pages do."""

    @admin.display(description=label, ordering=name)
    def field(obj: Any) -> object:
        return moment(getattr(obj, name)) or "-"

    field.__name__ = name
    return field


def occurring(rows: QuerySet[Any], name: str) -> list[tuple[Any, Any]]:
    """Return the choices of a field that some row has, in one query however many rows there are."""
    choices = rows.model._meta.get_field(name).flatchoices
    picks = [rows.filter(**{name: value}).order_by().values_list(name, flat=True)[:1] for value, _label in choices]
    there = set(picks[0].union(*picks[1:], all=True))
    return [choice for choice in choices if choice[0] in there]


class OccurringFilter(admin.ChoicesFieldListFilter):
    """Offers only those choices of a field that some row has."""

    def __init__(
        self, field: Any, request: HttpRequest, params: Any, model: Any, model_admin: Any, field_path: str
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        self._there = occurring(model_admin.get_queryset(request), field_path)

    def choices(self, changelist: Any) -> Iterator[Any]:
        everything, *rest = super().choices(changelist)
        yield everything
        for choice, shown in zip(self.field.flatchoices, rest, strict=False):
            if choice in self._there:
                yield shown


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
    show_facets = admin.ShowFacets.NEVER
    view_on_site = False
    show_full_result_count = False
    buttons: dict[str, tuple[Any, type[forms.Form] | None, Callable[..., Any]]] = {}
    # Those that stop something, which stand apart.
    destructive: frozenset[str] = frozenset()
    # What a button does, where its name does not say it.
    notes: dict[str, Any] = {}
    # Of a button that confirms what a row says: the template that shows it, and its seal, which the action takes as `shown`.
    confirms: dict[str, tuple[str, Callable[[Any], str]]] = {}
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

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        obj = self.get_object(request, object_id)
        names = [name for name in self.buttons if obj is not None and self.may_press(request, name, obj)]
        names.sort(key=self.destructive.__contains__)
        tones = ["primary", *["outline-secondary"] * len(names)]
        shown = [
            {
                "url": self._url(obj, "press", name) + (f"?shown={seal}" if (seal := self._seal(name, obj)) else ""),
                "label": self.buttons[name][0],
                "tone": "outline-danger" if name in self.destructive else tone,
            }
            for name, tone in zip(names, tones, strict=False)
        ]
        context = {"title": str(obj), "buttons": shown, **(self.beside(request, obj) if obj is not None else {})}
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

    def _seal(self, button: str, obj: Any) -> str:
        return self.confirms[button][1](obj) if button in self.confirms else ""

    def beside(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return what a row's page shows besides its fields."""
        return {}

    def form_of(self, form_class: type[forms.Form], obj: Any, *args: Any, **kwargs: Any) -> forms.Form:
        """Return a button's form for a row."""
        return form_class(*args, **kwargs)

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
        seal = self._seal(button, obj)
        try:
            if request.method != "POST":
                check_shown(request.GET.get("shown", seal), seal)
        except ScreenIsStale as stale:
            messages.error(request, str(stale))
            return redirect(self._url(obj, "change"))
        label, form_class, action = self.buttons[button]
        form = None
        if form_class:
            posted = request.POST if request.method == "POST" else None
            initial = model_to_dict(obj, fields=list(form_class.base_fields))
            ready = {each.name: each.text for each in getattr(form_class, "ready", ())}
            if text := ready.get(request.GET.get("ready", "")):
                initial["reason"] = text
            form = self.form_of(form_class, obj, posted, initial=initial)
        if request.method == "POST" and (form is None or form.is_valid()):
            try:
                given = self.values_of(request, button) | (form.cleaned_data if form else {})
                if seal:
                    given["shown"] = request.POST.get("shown", "")
                result = action(obj, by=request.user, **given)
                if isinstance(result, str):
                    return self.secret_page(request, label, result)
                messages.success(request, _("Done. The page shows the new state."))
                return redirect(self._url(obj, "change"))
            except (Refused, ValidationError) as refusal:
                messages.error(
                    request, " ".join(refusal.messages) if isinstance(refusal, ValidationError) else str(refusal)
                )
        context = {
            **self.admin_site.each_context(request),
            "title": label,
            "note": self.notes.get(button, ""),
            "tone": "danger" if button in self.destructive else "primary",
            "object": obj,
            "form": form,
            "confirms": self.confirms[button][0] if seal else "",
            "shown": seal,
            "opts": self.opts,
            "back": self._url(obj, "change"),
        }
        return render(
            request, "admin/portal/action_confirm.html", context, status=422 if request.method == "POST" else 200
        )
