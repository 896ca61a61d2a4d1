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
