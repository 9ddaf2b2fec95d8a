# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Dumps in a bucket: `put` sends those of $DUMP_DIRECTORY that $DUMP_BUCKET (s3://bucket/path) lacks, `get` brings $DUMP_FILE where it is not there.

Server, region and credentials by boto3's own variables AWS_*.
"""

import os
import sys

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError


class Place:
    """The bucket's path for dumps."""

    def __init__(self, env):
        bucket, _slash, path = env["DUMP_BUCKET"].removeprefix("s3://").partition("/")
        self.bucket, self.prefix = bucket, path.strip("/") + "/" if path.strip("/") else ""
        style = "path" if env.get("AWS_ENDPOINT_URL_S3") else "auto"  # a bucket in the host's name resolves at AWS only
        self.s3 = boto3.client(
            "s3", config=Config(connect_timeout=5, read_timeout=60, retries={"max_attempts": 6, "mode": "standard"}, s3={"addressing_style": style})
        )

    def size(self, name):
        """Bytes of a dump, None where it is not there."""
        try:
            return self.s3.head_object(Bucket=self.bucket, Key=self.prefix + name)["ContentLength"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            return None

    def put(self, file):
        self.s3.upload_file(file, self.bucket, self.prefix + os.path.basename(file))

    def get(self, name, file):
        self.s3.download_file(self.bucket, self.prefix + name, file)

    def names(self):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return sorted(item["Key"][len(self.prefix) :] for page in pages for item in page.get("Contents", []))


def put(place, directory):
    for name in sorted(name for name in os.listdir(directory) if name.endswith(".dump")):
        file = os.path.join(directory, name)
        size = os.path.getsize(file)
        if place.size(name) == size:
            continue
        place.put(file)
        there = place.size(name)
        if there != size:
            sys.exit("%s has %s bytes and s3://%s/%s%s has %s" % (name, size, place.bucket, place.prefix, name, there))
        print("%s: %d bytes in s3://%s/%s%s" % (name, size, place.bucket, place.prefix, name))


def get(place, directory, name):
    file = os.path.join(directory, name)
    if os.path.exists(file):
        return
    if place.size(name) is None:
        have = [found for found in place.names() if found.endswith(".dump")]
        sys.exit("there is no %s in s3://%s/%s; there are: %s" % (name, place.bucket, place.prefix, ", ".join(have[-20:]) or "none"))
    place.get(name, file + ".part")
    os.rename(file + ".part", file)
    print("%s: %d bytes from s3://%s/%s%s" % (name, os.path.getsize(file), place.bucket, place.prefix, name))


def main(command, env):
    place = Place(env)
    try:
        place.s3.head_bucket(Bucket=place.bucket)
        if command == "put":
            put(place, env["DUMP_DIRECTORY"])
        else:
            get(place, env["DUMP_DIRECTORY"], env["DUMP_FILE"])
    except (ClientError, BotoCoreError) as error:
        sys.exit("bucket %s: %s" % (place.bucket, error))


if __name__ == "__main__":
    main(sys.argv[1], os.environ)
