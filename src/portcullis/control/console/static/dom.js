// What the pages' modules share: rows from templates, announcements, times that go on.
// Texts of agents are only ever set as textContent: nothing here can become markup.

export const one = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

const status = one("#announcements");

/** Say something to people who hear the page. */
export function announce(text) {
  if (status) status.textContent = text;
}

/**
 * Clone the template `id` and fill it from `item`.
 *
 * `data-text` names the member that becomes an element's text, `data-badge` the one that also
 * becomes the badge's colour, `data-link` the path that a link leads to, `data-when` the moment
 * (seconds since the epoch) of a time that was, `data-limit` of one that will be. A member that is
 * "" or 0 takes its element away.
 */
export function row(id, item) {
  const made = one(`template#${id}`).content.firstElementChild.cloneNode(true);
  made.dataset.id = item.id;
  for (const place of [made, ...all("*", made)]) {
    const { text, badge, link, when, limit } = place.dataset;
    if (text !== undefined) place.textContent = item[text];
    if (badge !== undefined) place.className = `badge ${badge}-${item[badge]}`;
    if (link !== undefined) place.setAttribute("href", item[link]);
    if (when !== undefined) place.dataset.at = item[when];
    if (limit !== undefined) place.dataset.until = item[limit];
    const moment = item[when ?? limit];
    if (moment !== undefined) place.dateTime = place.title = new Date(moment * 1000).toISOString();
    if ([text, link, when].some((name) => name && !item[name])) place.remove();
  }
  tick(made);
  return made;
}

const loaded = Date.now();
const skew = Number(document.body.dataset.now || loaded / 1000) * 1000 - loaded;

/** Now as the gate has it, in seconds since the epoch. */
export const now = () => (Date.now() + skew) / 1000;

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
];

/** A length of time in its two largest units: "1 h 5 min". */
export function length(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = [];
  for (const [size, name] of UNITS) {
    if (left >= size) parts.push(`${Math.floor(left / size)} ${name}`);
    left %= size;
  }
  if (parts.length < 2 && seconds < 3600) parts.push(`${left} s`);
  return parts.slice(0, 2).join(" ");
}

/** Bring the times under `root` up to date: `data-at`, and `data-until` for what will be over. */
export function tick(root = document) {
  const at = now();
  for (const place of all("time[data-at]", root)) {
    place.textContent = `${length(at - place.dataset.at)} ago`;
  }
  for (const place of all("time[data-until]", root)) {
    const left = place.dataset.until - at;
    place.textContent = left > 0 ? `${length(left)} left` : "over";
    place.classList.toggle("urgent", left < 300);
  }
}
