// The cluster as it is now: nodes, leader, rounds as they are committed, and for admins every instance.

import { $, ago, banner, clock, el, figure } from "./dom.js";
import { Events, moved } from "./events.js";
import { again } from "./reply.js";

const EVERY_MS = 2_000;
const SLOWLY_MS = 10_000;
const PATIENCE_MS = 8_000;
const OLD_MS = 30_000; // from then on what was seen last is shown as what it is
const RESERVE = 20; // looks of a minute that are left to others; whoever has fewer looks slowly
const RESERVE_TO_TALK = 40; // requests of a minute that watching leaves to talking
const ROUNDS = 6;
const TOLERANCE = 0.1;

export class Watch extends EventTarget {
  #door;
  #rounds = [];
  #height;
  #last = null; // the newest status, and when it was true
  #wake = () => {};
  #events = new Events();
  #instances = [];
  admin = false;

  constructor(door) {
    super();
    this.#door = door;
    document.addEventListener("visibilitychange", () => this.soon());
  }

  /** Whether anybody sees the figures. */
  get seen() {
    return !document.hidden && $("watch").checkVisibility();
  }

  /** For as long as the page is open; a page that nobody sees asks nothing. */
  async run() {
    for (;;) {
      let waitMs = EVERY_MS;
      if (!document.hidden) {
        try {
          await this.#look();
          banner("watch", "");
        } catch (failed) {
          this.#unknown(failed);
          waitMs = Math.max(EVERY_MS, failed.status === 429 ? failed.waitS * 1000 : 0);
        }
      }
      if (this.#door.leftToWatch < RESERVE) waitMs = Math.max(waitMs, SLOWLY_MS);
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, waitMs);
      });
    }
  }

  /** Why this node's calls to the model wait; null if none does. */
  get trouble() {
    return this.#last?.stale ? null : this.#last?.status.model;
  }

  /** What an admin saw is not for whoever signs in next. */
  forget() {
    this.admin = false;
    this.#instances = [];
    this.#events.forget();
    $("instances").replaceChildren();
  }

  /** Look now, if what is shown is not of now: something was heard of the cluster. */
  soon() {
    if (!this.#last || this.#last.stale) this.#wake();
  }

  async #look() {
    const status = await this.#door.ask("GET", "/status", { watching: true, patienceMs: PATIENCE_MS });
    this.#door.learn(status.nodes.filter((each) => each.here && each.address).map((each) => each.address));
    if (this.#last?.stale) this.#events.add(["the cluster answers again"]);
    this.#last = { status: remembered(status, this.#last?.status), at: Date.now(), stale: false };
    this.#events.saw(this.#last.status);
    this.#show();
    this.#round(status.last_round);
    if (status.height !== this.#height) {
      this.#height = status.height;
      this.dispatchEvent(new CustomEvent("agreed", { detail: status.height }));
      if (this.admin && this.seen && this.#door.left > RESERVE_TO_TALK) await this.instances().catch(() => {}); // of the next block
    }
  }

  /** What was seen last stays, marked as what it is. */
  #unknown(failed) {
    if (failed.status === 429 && Date.now() - this.#last?.at < OLD_MS) return; // nothing is wrong with the cluster
    if (this.#last && !this.#last.stale) this.#events.add(["the cluster does not answer"]);
    if (this.#last) this.#last.stale = true;
    this.#show();
    $("where").textContent = this.#last ? `No answer since ${clock(this.#last.at)}` : "No answer";
    if (failed.status !== 429) banner("watch", failed.message);
  }

  #show() {
    $("watch").classList.toggle("stale", this.#last?.stale ?? false);
    if (!this.#last) return;
    const { status, at, stale } = this.#last;
    const elsewhere = this.#door.elsewhere ? `, reached through ${status.node}` : "";
    $("where").textContent = `${status.nodes.filter((each) => each.here).length} of ${status.nodes.length} nodes` +
      `, ${status.leader ? `${status.leader} leads` : "nobody leads"}${elsewhere}`;
    $("nodes").replaceChildren(...status.nodes.map((node) => {
      const state = node.draining ? "draining" : node.here ? "here" : "away";
      const leads = node.node === status.leader ? [" ", el("b", {}, "leader")] : [];
      const name = el("span", {}, node.node, ...leads, node.votes === false ? " (no vote)" : "");
      return el("li", {}, name, el("span", { class: state === "here" ? "ok" : "bad" }, stale ? `was ${state}` : state));
    }));
    $("cluster").textContent = `Term ${status.term}, block ${status.height ?? "–"}, ` +
      `quorum ${status.quorum ?? "–"}, ${status.unsealed} waiting to be sealed.` +
      (status.model ? ` ${again(status.model)}` : "") +
      (status.evidence.length ? ` ${status.evidence[0].node} contradicted itself: see the record.` : "");
    $("as-of").textContent = stale ? `As of ${clock(at)}; nothing newer is known.` : "";
  }

  #round(round) {
    if (round && round.at !== this.#rounds[0]?.at) this.#rounds = [round, ...this.#rounds].slice(0, ROUNDS);
    $("rounds").replaceChildren(...this.#rounds.map((each) => {
      const told = each.committed ? el("span", {}, `block ${each.height} committed`) :
        el("span", { class: "bad" }, `failed: ${each.reason}`);
      return el("li", {}, told, el("span", { class: "muted" }, ago(each.at)));
    }));
  }

  /** Every instance that is alive, the one that drifted most first. */
  async instances() {
    const { instances } = await this.#door.ask("GET", "/api/v1/admin/instances?limit=200");
    this.#events.add(moved(this.#instances, instances));
    this.#instances = [...instances];
    instances.sort((a, b) => (b.drift ?? -1) - (a.drift ?? -1));
    $("no-instances").hidden = instances.length > 0;
    $("instances").replaceChildren(...instances.map((each) => {
      const far = each.drift > TOLERANCE;
      const alone = instances.filter((other) => other.character === each.character).length === 1;
      const told = alone ? "–, alone" : `${figure(each.drift)}${far ? " too far" : ""}`;
      const name = `${each.character} ${each.instance_id.slice(-6)}${each.status === "running" ? "" : `, ${each.status}`}`;
      return el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, each.node),
        el("td", { class: far && "bad" }, told));
    }));
  }
}

/** A node that does not know yet who votes names only those that it sees; the others are not gone from the cluster. */
export function remembered(status, before) {
  if (!before || status.nodes.every((each) => each.votes !== null)) return status;
  const named = new Set(status.nodes.map((each) => each.node));
  const others = before.nodes.filter((each) => !named.has(each.node)).map((each) => ({ ...each, here: false }));
  const nodes = [...status.nodes, ...others].sort((a, b) => a.node.localeCompare(b.node));
  return { ...status, nodes };
}
