"""The sections of a plan, and all its fields. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.plan.calls import Check, Hook
from sluicegate.registry.plan.document import Document, WholeDocument
from sluicegate.registry.plan.external import ExternalGate
from sluicegate.registry.plan.limits import Limit, TimeLimit
from sluicegate.registry.plan.placement import Image, Placement
from sluicegate.registry.words.metric import LEVELS, Worse, capped_name, level_name
from sluicegate.registry.words.units import Duration, Memory, Rate, Share, Weight


def _servable(model: str) -> str:
    if model in (".", ".."):
        raise ValueError(f"{model!r} cannot be part of a URL; register the model under another name")
    return model


VARIATION = r"^[a-z0-9]([a-z0-9.-]{0,34}[a-z0-9])?$"
"""The pattern of a variation's name."""


class Strategy(StrEnum):
    """How a rollout uses traffic."""

    CANARY = "canary"
    BLUE_GREEN = "blue-green"
    SHADOW = "shadow"
    AB = "ab"


class Trigger(Document):
    """The change in MLflow that starts a rollout. Name exactly one of the three."""

    alias: str | None = None
    """A version that gets this alias."""
    stage: Literal["Staging", "Production"] | None = None
    """A version that is moved to this stage."""
    tag: dict[str, str] | None = None
    """A version that gets this tag, as {key: value}."""
    replan: bool = False
    """Whether a version that ended without success starts once more when a changed plan is applied. Otherwise something
    about the version must change, or a person must start it by name."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.alias, self.stage, self.tag)) != 1:
            raise ValueError("name exactly one of alias, stage, tag")
        if self.tag is not None and len(self.tag) != 1:
            raise ValueError("name exactly one tag, such as {deploy: yes}")
        return self


class ServeEnv(StrEnum):
    """Where a service finds its packages: in the project's environment, or in one of its own."""

    PROJECT = "project"
    ISOLATED = "isolated"


class Kept(StrEnum):
    """How much of a text is stored."""

    OFF = "off"
    HASHED = "hashed"
    FULL = "full"


class KeptPredictions(StrEnum):
    """How much of the answers is stored."""

    OFF = "off"
    SUMMARY = "summary"
    HASHED = "hashed"
    FULL = "full"


HeaderName = Annotated[
    str,
    BeforeValidator(lambda name: name.lower() if isinstance(name, str) else name, json_schema_input_type=str),
    Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"),
]


class Capture(Document):
    """What a service records of requests and answers. Hashed: names stay, and each value becomes a keyed hash."""

    predictions: KeptPredictions = KeptPredictions.SUMMARY
    """Of answers. off: nothing; summary: the first 32 rows; hashed, full: also the body, for a share of requests."""
    features: Kept = Kept.OFF
    """Of requests. off: nothing; hashed, full: the whole body, for a share of requests."""
    share: Annotated[Share, Field(gt=0, le=1)] = 0.01
    """The share of requests whose bodies are recorded, chosen by id; stable and its shadow record the same requests."""
    headers: tuple[HeaderName, ...] = Field(default=(), max_length=16)
    """Request headers, such as x-state, that are recorded with a body; hashed if the body is."""

    @property
    def has_bodies(self) -> bool:
        """Whether any body is recorded."""
        return self.features is not Kept.OFF or self.predictions in (KeptPredictions.HASHED, KeptPredictions.FULL)


class Resources(Document):
    """What one replica may use."""

    cpu: float | None = Field(default=None, gt=0, le=256)
    """Cores: how many threads the numerical libraries of its workers use together. Kubernetes reserves them; nothing
    enforces the number."""
    memory: Memory | None = None
    """Memory. A worker that would allocate more than its part of it gets MemoryError, and answers 500."""
    gpu: int | None = Field(default=None, ge=1, le=64)
    """Whole GPUs of its own, on Kubernetes; on one machine every service sees all of them."""


MOST_REPLICAS = 32


