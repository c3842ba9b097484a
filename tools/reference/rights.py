"""The rights of operators, as a table."""

from portcullis.core.rights import BUILT_IN, MEANING
from reference import row, table


def rights_table() -> str:
    """One row for each right: what it lets somebody do, and which built-in roles have it."""
    lines = table("right", "to", "built-in roles")
    for right, means in MEANING.items():
        having = (role for role, rights in BUILT_IN.items() if right in rights)
        lines.append(row(f"`{right}`", means, ", ".join(f"`{role}`" for role in having)))
    return "\n".join(lines)
