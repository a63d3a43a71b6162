// What the pages do when things do not go as they should: streams that break off, answers that are late or too many, jobs that move on,
// tokens that are not known. And that they ask no more than they need.

import assert from "node:assert/strict";
import { TOKEN, until } from "./daemon.mjs";
import { daemon, ids, shows } from "./setting.mjs";

/** By how many milliseconds the browser may tell later of one request than of another. */
const LATE = 500;

shows("output goes on after the daemon was away", async (window, page) => {
  await until("it runs", async () => (await daemon.job(ids.video)).state === "leased");
  await window.go(`jobs/${ids.video}`);
  const last = async () => Number(/frame (\d+) of 400\s*$/.exec(await page.locator("pre.output").innerText())?.[1] ?? 0);
  const before = await until("a frame", last);
  window.isAway = true;
  await daemon.kill();
  await page.getByText(/not answered for [3-9] s/).waitFor();
  await daemon.serve();
  await until("the next frame", async () => (await last()) > before);
  assert.equal(await page.getByRole("alert").filter({ hasText: /\w/ }).count(), 0);
});

shows("output without an end of a line is cut as well", async (window, page) => {
  const text = "x".repeat(150_000);
  await page.route("**/output*", (route) => route.fulfill({ body: `begin${text}${text}end\n` }));
  await window.go(`jobs/${ids.video}`);
  const output = page.locator("pre.output");
  await until("its end", async () => (await output.count()) === 1 && (await output.innerText()).endsWith("end\n"));
  assert.equal((await output.textContent()).length, 200_000);
  await page.getByText("Only the end is shown, 200,000 characters of it.").waitFor();
});

shows("the age of the oldest ready job counts from when it was ready, and costs no list of jobs", async (window, page) => {
  const [id] = await daemon.submit({ queue: "aged", body: "x", delay: "1h" });
  await until("some seconds pass", async () => (await daemon.ask("GET /jobs?queue=aged&older_ms=4000")).jobs.length === 1);
  const kickedAt = Date.now();
  await daemon.ask(`POST /jobs/${id}/kick`);
  await window.go("");
  const cells = page.getByRole("row").filter({ hasText: "aged" }).getByRole("cell");
  await until("its age", async () => Number(/^(\d+) s$/.exec(await cells.nth(5).innerText())?.[1]) * 1_000 <= Date.now() - kickedAt + 1_000);
  await until("the limits are known", () => window.asks(/mails\/settings/).length > 0);
  assert.deepEqual(window.asks(/\/jobs\b/), []);
  await window.go("queues/aged");
  await page.locator(".facts div", { hasText: "Oldest ready" }).getByText(/^\d+ s$/).waitFor();
  await daemon.claim("aged");
  await page.locator(".facts div", { hasText: "Oldest ready" }).getByText("–").waitFor();
});

shows("what takes long to answer is asked for seldom, however much happens", async (window, page) => {
  await page.route("**/api/v1/groups", async (route) => {
    await new Promise((wake) => setTimeout(wake, 600));
    await route.continue();
  });
  await window.go("groups");
  const [first, second] = await until("it asks again", () => window.asks(/groups$/).length > 1 && window.asks(/groups$/));
  assert.ok(second - first >= 6_000, `${second - first} ms from one to the next`);
});

shows("a group asks again when its own jobs change, not for those of others", async (window) => {
  await daemon.submit({ queue: "calm", body: "x", group: "calm-1" });
  await window.go("groups/calm-1");
  const asks = () => window.asks(/groups\/calm-1$/);
  await until("it asks again", () => asks().length > 1);
  assert.ok(asks()[1] - asks()[0] >= 5_000 - LATE, `${asks()[1] - asks()[0]} ms`);
  await daemon.claim("calm");
  await until("it asks again", () => asks().length > 2);
  assert.ok(asks()[2] - asks()[1] < 5_000 - LATE, `${asks()[2] - asks()[1]} ms`);
});

