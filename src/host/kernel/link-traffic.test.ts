import { expect, it } from "vitest";
import { parseLinkTraffic } from "./link-traffic.ts";

it("reads the bytes of each link, both ways", () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  176436    1024    0    0    0     0          0         0   176436    1024    0    0    0     0       0          0
vb0123456789: 5 1 0 0 0 0 0 0 7000000000 2 0 0 0 0 0 0
`;
  expect([...parseLinkTraffic(text)]).toEqual([
    ["lo", { receivedBytes: 176_436, sentBytes: 176_436 }],
    ["vb0123456789", { receivedBytes: 5, sentBytes: 7_000_000_000 }],
  ]);
});
