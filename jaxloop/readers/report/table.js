"use strict";
// A table that is sorted by a click on a heading; of long ones the first rows, and more on demand.

const ROWS = 200;

// columns: [{ name, value(row), sortedBy(row), isWord, className(row) }]. Returns { show(rows) }.
function sortable(parent, columns, rows, { sorted = null, largestFirst = false } = {}) {
  let order = { column: sorted, sign: largestFirst ? -1 : 1 }, shown = rows, limit = ROWS;
  const head = element("tr"), body = element("tbody");
  const more = element("button", { onclick: () => { limit += 5 * ROWS; fill(); } });
  columns.forEach((column, place) => {
    const sort = () => {
      order = { column: place, sign: order.column === place ? -order.sign : 1 };
      fill();
    };
    head.append(element("th", {
      class: column.isWord ? "word" : null, scope: "col", tabindex: 0, title: "sort", onclick: sort,
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sort();
      },
    }, column.name));
  });
  parent.append(element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), body)), more);

  function compared(first, second) {
    const { value, sortedBy } = columns[order.column];
    const [one, other] = [first, second].map(sortedBy ?? value);
    const absent = (value) => value === null || value === undefined || Number.isNaN(value);
    if (absent(one) || absent(other)) return absent(one) - absent(other); // at the end, whichever the order
    const found = typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
    return order.sign * found;
  }

  function fill() {
    const all = order.column === null ? shown : [...shown].sort(compared);
    body.replaceChildren(...all.slice(0, limit).map((row) => element("tr", {}, ...columns.map((column) => element(
      "td", { class: [column.isWord ? "word" : "", column.className?.(row) ?? ""].join(" ").trim() || null },
      short(column.value(row)),
    )))));
    [...head.children].forEach((cell, place) => {
      const mark = place === order.column ? (order.sign > 0 ? " ↑" : " ↓") : "";
      cell.textContent = columns[place].name + mark;
      cell.setAttribute("aria-sort", mark ? (order.sign > 0 ? "ascending" : "descending") : "none");
    });
    more.hidden = all.length <= limit;
    more.textContent = `show more of ${all.length} rows`;
  }

  fill();
  return { show(next) { shown = next; limit = ROWS; fill(); } };
}