class Serve(Document):
    """How a build is served."""

    replicas: int = Field(default=1, ge=1, le=MOST_REPLICAS)
    """How many services of the build run side by side. One that dies, hangs or fails is left out and restarted."""
    workers: int = Field(default=1, ge=1, le=64)
    """Worker processes of each replica."""
    resources: Resources = Resources()
    """What each replica may use."""
    timeout: Duration = Field(default=5.0, ge=0.001, le=600)
    """Time after which a request to the service fails."""
    retry: bool = True
    """Whether stable answers when the candidate fails, and another worker when one dies."""
    batch: int = Field(default=1, ge=1, le=10_000)
    """How many rows one call of the model takes at most: requests that arrive while it is busy are answered together.
    1: each request alone."""
    env: ServeEnv = ServeEnv.PROJECT
    """Which packages it uses: those of the project, or a virtual environment of its own."""
    image: Image | None = None
    """On Kubernetes, the image whose Python serves the build, with BentoML and the model's packages; none: our own."""
    placement: Placement = Placement()
    """Where Kubernetes runs the build's pods, and who decides how many there are."""
    capture: Capture = Capture()
    """What the service records of requests and answers."""


class Source(StrEnum):
    """Where a metric's values come from."""

    STATUS = "status"
    LATENCY = "latency"
    OUTCOME = "outcome"
    PREDICTION = "prediction"
    CONTRACT = "contract"
    DISAGREEMENT = "disagreement"


class Score(StrEnum):
    """How a prediction and its outcome become one number."""

    LOG_LOSS = "log_loss"
    BRIER = "brier"
    ZERO_ONE = "zero_one"
    ABSOLUTE_ERROR = "absolute_error"
    SQUARED_ERROR = "squared_error"
    OUTCOME = "outcome"


class PredictionField(Document):
    """Which part of an answer is compared with the outcome."""

    column: str = "prediction"
    """The output column, by its name in the MLflow signature; for an unnamed array its position, such as 1."""
    positive: int | str | bool | None = None
    """The outcome whose probability the column holds."""

    @model_validator(mode="before")
    @classmethod
    def _position(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("column"), int):
            return {**value, "column": str(value["column"])}
        return value


class MetricSpec(Document):
    """What is measured, and in which direction it gets worse."""

    source: Source
    """Where the values come from."""
    quantile: float | None = Field(default=None, gt=0, lt=1)
    """Latency only: the quantile, such as 0.99. Its threshold is frozen from stable's history. None: the mean."""
    outcome: str | None = None
    """Outcome only: the name under which outcomes arrive."""
    score: Score | None = None
    """Outcome only: how prediction and outcome become a number; by default the metric's own name."""
    prediction: PredictionField | None = None
    """Outcome and prediction: which column of the answer; by default its only column, or the one named prediction."""
    tolerance: Annotated[Share, Field(gt=0, le=0.5)] | None = None
    """Prediction only: by how much the share of predictions above a quantile of stable's may differ; by default 10%."""
    agree_within: float | None = Field(default=None, ge=0)
    """Disagreement only: numbers that differ by no more than this agree; none: they must be equal to six digits."""
    worse: Worse = Worse.HIGHER
    """The direction in which the metric gets worse."""
    matures_after: Duration = 0.0
    """Outcome only: a request counts once it is this old."""
    cap: float | None = None
    """Mean latency (seconds) and outcomes: values beyond it count as the cap, so that verdicts hold for any shape. No
    mean is judged on fewer than 30 of the candidate's values. Outcomes without a cap, a range or bounds of their own
    get one from stable: the size that 99.9 % of its values do not exceed, frozen once 200 of them are known."""
    range: tuple[float, float] | None = None
    """Outcome only: the smallest and the largest outcome that can be true, such as [0, 100000]. Others, and in any case
    those beyond 2^53, are set aside, counted as missing and shown. With score: outcome the range is a cap too, and
    makes it possible to judge values that lie far from 0 compared with their spread, such as [999999000, 1000001000].
    """

    @property
    def is_binary(self) -> bool:
        """Whether every value is 0 or 1."""
        match self.source:
            case Source.STATUS | Source.DISAGREEMENT:
                return True
            case Source.LATENCY:
                return self.quantile is not None
            case Source.OUTCOME:
                return self.score is Score.ZERO_ONE
            case Source.PREDICTION:
                return False
            case Source.CONTRACT:
                return True

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The range in which all values lie, by their nature or because of the cap; None if there is none."""
        if self.is_binary:
            return None
        is_outcome = self.source is Source.OUTCOME
        is_signed = is_outcome and self.score in (None, Score.OUTCOME)
        highest = _HIGHEST.get(self.score) if is_outcome and self.score is not None else None
        lowest, most = self.range if is_signed and self.range is not None else (None, None)
        ends = [end for end in (self.cap, highest, most) if end is not None]
        if not ends:
            return None
        starts = [start for start in (-self.cap if self.cap is not None else None, lowest) if start is not None]
        return (max(starts) if is_signed else 0.0, min(ends))

    @property
    def has_open_cap(self) -> bool:
        """Whether its values have no bounds until a cap is frozen from stable's."""
        return self.source is Source.OUTCOME and not self.is_binary and self.bounds is None

    @property
    def origin(self) -> float:
        """The value from which outcomes are counted. It is the middle of a range that is far from 0 compared with its
        width,
        because squares of such values would lose how they vary; otherwise 0."""
        if self.score not in (None, Score.OUTCOME) or self.range is None or self.cap is not None:
            return 0.0
        low, high = self.range
        middle = low + (high - low) / 2
        return middle if abs(middle) > _FAR * (high - low) else 0.0

    @property
    def tolerated(self) -> float:
        """The tolerance of a prediction metric."""
        return self.tolerance if self.tolerance is not None else _TOLERANCE


