"""Checks of running programs: state, ports, exposure, authentication, clocks, and the webhook's round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import psutil

from sluicegate.registry.words.errors import Unreachable
from sluicegate.services.heartbeat import Heartbeats
from sluicegate.services.host.doctor.deployed import deployments_finding, pool_finding
from sluicegate.services.host.doctor.finding import Finding, failed, passed, warned
from sluicegate.services.host.installation import CONSOLE, RELAY, Site, client_environment, read_site
from sluicegate.services.host.keys import Keys, load_keys
from sluicegate.services.host.machine import WELL, Recipe
from sluicegate.services.host.parts import HttpProbe, Part
from sluicegate.services.host.prefect_setup.server import registered, work_pool
from sluicegate.services.host.programs.supervising import Supervisor
from sluicegate.services.host.programs.watching import BEATING, silent
from sluicegate.services.host.webhook import Webhook
from sluicegate.services.host.wire import Answer, ask, is_ready
from sluicegate.services.loopback import is_free

_SECONDS = 5.0
_SKEW_SECONDS = 30.0
_LOOPBACK = ("127.", "::1")


@dataclass(frozen=True, kw_only=True)
class Running:
    """An installation that has been started at least once."""

    recipe: Recipe
    site: Site
    keys: Keys
    supervisor: Supervisor
    clients: Mapping[str, str]

    @classmethod
    def find(cls, recipe: Recipe) -> Running:
        """The installation of a recipe. Raises NotFound if `up` has never run."""
        site, keys = read_site(recipe.folder), load_keys(recipe.folder.secrets)
        return cls(
            recipe=recipe,
            site=site,
            keys=keys,
            supervisor=Supervisor(recipe.folder, keys.state_token),
            clients=client_environment(site, keys, recipe.environment),
        )

    def programs(self) -> list[Finding]:
        """Whether the supervisor answers and every program runs."""
        try:
            states = self.supervisor.standing()
        except Unreachable:
            left = sorted(self.supervisor.processes())
            alive = f"; still alive: {', '.join(left)}" if left else ""
            return [
                failed("programs", f"the supervisor that starts and restarts programs does not run{alive}", "sluice up")
            ]
        bad = [state for state in states if state.condition not in WELL]
        if bad:
            ill = "; ".join(f"{state.name} is {state.condition.value}, see {state.log}" for state in bad)
            return [
                failed(
                    "programs",
                    ill,
                    "Read the logs named here, then run `sluice up`: it starts what has failed.",
                )
            ]
        return (
            [passed("programs", f"all {len(states)} programs run")]
            if states
            else [
                failed(
                    "programs",
                    "no program runs",
                    "sluice up",
                )
            ]
        )

    def heartbeats(self, now: datetime) -> list[Finding]:
        """Whether the loops of our own programs are running."""
        try:
            quiet = silent(Heartbeats(folder=self.recipe.folder.beats), self.supervisor.running(), now)
        except Unreachable:
            return []  # `programs` reports that
        if quiet:
            listed = ", ".join(f"{name} for {seconds:.0f} s" for name, seconds in sorted(quiet.items()))
            return [failed("heartbeats", f"these run but may hang, since they report nothing: {listed}", _SILENT_FIX)]
        return [passed("heartbeats", f"{', '.join(BEATING)} report that they are at work")]

    def ports(self) -> list[Finding]:
        """Whether our own programs listen on each of our ports."""
        own = self._listening()
        foreign = [
            f"{name} port {port}"
            for name, port in self.site.ports.items()
            if self._is_used(name) and not is_free(port) and not any(each == port for each, _ in own)
        ]
        if foreign:
            other = f"another program listens on {', '.join(foreign)}"
            return [failed("ports", other, "End that program, or `sluice down` and `sluice up` to choose other ports.")]
        return [passed("ports", ", ".join(f"{name} uses {port}" for name, port in self.site.ports.items()))]

    def loopback_only(self) -> list[Finding]:
        """Whether only the servers that SLUICE_LISTEN opens listen beyond loopback; they use TLS and require a
        token."""
        ours = {name for name in (*self.site.gateways(), CONSOLE, RELAY) if name in self.site.ports}
        intended = {(self.site.ports[name], str(self.site.address)) for name in ours}
        beyond = {address for address in self._listening() if not address[1].startswith(_LOOPBACK)}
        open_ = [f"{ip}:{port}" for port, ip in sorted(beyond - intended)]
        if open_:
            return [failed("loopback only", f"other hosts can reach {', '.join(open_)}", "Report this as a bug.")]
        if beyond:
            protected = f"other hosts reach only {', '.join(sorted(ours))}, over TLS and with a token or a key"
            return [passed("loopback only", protected)]
        return [passed("loopback only", "no program can be reached from other hosts")]

    def reachable(self) -> list[Finding]:
        """Whether every server answers."""
        return [self._reached(part) for part in self._probed()]

    def closed(self) -> list[Finding]:
        """Whether servers refuse requests without credentials."""
        guarded = {
            "mlflow": (f"{self.site.mlflow_url}/api/2.0/mlflow/registered-models/search", None, self.site.mlflow),
            "prefect": (f"{self.site.prefect_api_url}/flows/filter", "{}", self.site.prefect),
            CONSOLE: (f"{self.site.urls().get(CONSOLE, '')}/api/v1/rollouts", None, None),
        }
        return [
            _closed(name, ask(HttpProbe(url=url, body=body), seconds=_SECONDS), is_foreign=foreign is not None)
            for name, (url, body, foreign) in guarded.items()
            if name in self.site.urls()
        ]

    def clock(self, now: datetime) -> list[Finding]:
        """Whether this machine's clock agrees with MLflow's."""
        answer = ask(HttpProbe(url=f"{self.site.mlflow_url}/health"), seconds=_SECONDS)
        if answer is None or not answer.date:
            return [warned("clock", "MLflow's answer has no time", "Check that MLflow answers: sluice status")]
        skew = abs((parsedate_to_datetime(answer.date).astimezone(UTC) - now).total_seconds())
        if skew > _SKEW_SECONDS:
            return [
                failed(
                    "clock", f"it differs from MLflow's clock by {skew:.0f} s", "Set both clocks, for example by NTP."
                )
            ]
        return [passed("clock", f"it agrees with MLflow's clock within {max(1.0, skew):.0f} s")]

    def webhook(self) -> list[Finding]:
        """Whether MLflow's signed webhook reaches the console and is accepted."""
        if self.site.mlflow is not None:
            return [
                warned(
                    "webhook",
                    "this MLflow was not started by sluice up: its changes are noticed by polling",
                    _WEBHOOK_FIX,
                )
            ]
        wrong = Webhook(self.site, self.keys, self.clients).deliver_test()
        if wrong is None:
            return [passed("webhook", "MLflow's test delivery was accepted by the console")]
        return [failed("webhook", wrong, "sluice up")]

    def prefect(self) -> list[Finding]:
        """Whether Prefect has our deployments, and workers take their runs."""
        packaged = self.recipe.packaged
        if packaged is None:
            return []
        deployments = registered(self.clients, packaged.names)
        pools = sorted({each.pool for each in deployments if each.pool is not None})
        return [
            deployments_finding(packaged, deployments),
            *(pool_finding(work_pool(self.clients, name)) for name in pools),
        ]

    def _probed(self) -> list[Part]:
        return [part for part in self.recipe.parts(self.site, self.keys) if part.probe is not None]

    def _reached(self, part: Part) -> Finding:
        check = f"{part.name} answers"
        if part.probe is not None and is_ready(part.probe, seconds=_SECONDS):
            return passed(check, f"it answers at {part.probe.url}")
        return failed(
            check,
            "it does not answer, or answers with an error",
            f"Run `sluice up`; if it stays, read {part.program.log}.",
        )

    def _is_used(self, port: str) -> bool:
        foreign = {"mlflow": self.site.mlflow, "prefect": self.site.prefect}
        return foreign.get(port) is None

    def _listening(self) -> set[tuple[int, str]]:
        """The ports and addresses on which our processes listen."""
        listening: set[tuple[int, str]] = set()
        this_one = [psutil.Process()]  # `processes` leaves out the calling process, which may be the console
        for group in [*self.supervisor.processes().values(), this_one]:
            for process in group:
                try:
                    sockets = process.net_connections(kind="tcp")
                except psutil.Error:
                    continue
                listening |= {(each.laddr.port, each.laddr.ip) for each in sockets if each.status == psutil.CONN_LISTEN}
        return listening


_SILENT_FIX = "The other programs restart it within a minute. Read its log and check the free disk space."
_WEBHOOK_FIX = "Nothing is lost. To react at once, register a webhook at that MLflow: docs/how-to/webhooks.md"


def _closed(name: str, answer: Answer | None, *, is_foreign: bool) -> Finding:
    check = f"{name} credentials"
    if answer is None:
        return failed(check, "it does not answer", "sluice up")
    if answer.status in (401, 403):
        return passed(check, "it refuses requests without credentials")
    if is_foreign:
        return warned(
            check, f"it answers {answer.status} to a request without credentials", f"Turn on authentication at {name}."
        )
    return failed(
        check,
        f"it answers {answer.status} to a request without credentials",
        "Run sluice down, then sluice up; if it stays, report it as a bug.",
    )
