# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a training program in its pod and makes the MLflow run end as the program ends, whoever launched it and whether that still lives.

Usage: run.py COMMAND ...   Standard library only: it is mounted into any image that has python3.

Environment: MLFLOW_TRACKING_URI, MLFLOW_RUN_ID (the run of the Job), MLFLOW_EXPERIMENT_ID, MLFLOW_TRACKING_USERNAME and _PASSWORD or _TOKEN;
SLIPWAY_PARAMETERS, a JSON object; SLIPWAY_SWEEP, a JSON list of objects, one for each index of an indexed Job. Parameters are logged and given
to the command as --name=value.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from urllib.parse import quote

TRIES = 6  # of one call, over about a minute


def main(command, env):
    parameters = json.loads(env.get("SLIPWAY_PARAMETERS") or "{}")
    sweep = json.loads(env.get("SLIPWAY_SWEEP") or "[]")
    server = Server(env)
    job_run = run = env["MLFLOW_RUN_ID"]
    server.update(job_run, "RUNNING")
    try:
        if sweep:
            index = int(env["JOB_COMPLETION_INDEX"])
            parameters = {**parameters, **sweep[index]}
            run = child(server, env["MLFLOW_EXPERIMENT_ID"], job_run, index)
        server.post("runs/log-batch", {"run_id": run, "params": [{"key": key, "value": text(value)} for key, value in parameters.items()]})
        arguments = ["--%s=%s" % (key, text(value)) for key, value in parameters.items()]
        code = execute([*command, *arguments], {**env, "MLFLOW_RUN_ID": run})
        server.update(run, "FAILED" if code else "FINISHED")
    except BaseException:
        # Whatever went wrong, the pod fails now, and so does the run.
        for broken in dict.fromkeys((run, job_run)):
            server.update(broken, "FAILED")
        raise
    if sweep:
        server.update(job_run, judge(server, env["MLFLOW_EXPERIMENT_ID"], job_run, len(sweep)))
    return code


def child(server, experiment, parent, index):
    """The run of one index below the Job's run; a second attempt goes on with the first one's."""
    condition = "tags.`mlflow.parentRunId` = '%s' AND tags.`slipway.index` = '%d'" % (parent, index)
    found = server.post("runs/search", {"experiment_ids": [experiment], "filter": condition, "max_results": 1}).get("runs")
    if found:
        run = found[0]["info"]["run_id"]
        server.update(run, "RUNNING")
        return run
    tags = {"mlflow.parentRunId": parent, "mlflow.runName": "index-%d" % index, "slipway.index": str(index)}
    body = {
        "experiment_id": experiment,
        "start_time": int(time.time() * 1000),
        "run_name": tags["mlflow.runName"],
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }
    return server.post("runs/create", body)["run"]["info"]["run_id"]


def judge(server, experiment, parent, count):
    """State of the Job's run from those of its indexes: a failed one fails it, until another attempt of that index does better."""
    condition = "tags.`mlflow.parentRunId` = '%s'" % parent
    runs = server.post("runs/search", {"experiment_ids": [experiment], "filter": condition, "max_results": 5000}).get("runs", [])
    states = {tag["value"]: one["info"]["status"] for one in runs for tag in one["data"].get("tags", []) if tag["key"] == "slipway.index"}
    if "FAILED" in states.values():
        return "FAILED"
    return "FINISHED" if list(states.values()).count("FINISHED") == count else "RUNNING"


def execute(command, env):
    """The program's exit status; a signal to us is one to it, and ends it with a failure."""
    process = subprocess.Popen(command, env=env)
    told = []

    def forward(number, _frame):
        told.append(number)
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    code = process.wait()
    return code or (1 if told else 0)


def text(value):
    return json.dumps(value) if isinstance(value, (bool, dict, list)) else str(value)


class Server:
    """MLflow's REST API, with patience: a server that is being replaced is back within a minute."""

    def __init__(self, env, sleep=time.sleep):
        self.root = env["MLFLOW_TRACKING_URI"].rstrip("/") + "/api/2.0/mlflow/"
        self.sleep = sleep
        self.headers = {"Content-Type": "application/json"}
        if env.get("MLFLOW_TRACKING_TOKEN"):
            self.headers["Authorization"] = "Bearer " + env["MLFLOW_TRACKING_TOKEN"]
        elif env.get("MLFLOW_TRACKING_USERNAME"):
            pair = "%s:%s" % (env["MLFLOW_TRACKING_USERNAME"], env.get("MLFLOW_TRACKING_PASSWORD", ""))
            self.headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()

    def update(self, run, status):
        body = {"run_id": run, "status": status}
        if status != "RUNNING":
            body["end_time"] = int(time.time() * 1000)
        self.post("runs/update", body)

    def post(self, name, body):
        request = urllib.request.Request(self.root + quote(name), json.dumps(body).encode(), self.headers, method="POST")
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                said = "%d %s" % (error.code, error.read(300).decode("utf-8", "replace"))
                if error.code < 500 and error.code != 429:
                    raise SystemExit("MLflow refused %s: %s" % (name, said)) from None
            except (OSError, ValueError) as error:
                said = str(error)
            self.sleep(min(2**attempt, 20))
        raise SystemExit("MLflow does not answer %s: %s" % (name, said))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
