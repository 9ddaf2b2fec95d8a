# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same task through both doorways: inside the controller, and as a module process; here, and on a node over ssh."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref
from fault_proxy import Fault

ROOT = Path(__file__).resolve().parents[3]
SSH_CONFIG = ROOT / ".lab" / "ssh" / "config"
CANARY = "canary-4711-secret"
# Another interpreter than the controller's own sends the task through the module file.
OTHER_PYTHON = "/usr/bin/python3"
DOORWAYS = {"controller": {}, "process": {"vars": {"ansible_python_interpreter": OTHER_PYTHON}}, "node": {"delegate_to": "cp1"}}


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def task(namespace, *manifests, connection=None, options=None, **keywords):
    arguments = {"name": "set", "namespace": namespace, "manifests": list(manifests), "wait_timeout": 60, **(connection or {}), **(options or {})}
    return {"slipway.mlops.k8s_manifests": arguments, **keywords}


AS_NOBODY = {**DOORWAYS["process"]["vars"], "ansible_remote_tmp": "/tmp", "ansible_become_flags": "-s /bin/sh"}


@contextmanager
def way_of(name, proxy):
    """Keywords that send a task through this doorway; the proxy's address is good on a node, too, for as long."""
    if name == "process" and not os.path.exists(OTHER_PYTHON):
        pytest.skip(f"{OTHER_PYTHON} is not there")
    if name != "node":
        yield DOORWAYS[name]
        return
    port = proxy.url.rpartition(":")[2]
    master = ["ssh", "-F", str(SSH_CONFIG), "-S", f"/tmp/slipway-test-{port}"]
    # It goes to the background once the port is open.
    open_port = ["-f", "-N", "-M", "-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:{port}:127.0.0.1:{port}", "cp1"]
    subprocess.run([*master, *open_port], check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield DOORWAYS[name]
    finally:
        subprocess.run([*master, "-O", "exit", "cp1"], check=False, timeout=60, capture_output=True)


@pytest.fixture(params=DOORWAYS)
def doorway(request, proxy):
    with way_of(request.param, proxy) as keywords:
        yield keywords


@pytest.fixture
def node():
    """A control plane node that holds admin.conf."""
    return {"delegate_to": "cp1", "connection_options": {"kubeconfig": "/etc/kubernetes/admin.conf"}}


def entries(result):
    assert "objects" in result, result
    return [(entry["kind"], entry["name"], entry["action"]) for entry in result["objects"]]


def test_the_same_result_through_all_doorways(play_results, namespace, kubeconfig, node):
    here = {"kubeconfig": kubeconfig}
    tasks = [
        task(namespace, config("a", k="v"), connection=here),
        task(namespace, config("a", k="v"), connection=here, **DOORWAYS["process"]),
        task(namespace, config("a", k="v"), connection=node["connection_options"], delegate_to=node["delegate_to"]),
        task(namespace, config("a", k="w"), config("b", k="v"), connection=node["connection_options"], delegate_to=node["delegate_to"], diff=True),
        task(namespace, config("a", k="w"), config("b", k="v"), connection=here, diff=True),
    ]
    results, text = play_results(tasks)
    assert [result.get("changed") for result in results] == [True, False, False, True, False], text
    assert entries(results[1]) == entries(results[2]) == [("ConfigMap", "a", "unchanged")]
    assert entries(results[3]) == [("ConfigMap", "a", "updated"), ("ConfigMap", "b", "created")]
    assert "-  k: v\n+  k: w" in text.replace("\r", "")
    hidden = ("seconds", "requests", "invocation", "diff", "server", "context")
    assert {key for key in results[1] if key not in hidden} == {key for key in results[2] if key not in hidden}


def test_progress_is_live_in_the_controller(play, namespace, kubeconfig):
    status, text = play([task(namespace, config("a", k="v"), connection={"kubeconfig": kubeconfig})])
    assert status == 0, text
    assert f"{namespace}/ConfigMap a: created" in text


def test_no_log_hides_progress_and_result(play, namespace, proxy, doorway):
    status, text = play([task(namespace, config("telltale", k="v"), connection={"host": proxy.url}, **doorway, no_log=True, diff=True)], "-vv")
    assert status == 0 and "changed=1" in text, text
    assert "telltale" not in text


def test_the_environment_of_the_task_names_the_cluster(play_results, namespace, proxy, doorway):
    results, text = play_results([task(namespace, config("a", k="v"), **doorway, environment={"K8S_AUTH_HOST": proxy.url})])
    assert entries(results[0]) == [("ConfigMap", "a", "created")], text
    assert results[0]["server"] == proxy.url and proxy.seen


def test_check_mode_and_diff_as_keywords_and_as_options_of_the_run(play_results, namespace, proxy, doorway, admin):
    one = task(namespace, config("a", k="v"), connection={"host": proxy.url}, **doorway, check_mode=True, diff=True)
    results, text = play_results([one])
    assert entries(results[0]) == [("ConfigMap", "a", "created")] and "+  k: v" in text
    plain = {key: value for key, value in one.items() if key not in ("check_mode", "diff")}
    results, text = play_results([plain], "--check", "--diff")
    assert entries(results[0]) == [("ConfigMap", "a", "created")] and "+  k: v" in text
    assert admin.get(Ref("v1", "ConfigMap", namespace, "a")) is None


def test_module_defaults_of_the_group_set_the_connection(play, namespace, proxy, doorway):
    defaults = {"group/slipway.mlops.k8s": {"host": proxy.url}}
    status, text = play([task(namespace, config("a", k="v"), **doorway)], module_defaults=defaults)
    assert status == 0 and proxy.seen, text


@pytest.mark.parametrize("way", ["process", "node"])
def test_become_runs_the_module_as_that_user(play_results, namespace, proxy, way):
    """In-process code would run as the controller's user: a file that only root may read must not be copied."""
    secret = {"name": "s", "copy": [{"key": "k", "file": "/etc/shadow"}]}
    nobody = {"become": True, "become_user": "nobody", "become_method": "ansible.builtin.su", "vars": AS_NOBODY}
    with way_of(way, proxy) as doorway:
        one = task(namespace, config("a", k="v"), connection={"host": proxy.url}, options={"secrets": [secret]}, **{**doorway, **nobody})
        results, text = play_results([one], environ={"ANSIBLE_PIPELINING": "1"})
    assert results[0]["failed"] and "/etc/shadow" in results[0]["msg"] and "ermission denied" in results[0]["msg"], text


def test_a_task_timeout_stops_all_writing_within_a_second(play, namespace, proxy, doorway):
    proxy.delay = 0.5
    objects = [config(f"c{index}", k="v") for index in range(400)]  # 25 s of writing
    tasks = [
        task(namespace, *objects, connection={"host": proxy.url}, **doorway, timeout=10, ignore_errors=True),
        {"ansible.builtin.uri": {"url": proxy.url + "/task-is-over", "status_code": [200, 403, 404]}},
        {"ansible.builtin.pause": {"seconds": 4}},
    ]
    status, text = play(tasks)
    assert status == 0 and "imed out" in text, text
    over = next(when for _method, path, when in proxy.seen if path == "/task-is-over")
    writes = [when for method, _path, when in proxy.seen if method == "PATCH"]
    assert 0 < len(writes) < 390
    assert max(writes) < over + 1


@pytest.mark.parametrize("throttle", [0, 1])
def test_throttle_and_the_free_strategy(play, namespace, proxy, doorway, throttle):
    """Three hosts, each with a set of its own: at once, and one after the other where the task says so."""
    proxy.delay = 0.5
    host = "{{ inventory_hostname }}"
    one = task(namespace, config("c-" + host, k="v"), connection={"host": proxy.url}, options={"name": host}, throttle=throttle, **doorway)
    hosts = ["h1", "h2", "h3"]
    status, text = play([one], "-i", ",".join(hosts), hosts=",".join(hosts), connection="local", strategy="free")
    assert status == 0 and text.count("changed=1") == 3, text
    spans = []
    for name in hosts:
        times = [when for _method, path, when in proxy.seen if f"-{name}?" in path or path.endswith(f"-{name}")]
        spans.append((min(times), max(times) + proxy.delay))
    spans.sort()
    overlap = any(later[0] < earlier[1] for earlier, later in zip(spans, spans[1:]))
    assert overlap == (throttle == 0), spans


def test_async_is_refused_in_one_line(play, namespace, kubeconfig):
    status, text = play([task(namespace, config("a", k="v"), connection={"kubeconfig": kubeconfig}, **{"async": 10, "poll": 1})])
    assert status != 0 and "async" in text and "Traceback" not in text


def test_bad_input_names_the_file_and_line_where_ansible_knows_it(play, namespace, proxy, doorway):
    text_of = "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: a\n  name: b\n"
    one = task(namespace, connection={"host": proxy.url}, **doorway, options={"manifests": text_of})
    status, text = play([one])
    assert status != 0 and 'key "name" is given twice' in text and "line 5" in text and "play.yml:" in text, text
    assert "Traceback" not in text


def test_an_unknown_option_is_refused_with_the_known_ones(play, namespace, proxy, doorway):
    status, text = play([task(namespace, config("a"), connection={"host": proxy.url}, **doorway, options={"manifest": []})])
    assert status != 0 and "manifest" in text and "Supported parameters include" in text and "Traceback" not in text


def secret_task(namespace, connection, **keywords):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": CANARY}}
    copied = [{"name": "c", "copy": [{"key": "k", "env": "CANARY"}]}, {"name": "g", "generate": [{"key": "k"}]}]
    return task(namespace, secret, connection=connection, options={"secrets": copied}, diff=True, **keywords)


def no_canary(text):
    encoded = base64.b64encode(CANARY.encode()).decode()
    return CANARY not in text and encoded not in text and "copied-" + CANARY not in text


@pytest.mark.parametrize("option", [{"wait": "perhaps"}, {"manifest": CANARY}, {"delete_data": [{"a": "b"}]}], ids=["bad", "misspelt", "of another type"])
def test_no_secret_is_shown_at_vvvv_where_an_option_is_refused(play, namespace, proxy, doorway, option):
    connection = {"kubeconfig": {"users": [{"name": "u", "user": {"token": CANARY}}]}}
    one = secret_task(namespace, connection, **doorway)
    one["slipway.mlops.k8s_manifests"].update(option)
    status, text = play([one], "-vvvv", environ={"CANARY": "copied-" + CANARY})
    assert status != 0 and "Traceback" not in text and no_canary(text), text[-3000:]
    assert proxy.seen == []


@pytest.mark.parametrize("way", ["ok", "failing", "as JSON"])
def test_no_secret_is_shown_at_vvvv(play, namespace, proxy, doorway, admin, way):
    """Not in the output of any verbosity, not when it fails. The task's `environment` is left out: Ansible itself prints that at -vvv."""
    fault = way == "failing"
    if fault:
        proxy.rule = lambda number, method, path: Fault(422, message="no") if method == "PATCH" and "/secrets/" in path else None
    one = secret_task(namespace, {"host": proxy.url}, **doorway)
    if "delegate_to" in doorway:  # a node does not have the controller's variables
        one["slipway.mlops.k8s_manifests"]["secrets"] = [{"name": "g", "generate": [{"key": "k"}]}]
    # This callback prints the whole result of a task as JSON.
    json_callback = {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"} if way == "as JSON" else {}
    status, text = play([one], "-vvvv", environ={"CANARY": "copied-" + CANARY, **json_callback})
    assert (status != 0) == fault, text[-3000:]
    assert no_canary(text)
    assert way != "as JSON" or '"objects": [' in text
    generated = admin.get(Ref("v1", "Secret", namespace, "g"))["data"]["k"]
    assert generated not in text and base64.b64decode(generated).decode() not in text


def test_no_secret_reaches_the_journal_or_the_process_list_of_a_node(play, namespace, node):
    def on_node(command):
        done = subprocess.run(["ssh", "-F", str(SSH_CONFIG), "cp1", command], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": CANARY}}
    # A Deployment that never gets ready keeps the module there for as long as we look.
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "x:1"}]}}
    waits = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}}
    one = task(namespace, secret, waits, connection=node["connection_options"], delegate_to="cp1", options={"wait_timeout": 8}, ignore_errors=True)
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(play([one])))
    thread.start()
    seen = ""
    while thread.is_alive():
        seen += on_node("ps axww -o args; for f in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $f; done 2>/dev/null")
        time.sleep(0.5)
    thread.join()
    assert outcome[0][0] == 0, outcome[0][1]
    assert "/usr/bin/python3" in seen, "the module was not running while we looked"
    assert no_canary(seen) and no_canary(outcome[0][1])
    journal = on_node("journalctl --no-pager -n 2000")
    assert len(journal.splitlines()) > 10, "there is no journal to look into"
    assert no_canary(journal)


