"""The systemd units that start an installation, or a gateway of another one, at boot. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sluicegate.registry.words.errors import InvalidSetting

NAME, GATEWAY_NAME = "sluicegate.service", "sluicegate-gateway.service"

_END_SECONDS = 90
"""Time for a gateway to finish requests, stop Envoy and send the rest of its log, which takes at most a minute."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The values of a unit."""

    sluice: Path
    """The path of the `sluice` command."""
    state: Path
    settings: Path | None = None
    """A file of settings."""
    user: str | None = None
    """The user of a system unit; None: a user unit."""

    def text(self) -> str:
        """The unit file. Raises InvalidSetting for paths that systemd would interpret differently."""
        return self._unit(
            "progressive delivery for ML models",
            "# up starts a supervisor of its own, which stays; what is left when the unit stops, systemd ends.",
            "Type=oneshot",
            "RemainAfterExit=yes",
            f"ExecStart={_plain(self.sluice)} up --quiet --timeout 300",
            f"ExecStop={_plain(self.sluice)} down --quiet",
            "TimeoutStartSec=330",
            "TimeoutStopSec=120",
            "Restart=on-failure",
            "RestartSec=10",
        )

    def gateway_text(self, port: int) -> str:
        """The unit file of a gateway that joins the installation of another host."""
        return self._unit(
            "a gateway for an installation on another host",
            "# Only its own process is stopped by systemd, and ends the others in order. Where it dies or is killed,",
            "# Envoy answers on, and the next process takes it over.",
            "Type=exec",
            f"ExecStart={_plain(self.sluice)} gateway --port {port}",
            "KillMode=process",
            f"TimeoutStopSec={_END_SECONDS}",
            "Restart=always",
            "RestartSec=3",  # more than five starts in 10 s, and systemd gives up
            "# A usage error stays one, however often it is tried.",
            "RestartPreventExitStatus=2",
        )

    def _unit(self, what: str, *service: str) -> str:
        settings = () if self.settings is None else (f"Environment=SLUICE_SETTINGS={_plain(self.settings)}",)
        user = () if self.user is None else (f"User={self.user}",)
        return "\n".join((
            "[Unit]",
            f"Description=Sluicegate: {what}",
            "After=network-online.target",
            "Wants=network-online.target",
            "",
            "[Service]",
            *user,
            f"Environment=SLUICE_STATE={_plain(self.state)}",
            *settings,
            *service,
            "UMask=0077",
            "NoNewPrivileges=yes",
            "",
            "[Install]",
            f"WantedBy={'default.target' if self.user is None else 'multi-user.target'}",
            "",
        ))  # fmt: skip


def _plain(path: Path) -> str:
    text = str(path)
    if any(character in " \t\n\"'\\%$;" for character in text) or not path.is_absolute():
        raise InvalidSetting(f"systemd does not accept {text!r}.", fix="use an absolute path of plain characters.")
    return text
