#!/bin/sh
# A recorder's archive (each upload with a checksum, "create only if absent") is tested against moto.
#
# Guess:   a mock that knows If-None-Match and answers with checksums of its own also compares the ones
#          that it is sent: BadDigest for a damaged body, as S3 does.
# Reality: an object whose Content-MD5 or x-amz-checksum-sha256 is that of other bytes is stored with 200.
#          If-None-Match: * is honoured by PutObject and CompleteMultipartUpload (412) and ignored by
#          CopyObject, which overwrites the existing talk and answers 200.
# Hurts:   who takes such a green test for "a damaged upload is refused" and "a talk is never overwritten".
# Versions: moto 5.2.5, boto3 1.44.8 (PyPI). Seen 2026-11-30.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q --disable-pip-version-check install 'moto[server]==5.2.5' boto3==1.44.8
cat >t.py <<'E'
import base64, hashlib, logging, sys
logging.getLogger("werkzeug").setLevel(logging.ERROR)
import boto3, botocore
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False); server.start()
host, port = server.get_host_and_port()
s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1")
s3.create_bucket(Bucket="talks")
def status(f):
    try: return f()["ResponseMetadata"]["HTTPStatusCode"]
    except botocore.exceptions.ClientError as e: return e.response["ResponseMetadata"]["HTTPStatusCode"]
def size(k): return s3.head_object(Bucket="talks", Key=k)["ContentLength"]
s3.put_object(Bucket="talks", Key="t.mkv", Body=b"the only copy")
r = {"put": status(lambda: s3.put_object(Bucket="talks", Key="t.mkv", Body=b"x", IfNoneMatch="*"))}
kept = size("t.mkv")
u = s3.create_multipart_upload(Bucket="talks", Key="t.mkv")["UploadId"]
tag = s3.upload_part(Bucket="talks", Key="t.mkv", UploadId=u, PartNumber=1, Body=b"another one")["ETag"]
r["multipart"] = status(lambda: s3.complete_multipart_upload(Bucket="talks", Key="t.mkv", UploadId=u, IfNoneMatch="*",
    MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}))
after_parts = size("t.mkv")
s3.put_object(Bucket="talks", Key="other", Body=b"7 bytes")
r["copy"] = status(lambda: s3.copy_object(Bucket="talks", Key="t.mkv", CopySource="talks/other", IfNoneMatch="*"))
after_copy = size("t.mkv")
b64 = lambda h: base64.b64encode(h(b"something else").digest()).decode()
r["wrong md5"] = status(lambda: s3.put_object(Bucket="talks", Key="m", Body=b"hello", ContentMD5=b64(hashlib.md5)))
r["wrong sha256"] = status(lambda: s3.put_object(Bucket="talks", Key="s", Body=b"hello", ChecksumSHA256=b64(hashlib.sha256)))
server.stop()
print("status with If-None-Match: * on an existing key, then with a wrong checksum:", r)
print(f"object of 13 bytes: after put {kept}, after multipart {after_parts}, after copy {after_copy}")
ok = r == {"put": 412, "multipart": 412, "copy": 200, "wrong md5": 200, "wrong sha256": 200} and (kept, after_parts, after_copy) == (13, 13, 7)
print("SEEN" if ok else "NO LONGER SEEN"); sys.exit(not ok)
E
v/bin/python t.py
