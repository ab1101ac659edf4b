// Markdown within a line: emphasis, code, links. Everything becomes a node or stays text; there is no way to markup.
//
// One pass with a short stack of what was opened, so that nothing that somebody writes takes long to read.

import { el } from "./dom.js";

const DEPTH = 20; // what is opened deeper stays text
const MARKS = { "*": "em", "_": "em", "**": "strong", "__": "strong", "~~": "s" };
const SPECIAL = /[\\`*_~[\]!]|https?:\/\//g;
const DESTINATION = /\(\s*<?((?:[^\s<>()]|\([^\s<>()]{0,500}\)){1,2000})>?(?:\s+"[^"]{0,500}")?\s*\)/y;
const BARE = /https?:\/\/[^\s<>"'`|\\^{}[\]]{1,2000}/y;
const AFTER = /[.,;:!?*_~)]+$/; // of an address in a sentence
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const LETTER = /[\p{L}\p{N}]/u;

/** The nodes of a text, in order. */
export function inline(text) {
  const stack = [{ mark: "", nodes: [] }];
  const silent = new Set(); // runs of backticks that nothing closes
  const say = (node) => stack.at(-1).nodes.push(node);
  let at = 0;
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const found = SPECIAL.exec(text);
    const until = found ? found.index : text.length;
    if (until > at) say(text.slice(at, until));
    if (!found) break;
    at = until + special(text, until, { stack, say, silent });
  }
  while (stack.length > 1) give(stack);
  return merged(stack[0].nodes);
}

/** Take up what begins here, and tell how long it is. */
function special(text, at, reading) {
  const { stack, say } = reading;
  switch (text[at]) {
    case "\\":
      if (PUNCTUATION.test(text[at + 1] ?? "")) return say(text[at + 1]), 2;
      break;
    case "`":
      return code(text, at, reading);
    case "h":
      return bare(text, at, say);
    case "!":
      if (text[at + 1] === "[" && stack.length < DEPTH) return stack.push({ mark: "![", nodes: [] }), 2;
      break;
    case "[":
      if (stack.length < DEPTH) return stack.push({ mark: "[", nodes: [] }), 1;
      break;
    case "]":
      return link(text, at, reading);
    default:
      return emphasis(text, at, reading);
  }
  say(text[at]);
  return 1;
}

function code(text, at, { say, silent }) {
  const run = /`+/y;
  run.lastIndex = at;
  const [ticks] = run.exec(text);
  if (!silent.has(ticks.length)) {
    const rest = new RegExp(`(?<!\`)${ticks}(?!\`)`, "g");
    rest.lastIndex = at + ticks.length;
    const end = rest.exec(text);
    if (end) {
      const within = text.slice(at + ticks.length, end.index).replaceAll("\n", " ");
      const padded = within.startsWith(" ") && within.endsWith(" ") && within.trim();
      say(el("code", {}, padded ? within.slice(1, -1) : within));
      return end.index + ticks.length - at;
    }
    silent.add(ticks.length);
  }
  say(ticks);
  return ticks.length;
}

function bare(text, at, say) {
  BARE.lastIndex = at;
  const found = BARE.exec(text)?.[0] ?? "";
  const address = found.replace(found.includes("(") ? /[.,;:!?*_~]+$/ : AFTER, "");
  const target = safe(address);
  say(target ? anchor(target, [address]) : text.slice(at, at + Math.max(1, address.length)));
  return Math.max(1, address.length);
}

function link(text, at, { stack, say }) {
  const from = stack.findLastIndex((each) => each.mark === "[" || each.mark === "![");
  if (from < 0) return say("]"), 1;
  while (stack.length > from + 1) give(stack);
  DESTINATION.lastIndex = at + 1;
  const found = DESTINATION.exec(text);
  const target = found && safe(found[1]);
  if (!target) {
    give(stack);
    return say("]"), 1;
  }
  const { mark, nodes } = stack.pop();
  const told = merged(nodes.map((each) => (each.localName === "a" ? each.textContent : each))); // no link within another
  if (mark === "![") told.unshift("Picture: "); // nothing is loaded from elsewhere
  say(anchor(target, told.length ? told : [target.href]));
  return 1 + found[0].length;
}

function emphasis(text, at, { stack, say }) {
  const sign = text[at];
  let length = 1;
  while (text[at + length] === sign) length += 1;
  const [before, after] = [text[at - 1] ?? " ", text[at + length] ?? " "];
  const within = sign === "_" && LETTER.test(before) && LETTER.test(after);
  const [opens, closes] = [!within && /\S/.test(after), !within && /\S/.test(before)];
  let left = length;
  while (left > 0) {
    const from = closes ? stack.findLastIndex(({ mark }) => mark[0] === sign && mark.length <= left) : -1;
    const mark = sign.repeat(Math.min(left, 2));
    if (from > 0) {
      while (stack.length > from + 1) give(stack);
      const closed = stack.pop();
      say(el(MARKS[closed.mark], {}, ...merged(closed.nodes)));
      left -= closed.mark.length;
    } else if (opens && MARKS[mark] && length <= 3 && stack.length < DEPTH) {
      stack.push({ mark, nodes: [] });
      left -= mark.length;
    } else {
      say(sign.repeat(left));
      left = 0;
    }
  }
  return length;
}

/** What was opened last was nothing: give it back to what it stands in, as text. */
function give(stack) {
  const { mark, nodes } = stack.pop();
  stack.at(-1).nodes.push(mark, ...nodes);
}

/** Neighbours that are text are one text. */
function merged(nodes) {
  const made = [];
  for (const each of nodes) {
    if (typeof each === "string" && typeof made.at(-1) === "string") made.push(made.pop() + each);
    else made.push(each);
  }
  return made;
}

/** Where a link may lead: to pages and mailboxes elsewhere, never into this page or a script. */
function safe(address) {
  if (!URL.canParse(address)) return null;
  const target = new URL(address);
  return ["http:", "https:", "mailto:"].includes(target.protocol) ? target : null;
}

function anchor(target, nodes) {
  return el("a", { href: target.href, rel: "noopener noreferrer nofollow", target: "_blank", title: target.href }, ...nodes);
}
