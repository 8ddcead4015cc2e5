// The AWS SDK for JavaScript v3 meeting denials, for the tests to run confined: makes every call that the test's
// profile refuses, and prints what it throws, one JSON object a line.
// usage: denials.mjs DIRECTORY-OF-NODE_MODULES
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const require = createRequire(process.argv[2] + "/");
const sdk = (name) => require(`@aws-sdk/client-${name}`);

const CALLS = [
  ["sts", "STS", "GetSessionToken", {}],
  ["ec2", "EC2", "DescribeInstances", {}],
  ["dynamodb", "DynamoDB", "GetItem", { TableName: "denied", Key: { k: { S: "1" } } }],
  ["secrets-manager", "SecretsManager", "GetSecretValue", { SecretId: "denied" }],
  ["lambda", "Lambda", "Invoke", { FunctionName: "denied", Payload: Buffer.from("{}") }],
  ["s3", "S3", "GetObject", { Bucket: "denied-bucket", Key: "denied-key" }],
  ["s3", "S3", "HeadObject", { Bucket: "denied-bucket", Key: "denied-key" }],
  ["s3", "S3", "PutObject", { Bucket: "denied-bucket", Key: "denied-key", Body: Buffer.alloc(1_000_000) }],
  // More than 2 MB: sent with `Expect: 100-continue`.
  ["s3", "S3", "UploadPart", { Bucket: "denied-bucket", Key: "k", PartNumber: 1, UploadId: "u", ContentLength: 3_000_000 }],
  ["route-53", "Route53", "ListHostedZones", {}],
  ["cloudfront", "CloudFront", "ListDistributions", {}],
  ["cloudwatch", "CloudWatch", "ListMetrics", {}],
  ["sqs", "SQS", "SendMessage", { QueueUrl: "https://sqs.us-east-1.amazonaws.com/123456789012/denied-queue", MessageBody: "m" }],
];

const PENDING = [
  ["sts", "STS", "AssumeRole", { RoleArn: "arn:aws:iam::123456789012:role/denied", RoleSessionName: "s" }],
  ["dynamodb", "DynamoDB", "DeleteItem", { TableName: "denied", Key: { k: { S: "1" } } }],
  ["lambda", "Lambda", "DeleteFunction", { FunctionName: "denied" }],
  ["s3", "S3", "DeleteObject", { Bucket: "denied-bucket", Key: "denied-key" }],
  ["sqs", "SQS", "PurgeQueue", { QueueUrl: "https://sqs.us-east-1.amazonaws.com/123456789012/denied-queue" }],
];

async function make([module, client, operation, input]) {
  const { [`${client}Client`]: Client, [`${operation}Command`]: Command } = sdk(module);
  const { [`${client}ServiceException`]: ServiceException } = sdk(module);
  if (operation === "UploadPart") {
    input = { ...input, Body: Readable.from(Array(3).fill(Buffer.alloc(1_000_000))) };
  }
  let seen;
  try {
    await new Client().send(new Command(input));
    seen = { name: "ALLOWED" };
  } catch (error) {
    seen = {
      name: error.name,
      class: error.constructor.name,
      service: error instanceof ServiceException,
      told: error.message,
      fault: error.$fault,
      attempts: error.$metadata?.attempts,
      status: error.$metadata?.httpStatusCode,
      reason: error.$response?.headers?.["x-guard-reason"],
    };
  }
  console.log(JSON.stringify({ call: `${module} ${operation}`, ...seen }));
}

for (const call of CALLS) await make(call);
await Promise.all(PENDING.map(make));
