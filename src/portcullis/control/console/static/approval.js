// One approval: its time goes on, and a decision of somebody else's is said at once.

import { announce, one, tick } from "./dom.js";
import { follow } from "./stream.js";

const { id, state } = one("#approval").dataset;
const moved = one("#moved");

function settled() {
  if (!moved.hidden) return;
  moved.hidden = false;
  announce(moved.textContent);
}

follow(
  "/events?kind=approval",
  (event) => {
    if (event.approval === id && event.state && event.state !== state) settled();
  },
  () => {}, // a decision on what is settled is refused, and says so
);
tick();
setInterval(tick, 1000);