def test_the_controller_needs_no_kubernetes_client(play, namespace, kubeconfig, tmp_path):
    """A package that cannot be imported stands in for one that is not installed."""
    (tmp_path / "kubernetes.py").write_text("raise ImportError('not installed')")
    status, text = play([task(namespace, config("a", k="v"), connection={"kubeconfig": kubeconfig})], environ={"PYTHONPATH": str(tmp_path)})
    assert status == 0, text


class Labels:
    """k8s_node_labels, on a node of its own."""

    name, changes = "slipway.mlops.k8s_node_labels", True

    def __init__(self, mark, namespace, proxy):
        self.node = "doorway-" + mark
        self.defaults = {"group/slipway.mlops.k8s": {"host": proxy.url}}
        self.options, self.other = ({"name": mark, "nodes": {self.node: {"labels": {"test.slipway/a": value}}}} for value in ("1", "telltale"))
        self.slow = self.options


class Readiness:
    """k8s_readiness_info, of a Namespace."""

    name, changes = "slipway.mlops.k8s_readiness_info", False

    def __init__(self, mark, namespace, proxy):
        self.defaults = {"group/slipway.mlops.k8s": {"host": proxy.url}}
        self.options, self.other = ({"objects": [{"api_version": "v1", "kind": "Namespace", "name": name}]} for name in (namespace, "telltale"))
        self.slow = self.options