LEAST_PROBABILITY = 1e-6
"""Probabilities stay this far from 0 and 1. So a log loss is at most 13.8, and no single error decides alone."""
_HIGHEST = {Score.BRIER: 1.0, Score.LOG_LOSS: -math.log(LEAST_PROBABILITY)}
CAP_QUANTILE = 0.999
"""The share of stable's values that a frozen cap leaves unchanged."""
_TOLERANCE = 0.1
_FAR = 10.0
FRESH = 1.5
"""The fresh margin is half as wide again as the margin: then it costs few requests (docs/why/gate.md)."""
_DAY = 86_400.0
UNSTATED_RETENTION = 7 * _DAY
"""How long requests are kept for labels if the plan does not say when the labels come."""
_GRACE = 0.25


def _with_grace(matures_after: float) -> float:
    """How long a request is kept whose outcome counts once the request has this age."""
    return matures_after + max(_DAY, _GRACE * matures_after) if matures_after else UNSTATED_RETENTION


def thresholds_of(name: str, metric: MetricSpec) -> tuple[str, ...]:
    """The thresholds to freeze from stable's history before the metric is counted, by their names in facts."""
    match metric.source:
        case Source.LATENCY if metric.quantile is not None:
            return (name,)
        case Source.PREDICTION:
            return tuple(level_name(name, level) for level in LEVELS)
        case Source.OUTCOME if metric.has_open_cap:
            return (capped_name(name),)
        case Source.LATENCY | Source.STATUS | Source.OUTCOME | Source.CONTRACT | Source.DISAGREEMENT:
            return ()


Margin = Annotated[Share, Field(ge=0, le=10)]
"""A relative harm, between 0% and 1000%."""


