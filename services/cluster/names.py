"""Names and labels of our objects in a cluster: safe forms, with the exact words in annotations. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sluicegate.registry.words.build import BuildRef, slug

MANAGER = "sluicegate"
"""The field manager under which we apply objects."""
NAME_LABEL, COMPONENT_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/component"
MODEL, VERSION = "sluicegate.dev/model", "sluicegate.dev/version"
SERVING = "sluicegate.dev/serving"
"""A label of pods: "true" as long as they get requests."""
BENTO, ENVIRONMENT = "sluicegate.dev/bento", "sluicegate.dev/environment"
BENTO_DIGEST, MODEL_DIGEST = "sluicegate.dev/bento-digest", "sluicegate.dev/model-digest"
SERVICE_NAME = "kubernetes.io/service-name"
"""A label of EndpointSlices: the Service that they belong to."""
_LONGEST = 50
"""Kubernetes adds up to 11 characters for a replica set, and a label has 63."""
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z")


class Component(StrEnum):
    """What an object of ours belongs to."""

    SERVICE = "service"
    GATEWAY = "gateway"
    CONTROL = "control"
    FLOW = "flow"
    """A flow run of Prefect's."""


def build_name(build: BuildRef) -> str:
    """The name of a build's Deployment, Service and PodDisruptionBudget; no two builds have the same one."""
    plain = f"sluice-{slug(build.model)}-v{slug(build.version)}"
    if len(plain) <= _LONGEST and build.version.isascii() and build.version.isdigit():
        return plain
    digest = hashlib.sha256(f"{build.model}\n{build.version}".encode()).hexdigest()[:10]
    return f"{plain[: _LONGEST - 12].rstrip('-')}--{digest}"


def label_value(text: str) -> str:
    """The text itself if it may be the value of a label, else a safe form of it."""
    return text if _LABEL_VALUE.match(text) else slug(text)


def labels(component: Component, build: BuildRef | None = None) -> dict[str, str]:
    """The labels of an object of ours."""
    ours = {NAME_LABEL: "sluicegate", COMPONENT_LABEL: str(component)}
    if build is None:
        return ours
    return ours | {MODEL: label_value(build.model), VERSION: label_value(build.version)}


def exact_words(build: BuildRef) -> dict[str, str]:
    """The exact words of a build."""
    return {MODEL: build.model, VERSION: build.version}


def build_of(thing: Mapping[str, Any]) -> BuildRef | None:
    """The build that an object belongs to; None if it names none."""
    annotations = thing.get("metadata", {}).get("annotations") or {}
    if MODEL not in annotations or VERSION not in annotations:
        return None
    return BuildRef(model=annotations[MODEL], version=annotations[VERSION])


def selector(wanted: Mapping[str, str]) -> str:
    """Labels as the parameter of a query."""
    return ",".join(f"{name}={value}" for name, value in sorted(wanted.items()))
