# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the bucket of the artifacts where it is absent, and attaches the policy where one is wanted."""

import json
import os
import sys

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

# A server that knows no policies says one of these; AIStore takes the call for the making of a bucket that is there.
UNKNOWN = ("NotImplemented", "MethodNotAllowed", "XNotImplemented", "InvalidRequest", "BucketAlreadyExists", "NoSuchBucketPolicy", "400", "404", "405", "501")


def main(env):
    name, region = env["BUCKET"], env.get("AWS_DEFAULT_REGION") or "us-east-1"
    s3 = boto3.client(
        "s3",
        endpoint_url=env.get("MLFLOW_S3_ENDPOINT_URL") or None,
        config=Config(
            connect_timeout=5,
            read_timeout=20,
            retries={"max_attempts": 6, "mode": "standard"},
            s3={"addressing_style": env.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE") or "auto"},
        ),
    )
    print(create(s3, name, region, is_aws=not env.get("MLFLOW_S3_ENDPOINT_URL")))
    principals = json.loads(env.get("POLICY_PRINCIPALS") or "[]")
    if principals:
        print(attach(s3, name, policy(name, principals)))


def create(s3, name, region, is_aws):
    try:
        s3.head_bucket(Bucket=name)
        return "bucket %s is there" % name
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    # AWS wants the region named, except its first one, where naming it is an error.
    extra = {"CreateBucketConfiguration": {"LocationConstraint": region}} if is_aws and region != "us-east-1" else {}
    try:
        s3.create_bucket(Bucket=name, **extra)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists", "OperationAborted"):
            raise
        s3.head_bucket(Bucket=name)  # somebody was faster: fine if we may use it
    return "bucket %s was made" % name


def policy(name, principals):
    """The least that MLflow needs: list the bucket; read, write and delete objects; end uploads that broke off."""
    bucket = "arn:aws:s3:::" + name
    who = {"AWS": sorted(principals)}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "MlflowBucket",
                "Effect": "Allow",
                "Principal": who,
                "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
                "Resource": bucket,
            },
            {
                "Sid": "MlflowObjects",
                "Effect": "Allow",
                "Principal": who,
                "Action": ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"],
                "Resource": bucket + "/*",
            },
        ],
    }


def attach(s3, name, document):
    try:
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps(document))
        # Some say yes to what they do not know.
        kept = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"]
    except ClientError as error:
        if error.response["Error"]["Code"] in UNKNOWN:
            return "this S3 knows no bucket policies (%s); access is as its administrator set it" % error.response["Error"]["Code"]
        raise
    missing = {statement["Sid"] for statement in document["Statement"]} - {statement.get("Sid") for statement in kept}
    if missing:
        sys.exit("bucket %s: the S3 took the policy and does not give it back: %s" % (name, ", ".join(sorted(missing))))
    return "bucket %s has the policy for %s" % (name, ", ".join(document["Statement"][0]["Principal"]["AWS"]))


if __name__ == "__main__":
    try:
        main(os.environ)
    except (ClientError, BotoCoreError) as failure:
        sys.exit("bucket %s: %s" % (os.environ.get("BUCKET"), failure))