class GateSpec(Document):
    """A rule for a metric: how often it may stop a good candidate, and how much harm it must rule out."""

    metric: str
    """A name under `metrics`."""
    alpha: float = Field(default=0.05, ge=1e-4, le=0.2)
    """The probability that this gate ever stops a candidate that is as good as stable, however often you look."""
    beta: float = Field(default=0.05, ge=1e-4, le=0.2)
    """The probability that a candidate worse than the margin ever passes."""
    margin: Margin | None = None
    """The harm, relative to stable, that must be ruled out before a step ends. A guardrail has none."""
    below: Limit | None = None
    """A limit that does not depend on stable. 0/1 metrics: the share that the candidate's rate must be shown to stay
    below, such as 1%; it works where nothing ever goes wrong, which no relative margin can. A latency's quantile: the
    time that it must be shown to stay below, such as 300ms. A guardrail stops once the limit is shown to be broken, and
    for nothing else."""
    fresh: Annotated[Share, Field(gt=0, le=10)] | None = None
    """The relative harm that the requests of the last step alone must rule out, so that a candidate that turned bad
    there is not promoted because it was good before. None: 1.5 times the last step's margin; for a latency's quantile
    the margin itself."""
    slices: tuple[HeaderName, ...] = ()
    """Guardrails of 0/1 metrics only: request headers, such as x-state. The requests of each of their values are judged
    too, so that harm in one part of the traffic is found and named. Half of alpha is for the whole, half for all
    slices."""
    mode: Literal["decide", "watch"] = "decide"
    """Whether its verdict has consequences. watch: it is judged and shown, but it delays and stops nothing, and its
    alpha does not count towards what all rules may have together."""
    then: Literal["abort", "pause"] = "abort"
    """What follows when it fails. pause: a person decides; whoever resumes overrides the failure by name, and the rule
    is judged again on the requests from then on."""

    @property
    def decides(self) -> bool:
        """Whether anything follows from its verdict."""
        return self.mode == "decide"


class Step(Document):
    """One stage of a plan."""

    weight: Weight
    """The candidate's share of requests in per cent, such as 10 or 0.5; it rises from step to step."""
    min_requests: int = Field(default=0, ge=0)
    """How many requests the candidate must have answered in this step."""
    soak: Duration = 0.0
    """How long this step must last after its weight took effect."""
    max_time: Annotated[Duration, Field(gt=0)] | None = None
    """Time after which an undecided step pauses the rollout for a person."""
    approval: bool = False
    """Whether a person must approve before the step ends."""
    check: Check | None = None
    """A question to another system, put after everything else but the approval; the answer must be yes."""
    margins: dict[str, Margin] = Field(default_factory=dict)
    """Margins of this step, if they differ from the gates' own."""


CAPTURED = "captured"
"""Stands for the requests that services recorded."""
_Requests = Annotated[str, Field(pattern=r"^(captured|/.+)$", max_length=1000)]


class OfflineGate(Document):
    """A metric of an MLflow run of the candidate, judged before the first request by a limit or against stable's."""

    metric: str = Field(min_length=1, max_length=250)
    """The metric's name in the run, such as val_auc; its last value counts."""
    worse: Worse
    """The direction in which it gets worse."""
    margin: Margin | None = None
    """How much worse than stable's it may be, relative to stable's: 0% means not worse at all."""
    limit: float | None = Field(default=None, allow_inf_nan=False)
    """The worst value that it may have."""
    run_tag: str | None = Field(default=None, min_length=1, max_length=250)
    """The tag of the registered version that holds the id of the run to read, such as that of an evaluation; none: the
    run that made the version."""

    @property
    def name(self) -> str:
        """A name that no other offline gate of the plan has."""
        return self.metric if self.run_tag is None else f"{self.metric}@{self.run_tag}"


class Replay(Document):
    """Stable's service and the candidate's answer earlier requests again, and no caller waits for either."""

    requests: _Requests = CAPTURED
    """Which requests: captured, the newest that services of this variation recorded in full; or the absolute path of a
    file of requests, as `sluice captures export` writes it, on the machine of the driver."""
    at_most: int = Field(default=1_000, ge=50, le=20_000)
    """How many of them: the newest of captured ones, the first of a file."""
    max_time: Duration = Field(default=600.0, gt=0, le=6 * 3600)
    """Time after which no further request is replayed; the answers so far are judged."""
    gates: tuple[GateSpec, ...] = Field(min_length=1)
    """Rules that must pass. They compare pairs of answers to the same request, as those of a shadow do."""


