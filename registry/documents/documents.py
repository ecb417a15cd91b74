"""Documents that users apply: from YAML to values of every kind, or to every error with its place and fix.

`KINDS` is the one table of what can be applied. A new kind is a new line in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sluicegate.registry.audience.qwak import QwakRoute, is_qwak, read_qwak
from sluicegate.registry.audience.schema import audience_schema
from sluicegate.registry.audience.short_form import (
    audience_digest,
    audience_written,
    condition_written,
    read_audience_text,
)
from sluicegate.registry.documents.connections_document import ConnectionsDocument
from sluicegate.registry.documents.deployment import Deployment
from sluicegate.registry.documents.environments import FOLDER, lay_over
from sluicegate.registry.documents.freeze_file import freeze_in_words
from sluicegate.registry.documents.notification import Notification
from sluicegate.registry.documents.reading import read_as
from sluicegate.registry.documents.variation_document import VariationDocument
from sluicegate.registry.plan.document import Document
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.policy import Policy
from sluicegate.registry.plan.reading import json_schema, read_plan_text
from sluicegate.registry.rollout.freeze import Freeze
from sluicegate.registry.words.build import CHAMPION_ALIAS
from sluicegate.registry.words.errors import InvalidDocument, Problem, UsageError
from sluicegate.registry.words.suggestions import suggestion
from sluicegate.registry.words.yaml_text import Path as At
from sluicegate.registry.words.yaml_text import Text, read_texts


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of document: how it is read, named and stored."""

    read: Callable[[Text, str], Any]
    """Reads a text whose values are a mapping. If it has problems, notes them and returns None. Also takes the alias of
    stable builds, because no plan may use that as its trigger."""
    schema: Callable[[], dict[str, Any]]
    """Its JSON Schema, as users write it."""
    form: type[Document] | None = None
    """The class with its keys; None if the reader checks more than a class can."""
    name: Callable[[Any], str]
    """Its name among documents of its kind. The latest document of a name is in force."""
    named_by: str
    """The key from which the name is made."""
    body: Callable[[Any], dict[str, object]]
    """What the ledger stores: JSON values that `read` turns back into an equal value."""
    digest: Callable[[Any], str]
    """Equal for two spellings of the same document."""
    says: Callable[[Any], str]
    """A short description."""


def _plan_in_words(plan: Plan) -> str:
    steps = "1 step" if len(plan.steps) == 1 else f"{len(plan.steps)} steps"
    match plan.strategy:
        case Strategy.CANARY | Strategy.AB:
            return steps
        case Strategy.BLUE_GREEN:
            return "all requests switch at once"
        case Strategy.SHADOW:
            return "a shadow alone" if plan.ends_in_shadow else f"a shadow, then {steps}"


KINDS: dict[str, Kind] = {
    "plan": Kind(
        read=read_plan_text,
        schema=partial(json_schema, Plan, "plan"),
        form=Plan,
        name=lambda plan: f"{plan.model}/{plan.variation}",
        named_by="model",
        body=lambda plan: plan.document(),
        digest=lambda plan: plan.digest,
        says=_plan_in_words,
    ),
    "audience": Kind(
        read=lambda text, _: read_audience_text(text),
        schema=audience_schema,
        name=lambda audience: audience.name,
        named_by="name",
        body=audience_written,
        digest=audience_digest,
        says=lambda audience: str(condition_written(audience.condition)),
    ),
    "notification": Kind(
        read=read_as(Notification),
        schema=partial(json_schema, Notification, "notification"),
        form=Notification,
        name=lambda notification: notification.name,
        named_by="name",
        body=lambda notification: notification.document(),
        digest=lambda notification: notification.digest,
        says=lambda notification: f"by {notification.send}, {notification.severity} and above",
    ),
    "freeze": Kind(
        read=read_as(Freeze),
        schema=partial(json_schema, Freeze, "freeze"),
        form=Freeze,
        name=lambda freeze: freeze.name,
        named_by="name",
        body=lambda freeze: freeze.document(),
        digest=lambda freeze: freeze.digest,
        says=freeze_in_words,
    ),
    "policy": Kind(
        read=read_as(Policy),
        schema=partial(json_schema, Policy, "policy"),
        form=Policy,
        name=lambda policy: policy.name,
        named_by="name",
        body=lambda policy: policy.document(),
        digest=lambda policy: policy.digest,
        says=lambda policy: f"every plan of {', '.join(policy.models)} must be certified",
    ),
    "deployment": Kind(
        read=read_as(Deployment),
        schema=partial(json_schema, Deployment, "deployment"),
        form=Deployment,
        name=lambda deployment: deployment.name,
        named_by="model",
        body=lambda deployment: deployment.document(),
        digest=lambda deployment: deployment.digest,
        says=lambda deployment: f"v{deployment.build}",
    ),
    "variation": Kind(
        read=read_as(VariationDocument),
        schema=partial(json_schema, VariationDocument, "variation"),
        form=VariationDocument,
        name=lambda variation: variation.name,
        named_by="model",
        body=lambda variation: variation.document(),
        digest=lambda variation: variation.digest,
        says=lambda variation: variation.says,
    ),
    "connections": Kind(
        read=read_as(ConnectionsDocument),
        schema=partial(json_schema, ConnectionsDocument, "connections"),
        form=ConnectionsDocument,
        name=lambda connections: connections.model,
        named_by="model",
        body=lambda connections: connections.document(),
        digest=lambda connections: connections.digest,
        says=lambda connections: connections.says,
    ),
}
"""Every kind of document that can be applied."""
VIEWS = ("variation", "connections")
"""Kinds that show the record of traffic. Applying one gives an order to change that record."""
ORDER = ("audience", "freeze", "notification", "policy", "plan", "deployment", "connections", "variation")
"""A document comes after those that it may name. Protection of a variation comes after the connections to it."""
ENDINGS = (".yaml", ".yml")
Only = TypeVar("Only")


