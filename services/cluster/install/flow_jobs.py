"""How Prefect runs the flows: the base job template of a Kubernetes work pool, and a worker of it. Pure."""

from __future__ import annotations

import json

from sluicegate.services.cluster.install.control import KEYS
from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.parts import (
    container,
    deployment,
    named,
    own_variables,
    pod,
    secret_variable,
    secret_volume,
    variables,
)
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import COMPONENT_LABEL, Component

POOL, WORKER = "sluice", "sluicegate-worker"
TEMPLATE = "work-pool.json"
"""Key of the ConfigMap, and name of the file that the keeper gives Prefect."""
_MINUTES = 5 * 60
_CREDENTIALS = ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")


def flow_jobs(installation: Installation) -> list[Object]:
    """The ConfigMap with the work pool's base job template."""
    text = json.dumps(base_job_template(installation), indent=1, sort_keys=True)
    metadata = named(installation, "sluicegate-flows", "flow")
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {TEMPLATE: text + "\n"}}]


def base_job_template(installation: Installation) -> Object:
    """What `prefect work-pool create --base-job-template` takes: each run is a Job of our image, without rights."""
    configuration = {**_SETTLED, "namespace": installation.namespace, "job_manifest": _job(installation)}
    return {"job_configuration": configuration, "variables": _VARIABLES}


def worker(installation: Installation) -> list[Object]:
    """The worker's Deployment. It watches no pods: the keeper notices a run that falls silent."""
    connections = installation.connections
    env = [
        *own_variables(),
        secret_variable(connections, "PREFECT_API_URL"),
        *(secret_variable(connections, name, optional=True) for name in _CREDENTIALS),
        *variables(
            {
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ENABLED": "false",
                "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME": connections,
                "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY": "PREFECT_API_AUTH_STRING",
            }
        ),
    ]
    port = 8080
    healthy = {"httpGet": {"port": "health", "path": "/health"}, "timeoutSeconds": 5}
    started = container(
        installation,
        "worker",
        ("prefect", "worker", "start", "--pool", POOL, "--type", "kubernetes", "--with-healthcheck"),
        installation.resources.worker,
        [*env, *variables({"PREFECT_WORKER_WEBSERVER_HOST": "0.0.0.0", "PREFECT_WORKER_WEBSERVER_PORT": str(port)})],
        ports=[{"name": "health", "containerPort": port, "protocol": "TCP"}],
        startupProbe={**healthy, "periodSeconds": 5, "failureThreshold": 36},
        livenessProbe={**healthy, "periodSeconds": 20, "failureThreshold": 3},
    )
    spec = pod(installation, installation.accounts.worker, [started], storage="1Gi", terminationGracePeriodSeconds=45)
    return [deployment(installation, WORKER, "worker", 1, spec)]


def _job(installation: Installation) -> Object:
    run = container(
        installation,
        "prefect-job",
        ("sluice", "cluster", "run", "flow"),
        installation.resources.flow,
        own_variables(),  # the worker adds its own to them
        mounts=[{"name": "keys", "mountPath": KEYS, "readOnly": True}],
        envFrom=[{"secretRef": {"name": installation.connections}}],
        args="{{ command }}",
    )
    spec = pod(
        installation,
        installation.accounts.flow,
        [run],
        storage=installation.storage.flow,
        volumes=[secret_volume("keys", installation.keys)],
        talks_to_api=False,
        **_MISPLACED,
        restartPolicy="Never",
        terminationGracePeriodSeconds=45,
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "{{ name }}-", "namespace": installation.namespace, "labels": "{{ labels }}"},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _MINUTES,
            "template": {"metadata": {"labels": {COMPONENT_LABEL: str(Component.FLOW)}}, "spec": spec},
        },
    }


_MISPLACED: Object = {"parallelism": 1, "completions": 1}
"""prefect-kubernetes 0.8 wants them in the pod, where Kubernetes has no such fields and ignores them."""
_SETTLED: Object = {
    "command": "{{ command }}",
    "env": "{{ env }}",
    "labels": "{{ labels }}",
    "name": "{{ name }}",
    "pod_watch_timeout_seconds": 120,
    "stream_output": False,
}
_VARIABLES: Object = {
    "type": "object",
    "properties": {
        "name": {"title": "Name", "type": "string", "description": "Name of the Job; by default the run's."},
        "command": {"title": "Command", "type": "string", "description": "By default: prefect flow-run execute."},
        "env": {"title": "Environment", "type": "object", "additionalProperties": {"type": "string"}, "default": {}},
        "labels": {"title": "Labels", "type": "object", "additionalProperties": {"type": "string"}, "default": {}},
    },
}
