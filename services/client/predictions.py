"""The answer to a request: predictions, their ids, and the build that made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One row's prediction."""

    id: str
    """The `prediction_id` for `feedback`."""
    value: Any


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The answer to one request, with a row for each input row."""

    values: Any
    """The values from the model's service, usually a list with an element for each row."""
    model: str
    build: str
    """The version of the registered model that answered."""
    variation: str
    """The variation that the request was assigned to."""
    audience: str
    """The audience that matched; `default` if none did, empty if the caller named the variation."""
    reason: str
    """How it was assigned. `hash`: by its unit, so that this unit always gets the same; `random`: it had no unit;
    `name`: the caller named the variation."""
    request_id: str
    stand_in: str = ""
    """The fallback variation, if it answered because the variation's own build could not; otherwise empty."""
    index: Any = field(default=None, repr=False)
    """The index of the input DataFrame."""

    @property
    def rows(self) -> list[Any]:
        """The values as a list, even if the service answered with a single one."""
        return self.values if isinstance(self.values, list) else [self.values]

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each row's prediction."""
        return tuple(f"{self.request_id}.{row}" for row in range(len(self)))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Prediction]:
        return (Prediction(id=name, value=value) for name, value in zip(self.ids, self.rows, strict=True))

    def __getitem__(self, row: int) -> Prediction:
        return Prediction(id=f"{self.request_id}.{range(len(self))[row]}", value=self.rows[row])

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame with the input's index, the service's columns, and `prediction_id`.

        Values without column names are in the column `prediction`, or in one column for each position.
        """
        import pandas as pd

        rows = self.rows
        if rows and isinstance(rows[0], Mapping | list):
            frame = pd.DataFrame(rows)
        else:
            frame = pd.DataFrame({"prediction": rows})
        if self.index is not None and len(self.index) == len(frame):
            frame.index = self.index
        frame["prediction_id"] = list(self.ids)
        return frame


def predictions(model: str, values: Any, headers: Mapping[str, str], index: Any) -> Predictions:
    """The answer from its body and headers."""

    def header(name: str) -> str:
        return unquote(headers.get(name, ""))

    return Predictions(
        values=values, model=model, index=index, request_id=headers.get("x-request-id", ""),
        build=header("x-sluice-build"), variation=header("x-sluice-variation"), audience=header("x-sluice-audience"),
        reason=header("x-sluice-reason"), stand_in=header("x-sluice-stand-in"),
    )  # fmt: skip
