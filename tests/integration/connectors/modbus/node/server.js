// A Modbus TCP server of the npm package modbus-serial with the tables given as JSON on the command line:
// {"coil": {"0": true}, "discrete": {}, "holding": {"100": 7}, "input": {}}. What is not in a table is an illegal
// address; addresses in "busy" answer so. Each value that is written is told in a line on standard output.
"use strict";
const { ServerTCP } = require("modbus-serial");

const [, , port, json] = process.argv;
const tables = JSON.parse(json);
const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");
const refuse = (code) => {
  throw { modbusErrorCode: code, msg: `exception ${code}` };
};
const read = (table) => (address) => {
  if ((tables.busy || []).includes(address)) refuse(6);
  if (!(address in tables[table])) refuse(2);
  return tables[table][address];
};
const write = (table) => (address, value) => {
  read(table)(address);
  tables[table][address] = value;
  say({ table, address, value });
};
const vector = {
  getCoil: read("coil"),
  getDiscreteInput: read("discrete"),
  getHoldingRegister: read("holding"),
  getInputRegister: read("input"),
  setCoil: write("coil"),
  setRegister: write("holding"),
};
const server = new ServerTCP(vector, { host: "127.0.0.1", port: Number(port), unitID: 3 });
server.on("initialized", () => say({ event: "listening" }));
server.on("serverError", (error) => say({ event: "error", text: String(error) }));
server.on("socketError", () => {});
