// One open conversation: what was said, what is being said, and the way to say something.

import { newKey } from "./door.js";
import { $, el, figure, say } from "./dom.js";
import { countdown } from "./patience.js";
import * as radar from "./radar.js";
import { Reply, rescued, word } from "./reply.js";
import { follow } from "./stream.js";

const NEAR_PX = 80; // who has scrolled up further is reading, and is left there
const START_MS = 120_000;

export class Talk {
  #door;
  #heard;
  #open = null; // { path, name, over, turn }
  #leave = new AbortController();
  #earlier = null;
  #waiting = 0;
  #seen = {}; // what was told last of the conversation as a whole

  /** `heard` is told whenever the cluster was heard to be at work. */
  constructor(door, heard) {
    this.#door = door;
    this.#heard = heard;
    $("composer").addEventListener("submit", (event) => { event.preventDefault(); this.say(); });
    $("message").addEventListener("keydown", (event) => this.#key(event));
    $("words").addEventListener("keydown", (event) => this.#key(event));
    $("stop").addEventListener("click", () => this.stop());
    $("earlier").addEventListener("click", () => this.#older());
    radar.blank($("radar"), $("axes"));
  }

  get path() {
    return this.#open?.path ?? "";
  }

  start(character, title) {
    return this.#door.ask("POST", "/api/v1/conversation/start", {
      body: { character, title },
      headers: { "Idempotency-Key": newKey() },
      patienceMs: START_MS,
    });
  }

  close() {
    this.#leave.abort();
    this.#open = null;
    this.#speaking(null);
    $("words").replaceChildren($("earlier"));
    $("earlier").hidden = true;
    $("end").hidden = true;
    delete $("talk").dataset.open;
    $("talk-title").textContent = "No conversation is open";
    $("talk-title").title = "";
    $("glance").textContent = "";
    this.#seen = {};
    radar.blank($("radar"), $("axes"));
    $("axes-note").textContent = "Open a conversation to see its character.";
    $("message").disabled = $("send").disabled = true;
    this.#problem("");
  }

  async open(sessionId) {
    this.close();
    const opened = { path: `/api/v1/conversation/${sessionId}`, name: "The character", over: false, turn: null, restarts: new Map() };
    this.#open = opened;
    this.#leave = new AbortController();
    const [state, page, { restarts }] = await Promise.all([
      this.#door.ask("GET", opened.path),
      this.#door.ask("GET", `${opened.path}/messages`),
      this.#door.ask("GET", `${opened.path}/restarts`).catch(() => ({ restarts: [] })), // the words are there without
      this.glance(),
      this.axes().catch(() => {}), // the next round asks again
    ]);
    if (this.#open !== opened) return;
    opened.over = !state.open;
    opened.restarts = new Map(restarts.map((each) => [each.seq, each]));
    $("talk").dataset.open = "";
    $("talk-title").textContent = $("talk-title").title = state.title || `With ${opened.name}`;
    $("end").hidden = opened.over;
    $("words").append(...page.messages.map((each) => this.#word(each)));
    this.#pages(page);
    this.#ready();
    this.#down(true);
    if (opened.over) this.#problem("This conversation has ended.");
    for (const turn of state.unfinished) await this.#hear(() => this.#events(turn.turn_id));
  }

  async end() {
    await this.#door.ask("DELETE", this.#open.path);
  }

  /** Send what is written, or the same once more. What is refused comes back into the field. */
  async say(again = "") {
    const content = again || $("message").value.trim();
    if (!content || !this.#open || this.#open.turn || this.#open.over || this.#waiting) return;
    const { path } = this.#open;
    const key = newKey();
    if (!again) $("message").value = "";
    this.#problem("");
    const mine = word("user", "You", content, new Date());
    $("words").append(mine);
    this.#down(true);
    try {
      await this.#hear(() => this.#door.send("POST", `${path}/messages?glance=true`, {
        body: { content },
        headers: { "Idempotency-Key": key },
      }));
    } catch (failed) {
      if (this.#open?.path !== path) return;
      mine.remove();
      $("message").value ||= content;
      if (failed.status === 429) this.#wait(failed.waitS);
      else if (failed.status !== 401) this.#problem(failed.message);
    }
  }

  async stop() {
    const turn = this.#open?.turn;
    if (!turn || turn === "asked") return;
    $("stop").disabled = true;
    await this.#door.ask("POST", `${this.#open.path}/turns/${turn}/cancel`).catch((failed) => this.#problem(failed.message));
  }

  /** The line under the title, and who really answers. */
  async glance() {
    const opened = this.#open;
    const told = await this.#door.ask("GET", `${opened.path}/glance`);
    if (this.#open === opened) this.#glanced(told);
  }

  #glanced(told) {
    this.#open.name = told.name;
    $("stand-in").hidden = !told.stand_in;
    this.#line({ glance: told });
  }

  /** Who speaks where, how far from what, and for how much. */
  #line(seen) {
    Object.assign(this.#seen, seen);
    const { glance, away = null } = this.#seen;
    if (!glance) return;
    const drift = glance.alone ? "–, needs two instances" : figure(glance.drift);
    const cost = `$${(glance.spent.microdollars / 1e6).toFixed(4)}${glance.stand_in ? " (would be)" : ""}`;
    const details = [glance.node ?? "no node yet", `drift from the others ${drift}`, `from the plate ${figure(away)}`, cost];
    $("glance").replaceChildren(el("bdi", {}, glance.name), ` · ${details.join(" · ")}`);
  }

  async axes() {
    const opened = this.#open;
    if (!opened) return;
    const told = await this.#door.ask("GET", `${opened.path}/axes`);
    if (this.#open === opened) this.#measured(told);
  }

  #measured(told) {
    this.#line({ away: told.from_written });
    radar.show(told.axes, $("radar"), $("axes"));
    const measured = told.axes.some((axis) => axis.state !== null);
    $("axes-note").textContent = measured ? "Statistical estimates of how the text reads. * shown, but decides nothing." :
      "Nothing has been measured in this conversation yet.";
  }

  /** Read one reply to its end. */
  async #hear(begin) {
    const opened = this.#open;
    const { signal } = this.#leave;
    const reply = new Reply(opened.name, new Date());
    const again = (last) => this.#events(last.split(":")[0], last);
    const broken = () => reply.broken();
    this.#speaking("asked");
    $("words").append(reply.node);
    this.#down(true);
    $("said").textContent = `${opened.name} is answering.`;
    try {
      for await (const event of follow({ begin, again, broken, signal })) {
        if (signal.aborted) return;
        const { name, data } = event;
        if (name === "done" && data.glance) this.#glanced(data.glance);
        if (name === "done" && data.axes) this.#measured(data.axes);
        if (name === "accepted") this.#speaking(data.turn_id);
        const near = this.#near();
        reply.take(event);
        if (name === "error") this.#offer(reply.node);
        if (near) this.#down(true);
      }
      $("said").textContent = `${opened.name}: ${reply.told}`;
    } catch (failed) {
      if (reply.empty) reply.node.remove();
      else reply.fail(failed.message);
      throw failed;
    } finally {
      reply.close();
      if (this.#open === opened) this.#speaking(null);
    }
    this.#heard();
  }

  /** Beside a reply that failed: to ask the same again, without typing it. */
  #offer(failed) {
    const asked = failed.previousElementSibling?.querySelector(".text")?.textContent;
    if (!asked) return;
    const retry = el("button", { type: "button", class: "retry" }, "Try again");
    retry.addEventListener("click", () => {
      if (this.#open?.turn || this.#open?.over || this.#waiting) return;
      retry.remove();
      this.say(asked);
    });
    failed.append(retry);
  }

  #events(turn, last) {
    return this.#door.send("GET", `${this.#open.path}/turns/${turn}/events?glance=true`, {
      headers: last ? { "Last-Event-ID": last } : {},
      signal: this.#leave.signal,
    });
  }

