// Making elements. Text goes in as text, always: there is no way here to put markup into the page.

export const $ = (id) => document.getElementById(id);

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const figure = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));

export const time = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function day(at) {
  const then = new Date(at);
  const today = then.toDateString() === new Date().toDateString();
  return today ? time(at) : then.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}

export function ago(at) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(at)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min ago` : day(at);
}

/** Say something in a place that is read aloud when it changes. Seconds that run down are for eyes alone. */
export function say(place, text, seconds = 0) {
  if (place.firstChild?.data !== text || !text) place.replaceChildren(...(text ? [text, el("span", { "aria-hidden": "true" })] : []));
  if (text) place.lastChild.textContent = seconds ? ` ${seconds} s` : "";
}

const banners = new Map(); // by who says it

/** One line over everything, for as long as somebody has something to say: the first who began. */
export function banner(who, text, seconds = 0) {
  if (text) banners.set(who, [text, seconds]);
  else banners.delete(who);
  const [shown] = [...banners.values()];
  $("connection").hidden = !shown;
  say($("connection"), ...(shown ?? [""]));
}
