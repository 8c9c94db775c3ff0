// dockerode, as programs written for Node use Docker.
"use strict";

const { PassThrough } = require("node:stream");
const { setTimeout: pause } = require("node:timers/promises");
const fs = require("node:fs");
const path = require("node:path");
const zlib = require("node:zlib");
const Docker = require("dockerode");

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace("unix://", "") });
const steps = [];
const step = (name, run) => steps.push({ name, run });
const STEP_MS = 90_000;

function expect(condition, what) {
  if (!condition) throw new Error(`not as expected: ${JSON.stringify(what)}`);
}

/** What a stream says until it ends. */
async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString().replaceAll("\r\n", "\n");
}

/** A multiplexed stream, taken apart. */
async function demultiplex(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on("end", () => { out.end(); err.end(); });
  stream.on("close", () => { out.end(); err.end(); });
  return await Promise.all([read(out), read(err)]);
}

/** The status with which a call is refused. */
async function refused(status, promise) {
  const error = await promise.then(() => null, (error) => error);
  expect(error?.statusCode === status, error?.message ?? "it was not refused");
  return error.json?.message ?? error.reason;
}

const followed = (stream) => new Promise((resolve, reject) =>
  docker.modem.followProgress(stream, (error, output) => error ? reject(error) : resolve(output)));

let world;
const shell = (text) => [...world.shell, text];
/** Several commands as one. */
const lines = (...commands) => commands.join(world.shell[0] === "cmd" ? "&" : ";");
const idle = async (options = {}) => {
  const container = await docker.createContainer({ Image: world.image, Cmd: shell(world.idle), ...options });
  await container.start();
  return container;
};

step("the_daemon_tells_of_itself", async () => {
  expect(String(await docker.ping()) === "OK", "ping");
  expect((await docker.info()).OSType === (await docker.version()).Os, "system");
  expect((await docker.df()).Images.length > 0, "df");
});

step("run_streams_a_commands_output", async () => {
  const out = new PassThrough();
  const text = read(out);
  const [result, container] = await docker.run(world.image, shell(lines("echo hello", "exit 4")), out, { Tty: true });
  out.end();
  expect(result.StatusCode === 4, result);
  expect((await text).includes("hello"), await text);
  await container.remove();
});

for (const hijack of [true, false]) {
  step(`attach_${hijack ? "with" : "without"}_hijack`, async () => {
    const container = await docker.createContainer({
      Image: world.image, Cmd: shell(world.echo_input), OpenStdin: true, StdinOnce: true, AttachStdin: true });
    const stream = await container.attach({ stream: true, stdin: hijack, stdout: true, stderr: true, hijack });
    const said = demultiplex(stream);
    await container.start();
    if (hijack) {
      stream.write("typed\n");
      stream.end();
      expect((await said)[0].includes("typed"), await said);
    } else {
      const input = await container.attach({ stream: true, stdin: true, hijack: true });
      input.write("typed\n");
      input.end();
      expect((await said)[0].includes("typed"), await said);
    }
    await container.wait();
    await container.remove();
  });

  step(`exec_${hijack ? "with" : "without"}_hijack`, async () => {
    const container = await idle();
    const Cmd = shell(lines("echo out", "echo err 1>&2", "exit 6"));
    const exec = await container.exec({ Cmd, AttachStdout: true, AttachStderr: true });
    const [out, err] = await demultiplex(await exec.start({ hijack, stdin: false }));
    expect(out.trim() === "out" && err.trim() === "err", [out, err]);
    expect((await exec.inspect()).ExitCode === 6, await exec.inspect());
    await container.remove({ force: true });
  });
}

step("logs_are_followed", async () => {
  const container = await docker.createContainer({ Image: world.image, Cmd: shell(world.twice) });
  await container.start();
  const [out] = await demultiplex(await container.logs({ follow: true, stdout: true, stderr: true }));
  expect(out === "first\nsecond\n", out);
  const whole = await container.logs({ stdout: true, stderr: true, tail: 1 });
  expect(Buffer.isBuffer(whole) && whole.includes("second") && !whole.includes("first"), String(whole));
  await container.wait();
  await container.remove();
});

