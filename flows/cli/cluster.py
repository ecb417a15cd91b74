"""cluster: an installation on Kubernetes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from sluicegate.flows.cli.output import Format, Output, emit_rows, plain, remark
from sluicegate.flows.wiring.pod import PodRole
from sluicegate.registry.words.errors import NotFound, Refused
from sluicegate.services.cluster.install.control import CONSOLE_PORT, FLOWS, KEYS

if TYPE_CHECKING:
    from sluicegate.services.cluster.install.installation import Installation

_TOLD_SECONDS = 5.0
Image = Annotated[str | None, Parameter(help="The image of every role, with its tag or digest.")]
Namespace = Annotated[str | None, Parameter(help="The namespace; by default sluicegate.")]
Values = Annotated[
    Path | None, Parameter(help="A YAML file of options, of the same form as the Helm chart's values.yaml.")
]


def render(
    *,
    image: Image = None,
    namespace: Namespace = None,
    values: Values = None,
    output: Annotated[
        Path | None,
        Parameter(
            name=["--output", "-o"],
            help="A folder for one file each and a kustomization.yaml. By default all are printed.",
        ),
    ] = None,
) -> None:
    """Print the manifests of an installation, for kubectl apply -f -. Does not contact the cluster.

    The same options give the same bytes. No Secret is among them: create sluicegate-connections yourself, and
    sluicegate-keys by sluice cluster keys.
    """
    from sluicegate.services.cluster.install.manifests import manifests
    from sluicegate.services.cluster.install.texts import documents, files

    things = manifests(_installation(image, namespace, values))
    if output is None:
        print(documents(things), end="")
        return
    _write(output, files(things))
    remark(f"{len(things)} manifests are in {output}. To install them: kubectl apply -k {output}")


def chart(folder: Annotated[Path, Parameter(help="A folder for the chart.")]) -> None:
    """Write the Helm chart of this version: the same manifests, with each option of --values as a value.

    helm install sluicegate FOLDER --namespace sluicegate --set image=registry.example.com/sluicegate:1.0
    """
    from importlib.metadata import version

    from sluicegate.services import durable
    from sluicegate.services.cluster.install.chart import chart_files

    try:
        for name, text in chart_files(version("sluicegate")).items():
            durable.replace(folder / name, text)
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error}.", fix="name another folder.") from error
    remark(f"the chart is in {folder}. To install it: helm install sluicegate {folder} --set image=…")


def keys(*, namespace: Namespace = None, values: Values = None) -> None:
    """Generate the secrets of a new installation, and print them as a Secret, for kubectl create -f -.

    They are the admin's token (admin_token), and the keys that sign calls of checks (check_key), browsers' cookies
    (session_secret) and MLflow's webhook (webhook_secret). Each call generates new ones.
    """
    from sluicegate.services.cluster.install.drawn_keys import keys_secret
    from sluicegate.services.cluster.install.texts import document

    print(document(keys_secret(_installation("unused", namespace, values))), end="")


def image(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="A folder for the image, as an OCI layout.")],
    name: Annotated[str, Parameter(help="Its name and tag, as the manifests will say.")] = "sluicegate:latest",
    base: Annotated[
        Path | None,
        Parameter(help="A tar of the root file system below it; by default the libraries of this machine."),
    ] = None,
) -> None:
    """Write the image of every role: this Python, and the packages installed here, without a builder or a network.

    It is for this machine's kind of processor. A base must have the C library of this Python, or a later one. Push it
    with a tool such as skopeo: skopeo copy oci:FOLDER docker://registry.example.com/sluicegate:1.0
    """
    from sluicegate.services.cluster.install.image import write_image

    if base is not None and not base.is_file():
        raise NotFound(f"{base} is not there.", fix="name a root file system's tar: --base.")
    try:
        digest = write_image(output, name=name, base=base, progress=Progress())
    except OSError as error:
        raise Refused(f"the image cannot be written: {error}.", fix="name another folder: --output.") from error
    print(digest)
    remark(f"{name} is in {output}")


def run(
    role: Annotated[PodRole, Parameter(help="The role of this container.")],
    *command: Annotated[str, Parameter(allow_leading_hyphen=True, help="For a flow: the command to run.")],
    keys: Annotated[Path, Parameter(help="Folder where the Secret of keys is mounted.")] = Path(KEYS),
    flows: Annotated[Path, Parameter(help="Folder where the work pool's template is mounted.")] = Path(FLOWS),
    port: Annotated[int, Parameter(validator=Number(gte=1, lte=65535), help="Port of the console.")] = CONSOLE_PORT,
) -> None:
    """Run one role of an installation in its pod, until it is stopped. The manifests use this command.

    SLUICE_CLUSTER, SLUICE_LEDGER, SLUICE_TELEMETRY, SLUICE_STORE, MLFLOW_TRACKING_URI and PREFECT_API_URL must be set.
    """
    from sluicegate.flows.wiring.pod import run as run_role

    run_role(role, command, keys=keys, flows=flows, port=port)


def conform(
    *,
    job: Annotated[
        bool, Parameter(negative=(), help="Print a Job that does this in the cluster, for kubectl create -f -.")
    ] = False,
    image: Image = None,
    namespace: Namespace = None,
    values: Values = None,
    timeout: Annotated[float, Parameter(help="Each step may take this many seconds.")] = 600.0,
    output: Output = Format.TABLE,
) -> int:
    """Try an installation: a tiny model of its own is deployed, tried, taken back, promoted and removed again.

    Uses SLUICE_API with SLUICE_TOKEN, SLUICE_GATEWAY and MLFLOW_TRACKING_URI. Exit code 1 if a check fails.
    """
    if job:
        from sluicegate.services.cluster.install.conformance import conformance_job
        from sluicegate.services.cluster.install.texts import document

        print(document(conformance_job(_installation(image, namespace, values))), end="")
        return 0
    from sluicegate.flows.cli.conformance import conformance

    checks = conformance(timeout)
    emit_rows(
        plain(checks), output, ("PASSED", "CHECK", "RESULT"),
        lambda each: ("yes" if each["passed"] else "NO", each["check"], each["result"]), none="no checks ran",
    )  # fmt: skip
    return 0 if all(each.passed for each in checks) else 1


class Progress:
    """Tells what is done when that changes, and how far it is every few seconds."""

    def __init__(self) -> None:
        self._what, self._told = "", 0.0

    def __call__(self, what: str, share: float) -> None:
        now = time.monotonic()
        if what != self._what:
            remark(f"{what} ...")
        elif now - self._told >= _TOLD_SECONDS:
            remark(f"{what}: {share:.0%}")
        else:
            return
        self._what, self._told = what, now


def _installation(image: str | None, namespace: str | None, values: Path | None) -> Installation:
    from sluicegate.services.cluster.install.values import read_installation

    options = {"image": image, "namespace": namespace}
    text = ""
    if values is not None:
        try:
            text = values.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotFound(f"{values} cannot be read: {error}.", fix="name a YAML file: --values.") from error
    return read_installation(text, str(values or "values"), {name: value for name, value in options.items() if value})


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write the files. Remove those that our earlier kustomization.yaml lists and the new one does not."""
    from sluicegate.services import durable
    from sluicegate.services.cluster.install.texts import KUSTOMIZATION, named_in

    try:
        former = folder / KUSTOMIZATION
        before = named_in(former.read_text(encoding="utf-8")) if former.exists() else ()
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            durable.replace(folder / name, text)
        for name in set(before) - texts.keys():
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error}.", fix="name another folder: --output.") from error
