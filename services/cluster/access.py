"""The address of a cluster's API, and our identity there: a pod's service account, else a KUBECONFIG file.

Tokens, certificates and authorities are read again for every request, because Kubernetes replaces their files while we
run.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sluicegate.registry.words.errors import InvalidSetting, Unreachable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account."""


@dataclass(frozen=True, kw_only=True)
class TextOrFile:
    """A text: given directly, or in a file that may change."""

    text: str = field(default="", repr=False)
    path: Path | None = None

    def read(self) -> str:
        """The text as it is now. Raises Unreachable."""
        if self.path is None:
            return self.text
        try:
            return self.path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unreachable(
                f"{self.path} cannot be read, which access to the cluster needs: {error}.",
                fix="mount the pod's service account token, or correct this path in the file that KUBECONFIG names.",
            ) from error


@dataclass(frozen=True, kw_only=True)
class Papers:
    """The trusted certificate authority and our credentials, as of now."""

    authority: str | None
    token: str | None = field(repr=False)
    certificate: tuple[str, str] | None = field(repr=False)
    """A client certificate and its key."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The address of the API, and where our credentials are."""

    url: str
    authority: TextOrFile | None = None
    """None: the authorities that the system trusts."""
    token: TextOrFile | None = None
    certificate: tuple[TextOrFile, TextOrFile] | None = None
    server_name: str | None = None
    """The name in the server's certificate, if the URL has another one."""
    is_unchecked: bool = False
    """Whether the KUBECONFIG accepts any certificate of the server."""

    def papers(self) -> Papers:
        """The credentials as they are now. Raises Unreachable."""
        return Papers(
            authority=self.authority.read() if self.authority else None,
            token=self.token.read() if self.token else None,
            certificate=(self.certificate[0].read(), self.certificate[1].read()) if self.certificate else None,
        )

    def tls(self, papers: Papers) -> ssl.SSLContext:
        """The TLS context of a connection. Raises Unreachable if the certificates are broken."""
        try:
            context = ssl.create_default_context(cadata=papers.authority or None)
            if self.is_unchecked:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if papers.certificate is not None:
                _present(context, *papers.certificate)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise Unreachable(
                f"the certificates for {self.url} cannot be used: {error}.",
                fix="correct them in the file that KUBECONFIG names.",
            ) from error
        return context


def find_access(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access:
    """The access of this pod by its service account, else by the file that KUBECONFIG names. Raises InvalidSetting."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if host and (account / "token").exists():
        shown = f"[{host}]" if ":" in host else host
        return Access(
            url=f"https://{shown}:{port}",
            authority=TextOrFile(path=account / "ca.crt"),
            token=TextOrFile(path=account / "token"),
        )
    named = environment.get("KUBECONFIG", "").strip()
    if not named:
        raise InvalidSetting(
            "SLUICE_CLUSTER is set, but this process cannot reach a cluster: it does not run in a pod with a service "
            "account, and KUBECONFIG is not set.",
            fix="set KUBECONFIG to the file by which kubectl reaches the cluster, or unset SLUICE_CLUSTER.",
        )
    return read_kubeconfig(Path(named).expanduser())


def read_kubeconfig(path: Path) -> Access:
    """The access that the file's current context describes. Raises InvalidSetting."""
    try:
        config = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"] or {}
        return _access(cluster, user, path.absolute().parent)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, YAMLError) as error:
        what = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidSetting(
            f"KUBECONFIG names {path}, which cannot be used: {what}.",
            fix="set KUBECONFIG to one file with a current context: kubectl config view --raw --minify --flatten",
        ) from error


def _access(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> Access:
    if "exec" in user or "auth-provider" in user:
        raise ValueError(
            "its user logs in by another program (exec or auth-provider), which Sluicegate does not run; use a token "
            "or a client certificate"
        )
    certificate = _text_or_file(user, "client-certificate", folder)
    key = _text_or_file(user, "client-key", folder)
    token = TextOrFile(path=folder / user["tokenFile"]) if "tokenFile" in user else None
    return Access(
        url=str(cluster["server"]).rstrip("/"),
        authority=_text_or_file(cluster, "certificate-authority", folder),
        token=token or (TextOrFile(text=user["token"]) if user.get("token") else None),
        certificate=(certificate, key) if certificate and key else None,
        server_name=cluster.get("tls-server-name"),
        is_unchecked=bool(cluster.get("insecure-skip-tls-verify")),
    )


def _text_or_file(section: Mapping[str, Any], name: str, folder: Path) -> TextOrFile | None:
    if section.get(f"{name}-data"):
        return TextOrFile(text=base64.b64decode(section[f"{name}-data"], validate=True).decode())
    return TextOrFile(path=folder / section[name]) if section.get(name) else None


def _named(config: Mapping[str, Any], what: str, name: str) -> Mapping[str, Any]:
    for each in config[what]:
        if each["name"] == name:
            entry: Mapping[str, Any] = each
            return entry
    raise ValueError(f"there is no {name!r} in its {what}")


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Add a client certificate. ssl reads it and its key from a temporary file, which only we can read."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        context.load_cert_chain(file.name)
