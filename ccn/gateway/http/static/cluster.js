// The cluster as it is now: nodes, leader, rounds as they are committed, and for admins every instance.

import { $, ago, el, figure } from "./dom.js";

const EVERY_MS = 2_000;
const SLOWLY_MS = 10_000;
const RESERVE = 40; // requests of a minute that watching leaves to talking
const ROUNDS = 6;
const TOLERANCE = 0.1;

export class Watch extends EventTarget {
  #door;
  #rounds = [];
  #height;
  admin = false;

  constructor(door) {
    super();
    this.#door = door;
  }

  /** For as long as the page is open; a page that nobody sees asks nothing. */
  async run() {
    for (;;) {
      let waitMs = EVERY_MS;
      if (!document.hidden) {
        try {
          await this.#look();
          $("connection").hidden = true;
        } catch (failed) {
          this.#unknown(failed);
          waitMs = Math.max(EVERY_MS, (failed.waitS ?? 0) * 1000);
        }
      }
      if (this.#door.left < RESERVE) waitMs = Math.max(waitMs, SLOWLY_MS);
      await new Promise((resolve) => { setTimeout(resolve, waitMs); });
    }
  }

  async #look() {
    const status = await this.#door.ask("GET", "/status");
    this.#door.learn(status.nodes.filter((each) => each.here && each.address).map((each) => each.address));
    this.#nodes(status);
    this.#round(status.last_round);
    if (status.height !== this.#height) {
      this.#height = status.height;
      this.dispatchEvent(new CustomEvent("agreed", { detail: status.height }));
      if (this.admin) await this.instances();
    }
  }

  #unknown(failed) {
    if (failed.status === 429) return; // nothing is wrong with the cluster
    const told = failed.status ? `The cluster cannot be seen now: ${failed.message}` : failed.message;
    $("connection").textContent = told;
    $("connection").hidden = false;
    $("where").textContent = "No answer";
  }

  #nodes(status) {
    const elsewhere = this.#door.elsewhere ? `, reached through ${status.node}` : "";
    $("where").textContent = `${status.nodes.filter((each) => each.here).length} of ${status.nodes.length} nodes` +
      `, ${status.leader ? `${status.leader} leads` : "nobody leads"}${elsewhere}`;
    $("nodes").replaceChildren(...status.nodes.map((node) => {
      const state = node.draining ? "draining" : node.here ? "here" : "away";
      const leads = node.node === status.leader ? [" ", el("b", {}, "leader")] : [];
      const name = el("span", {}, node.node, ...leads, node.votes ? "" : " (no vote)");
      return el("li", {}, name, el("span", { class: state === "here" ? "ok" : "bad" }, state));
    }));
    $("cluster").textContent = `Term ${status.term}, block ${status.height ?? "–"}, ` +
      `quorum ${status.quorum ?? "–"}, ${status.unsealed} waiting to be sealed.` +
      (status.evidence.length ? ` ${status.evidence[0].node} contradicted itself: see the record.` : "");
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
    instances.sort((a, b) => (b.drift ?? -1) - (a.drift ?? -1));
    $("no-instances").hidden = instances.length > 0;
    $("instances").replaceChildren(...instances.map((each) => {
      const far = each.drift > TOLERANCE;
      const told = `${figure(each.drift)}${far ? " too far" : ""}`;
      const name = `${each.character} ${each.instance_id.slice(-6)}${each.status === "running" ? "" : `, ${each.status}`}`;
      return el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, each.node),
        el("td", { class: far && "bad" }, told));
    }));
  }
}
