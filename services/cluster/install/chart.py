"""The Helm chart: the same manifests, with a place for each option. Its templates only insert values. Pure.

Each option of `Installation` is given a word that stands nowhere else; where that word comes out in a manifest, the
chart has the value of the option.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel

from sluicegate.services.cluster.install.installation import Installation, Reference
from sluicegate.services.cluster.install.manifests import GROUPS, Group
from sluicegate.services.cluster.install.texts import document
from sluicegate.services.cluster.kinds import Object

_OPEN, _CLOSE = "ZZ", "ZZ"
_WORD = re.compile(r"ZZ([a-z_]+(?:\.[a-z_]+)*)ZZ")
_BRACES = re.compile(r"\{\{|\}\}")
_LISTS = ("pull_secrets", "console_from")
_NUMBERS = ("gateways", "controls")
_SWITCHES = {each for group in GROUPS for each in group.needs} - set(_LISTS)


def chart_files(version: str) -> dict[str, str]:
    """Every file of the chart, by its path in it."""
    metadata = {
        "apiVersion": "v2", "name": "sluicegate", "version": version, "appVersion": version, "type": "application",
        "description": "Progressive delivery for ML models", "kubeVersion": ">=1.33.0-0",
    }  # fmt: skip
    return {
        "Chart.yaml": document(metadata),
        "values.yaml": _values(),
        "values.schema.json": json.dumps(_schema(), indent=1, sort_keys=True) + "\n",
        "templates/installation.yaml": "".join(map(_template, GROUPS)),
    }


def _values() -> str:
    """The defaults, each under what it means. The image is empty, which the schema refuses: somebody must name it."""
    values = {**Installation(image="none").model_dump(mode="json", exclude={"namespace"}), "image": ""}
    meanings = {name: " ".join(str(field.description).split()) for name, field in Installation.model_fields.items()}
    return "".join(f"# {meanings[name]}\n{document({name: value})}" for name, value in values.items())


def _schema() -> Object:
    schema = Installation.model_json_schema()
    del schema["properties"]["namespace"]  # Helm says it
    schema["additionalProperties"] = False
    schema["properties"]["global"] = {"type": "object"}  # which Helm adds
    return schema


def _template(group: Group) -> str:
    """One group's documents, where its options are set."""
    made = "".join(f"---\n{_with_places(document(each))}" for each in group.make(_named_options()))
    if not group.needs:
        return made
    options = [f".Values.{each}" for each in group.needs]
    condition = options[0] if len(options) == 1 else f"and {' '.join(options)}"
    return f"{{{{- if {condition} }}}}\n{made}{{{{- end }}}}\n"


def _named_options() -> Installation:
    """An installation whose every option is the word that stands for it."""
    named: Installation = _named(Installation(image="none"), "")
    return named


def _named(options: Any, prefix: str) -> Any:
    found: dict[str, Any] = {}
    for name in type(options).model_fields:
        value, path = getattr(options, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            found[name] = _named(value, f"{path}.")
        elif path in _SWITCHES:
            found[name] = True
        elif path == "pull_secrets":
            found[name] = (Reference.model_construct(name=_word(path)),)
        else:
            found[name] = (_word(path),) if path in _LISTS else _word(path)
    return type(options).model_construct(**found)


def _word(path: str) -> str:
    return f"{_OPEN}{path}{_CLOSE}"


def _with_places(text: str) -> str:
    """The text with the chart's expressions in place of the words; braces of others are kept as they are."""
    text = _BRACES.sub(lambda found: f'{{{{ "{found[0]}" }}}}', text)
    pulls, callers = _word("pull_secrets"), _word("console_from")
    whole = {
        rf"imagePullSecrets:\n *- name: {pulls}\n": "imagePullSecrets: {{ .Values.pull_secrets | toJson }}\n",
        rf"values:\n *- {callers}\n": "values: {{ .Values.console_from | toJson }}\n",
        rf"'\[{{\"name\":\"{pulls}\"}}\]'": "{{ .Values.pull_secrets | toJson | quote }}",
        rf"\[\s*{{\s*\"name\": \"{pulls}\"\s*}}\s*\]": "{{ .Values.pull_secrets | toJson }}",
    }
    for pattern, place in whole.items():
        text = re.sub(pattern, lambda _, place=place: place, text)  # type: ignore[misc]
    text = re.sub(rf"(?m)(?<=: |- ){_WORD.pattern}$", lambda found: _place(found[1], whole=True), text)
    return _WORD.sub(lambda found: _place(found[1], whole=False), text)


def _place(path: str, *, whole: bool) -> str:
    value = ".Release.Namespace" if path == "namespace" else f".Values.{path}"
    return f"{{{{ {value} | quote }}}}" if whole and path not in _NUMBERS else f"{{{{ {value} }}}}"