class Generate(Document):
    """Earlier requests are sent once more while the candidate has a share of requests, and nobody waits for their
    answers: a quiet service gets enough of them for errors, latency and contract to be judged."""

    requests: _Requests = CAPTURED
    """Which requests: captured, the newest 1,000 that services of this variation recorded in full; or the first 1,000
    of a file by its absolute path, as `sluice captures export` writes it, on the machine of the gateway."""
    rate: Rate
    """How many of them a second, to both builds together."""


def _no_external(values: object) -> object:
    if isinstance(values, dict) and "external" in values:
        raise ValueError("external gates judge a canary, beside its steps; write external at the top of the plan")
    return values


class Shadow(Document):
    """The candidate answers copies of requests and is compared with stable. No caller gets its answers."""

    sample: Weight
    """The share of requests that is copied, in per cent, such as 20."""
    max_time: Duration = Field(gt=0)
    """Time after which the shadow ends. It ends sooner when every gate has passed, or one has failed."""
    soak: Duration = 0.0
    """How long the shadow lasts at least, even if every gate has passed."""
    gates: tuple[GateSpec, ...] = ()
    """Rules that must pass. They compare pairs of answers to the same request."""
    guardrails: tuple[GateSpec, ...] = ()
    """Rules that can only stop the rollout."""
    audiences: tuple[str, ...] = ()
    """Audiences whose requests are copied; `default` for requests that no audience matches. By default all."""
    slices: tuple[HeaderName, ...] = Field(default=(), max_length=4)
    """Request headers, such as x-state; answers are also compared for each of their values."""
    keep: int = Field(default=20_000, ge=0, le=1_000_000)
    """How many pairs of answers are stored for labels that arrive later; beyond that, an even sample. Sums are kept."""
    keep_for: Duration = Field(default=7 * 86_400.0, gt=0)
    """Age at which a stored pair is deleted."""
    show_values: bool = False
    """Whether the worst disagreements are shown with their answers; by default the answers are hidden."""
    then: Literal["canary"] | None = None
    """What follows when every gate has passed: a canary of the same build by this plan's steps; none: nothing."""

    _external = model_validator(mode="before")(_no_external)


class Confirm(Document):
    """What labels that come long after the promotion must show. Until then a holdout stays with the former stable."""

    metric: str
    """An outcome under `metrics` without a gate or guardrail. Its matures_after says when a request counts."""
    margin: Margin
    """The harm, relative to the former stable, that must be ruled out; then every request is the new build's."""
    alpha: float = Field(default=0.01, ge=1e-4, le=0.2)
    """The probability that a build that is as good as the former one is ever taken back, however often you look."""
    beta: float = Field(default=0.05, ge=1e-4, le=0.2)
    """The probability that a build worse than the margin is ever confirmed."""
    holdout: Weight = 500
    """The share of requests, in per cent, that stays with the former stable after the promotion: 5, at most 50."""
    soak: Duration = 0.0
    """How long the holdout is kept at least, however early its labels are good enough."""
    max_time: Duration = Field(gt=0)
    """Time after the promotion at which an undecided confirmation ends as unconfirmed, with a warning."""
    then: Literal["rollback", "pause"] = "rollback"
    """What follows when its labels show harm. rollback: the former stable takes all requests again, at once. pause: a
    person decides; until then, and until max_time, both keep what they have."""

    @property
    def rule(self) -> GateSpec:
        """The gate that decides the confirmation."""
        then: Literal["abort", "pause"] = "abort" if self.then == "rollback" else "pause"
        return GateSpec.model_construct(
            metric=self.metric, margin=self.margin, alpha=self.alpha, beta=self.beta, then=then
        )


VariationName = Annotated[str, Field(pattern=VARIATION)]


