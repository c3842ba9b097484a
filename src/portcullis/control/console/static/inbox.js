// The inbox: what comes in appears, what is decided leaves, and the keyboard stays where it is.

import { all, announce, one, tick } from "./dom.js";
import { fetched, oneAtATime, reconcile } from "./list.js";
import { follow } from "./stream.js";

const rows = one("#rows");
const title = document.title.replace(/^\(\d+\) /, "");

function count(waiting) {
  document.title = waiting ? `(${waiting}) ${title}` : title;
  for (const place of all("#waiting, [data-waiting]")) place.textContent = waiting;
  one("#waiting").hidden = !waiting;
}

const refresh = oneAtATime(async () => {
  const { items, waiting, more } = await fetched();
  const { come, gone } = reconcile(rows, "row", items);
  one("#none").hidden = items.length > 0;
  one("#more").hidden = !more;
  count(waiting);
  if (come.length) announce(`New: ${come.map((item) => `${item.tool} of ${item.agent}`).join(", ")}`);
  else if (gone) announce(`${gone} decided.`);
});

/** A decision is on record before it takes effect: what it changes is there a moment later. */
function happened({ state }) {
  if (state === "pending") refresh();
  else [50, 500, 2000].forEach((wait) => setTimeout(refresh, wait));
}

count(Number(rows.dataset.count));
follow("/events?kind=approval", happened, refresh);
tick();
setInterval(tick, 1000);
