// An edge node of the npm package sparkplug-client, told what to do by lines of JSON on standard input:
// {"do": "data", "device": "inverter-1", "metrics": [...]}. It answers each event with a line on standard output.
"use strict";
const readline = require("readline");
const sparkplug = require("sparkplug-client");

const [, , port, group, node, script] = process.argv;
const births = JSON.parse(script);
const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const client = sparkplug.newClient({
  serverUrl: `mqtt://127.0.0.1:${port}`,
  username: "",
  password: "",
  groupId: group,
  edgeNode: node,
  clientId: `edge-${group}-${node}`,
  version: "spBv1.0",
  publishDeath: true,
});

const copy = (value) => JSON.parse(JSON.stringify(value));
const birth = () => {
  const now = Date.now();
  const rebirth = { name: "Node Control/Rebirth", type: "Boolean", value: false };
  client.publishNodeBirth({ timestamp: now, metrics: [rebirth, ...copy(births.node || [])] });
  for (const [device, metrics] of Object.entries(births.devices || {})) {
    client.publishDeviceBirth(device, { timestamp: now, metrics: copy(metrics) });
  }
  say({ event: "born" });
};

client.on("birth", birth);
client.on("ncmd", (payload) => {
  const wanted = (payload.metrics || []).some((m) => m.name === "Node Control/Rebirth" && m.value === true);
  say({ event: "ncmd", rebirth: wanted });
  if (wanted) birth();
});
client.on("error", (error) => say({ event: "error", text: String(error) }));

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { do: what, device, metrics, compress } = JSON.parse(line);
  const payload = { timestamp: Date.now(), metrics };
  const options = compress ? { compress: true, algorithm: compress } : {};
  if (what === "data" && device) client.publishDeviceData(device, payload, options);
  else if (what === "data") client.publishNodeData(payload, options);
  else if (what === "device-death") client.publishDeviceDeath(device, payload);
  else if (what === "skip") client.seq = (client.seq + 1) % 256;
  else if (what === "stop") client.stop();
  say({ event: "done", what });
});
