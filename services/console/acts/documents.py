"""Acts on documents: plans and everything else that `sluice apply` takes."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from sluicegate.registry.catalog.naming import no_builds
from sluicegate.registry.documents.connections_document import ConnectionsDocument
from sluicegate.registry.documents.deployment import Deployment
from sluicegate.registry.documents.documents import KINDS, VIEWS, ReadDocument, document_from_values, read_document
from sluicegate.registry.documents.known import known_documents, known_view
from sluicegate.registry.documents.variation_document import VariationDocument
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.certified_plans import uncertified
from sluicegate.registry.orders.give import apply_document, give, withdraw_document
from sluicegate.registry.orders.order import Act, ApplyDeployment
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.errors import NotFound, Unreachable, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.acts.models import deployable
from sluicegate.services.console.operations import Answer, Body, Operation, Request
from sluicegate.services.console.ports import Desk


class DocumentBody(Body):
    """A document, either as YAML text or as JSON values."""

    document: str | None = None
    """YAML."""
    values: dict[str, Any] | None = None
    """The same as JSON values, including `kind`."""
    where: str = "document"
    """The name of its file, used in error messages."""

    @model_validator(mode="after")
    def _one(self) -> DocumentBody:
        if (self.document is None) == (self.values is None):
            raise ValueError("send exactly one of document and values")
        return self

    def read(self, champion_alias: str) -> ReadDocument:
        """The parsed document; `champion_alias` is the alias of stable builds. Raises InvalidDocument."""
        if self.values is not None:
            return document_from_values(self.values, self.where, champion_alias)
        return read_document(self.document or "", self.where, champion_alias)


class DocumentActs:
    """Handlers; documents are kept in the ledger."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def list(self, request: Request, _: Body) -> Answer:
        wanted = request.query.get("kind")
        documents = known_documents(self._desk.ledger)
        return 200, {"documents": [each for each in documents if wanted in (None, each.kind)]}

    def apply(self, request: Request, body: DocumentBody) -> Answer:
        read, desk = body.read(self._desk.champion_alias), self._desk
        if isinstance(read.value, Plan):
            desk.check(read.value)
        document = Applied(
            kind=read.kind, name=read.name, body=read.body, digest=read.digest, actor=request.actor, at=desk.clock()
        )
        act = self._act(read.value, document)
        if act is not None:
            receipt = give(desk.ledger, request.order(act), desk.clock())
            changed, rollout = receipt.changed, receipt.rollout
        else:
            changed, rollout = apply_document(desk.ledger, document, request.role, request.person), None
        done = {
            "applied": f"{read.kind} {read.name}", "changed": changed, "warning": self._warning(read),
            "rollout": rollout,
        }  # fmt: skip
        return (201 if changed else 200), done

    def _act(self, value: object, document: Applied) -> Act | None:
        """The order that applying the document gives; None: the document is only recorded."""
        match value:
            case Deployment():
                return self._deployment(value, document)
            case ConnectionsDocument() | VariationDocument():
                return value.act
            case _:
                return None

    def _deployment(self, deployment: Deployment, document: Applied) -> ApplyDeployment:
        version = deployable(self._desk, deployment.model, deployment.build)
        return ApplyDeployment(
            model=deployment.model, variation=deployment.variation, version=version, document=document
        )

    def withdraw(self, request: Request, _: Body) -> Answer:
        kind, name = request.query.get("kind") or "", request.query.get("name") or ""
        if kind not in KINDS or not name:
            raise UsageError("name the document by kind and name.", fix=f"the kinds are {', '.join(KINDS)}")
        if kind in VIEWS:
            view = known_view(self._desk.ledger, kind, name)
            changed = view is not None and not view.is_bare
            if view is not None and changed:
                give(self._desk.ledger, request.order(view.bare.act), self._desk.clock())
        else:
            changed = withdraw_document(self._desk.ledger, kind, name, request.actor, request.role, self._desk.clock())
        return 200, {"withdrawn": f"{kind} {name}", "changed": changed}

    def _warning(self, read: ReadDocument) -> str | None:
        """Warnings about a valid plan: its model is unknown, or it cannot start a rollout yet."""
        if not isinstance(read.value, Plan):
            return None
        warnings = [self._unknown_model(read.value), self._uncertified(read)]
        return "; ".join(each for each in warnings if each is not None) or None

    def _uncertified(self, read: ReadDocument) -> str | None:
        """The warning if a plan requires a certificate and has none that passed."""
        why = uncertified(self._desk.ledger, read.value)
        return (
            None
            if why is None
            else f"{why}; it cannot start a rollout until it is certified: sluice certify -f {read.where}"
        )

    def _unknown_model(self, plan: Plan) -> str | None:
        try:
            models = self._desk.catalog.models()
        except (NotFound, Unreachable):  # a plan may be applied before its MLflow runs
            return None
        return None if plan.model in models else str(no_builds(plan.model, models))


def operations(desk: Desk) -> tuple[Operation, ...]:
    """The operations on documents."""
    acts = DocumentActs(desk)
    root = "/api/v1/documents"
    return (
        Operation(
            method="GET", path=root, role=Role.VIEWER, act=acts.list, query={"kind": "Only this kind."},
            summary="The documents in force.",
            gives={200: "`documents`, each with `kind`, `name`, `digest`, `body`, `actor`, `at`, and `is_bare`: "
                        "there is nothing to withdraw."},
        ),
        Operation(
            method="POST", path=root, role=Role.OPERATOR, takes=DocumentBody, act=acts.apply,
            summary="Apply a document. Applying the same document again changes nothing.",
            gives={201: "`applied`, `changed`, a `warning` if a plan's model is not in MLflow or the plan lacks the "
                        "certificate that it requires, and the `rollout` that a deployment started.",
                   200: "The same, if nothing changed."},
        ),
        Operation(
            method="DELETE", path=root, role=Role.OPERATOR, act=acts.withdraw,
            query={"kind": "Its kind.", "name": "Its name."},
            summary="Withdraw a document. Rollouts that follow a withdrawn plan continue. Withdrawing it again changes "
                    "nothing.",
            gives={200: "`withdrawn`, `changed`."},
        ),
    )  # fmt: skip
