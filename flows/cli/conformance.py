"""cluster conform: check a running installation by rolling a tiny model out, back and out again."""

from __future__ import annotations

import io
import os
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.flows.cli.output import remark
from sluicegate.flows.cli.reach import call, segment
from sluicegate.flows.cli.waiting import LOOK_SECONDS, until_it_serves
from sluicegate.registry.words.errors import SluiceError, TimedOut, Unreachable

if TYPE_CHECKING:
    from sluicegate.services.client.sync import Client

_WEIGHT = 50
_ENOUGH = 20
"""Number of answers after which a build counts as serving."""
_PAUSE = 0.05
_AFTER = 20.0
"""Seconds that callers continue after an abort. By then the last gateway sends requests to stable only."""
_PROMISED = 15.0
"""Longest time in seconds from an abort to the candidate's last answer, even if parts are cut off."""
_WHY = "sluice cluster conform"
_PREFIX = "sluicegate-conformance-"
_AT_WORK = "sluicegate.at-work"
"""Tag of a model in MLflow. The model's run keeps changing it, so that no other run takes the model for a leftover."""
_BEAT, _SILENT = 4.0, 15.0
"""Seconds between two changes of the tag, and seconds without a change after which the run counts as ended."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check."""

    check: str
    passed: bool
    result: str


@dataclass
class Callers:
    """Sends requests one after another, each with a new unit."""

    client: Client
    model: str
    answered: int = 0
    builds: Counter[str] = field(default_factory=Counter)
    """Answers of each build since the counter was last cleared."""
    last: dict[str, float] = field(default_factory=dict)
    """When each build last answered, in seconds of the monotonic clock."""
    failures: list[str] = field(default_factory=list)

    def go_on(self, stop: threading.Event) -> None:
        """Send requests until `stop` is set."""
        from sluicegate.services.client.problems import ClientError

        while not stop.wait(_PAUSE):
            try:
                answer = self.client.predict(self.model, [[1.0]], unit=secrets.token_hex(4))
            except ClientError as error:
                self.failures.append(str(error))
            else:
                self.answered += 1
                self.builds[answer.build] += 1
                self.last[answer.build] = time.monotonic()


def conformance(timeout: float) -> tuple[Check, ...]:
    """Register two builds of a new model, deploy, ramp, abort and promote them, then remove everything again.

    Each step may take `timeout` seconds. If one fails, the steps after it are skipped and the cleanup still runs.
    """
    _configure_mlflow()
    signal.signal(signal.SIGTERM, _end)  # the cleanup also runs when the Job is deleted
    model = f"{_PREFIX}{secrets.token_hex(3)}"
    checks = [_told(each) for each in _left_over()]
    try:
        with _at_work(model):
            checks.extend(map(_told, _story(model, timeout)))
    except SluiceError as error:
        checks.append(_told(Check(check="goes on", passed=False, result=str(error))))
    finally:
        checks.append(_told(_removed("what was made is removed", model)))
    return tuple(checks)


def _told(check: Check) -> Check:
    remark(f"{'passed' if check.passed else 'FAILED'}: {check.check}: {check.result}")
    return check


def _end(*_: object) -> None:
    remark("stopped; what was made is being removed")
    sys.exit(128 + signal.SIGTERM)


def _left_over() -> Iterator[Check]:
    """Remove what killed runs left behind: our models on which no run is at work."""
    before = _models()
    if before:
        remark(f"whether another run is at work on {', '.join(sorted(before))} shows in {_SILENT:.0f} s")
        time.sleep(_SILENT)
        now = _models()
        for model in sorted(name for name, beat in before.items() if name in now and now[name] == beat):
            yield _removed("what an earlier run left is removed", model)


def _models() -> dict[str, str | None]:
    """The models in MLflow that conformance runs created, each with the value of its tag."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        models = MlflowClient().search_registered_models(filter_string=f"name LIKE '{_PREFIX}%'")
    except MlflowException as error:
        raise Unreachable(f"MLflow does not tell its models: {error}", fix="check MLFLOW_TRACKING_URI") from error
    return {each.name: each.tags.get(_AT_WORK) for each in models}


@contextmanager
def _at_work(model: str) -> Iterator[None]:
    """Create the model, empty at first, and keep changing its tag during the block."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client, over = MlflowClient(), threading.Event()

    def beat() -> None:
        while not over.wait(_BEAT):
            with suppress(MlflowException):  # the next one is soon
                client.set_registered_model_tag(model, _AT_WORK, secrets.token_hex(4))

    try:
        client.create_registered_model(model, tags={_AT_WORK: secrets.token_hex(4)})
    except MlflowException as error:
        raise Unreachable(f"MLflow takes no model: {error}", fix="check MLFLOW_TRACKING_URI") from error
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _story(model: str, timeout: float) -> Iterator[Check]:
    first, second = (_register(model, slope) for slope in (1.0, 2.0))
    yield Check(check="MLflow takes builds", passed=True, result=f"{model} v{first} and v{second}")
    call("POST", "/api/v1/documents", {"values": _plan(model), "where": _WHY})
    began = time.monotonic()
    until_it_serves(call("POST", f"/api/v1/models/{model}/deploy", {"build": first}), timeout)
    yield Check(check="a build is packed and served", passed=True, result=f"after {time.monotonic() - began:.0f} s")
    with _calling(model) as callers:
        _until(lambda: callers.builds[first] >= _ENOUGH, "the first build answers nobody", timeout)
        began = time.monotonic()
        rollout = str(call("POST", "/api/v1/rollouts", {"model": model, "build": second})["id"])
        _until(lambda: callers.builds[second] >= _ENOUGH, "the candidate answers nobody", timeout)
        result = f"{_WEIGHT} % asked for, its first answers after {time.monotonic() - began:.0f} s"
        yield Check(check="a candidate gets its share", passed=True, result=result)
        yield _aborted(rollout, callers, second, timeout)
        retried = str(_order(rollout, "retry")["id"])
        callers.builds.clear()
        _until(lambda: callers.builds[second] >= _ENOUGH, "the candidate is not tried again", timeout)
        _order(retried, "promote")
        _until(lambda: _view(retried)["ending"] == "promoted", "the promotion does not end", timeout)
        callers.builds.clear()
        _until(lambda: callers.builds[second] >= _ENOUGH, "the promoted build answers nobody", timeout)
        only = set(callers.builds) == {second}
        yield Check(
            check="a promoted build answers everybody",
            passed=only,
            result=", ".join(f"{count} answers by v{build}" for build, count in callers.builds.items()),
        )
    why = f": {callers.failures[0]}" if callers.failures else ""
    result = f"{callers.answered} answered, {len(callers.failures)} failed{why}"
    yield Check(check="no request failed", passed=not callers.failures, result=result)


