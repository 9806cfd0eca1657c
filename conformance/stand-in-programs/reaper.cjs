// A stand-in for testcontainers' reaper: takes filters ("label=…" a line) and, when no client has been connected for a while,
// removes what they find. Runs in a container with the engine's socket.
"use strict";
const { createServer } = require("node:net");
const { request } = require("node:http");

const kinds = [
  { path: "/containers", list: "/containers/json?all=1&", id: "Id", remove: "?force=1&v=1" },
  { path: "/networks", list: "/networks?", id: "Id", remove: "" },
  { path: "/volumes", list: "/volumes?", id: "Name", remove: "?force=1" },
  { path: "/images", list: "/images/json?", id: "Id", remove: "?force=1" },
];
const patienceMs = 1000 * (Number.parseInt(process.env.RYUK_RECONNECTION_TIMEOUT ?? "10", 10) || 10);
const filters = new Set();
let clients = 0;
let timer;

createServer((socket) => {
  clients++;
  clearTimeout(timer);
  let text = "";
  socket.on("data", (chunk) => {
    const lines = (text += chunk).split("\n");
    text = lines.pop();
    for (const line of lines) {
      if (line.trim() !== "") filters.add(line.trim());
      socket.write("ACK\n");
    }
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    clients--;
    if (clients === 0) timer = setTimeout(() => void reap(), patienceMs);
  });
}).listen(8080, () => console.log("Started!"));

async function reap() {
  for (const filter of filters) {
    const [, name, value] = /^(\w+)=(.*)$/.exec(filter) ?? [];
    for (const { path, list, id, remove } of kinds) {
      const found = await call("GET", `${list}filters=${encodeURIComponent(JSON.stringify({ [name]: [value] }))}`);
      for (const item of found.Volumes ?? (Array.isArray(found) ? found : [])) {
        await call("DELETE", `${path}/${item[id]}${remove}`);
      }
    }
  }
  process.exit(0);
}

function call(method, path) {
  return new Promise((resolve) => {
    const asked = request({ socketPath: "/var/run/docker.sock", method, path }, (response) => {
      let body = "";
      response.on("data", (chunk) => (body += chunk));
      response.on("end", () => resolve(body === "" ? {} : JSON.parse(body)));
    });
    asked.on("error", () => resolve({}));
    asked.end();
  });
}
