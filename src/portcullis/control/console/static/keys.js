// The keyboard: j and k move, Enter opens, a approves, d denies, u goes back, ? helps.
//
// What is meant as text must never decide. A letter that follows another at once is somebody typing,
// and acts for nothing; Enter in a reason that a key led to leads on to the button, and sends nothing; and a
// button that decides is pressed by a key only after a pause, and never by one that is held down.

import { all, announce, one } from "./dom.js";
import { isQuiet } from "./quiet.js";

const TYPING_MS = 700;

const rows = () => all("[data-row]").filter((row) => one("a", row));
const help = one("#keys");

/** Move to the next row, or the one before. */
function move(by) {
  const found = rows();
  const here = found.findIndex((row) => row.contains(document.activeElement));
  const next = found[here < 0 ? (by > 0 ? 0 : found.length - 1) : here + by];
  if (next) one("a", next).focus();
  else announce(found.length ? "No more." : "Nothing here.");
}

/** Open the selected approval, at its top: nobody decides on what was not seen. */
function open() {
  const row = rows().find((each) => each.contains(document.activeElement));
  const link = row && one('a[href^="/approvals/"]', row);
  if (link) location.assign(link.href);
  else announce("Choose one with j or k first.");
}

/** Follow a link of the page by its `rel`. */
function along(rel) {
  const link = one(`a[rel~="${rel}"]`);
  if (link) link.click();
  return Boolean(link);
}

/** Focus the reason of a form, or open the selected row. */
function decide(verb) {
  const field = one(`#${verb}-reason`);
  if (!field) return open();
  field.dataset.led = "";
  field.focus();
}

const KEYS = {
  j: () => along("next") || move(1),
  k: () => along("prev") || move(-1),
  a: () => decide("approve"),
  d: () => decide("deny"),
  u: () => along("up") || history.back(),
  "?": () => help && (help.open ? help.close() : help.showModal()),
};

function typing(target) {
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

let last = -Infinity; // when a letter was pressed that means nothing here
let before = -Infinity; // when any key was pressed, also in a field
let hasty = false; // whether the last one would have pressed a button that decides, too soon

/** Whether a key would press a button of a form that decides. */
const deciding = ({ key, target }) =>
  (key === " " || key === "Enter") && target.matches("#approve button, #deny button");

document.addEventListener("keydown", (event) => {
  const { key, target, timeStamp } = event;
  const since = timeStamp - before;
  before = timeStamp;
  hasty = deciding(event) && (event.repeat || since < TYPING_MS);
  if (hasty) {
    event.preventDefault();
    announce("Not yet: once more, after a moment.");
    return;
  }
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(target)) {
    if (key === "Escape") target.blur();
    if (key === "Enter" && "led" in target.dataset) {
      event.preventDefault();
      if (target.form.reportValidity()) one("button", target.form).focus();
    }
    return;
  }
  const act = KEYS[key];
  if (!act && key.length === 1) last = timeStamp;
  if (!act || isQuiet() || (help?.open && key !== "?")) return;
  event.preventDefault();
  if (timeStamp - last > TYPING_MS) act();
});

// Some browsers press a button when Space comes up again.
document.addEventListener("keyup", (event) => {
  if (hasty && event.key === " ") event.preventDefault();
});

one("#keys-hint").hidden = isQuiet();
