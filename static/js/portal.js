// Improves pages that work without it: copy buttons, a filter for long lists, chips of what is chosen, progress, menus that close, and focus on what is wrong.

async function copy(field) {
  // A field, or a program that is shown as text.
  if (field.select) field.select();
  else getSelection().selectAllChildren(field);
  // Outside https the clipboard may be missing; the old command is what is left there.
  if (navigator.clipboard) await navigator.clipboard.writeText(field.value ?? field.textContent);
  else document.execCommand("copy");
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await copy(document.getElementById(button.dataset.copy));
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

for (const input of document.querySelectorAll("[data-filters]")) {
  const list = document.getElementById(input.dataset.filters);
  const nothing = document.getElementById(input.dataset.nothing);
  const count = document.getElementById(input.dataset.count);
  const filter = () => {
    const words = input.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    let any = false;
    for (const group of list.querySelectorAll("details")) {
      const title = group.querySelector("summary").textContent.toLowerCase();
      let found = false;
      for (const item of group.querySelectorAll("li")) {
        const text = title + " " + item.textContent.toLowerCase();
        item.hidden = !words.every((word) => text.includes(word));
        found ||= !item.hidden;
      }
      group.hidden = !found;
      group.open = found && (words.length > 0 || group.querySelector("input:checked") !== null);
      any ||= found;
    }
    if (nothing) nothing.hidden = any;
  };
  const chips = document.getElementById(input.dataset.chips);
  const chip = (box) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.className = "chip";
    link.href = `#${box.id}`;
    link.textContent = list.querySelector(`label[for="${box.id}"] .scope-sentence`).textContent;
    item.append(link);
    return item;
  };
  const tally = () => {
    const ticked = [...list.querySelectorAll("input:checked")];
    if (count) count.textContent = ticked.length;
    if (!chips) return;
    chips.replaceChildren(...ticked.map(chip));
    chips.hidden = ticked.length === 0;
  };
  input.addEventListener("input", filter);
  // Enter searches here; it must not send the form around it.
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  list.addEventListener("change", tally);
  tally();
}

// An address that is made from a name, until somebody writes their own. The server makes the same one.
for (const name of document.querySelectorAll("[data-suggests]")) {
  const address = document.getElementById(name.dataset.suggests);
  let isOwn = address.value !== "";
  address.addEventListener("input", () => { isOwn = address.value !== ""; });
  name.addEventListener("input", () => {
    if (isOwn) return;
    const ascii = name.value.normalize("NFKD").replace(/[^\x00-\x7f]/g, "").toLowerCase();
    const words = ascii.replace(/[^\w\s-]/g, "").replace(/[^a-z0-9]+/g, "-").replace(/^-+/, "");
    address.value = words.slice(0, 46).replace(/-+$/, "");
  });
}

// A link to something in a closed group opens it, and so does an error.
function reveal(element) {
  for (let at = element; at; at = at.parentElement) {
    if (at.matches("details")) at.open = true;
    if (at.matches("li, details")) at.hidden = false;
  }
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link) reveal(document.getElementById(link.hash.slice(1)));
});
for (const field of document.querySelectorAll("main details .is-invalid")) reveal(field);

// Here a second press would get a page without the first one's answer.
for (const form of document.querySelectorAll("form[data-press-once]")) {
  let pressed = false;
  form.addEventListener("submit", (event) => {
    if (pressed) event.preventDefault();
    pressed = true;
  });
  window.addEventListener("pageshow", () => { pressed = false; });
}

// Work that goes on: the page asks how far it is, less and less often, until it is done. Only the server knows.
for (const part of document.querySelectorAll("[data-progress]")) {
  const [status, details, again] = part.children;
  let wait = 1000;
  again.hidden = true;
  // Returns whether to ask again.
  const ask = async () => {
    let answer, text;
    try {
      answer = await fetch(part.dataset.progress, { cache: "no-store", redirect: "manual" });
      text = await answer.text();
    } catch {
      return true;
    }
    if (answer.status >= 500) return true;
    const page = new DOMParser().parseFromString(answer.ok ? text : "", "text/html");
    const now = page.querySelector(".going-on");
    if (!now) {
      again.hidden = false;
      return false;
    }
    // Only what changed is read out.
    if (status.textContent !== now.children[0].textContent) status.textContent = now.children[0].textContent;
    details.replaceChildren(...now.children[1].childNodes);
    if (now.dataset.progress) return true;
    delete part.dataset.progress;
    return false;
  };
  const later = () => setTimeout(async () => {
    wait = Math.min(1.5 * wait, 30000);
    if (await ask()) later();
  }, wait);
  later();
}

// The zone in which a person who signs in for the first time reads times.
if (location.pathname.startsWith("/accounts/")) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `time_zone=${zone}; path=/accounts/; samesite=lax${secure}`;
}

const menus = document.querySelectorAll("details.menu");
document.addEventListener("click", (event) => {
  for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus) {
    if (menu.open) menu.querySelector("summary").focus();
    menu.open = false;
  }
});

// Where a form tells first what is wrong with it, the browser is there already.
if (!document.querySelector("[role=alert][autofocus]")) document.querySelector("main .is-invalid")?.focus();