def _aborted(rollout: str, callers: Callers, candidate: str, timeout: float) -> Check:
    began = time.monotonic()
    _order(rollout, "abort")
    _until(lambda: bool(_view(rollout)["observed"]), "the abort is not in force", timeout)
    in_force = time.monotonic() - began
    time.sleep(_AFTER)
    late = max(0.0, callers.last[candidate] - began)
    result = f"in force after {in_force:.1f} s; the candidate's last answer came {late:.1f} s after the order"
    return Check(check="an abort takes every request back", passed=late <= _PROMISED, result=result)


def _configure_mlflow() -> None:
    """Point MLflow's client at the server that Sluicegate uses."""
    from sluicegate.registry.words.settings import Settings
    from sluicegate.services.host.addresses import mlflow_server

    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # an image may have no git, and runs belong to no commit
    server = mlflow_server(Settings.read())
    variables = {"URI": server.url, "USERNAME": server.username, "PASSWORD": server.password, "TOKEN": server.token}
    os.environ.update({f"MLFLOW_TRACKING_{name}": value for name, value in variables.items() if value})


def _register(model: str, slope: float) -> str:
    """Register a build that multiplies its input by `slope`, with MLflow's own client. Returns its version."""
    import logging

    import mlflow
    import numpy as np
    from sklearn.linear_model import LinearRegression

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    x = np.array([[0.0], [1.0]])
    regression = LinearRegression().fit(x, slope * x[:, 0])
    said = io.StringIO()  # MLflow's own lines would stand between the results
    with redirect_stdout(said), redirect_stderr(said), mlflow.start_run(run_name=model):
        logged = mlflow.sklearn.log_model(regression, name="model", input_example=x, registered_model_name=model)
    return str(logged.registered_model_version)


def _plan(model: str) -> dict[str, Any]:
    """A plan whose one step lasts until somebody decides."""
    return {"kind": "plan", "model": model, "unit": "x-caller", "steps": [{"weight": _WEIGHT, "soak": "1d"}]}


@contextmanager
def _calling(model: str) -> Iterator[Callers]:
    from sluicegate.registry.words.settings import Settings
    from sluicegate.services.client.sync import Client
    from sluicegate.services.host.addresses import gateway_url

    stop = threading.Event()
    with Client(gateway_url(Settings.read())) as client:
        callers = Callers(client=client, model=model)
        thread = threading.Thread(target=callers.go_on, args=(stop,))
        thread.start()
        try:
            yield callers
        finally:
            stop.set()
            thread.join()


def _order(rollout: str, verb: str) -> dict[str, Any]:
    view: dict[str, Any] = call("POST", f"/api/v1/rollouts/{segment(rollout)}/{verb}", {"reason": _WHY})
    return view


def _view(rollout: str) -> dict[str, Any]:
    view: dict[str, Any] = call("GET", f"/api/v1/rollouts/{segment(rollout)}")
    return view


def _until(is_so: Callable[[], bool], what: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise TimedOut(f"after {timeout:g} s {what}.", fix="look at it: sluice overview, sluice rollout list")
        time.sleep(LOOK_SECONDS)


def _removed(check: str, model: str) -> Check:
    """Remove whatever a run created for a model. The model itself goes last, since it shows what is left."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        for each in call("GET", "/api/v1/rollouts", query={"model": model, "limit": "10"})["rollouts"]:
            if each["ending"] is None:
                _order(each["id"], "abort")
        with suppress(SluiceError):  # where nothing was deployed
            call("POST", f"/api/v1/models/{model}/variations/default/undeploy", {"last": True, "reason": _WHY})
        call("DELETE", "/api/v1/documents", query={"kind": "plan", "name": model})
    except SluiceError as error:
        return Check(check=check, passed=False, result=f"{model}: {error}")
    client = MlflowClient()
    try:
        for version in client.search_model_versions(f"name = '{model}'"):
            client.delete_run(version.run_id)
        client.delete_registered_model(model)
    except MlflowException as error:
        return Check(check=check, passed=False, result=f"{model}: MLflow: {error}")
    return Check(check=check, passed=True, result=f"all of {model}")
