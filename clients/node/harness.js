// Checks that are counted and printed, and short ways to say requests; as clients/python/harness.py.
"use strict";
const { isDeepStrictEqual } = require("node:util");
const grpc = require("@grpc/grpc-js");
const { MessageType, ScalarType } = require("@protobuf-ts/runtime");
const { v1 } = require("@authzed/authzed-node");

const PATIENCE_MS = 20_000;
const SHOWN_MAX = 1500;
const { CREATE, TOUCH, DELETE } = v1.RelationshipUpdate_Operation;

const text = (no, name) => ({ no, name, kind: "scalar", T: ScalarType.STRING });
const ErrorInfo = new MessageType("google.rpc.ErrorInfo", [
  text(1, "reason"),
  text(2, "domain"),
  { no: 3, name: "metadata", kind: "map", K: ScalarType.STRING, V: { kind: "scalar", T: ScalarType.STRING } },
]);
const AnyMessage = new MessageType("google.protobuf.Any", [
  text(1, "type_url"),
  { no: 2, name: "value", kind: "scalar", T: ScalarType.BYTES },
]);
const Status = new MessageType("google.rpc.Status", [
  { no: 1, name: "code", kind: "scalar", T: ScalarType.INT32 },
  text(2, "message"),
  { no: 3, name: "details", kind: "message", repeat: 1, T: () => AnyMessage },
]);

/** The ErrorInfo of a failed call; an empty one if it has none. */
function infoOf(error) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const [detail] = bytes ? Status.fromBinary(bytes).details : [];
  return detail ? ErrorInfo.fromBinary(detail.value) : ErrorInfo.create();
}

const codeOf = (error) => grpc.status[error.code] ?? String(error);

class Checks {
  passed = 0;
  failed = 0;

  same(name, got, want) {
    if (isDeepStrictEqual(got, want)) {
      this.passed += 1;
      console.log(`ok    ${name}`);
      return;
    }
    this.failed += 1;
    const shown = (value) => String(JSON.stringify(value)).slice(0, SHOWN_MAX);
    console.log(`FAIL  ${name}\n        wanted ${shown(want)}\n        got    ${shown(got)}`);
  }

  /** `call` must fail with this code, reason and exactly these metadata keys; the values of `values` are compared. */
  async refused(name, call, code, reason = "", values = {}, keys = []) {
    let error;
    try {
      const answer = await call();
      return this.same(name, `answered ${JSON.stringify(answer)}`, `${code} ${reason}`);
    } catch (raised) {
      error = raised;
    }
    const info = infoOf(error);
    const got = [codeOf(error), info.reason.replace("ERROR_REASON_", ""), Object.keys(info.metadata).sort()];
    this.same(name, got, [code, reason, [...Object.keys(values), ...keys].sort()]);
    if (reason) this.same(`${name}: domain`, info.domain, "authzed.com");
    for (const [key, value] of Object.entries(values)) this.same(`${name}: ${key}`, info.metadata[key], value);
  }

  async section(name, run, ...rest) {
    console.log(`-- ${name}`);
    try {
      await run(this, ...rest);
    } catch (error) {
      // Whatever it was, the other sections are still of interest.
      this.failed += 1;
      console.log(`FAIL  ${name}: broke off\n${error.stack}`);
    }
  }
}

/** `document:readme` as a message. */
function ref(of) {
  const [objectType, ...id] = of.split(":");
  return v1.ObjectReference.create({ objectType, objectId: id.join(":") });
}

/** `user:tom` or `group:eng#member` as a message. */
function sub(of) {
  const [whole, optionalRelation = ""] = of.split("#");
  return v1.SubjectReference.create({ object: ref(whole), optionalRelation });
}

const struct = (values) => v1.createStructFromObject(values);

