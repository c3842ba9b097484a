"""Asks for names as any program does. Prints what came: addresses, or the resolver's word."""

import json
import shutil
import socket
import subprocess
import sys

NODE = """
const names = process.argv.slice(1);
const ask = (name) => new Promise((done) => require('dns').lookup(name, {all: true},
  (error, found) => done(error ? error.code : found.map((one) => one.address).sort())));
Promise.all(names.map(ask)).then((all) => console.log(JSON.stringify(all)));
"""


def asked(name):
    try:
        return sorted({one[4][0] for one in socket.getaddrinfo(name, 443)})
    except socket.gaierror as error:
        return error.errno


def over_tcp(name):
    """One question over TCP; how many answers came, and the response code."""
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    question = b"\0\7\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
    with socket.create_connection(("127.0.0.1", 53), 10) as line:
        line.sendall(len(question).to_bytes(2, "big") + question)
        size = int.from_bytes(line.recv(2, socket.MSG_WAITALL), "big")
        answer = line.recv(size, socket.MSG_WAITALL)
    return [int.from_bytes(answer[6:8], "big"), answer[3] & 15]


def node(names):
    if shutil.which("node") is None:
        return None
    words = ["node", "-e", NODE, *names]
    ran = subprocess.run(words, capture_output=True, timeout=20, check=True)
    return json.loads(ran.stdout)


names = sys.argv[1:]
found = {"python": [asked(name) for name in names], "tcp": [over_tcp(name) for name in names]}
sys.stdout.write(json.dumps({**found, "node": node(names)}))