step("a_container_goes_through_its_life", async () => {
  const container = await idle({ name: "from-node", Tty: true, Labels: { kind: "node" } });
  const [found] = await docker.listContainers({ filters: { label: ["kind=node"] } });
  expect(found.Names[0] === "/from-node" && found.State === "running", found);
  await container.resize({ h: 30, w: 100 });
  await container.pause();
  expect((await container.inspect()).State.Paused, "paused");
  await container.unpause();
  expect((await container.top()).Processes.length > 0, "top");
  await container.rename({ name: "renamed-by-node" });
  await container.restart({ t: 1 });
  await container.update({ RestartPolicy: { Name: "unless-stopped" } });
  await container.stop({ t: 1 });
  expect(await refused(304, container.stop()) !== null, "304");
  await container.start();
  await refused(304, container.start());
  await container.kill({ signal: "SIGKILL" });
  await container.wait();
  await container.changes();
  await container.remove({ v: true });
  expect(/No such container/.test(await refused(404, container.inspect())), "404");
});

step("a_request_is_aborted", async () => {
  const container = await idle();
  const controller = new AbortController();
  const waiting = container.wait({ abortSignal: controller.signal }).then(() => "ended", () => "aborted");
  await pause(100);
  controller.abort();
  expect(await waiting === "aborted", await waiting);
  await container.remove({ force: true });
});

step("events_are_aborted", async () => {
  const controller = new AbortController();
  const stream = await docker.getEvents({ filters: { container: ["told-node"] }, abortSignal: controller.signal });
  const seen = [];
  let rest = "";
  const ended = new Promise((resolve) => {
    stream.on("error", resolve);
    stream.on("close", resolve);
  });
  const destroyed = new Promise((resolve) => stream.on("data", (chunk) => {
    rest += chunk;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines.filter((line) => line.trim())) seen.push(JSON.parse(line).Action);
    if (seen.includes("destroy")) resolve();
  }));
  const container = await docker.createContainer({ Image: world.image, name: "told-node" });
  await container.remove();
  await destroyed;
  controller.abort();
  await ended;
  expect(seen.join() === "create,destroy", seen);
});

step("what_a_container_uses_is_sampled", async () => {
  const container = await idle();
  expect("cpu_stats" in await container.stats({ stream: false }), "stats");
  const stream = await container.stats({ stream: true });
  const sample = await new Promise((resolve) => stream.once("data", resolve));
  expect("memory_stats" in JSON.parse(sample), String(sample));
  stream.destroy();
  await container.remove({ force: true });
});

/** A tar with one file; `gzip` compresses it. */
function tar(name, content, gzip) {
  const head = Buffer.alloc(512);
  head.write(name);
  head.write("0000644\0", 100);
  head.write("0000000\0".repeat(2), 108);
  head.write(content.length.toString(8).padStart(11, "0") + "\0", 124);
  head.write("00000000000\0", 136);
  head.write("        0", 148);
  head.write("ustar\0" + "00", 257);
  const sum = head.reduce((sum, byte) => sum + byte, 0);
  head.write(sum.toString(8).padStart(6, "0") + "\0 ", 148);
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  const whole = Buffer.concat([head, body, Buffer.alloc(1024)]);
  return gzip ? zlib.gzipSync(whole) : whole;
}

step("files_go_in_and_come_out", async () => {
  const container = await idle({ WorkingDir: world.folder });
  await container.putArchive(tar("file.txt", "from node", true), { path: world.folder });
  const stat = await container.infoArchive({ path: world.file });
  const header = stat.headers?.["x-docker-container-path-stat"];
  expect(!header || JSON.parse(Buffer.from(header, "base64")).size === 9, header);
  expect((await read(await container.getArchive({ path: world.file }))).includes("from node"), "get");
  await container.remove({ force: true });
});

