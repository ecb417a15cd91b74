"""The systemd unit by which an installation comes up at boot. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sluicegate.registry.words.errors import InvalidSetting

NAME = "sluicegate.service"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a unit is written from."""

    sluice: Path
    """The command."""
    state: Path
    settings: Path | None = None
    """A file of settings."""
    user: str | None = None
    """Whose processes a unit of the system starts; None: a unit of the user."""

    def text(self) -> str:
        """The unit file. Raises InvalidSetting for paths that systemd would read as something else."""
        settings = () if self.settings is None else (f"Environment=SLUICE_SETTINGS={_plain(self.settings)}",)
        user = () if self.user is None else (f"User={self.user}",)
        return "\n".join((
            "[Unit]",
            "Description=Sluicegate: progressive delivery for ML models",
            "After=network-online.target",
            "Wants=network-online.target",
            "",
            "[Service]",
            "# up starts a supervisor of its own, which stays; what is left when the unit stops, systemd ends.",
            "Type=oneshot",
            "RemainAfterExit=yes",
            *user,
            f"Environment=SLUICE_STATE={_plain(self.state)}",
            *settings,
            f"ExecStart={_plain(self.sluice)} up --quiet --timeout 300",
            f"ExecStop={_plain(self.sluice)} down --quiet",
            "TimeoutStartSec=330",
            "TimeoutStopSec=120",
            "Restart=on-failure",
            "RestartSec=10",
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
