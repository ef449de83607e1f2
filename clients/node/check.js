// The official Node client, held against a running server: every call, compared value by value.
//
//   node check.js --addr 127.0.0.1:50051 --token KEY [--only SECTION]
//
// IDHINI_ADDR and IDHINI_TOKEN stand for the arguments. The server's namespace is written over. A line is one check, the
// last line counts them; the exit status is 1 if any failed.
"use strict";
const { parseArgs } = require("node:util");
const { Checks, v1 } = require("./harness");
const around = require("./around");
const errors = require("./errors");
const experimental = require("./experimental");
const permissions = require("./permissions");
const schemas = require("./schemas");
const watching = require("./watching");

const { values } = parseArgs({
  options: { addr: { type: "string" }, token: { type: "string" }, only: { type: "string", default: "" } },
});
const addr = values.addr ?? process.env.IDHINI_ADDR ?? "127.0.0.1:50051";
const token = values.token ?? process.env.IDHINI_TOKEN ?? "";
const connect = (token) => v1.NewClient(token, addr, v1.ClientSecurity.INSECURE_PLAINTEXT_CREDENTIALS);

async function main() {
  const client = connect(token);
  const checks = new Checks();
  for (const [name, run, ...rest] of [
    ["checks and consistency", permissions.checksAndConsistency],
    ["bulk checks", permissions.bulkChecks],
    ["traces", permissions.traces],
    ["expansion", permissions.expansion],
    ["lookups", permissions.lookups],
    ["reading", permissions.reading],
    ["writing and deleting", permissions.writing],
    ["bulk import and export", permissions.bulk],
    ["callbacks", permissions.callbacks],
    ["schemas", schemas.written],
    ["schemas reflected", schemas.reflected, "", v1.ReflectionSchemaFilter],
    ["watching", watching.watch],
    ["experimental: bulk calls", experimental.bulkCalls],
    ["experimental: schemas reflected", schemas.reflected, "Experimental", v1.ExpSchemaFilter],
    ["experimental: counters", experimental.counters],
    ["errors by reason", errors.byReason],
    ["errors without a reason", errors.withoutReason],
    ["health", around.health, addr],
    ["reflection", around.reflection, addr],
    ["tokens", around.tokens, connect],
    ["headers and trailers", around.metadata],
    ["the past", around.past],
  ]) {
    if (name.includes(values.only)) await checks.section(name, run, client, ...rest);
  }
  client.close();
  console.log(`${checks.passed} passed, ${checks.failed} failed`);
  process.exitCode = checks.failed ? 1 : 0;
}

main();
