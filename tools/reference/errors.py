"""The reference of error codes."""

from portcullis.core.codes import CODES, RANGES


def page() -> str:
    """The reference of error codes."""
    lines = [
        "# Error codes",
        "",
        "Generated from `src/portcullis/core/codes.py` by `make docs`; do not edit.",
        "`portcullis explain CODE` says the same.",
    ]
    for prefix, about in RANGES.items():
        lines += [
            "",
            f"## {prefix}: {about}",
            "",
            "| code | meaning | HTTP | JSON-RPC | what to do |",
        ]
        lines.append("|---|---|---|---|---|")
        lines += [
            f"| {code} | {entry.title} | {entry.status} | {entry.rpc} | {entry.hint} |"
            for code, entry in CODES.items()
            if code.startswith(prefix)
        ]
    return "\n".join(lines) + "\n"