shows("dead jobs are counted again ten seconds later at the soonest", async (window, page) => {
  const die = async () => {
    await daemon.submit({ queue: "dying", body: "x" });
    const [{ lease }] = await daemon.claim("dying");
    await daemon.settle({ lease, outcome: "dead", error: "the end" });
  };
  await die();
  await window.go("dead");
  const asks = () => window.asks(/queue=dying&state=dead/);
  await page.getByRole("row").filter({ hasText: "the end" }).waitFor();
  await die();
  await page.getByRole("row").filter({ hasText: "the end" }).locator("b", { hasText: "2" }).waitFor();
  assert.ok(asks().length === 2 && asks()[1] - asks()[0] >= 10_000 - LATE, `${asks()}`);
});

shows("of very many dead jobs it is said which were looked at", async (window, page) => {
  const jobs = Array.from({ length: 1_000 }, (_, n) => ({ id: n + 1, queue: "webhooks", state: "dead", failures: [{ attempt: 1, at: 0, error: "the end" }] }));
  await page.route(/queue=webhooks&state=dead/, (route) => route.fulfill({ json: { jobs, next: 1 } }));
  await window.go("dead");
  await page.getByText(/^50,00\d of \d+ jobs, counted queue by queue, the newest of each first: \d kinds? of error/).waitFor();
});

shows("a search that found nothing is not made again by itself", async (window, page) => {
  await window.go("search?q=key:nobody");
  await page.getByText("No job that is kept fits.").waitFor();
  const before = window.asks(/status$/).length;
  await until("time passes", () => window.asks(/status$/).length > before + 5);
  assert.equal(window.asks(/jobs\?/).length, 1);
  const [id] = await daemon.submit({ queue: "late", body: "x", key: "nobody" });
  await page.getByRole("button", { name: "Look again" }).click();
  await page.getByRole("link", { name: String(id), exact: true }).waitFor();
});

shows("a body that could not be had is asked for again", async (window, page) => {
  window.isRefused = true;
  const [id] = await daemon.submit({ queue: "bodies", body: "here it is" });
  let nth = 0;
  const error = { code: "busy", message: "too much to do just now" };
  await page.route(`**/jobs/${id}/body`, (route) => (++nth === 1 ? route.fulfill({ status: 503, json: { error } }) : route.continue()));
  await window.go(`jobs/${id}`);
  await page.getByRole("alert").getByText("too much to do").waitFor();
  await page.getByLabel("Body").getByText("here it is").waitFor();
  assert.equal(nth, 2);
});

shows("a checkpoint is not asked for each time that a lease is extended", async (window, page) => {
  const [id] = await daemon.submit({ queue: "far", body: "x" });
  const [{ lease }] = await daemon.claim("far");
  await daemon.ask(`PUT /leases/${lease}/checkpoint`, "page 1");
  await window.go(`jobs/${id}`);
  const shown = page.getByLabel("Checkpoint");
  await shown.getByText("page 1").waitFor();
  for (const lease_ms of [700_000, 800_000]) {
    const before = window.asks(new RegExp(`jobs/${id}$`)).length;
    await daemon.ask("POST /extend", { leases: [lease], lease_ms });
    await until("the page knows it", () => window.asks(new RegExp(`jobs/${id}/explain$`)).length > before + 1);
  }
  await daemon.ask(`PUT /leases/${lease}/checkpoint`, "page 2");
  await shown.getByText("page 2").waitFor();
  const asks = window.asks(/checkpoint/);
  assert.ok(asks.length > 1 && asks.every((at, nth) => nth === 0 || at - asks[nth - 1] >= 10_000 - LATE), `${asks}`);
});

shows("one answer that is late is no daemon that is away", async (window, page) => {
  await window.context.addInitScript(() => {
    const own = AbortSignal.timeout.bind(AbortSignal);
    AbortSignal.timeout = (ms) => own(ms / 5);
  });
  await page.route("**/api/v1/groups", () => {});
  await window.go("groups");
  await page.getByRole("alert").getByText("the daemon has not answered within 20 s").waitFor();
  assert.deepEqual(window.asks(/healthz/), []);
  assert.equal(await page.locator(".banner").count(), 0);
});

shows("a job that has moved on while its question was open is left alone", async (window, page) => {
  const [id] = await daemon.submit({ queue: "moving", body: "x" });
  await window.go(`jobs/${id}`);
  await page.getByRole("button", { name: "Cancel…" }).click();
  await daemon.claim("moving");
  await page.locator("h1 .state", { hasText: "leased" }).waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel the job" }).click();
  await page.getByRole("alert").getByText(`Job ${id} is not ready in queue moving any more`).waitFor();
  assert.equal((await daemon.job(id)).cancelling, undefined);
});

