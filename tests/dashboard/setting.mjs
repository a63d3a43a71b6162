// A daemon in the middle of its work and a browser, which the tests of a file have together.

import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { launch, Window } from "./browser.mjs";
import { Daemon } from "./daemon.mjs";
import { config, fill, work } from "./town.mjs";

export const PICTURES = new URL("../../target/dashboard/", import.meta.url).pathname;
const MORE = `
[queues.broken]
circuit = { failures = 2, probe = "1h" }
attempts = 9
[limits]
frame = "16MiB"
`;

export let daemon;
/** Of jobs that pages are opened of. */
export let ids;
let stopWork;
let browser;

before(async () => {
  mkdirSync(PICTURES, { recursive: true });
  const program = process.env.PROGRAM;
  [browser, daemon] = await Promise.all([launch(), Daemon.start(program, config(program) + MORE)]);
  ids = await fill(daemon);
  stopWork = work(daemon);
});

after(async () => {
  await stopWork?.();
  await browser?.close();
  await daemon?.end();
});

/** A test with a window of its own, in which nothing was noticed at its end. */
export const shows = (name, look, options) =>
  test(name, { timeout: 60_000 }, async () => {
    const window = await Window.open(browser, daemon, options);
    try {
      await look(window, window.page);
    } catch (error) {
      await window.page.screenshot({ path: `${PICTURES}failed.png` }).catch(() => {});
      throw new Error(`${error.message}\n${window.faults.join("\n")}`, { cause: error });
    }
    await window.close();
  });
