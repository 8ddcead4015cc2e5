// The AWS SDK for JavaScript v3 with a profile that assumes a role, for the tests to run confined.
// usage: assume.mjs DIRECTORY-OF-NODE_MODULES
import { createRequire } from "node:module";

const require = createRequire(process.argv[2] + "/");
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { S3Client, PutObjectCommand } = require("@aws-sdk/client-s3");

const identity = await new STSClient().send(new GetCallerIdentityCommand({}));
console.log(identity.Arn);
await new S3Client().send(new PutObjectCommand({ Bucket: "clients", Key: "by-javascript", Body: "x" }));
const credentials = await new STSClient().config.credentials();
console.log(credentials.accessKeyId, credentials.expiration > new Date());
