// What is on the page: the board with its heads and rings, the bars, the prompt. No rules, no state of its own.
import { result } from "./rules.js";
import { EXPRESSIONS } from "./network.js";

export const WORDS = { neutral: "neutral", happy: "happy", surprise: "surprised" };
export const ROWS = ["top row", "middle row", "bottom row"], COLUMNS = ["left column", "middle column", "right column"];
const SVG = "http://www.w3.org/2000/svg";

/** Make an element of HTML with attributes and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Make a drawing of one of the symbols of the page. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg"), use = document.createElementNS(SVG, "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

function ring() {
  const svg = document.createElementNS(SVG, "svg"), circle = document.createElementNS(SVG, "circle");
  svg.setAttribute("class", "ring");
  svg.setAttribute("viewBox", "0 0 52 52");
  for (const [name, value] of Object.entries({ cx: 26, cy: 26, r: 23, pathLength: 100 })) circle.setAttribute(name, value);
  svg.append(circle);
  return svg;
}

const head = (i) => element("div", { class: `head ${EXPRESSIONS[i]}`, title: WORDS[EXPRESSIONS[i]] }, ring(), icon(EXPRESSIONS[i]));

/** Fill a section with the board; `pressed(cell)` hears of the mouse. Return {draw, rings}. */
export function boardView(section, pressed) {
  const rows = [0, 1, 2].map(head), columns = [0, 1, 2].map(head), drawn = Array(9).fill("");
  const cells = Array.from({ length: 9 }, (_, i) => element("button", { class: "cell", type: "button" }));
  section.append(element("i"), ...columns);
  for (let r = 0; r < 3; r++) section.append(rows[r], ...cells.slice(3 * r, 3 * r + 3));
  cells.forEach((cell, i) => cell.addEventListener("click", () => pressed(i)));

  function draw(board, { row = null, open = [] , of = null }) {
    const line = result(board)?.line ?? [];
    cells.forEach((cell, i) => {
      const mark = board[i], r = Math.floor(i / 3);
      if (mark !== drawn[i]) { cell.replaceChildren(...(mark ? [icon(mark)] : [])); drawn[i] = mark; }
      cell.dataset.mark = mark;
      cell.classList.toggle("selected", row === r && !mark);
      cell.classList.toggle("won", line.includes(i));
      const what = mark ? (mark === "X" ? "X, yours" : "O, the computer's") : row === r ? "free, in the row you chose" : "free";
      cell.setAttribute("aria-label", `${ROWS[r]}, ${COLUMNS[i % 3]}: ${what}`);
    });
    rows.forEach((one, i) => one.classList.toggle("on", of === "row" && open[i]));
    columns.forEach((one, i) => one.classList.toggle("on", of === "column" && open[i]));
  }

  /** Fill the ring of the row's or column's head that an expression stands for. */
  function rings(of, candidate, progress) {
    for (const [name, heads] of [["row", rows], ["column", columns]]) {
      heads.forEach((one, i) => {
        const part = name === of && i === candidate ? progress : 0;
        one.firstChild.style.strokeDashoffset = 100 - 100 * part;
      });
    }
  }

  return { draw, rings };
}

/** Fill an element with a bar for each expression. Return `show(mean, candidate, open)`. */
export function barsView(box) {
  const bars = EXPRESSIONS.map((name) => {
    const fill = element("b"), value = element("output");
    const bar = element("div", { class: `bar ${name}` }, icon(name), element("span", { class: "name" }, WORDS[name]), element("i", {}, fill), value);
    return { bar, fill, value };
  });
  box.append(...bars.map(({ bar }) => bar));
  return (mean, candidate, open) => bars.forEach(({ bar, fill, value }, i) => {
    fill.style.transform = `scaleX(${mean ? mean[i] : 0})`;
    value.textContent = mean ? `${Math.round(100 * mean[i])} %` : "";
    bar.classList.toggle("candidate", i === candidate);
    bar.classList.toggle("off", !open[i]);
  });
}

/** Draw a ring around the face on the picture of the camera, which the page shows mirrored. */
export function overlay(canvas, width, height, face, name, progress) {
  const context = canvas.getContext("2d");
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  context.clearRect(0, 0, width, height);
  if (!face) return;
  const radius = face.side * 0.72, top = -Math.PI / 2;
  context.lineWidth = Math.max(5, face.side * 0.045);
  context.strokeStyle = "rgba(255, 255, 255, .5)";
  context.beginPath();
  context.arc(face.x, face.y, radius, 0, 2 * Math.PI);
  context.stroke();
  if (!name) return;
  context.strokeStyle = { neutral: "#3aa0e0", happy: "#e69f00", surprise: "#e07ab4" }[name];
  context.beginPath();
  context.arc(face.x, face.y, radius, top, top - 2 * Math.PI * progress, true);
  context.stroke();
}
