"""Clusters that contract tests run on: an API server in memory, and a real one where KUBECONFIG names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

import httpx
import pytest

from sluicegate.services.cluster.access import Access, TextOrFile, find_access
from sluicegate.services.cluster.api import Api, Limits
from sluicegate.services.cluster.rights import Role, rules
from tests.doubles.api_server import ApiServer

_RBAC = "rbac.authorization.k8s.io"
WHY_SKIPPED = "SKIPPED: no real Kubernetes API server; set KUBECONFIG to run this on one"


@dataclass(frozen=True)
class Cluster:
    """A namespace of its own in some cluster."""

    access: Access
    namespace: str
    server: ApiServer | None = None
    """The one in memory; None: it is real."""

    def allow(self, role: Role) -> Cluster:
        """The same, asked with the rights of a role."""
        if self.server is not None:
            self.server.tokens[role] = role
            return replace(self, access=self.server.access(role))
        with asked(self.access) as http:
            core, rbac = f"/api/v1/namespaces/{self.namespace}", f"/apis/{_RBAC}/v1/namespaces/{self.namespace}"
            named = {"metadata": {"name": role}}
            who = {"kind": "ServiceAccount", "name": role, "namespace": self.namespace}
            of = {"apiGroup": _RBAC, "kind": "Role", "name": role}
            http.post(f"{core}/serviceaccounts", json=named).raise_for_status()
            http.post(f"{rbac}/roles", json=named | {"rules": rules(role)}).raise_for_status()
            http.post(f"{rbac}/rolebindings", json=named | {"roleRef": of, "subjects": [who]}).raise_for_status()
            asked_for = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
            answer = http.post(f"{core}/serviceaccounts/{role}/token", json=asked_for).raise_for_status()
        token = TextOrFile(text=answer.json()["status"]["token"])
        return replace(self, access=replace(self.access, token=token, certificate=None))

    def api(self, limits: Limits = Limits(connect=30.0, whole=60.0, watch=1.0)) -> Api:  # noqa: B008
        return Api(self.access, self.namespace, limits=limits)


def asked(access: Access) -> httpx.Client:
    """What asks as the test's owner for what our adapters never need."""
    papers = access.papers()
    headers = {"authorization": f"Bearer {papers.token}"} if papers.token else {}
    verify = access.tls(papers)
    return httpx.Client(base_url=access.url, verify=verify, headers=headers, timeout=30, trust_env=False)


@contextmanager
def in_memory() -> Iterator[Cluster]:
    with ApiServer() as server:
        yield Cluster(server.access(), "models", server)


@contextmanager
def real() -> Iterator[Cluster]:
    """A new namespace of the cluster that KUBECONFIG names, deleted afterwards."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip(WHY_SKIPPED)
    access, namespace = find_access(os.environ), f"sluice-test-{uuid4().hex[:8]}"
    with asked(access) as http:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        http.post("/api/v1/namespaces", json=body).raise_for_status()
        account = http.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", json={"metadata": {"name": "default"}})
        assert account.is_success or account.status_code == httpx.codes.CONFLICT, "a controller makes it, if one runs"
        try:
            yield Cluster(access, namespace)
        finally:
            http.delete(f"/api/v1/namespaces/{namespace}").raise_for_status()
