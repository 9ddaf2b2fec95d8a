# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options, variables and kubeconfigs -> where to and as whom."""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys

import pytest
import yaml
from ansible_collections.slipway.mlops.plugins.module_utils._connect import Endpoint, endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._http import spared, tls_context
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load
from ansible_collections.slipway.mlops.plugins.module_utils._yaml_subset import dump
from ansible_collections.slipway.mlops.plugins.module_utils._yaml_subset import load as load_subset


def kubeconfig(user=None, cluster=None, name="one"):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": "https://api:6443/base/", **(cluster or {})}}],
        "users": [{"name": name, "user": user if user is not None else {"token": "t"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


@pytest.fixture
def written(tmp_path):
    def write(content, name="config"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return str(path)

    return write


def resolve(options=None, environ=None):
    return endpoint(options or {}, {"HOME": "/nonexistent", **(environ or {})}, load)


def test_a_kubeconfig_by_option_variable_and_default_and_what_counts_as_named(written, tmp_path):
    path = written(kubeconfig())
    (tmp_path / ".kube").mkdir()
    os.rename(written(kubeconfig(name="home")), tmp_path / ".kube" / "config")
    path = written(kubeconfig())
    for options, environ, named in (
        ({"kubeconfig": path}, {}, True),
        ({}, {"K8S_AUTH_KUBECONFIG": path}, True),
        ({"kubeconfig": kubeconfig()}, {}, True),
        ({}, {"KUBECONFIG": path}, False),
    ):
        found = resolve(options, environ)
        assert (found.server, found.context, found.explicit) == ("https://api:6443/base", "one", named)
        assert found.headers == {"Authorization": "Bearer t"}
    found = resolve({}, {"HOME": str(tmp_path)})
    assert (found.context, found.explicit) == ("home", False)


def test_host_and_token_need_no_kubeconfig():
    found = resolve({"host": "api:6443", "api_key": "Bearer secret", "validate_certs": False})
    assert (found.server, found.explicit, found.verify) == ("https://api:6443", True, False)
    assert found.headers == {"Authorization": "Bearer secret"}
    assert "secret" not in repr(found)


def test_options_come_before_the_kubeconfig(written):
    path = written(kubeconfig(cluster={"insecure-skip-tls-verify": True, "proxy-url": "http://p:1", "tls-server-name": "x"}))
    found = resolve({"kubeconfig": path, "host": "https://other", "validate_certs": True, "proxy": "http://q:2", "api_key": "k"})
    assert (found.server, found.verify, found.proxy, found.tls_server_name) == ("https://other", True, "http://q:2", "x")
    assert found.headers == {"Authorization": "Bearer k"}
    assert resolve({"kubeconfig": path}).verify is False


def test_certificates_as_data_and_as_files_beside_the_kubeconfig(written, tmp_path):
    (tmp_path / "key.pem").write_bytes(b"KEY")
    data = base64.b64encode(b"CERT").decode()
    path = written(kubeconfig(user={"client-certificate-data": data, "client-key": "key.pem"}))
    found = resolve({"kubeconfig": path})
    assert (found.certificate, found.key) == (b"CERT", b"KEY")


def test_several_files_merge_and_the_first_that_has_a_name_wins(written):
    first, second = kubeconfig(user={"token": "first"}), kubeconfig(user={"token": "second"})
    both = os.pathsep.join([written(first, "a"), "/nowhere", written(second, "b")])
    assert resolve({}, {"KUBECONFIG": both}).headers == {"Authorization": "Bearer first"}


def test_impersonation(written):
    found = resolve({"kubeconfig": written(kubeconfig()), "impersonate_user": "u"}, {"K8S_AUTH_IMPERSONATE_GROUPS": "a, b"})
    assert found.headers["Impersonate-User"] == "u" and found.groups == ("a", "b")


def credential_program(tmp_path, script):
    program = tmp_path / "login"
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "env": [{"name": "WHO", "value": "me"}]}}


def test_a_program_is_run_only_when_allowed_and_from_a_file_of_our_own(written, tmp_path):
    answer = "import json, os; print(json.dumps({'status': {'token': 'for-' + os.environ['WHO']}}))"
    path = written(kubeconfig(user=credential_program(tmp_path, answer)))
    with pytest.raises(Refused, match="allow_exec"):
        resolve({"kubeconfig": path})
    assert resolve({"kubeconfig": path, "allow_exec": True}).headers == {"Authorization": "Bearer for-me"}
    os.chmod(path, 0o666)
    with pytest.raises(Refused, match="written by others"):
        resolve({"kubeconfig": path, "allow_exec": True})


def test_a_program_may_give_a_certificate_instead_of_a_token(written, tmp_path):
    answer = "import json; print(json.dumps({'status': {'clientCertificateData': 'CERT', 'clientKeyData': 'KEY'}}))"
    found = resolve({"kubeconfig": written(kubeconfig(user=credential_program(tmp_path, answer))), "allow_exec": True})
    assert (found.certificate, found.key, found.headers) == (b"CERT", b"KEY", {})


def test_a_name_and_its_password_in_the_kubeconfig_and_as_options():
    basic = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    given = kubeconfig(user={"username": "u", "password": "p"})
    assert resolve({"kubeconfig": given}).headers == basic
    assert resolve({"host": "h", "username": "u", "password": "p"}).headers == basic
    assert resolve({"host": "h", "username": "u"}).headers == {}, "a name alone is nobody"
    assert resolve({"kubeconfig": given, "no_proxy": "a,b"}).no_proxy == "a,b"


@pytest.mark.parametrize(("host", "address"), [("10.96.0.1", "https://10.96.0.1:8443"), ("fd00::1", "https://[fd00::1]:8443")])
def test_a_pods_own_account_where_nothing_else_is_given(tmp_path, monkeypatch, host, address):
    monkeypatch.setattr("ansible_collections.slipway.mlops.plugins.module_utils._connect.IN_CLUSTER", str(tmp_path))
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "8443"}
    with pytest.raises(Refused, match="No kubeconfig: "):
        resolve({}, environ)  # of a pod without a token
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_bytes(b"CA")
    found = resolve({}, environ)
    assert (found.server, found.ca, found.headers, found.explicit) == (address, b"CA", {"Authorization": "Bearer t"}, False)
    with pytest.raises(Refused, match="No kubeconfig: "):
        resolve({}, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_no_program_is_run_for_a_file_that_is_somebody_elses(written, tmp_path):
    path = written(kubeconfig(user=credential_program(tmp_path, "print('{}')")))
    os.chown(path, 1000, -1)
    with pytest.raises(Refused, match=r"written by others \(owner 1000, mode 0600"):
        resolve({"kubeconfig": path, "allow_exec": True})


def test_a_program_that_cannot_be_run_is_told(written, tmp_path):
    path = written(kubeconfig(user=credential_program(tmp_path, "")))
    (tmp_path / "login").chmod(0o644)
    with pytest.raises(Refused, match="cannot be run: Permission denied"):
        resolve({"kubeconfig": path, "allow_exec": True})


CONTENT = f"-----BEGIN RSA PRIVATE KEY-----\n{'hunter2' * 9}\n-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "options",
    [
        {"kubeconfig": CONTENT},
        {"kubeconfig": json.dumps(kubeconfig(user={"token": "hunter2"}))},
        {"kubeconfig": "hunter2" * 50},
        {"kubeconfig": "hunter2\0"},
        {"kubeconfig": kubeconfig(), "client_key": CONTENT},
        {"host": "h", "api_key": "hunter2\nhunter2"},
        {"host": "h", "api_key": "hunter2 é"},
        {"kubeconfig": kubeconfig(user={"token": "hunter2\r\nX: y"})},
        {"host": "https://me:hunter2@h:6443"},
        {"kubeconfig": kubeconfig(cluster={"server": "https://hunter2@h:6443"})},
    ],
)
def test_what_may_be_secret_is_not_repeated(options):
    with pytest.raises(Refused) as refused:
        resolve(options)
    assert "hunter2" not in str(refused.value)


def test_content_in_the_variable_of_a_path_is_not_repeated():
    with pytest.raises(Refused, match="what is given, which is no path"):
        resolve({}, {"K8S_AUTH_KUBECONFIG": CONTENT})


def test_certificates_as_a_bundle_with_comments_and_as_der(tmp_path):
    pem = ssl.get_default_verify_paths().cafile
    if not pem or not os.path.exists(pem):
        pytest.skip("the system has no bundle of certificates")
    with open(pem, encoding="utf-8") as file:
        first = file.read().partition("-----END CERTIFICATE-----")
    text = first[0][first[0].index("-----BEGIN") :] + first[1] + "\n"
    for ca in (f"# Zertifikat der Prüfstelle\n{text}".encode(), ssl.PEM_cert_to_DER_cert(text)):
        assert len(tls_context(Endpoint("https://h", ca=ca)).get_ca_certs()) == 1
    with pytest.raises(Refused, match="neither PEM nor DER"):
        tls_context(Endpoint("https://h", ca=b"\xff\xfe not a certificate"))


@pytest.mark.parametrize(("script", "told"), [("raise SystemExit('no luck')", "no luck"), ("print('hello')", "did not print an ExecCredential")])
def test_a_program_that_fails_is_told(written, tmp_path, script, told):
    path = written(kubeconfig(user=credential_program(tmp_path, script)))
    with pytest.raises(Refused, match=told):
        resolve({"kubeconfig": path, "allow_exec": True})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "No kubeconfig: /nonexistent/.kube/config does not exist"),
        ({"kubeconfig": "/nowhere"}, "cannot read /nowhere: No such file"),
        ({"kubeconfig": {"clusters": []}}, 'no context ""; it has: none'),
        ({"kubeconfig": kubeconfig(), "context": "two"}, 'no context "two"; it has: one'),
        ({"kubeconfig": {**kubeconfig(), "clusters": []}}, 'names cluster "one", which is not there'),
        ({"kubeconfig": kubeconfig(user={"auth-provider": {"name": "gcp"}})}, "auth-provider"),
        ({"kubeconfig": kubeconfig(user={"client-certificate-data": "!"})}, "client-certificate-data is not base64"),
        ({"kubeconfig": kubeconfig(), "ca_cert": "/nowhere"}, "ca_cert: cannot read /nowhere"),
        ({"host": "https://api:x"}, "not a URL such as https"),
        ({"host": "https://[::1"}, "not a URL such as https"),
        ({"host": "a..b"}, "not a URL such as https"),
        ({"host": "a b"}, "not a URL such as https"),
        ({"host": "https://h/é"}, "not a URL such as https"),
        ({"kubeconfig": kubeconfig(cluster={"tls-server-name": ".example.org"})}, "tls-server-name is not the name of a host"),
        ({"kubeconfig": kubeconfig(cluster={"tls-server-name": "a..b"})}, "tls-server-name is not the name of a host"),
        ({"kubeconfig": kubeconfig(cluster={"insecure-skip-tls-verify": "false"})}, "insecure-skip-tls-verify is neither true nor false"),
        ({"kubeconfig": kubeconfig(cluster={"server": "https://"})}, "not a URL such as https"),
        ({"kubeconfig": kubeconfig(cluster={"proxy-url": "http://p:port"})}, "The proxy .* is not a URL"),
        ({"host": "h", "api_key": "k", "impersonate_user": "a\nb"}, "printable"),
        ({"host": "h", "api_key": "k", "impersonate_groups": ["a", "b\r\nX: y"]}, "printable"),
        ({"kubeconfig": kubeconfig(user={"as-groups": 5})}, "as-groups is not a list of texts"),
    ],
)
def test_one_sentence_says_what_is_wrong(options, told):
    with pytest.raises(Refused, match=told):
        resolve(options)


