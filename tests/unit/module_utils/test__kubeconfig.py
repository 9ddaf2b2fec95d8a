# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Merging kubeconfigs: names that collide, paths, the current context, programs, the file itself, and nothing secret shown."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.slipway.mlops.plugins.module_utils import _kubeconfig_merge as kubeconfig
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._run_kubeconfig import run
from ansible_collections.slipway.mlops.plugins.modules.kubeconfig import main

CANARY = "canary-5f1c"


def config(server: str, token: str, name: str = "kubernetes", context: str = "admin@kubernetes", **more: Any) -> dict[str, Any]:
    """A kubeconfig as kubeadm writes it: every cluster is called kubernetes."""
    return {
        **kubeconfig.empty(),
        "clusters": [{"name": name, "cluster": {"server": f"https://{server}:6443", **more.pop("cluster", {})}}],
        "users": [{"name": "admin", "user": {"token": f"{CANARY}-{token}", **more.pop("user", {})}}],
        "contexts": [{"name": context, "context": {"cluster": name, "user": "admin"}}],
        "current-context": context,
    }


def merged(target: dict[str, Any], source: dict[str, Any], name: str = "b", current: str | None = None) -> kubeconfig.Merged:
    done = kubeconfig.merge(target, source, name, "/home/me/.kube", current)
    assert not done.problems, done.problems
    return done


A, B = config("a", "ta"), config("b", "tb")


# ---- names


def test_equal_names_of_different_clusters_are_renamed_and_reach_what_they_reached() -> None:
    done = merged(A, B)
    assert done.names == {"clusters": {"kubernetes": "kubernetes-b"}, "users": {"admin": "admin-b"}, "contexts": {"admin@kubernetes": "admin@kubernetes-b"}}
    for source, context in ((A, "admin@kubernetes"), (B, "admin@kubernetes-b")):
        cluster, user, _unused = kubeconfig.resolve(done.config, context)
        assert cluster["server"] == source["clusters"][0]["cluster"]["server"] and user["token"] == source["users"][0]["user"]["token"]


def test_what_was_there_stays_as_it_was() -> None:
    target = {**A, "preferences": {"colors": True}, "extensions": [{"name": "x", "extension": {}}], "unknown": 1}
    done = merged(target, B)
    assert {key: done.config[key] for key in ("preferences", "extensions", "unknown", "current-context")} == {
        key: target[key] for key in ("preferences", "extensions", "unknown", "current-context")
    }
    for section in ("clusters", "users", "contexts"):
        assert done.config[section][0] == A[section][0]


def test_a_second_merge_changes_nothing() -> None:
    once = merged(A, B).config
    assert merged(once, B).config == once


def test_an_entry_that_says_the_same_already_is_shared() -> None:
    done = merged(A, A)
    assert done.config == A


def test_entries_of_another_merge_are_not_shared_since_they_may_go_with_it() -> None:
    both = merged(merged(kubeconfig.empty(), B, "one").config, B, "two").config
    assert [entry["name"] for entry in both["clusters"]] == ["kubernetes", "kubernetes-two"]
    assert [entry["name"] for entry in kubeconfig.remove(both, "one").config["clusters"]] == ["kubernetes-two"]


def test_a_new_token_updates_the_entry_under_its_new_name() -> None:
    once = merged(A, B).config
    done = merged(once, config("b", "new"))
    assert kubeconfig.resolve(done.config, "admin@kubernetes-b")[1]["token"].endswith("new")
    assert len(done.config["users"]) == 2


def test_a_taken_name_gets_a_number() -> None:
    target = config("x", "tx", "kubernetes-b", "other")
    target["clusters"] += A["clusters"]
    assert merged(target, B).names["clusters"] == {"kubernetes": "kubernetes-b-2"}


