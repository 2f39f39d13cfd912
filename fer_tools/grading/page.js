"use strict";
// Sort the students by a column: what a cell is sorted by stands in its data-key; those without come last.
for (const table of document.querySelectorAll("table.students")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const order = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
      const numbers = heading.classList.contains("number");
      const keyed = [...table.tBodies].map((body) => [body.rows[0].cells[column].dataset.key, body]);
      keyed.sort(([a], [b]) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        return order * (numbers ? a - b : a.localeCompare(b, "en", { numeric: true }));
      });
      table.append(...keyed.map(([, body]) => body));
    });
  });
}
// A link to a student unfolds what was found.
const unfold = () => {
  const folded = document.getElementById(location.hash.slice(1))?.querySelector("details");
  if (folded) folded.open = true;
};
addEventListener("hashchange", unfold);
unfold();
