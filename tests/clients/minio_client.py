"""MinIO's client: an object in one piece, one in parts, and one of unknown length."""

import io

from minio import Minio
from minio.credentials import EnvAWSProvider

CONTENT = bytes(range(256)) * 50_000
PART = 5 * 1024 * 1024

client = Minio("s3.us-east-1.amazonaws.com", credentials=EnvAWSProvider(), region="us-east-1")
for name, length, size in [("one", 100_000, 0), ("parts", len(CONTENT), PART), ("unknown", -1, PART)]:
    content = CONTENT[: length if length > 0 else None]
    client.put_object("uploads", f"minio/{name}", io.BytesIO(content), length, part_size=size)
    answer = client.get_object("uploads", f"minio/{name}")
    print(name, "well" if answer.read() == content else "came back as something else")