def test_marks_of_others_beside_ours_do_not_hide_it() -> None:
    """minikube and others keep extensions of their own in the same entries."""
    foreign = [{"name": "minikube.sigs.k8s.io", "extension": {"version": "1"}}, "no mapping", {"name": "bare"}]
    once = merged(A, B).config
    for section, part in kubeconfig.SECTIONS.items():
        once[section][1][part]["extensions"] = [*foreign, *once[section][1][part]["extensions"]]
    assert [len(merged(once, B).config[section]) for section in kubeconfig.SECTIONS] == [2, 2, 2]
    assert kubeconfig.remove(once, "b").config == A


def test_a_merge_that_would_lead_elsewhere_is_not_written() -> None:
    done = merged(A, B)
    done.config["clusters"][1]["cluster"]["server"] = "https://elsewhere:6443"
    kubeconfig._prove(done, B)
    assert done.problems == ["context admin@kubernetes would not reach the same cluster and user after the merge; nothing was written."]


def test_what_left_the_source_leaves_the_file() -> None:
    two = {key: (A[key] + config("c", "tc", "second", "second")[key] if isinstance(A[key], list) and key != "users" else A[key]) for key in A}
    once = merged(kubeconfig.empty(), two).config
    assert [entry["name"] for entry in merged(once, A).config["contexts"]] == ["admin@kubernetes"]


# ---- removal


def test_removal_leaves_what_was_there_before() -> None:
    assert kubeconfig.remove(merged(A, B).config, "b").config == A


def test_removal_keeps_what_another_context_uses_and_says_so() -> None:
    once = merged(A, B).config
    once["contexts"].append({"name": "mine", "context": {"cluster": "kubernetes-b", "user": "admin"}})
    done = kubeconfig.remove(once, "b")
    assert "cluster kubernetes-b stays, because context mine uses it." in done.warnings
    assert [entry["name"] for entry in done.config["users"]] == ["admin"]


def test_removal_of_the_current_context_leaves_none() -> None:
    done = kubeconfig.remove(merged(A, B, current="admin@kubernetes").config, "b")
    assert done.config["current-context"] == "" and "is gone" in done.warnings[0]


# ---- current context


@pytest.mark.parametrize(
    ("target", "asked", "expected"),
    [
        (A, None, "admin@kubernetes"),
        (A, "admin@kubernetes", "admin@kubernetes-b"),
        (A, "admin@kubernetes-b", "admin@kubernetes-b"),
        (kubeconfig.empty(), None, "admin@kubernetes"),
    ],
    ids=["stays", "by the source's name", "by the new name", "of an empty file"],
)
def test_the_current_context(target: dict[str, Any], asked: str | None, expected: str) -> None:
    assert merged(target, B, current=asked).config["current-context"] == expected


def test_an_unknown_current_context_is_refused() -> None:
    done = kubeconfig.merge(A, B, "b", "/", "nope")
    assert done.problems and "no context nope" in done.problems[0]


# ---- reading


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("text", "not a mapping"),
        ({"kind": "Secret"}, "not of kind Config"),
        ({"clusters": {}}, "`clusters` is not a list"),
        ({"users": [{"user": {}}]}, "users[0] is not a name with a mapping `user`"),
        ({"contexts": [{"name": "a"}, {"name": "a"}]}, "2 entries a"),
        ({"users": [{"name": "a", "user": CANARY}]}, "a mapping `user`"),
        ({"clusters": [{"name": "a", "cluster": {"extensions": 5}}]}, "clusters[0].cluster.extensions is not a list"),
        ({"clusters": [{"name": "a", "cluster": {"insecure-skip-tls-verify": "no"}}]}, "insecure-skip-tls-verify is neither true nor false"),
    ],
)
def test_what_is_no_kubeconfig(given: Any, words: str) -> None:
    problems = kubeconfig.check(given, "file")
    assert len(problems) == 1 and words in problems[0] and CANARY not in problems[0]


@pytest.mark.parametrize(
    ("change", "contexts", "words"),
    [
        ({}, ["nope"], "no context nope; it has admin@kubernetes"),
        ({}, [], "`contexts` names none"),
        ({"clusters": []}, None, 'its cluster "kubernetes" is not in the source'),
        ({"users": []}, None, 'its user "admin" is not in the source'),
        ({"contexts": []}, None, "has no context"),
    ],
)
def test_a_source_that_does_not_hold_together_is_refused(change: dict[str, Any], contexts: list[str] | None, words: str) -> None:
    assert words in " ".join(kubeconfig.select({**A, **change}, contexts)[1])


