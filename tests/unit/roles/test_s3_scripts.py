# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scripts that speak to an S3 from pods, with the real boto3 against a server that knows bucket policies, and against one that does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from role_script import script

boto3 = pytest.importorskip("boto3", reason="requirements-dev.txt has it, requirements-next.txt does not")
moto_server = pytest.importorskip("moto.server", reason="requirements-dev.txt has it, requirements-next.txt does not")

ALICE = "arn:aws:iam::123456789012:user/alice"

bucket, dumps = script("mlflow/files/bucket.py"), script("postgresql/files/s3.py")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def env(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """As the roles give it to a container."""
    values = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return {**values, "MLFLOW_S3_ENDPOINT_URL": endpoint, "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path"}


def s3() -> Any:
    return boto3.client("s3", config=boto3.session.Config(s3={"addressing_style": "path"}))


# the bucket of the artifacts


def test_the_bucket_is_made_once(env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    bucket.main({**env, "BUCKET": "made-once"})
    bucket.main({**env, "BUCKET": "made-once"})
    assert capsys.readouterr().out.splitlines() == ["bucket made-once was made", "bucket made-once is there"]


@pytest.mark.parametrize(("region", "told"), [("eu-central-1", "eu-central-1"), ("us-east-1", None)])
def test_at_aws_the_bucket_is_made_in_its_region(env: dict[str, str], region: str, told: str | None) -> None:
    """The guide's command without a location fails in every region but one."""
    client = boto3.client("s3", region_name=region, config=boto3.session.Config(s3={"addressing_style": "path"}))
    bucket.create(client, f"in-{region}", region, is_aws=True)
    assert client.get_bucket_location(Bucket=f"in-{region}")["LocationConstraint"] == told


def test_a_server_that_knows_policies_gets_the_one_with_the_least_rights(env: dict[str, str]) -> None:
    bucket.main({**env, "BUCKET": "with-policy", "POLICY_PRINCIPALS": json.dumps([ALICE])})
    statements = json.loads(s3().get_bucket_policy(Bucket="with-policy")["Policy"])["Statement"]
    assert all(statement["Principal"] == {"AWS": [ALICE]} and statement["Effect"] == "Allow" for statement in statements)
    assert {statement["Resource"] for statement in statements} == {"arn:aws:s3:::with-policy", "arn:aws:s3:::with-policy/*"}
    actions = {action for statement in statements for action in statement["Action"]}
    assert {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"} <= actions
    assert not {action for action in actions if "*" in action or "Policy" in action or "DeleteBucket" in action}


def test_nobody_named_means_no_policy(env: dict[str, str]) -> None:
    bucket.main({**env, "BUCKET": "without-policy"})
    with pytest.raises(Exception, match="NoSuchBucketPolicy"):
        s3().get_bucket_policy(Bucket="without-policy")


class NoPolicies(BaseHTTPRequestHandler):
    """Has every bucket, and answers what it does not know as `server.answer` says, (status, body)."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((400, b""), "400"),
        ((501, b"<Error><Code>NotImplemented</Code><Message>no</Message></Error>"), "NotImplemented"),
        # What AIStore 5.0 says: it makes a bucket of whatever is put under a bucket's name.
        ((409, b"<Error><Code>BucketAlreadyExists</Code><Message>name already in use by ais://plain</Message></Error>"), "BucketAlreadyExists"),
    ],
)
def test_a_server_without_policies_is_told_and_no_failure(
    env: dict[str, str], capsys: pytest.CaptureFixture[str], answer: tuple[int, bytes], code: str
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoPolicies)
    server.answer = answer  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        bucket.main({**env, "MLFLOW_S3_ENDPOINT_URL": endpoint, "BUCKET": "plain", "POLICY_PRINCIPALS": json.dumps([ALICE])})
    finally:
        server.shutdown()
        server.server_close()
    assert f"this S3 knows no bucket policies ({code})" in capsys.readouterr().out


# dumps in a bucket


@pytest.fixture
def place(env: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Two dumps, one of them larger than a part of an upload, and a bucket for them."""
    s3().create_bucket(Bucket="dumps")
    (tmp_path / "mlflow-1-manual.dump").write_bytes(b"one")
    (tmp_path / "mlflow-2-manual.dump").write_bytes(bytes(9 << 20))
    (tmp_path / "mlflow-3-manual.dump.part").write_bytes(b"half")
    return {**env, "DUMP_DIRECTORY": str(tmp_path), "DUMP_BUCKET": "s3://dumps/of/mlflow"}


def test_a_bucket_gets_the_dumps_that_it_lacks(place: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    dumps.main("put", place)
    assert len(capsys.readouterr().out.splitlines()) == 2
    dumps.main("put", place)
    assert capsys.readouterr().out == ""
    sizes = {item["Key"]: item["Size"] for item in s3().list_objects_v2(Bucket="dumps")["Contents"]}
    assert sizes == {"of/mlflow/mlflow-1-manual.dump": 3, "of/mlflow/mlflow-2-manual.dump": 9 << 20}


def test_a_dump_comes_back_from_the_bucket_whole_or_not_at_all(place: dict[str, str], tmp_path: Path) -> None:
    dumps.main("put", place)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    dumps.main("get", {**place, "DUMP_DIRECTORY": str(elsewhere), "DUMP_FILE": "mlflow-2-manual.dump"})
    assert [(path.name, path.stat().st_size) for path in elsewhere.iterdir()] == [("mlflow-2-manual.dump", 9 << 20)]
    with pytest.raises(SystemExit, match=r"there is no other\.dump in s3://dumps/of/mlflow/; there are: mlflow-1-manual\.dump, mlflow-2-manual\.dump"):
        dumps.main("get", {**place, "DUMP_DIRECTORY": str(elsewhere), "DUMP_FILE": "other.dump"})


def test_a_dump_that_is_on_the_claim_is_not_fetched(place: dict[str, str], tmp_path: Path) -> None:
    dumps.main("get", {**place, "DUMP_FILE": "mlflow-1-manual.dump"})
    assert (tmp_path / "mlflow-1-manual.dump").read_bytes() == b"one"


def test_a_bucket_that_is_not_there_is_named(place: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match=r"bucket nowhere: .*404"):
        dumps.main("put", {**place, "DUMP_BUCKET": "s3://nowhere"})
