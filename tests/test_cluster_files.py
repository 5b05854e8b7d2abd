"""cluster.yaml and deploy/: the launcher's own schema, Kubernetes's, and Ray's reader of a cluster.

KubeRay's definition of a RayJob is in no package registry: the keys and types that rayjob.yaml has
of it are written down here by hand, as KubeRay 1.5.1 publishes them.
"""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.paths import ROOT

KUBERNETES = "1.37"


def exactly(**properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has these and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT, FLAG = {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
# Kubernetes's schema has the pod.
GROUP: dict[str, dict[str, Any]] = {
    "rayStartParams": {"type": "object", "additionalProperties": TEXT},
    "template": {"type": "object"},
}
RAY_JOB = exactly(
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=exactly(generateName=TEXT),
    spec=exactly(
        entrypoint=TEXT,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=COUNT,
        backoffLimit=COUNT,
        rayClusterSpec=exactly(
            rayVersion=TEXT,
            enableInTreeAutoscaling=FLAG,
            autoscalerOptions=exactly(idleTimeoutSeconds=COUNT),
            authOptions=exactly(mode={"enum": ["disabled", "token"]}),
            headGroupSpec=exactly(**GROUP),
            workerGroupSpecs={
                "type": "array",
                "items": exactly(
                    groupName=TEXT, replicas=COUNT, minReplicas=COUNT, maxReplicas=COUNT, **GROUP
                ),
            },
        ),
    ),
)


def read(file: str) -> Any:
    return yaml.safe_load((ROOT / file).read_text())


@pytest.mark.parametrize("file", ["cluster.yaml", "deploy/on_premises.yaml"])
def test_the_launcher_takes_it(file: str) -> None:
    config = prepare_config(read(file))
    validate_config(config)
    assert config["file_mounts"]["~/comodo.env"] == "cluster.env"
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert not any("dashboard-host=0.0.0.0" in command for command in starts)


def test_the_launcher_refuses_a_typo() -> None:
    with pytest.raises(Exception, match="idle_timeout_minute"):
        validate_config(prepare_config({**read("cluster.yaml"), "idle_timeout_minute": 3}))


def test_workers_come_and_go_and_the_head_runs_no_trial() -> None:
    types = read("cluster.yaml")["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_the_job_has_what_kuberay_knows() -> None:
    job = read("deploy/rayjob.yaml")
    jsonschema.validate(job, RAY_JOB)
    _, _, file, *_ = job["spec"]["entrypoint"].split()
    assert (ROOT / file).exists()


def pods() -> list[Any]:
    cluster = read("deploy/rayjob.yaml")["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    name = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}}
    return [{**name, **group["template"]} for group in groups]


def test_kubernetes_takes_the_pods_and_the_claim() -> None:
    for part in [*pods(), read("deploy/claim.yaml")]:
        kubernetes_validate.validate(part, KUBERNETES, strict=True)
    claim = read("deploy/claim.yaml")["metadata"]["name"]
    for pod in pods():
        (container,) = pod["spec"]["containers"]
        (volume,) = pod["spec"]["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim}
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"]]


def test_kubernetes_refuses_a_typo() -> None:
    pod, _ = pods()
    pod["spec"]["terminationGracePeriod"] = 60
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGracePeriod"):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_rays_autoscaler_reads_the_cluster() -> None:
    """As it does in the head's pod, from what KubeRay makes of the job."""
    spec = read("deploy/rayjob.yaml")["spec"]["rayClusterSpec"]
    metadata = {"name": "comodo", "namespace": "default"}
    config = _derive_autoscaling_config_from_ray_cr({"metadata": metadata, "spec": spec})
    head = config["available_node_types"][config["head_node_type"]]
    gpu = config["available_node_types"]["gpu"]
    assert head["resources"] == {"CPU": 0, "memory": 12 * 2**30}
    assert gpu["resources"] == {"CPU": 7, "GPU": 1, "memory": 28 * 2**30}
    assert (gpu["min_workers"], gpu["max_workers"], config["max_workers"]) == (0, 8, 8)
    assert config["idle_timeout_minutes"] == 10


def test_a_pod_has_time_for_rays_notice() -> None:
    from ray._private.ray_constants import RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S

    for pod in pods():
        grace = pod["spec"]["terminationGracePeriodSeconds"]
        assert grace > RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S + 15


def test_ray_and_mlflow_are_the_locked_ones() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    version = read("deploy/rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={version} " in lock
    (locked,) = [line for line in lock.splitlines() if line.startswith("mlflow==")]
    pinned = locked.split()[0].replace("mlflow", "mlflow[auth]")
    assert f"'{pinned}'" in (ROOT / "docs/cluster.md").read_text()
