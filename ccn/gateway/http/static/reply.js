// One message on the page, and a reply as it comes: its words, why none come, and what became of those that were void.
//
// What happened to a reply stays under it. A rescue takes two seconds, and nobody should have to see it happen.

import { el, say, time } from "./dom.js";
import { Writing } from "./markdown.js";
import { refused } from "./refusal.js";

const SILENT_MS = 5_000; // from then on it is said that nothing comes
const MOVED = /^begun anew on /; // as a node says it that took over; else the model's stream broke
const TROUBLE = {
  network: "The language model does not answer.",
  "rate limit": "The language model takes no more requests for now.",
  server: "The language model is in trouble.",
};

/** A message with what is told about it. */
export function word(role, name, content, at) {
  const text = el("div", { class: "text", dir: "auto" });
  if (content === null || role === "user") text.append(content ?? "Taken out of the record.");
  else new Writing(text).show(content);
  return el("article", { class: role === "user" ? "word mine" : "word", "aria-label": `${name}, ${time(at)}` },
    el("div", { class: "by" }, el("b", {}, el("bdi", {}, name)), ` ${time(at)}`), text, el("div", { class: "note" }));
}

/** That the model is asked again, and which try that is. */
export const again = ({ number, most, reason }) => `${TROUBLE[reason] ?? TROUBLE.network} Trying again, ${number} of ${most}.`;

/** What became of a reply whose node died. */
export function rescued({ node, after_s: afterS }) {
  return `Begun anew on ${node}${afterS === null ? "" : ` after ${afterS.toFixed(1)} s`}.`;
}

export class Reply {
  #text;
  #note;
  #writing;
  #spoken = "";
  #heardAt = Date.now();
  #anew = null; // { reason, since } while a rescue has not spoken yet
  #why = "";
  #clock;

  constructor(name, at) {
    this.node = word("assistant", name, "", at);
    this.node.setAttribute("aria-busy", "true");
    this.#text = this.node.querySelector(".text");
    this.#note = this.node.querySelector(".note");
    this.#writing = new Writing(this.#text);
    this.#clock = setInterval(() => this.#tick(), 1000);
  }

  get empty() {
    return !this.#spoken && !this.node.querySelector(".voided");
  }

  /** For whoever hears the page: the words, and how they ended. */
  get told() {
    return `${this.#text.textContent} ${this.#note.textContent}`;
  }

  /** Take up the next event of its stream. */
  take({ name, data }) {
    if (name === "waiting") this.#why = again(data);
    else if (name === "restart") this.#void(data.reason);
    else this.#why = "";
    if (name === "delta") this.#say(data.text);
    if (name === "done" && this.#anew) this.#rescue();
    if (name === "error") this.#end(`There is no reply. ${refused(data)}`, "void", "failed");
    if (name === "cancelled") this.#end("Stopped. What was said so far is not kept.", "void");
    if (name === "waiting") this.#tick();
    else this.#heardAt = Date.now();
    if (["delta", "done", "accepted"].includes(name)) say(this.#note, "");
  }

  /** The stream has to be found again. */
  broken() {
    this.#why = "The connection broke. Finding the reply again…";
    say(this.#note, this.#why);
  }

  /** Nothing more will come. */
  close() {
    clearInterval(this.#clock);
    this.node.setAttribute("aria-busy", "false");
  }

  fail(text) {
    this.#end(text, "failed");
  }

  #say(text) {
    if (this.#anew) this.#rescue();
    this.#spoken += text;
    this.#writing.show(this.#spoken);
  }

  /** Fold away what was said; what is said instead follows. */
  #void(reason) {
    if (this.#spoken) {
      const words = this.#spoken.trim().split(/\s+/).length;
      const kept = el("div", { class: "text", dir: "auto" });
      kept.append(...this.#text.childNodes);
      this.#text.before(el("details", { class: "voided" },
        el("summary", {}, `Void: ${words} ${words === 1 ? "word" : "words"} of an earlier try`), kept));
    }
    const moved = MOVED.test(reason);
    this.#anew = { reason, moved, since: this.#anew?.since ?? this.#heardAt };
    this.#spoken = "";
    this.#writing.show("");
    this.#why = moved ? "The node that spoke is gone. Another one begins this reply anew." : "The reply broke off, and begins anew.";
    say(this.#note, this.#why);
  }

  /** The line that stays: where the reply went on, and after how long. */
  #rescue() {
    const { reason, moved, since } = this.#anew;
    this.#anew = null;
    const after = `after ${((Date.now() - since) / 1000).toFixed(1)} s`;
    const what = moved ? `${reason[0].toUpperCase()}${reason.slice(1)} ${after}.` : `Begun anew ${after} (${reason}).`;
    this.#note.before(el("div", { class: "happened" }, what));
  }

  #end(text, ...classes) {
    this.node.classList.add(...classes);
    this.#why = "";
    say(this.#note, text);
  }

  #tick() {
    const silentMs = Date.now() - this.#heardAt;
    if (this.node.matches(".void, .failed") || (silentMs < SILENT_MS && !this.#why)) return;
    say(this.#note, this.#why || "Nothing comes yet.", Math.floor(silentMs / 1000));
  }
}
