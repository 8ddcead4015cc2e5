// Signs requests with the JS SDK's signer: what guard must accept, and what guard's own signatures are held to.
//
// One JSON request per line on stdin, as for python/signers.py; the signed one per line on stdout. Signer "js" signs
// in the header, "js url" in the query, "js again" signs what guard signed, with the headers that guard signed, and
// answers with the signature, "js events" a stream's envelopes.
import { createHash, createHmac } from "node:crypto";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const { SignatureV4 } = createRequire(process.argv[2] + "/node_modules/")("@smithy/signature-v4");

class Sha256 {
  constructor(secret) {
    this.hash = secret === undefined ? createHash("sha256") : createHmac("sha256", secret);
  }
  update(data) {
    this.hash.update(data);
  }
  async digest() {
    return new Uint8Array(this.hash.digest());
  }
}

const query = (search) => {
  const found = {};
  for (const pair of search.slice(1).split("&").filter(Boolean)) {
    const [, name, value] = /^([^=]*)=?(.*)$/.exec(pair);
    const [key, text] = [decodeURIComponent(name), decodeURIComponent(value)];
    found[key] = key in found ? [found[key], text].flat() : text;
  }
  return found;
};

const escape = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());

// As S3 spells a path; what of %2F is not known.
const spelt = (path) => path.split(/(%2F|\/)/i).map((part, at) => (at % 2 ? part : escape(decodeURIComponent(part)))).join("");

async function answer(line) {
  const s3 = line.service.startsWith("s3");
  const signer = new SignatureV4({
    credentials: { accessKeyId: line.key, secretAccessKey: line.secret, sessionToken: line.token ?? undefined },
    region: line.region,
    service: line.service,
    sha256: Sha256,
    uriEscapePath: !s3,
    applyChecksum: s3,
  });
  const signingDate = new Date(line.now * 1000);
  if (line.signer === "js events") {
    let priorSignature = line.seed;
    const signatures = [];
    for (const event of line.events) {
      const part = (text) => Uint8Array.from(Buffer.from(text, "base64"));
      priorSignature = await signer.sign(
        { headers: part(event.headers), payload: part(event.payload) },
        { signingDate: new Date(event.millis), priorSignature, signingRegion: line.region, signingService: line.service },
      );
      signatures.push(priorSignature);
    }
    return { signatures };
  }
  // As it stands: the URL class would change the path.
  const [, host, path, search] = /^https:\/\/([^/]*)([^?]*)(.*)$/.exec(line.url);
  const headers = Object.fromEntries(line.headers);
  const request = {
    method: line.method, protocol: "https:", hostname: host, query: query(search),
    path: s3 && line.signer === "js again" ? spelt(path) : path,
    headers: { host, ...headers }, body: Buffer.from(line.body, "base64"),
  };
  if (line.signer === "js again") {
    const fields = /SignedHeaders=([^,]*), ?Signature=(.*)$/.exec(headers.authorization);
    const signable = fields[1].split(";");
    for (const name of Object.keys(request.headers)) if (!signable.includes(name)) delete request.headers[name];
    const again = await signer.sign(request, { signingDate, signableHeaders: new Set(signable) });
    return { signature: /Signature=(.*)$/.exec(again.headers.authorization)[1] };
  }
  const signed = line.signer === "js url"
    ? await signer.presign({ ...request, body: undefined }, { signingDate, expiresIn: 900 })
    : await signer.sign(request, { signingDate });
  const pairs = Object.entries(signed.query).flatMap(([name, value]) =>
    [value].flat().map((one) => `${escape(name)}=${escape(one)}`));
  const target = signed.path + (pairs.length ? "?" + pairs.join("&") : "");
  return { ...line, url: `https://${host}${target}`, headers: Object.entries(signed.headers) };
}

for await (const text of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(text))));
}
