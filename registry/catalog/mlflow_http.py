"""The MLflow model registry over plain HTTP. Without importing mlflow, so that command line and keeper stay light."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sluicegate.registry.catalog.artifacts import download
from sluicegate.registry.catalog.naming import age, missing, named
from sluicegate.registry.catalog.rest import Rest
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import CatalogUnavailable, NotFound
from sluicegate.registry.words.settings import MlflowServer

PAGE = "1000"
MAX_PAGES = 100


class MlflowCatalog:
    """A Catalog backed by an MLflow server."""

    def __init__(self, server: MlflowServer) -> None:
        self._rest = Rest(server)
        self._signatures: dict[str, dict[str, object] | None] = {}

    def close(self) -> None:
        self._rest.close()

    def models(self) -> tuple[str, ...]:
        listed = self._pages("/registered-models/search", "registered_models", {"max_results": PAGE})
        return tuple(sorted(str(model["name"]) for model in listed))

    def build(self, ref: BuildRef) -> Build:
        version = self._version(ref)
        source = str(version.get("source"))
        if source not in self._signatures:
            self._signatures[source] = self._signature(ref)
        return _build(version, version.get("aliases", ()), self._signatures[source])

    def builds(self, model: str) -> tuple[Build, ...]:
        # Aliases first, because an alias is only ever set on a version that exists. Searches do not return aliases.
        try:
            registered = self._rest.part("registered_model", "/registered-models/get", name=model)
        except NotFound:
            return ()
        aliases = registered.get("aliases", [])
        builds = [
            _build(version, {each["alias"] for each in aliases if each["version"] == version["version"]})
            for version in self._versions(model)
            if version.get("status", "READY") == "READY"
        ]
        return tuple(sorted(builds, key=age))

    def resolve(self, model: str, name: str) -> BuildRef:
        return named(model, name, self.builds(model), self.models)

    def snapshot(self, models: Iterable[str]) -> dict[str, tuple[Build, ...]]:
        return {model: self.builds(model) for model in models}

    def run_metrics(self, run: str) -> Mapping[str, float]:
        run_data = self._rest.part("run", "/runs/get", run_id=run)
        if run_data.get("info", {}).get("lifecycle_stage") == "deleted":
            raise NotFound(f"MLflow: the run {run} is deleted.")
        return {str(each["key"]): float(each["value"]) for each in run_data.get("data", {}).get("metrics", [])}

    def fetch(self, ref: BuildRef, into: Path) -> Path:
        """Fetch the files. The file `<into>.source` next to the folder records which build they belong to."""
        source, note = str(self._version(ref).get("source")), into.with_name(f"{into.name}.source")
        if into.is_dir() and note.is_file() and note.read_text() == source:
            return into
        uri = self._rest.get("/model-versions/get-download-uri", name=ref.model, version=ref.version)["artifact_uri"]
        into.parent.mkdir(parents=True, exist_ok=True)
        note.unlink(missing_ok=True)
        download(self._rest, uri, into)
        note.write_text(source)
        return into

    def set_alias(self, ref: BuildRef, alias: str) -> None:
        if alias not in self._version(ref).get("aliases", ()):
            body = {"name": ref.model, "alias": alias, "version": ref.version}
            self._rest.post("/registered-models/alias", body)
            self._confirm(alias in self._version(ref).get("aliases", ()), f"the alias {alias} of {ref}")

    def delete_alias(self, model: str, alias: str) -> None:
        if self._alias(model, alias) is not None:
            self._rest.post("/registered-models/alias", {"name": model, "alias": alias}, method="DELETE")
            self._confirm(self._alias(model, alias) is None, f"the removal of the alias {alias} of {model}")

    def set_tag(self, ref: BuildRef, key: str, value: str) -> None:
        if _tags(self._version(ref)).get(key) != value:
            body = {"name": ref.model, "version": ref.version, "key": key, "value": value}
            self._rest.post("/model-versions/set-tag", body)
            self._confirm(_tags(self._version(ref)).get(key) == value, f"the tag {key} of {ref}")

    def transition_stage(self, ref: BuildRef, stage: str, *, archive_existing: bool) -> None:
        body = {
            "name": ref.model,
            "version": ref.version,
            "stage": stage,
            "archive_existing_versions": archive_existing,
        }
        self._rest.post("/model-versions/transition-stage", body)
        self._confirm(self._version(ref).get("current_stage") == stage, f"the stage {stage} of {ref}")

    def _version(self, ref: BuildRef) -> dict[str, Any]:
        """A version as MLflow returns it, with its aliases. Raises NotFound."""
        if not ref.version.isdecimal():
            raise missing(ref)
        try:
            return self._rest.part("model_version", "/model-versions/get", name=ref.model, version=ref.version)
        except NotFound as error:
            raise missing(ref) from error

    def _versions(self, model: str) -> Iterator[dict[str, Any]]:
        query = {"filter": _is_called(model), "max_results": PAGE}
        listed = self._pages("/model-versions/search", "model_versions", query)
        return (version for version in listed if version["name"] == model)

    def _pages(self, path: str, name: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        """The entries that a search lists under `name`, page after page."""
        for _ in range(MAX_PAGES):
            page = self._rest.get(path, **query)
            yield from page.get(name, [])
            token = page.get("next_page_token")
            if not token:
                return
            query = {**query, "page_token": token}
        raise CatalogUnavailable(f"MLflow lists {path} on more than {MAX_PAGES:,} pages.")

    def _alias(self, model: str, alias: str) -> str | None:
        """The version that an alias points to; None if there is no such alias."""
        try:
            return str(self._rest.part("model_version", "/registered-models/alias", name=model, alias=alias)["version"])
        except NotFound:
            return None

    def _signature(self, ref: BuildRef) -> dict[str, object] | None:
        """The signature in the build's MLmodel file; None if there is none."""
        try:
            query = {"name": ref.model, "version": ref.version, "path": "MLmodel"}
            return read_signature(self._rest.text("/model-versions/get-artifact", query))
        except NotFound:
            return None

    def _confirm(self, is_there: bool, what: str) -> None:
        if not is_there:
            raise CatalogUnavailable(
                f"MLflow accepted {what}, but does not show it when it is read back.",
                fix="nothing to do: it is written again at the next attempt.",
            )


