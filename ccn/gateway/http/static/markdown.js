// Markdown as a model writes it, in blocks: headings, lists, quotes, fences, tables. Built from nodes, never from markup,
// so whatever a text contains is shown and nothing of it is run.
//
// A reply grows at its end: blocks that are complete stay as they are, and only the last one is made again.

import { el } from "./dom.js";
import { inline } from "./inline.js";

const DEPTH = 6; // of lists and quotes within each other; what lies deeper is shown as it is written
const COLUMNS = 30;
const COPIED_MS = 2_000;
// None of these looks at a line more than a few times, whatever stands in it.
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t](.*))?$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?: +|$)/;
const DASHES = /^\|?(?:[ \t]*:?-+:?[ \t]*\|)*[ \t]*:?-+:?[ \t]*\|?$/;

/** A place in which a text is shown while it grows. */
export class Writing {
  #place;
  #text = "";
  #last = 0; // where the last block begins

  constructor(place) {
    this.#place = place;
  }

  show(text) {
    if (text.startsWith(this.#text)) {
      this.#place.lastChild?.remove();
    } else {
      this.#place.replaceChildren();
      this.#last = 0;
    }
    this.#text = text;
    const found = blocks(text.slice(this.#last));
    this.#place.append(...found.map((block) => node(block, 0)));
    this.#last += found.at(-1)?.from ?? 0;
  }
}

/** A whole text as nodes. */
export const nodes = (text, depth = 0) => blocks(text).map((block) => node(block, depth));

/** The blocks of a text, each with the place at which it begins. */
export function blocks(text) {
  const lines = text.split("\n");
  const found = [];
  let [at, from] = [0, 0];
  while (at < lines.length) {
    const block = lines[at].trim() ? taken(lines, at) : { count: 1 };
    if (block.kind) found.push({ ...block, from });
    for (let nth = at; nth < at + block.count; nth += 1) from += lines[nth].length + 1;
    at += block.count;
  }
  return found;
}

/** The block that begins with this line, and how many lines it has. */
function taken(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return { kind: "heading", level: heading[1].length, text: unfenced(heading[2] ?? ""), count: 1 };
  if (RULE.test(line)) return { kind: "rule", count: 1 };
  if (QUOTE.test(line)) return quoted(lines, at);
  if (ITEM.test(line)) return listed(lines, at);
  if (line.includes("|") && DASHES.test((lines[at + 1] ?? "").trim())) return tabled(lines, at);
  let count = 1;
  while (lines[at + count]?.trim() && !interrupts(lines[at + count])) count += 1;
  return { kind: "paragraph", text: lines.slice(at, at + count).join("\n").trim(), count };
}

/** A heading without the marks that may close it. */
function unfenced(text) {
  let end = text.trimEnd().length;
  while (text[end - 1] === "#") end -= 1;
  return end === 0 || /[ \t]/.test(text[end - 1]) ? text.slice(0, end).trim() : text.trim();
}

const interrupts = (line) => FENCE.test(line) || HEADING.test(line) || QUOTE.test(line) || RULE.test(line) ||
  /^ {0,3}(?:[-*+]|1[.)]) +\S/.test(line);

function fenced(lines, at, [, ticks, language]) {
  const closes = new RegExp(`^ {0,3}${ticks[0]}{${ticks.length},}[ \\t]*$`);
  let count = 1;
  while (at + count < lines.length && !closes.test(lines[at + count])) count += 1;
  const text = lines.slice(at + 1, at + count).join("\n");
  return { kind: "code", language: language.trim().split(/\s/)[0].slice(0, 30), text, count: Math.min(count + 1, lines.length - at) };
}

function quoted(lines, at) {
  let count = 1;
  while (lines[at + count]?.trim() && (QUOTE.test(lines[at + count]) || !interrupts(lines[at + count]))) count += 1;
  const text = lines.slice(at, at + count).map((line) => line.replace(QUOTE, "")).join("\n");
  return { kind: "quote", text, count };
}

/** Items of one kind; what is indented belongs to its item, also after an empty line. */
function listed(lines, at) {
  const ordered = /\d/.test(ITEM.exec(lines[at])[2]);
  const items = [];
  let nth = at;
  while (nth < lines.length) {
    const item = ITEM.exec(lines[nth]);
    if (!item || RULE.test(lines[nth]) || /\d/.test(item[2]) !== ordered) break;
    const own = [lines[nth].slice(item[0].length)];
    const indent = Math.max(2, item[1].length + item[2].length);
    for (nth += 1; nth < lines.length && belongs(lines, nth, indent); nth += 1) own.push(outdented(lines[nth], indent + 1));
    items.push(own.join("\n"));
    while (nth < lines.length && !lines[nth].trim() && ITEM.test(following(lines, nth))) nth += 1;
  }
  return { kind: "list", start: ordered ? parseInt(ITEM.exec(lines[at])[2], 10) : null, items, count: nth - at };
}

function belongs(lines, nth, indent) {
  const line = lines[nth].trim() ? lines[nth] : following(lines, nth);
  if (line.startsWith(" ".repeat(indent)) || line.startsWith("\t")) return true;
  return Boolean(lines[nth].trim() && lines[nth - 1].trim() && !ITEM.test(lines[nth]) && !interrupts(lines[nth]));
}

/** The next line that is not empty; of many empty ones only some are looked at. */
const following = (lines, nth) => lines.slice(nth, nth + 10).find((each) => each.trim()) ?? "";

const outdented = (line, most) => line.replace(new RegExp(`^(?:\\t| {0,${most}})`), "");

function tabled(lines, at) {
  let count = 2;
  while (lines[at + count]?.trim() && lines[at + count].includes("|")) count += 1;
  const [head, dashes, ...rows] = lines.slice(at, at + count).map(cells);
  const sides = dashes.map((each) => (each.endsWith(":") ? (each.startsWith(":") ? "center" : "end") : "start"));
  return { kind: "table", head, sides, rows, count };
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).slice(0, COLUMNS)
  .map((each) => each.trim().replaceAll("\\|", "|"));

const told = (name, text, attributes = {}) => el(name, { dir: "auto", ...attributes }, ...inline(text));

function node(block, depth) {
  if (depth > DEPTH) return el("p", { dir: "auto" }, block.text ?? (block.items ?? [""]).join("\n"));
  switch (block.kind) {
    case "heading": return told(`h${Math.min(6, block.level + 2)}`, block.text); // the page's own are h1 and h2
    case "rule": return el("hr");
    case "code": return code(block);
    case "quote": return el("blockquote", { dir: "auto" }, ...nodes(block.text, depth + 1));
    case "list": return list(block, depth);
    case "table": return table(block);
    default: return told("p", block.text);
  }
}

/** Of one direction, that of its first item: where its numbers stand. */
function list({ start, items }, depth) {
  const made = items.map((text) => {
    const inner = nodes(text, depth + 1);
    const [first, ...others] = inner;
    return el("li", {}, ...(first?.localName === "p" ? [...first.childNodes, ...others] : inner));
  });
  return start === null ? el("ul", { dir: "auto" }, ...made) : el("ol", { dir: "auto", start }, ...made);
}

function table({ head, sides, rows }) {
  const line = (name, texts) => el("tr", {}, ...head.map((_, nth) => told(name, texts[nth] ?? "", { class: sides[nth] ?? "start" })));
  return el("div", { class: "wide", role: "region", "aria-label": "Table", tabindex: "0" },
    el("table", {}, el("thead", {}, line("th", head)), el("tbody", {}, ...rows.map((row) => line("td", row)))));
}

function code({ language, text }) {
  const copy = el("button", { type: "button", class: "plain" }, "Copy");
  const shown = el("code", {}, text);
  copy.addEventListener("click", () => copied(copy, shown));
  return el("div", { class: "code", dir: "ltr" },
    el("div", { class: "code-head" }, el("span", {}, language || "text"), copy),
    el("pre", { tabindex: "0" }, shown));
}

/** Onto the clipboard, or, where a page without TLS has none, selected for whoever copies it by keyboard. */
async function copied(button, shown) {
  try {
    await navigator.clipboard.writeText(shown.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(shown);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
}
