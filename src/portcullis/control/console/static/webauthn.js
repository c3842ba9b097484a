// Passkeys (WebAuthn level 3, sections 5.1.8 and 5.1.10: options and answers as JSON).

export const passkeys =
  window.PublicKeyCredential !== undefined &&
  PublicKeyCredential.parseRequestOptionsFromJSON !== undefined;

async function send(path, fields) {
  const answer = await fetch(path, {
    method: "POST",
    body: new URLSearchParams(fields),
    headers: { accept: "application/json" },
    redirect: "error",
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${said.title}: ${said.detail}. ${said.hint}`);
  return said;
}

/**
 * Do the ceremony of a form: "create" a passkey or "get" one shown. Its `data-begin` is where the
 * options come from; what is made goes with the form's fields to where the form goes. Returns what
 * the console answers, or `{problem}`.
 */
export async function shown(form, how) {
  try {
    const fields = Object.fromEntries(new FormData(form));
    const { ceremony, options } = await send(form.dataset.begin, "csrf" in fields ? { csrf: fields.csrf } : {});
    const made =
      how === "create"
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
    const credential = JSON.stringify(made.toJSON());
    return await send(form.getAttribute("action"), { ...fields, ceremony, credential });
  } catch (error) {
    return { problem: error.name === "NotAllowedError" ? "No passkey was used." : error.message };
  }
}
