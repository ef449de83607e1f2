// What is around the calls: health, reflection, tokens, headers and trailers, moments in the past.
"use strict";
const {
  MessageType, ScalarType, check, gather, grpc, metadataOf, sleep, sub, text, v1, whole, write,
} = require("./harness");
const { furnish } = require("./world");

const SERVICES = ["Permissions", "Schema", "Watch", "Experimental"].map((name) => `authzed.api.v1.${name}Service`);
const SERVING = 1;

const HealthRequest = new MessageType("grpc.health.v1.HealthCheckRequest", [text(1, "service")]);
const HealthResponse = new MessageType("grpc.health.v1.HealthCheckResponse", [
  { no: 1, name: "status", kind: "scalar", T: ScalarType.INT32 },
]);
// The parts of grpc.reflection that are used here; v1 and v1alpha have the same.
const ReflectionRequest = new MessageType("grpc.reflection.v1.ServerReflectionRequest", [
  { ...text(4, "symbol"), opt: true },
  { ...text(7, "list"), opt: true },
]);
const Files = new MessageType("grpc.reflection.v1.FileDescriptorResponse", [
  { no: 1, name: "files", kind: "scalar", T: ScalarType.BYTES, repeat: 2 },
]);
const Service = new MessageType("grpc.reflection.v1.ServiceResponse", [text(1, "name")]);
const Services = new MessageType("grpc.reflection.v1.ListServiceResponse", [
  { no: 1, name: "service", kind: "message", repeat: 2, T: () => Service },
]);
const ReflectionResponse = new MessageType("grpc.reflection.v1.ServerReflectionResponse", [
  { no: 4, name: "files", kind: "message", T: () => Files },
  { no: 6, name: "services", kind: "message", T: () => Services },
]);

const method = (path, request, response, streams) => ({
  path,
  ...streams,
  requestSerialize: (message) => Buffer.from(request.toBinary(message)),
  requestDeserialize: (bytes) => request.fromBinary(bytes),
  responseSerialize: (message) => Buffer.from(response.toBinary(message)),
  responseDeserialize: (bytes) => response.fromBinary(bytes),
});

async function health(t, client, addr) {
  const Health = grpc.makeGenericClientConstructor({
    check: method("/grpc.health.v1.Health/Check", HealthRequest, HealthResponse, { requestStream: false, responseStream: false }),
    watch: method("/grpc.health.v1.Health/Watch", HealthRequest, HealthResponse, { requestStream: false, responseStream: true }),
  });
  const stub = new Health(addr, grpc.credentials.createInsecure());
  const ask = (service) =>
    new Promise((resolve, reject) =>
      stub.check(HealthRequest.create({ service }), (error, answer) => (error ? reject(error) : resolve(answer.status))));
  const first = (service) =>
    new Promise((resolve, reject) => {
      const stream = stub.watch(HealthRequest.create({ service }));
      stream.on("data", ({ status }) => resolve(status) ?? stream.cancel());
      stream.on("error", reject);
    });
  for (const service of ["", ...SERVICES]) {
    t.same(`health of ${service || "the server"}`, await ask(service).catch((error) => error.details), SERVING);
    t.same(`health watched of ${service || "the server"}`, await first(service).catch((error) => error.details), SERVING);
  }
  await t.refused("health of nothing", () => ask("nothing"), "NOT_FOUND");
  stub.close();
}

async function reflection(t, client, addr) {
  for (const version of ["v1", "v1alpha"]) {
    const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
    const streams = { requestStream: true, responseStream: true };
    const Reflection = grpc.makeGenericClientConstructor({ ask: method(path, ReflectionRequest, ReflectionResponse, streams) });
    const stub = new Reflection(addr, grpc.credentials.createInsecure());
    const stream = stub.ask();
    const answers = gather(stream);
    stream.write(ReflectionRequest.create({ list: "" }));
    for (const symbol of SERVICES) stream.write(ReflectionRequest.create({ symbol }));
    stream.end();
    const [listed, ...files] = (await answers).found;
    const names = listed.services.service.map(({ name }) => name);
    const wanted = [...SERVICES, "grpc.health.v1.Health"];
    t.same(`reflection ${version} lists`, wanted.filter((name) => !names.includes(name)), []);
    for (const [at, service] of SERVICES.entries()) {
      const bytes = Buffer.concat(files[at].files.files);
      t.same(`reflection ${version} of ${service}`, bytes.includes(service.split(".").at(-1)), true);
    }
    stub.close();
  }
}

