// A browser that looks at the dashboard and notices whatever a page must not do: errors in its console, violations of its policy,
// requests to anywhere but the daemon, two requests of one kind at once.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { TOKEN, until } from "./daemon.mjs";

const require = createRequire(new URL("../../dashboard/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });

/** A window with what is noticed in it. */
export class Window {
  static async open(browser, daemon, { width = 1_440, colours = "light", isSignedIn = true } = {}) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: colours });
    const window = new Window();
    Object.assign(window, { context, daemon, faults: [], isAway: false, requests: 0, asked: [] });
    if (isSignedIn) await context.addInitScript((token) => sessionStorage.setItem("musher.token", token), TOKEN);
    window.page = await window.tab();
    return window;
  }

  async tab() {
    const page = await this.context.newPage();
    page.setDefaultTimeout(15_000);
    const note = (fault) => this.faults.push(`${page.url()}: ${fault}`);
    page.on("pageerror", (error) => note(error.stack ?? error.message));
    page.on("console", (message) => {
      if (!["error", "warning"].includes(message.type())) return;
      const isGone = this.isAway && /Failed to load resource|ERR_/.test(message.text());
      const isRefused = this.isRefused && /status of [45]\d\d/.test(message.text());
      if (!isGone && !isRefused) note(message.text());
    });
    const under = new Map();
    const doubled = new Set();
    page.on("request", (request) => {
      const url = request.url();
      this.requests += 1;
      if (!url.startsWith(`${this.daemon.url}/`) && !url.startsWith("blob:")) note(`it asks ${url}`);
      if (request.method() !== "GET" || !url.includes("/api/")) return;
      this.asked.push({ url, at: Date.now() });
      // Who goes to another page gives up what is under way, of which the browser tells a little later.
      const first = under.get(url);
      if (first?.at === page.url()) doubled.add(first.request);
      under.set(url, { request, at: page.url() });
    });
    // On one page two were at a time if the first one had an answer.
    const over = (request) => {
      if (under.get(request.url())?.request === request) under.delete(request.url());
      return doubled.delete(request);
    };
    page.on("requestfinished", (request) => over(request) && note(`two at a time of ${request.url()}`));
    page.on("requestfailed", over);
    return page;
  }

  /** When what was asked for. */
  asks(what) {
    return this.asked.filter(({ url }) => what.test(url)).map(({ at }) => at);
  }

  /** Goes to a page, and waits until it shows something. */
  async go(path, page = this.page) {
    await page.goto(`${this.daemon.url}/#/${path}`);
    await page.locator("main h1").waitFor();
    await until("the page shows something", async () => (await page.locator("main .waits").count()) === 0);
  }

  /** Presses a button of the page, answers the question that comes, and waits for what is said then. */
  async act(button, { verb, fields = {}, said, within = this.page.locator("main") }) {
    await within.getByRole("button", { name: button, exact: true }).click();
    if (verb !== undefined) {
      const dialog = this.page.getByRole("dialog");
      for (const [label, value] of Object.entries(fields)) await dialog.getByLabel(label).fill(value);
      await dialog.getByRole("button", { name: verb, exact: true }).click();
      await dialog.waitFor({ state: "detached" });
    }
    await this.says(said);
  }

  async says(text) {
    const box = this.page.locator(".said", { hasText: text });
    await box.waitFor();
    await box.getByRole("button", { name: "Dismiss" }).click();
  }

  /** What a screen reader, a keyboard, or weak eyes would stumble over. */
  async stumbles() {
    if (!(await this.page.evaluate(() => "axe" in globalThis))) await this.page.evaluate(`${axe};0`);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
    return violations.map(({ id, help, nodes }) => `${this.page.url()} ${id}: ${help}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`);
  }

  async close() {
    // What stands between the page and the daemon may be in the middle of a question.
    for (const page of this.context.pages()) await page.unrouteAll({ behavior: "ignoreErrors" });
    await this.context.close();
    assert.deepEqual(this.faults, []);
  }
}
