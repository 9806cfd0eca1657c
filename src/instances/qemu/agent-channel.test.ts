import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { frameType, frameWindow } from "../../guest/frames.ts";
import type { OutputFrame } from "../driver.ts";
import { FakeAgent, type FakeAgentClient } from "../fake/fake-agent.ts";
import { AgentChannel } from "./agent-channel.ts";
import { connectToAgent } from "./agent-socket.ts";

async function open(onOpen: (client: FakeAgentClient) => void) {
  const agent = await FakeAgent.start(onOpen);
  const channel = new AgentChannel(await connectToAgent(agent.runDir), [["verb", "exec"]]);
  return { agent, channel, client: () => agent.clients[0] };
}

async function text(channel: AgentChannel, stream: OutputFrame["stream"]): Promise<string> {
  let all = "";
  for await (const frame of channel.output) {
    const { stream: of, data }: OutputFrame = frame;
    if (of === stream) all += Buffer.from(data).toString();
  }
  return all;
}

describe("a request to the agent", () => {
  it("passes streams and the exit code on", async () => {
    const { agent, channel, client } = await open((opened) => {
      opened.send(frameType.started, [["pid", "7"]]);
      opened.data("out");
      opened.data("err", 2);
      opened.exit(3);
    });
    await using _ = agent;
    expect(await channel.answer).toEqual([["pid", "7"]]);
    expect(await text(channel, "stdout")).toBe("out");
    expect(await channel.exited).toBe(3);
    expect(client()?.get("verb")).toBe("exec");
  });

  it("gives credit only for what was read: a reader that stalls holds up the guest, and nothing here grows", async () => {
    const piece = "x".repeat(32 * 1024);
    const { agent, channel, client } = await open((opened) => {
      opened.send(frameType.started);
      for (let n = 0; n < 8; n++) opened.data(piece);
    });
    await using _ = agent;
    await channel.answer;
    await delay(20);
    const credits = () => client()?.frames.filter(({ type }) => type === frameType.credit).length ?? 0;
    expect(credits()).toBe(0);
    const reading = text(channel, "stdout");
    await expect.poll(credits).toBe(8);
    client()?.exit(0);
    expect((await reading).length).toBe(8 * piece.length);
  });

  it("sends no more input than the window has, and the end after all of it", async () => {
    const { agent, channel, client } = await open((opened) => opened.send(frameType.started));
    await using _ = agent;
    await channel.answer;
    channel.stdin.end(Buffer.alloc(frameWindow + 1000, "a"));
    await expect.poll(() => client()?.input().length).toBe(frameWindow);
    await delay(20);
    expect(client()?.input().length).toBe(frameWindow);
    client()?.credit(5000);
    await expect.poll(() => client()?.frames.at(-1)?.type).toBe(frameType.end);
    expect(client()?.input().length).toBe(frameWindow + 1000);
  });

  it("is over when the connection is: the answer fails, output ends, input goes nowhere", async () => {
    const { agent, channel } = await open((opened) => opened.leave());
    await using _ = agent;
    await expect(channel.answer).rejects.toMatchObject({ kind: "lost" });
    await expect(channel.exited).rejects.toMatchObject({ kind: "lost" });
    expect(await text(channel, "stdout")).toBe("");
    await new Promise<void>((resolve) => channel.stdin.end("x", resolve));
  });

  it("has the agent's error with its kind and number", async () => {
    const { agent, channel } = await open((opened) => {
      opened.send(frameType.error, [
        ["kind", "system"],
        ["message", "/x: No such file or directory"],
        ["errno", "2"],
      ]);
      opened.send(frameType.closed);
    });
    await using _ = agent;
    await expect(channel.answer).rejects.toMatchObject({
      kind: "system",
      errno: 2,
      message: expect.stringMatching(/^\/x/),
    });
  });

  it("ends with a guest that talks nonsense", async () => {
    const { agent, channel } = await open((opened) => opened.send(frameType.closed));
    await using _ = agent;
    await expect(channel.answer).rejects.toMatchObject({ kind: "protocol" });
  });

  it("reads on for nobody once it is left", async () => {
    const { agent, channel, client } = await open((opened) => {
      opened.send(frameType.started);
      opened.data("nobody's");
    });
    await using _ = agent;
    channel.discard();
    await expect.poll(() => client()?.frames.some(({ type }) => type === frameType.credit)).toBe(true);
    expect(await text(channel, "stdout")).toBe("");
  });
});
