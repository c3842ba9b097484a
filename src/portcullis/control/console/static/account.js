// Adding a passkey; switching single keys off.

import { beQuiet, isQuiet } from "./quiet.js";
import { passkeys, shown } from "./webauthn.js";

const form = document.getElementById("passkey-add");
const problem = document.getElementById("passkey-problem");

if (form && passkeys) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    const answer = await shown(form, "create");
    if (answer.next) location.assign(answer.next);
    else {
      problem.textContent = answer.problem;
      problem.hidden = false;
    }
  });
}

const off = document.getElementById("keys-off");
off.checked = isQuiet();
off.addEventListener("change", () => beQuiet(off.checked));
document.getElementById("keyboard").hidden = false;
