// A server of the npm package node-opcua-server, told what to do by lines of JSON on standard input:
// {"do": "write", "node": "A", "value": 1.5, "code": 0}. It answers each with a line on standard output.
// Below the object Boiler, which reports to the Server object: A, B and P, 0 to 200 each, and an alarm of P above 100.
"use strict";
const readline = require("readline");
const { OPCUAServer } = require("node-opcua-server");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { coerceStatusCode } = require("node-opcua-status-code");
const { DataType } = require("node-opcua-variant");

// folder: for certificates; before: namespaces to register before the plant's own, so that its number is another.
const { port, uri, folder, before, certificate, key, application } = JSON.parse(process.argv[2]);
const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");

const main = async () => {
  const server = new OPCUAServer({
    host: "127.0.0.1",
    port,
    resourcePath: "/plant",
    // A client whose certificate nobody has put aside is let in: who is trusted is not what this server is to show.
    serverCertificateManager: new OPCUACertificateManager({
      rootFolder: folder,
      automaticallyAcceptUnknownCertificate: true,
    }),
    // The application is that of the certificate.
    ...(certificate ? { certificateFile: certificate, privateKeyFile: key, serverInfo: { applicationUri: application } } : {}),
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  space.installAlarmsAndConditionsService();
  for (const other of before) space.registerNamespace(other);
  const plant = space.registerNamespace(uri);
  const boiler = plant.addObject({
    browseName: "Boiler",
    nodeId: "s=Boiler",
    organizedBy: space.rootFolder.objects,
    notifierOf: space.rootFolder.objects.server,
    eventNotifier: 1,
  });
  const nodes = {};
  const add = (name) => {
    nodes[name] = plant.addAnalogDataItem({
      browseName: name,
      nodeId: `s=${name}`,
      componentOf: boiler,
      eventSourceOf: boiler,
      dataType: "Double",
      value: { dataType: DataType.Double, value: 0 },
      engineeringUnitsRange: { low: 0, high: 200 },
    });
  };
  ["A", "B", "P"].forEach(add);
  const alarm = plant.instantiateExclusiveLimitAlarm("ExclusiveLimitAlarmType", {
    browseName: "Pressure",
    nodeId: "s=Pressure",
    componentOf: boiler,
    conditionSource: nodes.P,
    conditionName: "Pressure",
    inputNode: nodes.P,
    highHighLimit: 150,
    highLimit: 100,
    lowLimit: -50,
    lowLowLimit: -100,
    optionals: ["ConfirmedState", "Confirm"],
  });
  const acts = {
    write: ({ node, value, code, time }) =>
      nodes[node].setValueFromSource(
        { dataType: DataType.Double, value },
        coerceStatusCode(code || 0),
        time ? new Date(time) : new Date(),
      ),
    event: ({ message, severity }) =>
      boiler.raiseEvent("SystemEventType", {
        message: { dataType: DataType.LocalizedText, value: { text: message } },
        severity: { dataType: DataType.UInt16, value: severity },
      }),
    add: ({ node }) => add(node),
    cut: () => server.endpoints.forEach((endpoint) => endpoint.abruptlyInterruptChannels()),
    acknowledge: () => alarm._acknowledge_branch(alarm.currentBranch().getEventId(), "seen", alarm.currentBranch(), "test"),
  };
  await server.start();
  say({ event: "started", index: plant.index });
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const { do: what, ...rest } = JSON.parse(line);
    acts[what](rest);
    say({ event: "done", what });
  });
};

main().catch((error) => {
  say({ event: "failed", text: String(error && error.stack) });
  process.exit(1);
});
