"""The first container of a build's pod: fetches the bento as it was packed, and prepares everything that serves it.

`python -m sluicegate.flows.wiring.build_pod HOME BENTO BENTO_DIGEST MODEL_DIGEST [ENVIRONMENT]`: HOME is the folder
that both containers of the pod share. ENVIRONMENT is the one to create there, if the plan asks for an isolated
environment and names no image. Exits with 0, or prints the reason, which Kubernetes shows as why the pod does not run.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sluicegate.flows.wiring.bentos import objects_at
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.errors import InvalidSetting, SluiceError, StoreUnavailable
from sluicegate.registry.words.settings import Settings
from sluicegate.services.bento import serving
from sluicegate.services.bento.store import BentoStore
from sluicegate.services.bento.stores.objects import Limits
from sluicegate.services.bento.stores.shared import SharedStore
from sluicegate.services.bento.virtual_environments import VirtualEnvironments

_TRIES = 20
_PAUSE = 3.0
"""Seconds between attempts to reach a store that is away. A pod that ends twice would count as one that cannot run."""


def main(
    home: str, bento: str, bento_digest: str, model_digest: str, env: str = "",
    *, sleep: Callable[[float], None] = time.sleep,
) -> int:  # fmt: skip
    """Prepare the pod. Returns the exit status."""
    packed = Packed(bento=bento, env=env or "project", bento_digest=bento_digest, model_digest=model_digest)
    try:
        prepare(Path(home), packed, Settings.read(os.environ), sleep)
    except SluiceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def prepare(home: Path, packed: Packed, settings: Settings, sleep: Callable[[float], None]) -> None:
    """Put the bento and its environment into `home`. Raises SluiceError with the reason."""
    if settings.store is None:
        raise InvalidSetting(
            "SLUICE_STORE is not set in the pod, so nobody knows where the bento is.",
            fix="put it into the Secret that SLUICE_CONNECTIONS names.",
        )
    store = BentoStore(home / "store")
    _get(
        packed,
        store,
        SharedStore(objects_at(settings.store, lambda: settings.mlflow_server, Limits()), home=home, owner=str),
        sleep,
    )
    VirtualEnvironments(home / "envs").ensure_for(store.model(packed.bento), packed.env)
    (home / "times").mkdir(exist_ok=True)
    shutil.copyfile(serving.__file__, home / "serving.py")


def _get(packed: Packed, store: BentoStore, shared: SharedStore, sleep: Callable[[float], None]) -> None:
    for left in range(_TRIES, 0, -1):
        try:
            shared.get(packed, store)
        except StoreUnavailable as error:
            if left == 1:
                raise
            print(error, file=sys.stderr)
            sleep(_PAUSE)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
