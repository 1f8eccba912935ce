"""The path of a blob trigger, `container/{name}.{ext}`, as a pattern (PLATFORM 3)."""

import re


def path_pattern(path: str) -> re.Pattern[str]:
    """The blob names that a trigger path takes: `{name}` matches slashes too, and greedily."""
    container, _, rest = path.partition("/")
    if "{" in container or not container:
        raise ValueError(f"the blob path {path!r} must begin with the name of a container")
    pattern = ""
    for literal, parameter in re.findall(r"((?:[^{}]|\{\{|\}\})+)|(\{[^{}]+\})", rest or "{name}"):
        text = literal.replace("{{", "{").replace("}}", "}")
        pattern += ".+" if parameter else re.escape(text)
    return re.compile(pattern, re.DOTALL)
