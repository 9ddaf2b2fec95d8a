# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client's proof in another pod: a run with parameter, metrics and artifact is written, read back and removed again."""

import hashlib
import os
import tempfile
import time

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

SIZE = 8 * 1024 * 1024  # bytes


def main():
    started = time.monotonic()
    client = MlflowClient()
    name = "slipway-verify"
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    mlflow.set_experiment(name)
    data = os.urandom(SIZE)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "proof.bin")
        with open(path, "wb") as file:
            file.write(data)
        with mlflow.start_run() as run:
            mlflow.log_param("proof", "slipway")
            for step in range(3):
                mlflow.log_metric("step", step, step=step)
            mlflow.log_artifact(path)
        read = client.get_run(run.info.run_id)
        check(read.info.status == "FINISHED", "the run is %s, not FINISHED" % read.info.status)
        check(read.data.params == {"proof": "slipway"}, "the parameters came back as %s" % read.data.params)
        values = [metric.value for metric in client.get_metric_history(run.info.run_id, "step")]
        check(values == [0, 1, 2], "the metric came back as %s" % values)
        back = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="proof.bin", dst_path=os.path.join(folder, "back"))
        with open(back, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        check(digest == hashlib.sha256(data).hexdigest(), "the artifact came back changed")
    # Nothing but the run's deleted record stays: the bytes go now.
    get_artifact_repository(read.info.artifact_uri).delete_artifacts("proof.bin")
    client.delete_run(run.info.run_id)
    print("a run with %d bytes of artifact was written and read back in %.1f s by mlflow %s" % (SIZE, time.monotonic() - started, mlflow.__version__))


def check(holds, otherwise):
    if not holds:
        raise SystemExit(otherwise)


if __name__ == "__main__":
    main()