shows(
  "a question ends with the sign-out",
  async (window, page) => {
    const [id] = await daemon.submit({ queue: "asked", body: "x" });
    const signIn = async () => {
      await page.getByLabel("Token").fill(TOKEN);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { name: `Job ${id}` }).waitFor();
    };
    await page.goto(`${daemon.url}/#/jobs/${id}`);
    await signIn();
    const other = await window.tab();
    await window.go("", other);
    await page.getByRole("button", { name: "Delete…" }).click();
    await page.getByRole("dialog").waitFor();
    await other.getByRole("button", { name: "Sign out" }).click();
    await signIn();
    await page.getByRole("button", { name: "Delete…" }).waitFor();
    assert.equal(await page.getByRole("dialog").count(), 0);
  },
  { isSignedIn: false },
);

shows(
  "a wrong token goes to no other tab, the right one to all, also to one that was refused",
  async (window, page) => {
    const other = await window.tab();
    let refusals = 0;
    other.on("response", (response) => (refusals += Number(response.status() === 401)));
    for (const tab of [page, other]) await tab.goto(daemon.url);
    window.isRefused = true;
    await page.getByLabel("Token").fill("wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("does not know this token").waitFor();
    await other.getByLabel("Token").fill(TOKEN);
    await other.getByRole("button", { name: "Sign in" }).click();
    for (const tab of [other, page]) await tab.getByRole("heading", { name: "Overview" }).waitFor();
    assert.equal(refusals, 0);
    // What the daemon does not know any more goes, and comes in its new form from the tab that has it.
    await page.route("**/api/v1/**", (route) => route.fulfill({ status: 401, json: { error: { code: "unauthorized", message: "who are you?" } } }));
    await page.getByRole("alert").getByText("does not know this token").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await other.getByRole("link", { name: "Workers" }).click();
    await other.getByRole("heading", { name: "Workers" }).waitFor();
  },
  { isSignedIn: false },
);

shows("queues that are not in an answer are told of, and plots are of the span that is chosen", async (window, page) => {
  await page.route("**/api/v1/stats?*", async (route) => {
    if (route.request().url().includes("since_ms=21600000")) return; // never
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), left_out: 3 } });
  });
  await window.go("?since=1h");
  await page.getByText("3 queues are not in these numbers").waitFor();
  const plot = page.getByRole("img", { name: /^Throughput\./ });
  await until("a line", async () => /completed: now/.test(await plot.getAttribute("aria-label")));
  await page.getByRole("link", { name: "6h", exact: true }).click();
  await page.getByRole("heading", { name: "Failed most in the last 6 hours" }).waitFor();
  assert.equal(await plot.getAttribute("aria-label"), "Throughput. …");
  await page.unrouteAll();
});

shows("the way to newer jobs goes on through a gap", async (window, page) => {
  const [older] = await daemon.submit({ queue: "gap", body: "x" });
  const [newer] = await daemon.submit({ queue: "gap", body: "x" });
  await page.route(/\/jobs\?.*\bafter=/, (route) => {
    const after = Number(new URL(route.request().url()).searchParams.get("after"));
    return after < older ? route.fulfill({ json: { jobs: [], next: after + 1 } }) : route.continue();
  });
  await window.go(`queues/gap?after=${older - 5}`);
  await page.getByText(`Nothing found among the jobs looked at so far, up to job ${older}.`).waitFor();
  await page.getByRole("link", { name: "Look further" }).click();
  await page.getByRole("link", { name: String(newer), exact: true }).waitFor();
  await page.goBack();
  await page.getByRole("link", { name: "Older" }).waitFor();
});

shows("what is no tag is not left out of a search in silence", async (window, page) => {
  await window.go("search?q=state:dead");
  await page.getByLabel("Tag, as order=42").fill("order=42, berlin");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("alert").getByText("“berlin” is no tag").waitFor();
  assert.match(page.url(), /state:dead|state%3Adead/);
  await page.getByLabel("Tag, as order=42").fill("order=42, shop=berlin");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("No job that is kept fits.").waitFor();
  assert.equal(await page.locator("#search").inputValue(), "state:dead order=42 shop=berlin");
});
