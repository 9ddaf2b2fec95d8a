# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of MLflow share: the roles in a namespace of their own, a notebook pod with the real client, and ways to look."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import the_lab
from the_lab import ANSIBLE_PLAYBOOK, INVENTORY, KUBECONFIG, ROOT, playbook

NAMESPACE = "mlflow-test-mlflow"
BUCKET = "mlflow-test"
S3 = "http://ais-ais-proxy.ais.svc.cluster.local:51080/s3"
URI = f"http://mlflow.{NAMESPACE}.svc.cluster.local:5000"
SERVERS = "app.kubernetes.io/name=mlflow"
OLD = "3.16.1"  # the newest of the minor version before
BUSY = 600  # seconds: two cores carry four nodes and everything on them

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  module_defaults:
    group/slipway.mlops.k8s: {kubeconfig: "{{ slipway_kubeconfig }}"}
  roles:
    - {role: slipway.mlops.postgresql, tags: postgresql}
    - {role: slipway.mlops.mlflow, tags: mlflow}
"""

NOTEBOOK = """
apiVersion: v1
kind: Pod
metadata: {name: "@name@"}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 0
  imagePullSecrets: [{name: mlflow-registry}]
  securityContext: {runAsNonRoot: true, runAsUser: 10004, runAsGroup: 10004, seccompProfile: {type: RuntimeDefault}}
  @dns@
  containers:
    - name: client
      image: registry.lab:5000/client:1
      command: [sleep, infinity]
      env:
        - {name: MLFLOW_TRACKING_URI, value: "@tracking@"}
        - {name: MLFLOW_S3_ENDPOINT_URL, value: ""}
        - {name: AWS_ACCESS_KEY_ID, value: any}
        - {name: AWS_SECRET_ACCESS_KEY, value: any}
        - {name: AWS_DEFAULT_REGION, value: us-east-1}
        - {name: GIT_PYTHON_REFRESH, value: quiet}
        - {name: MLFLOW_HTTP_REQUEST_MAX_RETRIES, value: "2"}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 50m, memory: 128Mi}, limits: {memory: 1Gi}}
"""


def kubectl(*arguments: str, check: bool = True, text: str | None = None, timeout: float = BUSY) -> str:
    return the_lab.kubectl("-n", NAMESPACE, *arguments, check=check, text=text, timeout=timeout)


def until(what: str, look: Callable[[], Any], seconds: float = BUSY) -> Any:
    return the_lab.until(what, look, seconds)


# Programs for the notebook pod.
LOG = """
import hashlib, json, mlflow, os, sys
mlflow.set_experiment(sys.argv[1])
data = os.urandom(int(sys.argv[2]))
open("/tmp/blob.bin", "wb").write(data)
class Doubles(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * 2
with mlflow.start_run() as run:
    mlflow.log_param("proof", "yes")
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_artifact("/tmp/blob.bin")
    if len(sys.argv) > 3:
        mlflow.pyfunc.log_model(name="model", python_model=Doubles(), registered_model_name=sys.argv[3])
print(json.dumps({"run": run.info.run_id, "sha": hashlib.sha256(data).hexdigest()}))
"""
READ = """
import hashlib, json, mlflow, sys
client = mlflow.MlflowClient()
run = client.get_run(sys.argv[1])
path = mlflow.artifacts.download_artifacts(run_id=sys.argv[1], artifact_path="blob.bin")
seen = {"status": run.info.status, "param": run.data.params["proof"], "sha": hashlib.sha256(open(path, "rb").read()).hexdigest()}
seen["losses"] = [metric.value for metric in client.get_metric_history(sys.argv[1], "loss")]
if len(sys.argv) > 2:
    seen["predicted"] = float(mlflow.pyfunc.load_model("models:/" + sys.argv[2] + "/1").predict(4.0))
print(json.dumps(seen))
"""
KEYS = """
import boto3, json, sys
from botocore.client import Config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], config=Config(s3={"addressing_style": "path"}))
if sys.argv[3] == "list":
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=sys.argv[2])
    print(json.dumps([item["Key"] for page in pages for item in page.get("Contents", [])]))
else:
    getattr(s3, sys.argv[3])(Bucket=sys.argv[2])
