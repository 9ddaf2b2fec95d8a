# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes an object through one proxy, reads it through another and through S3, compares every byte, and removes it. Standard library only.

Environment: PROXIES (JSON list of URLs), S3_URL, BUCKET, SIZE (bytes). The last line of output is a JSON object, or says what is wrong.
"""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request

# The certificate of a cluster that speaks HTTPS is proved by its clients; here the data is.
CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


class Redirected(urllib.request.HTTPRedirectHandler):
    """A proxy answers a PUT with a redirect to the target, without reading the body: the body is kept back for there."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        content = {"Content-Type": "application/octet-stream"} if req.late is not None else {}
        again = urllib.request.Request(newurl, data=req.late, headers=content, method=req.get_method())
        again.late = req.late
        return again


OPENER = urllib.request.build_opener(Redirected, urllib.request.HTTPSHandler(context=CONTEXT))


def call(method, url, data=None, late=None, fine=()):
    """`data` is JSON for the proxy itself, `late` is for the target that it redirects to; statuses in `fine` are no failure."""
    headers = {"Content-Type": "application/json"} if data is not None else {}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    request.late = late
    try:
        with OPENER.open(request, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        if error.code in fine:
            return b""
        sys.exit(f"{method} {url}: {error.code} {error.read(300).decode('utf-8', 'replace')}")
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{method} {url}: {error}")


def act(method, url, action, fine=()):
    return call(method, url, json.dumps({"action": action}).encode(), fine=fine)


def end(*_signal):
    sys.exit("the proof was ended before it was over")


def main():
    proxies, s3, bucket, size = json.loads(os.environ["PROXIES"]), os.environ["S3_URL"], os.environ["BUCKET"], int(os.environ["SIZE"])
    writer, reader = proxies[0], proxies[-1]
    data = os.urandom(size)
    digest = hashlib.sha256(data).hexdigest()
    started = time.monotonic()
    signal.signal(signal.SIGTERM, end)  # else process 1 of a pod would not hear it, and the bucket would stay
    # 409: a proof that was killed left it there.
    act("POST", f"{writer}/v1/buckets/{bucket}?provider=ais", "create-bck", fine=(409,))
    try:
        call("PUT", f"{writer}/v1/objects/{bucket}/proof?provider=ais", late=data)
        for way, url in (("another proxy", f"{reader}/v1/objects/{bucket}/proof?provider=ais"), ("S3", f"{s3}/{bucket}/proof")):
            found = call("GET", url)
            if found != data:
                sys.exit(f"read through {way} ({url}): {len(found)} bytes with sha256 {hashlib.sha256(found).hexdigest()}, written {size} with {digest}")
        call("DELETE", f"{reader}/v1/objects/{bucket}/proof?provider=ais")
    except BaseException:
        # What went wrong first is what is told, whatever becomes of the bucket.
        with contextlib.suppress(SystemExit):
            act("DELETE", f"{writer}/v1/buckets/{bucket}?provider=ais", "destroy-bck")
        raise
    act("DELETE", f"{writer}/v1/buckets/{bucket}?provider=ais", "destroy-bck")
    seconds = round(time.monotonic() - started, 3)
    print(json.dumps({"bytes": size, "sha256": digest, "written_through": writer, "read_through": [reader, s3], "seconds": seconds}))


if __name__ == "__main__":
    main()
