// Decides IAM policies by an evaluator that has nothing to do with guard: @cloud-copilot/iam-simulate.
// Reads cases as JSON lines and writes the outcome of each as a line. Argument: where the packages are installed.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/package.json`);
const { runUnsafeSimulation } = require("@cloud-copilot/iam-simulate");

const ACCOUNT = "123456789012";
const named = (policies, prefix) => policies.map((policy, at) => ({ name: `${prefix}${at}`, policy }));

for await (const line of createInterface({ input: process.stdin })) {
  const { identity, boundary, scp, action, resource, context } = JSON.parse(line);
  let outcome;
  try {
    outcome = runUnsafeSimulation(
      {
        request: {
          principal: `arn:aws:iam::${ACCOUNT}:role/agent`,
          action,
          resource: { resource, accountId: ACCOUNT },
          contextVariables: context,
        },
        identityPolicies: named(identity, "identity"),
        serviceControlPolicies: scp.map((policies, at) => ({
          orgIdentifier: `level${at}`,
          policies: named(policies, "scp"),
        })),
        resourceControlPolicies: [],
        permissionBoundaryPolicies: boundary.length ? named(boundary, "boundary") : undefined,
      },
      {},
    );
  } catch (error) {
    outcome = `error: ${error.message}`;
  }
  console.log(outcome);
}