  #key(event) {
    if (event.key === "Escape") this.stop();
    if (event.target === $("message") && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.say();
    }
  }

  #speaking(turn) {
    if (this.#open) this.#open.turn = turn;
    $("stop").disabled = false;
    if (turn && document.activeElement === $("send")) $("message").focus();
    if (!turn && document.activeElement === $("stop")) $("message").focus();
    $("send").hidden = turn !== null;
    $("stop").hidden = turn === null;
  }

  #ready() {
    $("message").disabled = $("send").disabled = !this.#open || this.#open.over || this.#waiting > 0;
  }

  /** Count down until the limit lets one speak again. */
  async #wait(seconds) {
    $("send").disabled = true;
    await countdown(Math.ceil(seconds), (left) => {
      this.#waiting = left;
      this.#problem("Too many requests. You can send again when the time is up:", left);
    }, new AbortController().signal);
    this.#waiting = 0;
    this.#ready();
    this.#problem("");
  }

  #problem(text, seconds) {
    say($("problem"), text, seconds);
  }

  #word({ role, content, at, seq }) {
    const made = word(role, role === "user" ? "You" : this.#open.name, content, at);
    const rescue = this.#open.restarts.get(seq);
    if (rescue) made.querySelector(".note").before(el("div", { class: "happened" }, rescued(rescue)));
    return made;
  }

  #pages(page) {
    this.#earlier = page.next;
    $("earlier").hidden = !page.next;
  }

  async #older() {
    const opened = this.#open;
    const page = await this.#door.ask("GET", `${opened.path}/messages?cursor=${encodeURIComponent(this.#earlier)}`);
    if (this.#open !== opened) return;
    const words = $("words");
    const height = words.scrollHeight;
    $("earlier").after(...page.messages.map((each) => this.#word(each)));
    this.#pages(page);
    words.scrollTop += words.scrollHeight - height; // what one was reading stays where it was
    if (!page.next) words.focus();
  }

  #near() {
    const words = $("words");
    return words.scrollHeight - words.scrollTop - words.clientHeight < NEAR_PX;
  }

  #down(now) {
    if (now) $("words").scrollTop = $("words").scrollHeight;
  }
}
