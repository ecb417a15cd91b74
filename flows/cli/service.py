"""service install: write a systemd unit that starts an installation, or a gateway for another one, at boot."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from sluicegate.flows.cli.output import remark
from sluicegate.registry.words.errors import Refused
from sluicegate.registry.words.settings import Settings


def install(
    *,
    system: Annotated[
        bool, Parameter(negative="", help="Write a system unit that runs as --run-as; needs root.")
    ] = False,
    run_as: Annotated[str | None, Parameter(help="The user that a system unit runs as; by default you.")] = None,
    to: Annotated[Path | None, Parameter(help="The unit's folder; by default systemd's.")] = None,
    gateway: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1, lte=65535),
            help="Write a unit that runs sluice gateway at this port instead, for an installation on another host.",
        ),
    ] = None,
) -> None:
    """Write the systemd unit that starts this installation at boot, and print how to enable it.

    The unit sets SLUICE_STATE and, if you have set it, SLUICE_SETTINGS: a file of lines NAME=VALUE. It holds no
    secret.
    """
    from sluicegate.registry.words.setting_files import SETTINGS_FILE
    from sluicegate.services import durable
    from sluicegate.services.host.units import GATEWAY_NAME, NAME, Unit

    settings = os.environ.get(SETTINGS_FILE)
    unit = Unit(
        sluice=Path(sys.executable).with_name("sluice"),
        state=Settings.read().state,
        settings=Path(settings).expanduser().absolute() if settings else None,
        user=(run_as or getpass.getuser()) if system else None,
    )
    name, text = (NAME, unit.text()) if gateway is None else (GATEWAY_NAME, unit.gateway_text(gateway))
    folder = to or (Path("/etc/systemd/system") if system else Path.home() / ".config/systemd/user")
    try:
        durable.replace(folder / name, text)
    except OSError as error:
        raise Refused(
            f"{folder / name} cannot be written: {error}.", fix="run as root, or name a folder: --to."
        ) from error
    print(folder / name)
    scope = "" if system else " --user"
    remark(f"enable it: systemctl{scope} daemon-reload && systemctl{scope} enable --now {name}")
    if not system:
        remark(f"and to run it also while you are not logged in: loginctl enable-linger {getpass.getuser()}")
