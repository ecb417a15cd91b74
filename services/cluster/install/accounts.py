"""The accounts that call the cluster's API, and their rights: one namespace, and no verb that is not used. Pure."""

from __future__ import annotations

from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.parts import named
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.rights import Role, rules


def control_rights(installation: Installation) -> list[Object]:
    """The account and rights of keeper and console."""
    return _rights(installation, "sluicegate-control", installation.accounts.control, "control", rules(Role.CONTROL))


def gateway_rights(installation: Installation) -> list[Object]:
    """The account and rights of each gateway."""
    return _rights(installation, "sluicegate-gateway", installation.accounts.gateway, "gateway", rules(Role.GATEWAY))


def worker_rights(installation: Installation) -> list[Object]:
    """The account and rights of Prefect's worker, which creates a Job for each flow run. A cancelled run ends by
    itself."""
    jobs = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}]
    return _rights(installation, "sluicegate-worker", installation.accounts.worker, "worker", jobs)


def flow_account(installation: Installation) -> list[Object]:
    """The account of flow runs, which never call the cluster's API."""
    return [_account(installation, installation.accounts.flow, "flow")]


def _rights(installation: Installation, name: str, account: str, component: str, rules: list[Object]) -> list[Object]:
    plain = [{key: [str(each) for each in words] for key, words in rule.items()} for rule in rules]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": named(installation, name, component),
        "rules": plain,
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": named(installation, name, component),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": installation.namespace}],
    }
    return [_account(installation, account, component), role, binding]


def _account(installation: Installation, name: str, component: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": named(installation, name, component),
        "automountServiceAccountToken": False,
    }
