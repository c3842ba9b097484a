"""The peers that a page on copies and timestamps needs: an S3 server and a time stamp authority.

Run with a folder, it makes the bucket ``bucket`` and writes there, last, ``peers.sh`` with how to
reach them and, for ``verify``, ``tsa-roots.pem``. It stays until it is told to end.
"""

import signal
import sys
from pathlib import Path

from objectstores import s3_server
from tsa import authority


def main(folder: Path) -> None:
    """Run them."""
    with s3_server() as s3, authority(folder / "tsa") as tsa:
        s3.bucket("bucket", lock=False)
        (folder / "tsa-roots.pem").write_bytes(tsa.roots.read_bytes())
        said = (
            f"export AWS_ENDPOINT_URL={s3.url} AWS_REGION=us-east-1 TSA={tsa.url}\n"
            f"export AWS_ACCESS_KEY_ID={s3.access_key} AWS_SECRET_ACCESS_KEY={s3.secret_key}\n"
        )
        (folder / "peers.new").write_text(said, encoding="utf-8")
        (folder / "peers.new").rename(folder / "peers.sh")
        sys.stdout.write("peers are there\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    main(Path(sys.argv[1]))
