// A list that is brought up to date in place: rows come and go, the others do not move.

import { all, one, row } from "./dom.js";

/** Put a row of `item` in the place of one that says something else in its note. */
function brought(place, template, item) {
  const note = one('[data-text="note"]', place)?.textContent ?? "";
  if (note === item.note) return place;
  const focused = place.contains(document.activeElement);
  const made = row(template, item);
  place.replaceWith(made);
  if (focused) one("a", made).focus();
  return made;
}

/**
 * Make the rows in `body` those of `items`, by `id`, in their order.
 *
 * Rows that stay are not touched, but for their note. When the row with the keyboard's focus goes, the heading gets
 * it: a key that was meant for it must not act on another. Returns the items that are new, and how many rows are gone.
 */
export function reconcile(body, template, items) {
  const wanted = new Set(items.map(({ id }) => id));
  const focused = document.activeElement?.closest("[data-row]");
  const lost = focused && body.contains(focused) && !wanted.has(focused.dataset.id);

  const gone = all("[data-row]", body).filter((each) => !wanted.has(each.dataset.id));
  gone.forEach((each) => each.remove());
  const come = [];
  let place = one("[data-row]", body);
  for (const item of items) {
    if (place?.dataset.id === item.id) {
      place = brought(place, template, item).nextElementSibling;
    } else {
      body.insertBefore(row(template, item), place);
      come.push(item);
    }
  }
  if (lost) one("h1").focus();
  return { come, gone: gone.length };
}

/** The page itself as data: the same address with the same filters, asked for as JSON. */
export async function fetched() {
  const answer = await fetch(location.href.split("#")[0], {
    headers: { accept: "application/json" },
    redirect: "error",
  });
  if (!answer.ok) throw new Error(`the gate answered ${answer.status}`);
  return answer.json();
}

/** `work`, such that it never runs twice at once, and once more when it was asked for meanwhile. */
export function oneAtATime(work) {
  let running = false;
  let again = false;
  return async function run() {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await work();
      }
    } catch {
      document.body.dataset.live = "off"; // the next event tries again
    } finally {
      running = false;
    }
  };
}
