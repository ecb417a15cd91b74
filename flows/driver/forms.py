"""The forms of the Prefect UI: the fields of each deployment, with their help, defaults and choices.

Each deployment of `prefect.yaml` has one model here; a new deployment needs one more model and one more flow. A field
has a title where Prefect would otherwise show the name of a class.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Form(BaseModel):
    """A form: rejects unknown fields, trims texts, and shows docstrings as help."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, str_strip_whitespace=True)


class Again(StrEnum):
    """Whether to try a version again that was aborted or failed before."""

    BY_NAME = "if the build is named by its number"
    YES = "yes"
    NO = "no"


class StartForm(Form):
    """A build to roll out."""

    model: str = Field(min_length=1, title="Model", examples=["delays"])
    """The MLflow registered model."""
    build: str = Field(default="latest", min_length=1, title="Build", examples=["7", "@candidate", "latest"])
    """A version such as 7, an alias such as @candidate, or latest: the newest version."""
    variation: str = Field(default="default", min_length=1, title="Variation")
    """The slot of the model that the build is for."""
    again: Again = Field(default=Again.BY_NAME, title="Try a failed version again")
    """Whether to try a version again that was aborted or failed before. A schedule should leave this as it is."""
    allow_older: bool = Field(default=False, title="Allow an older version")
    """Whether a version older than the stable one may be rolled out."""
    rollout: str = Field(default="", title="Rollout to drive")
    """Leave empty. The keeper fills it in when it starts a driver for an open rollout."""

    @property
    def is_by_name(self) -> bool:
        """Whether a person asks for this very version."""
        match self.again:
            case Again.YES:
                return True
            case Again.NO:
                return False
            case Again.BY_NAME:
                return self.build.removeprefix("v").isdigit()


class SteerForm(Form):
    """An order to a rollout."""

    rollout: str = Field(min_length=1, title="Rollout", examples=["delays-v7-3fa2c1", "delays"])
    """The rollout's id, or the name of a model that has exactly one open rollout."""
    why: str = Field(default="no reason given", min_length=1, title="Why")
    """The reason, which the ledger records."""
    who: str = Field(default="prefect", min_length=1, title="Who")
    """Your name; the ledger records it as `prefect:NAME`. The role of prefect decides what the order may do."""


class AccountableForm(SteerForm):
    """An order that somebody must answer for, so Who and Why have no default."""

    why: str = Field(min_length=1, title="Why")
    """The reason, which the ledger records."""
    who: str = Field(min_length=1, title="Who")
    """Your name; the ledger records it as `prefect:NAME`. The role of prefect decides what the order may do."""


class Opinion(StrEnum):
    """The approver's decision."""

    APPROVE = "approve"
    REJECT = "reject"


class ApproveForm(AccountableForm):
    """A person's decision on a rollout's present step."""

    step: str = Field(pattern=r"^[1-9][0-9]{0,2}$", title="Step", examples=["2"])
    """The step that you looked at, counted from 1. Refused if the rollout is at another step by now."""
    opinion: Opinion = Field(default=Opinion.APPROVE, title="Opinion")
    """approve: the rollout may leave the step once its gates have passed. reject: the rollout is aborted."""


class RollbackForm(Form):
    """A rollback to a build that was stable before."""

    model: str = Field(min_length=1, title="Model", examples=["delays"])
    """The MLflow registered model."""
    to: str = Field(default="", title="To version", examples=["6"])
    """A version that was stable before. If empty, the one before the present one."""
    variation: str = Field(default="default", min_length=1, title="Variation")
    """The slot of the model."""
    why: str = Field(min_length=1, title="Why")
    """The reason, which the ledger records."""
    who: str = Field(min_length=1, title="Who")
    """Your name; the ledger records it as `prefect:NAME`. The role of prefect decides what the order may do."""


class ExperimentForm(Form):
    """An experiment to start."""

    model: str = Field(min_length=1, title="Model", examples=["delays"])
    """The MLflow registered model."""
    variation: str = Field(default="default", min_length=1, title="Control")
    """The control: the variation whose plan describes the experiment under ab."""
    who: str = Field(default="prefect", min_length=1, title="Who")
    """Your name; the ledger records it as `prefect:NAME`. The role of prefect decides what the order may do."""


class SyncForm(Form):
    """A branch of a Git repository to follow."""

    url: str = Field(min_length=1, title="Repository", examples=["https://git.example.com/ml/delivery.git"])
    """A URL that git understands on the machine of the run. Leave passwords out: git uses its own credentials."""
    branch: str = Field(default="main", min_length=1, title="Branch")
    """The branch whose newest commit counts."""
    path: str = Field(default=".", min_length=1, title="Folder")
    """The folder of documents in it."""
    environment: str = Field(default="", title="Environment", examples=["prod"])
    """The environment of the folder. If empty, SLUICE_ENVIRONMENT."""
    revert: bool = Field(default=False, title="Revert drift")
    """Whether to restore Git's version of documents that were changed here. Otherwise changes are only reported."""
    write_back: bool = Field(default=True, title="Write back")
    """Whether to push a branch that names the build in use, after another build was taken back."""
    propose_to: str = Field(default="", title="Propose to", examples=["prod"])
    """The environment for which to push a branch with a build that was promoted here. If empty, none."""


class Look(StrEnum):
    """What the scheduled run checks."""

    EVERYTHING = "everything"
    MLFLOW = "mlflow only"
    DRIVERS = "drivers only"
    GIT = "Git only"


class WatchForm(Form):
    """What to check."""

    look: Look = Field(default=Look.EVERYTHING, title="Look at")
    """everything: start what MLflow's aliases, stages and tags point at, follow the branches named by
    `sluice sync --follow`, and see that open rollouts have a driver."""
