# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Readiness of an MLflow server: does it answer, does its database answer, does its artifact store hold its place?

Runs every few seconds inside the server's container, so the standard library alone (importing boto3 costs half a second of CPU).
MLflow's own /health says 200 with the database down and the bucket gone. What is wrong is printed, and turns up in the pod's events.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import ssl
import sys
from urllib.parse import quote, urlsplit

TIMEOUT = 3.0  # seconds for each of the two
PORT = 5000


def main():
    problems = [problem for problem in (database(os.environ), artifacts(os.environ)) if problem]
    print("; ".join(problems))
    return 1 if problems else 0


def database(env):
    """Why the server cannot use its database, "" if it can."""
    path = env.get("MLFLOW_STATIC_PREFIX", "") + "/api/2.0/mlflow/experiments/search?max_results=1"
    headers = {"Host": "localhost:%d" % PORT}
    if env.get("MLFLOW_AUTH_ADMIN_USERNAME"):
        pair = "%s:%s" % (env["MLFLOW_AUTH_ADMIN_USERNAME"], env.get("MLFLOW_AUTH_ADMIN_PASSWORD", ""))
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    try:
        status, body = fetch(http.client.HTTPConnection("127.0.0.1", PORT, timeout=TIMEOUT), path, headers)
    except (OSError, http.client.HTTPException) as error:
        return "server: %s" % (error or type(error).__name__)
    # 401: the admin's password was changed since, which only the database can know.
    if status == 200 or (status == 401 and "Authorization" in headers):
        return ""
    return "database: the server answers %d %s" % (status, message(body))


def artifacts(env):
    """Why artifacts could not be stored, "" if they can or if nobody here knows how to ask."""
    destination = urlsplit(env.get("MLFLOW_ARTIFACTS_DESTINATION", ""))
    if destination.scheme == "file":
        return folder(destination.path)
    if destination.scheme == "s3":
        return bucket(destination.netloc, env)
    return ""


def folder(path):
    if not os.path.isdir(path):
        return "artifact store: %s is not there" % path
    if not os.access(path, os.W_OK | os.X_OK):
        return "artifact store: %s is not writable" % path
    return ""


def bucket(name, env):
    region = env.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = urlsplit(env.get("MLFLOW_S3_ENDPOINT_URL") or "https://s3.%s.amazonaws.com" % region)
    path = endpoint.path.rstrip("/") + "/" + quote(name)
    query = "list-type=2&max-keys=1"
    where = "artifact store: s3://%s at %s" % (name, endpoint.netloc)
    headers = sign(endpoint.netloc, path, query, region, env, datetime.datetime.now(datetime.timezone.utc))
    try:
        status, body = fetch(connection(endpoint, env), path + "?" + query, headers)
    except (OSError, http.client.HTTPException) as error:
        return "%s: %s" % (where, error or type(error).__name__)
    if status == 404:
        return "%s: there is no such bucket" % where
    # Without keys of our own (an account's role, another signature) a refusal is an answer, too; 301 is another region's bucket.
    if status < 400 or (status == 403 and "Authorization" not in headers):
        return ""
    return "%s: %d %s" % (where, status, message(body))


def sign(host, path, query, region, env, now):
    """Headers of an S3 GET signed by AWS Signature Version 4; unsigned where there are no keys or another signature is set."""
    key, secret = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    if not (key and secret) or env.get("MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION", "s3v4") != "s3v4":
        return {"Host": host}
    empty = hashlib.sha256(b"").hexdigest()
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    if env.get("AWS_SESSION_TOKEN"):
        signed["x-amz-security-token"] = env["AWS_SESSION_TOKEN"]
    names = ";".join(sorted(signed))
    canonical = "\n".join(["GET", path, query, *("%s:%s" % item for item in sorted(signed.items())), "", names, empty])
    scope = "/".join([stamp[:8], region, "s3", "aws4_request"])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    step = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        step = hmac.new(step, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(step, text.encode(), hashlib.sha256).hexdigest()
    return {**signed, "Authorization": "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (key, scope, names, signature)}


def connection(endpoint, env):
    if endpoint.scheme != "https":
        return http.client.HTTPConnection(endpoint.netloc, timeout=TIMEOUT)
    context = ssl.create_default_context(cafile=env.get("AWS_CA_BUNDLE") or None)
    if env.get("MLFLOW_S3_IGNORE_TLS", "").lower() == "true":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(endpoint.netloc, timeout=TIMEOUT, context=context)


def fetch(server, path, headers):
    try:
        server.request("GET", path, headers=headers)
        response = server.getresponse()
        return response.status, response.read(4096)
    finally:
        server.close()


def message(body):
    """The first words of an answer; MLflow's errors are JSON and may quote the database's, which name host and user but no password."""
    try:
        text = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")
    return " ".join(str(text).split())[:200]


if __name__ == "__main__":
    sys.exit(main())
