"""A bucket on this host that speaks S3 and checks every signature (AWS Signature Version 4), with faults to order."""

import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote
from uuid import uuid4
from xml.sax.saxutils import escape, unescape

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.serving import listening

KEY_ID, SECRET, REGION, BUCKET = "AKIAEXAMPLE", "secret-of-the-bucket", "eu-central-1", "files"


@dataclass
class Bucket:
    """What is kept, by key. From part `broken_part` on, parts are refused; the next `dropped` connections are lost;
    one that `is_away` refuses everything."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    largest: int = 0
    parts: int = 0
    broken_part: int | None = None
    dropped: int = 0
    is_away: bool = False

    def place(self, folder: str = "shop") -> str:
        """The URL of a storage in it."""
        return f"s3://{BUCKET}/{folder}?endpoint={self.url}&region={REGION}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        self.largest = max(self.largest, len(body))
        if self.dropped:
            self.dropped -= 1
            send.__self__.transport.abort()  # type: ignore[attr-defined]
            await receive()
            return
        status = 503 if self.is_away else 200 if is_signed(request, body) else 403
        response = self._answer(request, body) if status == 200 else Response("<Error/>", status)
        await response(scope, receive, send)

    def _answer(self, request: Request, body: bytes) -> Response:
        key, query = request.url.path.removeprefix(f"/{BUCKET}").strip("/"), dict(request.query_params)
        if not key:
            return self._delete_many(body) if "delete" in query else self._list(query.get("prefix", ""))
        if "uploads" in query:
            upload = uuid4().hex
            self.uploads[upload] = {}
            return _xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        if "uploadId" in query:
            return self._upload(request.method, key, query, body)
        return self._one(request.method, key, body)

    def _one(self, method: str, key: str, body: bytes) -> Response:
        if method == "PUT":
            self.objects[key] = body
            return Response(headers={"ETag": _tag(body)})
        if method == "DELETE":
            self.objects.pop(key, None)
            return Response(status_code=204)
        if key not in self.objects:
            return Response("<Error><Code>NoSuchKey</Code></Error>", 404)
        headers = {"ETag": _tag(self.objects[key]), "Last-Modified": "Tue, 01 Dec 2026 00:00:00 GMT"}
        return Response(self.objects[key], headers=headers)

    def _upload(self, method: str, key: str, query: dict[str, str], body: bytes) -> Response:
        upload = query["uploadId"]
        if method == "DELETE":
            self.uploads.pop(upload, None)
            return Response(status_code=204)
        if method == "PUT":
            self.parts += 1
            number = int(query["partNumber"])
            if self.broken_part is not None and number >= self.broken_part:
                return Response("<Error><Code>InternalError</Code></Error>", 500)
            self.uploads[upload][number] = body
            return Response(headers={"ETag": _tag(body)})
        self.objects[key] = b"".join(part for _, part in sorted(self.uploads.pop(upload).items()))
        return _xml(f"<CompleteMultipartUploadResult><ETag>{_tag(self.objects[key])}</ETag></CompleteMultipartUploadResult>")

    def _list(self, prefix: str) -> Response:
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-12-01T00:00:00.000Z</LastModified><Size>{len(body)}</Size></Contents>"
            for key, body in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return _xml(f"<ListBucketResult><IsTruncated>false</IsTruncated>{items}</ListBucketResult>")

    def _delete_many(self, body: bytes) -> Response:
        keys = [unescape(key) for key in re.findall("<Key>(.*?)</Key>", body.decode())]
        for key in keys:
            self.objects.pop(key, None)
        return _xml("<DeleteResult>" + "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys) + "</DeleteResult>")


def is_signed(request: Request, body: bytes) -> bool:
    """Whether our key signed this request, and its body where the body is signed."""
    found = re.fullmatch(
        rf"AWS4-HMAC-SHA256 Credential={KEY_ID}/(\d{{8}}/{REGION}/s3/aws4_request), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{{64}})",
        request.headers.get("authorization", ""),
    )
    hashed = request.headers.get("x-amz-content-sha256", "")
    if found is None or (hashed != "UNSIGNED-PAYLOAD" and hashed != hashlib.sha256(body).hexdigest()):
        return False
    scope, names, signature = found.groups()
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    query = "&".join(sorted(f"{quote(name, '-_.~')}={quote(value, '-_.~')}" for name, value in pairs))
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names.split(";"))
    path = request.scope["raw_path"].decode().partition("?")[0]
    canonical = "\n".join([request.method, path, query, headers, names, hashed])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), signature)


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _xml(text: str) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{text}', media_type="application/xml")


@asynccontextmanager
async def s3_server() -> AsyncIterator[Bucket]:
    """The bucket, reached over a socket."""
    bucket = Bucket()
    async with listening(bucket) as url:
        bucket.url = url
        yield bucket
