"""A server made with the official SDK on standard streams: ``desk.py LOG``."""

import sys
from pathlib import Path

from portcullis.demo.tools.records import Records
from portcullis.demo.tools.servers import orders

if __name__ == "__main__":
    with Records(Path(sys.argv[1]).with_name("desk.db")) as records:
        orders(records).run("stdio")