class ExperimentSpec(Document):
    """Variations that already hold a build share an audience for a while, and each is compared with the control."""

    variations: dict[VariationName, Annotated[int, Field(ge=1, le=10_000)]] = Field(min_length=2, max_length=20)
    """The variations that take part, with relative whole weights; the plan's own variation is the control."""
    audience: str = FALLBACK
    """The audience that they share; default: requests that no audience matches."""
    goal: GateSpec
    """What a variation must be shown to do: be better than the control, or with a margin no worse than that. alpha is
    the chance that any is wrongly found to do so, and that any is wrongly found worse; the comparisons divide it."""
    guardrails: tuple[GateSpec, ...] = ()
    """Rules that stop a variation; each alpha, too, is divided among the comparisons."""
    holdout: Annotated[Weight, Field(lt=10_000)] = 0
    """The share of units, in per cent, that stay with the control and are not counted."""
    starts: AwareDatetime | None = None
    """When the experiment begins; none: at once."""
    max_time: Duration = Field(gt=0)
    """Time after which the experiment ends. It ends sooner when every variation has reached the goal."""
    soak: Duration = 0.0
    """How long the experiment lasts at least."""
    then: Literal["conclude", "promote"] = "conclude"
    """What happens when a variation has reached the goal: a person decides, or its build replaces the control's."""

    _external = model_validator(mode="before")(_no_external)


class Deadline(Document):
    """What happens to a rollout that takes too long. It is never promoted."""

    after: Duration = Field(gt=0)
    """Time since the rollout left the queue, or was last resumed."""
    then: Literal["pause", "abort"] = "pause"
    """What happens then."""


class Blind(Document):
    """What happens to a rollout that no gate can judge: too many requests are served and not counted, or judging fails.

    Until then it holds: no gate passes, nothing advances.
    """

    after: Duration = Field(default=120.0, gt=0)
    """How long this must last without a break; a resume starts the time again."""
    then: Literal["pause", "abort"] = "pause"
    """What happens then: pause keeps the weight, abort takes it away."""


class Expect(Document):
    """The traffic that you expect. It decides how far apart looks are."""

    requests_per_day: int = Field(gt=0)
    """Requests to this model and variation, all builds together."""


class OnNewer(StrEnum):
    """What happens to a newer candidate while a rollout is under way."""

    QUEUE = "queue"
    SUPERSEDE = "supersede"
    REFUSE = "refuse"


class OnWithdrawn(StrEnum):
    """What happens to a rollout whose version is taken back in MLflow: its trigger points at it no more."""

    ABORT = "abort"
    PAUSE = "pause"
    IGNORE = "ignore"


def _scored(metrics: dict[str, MetricSpec]) -> dict[str, MetricSpec]:
    """An outcome metric without a score gets the score of its own name, if there is one."""
    return {name: metric.model_copy(update={"score": _score(name, metric)}) for name, metric in metrics.items()}


def _score(name: str, metric: MetricSpec) -> Score | None:
    is_unsaid = metric.source is Source.OUTCOME and metric.score is None and name in set(Score)
    return Score(name) if is_unsaid else metric.score


MetricName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,39}$")]


