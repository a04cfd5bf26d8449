"""The API of Tencent Cloud for tests, behind a proxy: `cvm` and `cbs`, with their signatures checked.

An SDK that is told of a proxy (`http_proxy`) sends `CONNECT cvm.tencentcloudapi.com:443` to it; this one does not pass
that on, but is the API itself from there on, with a certificate for both names. Its only argument is a JSON object:
{"cert": path, "key": path, "secretId": text, "secretKey": text}. Prints its port, then a JSON object for each request,
one a line: {"event": "call" | "refused", "host", "action", "body", "code"}.

What the vendor checks is checked: the signature (TC3-HMAC-SHA256 over the host without its port), that it is not older
than five minutes, the version and region of the request, the actions it knows and their required parameters. A secret
id that it does not know, a wrong signature and all else are refused with the vendor's own codes, status 200.
"""

import hashlib
import hmac
import json
import ssl
import sys
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OPTIONS = json.loads(sys.argv[1])
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
TLS.load_cert_chain(OPTIONS["cert"], OPTIONS["key"])

VERSION = "2017-03-12"
# By host: each action with the parameters that it requires, and what it answers beside the request's id.
ACTIONS = {
    "cvm.tencentcloudapi.com": {"RebootInstances": (["InstanceIds"], {})},
    "cbs.tencentcloudapi.com": {"CreateSnapshot": (["DiskId"], {"SnapshotId": "snap-0a1b2c3d"})},
}
PRINTING = threading.Lock()


def tell(**event):
    with PRINTING:
        print(json.dumps(event), flush=True)


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def check_signature(host, headers, body):
    """Fails unless the request is signed as the vendor demands it."""
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    if scheme != "TC3-HMAC-SHA256":
        raise Refused("AuthFailure.InvalidAuthorization", "no TC3-HMAC-SHA256")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    secret_id, date, service, terminator = parts["Credential"].split("/")
    at = int(headers.get("X-TC-Timestamp", "0"))
    if abs(time.time() - at) > 300:
        raise Refused("AuthFailure.SignatureExpire", "the time of the request is over")
    if (date, service, terminator) != (
        datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d"),
        host.split(".")[0],
        "tc3_request",
    ):
        raise Refused("AuthFailure.InvalidAuthorization", f"scope {date}/{service}/{terminator}")
    if secret_id != OPTIONS["secretId"]:
        raise Refused("AuthFailure.SecretIdNotFound", "The SecretId is not found")
    names = parts["SignedHeaders"].split(";")
    if not {"content-type", "host"} <= set(names):
        raise Refused("AuthFailure.InvalidAuthorization", "content-type and host must be signed")
    values = {**{name.lower(): value for name, value in headers.items()}, "host": host}
    signed = "".join(f"{name}:{values.get(name, '').strip().lower()}\n" for name in names)
    request = "\n".join(["POST", "/", "", signed, ";".join(names), sha256(body)])
    text = "\n".join([scheme, str(at), f"{date}/{service}/tc3_request", sha256(request.encode())])
    key = ("TC3" + OPTIONS["secretKey"]).encode()
    for step in (date, service, "tc3_request", text):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(key.hex(), parts["Signature"]):
        raise Refused("AuthFailure.SignatureFailure", "The provided credentials could not be validated")


def perform(host, headers, body):
    """What the action answers."""
    check_signature(host, headers, body)
    action = headers.get("X-TC-Action", "")
    if action not in ACTIONS[host]:
        raise Refused("InvalidAction", f"The action {action!r} is not known")
    if headers.get("X-TC-Version") != VERSION:
        raise Refused("NoSuchVersion", "this API has another version")
    if not headers.get("X-TC-Region"):
        raise Refused("MissingParameter", "X-TC-Region")
    required, answer = ACTIONS[host][action]
    given = json.loads(body)
    for name in required:
        if not given.get(name):
            raise Refused("MissingParameter", name)
    return answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host = None

    def do_CONNECT(self):
        host, _, port = self.path.partition(":")
        if host not in ACTIONS or port != "443":
            self.send_error(403)
            return
        self.send_response_only(200)
        self.end_headers()
        self.connection = self.request = TLS.wrap_socket(self.connection, server_side=True)
        self.setup()
        self.host = host
        # The header of the proxy's request is no word on how long the tunnel lives.
        self.close_connection = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        # The name of the tunnel and of the request must agree; the port is no part of what is signed.
        if self.host is None or self.headers.get("Host", "").split(":")[0] != self.host:
            self.send_error(421)
            return
        told = {"host": self.host, "action": self.headers.get("X-TC-Action"), "body": body.decode("utf-8", "replace")}
        response = {"RequestId": str(uuid.uuid4())}
        try:
            response.update(perform(self.host, self.headers, body))
            tell(event="call", code="", **told)
        except Refused as refused:
            response["Error"] = {"Code": refused.code, "Message": str(refused)}
            tell(event="refused", code=refused.code, **told)
        except (KeyError, ValueError) as error:
            response["Error"] = {"Code": "InvalidParameter", "Message": str(error)}
            tell(event="refused", code="InvalidParameter", **told)
        answer = json.dumps({"Response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
tell(event="ready", port=server.server_address[1])
threading.Thread(target=server.serve_forever, daemon=True).start()
# The test that has started it holds the other end of this pipe.
sys.stdin.read()
