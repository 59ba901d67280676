"""A page about the interface, made from its OpenAPI description, without scripts or outside addresses."""

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
<h1>{title}</h1>
<p>All requests and answers are JSON. The same description for programs:
<a href="/openapi.json">openapi.json</a>. Errors are <code>{{"error": "..."}}</code>.</p>
"""
_EXAMPLES = {
    "/predict": {"texts": ["A wonderful film.", "Two hours of my life."]},
    "/stream": {"piece": "A wonderf", "stream": None, "finish": False},
    "/explain": {"text": "A wonderful film.", "method": "integrated-gradients"},
    "/running": {"text": "A wonderful film."},
}


def docs_page(description: Mapping[str, Any], base_url: str) -> str:
    """Write the page.

    Args:
        description: OpenAPI description of the interface.
        base_url: URL of the server, for the examples.

    Returns:
        HTML.
    """
    schemas = description["components"]["schemas"]
    parts = [_HEAD.format(title=escape(description["info"]["title"]))]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts += _operation(path, method.upper(), operation, schemas, base_url.rstrip("/"))
    parts.append("</main>\n</body>\n</html>\n")
    return "\n".join(parts)


def _operation(
    path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any], base_url: str
) -> Iterator[str]:
    yield f"<h2><code>{method} {escape(path)}</code></h2>"
    for paragraph in operation.get("description", "").split("\n\n"):
        yield f"<p>{_prose(paragraph)}</p>"
    command = f"curl {base_url}{path}"
    if path in _EXAMPLES:
        command += f" -H 'Content-Type: application/json' \\\n  -d '{json.dumps(_EXAMPLES[path])}'"
    yield f"<pre><code>{escape(command)}</code></pre>"
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        yield from _fields("Request", body, schemas)
    refusals = []
    for status, response in operation["responses"].items():
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if status != "200":
            refusals.append(f"<li><code>{status}</code> {escape(response['description'])}</li>")
        elif schema:
            yield from _fields("Answer", schema, schemas)
    if refusals:
        yield f"<details><summary>Refusals</summary><ul>{''.join(refusals)}</ul></details>"


def _fields(heading: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    """Write a table of the fields of an object."""
    fields = schemas[schema["$ref"].rpartition("/")[2]].get("properties", {})
    yield f"<table><caption>{heading}</caption>"
    yield '<thead><tr><th scope="col">field</th><th scope="col">type</th><th scope="col">meaning</th></tr></thead>'
    yield "<tbody>"
    for name, field in fields.items():
        meaning = field.get("description", "")
        yield f"<tr><td><code>{escape(name)}</code></td><td>{escape(_type(field))}</td><td>{_prose(meaning)}</td></tr>"
    yield "</tbody></table>"
    for name in dict.fromkeys(re.findall(r"'#/components/schemas/(\w+)'", str(fields))):
        yield from _fields(name, {"$ref": name}, schemas)


def _prose(text: str) -> str:
    """Write a description, whose code is in backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _type(field: Mapping[str, Any]) -> str:
    """Name a field's type in a few words."""
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    if field.get("type") == "array":
        items = _type(field["items"]) if "items" in field else "anything"
        return f"list of ({items})" if " or " in items else f"list of {items}"
    if field.get("type") == "object":
        return "object"
    return str(field.get("type", "any"))
