// A reply as it is spoken, whatever happens to the connection: the stream is taken up after its last event,
// at this node or another, so nothing is missed and nothing is read twice.

import { pause } from "./patience.js";
import { Gone, Refusal } from "./refusal.js";

const SILENCE_MS = 40_000; // the server says every 15 s that it is still there
const TRIES = 40;
const PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 4_000;

/** Yields events of one turn up to its end. `begin` opens the stream, and may be called again until an event
 *  has come; `again` opens it after an event. `broken` is told whenever the stream has to be found again. */
export async function* follow({ begin, again, broken, signal }) {
  let last = "";
  for (let failures = 0; failures < TRIES; failures += 1) {
    try {
      const answer = await (last ? again(last) : begin());
      if (answer.status === 204) return;
      for await (const event of events(answer)) {
        if (event.id) last = event.id;
        if (event.name === "resume") break;
        failures = 0;
        yield event;
        if (["done", "error", "cancelled"].includes(event.name)) return;
      }
    } catch (failed) {
      if (signal.aborted) return;
      if (failed instanceof Refusal && ![429, 503].includes(failed.status)) throw failed;
      if (failed instanceof Refusal && !last && failed.status === 429) throw failed;
      if (failed instanceof Refusal) await pause(failed.waitS * 1000, signal);
    }
    if (signal.aborted) return;
    broken();
    await pause(Math.min(LONGEST_PAUSE_MS, PAUSE_MS * 2 ** failures), signal);
  }
  throw new Gone();
}

/** The events of one answer. */
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await within(reader.read(), SILENCE_MS);
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const event = parsed(part);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // a broken stream cannot be cancelled, and need not be
  }
}

function parsed(part) {
  const fields = {};
  for (const line of part.split("\n")) {
    const at = line.indexOf(":");
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).trimStart();
  }
  return fields.event ? { id: fields.id ?? "", name: fields.event, data: JSON.parse(fields.data) } : null;
}

async function within(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the stream fell silent")), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
