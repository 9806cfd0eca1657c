import { humanDuration } from "../../base/human-duration.ts";
import { describe, expect, it } from "vitest";
import { printListing } from "./listing.ts";
import { renderTable } from "./table.ts";
import { compileTemplate } from "./template.ts";
import { binarySize, decimalSize, goTime, parseDuration, parseSize } from "./units.ts";

const container = {
  Name: "/web",
  State: { Status: "running", Pid: 12, Running: true, Health: null },
  Config: { Env: ["A=1", "B=2"], Labels: { z: "1", a: "2" } },
  NetworkSettings: { Ports: { "80/tcp": [{ HostIp: "0.0.0.0", HostPort: "8080" }] } },
};

describe("listings", () => {
  const columns = [
    { heading: "NAME", field: "Name", value: ({ name }: Row) => name },
    { heading: "", field: "Label", value: () => "", lookUp: ({ labels }: Row, key: string) => labels[key] ?? "" },
  ];
  interface Row {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
  }
  const row: Row = { name: "web", labels: { tier: "front" } };
  const print = (format?: string): string => {
    let text = "";
    printListing({ stdout: { write: (chunk: string) => void (text += chunk) } }, columns, [row], format);
    return text;
  };

  it("have fields that look something up, in templates only", () => {
    expect(print('{{.Name}} {{.Label "tier"}}')).toBe("web front\n");
    expect(print('table {{.Name}}\t{{.Label "tier"}}')).toBe("NAME      tier\nweb       front\n");
    expect(print("json")).toBe('{"Name":"web"}\n');
    expect(print()).toBe("NAME\nweb\n");
  });

  it("refuse fields that they lack", () => {
    expect(() => print("{{.Nmae}}")).toThrow("there is no field Nmae (there are Name, Label)");
    expect(() => print('{{.Name "x"}}')).toThrow("only a field that is a function takes an argument");
  });
});

describe("templates", () => {
  it.each([
    ["{{.State.Status}}", "running"],
    ["{{ .Name }}: {{.State.Pid}}", "/web: 12"],
    ["{{json .Config.Env}}", '["A=1","B=2"]'],
    ["{{.Config.Env}}", "[A=1 B=2]"],
    ["{{.Config.Labels}}", "map[a:2 z:1]"],
    ["{{.Missing}}", "<no value>"],
    ["{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"],
    ["{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{end}}", "0=A=1;1=B=2;"],
    ["{{range $k, $v := .Config.Labels}}{{$k}}{{$v}}{{end}}", "a2z1"],
    ["{{range .State.Health}}x{{else}}none{{end}}", "none"],
    ["{{if .State.Running}}up{{else}}down{{end}}", "up"],
    ['{{if eq .State.Status "exited" "dead"}}a{{else if .State.Health}}b{{else}}c{{end}}', "c"],
    ["{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "12 /web"],
    ['{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"],
    ['{{index .NetworkSettings.Ports "80/tcp" 0 "HostPort"}}', "8080"],
    ['{{join .Config.Env ", " | upper}}', "A=1, B=2"],
    ['{{printf "%-5s|%3d|%q" .State.Status 7 "x"}}', 'running|  7|"x"'],
    ["a {{- .State.Pid -}} b", "a12b"],
    ["{{len .Config.Env}} {{not .State.Running}} {{and 1 0}} {{or 0 2}}", "2 false 0 2"],
    ["{{/* note */}}x", "x"],
    ["{{$n := .Name}}{{$n}}", "/web"],
    ['{{"a}}b"}}', "a}}b"],
  ])("%s", (template, expected) => expect(compileTemplate(template)(container)).toBe(expected));

  it.each(["{{.A", "{{range .A}}", "{{end}}", "{{nosuch .A}}", "{{.A | .B}}", "{{(.A}}", "{{}}"])(
    "refuses %s",
    (template) => expect(() => compileTemplate(template)).toThrow(/template parsing error/),
  );
});

it("pads columns by the widest cell and leaves no trailing space", () => {
  expect(
    renderTable(
      ["A", "LONG"],
      [
        ["long cell", ""],
        ["x", "y"],
      ],
    ),
  ).toBe("A           LONG\nlong cell\nx           y\n");
});

describe("units", () => {
  it("writes times as Go does", () => {
    const text = goTime(Date.parse("2026-01-31T10:00:00.500Z"));
    expect(text).toMatch(/^2026-\d\d-\d\d \d\d:\d\d:00 [+-]\d{4} \S+$/);
    expect(Date.parse(text.split(" ").slice(0, 3).join(" "))).toBe(Date.parse("2026-01-31T10:00:00Z"));
  });

  it("writes sizes and durations as docker does", () => {
    expect([0, 999, 1000, 117_000_000, 1_500_000_000].map((bytes) => decimalSize(bytes))).toEqual([
      "0B",
      "999B",
      "1kB",
      "117MB",
      "1.5GB",
    ]);
    expect(binarySize(536_870_912)).toBe("512MiB");
    expect([500, 1000, 59_000, 60_000, 3_000_000, 3_700_000, 86_400_000, 3 * 86_400_000].map(humanDuration)).toEqual([
      "Less than a second",
      "1 second",
      "59 seconds",
      "About a minute",
      "50 minutes",
      "About an hour",
      "24 hours",
      "3 days",
    ]);
  });

  it("reads sizes and durations, and nothing else", () => {
    expect(["64", "512m", "1.5GiB", "2kb", "-1", "10x", ""].map(parseSize)).toEqual([
      64,
      536_870_912,
      1_610_612_736,
      2048,
      -1,
      undefined,
      undefined,
    ]);
    expect(["1m30s", "500ms", "1.5h", "10", "3 weeks"].map(parseDuration)).toEqual([90e9, 5e8, 5400e9, 10, undefined]);
  });
});
