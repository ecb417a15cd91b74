"""Glossary: the meaning of each of Sluicegate's own terms; other pages link here."""

from __future__ import annotations

from starlette.requests import Request

from sluicegate.registry.words.glossary import GLOSSARY
from sluicegate.services.console.pages.rendering import Context, Endpoint, template
from sluicegate.services.console.ports import Desk
from sluicegate.services.report.states import COLOURS, STATES, VERDICTS


def page(desk: Desk) -> Endpoint:
    """The page of all terms."""

    def context(_: Request) -> Context:
        return {
            "groups": GLOSSARY,
            "colours": COLOURS,
            "legends": {"States of a rollout": STATES, "Verdicts of a gate": VERDICTS},
        }

    return template(desk, "glossary.html", context)
