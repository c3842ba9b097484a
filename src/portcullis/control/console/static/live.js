// What agents do, as it happens, newest first; it can be halted to be read.

import { all, announce, one, row, tick } from "./dom.js";
import { fetched, oneAtATime } from "./list.js";
import { follow } from "./stream.js";

const MOST = 200;
const BESIDE_MS = 1000;
const body = one("#rows");
const pause = one("#pause");
let halted = false;
let held = [];

function show(event) {
  body.prepend(row("row", event));
  while (body.childElementCount > MOST) body.lastElementChild.remove();
  one("#none").hidden = true;
}

/** Bring a short list beside up to date, unless the keyboard is in it. */
function beside(list, items) {
  if (list.contains(document.activeElement)) return;
  list.replaceChildren(...items.map((item) => row("line", item)));
}

const around = oneAtATime(async () => {
  await new Promise((done) => setTimeout(done, BESIDE_MS));
  const { agents, sessions } = await fetched();
  beside(one("#agents-now"), agents);
  beside(one("#sessions-now"), sessions);
});

function happened(event) {
  around();
  if (!halted) {
    show(event);
    return;
  }
  held.push(event);
  if (held.length > MOST) held.shift();
  pause.textContent = `Go on (${held.length} new)`;
}

pause.hidden = false;
pause.addEventListener("click", () => {
  halted = !halted;
  pause.setAttribute("aria-pressed", String(halted));
  pause.textContent = halted ? "Go on" : "Pause";
  announce(halted ? "Paused." : `${held.length} came meanwhile.`);
  held.forEach(show);
  held = [];
});

follow(`/events${location.search}`, happened, () => {
  one("#missed").hidden = false;
});
tick();
setInterval(tick, 1000);
if (all("[data-row]", body).length === 0) one("#none").hidden = false;
