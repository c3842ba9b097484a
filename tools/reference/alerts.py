"""The built-in rules of alerts, as a table."""

from portcullis.oversight.alerts.builtin import builtin
from portcullis.oversight.alerts.rule import Rule
from reference import row, table

_TIMES = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def rules_table() -> str:
    """One row for each rule."""
    lines = table("rule", "level", "raised when", "about", "threat", "named only", "over")
    for rule in builtin():
        how = rule.correlation
        about = ", ".join(f"`{name}`" for name in (how.by if how else rule.by))
        threat = f"`{rule.threat}`"
        kept = "yes" if rule.kept else ""
        said = rule.level.value, _when(rule), about, threat, kept, _over(rule)
        lines.append(row(f"`{rule.name}`", *said))
    return "\n".join(lines)


def _when(rule: Rule) -> str:
    how = rule.correlation
    if how is None:
        return rule.title
    joined = how.join.value
    number = {
        "event_count": f"{how.least} times",
        "value_count": f"{how.least} values of `{how.field}`",
    }.get(joined, "one after the other" if how.steps else f"a new `{how.field}`")
    return f"{rule.title} ({number} within {_span(how.seconds)})"


def _over(rule: Rule) -> str:
    """What ends it, if not people alone."""
    quiet = f"{_span(rule.quiet)} quiet" if rule.quiet else ""
    return " or ".join(filter(None, ("taken back" if rule.over else "", quiet)))


def _span(seconds: float) -> str:
    for size, unit in _TIMES:
        if seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