@dataclass(frozen=True, kw_only=True)
class ReadDocument:
    """A valid document and where it was read."""

    where: str
    line: int
    kind: str
    value: Any
    text: Text | None = field(default=None, repr=False, compare=False)
    """The text that it was read from."""
    routes: tuple[QwakRoute, ...] = ()
    """Where a Qwak file routes an audience. The routes name no model, so they are not part of the audience."""

    @property
    def name(self) -> str:
        """Its name among documents of its kind."""
        return KINDS[self.kind].name(self.value)

    @property
    def body(self) -> dict[str, object]:
        """What the ledger stores of it."""
        return KINDS[self.kind].body(self.value)

    @property
    def digest(self) -> str:
        """Equal for two spellings of the same document."""
        return KINDS[self.kind].digest(self.value)

    @property
    def note(self) -> str | None:
        """What the document says and applying it alone does not do; None if there is nothing."""
        if not self.routes:
            return None
        way = f"sluice audience apply -f {self.where} --model MODEL"
        return f"{self.name}: its routes name no model, so they were not applied; to apply them: {way}"


def read_documents(
    paths: Iterable[Path], champion_alias: str = CHAMPION_ALIAS, environment: str | None = None
) -> tuple[ReadDocument, ...]:
    """The documents in files and in all YAML files of folders, sorted by path, as they are in an environment.

    Here as below, `champion_alias` is the alias of stable builds, which no plan may use as its trigger.
    Raises InvalidDocument with the problems of all documents, and UsageError for a path that cannot be read or a folder
    whose environments do not include this one.
    """
    files = _Files.of_environment(paths, environment)
    texts = lay_over(*(tuple(_texts(group)) for group in (files.everywhere, files.own)))
    if not texts:
        raise UsageError("there is no document to read.", fix="name a YAML file or a folder of them: -f plan.yaml")
    return _read(texts, champion_alias)


def read_plans(paths: Iterable[Path], champion_alias: str = CHAMPION_ALIAS) -> tuple[Plan, ...]:
    """The plans among the documents. Raises what `read_documents` raises, and UsageError if there is none."""
    plans = tuple(read.value for read in read_documents(paths, champion_alias) if isinstance(read.value, Plan))
    if not plans:
        raise UsageError("there is no plan among these documents.", fix="name a file that begins with kind: plan")
    return plans


def read_document(text: str, where: str, champion_alias: str = CHAMPION_ALIAS) -> ReadDocument:
    """The only document of a YAML text. Raises InvalidDocument, also if there are several, so that none is skipped."""
    return _only(_read((_only(read_texts(text, where), where),), champion_alias), where)


def document_from_values(values: object, where: str, champion_alias: str = CHAMPION_ALIAS) -> ReadDocument:
    """The document in values that came as JSON. Problems name paths, not lines. Raises InvalidDocument."""
    return _only(_read([Text(where=where, values=values)], champion_alias), where)


