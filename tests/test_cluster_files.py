"""cluster.yaml and deploy/: the launcher's own schema, and what KubeRay knows."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
# Of KubeRay 1.5.1, as its types are published.
RAY_JOB = {
    "activeDeadlineSeconds", "backoffLimit", "rayClusterSpec", "submitterPodTemplate", "metadata",
    "clusterSelector", "submitterConfig", "entrypoint", "runtimeEnvYAML", "jobId", "suspend",
    "submissionMode", "entrypointResources", "entrypointNumCpus", "entrypointNumGpus",
    "ttlSecondsAfterFinished", "shutdownAfterJobFinishes", "deletionStrategy", "managedBy",
}  # fmt: skip
RAY_CLUSTER = {
    "headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "authOptions",
    "autoscalerOptions", "headServiceAnnotations", "suspend", "gcsFaultToleranceOptions",
}  # fmt: skip
WORKER_GROUP = {
    "groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams",
    "template", "scaleStrategy", "suspend", "idleTimeoutSeconds",
}  # fmt: skip


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
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert spec.keys() <= RAY_JOB
    assert cluster.keys() <= RAY_CLUSTER
    (workers,) = cluster["workerGroupSpecs"]
    assert workers.keys() <= WORKER_GROUP
    for group in (cluster["headGroupSpec"], workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        volumes = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    _, _, file, *_ = spec["entrypoint"].split()
    assert (ROOT / file).exists()


def test_ray_is_the_locked_one() -> None:
    version = read("deploy/rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={version} " in (ROOT / "requirements.lock").read_text()