class Kubeconfig:
    """kubeconfig, into the home that the task's environment names; it waits for kubectl's lock of another file."""

    name, changes = "slipway.mlops.kubeconfig", True

    def __init__(self, mark, namespace, proxy):
        self.defaults = {self.name: {"name": "doorway"}}
        self.options, self.other = ({"path": "~/config", "content": self.content(proxy.url, user)} for user in ("one", "telltale"))
        self.slow = {**self.options, "path": "~/locked"}

    @staticmethod
    def content(server, user):
        clusters, users = [{"name": "c", "cluster": {"server": server}}], [{"name": user, "user": {"token": "t-" + user}}]
        contexts = [{"name": "x", "context": {"cluster": "c", "user": user}}]
        return {"apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": clusters, "users": users, "contexts": contexts}


@pytest.mark.parametrize("way", ["controller", "node"])
@pytest.mark.parametrize("kind", [Labels, Readiness, Kubeconfig], ids=lambda kind: kind.__name__.lower())
def test_every_keyword_of_a_task_means_what_it_means_elsewhere(play_results, namespace, proxy, admin, kind, way):
    """One play, a task for each keyword: environment, check_mode, diff, throttle, another interpreter, become, timeout, no_log; module_defaults and the
    free strategy are the play's. kubeconfig has no doorway in the controller and runs as a module there."""
    mark = "t" + uuid.uuid4().hex[:6]
    module, home = kind(mark, namespace, proxy), f"/tmp/slipway-{mark}"

    def slowly(number, method, path):
        if proxy.authorizations[number] == "Bearer slow":
            time.sleep(8)

    proxy.rule = slowly
    if kind is Labels:
        admin.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": module.node}}, "test")
    with way_of(way, proxy) as doorway:
        here = {"HOME": home, "K8S_AUTH_API_KEY": "from-the-environment"}
        usual = {module.name: module.options, "environment": here, **doorway}
        nobody = {"become": True, "become_user": "nobody", "become_method": "ansible.builtin.su", "vars": AS_NOBODY}
        unreadable = {} if kind is Kubeconfig else {"kubeconfig": home + "/locked.lock"}
        tasks = {
            "home": {"ansible.builtin.file": {"path": home, "state": "directory", "mode": "0700"}, **doorway},
            "lock": {"ansible.builtin.copy": {"dest": home + "/locked.lock", "content": "", "mode": "0600"}, **doorway},
            "foreseen": {**usual, "check_mode": True, "diff": True},
            "done": {**usual, "timeout": 100},
            "again": {**usual, "throttle": 1},
            "other python": {**usual, **DOORWAYS["process"]},
            "somebody else": {**usual, **nobody, module.name: {**module.options, **unreadable}},
            "too slow": {**usual, "timeout": 3, module.name: module.slow, "environment": {**here, "K8S_AUTH_API_KEY": "slow"}},
            "hidden": {**usual, module.name: module.other, "no_log": True, "diff": True},
            "cleared": {"ansible.builtin.file": {"path": home, "state": "absent"}, **doorway},
        }
        try:
            results, text = play_results(list(tasks.values()), "-v", environ={"ANSIBLE_PIPELINING": "1"}, module_defaults=module.defaults, strategy="free")
        finally:
            if kind is Labels:
                ref = Ref("v1", "Node", "", module.node)
                admin.delete(ref, admin.get(ref)["metadata"]["uid"])
    got = dict(zip(tasks, results))
    assert not [name for name in ("home", "foreseen", "done", "again", "other python", "hidden") if got[name].get("failed")], text
    assert [got[name]["changed"] for name in ("foreseen", "done", "again", "other python")] == [module.changes, module.changes, False, False], text
    assert bool(got["foreseen"].get("diff")) == module.changes, text
    assert got["somebody else"]["failed"] and "ermission denied" in got["somebody else"]["msg"], text
    assert got["too slow"]["failed"] and "imed out" in got["too slow"]["msg"], text
    assert got["hidden"]["changed"] == module.changes and "telltale" not in text
    if kind is not Kubeconfig:
        assert "Bearer from-the-environment" in proxy.authorizations