step("build_progress_is_followed", async () => {
  const stream = await docker.buildImage(
    require("node:stream").Readable.from(tar("Dockerfile", world.dockerfile)), { t: "from-node:1" });
  const output = await followed(stream);
  expect(output.some((line) => /Successfully built/.test(line.stream)), output.at(-1));
  const image = docker.getImage("from-node:1");
  expect((await image.inspect()).Config.Labels.made === "here", await image.inspect());
  expect((await image.history()).length > 1, "history");
  await image.tag({ repo: "from-node", tag: "2" });
  const broken = await docker.buildImage(
    require("node:stream").Readable.from(tar("Dockerfile", `FROM ${world.image}\nRUN exit 4\n`)), { forcerm: true });
  expect(/non-zero code: 4/.test((await followed(broken)).at(-1).error), "a failing build succeeded");
});

step("images_are_saved_loaded_and_removed", async () => {
  const image = docker.getImage("from-node:2");
  const file = path.join(process.cwd(), "image.tar");
  const stream = await image.get();
  await require("node:stream/promises").pipeline(stream, fs.createWriteStream(file));
  await image.remove();
  const output = await followed(await docker.loadImage(file));
  expect(output.some((line) => /from-node:2/.test(line.stream)), output);
  const listed = await docker.listImages({ filters: { reference: ["from-node"] } });
  expect(listed.flatMap((image) => image.RepoTags).length === 2, listed);
  await docker.getImage("from-node:1").remove();
  await image.remove();
  const container = await docker.createContainer({ Image: world.image });
  await container.commit({ repo: "committed-by-node", tag: "1" });
  expect((await docker.getImage("committed-by-node:1").remove()).length > 0, "commit");
  await read(await container.export()).then((text) => expect(text.length > 1024, "export"));
  await container.remove();
  expect(/No such image/.test(await refused(404, docker.getImage("nobody").inspect())), "404");
});

step("volumes_and_networks_are_made_and_removed", async () => {
  const volume = await docker.createVolume({ Name: "from-node", Labels: { kind: "node" } });
  expect((await docker.listVolumes({ filters: { label: ["kind=node"] } })).Volumes.length === 1, "volumes");
  expect((await docker.getVolume("from-node").inspect()).Driver === "local", "driver");
  const network = await docker.createNetwork({ Name: "from-node", CheckDuplicate: true });
  const HostConfig = { Mounts: [{ Type: "volume", Source: "from-node", Target: world.folder }], NetworkMode: "from-node" };
  const container = await idle({ HostConfig });
  await network.disconnect({ Container: container.id });
  await network.connect({ Container: container.id, EndpointConfig: { Aliases: ["other"] } });
  expect(container.id in (await network.inspect()).Containers, "member");
  await refused(409, docker.getVolume("from-node").remove());
  await container.remove({ force: true });
  await docker.getVolume("from-node").remove();
  await network.remove();
  expect((await docker.listNetworks({ filters: { name: ["from-node"] } })).length === 0, "networks");
  expect(volume !== undefined, "volume");
});

step("what_is_not_used_is_pruned", async () => {
  const filters = { label: { "prune=node": true } };
  await docker.createContainer({ Image: world.image, Labels: { prune: "node" } });
  expect((await docker.pruneContainers({ filters })).ContainersDeleted.length === 1, "containers");
  await docker.createVolume({ Name: "unused-node", Labels: { prune: "node" } });
  const volumes = await docker.pruneVolumes({ filters: { ...filters, all: { true: true } } });
  expect(volumes.VolumesDeleted.length === 1, volumes);
  await docker.createNetwork({ Name: "unused-node", Labels: { prune: "node" } });
  expect((await docker.pruneNetworks({ filters })).NetworksDeleted.length === 1, "networks");
  expect("SpaceReclaimed" in await docker.pruneImages({ filters }), "images");
});

async function main() {
  const { version } = require("dockerode/package.json");
  console.log(`version: dockerode ${version}`);
  const guests = JSON.parse(fs.readFileSync(path.join(__dirname, "..", "guests.json")));
  world = guests[(await docker.version()).Os];
  let failed = false;
  for (const { name, run } of steps) {
    const overdue = pause(STEP_MS, null, { ref: false }).then(() => {
      throw new Error("it did not end in time");
    });
    try {
      await Promise.race([run(), overdue]);
      console.log(`step ${name}: ok`);
    } catch (error) {
      failed = true;
      console.log(`step ${name}: FAILED ${error.message}\n${error.stack}`);
    }
  }
  process.exit(failed ? 1 : 0);
}

main();