"""
EXPERIMENTS = "/api/2.0/mlflow/experiments/search"


class Mlflow:
    """The two roles, and what they run."""

    def __init__(self, folder: Path, **values: Any) -> None:
        self.env: dict[str, str] = {}  # of programs in the notebook pod
        self._play = folder / "mlflow.yml"
        self._play.write_text(PLAY)
        self.values = {
            "slipway_namespace_prefix": "mlflow-test-",
            # The AIStore is the lab's own, which the prefix does not move.
            "mlflow_s3_endpoint_url": S3,
            "mlflow_artifacts_destination": f"s3://{BUCKET}/artifacts",
            "mlflow_replicas": 3,
            "mlflow_service_node_port": 0,
            "postgresql_claim_size": "1Gi",
            "postgresql_dump_claim_size": "1Gi",
            **values,
        }

    def play(self, *arguments: str, book: str | Path = "", fails: bool = False, **values: Any) -> str:
        """Run the roles, or a playbook of the collection; the output."""
        return playbook(book or self._play, *arguments, fails=fails, **{**self.values, **values})

    def module(self, name: str, **options: Any) -> dict[str, Any]:
        """What one module of the collection answers."""
        command = [str(Path(ANSIBLE_PLAYBOOK).with_name("ansible")), "localhost", "-i", INVENTORY, "-m", f"slipway.mlops.{name}"]
        env = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
        given = ["-a", json.dumps({"kubeconfig": KUBECONFIG, **options})]
        done = subprocess.run([*command, *given], cwd=ROOT, env=env, capture_output=True, text=True, timeout=BUSY, check=False)
        assert " => {" in done.stdout, done.stdout + done.stderr
        return dict(json.loads("{" + done.stdout.partition(" => {")[2]))

    def pods(self, labels: str = SERVERS) -> list[dict[str, Any]]:
        return list(json.loads(kubectl("get", "pods", "-l", labels, "-o", "json"))["items"])

    def restarts(self) -> dict[str, int]:
        return {pod["metadata"]["name"]: status["restartCount"] for pod in self.pods() for status in pod["status"].get("containerStatuses", [])}

    def wait_ready(self) -> None:
        kubectl("rollout", "status", "deployment/mlflow", f"--timeout={BUSY}s")

    def python(self, script: str, *arguments: str, pod: str = "notebook", check: bool = True, env: dict[str, str] | None = None, timeout: float = BUSY) -> str:
        """Python in the notebook pod."""
        given = {**self.env, **(env or {})}
        setting = ["env", *(f"{name}={value}" for name, value in given.items())] if given else []
        return kubectl("exec", pod, "--", *setting, "python3", "-W", "ignore", "-c", script, *arguments, check=check, timeout=timeout)

    def status(self, path: str, host: str = "", method: str = "GET", to: str = "", **headers: str) -> int:
        """HTTP status of one request to the server from the notebook pod."""
        script = (
            "import http.client, json, sys\n"
            "to, path, method, headers = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])\n"
            "c = http.client.HTTPConnection(to, 5000, timeout=30)\n"
            "c.request(method, path, body='{\"max_results\": 1}' if method == 'POST' else None, headers=headers)\n"
            "print(c.getresponse().status)"
        )
        given = {"Content-Type": "application/json", **({"Host": host} if host else {}), **{key.replace("_", "-"): value for key, value in headers.items()}}
        return int(self.python(script, to or f"mlflow.{NAMESPACE}.svc", path, method, json.dumps(given)))


def notebook(name: str, tracking: str = URI, outside: bool = False) -> None:
    """A pod with the real client; `outside` knows no name of the cluster, as a laptop does not."""
    dns = "dnsPolicy: None\n  dnsConfig: {nameservers: [127.0.0.1]}" if outside else "dnsPolicy: ClusterFirst"
    kubectl("apply", "-f", "-", text=NOTEBOOK.replace("@name@", name).replace("@dns@", dns).replace("@tracking@", tracking))
    kubectl("wait", f"pod/{name}", "--for=condition=Ready", f"--timeout={BUSY}s")


def last(output: str) -> Any:
    """The JSON of the last line."""
    return json.loads(output.strip().splitlines()[-1])


def check(mlflow: Mlflow, logged: dict[str, str], **options: Any) -> None:
    """What LOG wrote is there, as READ finds it."""
    seen = last(mlflow.python(READ, logged["run"], "doubles", **options))
    assert seen == {"status": "FINISHED", "param": "yes", "sha": logged["sha"], "losses": [1.0, 1 / 2, 1 / 3], "predicted": 8.0}
