// A stand-in for mendhak/udp-listener: logs what it receives.
"use strict";
const socket = require("node:dgram").createSocket("udp4");
socket.on("message", (message) => console.log(String(message)));
socket.bind(5005, () => console.log("Listening on UDP port 5005"));
