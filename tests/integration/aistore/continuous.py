# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes and reads objects through S3 with boto3 without pause, checks every byte, and tells what happened. Runs in a pod.

usage: python continuous.py ENDPOINT BUCKET [OBJECT_BYTES]. Ends on SIGTERM or when the file /tmp/stop exists: then every object whose write was
acknowledged is read once more. Prints one JSON line per second, and at the end {"summary": ...}.

Words: `acknowledged` writes were answered with success; `missing` reads of such an object were answered 404; `corrupt` reads gave other bytes;
`failed` requests got no success for another reason (connection refused, 5xx), after no retries at all; `lost` objects could not be read in the end.
"""

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time

import boto3
import botocore
from botocore.config import Config

ENDPOINT, BUCKET = sys.argv[1], sys.argv[2]
SIZE = int(sys.argv[3]) if len(sys.argv) > 3 else 65536
RUN = os.urandom(4).hex()  # keys of two runs in one bucket differ
STOP = threading.Event()
COUNTS = dict.fromkeys(("acknowledged", "write_failed", "read", "missing", "corrupt", "read_failed"), 0)
ACKNOWLEDGED: dict[str, str] = {}
ERRORS: dict[str, int] = {}
LOCK = threading.Lock()


def client():
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=15, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=ENDPOINT, aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1", config=config)


def content(key):
    """What belongs under a key: nothing has to be remembered but the key."""
    return random.Random(key).randbytes(SIZE)


def count(name, error=None):
    with LOCK:
        COUNTS[name] += 1
        if error is not None:
            ERRORS[error] = ERRORS.get(error, 0) + 1


def write(number):
    s3, index = client(), 0
    while not STOP.is_set():
        key = f"{RUN}/w{number}/{index:06d}"
        index += 1
        body = content(key)
        try:
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            count("write_failed", f"PUT {str(error)[:160]}")
            time.sleep(0.1)
            continue
        with LOCK:
            ACKNOWLEDGED[key] = hashlib.sha256(body).hexdigest()
        count("acknowledged")
        time.sleep(0.5)  # what a test of many minutes writes has to fit on the small disks of its cluster


def read_one(s3, key):
    """ok, missing, corrupt, or the error."""
    try:
        body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    except botocore.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return "missing"
        return f"GET {str(error)[:160]}"
    except botocore.exceptions.BotoCoreError as error:
        return f"GET {str(error)[:160]}"
    return "ok" if hashlib.sha256(body).hexdigest() == ACKNOWLEDGED[key] else "corrupt"


def read(number):
    s3, chance = client(), random.Random(number)
    while not STOP.is_set():
        with LOCK:
            keys = list(ACKNOWLEDGED)
        if not keys:
            time.sleep(0.05)
            continue
        found = read_one(s3, chance.choice(keys))
        if found in ("missing", "corrupt"):
            count(found)
        elif found == "ok":
            count("read")
        else:
            count("read_failed", found)
        time.sleep(0.02)


def main():
    signal.signal(signal.SIGTERM, lambda *_args: STOP.set())
    threads = [threading.Thread(target=work, args=(number,)) for number in range(2) for work in (write, read)]
    for thread in threads:
        thread.start()
    while not STOP.is_set():
        with LOCK:
            print(json.dumps({"at": round(time.time(), 1), **COUNTS}), flush=True)
        if os.path.exists("/tmp/stop"):
            STOP.set()
        STOP.wait(1)
    for thread in threads:
        thread.join()
    s3, lost, patience = client(), [], time.monotonic() + 90
    for key in sorted(ACKNOWLEDGED):
        while (found := read_one(s3, key)) != "ok":
            if found == "corrupt" or time.monotonic() > patience:
                lost.append([key, found])
                break
            time.sleep(1)
    listed = sum(len(page.get("Contents", [])) for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=RUN))
    print(json.dumps({"summary": {**COUNTS, "lost": len(lost), "listed": listed, "examples": lost[:5], "errors": ERRORS}}), flush=True)


if __name__ == "__main__":
    main()
