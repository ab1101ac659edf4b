// The way to the cluster: one place that knows tokens, other nodes, and how a refusal is told to people.
//
// A node that is gone is not the cluster: whatever may be asked twice is asked at the next door. Everything
// this page sends may be, because messages and starts carry a key under which they count once.

import { Gone, OF_THE_MODEL, Refusal, SIGN_IN_FIRST, refusal } from "./refusal.js";

const KEPT = "ccn.tokens";
const PATIENCE_MS = 20_000;
const EARLY_MS = 30_000; // a token is renewed so long before it runs out

export class Door extends EventTarget {
  #here = location.origin;
  #others = [];
  #tokens = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  #renewing = null;
  left = Infinity; // requests that the limit leaves
  leftToWatch = Infinity; // of those that are counted apart

  get signedIn() {
    return this.#tokens !== null;
  }

  get elsewhere() {
    return this.#here === location.origin ? "" : this.#here;
  }

  /** Where else one may ask, as /status tells it. */
  learn(addresses) {
    const usable = addresses.filter((each) => mayFollow(location.origin, each));
    this.#others = [...new Set([location.origin, ...usable])];
  }

  async signIn(username, password) {
    const form = new URLSearchParams({ grant_type: "password", username, password });
    const answer = await this.#anywhere("POST", "/token", { body: form });
    if (answer.status === 401) throw new Refusal(401, "", "The name or the password is wrong.");
    if (!answer.ok) throw await refusal(answer);
    this.#keep(await answer.json());
  }

  /** End the sign-in here, and at the cluster; whether that answers is not waited for. */
  signOut(why = "") {
    const refresh = this.#tokens?.refresh;
    this.#tokens = null;
    if (refresh) {
      const body = new URLSearchParams({ token: refresh, token_type_hint: "refresh_token" });
      this.#anywhere("POST", "/token/revoke", { body, keepalive: true }).catch(() => {});
    }
    sessionStorage.removeItem(KEPT);
    this.dispatchEvent(new CustomEvent("signed-out", { detail: why }));
  }

  /** The answer as JSON; null if it has no content. */
  async ask(method, path, options = {}) {
    const answer = await this.send(method, path, options);
    return answer.status === 204 ? null : answer.json();
  }

  /** The answer, if it is one; a Refusal says why not, Gone that nobody is there to say so. */
  async send(method, path, options = {}) {
    if (this.#tokens && Date.now() > this.#tokens.until - EARLY_MS) await this.#renew();
    let answer = await this.#anywhere(method, path, options);
    if (answer.status === 401 && this.#tokens) {
      await this.#renew();
      answer = await this.#anywhere(method, path, options);
    }
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  async #anywhere(method, path, options) {
    const others = this.#others.filter((each) => each !== this.#here);
    let away = null;
    for (const base of [this.#here, ...others]) {
      try {
        const answer = await this.#once(base, method, path, options);
        if (answer.status === 503 && (await isTheNodes(answer))) {
          away ??= answer;
          continue;
        }
        this.#here = base;
        return answer;
      } catch (failed) {
        if (options.signal?.aborted) throw failed;
      }
    }
    if (away) return away;
    throw new Gone();
  }

  async #once(base, method, path, options) {
    const { body, headers = {}, signal, keepalive = false, watching = false, patienceMs = PATIENCE_MS } = options;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), patienceMs);
    const forward = () => late.abort();
    signal?.addEventListener("abort", forward);
    const json = body !== undefined && !(body instanceof URLSearchParams);
    try {
      const answer = await fetch(base + path, {
        method,
        body: json ? JSON.stringify(body) : body,
        headers: {
          ...(json && { "Content-Type": "application/json" }),
          ...(this.#tokens?.access && { Authorization: `Bearer ${this.#tokens.access}` }),
          ...headers,
        },
        signal: late.signal,
        keepalive,
        cache: "no-store",
        credentials: "omit",
      });
      const left = answer.headers.get("X-RateLimit-Remaining");
      if (left !== null) this[watching ? "leftToWatch" : "left"] = Number(left);
      return answer;
    } finally {
      clearTimeout(timer); // from here on, whoever reads the body watches the clock
    }
  }

  /** Once at a time: a refresh token counts for one use, and shown twice it ends the sign-in. */
  #renew() {
    this.#renewing ??= this.#renewed().finally(() => { this.#renewing = null; });
    return this.#renewing;
  }

  async #renewed() {
    const { refresh } = this.#tokens;
    this.#tokens = { ...this.#tokens, access: "" };
    const answer = await this.#anywhere("POST", "/token/refresh", {
      body: { refresh_token: refresh },
    });
    if (this.#tokens?.refresh !== refresh) throw new Refusal(401, "", SIGN_IN_FIRST); // signed out meanwhile
    if (answer.ok) {
      this.#keep(await answer.json());
      return;
    }
    const refused = await refusal(answer);
    if (refused.status === 401 || refused.status === 403 || refused.status === 422) {
      this.signOut("You were signed out. Sign in again to go on where you were.");
    }
    throw refused;
  }

  #keep(told) {
    const until = Date.now() + told.expires_in * 1000;
    this.#tokens = { access: told.access_token, refresh: told.refresh_token, until };
    sessionStorage.setItem(KEPT, JSON.stringify(this.#tokens));
  }
}

/** Whether another node may do what this one cannot: not where the model is what does not answer. */
async function isTheNodes(answer) {
  const { code } = await answer.clone().json().catch(() => ({}));
  return !OF_THE_MODEL.includes(code);
}

/** Whether what was meant for one door may be sent to another, as ccn/core/identity/address.py has it: over TLS to any door
 * that is reached by TLS, in the clear to the same host or within this machine. */
export function mayFollow(pointed, learnt) {
  if (!URL.canParse(learnt)) return false;
  const [first, second] = [new URL(pointed), new URL(learnt)];
  if (first.protocol === "https:") return second.protocol === "https:";
  if (!/^https?:$/.test(second.protocol)) return false;
  return first.hostname === second.hostname || (isLoopback(first.hostname) && isLoopback(second.hostname));
}

function isLoopback(host) {
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** A key under which a request counts once. crypto.randomUUID needs TLS or localhost, this does not. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
