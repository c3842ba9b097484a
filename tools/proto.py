"""Generate the protobuf messages of ``wire`` from our own ``.proto`` files.

``python tools/proto.py`` writes; ``--check`` fails when a file is not what would be written.
"""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent.parent / "src"
PROTOS = (
    "portcullis/wire/spiffe/workload.proto",
    "portcullis/wire/envoy/authorization.proto",
)
COMMON = "_descriptor_pool.Default()"
OWN = "from portcullis.wire.{package} import POOL as _pool\n"


def generated(folder: Path, proto: str) -> dict[str, str]:
    """The files, by their path below ``src``, as they should be; ``folder`` is for drafts."""
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = [f"-I{SOURCE}", f"-I{well_known}", f"--python_out={folder}", f"--pyi_out={folder}"]
    if protoc.main(["protoc", *arguments, proto]) != 0:
        raise SystemExit(1)
    stem = proto.removesuffix(".proto")
    own = OWN.format(package=Path(proto).parent.name)
    module, types = ((folder / f"{stem}_pb2.{end}").read_text("utf-8") for end in ("py", "pyi"))
    begin = "from google.protobuf import descriptor as _descriptor\n"
    if module.count(COMMON) != 1 or module.count(begin) != 1:
        sys.exit("the generated module has another form; see how it gets its descriptor pool")
    module = module.replace(COMMON, "_pool").replace(begin, begin + own)
    return {f"{stem}_pb2.py": module, f"{stem}_pb2.pyi": types}


def main() -> int:
    """Write or check."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: text for proto in PROTOS for name, text in generated(Path(folder), proto).items()
        }
    if "--check" in sys.argv[1:]:
        stale = [name for name, text in files.items() if (SOURCE / name).read_text("utf-8") != text]
        for name in stale:
            print(f"{name} is stale: run `python tools/proto.py`", file=sys.stderr)
        return 1 if stale else 0
    for name, text in files.items():
        (SOURCE / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
