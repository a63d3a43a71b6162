// A daemon with a directory, an address and a token of its own, and what the tests ask of it past the dashboard.

import { execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const TOKEN = "0123456789abcdef0123456789abcdef-dashboard";
const DEADLINE_MS = 20_000;

/** Waits until `look` says something, with a deadline. */
export async function until(what, look) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
    await new Promise((wake) => setTimeout(wake, 25));
  }
}

/** A port that nobody has. The daemon is to have the same one again after it was killed. */
const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

export class Daemon {
  constructor(program, dir, port) {
    this.program = program;
    this.dir = dir;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.socket = join(dir, "musher.sock");
  }

  static async start(program, config) {
    const dir = mkdtempSync(join(tmpdir(), "musher-dashboard-"));
    const daemon = new Daemon(program, dir, await freePort());
    const tokens = join(dir, "tokens");
    writeFileSync(tokens, `${process.getuid()} ${TOKEN}\n`);
    chmodSync(tokens, 0o600);
    const own = `[daemon]\nhttp = "127.0.0.1:${daemon.port}"\nhttp_tokens = ${JSON.stringify(tokens)}\ndata = ${JSON.stringify(join(dir, "data"))}\ndrain_timeout = "1s"\n`;
    writeFileSync(join(dir, "musher.toml"), own + config);
    await daemon.serve();
    return daemon;
  }

  async serve() {
    const log = join(this.dir, "log");
    const script = 'exec "$0" serve --config "$1/musher.toml" --socket "$1/musher.sock" >>"$1/log" 2>&1';
    this.child = spawn("sh", ["-c", script, this.program, this.dir], { stdio: "ignore" });
    this.child.once("exit", (code) => (this.exitCode = code));
    this.exitCode = undefined;
    await until("the daemon serves", async () => {
      if (this.exitCode !== undefined) throw new Error(`the daemon has ended:\n${readFileSync(log, "utf8")}`);
      return fetch(`${this.url}/readyz`).then(({ ok }) => ok, () => false);
    });
  }

  async kill() {
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await gone;
  }

  /** Ends it, with all that it runs, and removes what it has. */
  async end() {
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGTERM");
    const late = setTimeout(() => this.child.kill("SIGKILL"), 15_000);
    if (this.exitCode === undefined) await gone;
    clearTimeout(late);
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Asks the API; what is answered without a body is null. */
  async ask(what, body) {
    const [method, path] = what.split(/ (.*)/);
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { Authorization: `Bearer ${TOKEN}` },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${what}: ${response.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** Submits jobs; answers their ids. */
  async submit(...jobs) {
    const { jobs: receipts } = await this.ask("POST /jobs", jobs);
    return receipts.map(({ id }) => id);
  }

  claim(queue, max = 1, leaseMs = 600_000) {
    return this.ask("POST /claim", { queues: [queue], max, lease_ms: leaseMs }).then(({ jobs }) => jobs);
  }

  settle(...items) {
    return this.ask("POST /settle", { items });
  }

  job(id) {
    return this.ask(`GET /jobs/${id}`);
  }

  /** Runs a verb of the program, and answers what it prints. */
  musher(args, input) {
    return execFileSync(this.program, ["--socket", this.socket, ...args], { input, encoding: "utf8", cwd: this.dir });
  }
}
