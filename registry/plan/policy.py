"""Policy: what an installation requires of every plan of some models, whatever the plan itself says. Pure.

kind: policy
name: certified-plans
models: ["*"]
certified: true
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from sluicegate.registry.plan.document import WholeDocument


class Policy(WholeDocument):
    """A requirement for every plan of some models. Only an admin may apply or withdraw it."""

    kind: Literal["policy"] = "policy"
    """What this document is."""
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")
    """Its name among policies. All policies apply."""
    models: tuple[str, ...] = Field(default=("*",), min_length=1)
    """Names of models; * stands for any characters."""
    certified: Literal[True]
    """Every plan must have passed `sluice certify` in its present form before it starts a rollout, as with
    certified: true in the plan itself."""

    def is_for(self, model: str) -> bool:
        """Whether the policy applies to plans of this model."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)

    def document(self) -> dict[str, object]:
        """The policy as JSON values, defaults left out."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"kind": self.kind}
