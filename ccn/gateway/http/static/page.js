// The page put together: who is here, which conversations are theirs, which one is open.

import { Watch } from "./cluster.js";
import { Door } from "./door.js";
import { $, banner, day, el, say } from "./dom.js";
import { patiently } from "./patience.js";
import { again } from "./reply.js";
import { Talk } from "./talk.js";

const door = new Door();
const watch = new Watch(door);
const talk = new Talk(door, () => watch.soon());
const names = new Map(); // of characters, by id
const SLOW_S = 3; // after which a start is explained
let older = null;
let opening = new AbortController();

/** What a page needs to be of use; it waits for as long as it takes. */
const needed = (work, signal) => patiently(work, (text, left) => banner("page", text, left), signal);

function view(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll("[data-shows]")) {
    if (button.dataset.shows === name) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

async function enter() {
  document.body.dataset.who = "somebody";
  const [me, { characters }] = await needed(() => Promise.all([
    door.ask("GET", "/api/v1/me"),
    door.ask("GET", "/api/v1/characters"),
  ]));
  $("me").textContent = me.name;
  for (const each of characters) names.set(each.id, each.name);
  offer(characters);
  watch.admin = me.tier === "admin";
  document.body.dataset.who = me.tier;
  await needed(() => Promise.all([list(), watch.admin ? watch.instances() : null]));
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted && wanted !== "main") await open(wanted);
  else view("list");
}

/** With whom one can talk; where there is one only, there is nothing to choose. */
function offer(characters) {
  const one = characters.length === 1;
  $("character").replaceChildren(...characters.map((each) => el("option", { value: each.id }, each.name)));
  $("character").hidden = $("whom").hidden = one;
  const begin = $("start").querySelector("[type=submit]");
  begin.textContent = one ? `Talk with ${characters[0].name}` : "Start talking";
  begin.disabled = characters.length === 0;
  if (!characters.length) $("start-problem").textContent = "There is no character yet. An operator imports one.";
}

function leave(why) {
  opening.abort();
  watch.forget();
  document.body.dataset.who = "nobody";
  talk.close();
  $("conversations").replaceChildren();
  view("talk");
  $("sign-in-problem").textContent = why;
  $("name").focus();
}

async function list(cursor = null) {
  const page = await door.ask("GET", `/api/v1/conversations${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`);
  if (!cursor) $("conversations").replaceChildren();
  $("conversations").append(...page.conversations.map(entry));
  older = page.next;
  $("more").hidden = !older;
  $("no-conversations").hidden = $("conversations").childElementCount > 0;
  mark();
}

function entry(conversation) {
  const name = names.get(conversation.character) ?? conversation.character;
  const details = ` · ${day(conversation.created_at)}${conversation.open ? "" : " · ended"}`;
  const button = el("button", { type: "button", "data-id": conversation.session_id },
    el("bdi", { class: "name" }, conversation.title || conversation.opening || `With ${name}`),
    el("span", { class: "muted small" }, el("bdi", {}, name), details));
  button.addEventListener("click", () => open(conversation.session_id));
  return el("li", {}, button);
}

function mark() {
  for (const button of $("conversations").querySelectorAll("button")) {
    if (talk.path.endsWith(button.dataset.id)) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

async function open(id) {
  opening.abort(); // of another one, which may still wait
  const { signal } = opening = new AbortController();
  history.replaceState(null, "", `#${encodeURIComponent(id)}`);
  view("talk");
  try {
    await needed(() => {
      const opened = talk.open(id);
      mark();
      return opened;
    }, signal);
  } catch (failed) {
    if (signal.aborted) return;
    talk.close();
    history.replaceState(null, "", location.pathname);
    $("problem").textContent = failed.message;
  }
}

async function attempt(form, problem, work) {
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  problem.textContent = "";
  try {
    await work();
  } catch (failed) {
    problem.textContent = failed.status === 429 ? `Too many attempts. Try again in ${failed.waitS} s.` : failed.message;
  } finally {
    button.disabled = false;
  }
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(event.target, $("sign-in-problem"), async () => {
    await door.signIn($("name").value, $("password").value);
    $("password").value = "";
    await enter();
    // Lists took a moment to come; whoever has gone on meanwhile stays where they are.
    const here = document.activeElement;
    if (here === document.body || event.target.contains(here)) {
      $(document.body.dataset.view !== "list" ? "message" : $("character").hidden ? "title" : "character").focus();
    }
  });
});

/** Say why a start takes long, once it does, and for how long it has. */
function explained() {
  const since = Date.now();
  return setInterval(() => {
    const seconds = Math.floor((Date.now() - since) / 1000);
    const why = watch.trouble ? again(watch.trouble) : "The character is being asked who it is.";
    if (seconds >= SLOW_S) say($("start-note"), why, seconds);
  }, 1000);
}

$("start").addEventListener("submit", (event) => {
  event.preventDefault();
  const button = event.target.querySelector("[type=submit]");
  const label = button.textContent;
  button.textContent = "Starting…";
  const waiting = explained();
  attempt(event.target, $("start-problem"), async () => {
    const { session_id: id } = await talk.start($("character").value, $("title").value.trim());
    $("title").value = "";
    await list();
    await open(id);
    $("message").focus();
  }).finally(() => {
    clearInterval(waiting);
    say($("start-note"), "");
    button.textContent = label;
  });
});

$("sign-out").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname);
  door.signOut();
});
$("more").addEventListener("click", () => needed(() => list(older)));
$("end").addEventListener("click", () => $("ending").showModal());
$("ending").addEventListener("close", async () => {
  if ($("ending").returnValue !== "end") return;
  const id = talk.path.split("/").pop();
  await talk.end();
  await Promise.all([list(), open(id)]);
});
for (const button of document.querySelectorAll("[data-shows]")) {
  button.addEventListener("click", () => view(button.dataset.shows));
}
door.addEventListener("signed-out", (event) => leave(event.detail));
watch.addEventListener("agreed", () => { if (watch.seen) talk.axes().catch(() => {}); }); // the next round asks again

watch.run();
if (door.signedIn) enter().catch((failed) => { if (door.signedIn) banner("page", failed.message); });
