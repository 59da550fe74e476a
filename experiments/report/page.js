"use strict";
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const one = (selector, from = document) => from.querySelector(selector);
const problems = [];
addEventListener("error", (event) => problems.push(event.message));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));

// --- sort: by numbers where all values are numbers, else as text; the same column again turns the order round
const valueOf = (row, column) => row.cells[column].dataset.value;
const compare = (a, b) => (a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b, "en"));

function sortBy(head) {
  const table = head.closest("table");
  const column = head.cellIndex;
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of all("th", table)) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (down ? -1 : 1) * compare(valueOf(a, column), valueOf(b, column)));
  table.tBodies[0].append(...rows);
}
for (const head of all("table.sortable th")) one("button", head).addEventListener("click", () => sortBy(head));

// --- filter: rows of claims and of statements by their status and their words
const rows = all("tr[data-status]");
const words = new Map(rows.map((row) => [row, `${row.textContent} ${row.closest("section").id}`.toLowerCase()]));
const search = one("input[type=search]");

function filter() {
  const status = one("input[name=status]:checked").value;
  const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    row.hidden = (status && row.dataset.status !== status) || !asked.every((word) => words.get(row).includes(word));
  }
  for (const section of all("section.card")) section.hidden = !all("tr[data-status]", section).some((row) => !row.hidden);
  for (const part of all("#papers, #experiments")) part.hidden = !all("section.card", part).some((section) => !section.hidden);
  one("#summary").hidden = Boolean(status || asked.length);
  const shown = rows.filter((row) => !row.hidden).length;
  one("#shown").textContent = `${shown} of ${rows.length} rows`;
  one("#nothing").hidden = shown > 0;
}
for (const input of all(".filters input")) input.addEventListener("input", filter);
filter();
// a row that is linked to is shown, whatever is filtered
addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.closest("[hidden]")) return;
  one("input[name=status][value='']").checked = true;
  search.value = "";
  filter();
  target.scrollIntoView();
});

// --- enlarge
const viewer = one("#viewer");
const large = one("img", viewer);
for (const button of all(".enlarge")) {
  button.addEventListener("click", () => {
    large.src = one("img", button).src;
    large.alt = one("img", button).alt;
    viewer.classList.remove("whole");
    viewer.showModal();
  });
}
large.addEventListener("click", () => viewer.classList.toggle("whole"));
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());

// --- copy
for (const button of all(".copy")) {
  button.addEventListener("click", async () => {
    const code = one("code", button.parentElement);
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "selected";
    }
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
}

// --- colours: those of the system, or light, or dark; kept where the browser lets a page keep something
const THEMES = ["auto", "light", "dark"];
const theme = one("#theme");
function colour(name) {
  theme.dataset.name = name;
  theme.textContent = `◐ ${name}`;
  theme.setAttribute("aria-label", `colours: ${name}`);
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}
function keep(name) {
  try { localStorage.setItem("theme", name); } catch { /* files have no storage in some browsers */ }
}
function kept() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}
theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(theme.dataset.name) + 1) % THEMES.length];
  colour(next);
  keep(next);
});
colour(THEMES.includes(kept()) ? kept() : "auto");

// --- ?check: the page tries itself, and writes what it found into the document
async function check() {
  const found = {};
  const ordered = (table, column, sign) =>
    [...table.tBodies[0].rows].every((row, i, list) => !i || sign * compare(valueOf(list[i - 1], column), valueOf(row, column)) <= 0);
  const sorts = (head, sign) => {
    one("button", head).click();
    return ordered(head.closest("table"), head.cellIndex, sign);
  };
  found.sorts = all("table.sortable th").every((head) => sorts(head, 1) && sorts(head, -1));
  const show = (status, text) => {
    one(`input[name=status][value='${status}']`).click();
    search.value = text;
    search.dispatchEvent(new Event("input"));
    return rows.filter((row) => row.offsetParent !== null || row.getClientRects().length > 0);
  };
  found.filters = ["holds", "fails", "needs"].every((status) => {
    const visible = show(status, "");
    const expected = rows.filter((row) => row.dataset.status === status).length;
    return visible.length === expected && expected > 0 && visible.every((row) => row.dataset.status === status);
  });
  const lista = show("", "lista").length;
  found.searches = lista > 0 && lista < rows.length && show("", "no such words").length === 0 && !one("#nothing").hidden;
  found.shows = show("", "").length === rows.length;
  found.figures = true;
  const loaded = async (picture) => {
    picture.loading = "eager";
    while (!picture.complete) await new Promise((resolve) => setTimeout(resolve, 10));
    return picture.naturalWidth > 0;
  };
  for (const button of all(".enlarge")) {
    button.scrollIntoView();
    if (!(await loaded(one("img", button)))) found.figures = button.getAttribute("aria-label");
    button.click();
    await loaded(large);
    const small = button.getBoundingClientRect();
    const whole = large.getBoundingClientRect();
    const inside = whole.right <= innerWidth + 1 && whole.bottom <= innerHeight + 1;
    const grown = whole.width * whole.height > small.width * small.height;
    if (!viewer.open || !inside || (innerWidth > 960 && !grown)) found.figures = button.getAttribute("aria-label");
    large.click();
    if (large.getBoundingClientRect().width !== large.naturalWidth) found.figures = button.getAttribute("aria-label");
    viewer.close();
  }
  const paper = () => getComputedStyle(document.body).backgroundColor;
  colour("light");
  const light = paper();
  colour("dark");
  found.colours = light !== paper();
  colour("auto");
  found.links = all("a[href^='#']").every((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
  const root = document.documentElement;
  const wide = all("body *").filter((node) => node.getBoundingClientRect().right > root.clientWidth + 1 && !node.closest("dialog, .hidden, .enlarge"));
  found.fits = root.scrollWidth <= root.clientWidth && !wide.length ? true : `${root.scrollWidth} in ${root.clientWidth}: ${wide[0]?.className}`;
  scrollTo(0, 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  found.errors = problems.length === 0 ? true : problems;
  return found;
}
if (location.search === "?check") {
  check()
    .catch((error) => ({ check: error.stack }))
    .then((found) => {
      const outcome = document.createElement("pre");
      outcome.id = "check";
      outcome.dataset.outcome = Object.values(found).every((value) => value === true) ? "passed" : "failed";
      outcome.textContent = JSON.stringify(found, null, 1);
      document.body.append(outcome);
    });
}
