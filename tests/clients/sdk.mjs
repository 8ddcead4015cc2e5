// The AWS SDK for JavaScript v3, for the tests to run confined. usage: sdk.mjs DIRECTORY-OF-NODE_MODULES
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const require = createRequire(process.argv[2] + "/");
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { S3Client, CreateBucketCommand, PutObjectCommand, GetObjectCommand } = require("@aws-sdk/client-s3");
const { SecretsManagerClient, GetSecretValueCommand } = require("@aws-sdk/client-secrets-manager");
const { DynamoDBClient, CreateTableCommand } = require("@aws-sdk/client-dynamodb");

const identity = await new STSClient().send(new GetCallerIdentityCommand({}));
console.log("account", identity.Account);

const s3 = new S3Client();
await s3.send(new CreateBucketCommand({ Bucket: "javascript" }));
const data = Buffer.alloc(3_000_000, "guard");
await s3.send(new PutObjectCommand({ Bucket: "javascript", Key: "buffer", Body: data }));
await s3.send(
  new PutObjectCommand({
    Bucket: "javascript",
    Key: "stream",
    Body: Readable.from([data.subarray(0, 1_000_000), data.subarray(1_000_000)]),
    ContentLength: data.length,
  }),
);
for (const Key of ["buffer", "stream"]) {
  const got = await s3.send(new GetObjectCommand({ Bucket: "javascript", Key }));
  const bytes = Buffer.from(await got.Body.transformToByteArray());
  console.log("object", bytes.equals(data) ? "identical" : "DIFFERENT", Key);
}

const secret = await new SecretsManagerClient().send(new GetSecretValueCommand({ SecretId: "js" }));
console.log("secret", secret.SecretString);

try {
  await new DynamoDBClient().send(
    new CreateTableCommand({
      TableName: "javascript",
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: [{ AttributeName: "k", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "k", AttributeType: "S" }],
    }),
  );
  console.log("denied NOT");
} catch (error) {
  console.log("denied", error.name, "attempts", error.$metadata.attempts, error.message);
}