/** `document:readme#viewer@user:tom[only_on:{"day":"tuesday"}][expiration:2040-01-01T00:00:00Z]` as a message. */
function rel(of) {
  const plain = of.split("[", 1)[0];
  const [, resource, relation, subject] = /^([^#]+)#([^@]+)@(.+)$/.exec(plain);
  const message = v1.Relationship.create({ resource: ref(resource), relation, subject: sub(subject) });
  for (const [, name, value] of of.slice(plain.length).matchAll(/\[(\w+)(?::(.*?))?\](?=\[|$)/g)) {
    if (name === "expiration") {
      message.optionalExpiresAt = { seconds: String(Date.parse(value) / 1000), nanos: 0 };
    } else {
      const context = value ? struct(JSON.parse(value)) : undefined;
      message.optionalCaveat = v1.ContextualizedCaveat.create({ caveatName: name, context });
    }
  }
  return message;
}

/** A relationship as the text that `rel` reads. */
function said({ resource, relation, subject, optionalCaveat, optionalExpiresAt }) {
  let of = `${resource.objectType}:${resource.objectId}#${relation}@${saidSubject(subject)}`;
  if (optionalCaveat) {
    const context = optionalCaveat.context ? v1.PbStruct.toJson(optionalCaveat.context) : {};
    const sorted = Object.fromEntries(Object.entries(context).sort());
    of += `[${optionalCaveat.caveatName}${Object.keys(sorted).length ? ":" + JSON.stringify(sorted) : ""}]`;
  }
  if (optionalExpiresAt) of += `[expiration:${saidTime(optionalExpiresAt)}]`;
  return of;
}

const saidTime = ({ seconds }) => new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z");
const saidSubject = ({ object, optionalRelation }) =>
  `${object.objectType}:${object.objectId}${optionalRelation ? "#" + optionalRelation : ""}`;

const updates = (operation, ...texts) =>
  texts.map((of) => v1.RelationshipUpdate.create({ operation, relationship: rel(of) }));
const write = (texts, rest = {}, operation = TOUCH) =>
  v1.WriteRelationshipsRequest.create({ updates: updates(operation, ...texts), ...rest });

/** `document:readme#view@user:tom` as a request. */
function check(of, context, rest = {}) {
  const { resource, relation, subject } = rel(of);
  return v1.CheckPermissionRequest.create({
    resource,
    permission: relation,
    subject,
    ...(context ? { context: struct(context) } : {}),
    ...rest,
  });
}

const ofType = (resourceType, rest = {}) => v1.RelationshipFilter.create({ resourceType, ...rest });
const full = v1.Consistency.create({ requirement: { oneofKind: "fullyConsistent", fullyConsistent: true } });

/** All answers of a stream of the callback API, with what stands behind them. */
function gather(stream) {
  return new Promise((resolve, reject) => {
    const found = [];
    stream.on("data", (message) => found.push(message));
    stream.on("error", reject);
    stream.on("status", (status) => status.code === grpc.status.OK && resolve({ found, trailers: status.metadata }));
  });
}

/** A unary call of the callback API, with what stands behind the answer. */
function whole(client, name, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) => {
    let answer;
    const call = client[name](request, metadata, (error, response) => (error ? reject(error) : (answer = response)));
    call.on("status", (status) => setImmediate(() => resolve({ answer, trailers: status.metadata })));
  });
}

/** An import of these messages. */
function load(client, name, messages) {
  return new Promise((resolve, reject) => {
    const stream = client[name]((error, response) => (error ? reject(error) : resolve(response)));
    stream.on("error", () => {});
    for (const message of messages) stream.write(message);
    stream.end();
  });
}

function metadataOf(values) {
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries(values)) metadata.set(key, value);
  return metadata;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

module.exports = {
  CREATE, TOUCH, DELETE, PATIENCE_MS, Checks, MessageType, ScalarType, check, codeOf, full, gather, grpc, infoOf, load,
  metadataOf, ofType, ref, rel, said, saidSubject, saidTime, sleep, struct, sub, text, updates, v1, whole, write,
};