def _only(documents: Sequence[Only], where: str) -> Only:
    if len(documents) == 1:
        return documents[0]
    message = f"one document is expected here, and there are {len(documents)}"
    raise InvalidDocument((Problem(where=where, line=1, column=1, path="document", message=message),))


@dataclass(frozen=True, kw_only=True)
class _Files:
    """YAML files: those for every environment, and those of one."""

    everywhere: tuple[Path, ...]
    own: tuple[Path, ...]

    @classmethod
    def of_environment(cls, paths: Iterable[Path], environment: str | None) -> _Files:
        everywhere, own = dict[Path, None](), dict[Path, None]()
        for path in paths:
            environments = path / FOLDER
            inside = _yaml_files(path)
            if not environments.is_dir():
                everywhere |= dict.fromkeys(inside)
                continue
            chosen = _environment(environments, environment)
            everywhere |= dict.fromkeys(file for file in inside if environments not in file.parents)
            own |= dict.fromkeys(file for file in inside if chosen in file.parents)
        return cls(everywhere=tuple(everywhere), own=tuple(own))


def _yaml_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in ENDINGS and file.is_file())


def _environment(environments: Path, name: str | None) -> Path:
    """The folder of an environment. Raises UsageError if it does not exist."""
    names = sorted(folder.name for folder in environments.iterdir() if folder.is_dir())
    if name in names:
        return environments / name
    has = f"{environments.parent} has the environments {', '.join(names) or '(none)'}"
    problem = "and none is named" if name is None else f"and no {name}"
    fix = suggestion(name, names) if name is not None and names else "name one: --environment, or SLUICE_ENVIRONMENT"
    raise UsageError(f"{has}, {problem}.", fix=fix)


def _texts(files: Iterable[Path]) -> Iterator[Text]:
    for file in files:
        yield from read_texts(_content(file), str(file))


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}.", fix="check that it exists and that you may read it."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}.") from error


def _read(texts: Sequence[Text], champion_alias: str = CHAMPION_ALIAS) -> tuple[ReadDocument, ...]:
    placed = [(text, at, document) for text in texts for at, document in _documents(text, champion_alias)]
    _refuse_twice(placed)
    problems = [problem for text in texts for problem in text.problems]
    if problems:
        raise InvalidDocument(tuple(sorted(problems, key=lambda p: (p.where, p.line, p.column))))
    return tuple(document for _, _, document in placed)


def _documents(text: Text, champion_alias: str) -> Iterator[tuple[At, ReadDocument]]:
    """The documents of a text, each with its place. If a document has problems, notes them and yields nothing."""
    values = text.values
    if is_qwak(values):
        for entry in read_qwak(text):
            line = text.place(entry.at)[0]
            yield (
                entry.at,
                ReadDocument(where=text.where, line=line, kind="audience", value=entry.audience, routes=entry.routes),
            )
        return
    if not isinstance(values, dict):
        if not text.problems:
            text.add((), "a document is a mapping of keys and values", "name a file that begins with kind: plan")
        return
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        _refuse_kind(text, kind, is_deployment_file="realtime" in values)
        return
    value = KINDS[kind].read(text, champion_alias)
    if value is not None:
        yield (), ReadDocument(where=text.where, line=text.line, kind=kind, value=value, text=text)


def _refuse_kind(text: Text, kind: object, *, is_deployment_file: bool) -> None:
    known = ", ".join(KINDS)
    if kind is None and is_deployment_file:
        text.add(
            (), "this is a deployment file of Qwak's: apply cannot read it", f"sluice deploy --from-file {text.where}"
        )
    elif kind is None:
        text.add((), "kind is missing", f"write kind: one of {known}")
    else:
        text.add(("kind",), f"there is no kind {kind!r}", f"known are {known}", on_value=True)


def _refuse_twice(placed: Sequence[tuple[Text, At, ReadDocument]]) -> None:
    first: dict[tuple[str, str], ReadDocument] = {}
    for text, at, document in placed:
        earlier = first.setdefault((document.kind, document.name), document)
        if earlier is not document:
            named_by = KINDS[document.kind].named_by
            message = f"the {document.kind} {document.name} is declared twice; first in {earlier.where}:{earlier.line}"
            text.add((*at, named_by), message, _other_name(document.kind))


def _other_name(kind: str) -> str:
    is_of_variation = kind in ("plan", "deployment", "variation")
    return "keep one of them, or name another variation" if is_of_variation else "keep one of them"
