# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import base64
import http.server
import json
import threading
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _image_publish as publishing
from ansible_collections.slipway.mlops.plugins.module_utils import _image_registry as registry

USER = 'robot$team+ci:p@ss:w"ord'


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.lab:5000/aim:3.29.1", ("registry.lab:5000", "aim", "3.29.1")),
        ("registry.example.org/a/b/aim:1", ("registry.example.org", "a/b/aim", "1")),
    ],
)
def test_names_are_taken_apart(text, parts) -> None:
    name = registry.ImageName.parse(text)
    assert (name.registry, name.repository, name.tag) == parts
    assert str(name) == text


@pytest.mark.parametrize("text", ["aim", "aim:1", "library/aim:1", "registry.lab:5000/aim", "registry.lab:5000/Aim:1", "registry.lab:5000/aim:a b"])
def test_names_without_a_registry_or_a_tag_are_refused(text) -> None:
    with pytest.raises(ValueError, match="is not registry/repository:tag"):
        registry.ImageName.parse(text)


@pytest.mark.parametrize(
    ("auths", "found"),
    [
        ({"r:5000": {"auth": base64.b64encode(USER.encode()).decode()}}, USER),
        ({"https://r:5000/v2/": {"username": "u", "password": "p"}}, "u:p"),
        ({"other": {"username": "u"}}, None),
        ({}, None),
    ],
)
def test_credentials_are_found_by_registry(auths, found) -> None:
    assert registry.credentials_for("r:5000", {"auths": auths}) == found


def test_the_content_hash_follows_every_input(tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text("FROM x")
    hashes = [publishing.Image("r:1/a:1", str(tmp_path)).content()]
    hashes.append(publishing.Image("r:1/a:1", str(tmp_path), {"BASE_IMAGE": "y"}).content())
    (tmp_path / "requirements.txt").write_text("aim==1")
    hashes.append(publishing.Image("r:1/a:1", str(tmp_path)).content())
    (tmp_path / "requirements.txt").chmod(0o755)
    hashes.append(publishing.Image("r:1/a:1", str(tmp_path)).content())
    hashes.append(publishing.Image("r:1/a:1", str(tmp_path), go_packages=["example.org/p"]).content())
    hashes.append(publishing.Image("r:1/a:1", str(tmp_path), go_packages=["example.org/p"], go_ldflags="-s").content())
    hashes.append(publishing.Image("r:1/a:1", str(tmp_path), go_packages=["example.org/p"], go_ldflags="-s", go_tags=["aws"]).content())
    assert len(set(hashes)) == 7
    assert publishing.Image("other:1/b:2", str(tmp_path)).content() == hashes[3]


def test_podman_builds_with_the_label_and_pushes_with_the_auth_file(tmp_path: Path) -> None:
    called: list[list[str]] = []
    image = publishing.Image("r:1/a:1", str(tmp_path), {"B": "2", "A": "1"})
    publishing.publish(image, "c0ffee", "/usr/bin/podman", "/auth.json", False, ["--network=host"], lambda argv: called.append(argv) or "")
    build, push = called
    assert build[build.index("--label") + 1] == "org.slipway-mlops.content=c0ffee"
    assert [build[i + 1] for i, part in enumerate(build) if part == "--build-arg"] == ["A=1", "B=2"]
    assert build[build.index("--authfile") + 1] == "/auth.json", "a base may come from the same registry"
    assert push == ["/usr/bin/podman", "push", "--authfile", "/auth.json", "--tls-verify=false", "r:1/a:1"]


def test_go_programs_are_compiled_into_a_copy_of_the_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(publishing.shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "Containerfile").write_text("FROM x")
    called: list[list[str]] = []
    image = publishing.Image("r:1/a:1", str(tmp_path), go_packages=["example.org/cmd/p"], go_ldflags="-s -w", go_tags=["aws", "gcp"])
    publishing.publish(image, "c0ffee", "/usr/bin/docker", "/auth/config.json", True, [], lambda argv: called.append(argv) or "")
    compiled, build, push = called
    context = build[-1]
    assert compiled[-3:] == ["-o", context, "example.org/cmd/p"] and f"{context}/go" in compiled and "-ldflags=-s -w" in compiled
    assert "-tags=aws,gcp" in compiled
    assert context != str(tmp_path) and [path.name for path in tmp_path.iterdir()] == ["Containerfile"]
    assert push == ["/usr/bin/docker", "--config", "/auth", "push", "r:1/a:1"]


def test_a_failed_build_shows_the_end_of_its_output() -> None:
    with pytest.raises(publishing.BuildFailed, match="exit code 3:\nlast line"):
        publishing.run_logged(["sh", "-c", "echo last line; exit 3"])


class _Registry(http.server.BaseHTTPRequestHandler):
    """A registry that wants a bearer token, as the big ones do."""

    images = {"/v2/a/manifests/1": {"config": {"digest": "sha256:1"}}, "/v2/a/blobs/sha256:1": {"config": {"Labels": {"org.slipway-mlops.content": "c0ffee"}}}}

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            answer, code = {"token": "t"}, 200 if given == "Basic " + base64.b64encode(USER.encode()).decode() else 401
        elif given != "Bearer t":
            answer, code = {}, 401
        else:
            answer, code = self.images.get(self.path, {}), 200 if self.path in self.images else 404
        self.send_response(code)
        if code == 401:
            self.send_header("WWW-Authenticate", f'Bearer realm="http://{self.headers["Host"]}/token",service="r",scope="repository:a:pull"')
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{made.server_address[1]}"
        made.shutdown()


def test_labels_are_read_with_a_token(server: str) -> None:
    assert registry.labels(registry.ImageName(server, "a", "1"), USER, verify=False) == {"org.slipway-mlops.content": "c0ffee"}


def test_an_image_that_is_not_there_is_none(server: str) -> None:
    assert registry.labels(registry.ImageName(server, "a", "2"), USER, verify=False) is None


def test_wrong_credentials_are_an_error_without_the_password(server: str) -> None:
    with pytest.raises(registry.RegistryError, match="answered 401") as caught:
        registry.labels(registry.ImageName(server, "a", "1"), "u:secret", verify=False)
    assert "secret" not in str(caught.value)
