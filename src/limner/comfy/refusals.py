"""What ComfyUI says when it refuses a graph, as an error with advice.

In: the JSON of a 400, or of a 200 with node_errors. Out: a WorkFailedError. The server's lists of
file names are shortened to the few that are alike.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from limner.errors import WorkFailedError

FIXES = {
    "missing_node_type": "Update ComfyUI, or install the custom node the workflow uses.",
    "invalid_prompt": "Update ComfyUI, or install the custom node the workflow uses.",
    "prompt_no_outputs": "The workflow needs a node that saves the picture.",
    "value_not_in_list": "Put the file into the server's models folder, or name one it has.",
    "required_input_missing": "Does this version of ComfyUI know the workflow's nodes? Update it.",
    "invalid_prompt_id": "Report this: the id was not of the form the server wants.",
}
"""Error type -> what to do."""

_SHOWN = 4


def explain_refusal(
    found: Mapping[str, Any], graph: Mapping[str, Any], clean: Callable[[str], str]
) -> WorkFailedError:
    """The error to raise. clean: takes secrets out of a text."""
    error = found.get("error")
    error = error if isinstance(error, Mapping) else {"message": str(error or "")}
    parts, kinds = [], [str(error.get("type", ""))]
    nodes = found.get("node_errors")
    for key, problems in nodes.items() if isinstance(nodes, Mapping) else ():
        entry = graph.get(str(key), {})
        name = problems.get("class_type") or entry.get("class_type", "")
        for one in problems.get("errors") or ():
            kinds.insert(0, str(one.get("type", "")))
            parts.append(f"node {key} ({name}): {_words(one)}")
    if not parts:
        said = (error.get("message"), error.get("details"))
        parts.append(": ".join(str(s) for s in said if s) or "no reason given")
    more = f" (and {len(parts) - _SHOWN} more)" if len(parts) > _SHOWN else ""
    fix = next((FIXES[k] for k in kinds if k in FIXES), "Mend the workflow, then run this again.")
    return WorkFailedError(
        f"ComfyUI refuses this graph: {clean('; '.join(parts[:_SHOWN]))}{more}", fix=fix
    )


def _words(one: Mapping[str, Any]) -> str:
    details = str(one.get("details") or "")
    if one.get("type") == "value_not_in_list":
        return _not_in_list(one, details)
    return ": ".join(s for s in (str(one.get("message") or ""), details[:200]) if s)


def _not_in_list(one: Mapping[str, Any], details: str) -> str:
    """A file that is not there, with the names most like it (no list above 20 choices)."""
    extra = one.get("extra_info") or {}
    name = str(extra.get("input_name") or details.split(":")[0])
    value = str(extra.get("received_value") or "")
    config = extra.get("input_config")
    listed = config[0] if isinstance(config, list) and config else None
    if not isinstance(listed, list):
        found = re.search(r"not in \[(.*)\]", details, re.DOTALL)
        listed = re.findall(r"'([^']*)'", found[1]) if found else []
    alike = difflib.get_close_matches(value, [str(v) for v in listed], n=3, cutoff=0.3)
    hint = f"; it has {', '.join(alike)}" if alike else ""
    return f"{name}: the server has no {value!r}{hint}"
