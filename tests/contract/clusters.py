"""Clusters that contract tests run on: an API server in memory, and a real one where KUBECONFIG names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from sluicegate.services.cluster.access import Access, find_access
from sluicegate.services.cluster.api import Api, Limits
from tests.doubles.api_server import ApiServer

WHY_SKIPPED = "SKIPPED: no real Kubernetes API server; set KUBECONFIG to run this on one"


@dataclass(frozen=True)
class Cluster:
    """A namespace of its own in some cluster."""

    access: Access
    namespace: str
    server: ApiServer | None = None
    """The one in memory; None: it is real."""

    def api(self, limits: Limits = Limits(watch=1.0)) -> Api:  # noqa: B008
        return Api(self.access, self.namespace, limits=limits)


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
    papers = access.papers()
    headers = {"authorization": f"Bearer {papers.token}"} if papers.token else {}
    verify = access.tls(papers)
    with httpx.Client(base_url=access.url, verify=verify, headers=headers, timeout=30, trust_env=False) as http:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        http.post("/api/v1/namespaces", json=body).raise_for_status()
        try:
            yield Cluster(access, namespace)
        finally:
            http.delete(f"/api/v1/namespaces/{namespace}").raise_for_status()
