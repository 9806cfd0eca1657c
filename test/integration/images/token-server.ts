/** A token server for docker-registry's `token` auth (distribution, token authentication): JWTs signed with a certificate of its own. */
import { execFileSync } from "node:child_process";
import { createSign, randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TokenServer extends AsyncDisposable {
  readonly realm: string;
  /** PEM, for the registry's `rootcertbundle`. */
  readonly certificate: string;
  /** "GET scope by user", "POST scope by refresh token". */
  readonly requests: string[];
}

export const tokenUser = { username: "alice", password: "wonder" } as const;
export const refreshToken = "refresh-me";

export async function startTokenServer(service: string): Promise<TokenServer> {
  const directory = mkdtempSync(join(tmpdir(), "berth-token-"));
  execFileSync(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=token"].concat([
      "-keyout",
      join(directory, "key.pem"),
      "-out",
      join(directory, "cert.pem"),
    ]),
    { stdio: "ignore" },
  );
  const key = readFileSync(join(directory, "key.pem"));
  const certificate = readFileSync(join(directory, "cert.pem"), "utf8");
  rmSync(directory, { recursive: true });
  const x5c = [certificate.replace(/-----[A-Z ]+-----|\s/g, "")];
  const requests: string[] = [];

  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://token");
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const form = new URLSearchParams(body);
    const basic = Buffer.from((request.headers.authorization ?? "").replace("Basic ", ""), "base64").toString();
    const isUser =
      basic === `${tokenUser.username}:${tokenUser.password}` || form.get("refresh_token") === refreshToken;
    const scopes = request.method === "POST" ? (form.get("scope") ?? "").split(" ") : url.searchParams.getAll("scope");
    requests.push(`${request.method} ${scopes.join(" ")} by ${isUser ? "alice" : "nobody"}`);
    if (!isUser && (basic !== "" || form.has("refresh_token"))) {
      response.writeHead(401, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code: "UNAUTHORIZED", message: "wrong password" }] }));
      return;
    }
    const access = scopes.map((scope) => {
      const [type = "", name = "", actions = ""] = scope.split(":");
      // Everyone may pull what is public; alice may do all.
      const allowed = isUser ? actions.split(",") : name.startsWith("public/") ? ["pull"] : [];
      return { type, name, actions: allowed };
    });
    const now = Math.floor(Date.now() / 1000);
    const encode = (json: object) => Buffer.from(JSON.stringify(json)).toString("base64url");
    const claims = { iss: "token", sub: "alice", aud: service, exp: now + 120, nbf: now - 10, iat: now - 10 };
    const signed = `${encode({ typ: "JWT", alg: "RS256", x5c })}.${encode({ ...claims, jti: randomUUID(), access })}`;
    const token = `${signed}.${createSign("RSA-SHA256").update(signed).sign(key).toString("base64url")}`;
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ token, expires_in: 120 }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no address");
  return {
    realm: `http://127.0.0.1:${address.port}/token`,
    certificate,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
