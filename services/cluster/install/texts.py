"""Manifests as texts: YAML documents, or files with a kustomization. The same value gives the same bytes. Pure."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from sluicegate.services.cluster.kinds import Object

KUSTOMIZATION = "kustomization.yaml"


class _Representer(RoundTripRepresenter):
    """Texts of several lines as blocks, and equal parts written out, because people read them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(representer: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Representer.add_representer(str, _text)


def document(thing: Mapping[str, Any]) -> str:
    """One document, with its keys in their order."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = 1 << 16
    yaml.default_flow_style = False
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(dict(thing), out)
    return out.getvalue()


def documents(things: Sequence[Object]) -> str:
    """All of them in one text, as `kubectl apply -f -` reads it."""
    return "---\n".join(map(document, things))


def files(things: Sequence[Object]) -> dict[str, str]:
    """A file for each, and a kustomization that names them in their order."""
    found = {file_name(each): document(each) for each in things}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(found),
    }
    return {**found, KUSTOMIZATION: document(kustomization)}


def file_name(thing: Object) -> str:
    """Such as `deployment-sluicegate-gateway.yaml`."""
    return f"{thing['kind'].lower()}-{thing['metadata']['name']}.yaml"


def named_in(kustomization: str) -> tuple[str, ...]:
    """The files that a kustomization of ours names; none if the kustomization is not ours."""
    read = YAML(typ="safe", pure=True).load(kustomization)
    named = read.get("resources") if isinstance(read, dict) else None
    return tuple(each for each in named if isinstance(each, str) and "/" not in each) if isinstance(named, list) else ()