# ---- the file


def options(path: Path, **given: Any) -> dict[str, Any]:
    return {"path": str(path), "name": "b", "state": "present", "source": None, "content": None, "contexts": None, "current_context": None,
            "allow_exec": False, "backup": False, **given}  # fmt: skip


def write(path: Path, content: Any, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    path.chmod(mode)
    return path


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def test_a_new_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config"
    assert run(options(path, content=B), False, False)["changed"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not run(options(path, content=yaml.safe_dump(B)), False, False)["changed"]
    assert not list(path.parent.glob("*.lock"))


def test_a_file_that_others_could_read_is_closed(tmp_path: Path) -> None:
    path = write(tmp_path / "config", A, 0o644)
    run(options(path, content=B), False, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_relative_paths_are_those_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ca.crt").write_text("x")
    source = write(tmp_path / "other" / "config", config("b", "tb", cluster={"certificate-authority": "ca.crt"}))
    path = tmp_path / "config"
    run(options(path, source=str(source)), False, False)
    assert read(path)["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "other" / "ca.crt")


@pytest.mark.parametrize(
    ("given", "words"), [("ca.crt", "is relative, and text has no folder"), ("/nowhere/ca.crt", 'certificate-authority "/nowhere/ca.crt" is not there')]
)
def test_paths_that_lead_nowhere_are_refused(tmp_path: Path, given: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        run(options(tmp_path / "config", content=config("b", "tb", cluster={"certificate-authority": given})), False, False)
    assert not (tmp_path / "config").exists()


def test_text_may_name_files_by_their_whole_path(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("x")
    path = tmp_path / "config"
    run(options(path, content=config("b", "tb", cluster={"certificate-authority": str(tmp_path / "ca.crt")})), False, False)
    assert read(path)["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "ca.crt")


PROGRAM = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws", "args": [CANARY]}}


@pytest.mark.parametrize("user", [PROGRAM, {"auth-provider": {"name": "gcp", "config": {"cmd-path": "x"}}}])
def test_programs_are_refused_unless_allowed(tmp_path: Path, user: dict[str, Any]) -> None:
    source = write(tmp_path / "source", config("b", "tb", user=user))
    with pytest.raises(Refused, match="runs a program") as caught:
        run(options(tmp_path / "config", source=str(source)), False, False)
    assert CANARY not in str(caught.value)
    assert run(options(tmp_path / "config", source=str(source), allow_exec=True), False, False)["changed"]


def test_programs_from_a_file_that_others_can_write_are_refused_even_so(tmp_path: Path) -> None:
    source = write(tmp_path / "source", config("b", "tb", user=PROGRAM), 0o666)
    with pytest.raises(Refused, match="can be written by others"):
        run(options(tmp_path / "config", source=str(source), allow_exec=True), False, False)


def test_check_mode_writes_nothing_and_tells_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "config", A)
    before = path.read_bytes()
    predicted = run(options(path, content=B), True, True)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["config"]
    assert run(options(path, content=B), False, True) == predicted


def test_no_credential_is_in_the_result_or_the_diff(tmp_path: Path) -> None:
    path = write(tmp_path / "config", A)
    source = config("b", "tb", user={"password": CANARY, "client-key-data": CANARY}, cluster={"proxy-url": f"http://u:{CANARY}@p"})
    first = run(options(path, content=source), False, True)
    second = run(options(path, content=config("b", "another")), False, True)
    assert "https://b:6443" in json.dumps(first["diff"]) and "(hidden, another one)" in json.dumps(second["diff"])
    assert "(hidden)" in json.dumps(first["diff"]) and "another one" not in json.dumps(first["diff"]), "nothing was there before"
    assert CANARY not in json.dumps([first, second])


def test_a_backup_is_made_when_asked_for_and_when_comments_would_be_lost(tmp_path: Path) -> None:
    path = write(tmp_path / "config", "# mine\n" + yaml.safe_dump(A))
    result = run(options(path, content=B), False, False)
    assert "had comments" in result["found_warnings"][0]
    backup = Path(result["backup_file"])
    assert backup.read_text().startswith("# mine\n") and stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert "backup_file" in run(options(path, content=config("b", "new"), backup=True), False, False)
    assert "backup_file" not in run(options(path, content=config("b", "newer")), False, False)


def test_a_mapping_keeps_its_names_in_the_result_and_its_credentials_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = {"command": "log-in", "env": [{"name": "KEY", "value": CANARY}]}
    source = config("b", "tb", user={"exec": program}, cluster={"server": f"https://me:{CANARY}@b:6443"})
    path = write(tmp_path / "config", A)
    arguments = {"path": str(path), "name": "b", "content": source, "allow_exec": True, "_ansible_diff": True}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        main()
    text = capsys.readouterr().out
    result = json.loads(text)
    assert result["contexts"] == {"admin@kubernetes": "admin@kubernetes-b"} and result["current_context"] == "admin@kubernetes"
    assert f"{path}: cluster kubernetes-b comes" in result["actions"] and "https://***@b:6443" in text
    assert CANARY not in text


def test_the_backups_of_one_second_are_all_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "config", A)
    first = run(options(path, content=B, backup=True), False, False)["backup_file"]
    second = run(options(path, content=config("b", "new"), backup=True), False, False)["backup_file"]
    assert first != second and read(Path(first)) == A and second.endswith("~")


@pytest.mark.parametrize("address", ["https://u:ca@nary@b:1", "https://ca@na@b:1/x"])
def test_no_part_of_a_password_in_an_address_is_shown(tmp_path: Path, address: str) -> None:
    shown = run(options(write(tmp_path / "config", A), content=config("b", "tb", cluster={"server": address})), False, True)["diff"]["after"]
    assert "https://***@b:1" in json.dumps(shown) and "na" not in json.dumps(shown["clusters"]).replace("name", "")


def test_a_program_of_a_text_is_refused_where_its_path_is_relative(tmp_path: Path) -> None:
    source = config("b", "tb", user={"exec": {"command": "./log-in"}})
    with pytest.raises(Refused, match=r'the program "\./log-in" is relative'):
        run(options(tmp_path / "config", content=source, allow_exec=True), False, False)


def test_a_lock_of_kubectl_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.slipway.mlops.plugins.module_utils._run_kubeconfig.LOCK_PATIENCE", 0.0)
    path = write(tmp_path / "config", A)
    (tmp_path / "config.lock").touch()
    with pytest.raises(Refused, match="Remove it if none does"):
        run(options(path, content=B), False, False)
    assert (tmp_path / "config.lock").exists() and read(path) == A


@pytest.mark.parametrize("text", ["{", "a: b: c", f"a: [\n{CANARY}"])
def test_what_is_not_yaml_is_refused_without_being_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refused, match="is not YAML") as caught:
        run(options(tmp_path / "config", content=text), False, False)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("source", [True, False])
def test_a_file_that_is_not_utf8_is_refused_and_stays_as_it_is(tmp_path: Path, source: bool) -> None:
    odd = tmp_path / "odd"
    odd.write_bytes(b"current-context: andr\xe9\n")
    with pytest.raises(Refused, match="odd: byte 22 is not UTF-8"):
        run(options(tmp_path / "config", source=str(odd), content=None) if source else options(odd, content=B), False, False)
    assert odd.read_bytes() == b"current-context: andr\xe9\n"


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    real = write(tmp_path / "real", A)
    link = tmp_path / "config"
    link.symlink_to(real)
    run(options(link, content=B), False, False)
    assert link.is_symlink() and len(read(real)["contexts"]) == 2


def test_absent_in_a_file_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    assert not run(options(tmp_path / "config", state="absent"), False, False)["changed"]
    assert not (tmp_path / "config").exists()
