"""Whether a candidate accepts the requests that stable accepts. Callers would see its refusals as 4xx. Pure."""

from __future__ import annotations

from sluicegate.registry.words.build import Build


def check_inputs(candidate: Build, stable: Build) -> tuple[str, ...]:
    """Why the candidate would refuse requests that stable accepts, each reason with its fix; empty if it would not.

    Services refuse columns that their signature does not name, so nobody can send a candidate's new columns while
    stable serves. Builds whose columns have no names cannot be compared, so they have no problems.
    """
    ours, theirs = _columns(candidate), _columns(stable)
    if ours is None or theirs is None:
        return ()
    needed = sorted(name for name, is_required in ours.items() if is_required and name not in theirs)
    unknown = sorted(theirs.keys() - ours.keys())
    problems = []
    if needed:
        problems.append(
            f"{candidate.ref} needs {_list(needed)}, which callers of stable v{stable.ref.version} do not send: "
            "make new columns optional in its signature, or register it under another model name"
        )
    if unknown:
        problems.append(
            f"{candidate.ref} does not accept {_list(unknown)}, which callers of stable v{stable.ref.version} send: "
            "let it accept and ignore them, or register it under another model name"
        )
    return tuple(problems)


def _columns(build: Build) -> dict[str, bool] | None:
    """The input columns, and whether each is required; None where they have no names."""
    inputs = (build.signature or {}).get("inputs")
    if not isinstance(inputs, list) or not inputs:
        return None
    columns: dict[str, bool] = {}
    for each in inputs:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            return None
        columns[each["name"]] = each.get("required", True) is not False
    return columns


def _list(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
