// A link's code moves out of the address at once and waits for a click: a link from somebody else
// must not log this browser in. A passkey is shown when it is asked for.

import { passkeys, shown } from "./webauthn.js";

const link = document.getElementById("link-login");
const passkey = document.getElementById("passkey-login");
const problem = document.getElementById("login-problem");

const once = new URLSearchParams(location.hash.slice(1)).get("once");
if (location.hash) history.replaceState(null, "", location.pathname + location.search);
if (once) {
  link.elements.once.value = once;
  document.getElementById("link").open = true;
  link.querySelector("button").focus();
}

if (passkey && passkeys) {
  passkey.hidden = false;
  passkey.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    const answer = await shown(passkey, "get");
    if (answer.next) location.assign(answer.next);
    else {
      problem.textContent = answer.problem;
      problem.hidden = false;
    }
  });
}
