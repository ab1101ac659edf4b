// Waiting out what passes by itself: a limit of requests, a cluster that does not answer. Nobody is sent away for that.

import { Gone, OF_THE_MODEL, Refusal } from "./refusal.js";

const FIRST_S = 2; // where nobody says how long it will be
const LONGEST_S = 30;

/** Whether the same may be asked again in a while; what the model does or costs may not pass for long: people decide. */
export function passes(failed) {
  if (failed instanceof Gone) return true;
  return failed instanceof Refusal && [429, 503].includes(failed.status) && !OF_THE_MODEL.includes(failed.code);
}

/** Do it until it is done or refused for good. `tell` gets the reason and the seconds left, once a second, and at the
 *  end nothing; with an aborted signal the last refusal is thrown. */
export async function patiently(work, tell, signal = new AbortController().signal) {
  for (let tries = 0; ; tries += 1) {
    try {
      const done = await work();
      tell("");
      return done;
    } catch (failed) {
      const over = !passes(failed) || signal.aborted;
      if (!over) await countdown(pauseS(failed, tries), (left) => tell(...reason(failed, left)), signal);
      if (!over && !signal.aborted) continue;
      tell("");
      throw failed;
    }
  }
}

/** How long to wait before the next try. */
export function pauseS(failed, tries) {
  return Math.max(Math.ceil(failed.waitS ?? 0), Math.min(LONGEST_S, FIRST_S * 2 ** tries));
}

function reason(failed, left) {
  return failed instanceof Gone ? [failed.message] : [`${failed.message} This page goes on when the time is up:`, left];
}

/** Tell the seconds that are left, once a second. */
export async function countdown(seconds, tell, signal) {
  for (let left = seconds; left > 0 && !signal.aborted; left -= 1) {
    tell(left);
    await pause(1000, signal);
  }
}

export function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
