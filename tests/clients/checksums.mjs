// Uploads with the SDK for JavaScript v3 in every form it has. Argument: directory of node_modules.
// Prints a line for each: what it was, and `well` or what went wrong.

import { createRequire } from "node:module";
import { Readable } from "node:stream";

const require = createRequire(process.argv[2] + "/");
const { S3Client, PutObjectCommand, GetObjectCommand } = require("@aws-sdk/client-s3");

const content = Buffer.alloc(300_000, "guard javascript ");
const bodies = {
  buffer: () => content,
  stream: () => Readable.from([content.subarray(0, 70_000), content.subarray(70_000)]),
};

for (const when of ["WHEN_SUPPORTED", "WHEN_REQUIRED"]) {
  const client = new S3Client({ requestChecksumCalculation: when, maxAttempts: 1 });
  for (const algorithm of [undefined, "CRC32", "CRC32C", "SHA1", "SHA256"]) {
    for (const [kind, body] of Object.entries(bodies)) {
      const Key = `javascript/${kind}-${algorithm}-${when}`;
      try {
        await client.send(
          new PutObjectCommand({
            Bucket: "uploads",
            Key,
            Body: body(),
            ContentLength: content.length,
            ChecksumAlgorithm: algorithm,
          }),
        );
        const answer = await client.send(new GetObjectCommand({ Bucket: "uploads", Key }));
        const same = content.equals(Buffer.from(await answer.Body.transformToByteArray()));
        console.log(Key, same ? "well" : "came back as something else");
      } catch (error) {
        console.log(Key, error.name, error.message);
      }
    }
  }
}
