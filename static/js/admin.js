// Select2 draws the admin's search boxes without the name that their labels give them. Django's script, which calls
// it, waits in the same queue, before this one.
window.django?.jQuery?.(() => {
  for (const label of document.querySelectorAll("label[for]")) {
    const value = document.getElementById(`select2-${label.htmlFor}-container`);
    if (!value) continue;
    const name = label.textContent.trim().replace(/:$/, "");
    const box = value.closest("[role=combobox]");
    box.removeAttribute("aria-labelledby");
    box.setAttribute("aria-label", name);
    box.setAttribute("aria-describedby", value.id);
    value.setAttribute("aria-label", name);
  }
});
// A ready text joins what was written; without JavaScript its link opens the form with the text.
for (const link of document.querySelectorAll("a[data-text]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const field = document.querySelector("[name=reason]");
    field.value = [field.value.trim(), link.dataset.text].filter(Boolean).join("\n\n");
    field.focus();
  });
}
