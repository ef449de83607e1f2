"""Two answers as plain values, and where they differ, field by field.

What no two servers can have in common is looked at for its presence only: tokens, cursors, and the moments and ids of
traces. The items of a stream are compared without their order, except those of a Watch. Texts of errors are for people
and not compared.
"""

import json
from collections import Counter

from google.protobuf.json_format import MessageToDict
from harness import info_of

# Messages that hold nothing but a token.
TOKENS = {
    "written_at", "deleted_at", "checked_at", "expanded_at", "looked_up_at", "read_at", "changes_through",
}  # fmt: skip
# Of a trace: what is measured, drawn or a matter of caches, and how it is cut into sub-problems.
TRACE = {"duration", "trace_operation_id", "source", "was_cached_result", "sub_problems", "schema_used"}


def plain(message):
    """A message as nested dicts and lists, with what cannot be compared taken out."""
    whole = MessageToDict(message, preserving_proto_field_name=True)
    found = tidy(whole)
    terminal = sorted({f"{of['subject_definition_name']} {of['is_terminal_subject']}" for of in subject_types(whole)})
    return {**found, "terminal_subjects": " ".join(terminal)} if terminal else found


def subject_types(value):
    """What is reflected of subjects that are no usersets."""
    if isinstance(value, dict):
        if "is_terminal_subject" in value:
            yield value
        for inner in value.values():
            yield from subject_types(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from subject_types(inner)


def tidy(value, in_trace=False):
    if isinstance(value, list):
        return [tidy(inner, in_trace) for inner in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, inner in value.items():
        # Cursors, and which subjects are terminal, are looked at once for all of an answer.
        if (in_trace and key in TRACE) or key in ("after_result_cursor", "is_terminal_subject"):
            continue
        if key in TOKENS:
            found[key] = "given"
        elif key == "error":
            # Of a bulk item; the text is for people.
            found[key] = {"code": inner.get("code"), "details": [tidy(of) for of in inner.get("details", [])]}
        elif key == "missing_required_context":
            found[key] = sorted(inner)
        elif key in ("relations", "permissions", "parameters", "subject_types", "subjects", "diffs", "children", "excluded_subjects", "excluded_subject_ids", "updates"):
            found[key] = sorted((tidy(of, in_trace) for of in inner), key=lambda of: json.dumps(of, sort_keys=True))
        else:
            found[key] = tidy(inner, in_trace or key == "debug_trace")
    return found


def refusal(error):
    """A failed call as its status, reason and metadata; and its text, to be shown."""
    info = info_of(error)
    status = " ".join(filter(None, [error.code().name, info.reason.removeprefix("ERROR_REASON_") if info.domain else ""]))
    return {"status": status, "domain": info.domain, "metadata": dict(info.metadata)}, error.details()


def flat(value, path=""):
    """Leaves by their paths."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from flat(inner, f"{path}[{at}]")
    else:
        yield path, value


def said(value):
    """On one line."""
    return value.replace("\n", "\\n") if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def differences(theirs, ours, ordered):
    """(path, theirs, ours) of each field that differs."""
    found = []
    keys = sorted({*theirs, *ours})
    if theirs["status"] != ours["status"]:
        found.append(("status", theirs["status"], ours["status"]))
        # What else is said has nothing in common.
        keys = [key for key in keys if key == "stored"]
    for key in keys:
        mine, other = ours.get(key), theirs.get(key)
        if isinstance(mine, list) and isinstance(other, list) and not ordered:
            # Streams and what is stored: sets of items.
            lines = [Counter(json.dumps(item, sort_keys=True, ensure_ascii=False) for item in items) for items in (other, mine)]
            only = [sorted((lines[a] - lines[1 - a]).elements()) for a in (0, 1)]
            if only[0] or only[1]:
                found.append((key, " ".join(only[0]), " ".join(only[1])))
            continue
        leaves = [dict(flat(value, key)) for value in (other, mine)]
        for path in sorted({*leaves[0], *leaves[1]}):
            if leaves[0].get(path) != leaves[1].get(path):
                found.append((path, *(said(of[path]) if path in of else "" for of in leaves)))
    return found
