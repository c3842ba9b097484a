"""The reference of the APIs, from their OpenAPI descriptions."""

from collections.abc import Iterator
from typing import Any

from reference import heading, prose, row, table

_Json = dict[str, Any]
_SCHEMAS = "#/components/schemas/"


def page(title: str, about: str, description: _Json) -> str:
    """Each operation with who may use it, what it takes, gives and refuses; then the shapes."""
    lines = [*heading(title, "the API's OpenAPI description"), about]
    for path, methods in sorted(description["paths"].items()):
        for method, operation in methods.items():
            lines += ["", f"## {method.upper()} {path}", "", *_operation(operation)]
    lines += ["", "## Shapes"]
    for name, schema in sorted(description["components"]["schemas"].items()):
        lines += ["", f"### {name}", "", *_shape(schema)]
    return "\n".join(lines) + "\n"


def _operation(operation: _Json) -> Iterator[str]:
    yield prose(operation.get("description", operation["summary"]))
    yield ""
    yield f"- For: {_caller(operation)}"
    for parameter in operation.get("parameters", ()):
        need = "" if parameter["required"] else ", optional"
        place, said = parameter["in"], _type(parameter["schema"])
        yield f"- `{parameter['name']}` in the {place}{need}: {said}"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"- Takes `{kind}`: {_type(content['schema'])}"
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if "application/problem+json" in content:
            yield f"- {status}: {answer['description']}"
        else:
            shapes = [_type(one["schema"]) for one in content.values() if one.get("schema")]
            yield f"- {status}: {' or '.join(shapes) or answer['description']}"


def _caller(operation: _Json) -> str:
    kind, rights = operation.get("x-principal"), operation.get("x-right")
    if kind is None:
        return "whoever has what it asks for" if operation["security"] else "anyone"
    if not rights:
        return f"{kind}s"
    named = " or ".join(f"`{right}`" for right in rights)
    return f"{kind}s" if rights == ["look"] else f"{kind}s with the right {named}"


def _shape(schema: _Json) -> Iterator[str]:
    if schema.get("description"):
        yield prose(schema["description"])
        yield ""
    if "properties" not in schema:
        yield _type(schema)
        return
    required = schema.get("required", ())
    yield from table("member", "type", "")
    for name, member in schema["properties"].items():
        said = [] if name in required else ["optional"]
        said += [prose(member["description"])] if "description" in member else []
        yield row(f"`{name}`", _type(member), "; ".join(said))


def _type(schema: _Json) -> str:
    """A JSON Schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[several])))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = [
        f"{word} {schema[name]:g}"
        for name, word in (
            ("minimum", "from"),
            ("maximum", "to"),
            ("minLength", "at least"),
            ("maxLength", "at most"),
        )
        if name in schema
    ]
    return " ".join([str(kind), *bounds])
