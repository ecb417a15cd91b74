"""Reading documents whose form is a class: a value, or every error with its place and fix. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from sluicegate.registry.plan.document import Document
from sluicegate.registry.plan.messages import explain
from sluicegate.registry.words.yaml_text import Text

D = TypeVar("D", bound=Document)


def read_as(form: type[D]) -> Callable[[Text, str], D | None]:
    """What reads a text whose values are a mapping; None when it has problems, which are then noted in it."""

    def read(text: Text, _: str) -> D | None:
        try:
            return form.model_validate(text.values)
        except ValidationError as error:
            problems = explain(error, form)
        for problem in problems:
            text.add(problem.at, problem.message, problem.fix, on_value=problem.on_value)
        return None

    return read
