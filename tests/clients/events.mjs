// A conversation over Amazon Bedrock's bidirectional stream: each message is sent when the answer to the one before
// it has come. Arguments: directory of node_modules, and `spoil` to sign the third one with another secret.

import { createRequire } from "node:module";

const require = createRequire(process.argv[2] + "/");
const {
  BedrockRuntimeClient,
  InvokeModelWithBidirectionalStreamCommand,
} = require("@aws-sdk/client-bedrock-runtime");

const spoil = process.argv[3] === "spoil";
const MESSAGES = 5;
const sizes = [1, 1000, 100_000, 10, 300_000];
const content = (number) => new Uint8Array(sizes[number]).fill(65 + number);

let credentials = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
  sessionToken: process.env.AWS_SESSION_TOKEN,
  // So that they are asked for again before each message.
  expiration: new Date(Date.now() + 1000),
};
const client = new BedrockRuntimeClient({ region: "us-east-1", credentials: async () => credentials, maxAttempts: 1 });

let answered;
let answer = new Promise((resolve) => (answered = resolve));
async function* question() {
  for (let number = 0; number < MESSAGES; number += 1) {
    if (spoil && number === 2) credentials = { ...credentials, secretAccessKey: "another secret" };
    yield { chunk: { bytes: content(number) } };
    await answer;
    answer = new Promise((resolve) => (answered = resolve));
  }
}

try {
  const response = await client.send(
    new InvokeModelWithBidirectionalStreamCommand({ modelId: "amazon.nova-sonic-v1:0", body: question() }),
  );
  let number = 0;
  for await (const event of response.body) {
    const same = Buffer.compare(event.chunk.bytes, content(number)) === 0;
    console.log(`answer ${number} ${same ? "well" : "is another"}`);
    number += 1;
    answered();
  }
  console.log(`conversation of ${number} ended well`);
} catch (error) {
  console.log(`conversation broke off: ${error.name}: ${error.message}`);
}
process.exit();
