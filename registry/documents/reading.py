"""Reading documents whose form is a class: gives a value, or every error with its place and fix. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import ValidationError

from sluicegate.registry.plan.document import Document
from sluicegate.registry.plan.messages import explain
from sluicegate.registry.words.yaml_text import Text

D = TypeVar("D", bound=Document)


def read_as(form: type[D]) -> Callable[[Text, str], D | None]:
    """A reader for texts whose values are a mapping. If a text has problems, it notes them and returns None."""

    def read(text: Text, _: str) -> D | None:
        try:
            return form.model_validate(text.values)
        except ValidationError as error:
            problems = explain(error, form)
        for problem in problems:
            text.add(problem.at, problem.message, problem.fix, on_value=problem.on_value)
        return None

    return read
