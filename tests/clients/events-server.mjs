// Amazon Bedrock's bidirectional stream over HTTP/2, answering each message with its own content. Checks the head's
// signature and each envelope's with the SDK's own signer, against the real credentials.
// Arguments: directory of node_modules, key and certificate (PEM), access key id, secret. Says its port, then a line for each stream.

import { createHmac, createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { createRequire } from "node:module";

const require = createRequire(process.argv[2] + "/");
const { EventStreamCodec } = require("@smithy/eventstream-codec");
const { SignatureV4 } = require("@smithy/signature-v4");
const { fromUtf8, toUtf8 } = require("@smithy/util-utf8");

const [key, certificate, accessKeyId, secretAccessKey] = process.argv.slice(3);
const codec = new EventStreamCodec(toUtf8, fromUtf8);

class Sha256 {
  constructor(secret) {
    this.hash = secret ? createHmac("sha256", secret) : createHash("sha256");
  }
  update(data) {
    this.hash.update(data);
  }
  async digest() {
    return new Uint8Array(this.hash.digest());
  }
}

const signer = new SignatureV4({
  credentials: { accessKeyId, secretAccessKey },
  region: "us-east-1",
  service: "bedrock",
  sha256: Sha256,
});

const dated = (text) =>
  new Date(text.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, "$1-$2-$3T$4:$5:$6Z"));

/** Signs the request again as it arrived; returns its signature. */
async function head(headers) {
  const given = headers.authorization;
  if (!given.includes(`Credential=${accessKeyId}/`)) throw new Error("another access key");
  const names = given.match(/SignedHeaders=([^,]+)/)[1].split(";");
  const request = {
    method: headers[":method"],
    protocol: "https:",
    hostname: headers[":authority"],
    // The path as it is on the wire is encoded once; the signer encodes it again.
    path: headers[":path"],
    query: {},
    headers: Object.fromEntries(names.map((name) => [name, name === "host" ? headers[":authority"] : headers[name]])),
  };
  const signed = await signer.sign(request, {
    signingDate: dated(headers["x-amz-date"]),
    signableHeaders: new Set(names),
  });
  if (signed.headers.authorization !== given) {
    throw new Error(`the head's signature: ${given}, not ${signed.headers.authorization}`);
  }
  return given.match(/Signature=([0-9a-f]{64})$/)[1];
}

async function* envelopes(stream) {
  let rest = Buffer.alloc(0);
  for await (const data of stream) {
    rest = Buffer.concat([rest, data]);
    while (rest.length >= 4 && rest.length >= rest.readUInt32BE()) {
      const length = rest.readUInt32BE();
      yield codec.decode(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  }
  if (rest.length) throw new Error("the stream ends within a message");
}

async function converse(stream, headers) {
  let previous = await head(headers);
  if (headers["x-amz-content-sha256"] !== "STREAMING-AWS4-HMAC-SHA256-EVENTS") throw new Error("another payload");
  // The answer begins before the question has ended.
  stream.respond({ ":status": 200, "content-type": "application/vnd.amazon.eventstream" });
  let count = 0;
  let ended = false;
  for await (const envelope of envelopes(stream)) {
    const date = envelope.headers[":date"];
    const signature = Buffer.from(envelope.headers[":chunk-signature"].value).toString("hex");
    const signed = await signer.sign(
      { message: { headers: { ":date": date }, body: envelope.body }, priorSignature: previous },
      { signingDate: date.value },
    );
    if (signed.signature !== signature) throw new Error(`envelope ${count}'s signature`);
    if (ended) throw new Error("an envelope after the last");
    previous = signature;
    if (envelope.body.length === 0) {
      ended = true;
      continue;
    }
    count += 1;
    const inside = codec.decode(envelope.body);
    const text = (value) => ({ type: "string", value });
    stream.write(
      codec.encode({
        headers: {
          ":message-type": text("event"),
          ":event-type": text("chunk"),
          ":content-type": text("application/json"),
        },
        body: inside.body,
      }),
    );
  }
  if (!ended) throw new Error("no empty envelope ends the stream");
  stream.end();
  return count;
}

const server = http2.createSecureServer({ key: readFileSync(key), cert: readFileSync(certificate) });
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  converse(stream, headers).then(
    (count) => console.log(`stream ${count} messages well`),
    (error) => {
      console.log(`stream ${error.message}`);
      stream.close(http2.constants.NGHTTP2_CANCEL);
    },
  );
});
server.listen(0, "127.0.0.1", () => console.log(`ready ${server.address().port}`));
process.stdin.resume().on("end", () => process.exit());
