"""An agent: the PyPI ``spiffe`` library and an OpenAI client, and nothing of ours.

    python spiffe_agent.py SOCKET BASE_URL

It asks the model over and over, each time under the SVID of now, and says in a line of JSON how it
went: the SVID's ``serial`` and ``issuer`` (the root above it, SHA-256), how many ``roots`` it
trusts, and ``error``, empty when all went well.
"""

import hashlib
import json
import os
import ssl
import sys
import time

import httpx2
import openai
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import X509Source
from spiffe.errors import PySpiffeError

PAUSE = 0.02


def tls(context):
    """What is shown and trusted; Python reads a key from a file only: here one in memory."""
    svid = context.default_svid
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    roots = "".join(each.public_bytes(Encoding.PEM).decode() for each in bundle.x509_authorities)
    made = ssl.create_default_context(cadata=roots)
    with os.fdopen(os.memfd_create("key"), "wb") as file:
        for each in svid.cert_chain:
            file.write(each.public_bytes(Encoding.PEM))
        file.write(
            svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        file.flush()
        made.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return made


def told(context):
    svid = context.default_svid
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    roots = {each.subject: each for each in bundle.x509_authorities}
    root = roots[svid.cert_chain[-1].issuer].public_bytes(Encoding.DER)
    return {
        "serial": f"{svid.leaf.serial_number:032x}",
        "issuer": hashlib.sha256(root).hexdigest(),
        "roots": len(roots),
    }


def ask(client, base):
    with openai.OpenAI(
        base_url=base, api_key="spiffe", max_retries=0, http_client=client
    ).chat.completions.create(
        model="gpt-standin", messages=[{"role": "user", "content": "hi"}], stream=True
    ) as answer:
        assert "".join(piece.choices[0].delta.content or "" for piece in answer if piece.choices)


def main(socket, base):
    changed = [True]
    source = X509Source(socket_path=f"unix:{socket}", timeout_in_seconds=20)
    source.subscribe_for_updates(lambda: changed.append(True))
    client, said = None, {}
    while True:
        try:
            if changed:
                changed.clear()
                context = source.get_x509_context()
                if client is not None:
                    client.close()
                client, said = httpx2.Client(verify=tls(context), timeout=10), told(context)
            error = ""
            ask(client, base)
        except (openai.APIError, PySpiffeError) as failed:
            error = f"{type(failed).__name__}: {failed}"
        sys.stdout.write(json.dumps({**said, "error": error}) + "\n")
        sys.stdout.flush()
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