class PlanFields(WholeDocument):
    """The fields of a plan before its rules are checked. Rules take this class; all other code takes `Plan`."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [
        {"required": ["steps"]},
        {"properties": {"strategy": {"enum": ["blue-green", "shadow"]}}, "required": ["strategy"]},
    ]})  # fmt: skip

    kind: Literal["plan"] = "plan"
    """What this document is."""
    model: Annotated[str, Field(pattern=r"^[^/:\\\x00-\x1f]{1,200}$"), AfterValidator(_servable)]
    """The MLflow registered model."""
    variation: str = Field(default="default", pattern=VARIATION)
    """The slot of the model that the candidate is for."""
    trigger: Trigger | None = None
    """The change in MLflow that starts a rollout; none: only people and schedules start one."""
    serve: Serve = Serve()
    """How the candidate is served."""
    unit: HeaderName | None = None
    """The request header whose value is hashed, such as x-user-id; none: every request is assigned at random."""
    strategy: Strategy = Strategy.CANARY
    """How the candidate gets traffic: in steps; all at once, and back at once if it fails; as copies; or next to
    other variations."""
    offline: tuple[OfflineGate, ...] = Field(default=(), max_length=20)
    """Conditions on metrics of the candidate's MLflow run, which must hold before its first request or copy."""
    replay: Replay | None = None
    """What pairs of answers to earlier requests must show, before its first request or copy; none: nothing."""
    generate: Generate | None = None
    """Earlier requests that are sent again to both builds, for services that get few; none: nothing is sent."""
    certified: bool = False
    """Whether it starts only after `sluice certify` has passed this exact plan; any change of it needs that again."""
    check: Check | None = None
    """A question to another system before the first step, once the service is ready; the answer must be yes."""
    approval: bool = False
    """Whether a person must approve before the first step, once the service is ready; not before copies of a shadow."""
    metrics: Annotated[dict[MetricName, MetricSpec], AfterValidator(_scored)] = Field(default_factory=dict)
    """What is measured, under names of your own; a gate or a guardrail must use each."""
    gates: tuple[GateSpec, ...] = ()
    """Rules that must pass before a step ends."""
    guardrails: tuple[GateSpec, ...] = ()
    """Rules that can only stop the rollout."""
    external: tuple[ExternalGate, ...] = Field(default=(), max_length=20)
    """Limits for numbers that other systems measure, in addition to the gates of a canary."""
    ab: ExperimentSpec | None = None
    """With strategy ab: how variations are compared."""
    shadow: Shadow | None = None
    """With strategy shadow: how a candidate is compared on copies of requests."""
    steps: tuple[Step, ...] = Field(default=(), max_length=100)
    """The weights on the way to promotion, and what must hold before each is left. Required, unless the plan ends in
    the shadow (strategy: shadow, and no canary then), or switches all at once (strategy: blue-green)."""
    retention: Duration | None = Field(default=None, ge=3600, le=366 * _DAY)
    """How long requests, and bodies, are kept for outcomes that come late; without outcomes and bodies none is kept.
    By default for the longest matures_after and a quarter of it again, at least a day; for 7d where an outcome has no
    matures_after, and for bodies."""
    confirm: Confirm | None = None
    """What late labels must show after the promotion, compared with a holdout on the former stable; none: nothing."""
    bake: Duration = 0.0
    """How long the former stable keeps running once every request is the candidate's. With strategy: blue-green the
    bake
    comes before the promotion: gates judge meanwhile, and it lasts 10m unless the plan names it."""
    hooks: tuple[Hook, ...] = Field(default=(), max_length=10)
    """Other systems that are notified of a promotion, an abort or a rollback. Each is notified again until it
    accepts."""
    deadline: Deadline | None = None
    """What happens to a rollout that takes too long; none: it waits for ever."""
    blind: Blind = Blind()
    """What happens when too many requests are served and not counted, so that no gate can judge."""
    expect: Expect | None = None
    """The traffic this plan is made for; none: 50,000 requests in all."""
    on_newer: OnNewer = OnNewer.QUEUE
    """What happens when a newer candidate arrives during this rollout."""
    on_withdrawn: OnWithdrawn = OnWithdrawn.ABORT
    """What happens when the version under way loses the trigger's alias, stage or tag and no newer version gets it. A
    version that is deleted is aborted in any case."""

    @property
    def asks_for_requests(self) -> bool:
        """Whether requests are kept after they were counted, because outcomes or bodies may be joined to them."""
        return self.serve.capture.has_bodies or any(each.source is Source.OUTCOME for each in self.metrics.values())

    @property
    def kept_for(self) -> float:
        """How many seconds requests are kept, if they are kept."""
        if self.retention is not None:
            return self.retention
        outcomes = [each for each in self.metrics.values() if each.source is Source.OUTCOME]
        bodies = [UNSTATED_RETENTION] if self.serve.capture.has_bodies or not outcomes else []
        return max(bodies + [_with_grace(each.matures_after) for each in outcomes])

    @property
    def ends_in_shadow(self) -> bool:
        """Whether nothing follows the shadow, so that no caller ever gets the candidate's answer."""
        return self.strategy is Strategy.SHADOW and (self.shadow is None or self.shadow.then is None)

    @property
    def switches(self) -> bool:
        """Whether the candidate gets every request from the first step on, so that nothing is compared."""
        return self.strategy is Strategy.BLUE_GREEN

    @property
    def deciding_gates(self) -> tuple[GateSpec, ...]:
        """The gates that must pass before a step ends: not those that only watch, nor the one that confirms later."""
        late = self.confirm.metric if self.confirm is not None else None
        return tuple(gate for gate in self.gates if gate.decides and gate.metric != late)

    @property
    def must_pass(self) -> frozenset[str]:
        """Everything that must pass before a step ends: deciding gates and external gates."""
        outside = {gate.name for gate in self.external if gate.decides and not gate.guardrail}
        return frozenset({gate.metric for gate in self.deciding_gates} | outside)

    @property
    def rules(self) -> dict[str, GateSpec | ExternalGate]:
        """Gates and guardrails by their metric, and external gates by their name, which is never the same."""
        named = {gate.name: gate for gate in self.external}
        return {gate.metric: gate for gate in (*self.gates, *self.guardrails)} | named

    def limit(self, gate: GateSpec) -> float | None:
        """The share that the rate of a rule's metric must stay below; for a time limit, that of slower requests."""
        if not isinstance(gate.below, TimeLimit):
            return gate.below
        return round(1 - (self.metrics[gate.metric].quantile or 0.0), 9)

    def is_absolute(self, gate: GateSpec) -> bool:
        """Whether the rule judges the candidate by its limit alone and not against stable: time limits, guardrails, and
        rules for times when stable has no requests."""
        stops_only = gate.metric in {each.metric for each in self.guardrails}
        return isinstance(gate.below, TimeLimit) or (gate.below is not None and (stops_only or self.switches))

    def time_limit(self, metric: str) -> float | None:
        """The time limit in seconds that a rule sets for this metric; None if no rule sets one."""
        rule = self.rules.get(metric)
        return rule.below.seconds if rule is not None and isinstance(rule.below, TimeLimit) else None

    def document(self) -> dict[str, object]:
        """The plan as JSON values. `Plan.model_validate` turns them back into an equal plan.

        Two spellings of a plan give the same values, and so one digest. Defaults are left out, so that a field of a
        later version does not change it.
        """
        return self.model_dump(mode="json", exclude_defaults=True) | {"kind": self.kind, "model": self.model}

    def with_caps(self, thresholds: Mapping[str, float]) -> Self:
        """The plan with the caps that were frozen for metrics without a cap of their own."""
        capped = {
            name: metric.model_copy(update={"cap": thresholds[capped_name(name)]})
            for name, metric in self.metrics.items()
            if metric.has_open_cap and capped_name(name) in thresholds
        }
        return self.model_copy(update={"metrics": {**self.metrics, **capped}}) if capped else self

    def margin(self, gate: GateSpec, step: int) -> float | None:
        """The relative harm that `gate` must rule out at `step` (counted from 0)."""
        return self.steps[step].margins.get(gate.metric, gate.margin)

    def margins(self, gate: GateSpec) -> tuple[float, ...]:
        """Every relative harm that `gate` must rule out at any step, or freshly at the last one, in ascending order."""
        margins = (*(self.margin(gate, step) for step in range(len(self.steps))), self.fresh_margin(gate))
        return tuple(sorted({margin for margin in margins if margin is not None}))

    def fresh_margin(self, gate: GateSpec) -> float | None:
        """The relative harm that the last step's own requests must rule out; None if the plan has one step, or no
        margin at the last."""
        margin = self.margin(gate, len(self.steps) - 1) if len(self.steps) > 1 else None
        metric = self.metrics.get(gate.metric)
        if margin is None or gate.fresh is not None:
            return None if margin is None else gate.fresh
        return margin if metric is not None and metric.quantile is not None else round(margin * FRESH, 6)
