// Improves pages that work without it: copy buttons, and a filter for long lists.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    await navigator.clipboard.writeText(field.value);
    button.textContent = button.dataset.done;
  });
}
for (const input of document.querySelectorAll("[data-filters]")) {
  input.closest("[hidden]")?.removeAttribute("hidden");
  const list = document.getElementById(input.dataset.filters);
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const group of list.querySelectorAll("details")) {
      let found = false;
      for (const item of group.querySelectorAll("li")) {
        const fits = !wanted || item.textContent.toLowerCase().includes(wanted);
        item.hidden = !fits;
        found ||= fits;
      }
      group.hidden = !found;
      group.open = found && (wanted !== "" || group.querySelector("input:checked") !== null);
    }
  });
}
if (matchMedia("(max-width: 899px)").matches) document.querySelector(".top-menu")?.removeAttribute("open");
