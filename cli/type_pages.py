"""What the pages in `docs` say of the import types, made from their definitions and models.

`docs/types.md` is written whole. Other pages have parts between two markers, for example the table
of calls in `docs/api.md`. `python -m cli.reference_pages` writes both, and a test compares them
with the code, so that a further type needs no change in a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shared.imports.files.templates import TEMPLATE_FORMATS, template_name
from shared.imports.import_type import ImportType
from shared.imports.model import INT32, MAX_TEXT
from shared.imports.modules import IMPORT_MODULES
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.services.records.sources import BusinessRecords

DOCS: Final = Path(__file__).parent.parent / "docs"
TYPES_PAGE: Final = DOCS / "types.md"

_HEAD = """# Import types

Every import type with its fields. This page is written by `python -m cli.reference_pages` from the
definition and the model of each type; the schemas (`GET /api/import/{type}.v{n}.schema`) say the
same.

"Every row" is a field that must be in every row. "No null" is a field that null or blank text fails
with 1001; every other field is cleared by them.
"""


def markdown_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def render_types_page() -> str:
    """The whole page, in Markdown."""
    published = [kind for kind in TYPE_CATALOGUE.all if kind.has_schema]
    return "\n".join([_HEAD, *(section for kind in published for section in _sections(kind))])


def _sections(kind: ImportType) -> Iterator[str]:
    schema = kind.rules.json_schema()
    yield f"## {schema['title']}\n"
    yield "\n".join(_facts(kind)) + "\n"
    yield markdown_table(_FIELD_HEAD, _fields(schema))
    for name, nested in schema.get("$defs", {}).items():
        yield f"`{name}`:\n"
        yield markdown_table(_FIELD_HEAD, _fields(nested))


def _facts(kind: ImportType) -> Iterator[str]:
    yield f"- Contract: {kind.contract.name}. Call: `POST {kind.address}`."
    yield f"- Key: {_named(kind.rules.key_fields)}."
    for field in kind.references:
        yield f"- `{field.field}` refers to a record of {field.type.name}."
    for entry in kind.messages:
        yield f"- {entry.id}: {entry.text}."
    if kind.contract is PAY_AND_BILL:
        yield f"- `onExisting` is `{kind.on_existing}` where the integration says nothing."


_FIELD_HEAD = ("Field", "Value", "Every row", "No null", "Meaning")


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for name, item in schema["properties"].items():
        kinds = _kinds(item)
        yield (
            f"`{name}`",
            _value(item),
            "yes" if name in required else "",
            "" if "null" in kinds else "yes",
            item.get("description", "").replace("|", r"\|"),
        )


def _kinds(item: Mapping[str, Any]) -> Sequence[str]:
    kinds = item.get("type", [each.get("type", "object") for each in item.get("anyOf", ())])
    return [kinds] if isinstance(kinds, str) else kinds


def _value(item: Mapping[str, Any]) -> str:
    """The type of a field and its limits, in words."""
    if "$ref" in item:
        return f"`{item['$ref'].rpartition('/')[2]}`"
    if "anyOf" in item:
        return " or ".join(_value(each) for each in item["anyOf"] if each.get("type") != "null")
    kind = next(each for each in _kinds(item) if each != "null")
    limits = [*_limits(item)]
    if kind == "array":
        return ", ".join((f"list of {_value(item['items'])}", *limits))
    if "enum" in item:
        return " or ".join(f"`{value}`" for value in item["enum"] if value is not None)
    words = {"string": "text", "integer": "whole number", "boolean": "true or false"}
    is_date = "[0-9]{4}-" in item.get("pattern", "")
    return ", ".join(("date" if is_date else words.get(kind, kind), *limits))


def _limits(item: Mapping[str, Any]) -> Iterator[str]:
    usual = {"maxLength": MAX_TEXT, "minimum": -INT32, "maximum": INT32 - 1}
    words = {
        "maxLength": "at most {} characters",
        "minItems": "at least {}",
        "maxItems": "at most {}",
        "minimum": "from {}",
        "maximum": "to {}",
    }
    for name, text in words.items():
        if name in item and item[name] != usual.get(name):
            yield text.format(f"{item[name]:,}")


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# Parts of other pages.


def _pay_and_bill_calls() -> str:
    rows = [
        (f"`POST {kind.address}`", " ".join(_what_it_does(kind)))
        for kind in IMPORT_TYPES.values()
        if kind.contract is PAY_AND_BILL
    ]
    other = ("`POST /api/import/{messageType}`", "any other message type: 501")
    return markdown_table(("call", "what it does"), [*rows, other])


def _what_it_does(kind: ImportType) -> Iterator[str]:
    versions = [str(each.version) for each in TYPE_CATALOGUE.versions(kind.name)]
    numbers = f" (`version={' or '.join(versions)}`)" if len(versions) > 1 else ""
    yield (
        f"imports a JSON array of {kind.name}{numbers}; 200 with the result of every row, in the "
        "order sent."
    )
    for field in kind.references:
        yield (
            f"A row whose `{field.field}` is not among the stored {field.type.name} fails, unless "
            "an earlier import that is still open may bring it."
        )


def _record_calls() -> str:
    names = [each.records.name for each in IMPORT_MODULES.values() if each.records is not None]
    calls = ", ".join(f"`GET /api/records/{name}`" for name in names)
    text = (
        "returns the stored records that the filters find, in pages: JSON, or with `Accept` NDJSON "
        "or CSV that can be imported again. The integration, or the scopes of a token, say how "
        "much of them the caller may read"
    )
    return markdown_table(("call", "what it does"), [(calls, text)])


def _schema_calls() -> str:
    kinds = [kind for kind in TYPE_CATALOGUE.all if kind.has_schema]
    calls = ", ".join(f"`GET /api/import/{kind.schema_name}`" for kind in kinds)
    templates = ", ".join(
        f"`GET /api/import/{template_name(kind, each)}`"
        for kind in kinds
        for each in TEMPLATE_FORMATS
    )
    meaning = (
        "a file with the columns of the type and a row of the sample "
        "([importing-files.md](importing-files.md#templates))"
    )
    rows = [(calls, "the JSON Schema of a row"), (templates, meaning)]
    return markdown_table(("call", "what it does"), rows)


def _record_filters() -> str:
    rows = []
    for module in IMPORT_MODULES.values():
        source = None if module.records is None else module.records.source()
        if module.records is not None and isinstance(source, BusinessRecords):
            anywhere = _named(dict.fromkeys((*source.key_fields, *source.names)))
            group = source.key_fields[0]
            within = f"; {_named(source.columns)} together with `{group}`" if source.columns else ""
            rows.append((module.records.name, f"{anywhere}, in any combination{within}"))
    return markdown_table(("type", "filters"), rows)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "calls of Pay & Bill": _pay_and_bill_calls,
    "calls that read records": _record_calls,
    "addresses of schemas": _schema_calls,
    "filters of records": _record_filters,
}
_PART: Final = re.compile(
    r"(<!-- ([\w &./]+): written by cli\.reference_pages -->\n\n).*?(\n<!-- end -->)", re.DOTALL
)


def with_parts(text: str) -> str:
    """A page with its parts as the code has them now.

    A part is one of PARTS, or the path of a Python file. Raises KeyError for any other name.
    """
    return _PART.sub(lambda part: f"{part[1]}{_render(part[2])}{part[3]}", text)


def _render(name: str) -> str:
    if name.endswith(".py"):
        return f"```python\n{(DOCS.parent / name).read_text('utf-8')}```\n"
    return PARTS[name]()


def parts_in(text: str) -> list[str]:
    """The names of the parts of a page, without those that are files."""
    names = [part[2] for part in _PART.finditer(text)]
    return [name for name in names if not name.endswith(".py")]