def test_a_file_that_is_no_yaml(tmp_path):
    path = tmp_path / "c"
    path.write_text("a: [")
    with pytest.raises(Refused, match="is not YAML: line"):
        resolve({"kubeconfig": str(path)})


@pytest.mark.parametrize(
    ("host", "no_proxy", "expected"),
    [
        ("api.local", ".local", True),
        ("api.local", "local", True),
        ("apilocal", "local", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("h", "*", True),
        ("h", "", False),
        ("11.1.2.3", "10.0.0.0/8,x", False),
    ],
)
def test_no_proxy(host, no_proxy, expected):
    assert spared(host, no_proxy) is expected


class TestYamlWithoutPyYaml:
    def test_what_kubeadm_writes_is_read_as_pyyaml_reads_it(self):
        text = yaml.safe_dump(kubeconfig(user={"client-key-data": "eA==", "exec": {"args": ["a", "--b=c: d"], "env": None}}))
        assert load_subset(text) == yaml.safe_load(text)
        text = "a:\n- b: 1\n  c:\n  - d\n  -\n    e: 'it''s'\nf: \"x\\ty\" \n# end\n"
        assert load_subset(text) == {**yaml.safe_load(text), "a": [{"b": "1", "c": ["d", {"e": "it's"}]}]}
        assert load_subset(json.dumps(kubeconfig())) == kubeconfig()
        text = "a: # why\n  b: # nothing\nc:\n- d\n-\n- e: f\n-\n"
        assert load_subset(text) == yaml.safe_load(text) == {"a": {"b": None}, "c": ["d", None, {"e": "f"}, None]}

    @pytest.mark.parametrize("text", ["a: &x 1", "a: |\n  b", "a: [1]", "\ta: 1", "a: 1\na: 2", "a", "a: 1\n   b: 2", "a:\n- - b", "a: - b", "- # b"])
    def test_the_rest_is_refused(self, text):
        with pytest.raises(ValueError, match="line"):
            load_subset(text)

    @pytest.mark.parametrize(
        "value",
        [
            {"a": [1, True, None, "true", "1", "no", "", " x", "x ", "a: b", "- c", "#", "é", "x#y"], "b": {}, "c": [[], {}], "d": {"e": [{"f": ["g"]}]}},
            {"text": "one\ntwo: 3\n", "bare": "one\ntwo", "blank": "\n\n", "indented": "  x\ny", "trail": "x\n\n", "on": "off", "image": "r.io:50/a:1@b:0"},
        ],
    )
    def test_what_is_written_for_a_diff_reads_back(self, value):
        assert yaml.safe_load(dump(value)) == value


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"contexts": {"name": "c"}}, "`contexts` is not a list"),
        ({"contexts": [{"name": None, "context": {}}]}, "contexts[0] is not a name with a mapping `context`"),
        ({"users": ["u"]}, "users[0] is not a name with a mapping `user`"),
        ({"clusters": [{"name": "k", "cluster": {"server": ["https://x"]}}]}, "clusters[0].cluster.server is not text"),
        ({"users": [{"name": "u", "user": {"exec": "/bin/evil"}}]}, "users[0].user.exec is not a mapping"),
        ({"users": 5}, "`users` is not a list"),
        ({"users": [{"name": "u", "user": "tok"}]}, "users[0] is not a name with a mapping `user`"),
        ({"users": [{"name": "u", "user": {"exec": {"command": ""}}}]}, "users[0].user.exec.command is not"),
        ({"users": [{"name": "u", "user": {"exec": {"command": "c", "args": "a"}}}]}, "users[0].user.exec.args is not a list"),
        ({"users": [{"name": "u", "user": {"exec": {"command": "c", "env": [{"name": "A"}]}}}]}, "users[0].user.exec.env is not a list of names with values"),
        ({"users": [{"name": "u", "user": {"exec": {"command": "c", "env": 5}}}]}, "users[0].user.exec.env is not a list of names with values"),
    ],
)
def test_a_misshapen_kubeconfig_found_by_the_fuzzer_is_refused_by_its_place(content, says) -> None:
    with pytest.raises(Refused) as refused:
        endpoint({"kubeconfig": content}, {}, lambda _text: None)
    assert says in "\n".join(refused.value.problems)
