// The keyboard: j and k move, Enter opens, a approves, d denies, u goes back, ? helps.

import { all, announce, one } from "./dom.js";

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

/** Open the selected approval, at a place on its page. */
function open(place) {
  const row = rows().find((each) => each.contains(document.activeElement));
  const link = row && one('a[href^="/approvals/"]', row);
  if (link) location.assign(`${link.href.split("#")[0]}#${place}`);
}

/** Follow a link of the page by its `rel`. */
function along(rel) {
  const link = one(`a[rel~="${rel}"]`);
  if (link) link.click();
  return Boolean(link);
}

/** Focus the reason of a form, or open the selected row at it. */
function decide(verb) {
  const reason = `${verb}-reason`;
  const field = one(`#${reason}`);
  if (field) field.focus();
  else open(reason);
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

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && typing(event.target)) {
    event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (!act || typing(event.target) || (help?.open && event.key !== "?")) return;
  event.preventDefault();
  act();
});

/** A deep link to a reason leads there in every browser. */
if (/^#(approve|deny)-reason$/.test(location.hash)) one(location.hash)?.focus();

one("#keys-hint").hidden = false;