async function tokens(t, client, connect) {
  await furnish(client);
  for (const [name, given, code] of [["no token", "", "UNAUTHENTICATED"], ["a wrong token", "wrong", "PERMISSION_DENIED"]]) {
    const other = connect(given);
    const calls = {
      check: () => other.promises.checkPermission(check("document:readme#view@user:tom")),
      schema: () => other.promises.readSchema({}),
      write: () => other.promises.writeRelationships(write(["document:readme#viewer@user:mallory"])),
      watch: () => gather(other.watch(v1.WatchRequest.create({}))),
    };
    for (const [call, run] of Object.entries(calls)) await t.refused(`${call} with ${name}`, run, code);
    other.close();
  }
  const mallory = await client.promises.checkPermission(check("document:readme#view@user:mallory"));
  t.same("nothing of it was written", mallory.permissionship, 1);
}

async function metadata(t, client) {
  await furnish(client);
  const tom = check("document:readme#view@user:tom");
  const { trailers } = await whole(client, "checkPermission", tom);
  const of = (trailers, name) => trailers.get(name)[0];
  t.same("trailer: operations", Number(of(trailers, "io.spicedb.respmeta.dispatchedoperationscount")) > 0, true);
  t.same("trailer: cached", /^\d+$/.test(of(trailers, "io.spicedb.respmeta.cachedoperationscount")), true);
  const id = of(trailers, "x-request-id");
  t.same("trailer: a request id", Boolean(id), true);
  t.same("trailer: the same id twice", of(trailers, "io.spicedb.respmeta.requestid"), id);
  t.same("trailer: no version unless asked", of(trailers, "io.spicedb.debug.version"), undefined);
  const other = await whole(client, "checkPermission", tom);
  t.same("each call has its id", of(other.trailers, "x-request-id") === id, false);
  const asked = { "x-request-id": "mine-1", "io.spicedb.requestversion": "1" };
  const mine = await whole(client, "checkPermission", tom, metadataOf(asked));
  t.same("a given request id is repeated", of(mine.trailers, "x-request-id"), "mine-1");
  t.same("the version when asked", /^v\d/.test(of(mine.trailers, "io.spicedb.debug.version")), true);
  const lookup = v1.LookupResourcesRequest.create({ resourceObjectType: "document", permission: "view", subject: sub("user:tom") });
  const stream = await gather(client.lookupResources(lookup, metadataOf(asked)));
  t.same("a stream: trailers", [stream.found.length, of(stream.trailers, "x-request-id")], [3, "mine-1"]);
  const error = await whole(client, "checkPermission", check("nothing:a#view@user:tom"), metadataOf(asked)).catch((e) => e);
  t.same("a refusal has them too", of(error.metadata, "x-request-id"), "mine-1");
  t.same("a refusal: version", /^v\d/.test(of(error.metadata, "io.spicedb.debug.version")), true);
}

async function past(t, client) {
  await furnish(client);
  const zoe = check("document:plan#view@user:zoe");
  await sleep(50);
  const moment = new Date().toISOString();
  await sleep(50);
  await client.promises.writeRelationships(write(["document:plan#viewer@user:zoe"]));
  const asOf = (value) => whole(client, "checkPermission", zoe, metadataOf({ "idhini-as-of": value }));
  t.same("now", (await client.promises.checkPermission(zoe)).permissionship, 2);
  t.same("as of a moment before", (await asOf(moment)).answer.permissionship, 1);
  const lookup = v1.LookupResourcesRequest.create({ resourceObjectType: "document", permission: "view", subject: sub("user:zoe") });
  const { found } = await gather(client.lookupResources(lookup, metadataOf({ "idhini-as-of": moment })));
  t.same("a lookup as of it", found.map((m) => m.resourceObjectId), ["open"]);
  await t.refused("as of nonsense", () => asOf("yesterday"), "INVALID_ARGUMENT");
  await t.refused("as of the future", () => asOf("2999-01-01T00:00:00Z"), "INVALID_ARGUMENT");
  await t.refused("as of a moment before the first schema", () => asOf("2001-01-01T00:00:00Z"), "FAILED_PRECONDITION",
    "UNKNOWN_DEFINITION", { definition_name: "document" });
}

module.exports = { health, metadata, past, reflection, tokens };
