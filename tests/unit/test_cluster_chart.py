"""The Helm chart: with an installation's options as values, its templates are that installation's manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from sluicegate.services.cluster.install.chart import chart_files
from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.manifests import manifests
from tests.unit.commands import sluice

CHART = chart_files("1.2.3")
IMAGE = "registry.example.com:5000/ml/sluicegate:1.0"
INSTALLATIONS = {
    "plain": Installation(image=IMAGE),
    "little": Installation(image=IMAGE, worker=False, network_policies=False, namespace="other"),
    "full": Installation(
        image=IMAGE, namespace="ml", gateways=5, controls=2, service_monitor=True,
        console_from=("ingress", "monitoring"), console_hosts="a.example.com,b.example.com",
        pull_secrets=({"name": "one"}, {"name": "two"}), pull_policy="Always", keys="k", connections="c",
        accounts={"control": "acc"}, storage={"gateway": "9Gi"}, monitor_secret="m",
        resources={"flow": {"cpu": 2, "memory": "3Gi"}},
    ),
}  # fmt: skip


def rendered(values: Mapping[str, Any], namespace: str) -> list[Any]:
    """What helm template prints, for the few things that our templates do; anything else is an error."""
    text = CHART["templates/installation.yaml"]
    around = {"Values": values, "Release": {"Namespace": namespace}}

    def value(path: str) -> Any:
        found: Any = around
        for name in path.removeprefix(".").split("."):
            found = found[name]
        return found

    def expression(found: re.Match[str]) -> str:
        said = found[1].strip()
        if re.fullmatch(r'"[{}]{2}"', said):
            return said[1:-1]
        path, *pipes = said.split(" | ")
        it = value(path)
        for pipe in pipes:
            it = {"quote": lambda it: json.dumps(str(it)), "toJson": lambda it: json.dumps(it, separators=(",", ":"))}[
                pipe
            ](it)
        return str(it)

    def block(found: re.Match[str]) -> str:
        paths = found[1].removeprefix("and ").split(" ")
        return found[2] if all(value(path) for path in paths) else ""

    text = re.sub(r"\{\{- if (.*?) \}\}\n(.*?)\{\{- end \}\}\n", block, text, flags=re.DOTALL)
    text = re.sub(r"\{\{ (.*?) \}\}", expression, text)
    return [each for each in YAML(typ="safe").load_all(text) if each is not None]


def plain(things: list[Any]) -> list[Any]:
    """With the work pool's template read: spaces in its JSON say nothing."""
    for each in things:
        if "data" in each:
            each["data"] = {name: json.loads(text) for name, text in each["data"].items()}
    return things


@pytest.mark.parametrize("installation", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_the_chart_with_these_values_is_what_render_prints(installation: Installation) -> None:
    values = installation.model_dump(mode="json", exclude={"namespace"})
    assert plain(rendered(values, installation.namespace)) == plain(manifests(installation))


@pytest.mark.parametrize("installation", INSTALLATIONS.values(), ids=INSTALLATIONS)
def test_helm_itself_renders_the_same_and_finds_no_fault(installation: Installation, tmp_path: Path) -> None:
    helm = pytest.importorskip(
        "helm_python", reason="Helm's own renderer is not installed: pip install helm-python-sdk"
    )
    for name, text in CHART.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    values = installation.model_dump(mode="json", exclude={"namespace"})
    found = helm.lint(str(tmp_path), values, strict=True)
    assert [said for said in found["messages"] if said["error"] != "icon is recommended"] == found["errors"] == []
    texts = helm.Chart.load(str(tmp_path)).render(values, name="sluicegate", namespace=installation.namespace)
    things = [each for text in texts.values() for each in YAML(typ="safe").load_all(text) if each is not None]
    assert plain(things) == plain(manifests(installation))


def test_defaults_are_those_of_render_and_the_image_must_be_named() -> None:
    defaults = YAML(typ="safe").load(CHART["values.yaml"])
    assert plain(rendered({**defaults, "image": IMAGE}, "sluicegate")) == plain(manifests(Installation(image=IMAGE)))
    schema = Draft202012Validator(json.loads(CHART["values.schema.json"]))
    assert not list(schema.iter_errors({**defaults, "image": IMAGE}))
    assert [error.json_path for error in schema.iter_errors(defaults)] == ["$.image"]
    assert list(schema.iter_errors({**defaults, "image": IMAGE, "gatewys": 3}))
    assert list(schema.iter_errors({**defaults, "image": IMAGE, "gateways": 1}))


def test_no_word_of_ours_is_left_and_every_option_has_its_place() -> None:
    text = CHART["templates/installation.yaml"]
    assert "ZZ" not in text
    used = set(re.findall(r"\.Values\.([a-z_.]+)", text))

    def leaves(values: Mapping[str, Any], prefix: str = "") -> set[str]:
        return {
            path
            for name, value in values.items()
            for path in (leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}"})
        }

    assert used == leaves(YAML(typ="safe").load(CHART["values.yaml"]))


def test_twice_the_same_chart(tmp_path: Path) -> None:
    assert chart_files("1.2.3") == CHART
    assert sluice(None, "cluster", "chart", str(tmp_path / "chart")).code == 0
    written = {str(path.relative_to(tmp_path / "chart")) for path in (tmp_path / "chart").rglob("*") if path.is_file()}
    assert written == set(CHART)


def test_each_value_stands_under_what_it_means() -> None:
    lines = CHART["values.yaml"].splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-z_]+:", line):
            assert re.match(r"# [A-Z].*\.$", lines[number - 1]), line
