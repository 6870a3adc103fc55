"""An S3-compatible server of a test's own (moto's), reached by the usual AWS variables."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch
from uuid import uuid4

import pytest

SECRET = "a-secret-that-nothing-may-show"


@contextmanager
def s3_bucket() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the URL of an empty bucket and the environment in which it is reached, here set already."""
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs")
    import boto3

    server = server_module.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    # An open file system is kept for its URL, with the server that an earlier test had.
    s3fs.S3FileSystem.clear_instance_cache()
    with patch.dict(os.environ, environment):
        bucket = f"corpus-{uuid4().hex}"  # moto's servers of one process share their buckets
        boto3.client("s3").create_bucket(Bucket=bucket)
        yield f"s3://{bucket}/jgpt", environment
    server.stop()
