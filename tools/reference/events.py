"""The reference of audit events."""

import typing

import msgspec

from portcullis.core import event, methods
from reference import heading, prose, row, table


def page() -> str:
    """Types, fields and methods."""
    lines = heading("Events", "`src/portcullis/core/event.py` and `methods.py`")
    lines += [
        prose(event.__doc__),
        "",
        "Types: " + ", ".join(f"`{kind}`" for kind in event.EventType) + ".",
        "",
        "What can be asked of them: `portcullis audit query` and `portcullis audit tail`, see",
        "[the log](../audit.md); their forms elsewhere: [exporters](../exporters.md).",
    ]
    for shape, title in ((event.Event, "Fields"), (event.ResultSummary, "`result`")):
        lines += ["", f"## {title}", "", prose(shape.__doc__), ""]
        lines += table("field", "type", "absent means")
        lines += map(_row, msgspec.structs.fields(shape))
    lines += ["", "## Methods", "", prose(methods.__doc__)]
    noun = ""
    for name, about in methods.METHODS.items():
        first = name.partition(".")[0] if "." in name else "other"
        if first != noun:
            lines += ["", f"### {first}", "", *table("method", "says")]
            noun = first
        lines.append(row(f"`{name}`", about))
    return "\n".join(lines) + "\n"


def _row(field: msgspec.structs.FieldInfo) -> str:
    default = "" if field.required else f"`{msgspec.json.encode(_default(field)).decode()}`"
    return row(f"`{field.name}`", _type(field.type), default)


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory()


def _type(annotation: object) -> str:
    """A type in the words of JSON."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return "object, see below"
    names = {str: "string", bool: "boolean", int: "integer", type(None): "null"}
    if annotation in names:
        return names[annotation]
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return f"list of {_type(arguments[0])}s"
    if typing.get_origin(annotation) is dict:
        return "object"
    if arguments:
        return " or ".join(map(_type, arguments))
    return {"datetime": "string (RFC 3339)", "EventType": "string"}[annotation.__name__]
