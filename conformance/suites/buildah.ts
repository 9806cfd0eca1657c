/** Buildah's conformance builds: Dockerfiles that must build, or fail, as they do with Docker. */
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ImageOptions } from "../../test/support/busybox-image.ts";
import { runCommand } from "../../test/support/run-command.ts";
import { findSource } from "../sources.ts";
import { busyboxStandIn } from "../stand-ins.ts";
import type { CaseResult, Subject, Suite } from "../suite.ts";
import { type BuildCase, parseBuildCases } from "./buildah/build-cases.ts";

const testsDirectory = "tests/conformance";
const buildTimeoutMs = 120_000;

export const buildah: Suite = {
  name: "buildah",
  about:
    "Buildah's conformance builds (`tests/conformance`): each is built through the docker client without BuildKit, and must succeed, or fail where the case says that a build fails. What is in the image is not compared. Cases whose context Buildah's test program makes by code of its own, and those that it does not build with Docker, are skipped.",
  needs: [{ program: "docker", package: "docker-cli" }],
  engine: true,
  fetch: async (request) =>
    await findSource(
      "buildah",
      {
        holds: join(testsDirectory, "testdata"),
        keptVersion: "1.43.2+ds1",
        debian: [{ package: "golang-github-containers-buildah" }],
      },
      request,
    ),
  images: async () => [
    { ...busyboxStandIn(["mirror.gcr.io/busybox:latest"], furniture), preload: true },
    { ...busyboxStandIn(["mirror.gcr.io/alpine:latest"], furniture), preload: true },
    { ...busyboxStandIn(["quay.io/libpod/centos:7"], furniture), preload: true },
    busyboxStandIn(["docker.io/library/busybox:latest"]),
    busyboxStandIn(["docker.io/library/alpine:latest"]),
  ],
  run: async (subject) => {
    const { source, only, say } = subject;
    const text = await readFile(join(source.directory, testsDirectory, "conformance_test.go"), "utf8");
    const cases: CaseResult[] = [];
    for (const one of parseBuildCases(text)) {
      if (only.length > 0 && !only.some((part) => one.name.includes(part))) continue;
      subject.signal.throwIfAborted();
      if (only.length > 0) say(one.name);
      cases.push(await buildCase(one, subject));
    }
    return cases;
  },
};

/** What the builds expect to find in their base images. */
const furniture: Omit<ImageOptions, "tags"> = {
  files: {
    "etc/group": "root:x:0:\nbin:x:1:\nadm:x:4:\nnogroup:x:65534:\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nbin:x:1:1:bin:/bin:/bin/sh\nadm:x:3:4:adm:/var/adm:/bin/sh\n",
    "etc/os-release": "NAME=stand-in\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    "usr/bin/.keep": "",
    "bin/bash": Buffer.from('#!/bin/sh\nexec /bin/sh "$@"\n'),
  },
};

async function buildCase(one: BuildCase, subject: Subject): Promise<CaseResult> {
  const { name } = one;
  const needs = one.skip ?? (await digestOf(one, subject));
  if (needs !== undefined) return { name, outcome: "skipped", reason: needs };
  const context = join(subject.work, "context");
  await rm(context, { recursive: true, force: true });
  await fillContext(one, join(subject.source.directory, testsDirectory, "testdata"), context);
  const file = one.dockerfile === "" ? "Dockerfile" : one.dockerfile;
  const words = [
    "build",
    "--no-cache",
    ...Object.entries(one.buildArgs).map(([key, value]) => `--build-arg=${key}=${value}`),
    "--file",
    join(context, file),
    context,
  ];
  const { code, stdout, stderr } = await runCommand("docker", words, {
    env: {
      DOCKER_HOST: `unix://${subject.socket}`,
      DOCKER_CONFIG: join(subject.work, "docker-config"),
      DOCKER_BUILDKIT: "0",
    },
    timeoutMs: buildTimeoutMs,
  });
  if ((code !== 0) === one.fails) return { name, outcome: "passed" };
  const output = `${stdout}\n${stderr.replace(/DEPRECATED:[^]*?\n\n/, "")}`.trim().split("\n");
  const detail = one.fails ? "it builds, and should not" : output.slice(-3).join("\n");
  return { name, outcome: "failed", detail };
}

/** An image by its digest can be had from the internet only. */
async function digestOf(one: BuildCase, { source }: Subject): Promise<string | undefined> {
  const file = join(source.directory, testsDirectory, "testdata", one.contextDir, one.dockerfile || "Dockerfile");
  const text = one.contents ?? (await readFile(file, "utf8").catch(() => ""));
  return /^\s*FROM .*@sha256:/im.test(text) || /--from=\S+@sha256:/.test(text)
    ? "needs an image by its digest, from the internet"
    : undefined;
}

/** As Buildah's own test program does it: the directory, or the Dockerfile alone, and then the lines of the case. */
async function fillContext(
  { contextDir, dockerfile, contents }: BuildCase,
  testdata: string,
  context: string,
): Promise<void> {
  if (contextDir !== "") await cp(join(testdata, contextDir), context, { recursive: true, verbatimSymlinks: true });
  else await mkdir(context, { recursive: true });
  if (contextDir === "" && dockerfile !== "") {
    await mkdir(dirname(join(context, dockerfile)), { recursive: true });
    await cp(join(testdata, dockerfile), join(context, dockerfile));
  }
  if (contents !== undefined) await writeFile(join(context, dockerfile === "" ? "Dockerfile" : dockerfile), contents);
}
