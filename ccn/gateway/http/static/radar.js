// The sixteen axes as a chart for eyes and a table for everybody: the same figures in both.

import { el, figure } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [X, Y, RADIUS] = [178, 132, 97];
const AXES = 16;
const LINES = ["written", "agreed", "state"]; // the last one lies on top

export function show(axes, svg, body) {
  svg.replaceChildren(...web(axes), ...LINES.flatMap((line) => shape(axes, line)), ...axes.map(label));
  svg.setAttribute("aria-label", summary(axes));
  body.replaceChildren(...axes.map(row));
}

/** The empty web: nothing is known. */
export function blank(svg, body) {
  svg.replaceChildren(...web(Array.from({ length: AXES })));
  svg.setAttribute("aria-label", "Nothing has been measured here yet.");
  body.replaceChildren();
}

/** What the chart says in one sentence. */
export function summary(axes) {
  const known = axes.filter((axis) => axis.state !== null);
  if (!known.length) return "Nothing has been measured here yet.";
  const ranked = [...known].sort((a, b) => b.state - a.state);
  const told = (axis) => `${axis.name} ${figure(axis.state)}`;
  return `Radar chart of ${known.length} axes. Highest: ${ranked.slice(0, 3).map(told).join(", ")}. ` +
    `Lowest: ${ranked.slice(-3).map(told).join(", ")}. The table below has all figures.`;
}

function place(nth, count, score) {
  const angle = (nth / count) * 2 * Math.PI - Math.PI / 2;
  return [X + Math.cos(angle) * RADIUS * score, Y + Math.sin(angle) * RADIUS * score];
}

function web(axes) {
  const rings = [0.25, 0.5, 0.75, 1].map((score) => {
    const points = axes.map((_, nth) => place(nth, axes.length, score).map(round).join()).join(" ");
    return svgEl("polygon", { points, class: score === 0.5 ? "web neutral" : "web" });
  });
  const spokes = axes.map((_, nth) => {
    const [x2, y2] = place(nth, axes.length, 1).map(round);
    return svgEl("line", { x1: X, y1: Y, x2, y2, class: "web" });
  });
  return [...spokes, ...rings];
}

/** A line from each known axis to the next one; what is unknown is a gap, not a zero. */
function shape(axes, line) {
  const points = axes.map((axis, nth) => (axis[line] === null ? null : place(nth, axes.length, axis[line]).map(round)));
  const known = points.filter(Boolean);
  if (!known.length) return [];
  const whole = known.length === axes.length;
  const d = whole ? `M${known.map((each) => each.join(" ")).join("L")}Z` : points.map((point, nth) => {
    const next = points[(nth + 1) % points.length];
    return point && next ? `M${point.join(" ")}L${next.join(" ")}` : "";
  }).join("");
  const dots = line === "state" || !whole ? known.map(([cx, cy]) => svgEl("circle", { cx, cy, r: 2.5, class: line })) : [];
  return [svgEl("path", { d, class: whole ? `${line} whole` : line }), ...dots];
}

function label(axis, nth, axes) {
  const [x, y] = place(nth, axes.length, 1 + 10 / RADIUS);
  const side = Math.abs(x - X) < 6 ? "middle" : x > X ? "start" : "end";
  const text = svgEl("text", { x: round(x), y: round(y + 4), "text-anchor": side });
  text.textContent = axis.decides ? axis.name : `${axis.name}*`;
  return text;
}

function row(axis) {
  const name = el("th", { scope: "row", title: axis.rubric }, axis.decides ? axis.name : `${axis.name}*`);
  return el("tr", {}, name, ...["state", "agreed", "written"].map((line) => el("td", {}, figure(axis[line]))));
}

function svgEl(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const round = (value) => Math.round(value * 10) / 10;
