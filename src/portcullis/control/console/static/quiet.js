// Whether single keys do nothing, as somebody wants who speaks to the browser; kept in this browser.

const NAME = "portcullis-keys-off";

export const isQuiet = () => localStorage.getItem(NAME) !== null;

export function beQuiet(wanted) {
  if (wanted) localStorage.setItem(NAME, "1");
  else localStorage.removeItem(NAME);
}
