// An OpenID provider that guard's authors did not write: npm's oidc-provider, on loopback behind TLS.
//
// usage: oidc-provider.mjs DIR PORT     DIR has server.key and server.pem; PORT 0 takes a free one
//
// Prints "ready PORT", then answers each line of standard input with one of standard output, both JSON:
//   {"do":"mint","client":"guard","sub":"ada"}      an ID token, by the authorization code flow
//   {"do":"impostor","client":…,"sub":…}            the same of a provider that only says it is this one
//   {"do":"forge","how":…,"client":…,"sub":…}       a token that no provider has signed as it should
//   {"do":"rotate"}                                 the provider starts again, with other keys
// Ends when its standard input closes.

import { generateKeyPairSync, createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

// What the provider remarks is not an answer.
console.info = console.log = console.error;

// The packages are where `cargo xtask setup` put them, not beside this file.
const require = createRequire(join(process.cwd(), "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { default: Provider } = await load("oidc-provider");
const { SignJWT, base64url, decodeJwt, decodeProtectedHeader } = await load("jose");

const [directory, wanted] = process.argv.slice(2);
const tls = ["key", "pem"].map((end) => readFileSync(join(directory, `server.${end}`)));
const ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA", "HS256"];
const REDIRECT = "https://client.example/callback";

// One client for each algorithm, one that another service is, and one whose tokens are short-lived.
const client = (client_id, algorithm) => ({
  client_id,
  client_secret: `secret-of-${client_id}-that-is-long-enough-for-hmac`,
  redirect_uris: [REDIRECT],
  id_token_signed_response_alg: algorithm,
});
const clients = [
  client("guard", "RS256"),
  client("another-service", "RS256"),
  client("guard-brief", "RS256"),
  ...ALGORITHMS.map((algorithm) => client(`guard-${algorithm}`, algorithm)),
];

function makeKeys(generation) {
  const jwk = (pair, rest) => ({ ...pair.privateKey.export({ format: "jwk" }), use: "sig", ...rest });
  return {
    keys: [
      jwk(generateKeyPairSync("rsa", { modulusLength: 2048 }), { kid: `rsa-${generation}` }),
      jwk(generateKeyPairSync("ec", { namedCurve: "P-256" }), { kid: `ec-${generation}` }),
      jwk(generateKeyPairSync("ed25519"), { kid: `ed-${generation}` }),
    ],
  };
}

function makeProvider(issuer, jwks) {
  const provider = new Provider(issuer, {
    clients,
    jwks,
    claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
    conformIdTokenClaims: false,
    cookies: { keys: ["of-no-consequence"] },
    enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
    features: { devInteractions: { enabled: false } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        email: `${id}@acme.example`,
        email_verified: !id.startsWith("unverified"),
        groups: ["staff", `team-of-${id}`],
      }),
    }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({
        accountId: oidc.session.accountId,
        clientId: oidc.client.clientId,
      });
      grant.addOIDCScope("openid email groups");
      await grant.save();
      return grant;
    },
    pkce: { required: () => false },
    ttl: { IdToken: (_, __, { clientId }) => (clientId === "guard-brief" ? 1 : 300) },
  });
  const callback = provider.callback();
  // Whoever is asked to log in, is who the test says.
  const answer = async (request, response) => {
    if (!request.url.startsWith("/interaction/")) return callback(request, response);
    const accountId = request.headers["x-account"];
    return provider.interactionFinished(request, response, { login: { accountId } });
  };
  return answer;
}

let answer;
const server = createServer({ key: tls[0], cert: tls[1] }, (request, response) => answer(request, response));
await new Promise((resolve) => server.listen(Number(wanted), "127.0.0.1", resolve));
const { port } = server.address();
const issuer = `https://127.0.0.1:${port}`;
let keys = makeKeys(0);
let generation = 0;
let provider = makeProvider(issuer, keys);
answer = provider;

async function mint(clientId, sub) {
  const cookies = new Map();
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: REDIRECT,
    response_type: "code",
    scope: "openid email groups",
    nonce: "n",
  });
  let location = `${issuer}/auth?${query}`;
  while (!location.startsWith(REDIRECT)) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(location, { headers: { cookie, "x-account": sub }, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      cookies.set(name, value);
    }
    const next = response.headers.get("location");
    if (!next) throw new Error(`${response.status} at ${location}: ${await response.text()}`);
    location = new URL(next, issuer).href;
  }
  const code = new URL(location).searchParams.get("code");
  if (!code) throw new Error(location);
  const secret = clients.find((it) => it.client_id === clientId).client_secret;
  const response = await fetch(`${issuer}/token`, {
    method: "POST",
    headers: { authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString("base64")}` },
    body: new URLSearchParams({ grant_type: "authorization_code", code, redirect_uri: REDIRECT }),
  });
  const { id_token: token } = await response.json();
  return token;
}

async function forge(how, clientId, sub) {
  const token = await mint(clientId, sub);
  const [head, body, signature] = token.split(".");
  const encode = (value) => base64url.encode(JSON.stringify(value));
  const { kid } = decodeProtectedHeader(token);
  switch (how) {
    case "hmac": {
      // The public key, as anybody can have it, as the secret.
      const key = createPublicKey({ key: keys.keys[0], format: "jwk" });
      const secret = key.export({ type: "spki", format: "pem" });
      return new SignJWT(decodeJwt(token)).setProtectedHeader({ alg: "HS256", kid }).sign(Buffer.from(secret));
    }
    case "none":
      return `${encode({ alg: "none", kid })}.${body}.`;
    case "none-signed":
      return `${encode({ alg: "none", kid })}.${body}.${signature}`;
    case "claims":
      return `${head}.${encode({ ...decodeJwt(token), sub: "root", email: "root@acme.example" })}.${signature}`;
    case "own-key": {
      const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
      const jwk = pair.publicKey.export({ format: "jwk" });
      const header = { alg: "RS256", kid, jwk, jku: `${issuer}/jwks` };
      return new SignJWT(decodeJwt(token)).setProtectedHeader(header).sign(pair.privateKey);
    }
  }
}

async function run({ do: what, how, client: clientId, sub }) {
  switch (what) {
    case "mint":
      return mint(clientId, sub);
    case "forge":
      return forge(how, clientId, sub);
    case "impostor":
      answer = makeProvider(issuer, makeKeys(generation));
      try {
        return await mint(clientId, sub);
      } finally {
        answer = provider;
      }
    case "rotate":
      generation += 1;
      keys = makeKeys(generation);
      provider = answer = makeProvider(issuer, keys);
      return "rotated";
  }
}

process.stdout.write(`ready ${port}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const said = await run(JSON.parse(line)).then(
    (token) => ({ token }),
    (error) => ({ error: String(error.stack) }),
  );
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
process.exit(0);
