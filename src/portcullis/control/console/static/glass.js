// Breaking the glass with a passkey, shown anew.

import { passkeys, shown } from "./webauthn.js";

const form = document.getElementById("glass-passkey");
const problem = document.getElementById("glass-problem");

if (form && passkeys) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    const answer = await shown(form, "get");
    if (answer.next) location.assign(answer.next);
    else {
      problem.textContent = answer.problem;
      problem.hidden = false;
    }
  });
}
