// Before the first paint: what the person chose in their settings, else what the system has, also when that changes.
const chosen = document.cookie.match(/(?:^|; )theme=(light|dark)(?:;|$)/)?.[1];
const dark = matchMedia("(prefers-color-scheme: dark)");
const apply = () => {
  const theme = chosen ?? (dark.matches ? "dark" : "light");
  document.documentElement.dataset.bsTheme = theme;
  // The admin's own name for it.
  document.documentElement.dataset.theme = theme;
};
dark.addEventListener("change", apply);
apply();