def _is_called(model: str) -> str:
    """The filter for a model's name. MLflow has no escapes, so a name with both kinds of quotes becomes a pattern."""
    if "'" not in model:
        return f"name='{model}'"
    if '"' not in model:
        return f'name="{model}"'
    return "name LIKE '" + re.sub(r"['\\\\]", "_", model) + "'"


def read_signature(mlmodel: str) -> dict[str, object] | None:
    """The signature in an MLmodel file: {"inputs": [...], "outputs": [...], "params": [...]}."""
    described = YAML(typ="safe", pure=True).load(io.StringIO(mlmodel))
    signature = described.get("signature") if isinstance(described, dict) else None
    if not isinstance(signature, dict):
        return None
    return {part: json.loads(text) for part, text in signature.items() if isinstance(text, str)}


def _build(version: Mapping[str, Any], aliases: Iterable[str], signature: dict[str, object] | None = None) -> Build:
    created = version.get("creation_timestamp")
    return Build(
        ref=BuildRef(model=version["name"], version=str(version["version"])),
        source=str(version.get("source") or ""),
        aliases=frozenset(aliases),
        tags=_tags(version),
        stage=str(version.get("current_stage") or "None"),
        created_at=datetime.fromtimestamp(int(created) / 1000, UTC) if created else None,
        run=str(version.get("run_id") or "") or None,
        signature=signature,
    )


def _tags(version: Mapping[str, Any]) -> dict[str, str]:
    return {each["key"]: each.get("value", "") for each in version.get("tags", [])}
