"""Write the frozen evaluation sets of the firewall, made from grammars.

``python tools/detection_cases.py OUT`` writes ``OUT/<set>.jsonl`` and prints the SHA-256 of each;
``--check`` fails when the grammars no longer give the frozen digests.

An AGE span covers the number alone, a secret in a URL the password alone, an assignment the value
alone; MRN, DATE_OF_BIRTH and the national numbers never include the words before them.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from detection_cases import build_injection, build_values
from detection_cases.grammar import Dice, Rows

SETS: dict[str, tuple[Callable[[Rows, Dice, int], None], int]] = {
    "indirect_marked": (build_injection.indirect_marked, 1000),
    "indirect_unmarked": (build_injection.indirect_unmarked, 200),
    "direct": (build_injection.direct, 220),
    "benign_tool": (build_injection.benign_tool, 2400),
    "benign_document": (build_injection.benign_document, 2400),
    "benign_user": (build_injection.benign_user, 1200),
    "hard_negative": (build_injection.hard_negative, 700),
    "pii": (build_values.pii, 2200),
    "secrets": (build_values.secrets, 1100),
}
# frozen before any rule was tuned on them; they never change
DIGESTS: dict[str, str] = {
    "indirect_marked": "d1fa3d157e25ebc85a72519c68c662b3bef249b646e31786af695149f075e20e",
    "indirect_unmarked": "d179c94ed9301b0497534bd30741d567ca759e1f380691c74b8010fbc0a72378",
    "direct": "3879e455a54e48ceba485444e8593f3dbc84da8f03a86306efdf5a53a6673346",
    "benign_tool": "e8657dc278dd1343ac42373c958d7bd7a0a671a4811e1a30ffa9d5f077a59a80",
    "benign_document": "c32983eaafde123b004ba002fca555a4082fe771741e89de79a8f92627406f73",
    "benign_user": "2c8764f56c198e93cd80b415675d656cb3cbf47aa73bb032a225c0a3445fb9da",
    "hard_negative": "f1b5ed10f5914a924be194f44b8c065dd654a17813c0f02ea102d552add32607",
    "pii": "3f66c68f393e4c6bcffb509c78c994afbbabfdfa6320c94c9c872ec42deb3aa2",
    "secrets": "e0c632d3248e188a1f5b5f4d1018959e44c29e86b83fc04373dd898f324b9288",
}


def rendered(name: str) -> bytes:
    """The file of one set."""
    make, count = SETS[name]
    rows = Rows(name)
    make(rows, Dice(f"portcullis/{name}"), count)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.rows).encode()


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.out is None and not options.check:
        parser.error("a folder or --check")
    wrong = 0
    for name in SETS:
        content = rendered(name)
        digest = hashlib.sha256(content).hexdigest()
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{name}.jsonl").write_bytes(content)
        frozen = DIGESTS.get(name) == digest
        wrong += not frozen
        print(f"{digest}  {name}.jsonl{'' if frozen else '  NOT THE FROZEN DIGEST'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
