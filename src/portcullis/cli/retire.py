"""``portcullis retire``: a gateway of another host never serves again."""

from __future__ import annotations

from typing import Annotated

import typer

from portcullis.cli.audit_lines import note, print_json
from portcullis.cli.audit_privacy import Reason, line
from portcullis.cli.options import DEFAULT_CONFIG, ConfigFile, Json, load
from portcullis.config.places import gateway_name


def retire(
    name: Annotated[str, typer.Argument(help="The gateway's name.")],
    reason: Reason,
    config: ConfigFile = DEFAULT_CONFIG,
    *,
    as_json: Json = False,
) -> None:
    """Have a gateway of another host never serve again. Its log is kept, and its name not given.

    One that runs refuses every call at once, and ends. There is no way back.
    """
    from portcullis.cli.operate import operations  # noqa: PLC0415 - slow

    gateway_name(name)
    with operations(load(config)) as work:
        done = work.retire(name, line(reason))
    if as_json:
        print_json(done.model_dump())
        return
    print(f"{done.gateway}, which was on {done.host}, is retired; its log {done.log} is kept")
    note("Its host still has the root key and the servers' passwords: destroy its folder.")
