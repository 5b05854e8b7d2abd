// A click on a column's head, or Enter or space on it, sorts its table: numbers by what a cell
// begins with, texts after them, and what is missing last whichever way.
const UNITS = {min: 60, h: 3600, d: 86400, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12};
const valueOf = (row, column) => {
  const text = row.cells[column].textContent.trim();
  const number = text.replace(/(\d),(?=\d{3})/g, "$1").match(
    /^([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?) ?(\w*)/i);
  return number ? Number(number[1]) * (UNITS[number[2]] ?? 1) : text;
};
const isMissing = (value) => value === "" || value === "–";
const compare = (a, b) => {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return typeof a === typeof b ? a.localeCompare(b) : typeof a === "number" ? -1 : 1;
};
for (const head of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  for (const part of head.textContent.split(/(?<=[/_])/)) {
    button.append(part, document.createElement("wbr"));  // where a narrow column may break it
  }
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const values = new Map([...body.rows].map((row) => [row, valueOf(row, column)]));
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [values.get(a), values.get(b)];
      if (isMissing(x) || isMissing(y)) return isMissing(x) - isMissing(y);
      return ascending ? compare(x, y) : compare(y, x);
    });
    body.append(...rows);
  });
}
// What is folded is printed too, and is folded again afterwards.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const part of opened) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of opened) part.open = false;
});
