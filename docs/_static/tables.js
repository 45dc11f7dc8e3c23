/* The ledger's filters, and a box in which each wide table scrolls. Without it the whole table shows. */
"use strict";

const LEDGER = "table.ledger";

function labelled(text, control) {
  const label = document.createElement("label");
  label.append(text, control);
  return label;
}

function choices(name, values) {
  const select = document.createElement("select");
  select.name = name;
  select.append(new Option("all", ""));
  for (const value of values) select.append(new Option(value, value));
  return select;
}

function cell(row, place) {
  return row.cells[place].textContent.trim();
}

function kinds(rows, place, of) {
  return [...new Set(rows.map((row) => of(cell(row, place))))].sort();
}

/** "Coq theorem" and "ball interval; ..." each count by their first words. */
function restsOn(text) {
  return text.startsWith("Coq") ? "Coq" : text.split(/[:;,]/)[0];
}

function filtered(table) {
  const rows = [...table.tBodies[0].rows];
  const words = document.createElement("input");
  words.type = "search";
  words.name = "words";
  const verdict = choices("verdict", kinds(rows, 2, (text) => text));
  const rests = choices("rests", kinds(rows, 5, restsOn));
  const place = choices("place", kinds(rows, 0, (text) => text.match(/^(Eq\.|Fig\.|Table|section|arXiv)/)[0]));
  const count = document.createElement("output");
  count.setAttribute("aria-live", "polite");

  function show() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const seen =
        wanted.every((word) => text.includes(word)) &&
        (!verdict.value || cell(row, 2) === verdict.value) &&
        (!rests.value || restsOn(cell(row, 5)) === rests.value) &&
        (!place.value || cell(row, 0).startsWith(place.value));
      row.hidden = !seen;
      shown += seen;
    }
    count.textContent = `${shown} of ${rows.length} claims`;
  }

  const bar = document.createElement("form");
  bar.className = "filters";
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.append(
    labelled("words", words),
    labelled("verdict", verdict),
    labelled("rests on", rests),
    labelled("place", place),
    count,
  );
  bar.addEventListener("input", show);
  (table.closest(".table-wrapper") ?? table).before(bar);
  show();
}

document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll(LEDGER)) {
    const names = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((one, place) => (one.dataset.label = names[place]));
    }
    filtered(table);
  }
  for (const table of document.querySelectorAll("article table")) {
    if (table.closest(".table-wrapper, .highlight")) continue;
    const box = document.createElement("div");
    box.className = "table-wrapper";
    table.before(box);
    box.append(table);
  }
  for (const box of document.querySelectorAll(".table-wrapper")) box.tabIndex = 0;
});
