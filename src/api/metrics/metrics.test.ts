import { beforeEach, describe, expect, it } from "vitest";
import { silentLogger } from "../../base/logger.ts";
import { createDockerApi } from "../docker/api.ts";
import { type FakeBackend, fakeBackend } from "../docker/fake/fake-backend.ts";
import { prometheusText } from "./prometheus-text.ts";
import { RequestMetrics } from "./request-metrics.ts";
import { metricsRoutes } from "./routes.ts";

describe("prometheusText", () => {
  it("escapes, and leaves out what has no samples", () => {
    const text = prometheusText([
      { name: "a_total", help: "one\ntwo", type: "counter", samples: [{ labels: { name: 'q"\\\n' }, value: 3 }] },
      { name: "b", help: "nothing", type: "gauge", samples: [] },
      { name: "c", help: "whole", type: "gauge", samples: [{ value: Number.POSITIVE_INFINITY }] },
    ]);
    expect(text).toBe(
      '# HELP a_total one\\ntwo\n# TYPE a_total counter\na_total{name="q\\"\\\\\\n"} 3\n# HELP c whole\n# TYPE c gauge\nc +Inf\n',
    );
  });
});

describe("RequestMetrics", () => {
  it("counts by route and status, and sums the buckets up", () => {
    const requests = new RequestMetrics();
    const one = { method: "GET", route: "/x/{id}", status: 200, streamed: false };
    requests.observe({ ...one, seconds: 0.0005 });
    requests.observe({ ...one, seconds: 0.02 });
    requests.observe({ ...one, status: 404, seconds: 99 });
    requests.observe({ ...one, streamed: true, seconds: 1000 });
    const text = prometheusText(requests.families());
    expect(text).toContain('berth_api_requests_total{method="GET",route="/x/{id}",status="200"} 3\n');
    expect(text).toContain('berth_api_requests_total{method="GET",route="/x/{id}",status="404"} 1\n');
    expect(text).toContain('_bucket{method="GET",route="/x/{id}",le="0.001"} 1\n');
    expect(text).toContain('_bucket{method="GET",route="/x/{id}",le="0.025"} 2\n');
    expect(text).toContain('_bucket{method="GET",route="/x/{id}",le="+Inf"} 3\n');
    expect(text).toContain('_count{method="GET",route="/x/{id}"} 3\n');
  });
});

describe("GET /metrics", () => {
  let backend: FakeBackend;
  let api: ReturnType<typeof createDockerApi>;

  beforeEach(() => {
    backend = fakeBackend();
    backend.images.add("busybox", { Cmd: ["sh"] });
    const requests = new RequestMetrics();
    api = createDockerApi({
      backend,
      log: silentLogger,
      routes: metricsRoutes(requests),
      observe: (observed) => requests.observe(observed),
    });
  });

  async function scrape(): Promise<string> {
    const answer = await api.inject({ method: "GET", url: "/metrics" });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    return answer.body;
  }

  it("tells containers by state, the process and the requests by their route", async () => {
    await api.inject({
      method: "POST",
      url: "/containers/create?name=one",
      payload: { Image: "busybox", Cmd: ["sleep"] },
    });
    await api.inject({ method: "GET", url: "/v1.44/containers/one/json" });
    await api.inject({ method: "GET", url: "/containers/two/json" });
    const text = await scrape();
    expect(text).toContain('berth_containers{state="created"} 1\n');
    expect(text).toContain('berth_containers{state="running"} 0\n');
    expect(text).toMatch(/^process_resident_memory_bytes [1-9]\d+$/m);
    expect(text).toContain('{method="GET",route="/containers/{id}/json",status="200"} 1\n');
    expect(text).toContain('{method="GET",route="/containers/{id}/json",status="404"} 1\n');
    expect(text).not.toContain("berth_container_cpu_seconds_total");
  });

  it("reads each running container once, and once for scrapes at the same time", async () => {
    await api.inject({
      method: "POST",
      url: "/containers/create?name=one",
      payload: { Image: "busybox", Cmd: ["sleep"] },
    });
    await api.inject({ method: "POST", url: "/containers/one/start" });
    const usage = backend.instances.usage.bind(backend.instances);
    let readings = 0;
    backend.instances.usage = async (...words) => {
      readings++;
      return await usage(...words);
    };
    const [first, second] = await Promise.all([scrape(), scrape()]);
    expect(first).toMatch(/^berth_container_memory_working_set_bytes\{id="[0-9a-f]{12}",name="one"\} \d+$/m);
    expect(second).toContain("berth_container_cpu_seconds_total{");
    expect(readings).toBe(1);
  });
});
