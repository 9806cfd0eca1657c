import { describe, expect, it } from "vitest";
import { OrderedOutput } from "./output.ts";

describe("OrderedOutput", () => {
  it("lets channels speak one after the other, the first at once", () => {
    const heard: string[] = [];
    const output = new OrderedOutput(({ stream }) => void heard.push(stream ?? ""));
    const [one, two, three] = [output.channel(), output.channel(), output.channel()];
    two.sink({ stream: "2a" });
    one.sink({ stream: "1a" });
    three.sink({ stream: "3a" });
    two.end();
    expect(heard).toEqual(["1a"]);
    one.end();
    expect(heard).toEqual(["1a", "2a", "3a"]);
    three.sink({ stream: "3b" });
    expect(heard.at(-1)).toBe("3b");
  });

  it("prints all that is held when it is over", () => {
    const heard: string[] = [];
    const output = new OrderedOutput(({ stream }) => void heard.push(stream ?? ""));
    output.channel();
    const late = output.channel();
    late.sink({ stream: "held" });
    output.flush();
    expect(heard).toEqual(["held"]);
  });
});
