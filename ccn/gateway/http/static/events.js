// What happened to the cluster while somebody watched: told from what differs between two looks at it.
//
// The cluster keeps no list of such things for everybody; how it is it tells. So a page knows what it saw, and what
// began before it came: since when nodes run and a leader leads.

import { $, clock, el } from "./dom.js";

const MOST = 12;
const KEPT = "ccn.events";

/** What happened between two states of the cluster, as sentences. */
export function happened(before, now) {
  const told = [];
  const known = new Map(before.nodes.map((each) => [each.node, each]));
  for (const node of now.nodes) {
    const was = known.get(node.node);
    if (!was) told.push(`${node.node} joined`);
    else if (was.here && !node.here) told.push(`${node.node} is away`);
    else if (!was.here && node.here) told.push(`${node.node} is back`);
    else if (node.here && was.since && node.since && was.since !== node.since) told.push(`${node.node} started again`);
    if (was && was.draining !== node.draining) told.push(node.draining ? `${node.node} is being drained` : `${node.node} is drained no longer`);
  }
  if (before.leader !== now.leader || before.term !== now.term) {
    told.push(now.leader ? `${now.leader} leads, term ${now.term}` : "nobody leads");
  }
  if (now.evidence.length > before.evidence.length) told.push(`${now.evidence[0].node} contradicted itself`);
  if (!before.model && now.model) told.push(`the language model does not answer ${now.node}`);
  if (before.model && !now.model && before.node === now.node) told.push(`${now.node} waits for the language model no longer`);
  return told;
}

/** What happened to instances between two lists of them. */
export function moved(before, now) {
  const known = new Map(before.map((each) => [each.session_id, each]));
  return now.flatMap((each) => {
    const was = known.get(each.session_id);
    const name = `${each.character} ${each.instance_id.slice(-6)}`;
    if (!was) return [];
    if (was.node !== each.node) return [`${name} moved from ${was.node} to ${each.node}`];
    return was.status !== each.status ? [`${name} is ${each.status}`] : [];
  });
}

/** What began before anybody watched, the newest first. */
export function earlier(now) {
  const told = now.nodes.filter((each) => each.since).map((each) => ({ at: each.since, text: `${each.node} started` }));
  if (now.leader && now.led_since) told.push({ at: now.led_since, text: `${now.leader} leads, term ${now.term}` });
  return told.sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
}

/** The list on the page; a reload of it forgets nothing, signing out everything. */
export class Events {
  #list = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
  #before = null;

  /** Another look at the cluster. */
  saw(now) {
    if (this.#before) this.add(happened(this.#before, now));
    else if (this.#list.length) this.#show();
    else this.#keep(earlier(now));
    this.#before = now;
  }

  add(texts) {
    const at = new Date().toISOString();
    if (texts.length) this.#keep(texts.reverse().map((text) => ({ at, text })));
  }

  /** For whoever comes next. */
  forget() {
    this.#list = [];
    sessionStorage.removeItem(KEPT);
    this.#show();
  }

  #keep(more) {
    this.#list = [...more, ...this.#list].slice(0, MOST);
    sessionStorage.setItem(KEPT, JSON.stringify(this.#list));
    this.#show();
  }

  #show() {
    $("no-events").hidden = this.#list.length > 0;
    $("events").replaceChildren(...this.#list.map(({ at, text }) =>
      el("li", {}, el("span", {}, text), el("time", { class: "muted", datetime: at }, clock(at)))));
  }
}
