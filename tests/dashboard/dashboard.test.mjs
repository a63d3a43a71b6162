// Every page and every action of the dashboard, in a browser, against a live daemon; and what becomes of it when the daemon goes away,
// does not know the token, or has very many jobs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { TOKEN, until } from "./daemon.mjs";
import { daemon, ids, PICTURES, shows } from "./setting.mjs";

shows(
  "a wrong token gets a clear page, the right one gets in, in all tabs",
  async (window, page) => {
    await page.goto(daemon.url);
    window.isRefused = true;
    await page.getByLabel("Token").fill("wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("does not know this token").waitFor();
    assert.deepEqual(await window.stumbles(), []);
    window.isRefused = false;
    await page.getByLabel("Token").fill(TOKEN);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    assert.ok(!page.url().includes(TOKEN));
    await page.reload();
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    // A second tab asks the first one, and shows what it was opened for.
    const other = await window.tab();
    await other.goto(`${daemon.url}/#/dead`);
    await other.getByRole("heading", { name: "Dead jobs" }).waitFor();
    assert.deepEqual(await other.evaluate(() => [Object.keys(localStorage), document.cookie]), [[], ""]);
    await other.getByRole("button", { name: "Sign out" }).click();
    for (const tab of [page, other]) await tab.getByLabel("Token").waitFor();
  },
  { isSignedIn: false },
);

const PAGES = () => ({
  overview: "",
  queue: "queues/webhooks?state=dead",
  "queue-circuit": "queues/reports",
  "job-dead": `jobs/${ids.dead}`,
  "job-held": `jobs/${ids.held}`,
  "job-leased": `jobs/${ids.leased}`,
  "job-video": `jobs/${ids.video}`,
  "job-waits": `jobs/${ids.waits}`,
  "job-approval": `jobs/${ids.approval}`,
  dead: "dead",
  schedules: "schedules",
  schedule: "schedules/nightly-backup",
  groups: "groups",
  flow: "groups/release-42",
  workers: "workers",
  search: "search?q=order%3D10007%20state%3Adone",
  nowhere: "no/such/page",
});

/** What a node of a cluster says, in place of the daemon that is alone. */
const CLUSTER = {
  node: "two",
  owner: "one",
  epoch: 7,
  nodes: [
    { node: "one", role: "owner", version: "0.1.0", commit: 1_204_117, needs: 48_211, heard_ms: 88 },
    { node: "two", role: "standby", version: "0.1.0", commit: 1_204_116, behind: 1, needs: 48_304, heard_ms: 0 },
    { node: "three", role: "starting", version: "0.1.0", commit: 1_190_000, behind: 14_117, needs: 47_000, heard_ms: 31 },
    { node: "four", role: "absent" },
  ],
  stream: { name: "musher", first: 47_000, last: 1_204_950, bytes: 734_003_200, leader: "three" },
};

const clustered = async (page, seen) => {
  const json = (body) => (route) => route.fulfill({ json: body });
  await page.route("**/api/v1/cluster", json(seen));
  await page.route("**/api/v1/status", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), node: "one" } });
  });
};

shows("the cluster: who runs the queue, who is behind or away, and what is wrong", async (window, page) => {
  assert.equal(await page.getByRole("link", { name: "Cluster" }).count(), 0, "a daemon that is alone has none");
  window.isRefused = true;
  await window.go("cluster");
  await page.getByRole("alert").getByText("no node of a cluster").waitFor();
  window.isRefused = false;
  await clustered(page, CLUSTER);
  await window.go("");
  await page.reload();
  await page.getByRole("link", { name: "Cluster" }).click();
  await page.getByText("one runs the queue, in ownership 7. One node can take over. This is how two sees it.").waitFor();
  await page.getByRole("row", { name: /three starting .*14,117/ }).waitFor();
  await page.getByRole("row", { name: /four absent .*never/ }).waitFor();
  await page.getByText("1,157,951, from 47,000 to 1,204,950").waitFor();
  assert.deepEqual(await window.stumbles(), []);
  for (const width of [1_440, 390]) {
    await page.setViewportSize({ width, height: 900 });
    await page.screenshot({ path: `${PICTURES}cluster-${width}.png`, fullPage: true });
    assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0);
  }
  await page.unroute("**/api/v1/cluster");
  await clustered(page, { ...CLUSTER, owner: null, stream: { name: "musher", error: "no server answers" } });
  await page.getByText("No node runs the queue, as two sees it.").waitFor();
  await page.getByText("The servers do not say how it is: no server answers").waitFor();
});

shows("the shards of a cluster, each with its owner", async (window, page) => {
  const shard = (nth, more) => ({ ...CLUSTER, shard: nth, shards: 2, stream: { ...CLUSTER.stream, name: `musher-${nth}` }, ...more });
  await page.route("**/api/v1/cluster", (route) => route.fulfill({ json: shard(0, {}) }));
  await page.route("**/api/v1/cluster?shard=1", (route) => route.fulfill({ json: shard(1, { owner: null }) }));
  await window.go("cluster");
  const [first, second] = [0, 1].map((nth) => page.getByRole("region", { name: `Shard ${nth}` }));
  await first.getByText("one runs it, in ownership 7.").waitFor();
  await second.getByRole("alert").getByText("No node runs it, as two sees it.").waitFor();
  await second.getByText("musher-1").waitFor();
  assert.deepEqual(await window.stumbles(), []);
  await page.setViewportSize({ width: 1_440, height: 900 });
  await page.screenshot({ path: `${PICTURES}shards.png`, fullPage: true });
});

for (const width of [1_440, 390]) {
  for (const colours of ["light", "dark"]) {
    shows(
      `each page at ${width} pixels, ${colours}: whole after a reload, nothing cut, nothing to stumble over`,
      async (window, page) => {
        for (const [name, path] of Object.entries(PAGES())) {
          await window.go(path);
          await page.screenshot({ path: `${PICTURES}${name}-${width}-${colours}.png`, fullPage: true });
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(overflow <= 0, `${name} is ${overflow} pixels too wide`);
          const cut = await page.evaluate(() =>
            [...document.querySelectorAll("main svg text")]
              .filter((text) => {
                const [own, all] = [text, text.closest("svg")].map((element) => element.getBoundingClientRect());
                return own.width > 0 && (own.left < all.left - 1 || own.right > all.right + 1);
              })
              .map((text) => text.textContent),
          );
          assert.deepEqual(cut, [], `${name} has texts that are cut`);
          // Both colours, and both widths.
          if ((width > 400) === (colours === "light")) assert.deepEqual(await window.stumbles(), []);
          if (width > 400 || colours === "dark") continue;
          const title = await page.locator("main h1").textContent();
          await page.reload();
          await page.locator("main h1", { hasText: title.split(" ")[0] }).waitFor();
        }
      },
      { width, colours },
    );
  }
}

shows("why a job does not run is said in the words of explain, with its history", async (window, page) => {
  for (const id of [ids.held, ids.dead, ids.waits, ids.approval]) {
    await window.go(`jobs/${id}`);
    const told = await page.locator(".why").innerText();
    const { reasons } = await daemon.ask(`GET /jobs/${id}/explain`);
    // Times go on between the two.
    const plain = (text) => text.replace(/\d+ (?:ms|s|min|h|days?)/g, "").replace(/\s+/g, " ");
    for (const reason of reasons) assert.ok(plain(told).includes(plain(reason)), `${reason}\n${told}`);
  }
  await window.go(`jobs/${ids.dead}`);
  for (const attempt of [1, 2, 3]) await page.getByText(`attempt ${attempt} failed`).waitFor();
  await page.getByText("status 503").first().waitFor();
  await page.getByLabel("Body").getByText('"order": 10000').waitFor();
  const saved = page.waitForEvent("download");
  await page.getByRole("button", { name: "Save the body" }).click();
  assert.equal(readFileSync(await (await saved).path(), "utf8"), '{"event":"order.created","order":10000}');
  await window.go(`jobs/${ids.leased}`);
  await page.getByLabel("Checkpoint").getByText('"total": "1,204.50"').waitFor();
  await page.getByText("40 % page 12 of 30").first().waitFor();
});

shows("a job is kicked, moved, prioritized, cancelled, retried, buried and deleted", async (window, page) => {
  const [id] = await daemon.submit({ queue: "acts", body: "x", delay: "1h" });
  await window.go(`jobs/${id}`);
  const isState = (state) => page.locator("h1 .state", { hasText: state }).waitFor();
  await window.act("Kick", { said: `Job ${id} is ready to run.` });
  await isState("ready");
  await window.act("Priority…", { verb: "Set the priority", fields: { Priority: "7" }, said: "has its new priority" });
  await window.act("Move…", { verb: "Move the job", fields: { "To queue": "acts.other" }, said: "is moved" });
  await page.getByRole("link", { name: "acts.other" }).first().waitFor();
  assert.deepEqual([(await daemon.job(id)).priority, (await daemon.job(id)).queue], [7, "acts.other"]);
  // What was asked about and is not wanted is not done.
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("dialog").getByText(`This cancels job ${id} of queue acts.other`).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal((await daemon.job(id)).state, "ready");
  await window.act("Bury…", { verb: "Bury the job", said: "is dead" });
  await isState("dead");
  await window.act("Retry", { said: "runs again" });
  await isState("ready");
  await window.act("Delete…", { verb: "Delete the job", said: "is deleted" });
  await page.getByRole("heading", { name: "Queue acts.other" }).waitFor();
  await assert.rejects(daemon.job(id), /404/);

  const [second] = await daemon.submit({ queue: "acts", body: "x" });
  await daemon.claim("acts");
  await window.go(`jobs/${second}`);
  await window.act("Cancel…", { verb: "Cancel the job", said: "is cancelled when its worker has stopped" });
  await isState("leased, cancelling");

  const { id: approval, until_signal } = await daemon.job(ids.approval);
  assert.equal(until_signal, "approved");
  await window.go(`jobs/${approval}`);
  await window.act("Signal…", { verb: "Send the signal", fields: { Body: "by the boss" }, said: "Signal approved is sent" });
  await isState("ready");
});

shows("what the daemon refuses is said in its words", async (window, page) => {
  const [id] = await daemon.submit({ queue: "acts", body: "x" });
  await window.go(`jobs/${id}`);
  window.isRefused = true;
  await page.getByRole("button", { name: "Move…" }).click();
  await page.getByLabel("To queue").fill("no such queue!");
  await page.getByRole("button", { name: "Move the job" }).click();
  const said = await page.getByRole("alert").filter({ hasText: "queue" }).innerText();
  const own = await daemon.ask(`POST /jobs/${id}/move`, { to: "no such queue!" }).catch((error) => error.message);
  assert.ok(own.includes(said.replace("✕", "").trim().slice(0, 40)), `${said}\n${own}`);
  await window.go("jobs/99999999");
  await page.getByRole("alert").filter({ hasText: "99999999" }).waitFor();
  // A job that is done, of a queue that keeps none.
  const [{ lease }] = await daemon.claim("acts");
  await window.go(`jobs/${id}`);
  await daemon.settle({ lease, outcome: "done" });
  await page.locator("h1 .state", { hasText: "gone" }).waitFor();
  await window.go("queues/nowhere");
  await page.getByText("There is no queue nowhere").waitFor();
});

shows("a queue is paused, resumed, set, purged with a count, closed and forgotten", async (window, page) => {
  await daemon.submit(...Array.from({ length: 7 }, (_, n) => ({ queue: "shop", body: `${n}`, ...(n > 4 && { delay: "1h" }) })));
  await window.go("queues/shop");
  await page.getByRole("link", { name: "ready 5" }).waitFor();
  await window.act("Pause…", { verb: "Pause it", said: "Queue shop is paused." });
  await page.locator("h1 .mark", { hasText: /^paused$/ }).waitFor();
  await window.act("Resume", { said: "gives out jobs again" });
  await window.act("Pause…", { verb: "Pause it", fields: { For: "1h 30m" }, said: "Queue shop is paused for 1h 30m." });
  await page.locator("h1 .mark", { hasText: /^paused until .*\d\d:\d\d:\d\d$/ }).waitFor();
  const { paused_until: until } = (await daemon.ask("GET /queues")).find(({ queue }) => queue === "shop");
  assert.ok(Math.abs(until - Date.now() - 5_400_000) < 60_000, `${until}`);
  await window.act("Resume", { said: "gives out jobs again" });
  await window.act("Pause…", { verb: "Pause it", fields: { For: "soon" }, said: "“soon” is no length of time" });
  await window.act("Set rate", { verb: "Set it", fields: { rate: "50/s" }, said: "rate of queue shop is 50/s." });
  await page.getByRole("row", { name: /^rate / }).getByText("set by user").waitFor();
  window.isRefused = true;
  await page.getByRole("button", { name: "Set rate", exact: true }).click();
  await page.getByRole("dialog").getByLabel("rate").fill("fast");
  await page.getByRole("button", { name: "Set it" }).click();
  await page.getByRole("alert").getByText("fast").waitFor();
  window.isRefused = false;
  await window.act("Unset rate", { verb: "Unset it", said: "as the configuration says" });
  await page.getByRole("button", { name: "Purge…" }).click();
  await page.getByRole("dialog").getByText("5 ready, 2 scheduled, 0 waiting").waitFor();
  await page.getByRole("button", { name: "Delete 7 jobs" }).click();
  await window.says("7 jobs deleted.");
  // The list of queues that the next page begins with may be of before.
  window.isRefused = true;
  await window.act("Forget…", { verb: "Forget it", said: "Queue shop is forgotten." });
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.getByRole("row").filter({ hasText: "shop" }).waitFor({ state: "detached" });

  await daemon.submit({ queue: "broken", body: "1" }, { queue: "broken", body: "2" });
  for (const { lease } of await daemon.claim("broken", 2)) await daemon.settle({ lease, outcome: "failed", error: "no" });
  await window.go("queues/broken");
  await page.locator("h1 .mark", { hasText: "circuit open" }).waitFor();
  await window.act("Reset the circuit", { said: "is closed" });
  await page.locator("h1 .mark").waitFor({ state: "detached" });
});

shows("dead jobs of a kind are retried and deleted together, with their count", async (window, page) => {
  await daemon.submit(...Array.from({ length: 30 }, (_, n) => ({ queue: "bulk", body: `${n}` })));
  const jobs = await daemon.claim("bulk", 30);
  await daemon.settle(...jobs.map(({ lease }, n) => ({ lease, outcome: "dead", error: n < 20 ? `disk /dev/sd${n} is full` : `order ${n} is unknown` })));
  await window.go("dead");
  const row = (text) => page.getByRole("row").filter({ hasText: text });
  await row("order … is unknown").waitFor();
  assert.deepEqual(await row("disk").first().locator("b").innerText(), "20");
  // One of them has moved on since it was counted.
  await daemon.ask(`POST /jobs/${jobs[25].id}/retry`);
  await row("order … is unknown").getByRole("button", { name: "Retry 10 jobs" }).click();
  await page.getByRole("dialog").getByText("10 jobs of queue bulk run again").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Retry 10 jobs" }).click();
  await window.says("9 jobs run again. 1 had moved on and was left alone.");
  assert.equal((await daemon.ask("GET /queues")).find(({ queue }) => queue === "bulk").ready, 10);
  await row("order … is unknown").waitFor({ state: "detached" });
  await row("disk").first().getByRole("button", { name: "Delete 20 jobs" }).click();
  await page.getByRole("dialog").getByText("It cannot be undone").waitFor();
  // And one while its question is open.
  await daemon.ask(`POST /jobs/${jobs[5].id}/retry`);
  await page.getByRole("dialog").getByRole("button", { name: "Delete 20 jobs" }).click();
  await window.says("19 jobs deleted. 1 had moved on and was left alone.");
  assert.equal((await daemon.job(jobs[5].id)).state, "ready");
  await row("disk").waitFor({ state: "detached" });
});

shows("schedules are triggered, paused, resumed and removed, and tell their next times", async (window, page) => {
  await daemon.ask("POST /schedules", { name: "tick", every_ms: 3_600_000, queue: "ticks", body: "tick" });
  await window.go("schedules");
  await window.act("Trigger tick", { verb: "Submit 1 job", said: "of schedule tick is submitted" });
  const row = page.getByRole("row").filter({ hasText: "tick" });
  await row.getByText("ready").waitFor();
  await window.act("Pause tick", { said: "Schedule tick is paused." });
  await row.locator(".mark", { hasText: "paused" }).waitFor();
  await window.act("Resume tick", { said: "Schedule tick goes on." });
  await page.getByRole("link", { name: "tick", exact: true }).click();
  await page.getByRole("heading", { name: "Schedule tick" }).waitFor();
  await until("its next times", async () => (await page.locator("section[aria-labelledby=next] li").count()) === 10);
  await window.act("Remove tick", { verb: "Remove it", said: "Schedule tick is removed." });
  await page.getByRole("heading", { name: "Schedules" }).waitFor();
  await row.waitFor({ state: "detached" });
});

shows("a schedule is added, and what is wrong with one is said", async (window, page) => {
  await window.go("schedules");
  await window.act("Add…", { verb: "Add it", fields: { Name: "often", When: "every 1h 30m", Queue: "ticks", Body: "tick tock" }, said: "Schedule often is added." });
  await page.getByRole("row").filter({ hasText: "often" }).getByText("every 1 h 30 min").waitFor();
  assert.equal((await daemon.ask("GET /schedules/often")).every_ms, 5_400_000);
  window.isRefused = true;
  await page.getByRole("button", { name: "Add…" }).click();
  const dialog = page.getByRole("dialog");
  for (const [label, value] of [["Name", "weekly"], ["When", "0 25 * * 1"], ["Time zone", "Europe/Berlin"], ["Queue", "ticks"]]) await dialog.getByLabel(label).fill(value);
  await dialog.getByRole("button", { name: "Add it" }).click();
  await page.locator(".said.bad", { hasText: "25" }).waitFor();
  assert.deepEqual(await window.stumbles(), []);
  await dialog.getByLabel("When").fill("0 5 * * 1");
  await dialog.getByRole("button", { name: "Add it" }).click();
  await window.says("Schedule weekly is added.");
  const { cron, zone, body_bytes } = await daemon.ask("GET /schedules/weekly");
  assert.deepEqual({ cron, zone, body_bytes }, { cron: "0 5 * * 1", zone: "Europe/Berlin", body_bytes: 0 });
});

shows("a job that waits gets another body", async (window, page) => {
  const [id] = await daemon.submit({ queue: "edited", body: '{"to":"alcie"}\n' });
  await window.go(`jobs/${id}`);
  await page.getByRole("button", { name: "Edit the body" }).click();
  assert.equal(await page.getByRole("dialog").getByLabel("Body").inputValue(), '{"to":"alcie"}\n');
  await page.keyboard.press("Escape");
  await window.act("Edit the body", { verb: "Set the body", fields: { Body: '{"to":"alice"}' }, said: `Job ${id} has its new body.` });
  await page.getByLabel("Body").getByText('"to": "alice"').waitFor();
  const [job] = await daemon.claim("edited");
  assert.equal(job.body, '{"to":"alice"}');
  await page.getByRole("button", { name: "Edit the body" }).waitFor({ state: "detached" });
});

shows("a flow is a picture; a group is sealed and forgotten", async (window, page) => {
  await window.go("groups/release-42");
  assert.equal(await page.locator("svg.flow a").count(), 10);
  assert.equal(await page.locator("svg.flow path.arrow").count(), 12);
  await page.getByRole("link", { name: `package ${ids.waits} waiting` }).click();
  await page.getByRole("heading", { name: `Job ${ids.waits}` }).waitFor();

  await daemon.submit({ queue: "small", body: "x", group: "small-1" });
  await window.go("groups/small-1");
  await window.act("Seal…", { verb: "Seal it", said: "is sealed" });
  const [{ lease }] = await daemon.claim("small");
  await daemon.settle({ lease, outcome: "done" });
  await window.act("Forget…", { verb: "Forget it", said: "is forgotten" });
  await page.getByRole("heading", { name: "Groups" }).waitFor();

  // A large one is a summary.
  const wide = { group: "wide", jobs: [{ name: "first", queue: "wide-1", body: "" }, ...Array.from({ length: 200 }, (_, n) => ({ name: `step-${n}`, queue: "wide-2", body: "", after: "first" }))] };
  daemon.musher(["flow", "submit", "-"], JSON.stringify(wide));
  await window.go("groups/wide");
  await page.getByText("201 jobs in 2 layers").waitFor();
  await page.getByRole("link", { name: "wide-2 200 waiting" }).waitFor();
  assert.equal(await page.locator("svg.flow a").count(), 2);
});

shows("jobs are found by id, tag, key, queue, state and error", async (window, page) => {
  await window.go("");
  const search = async (text) => {
    await page.locator("#search").fill(text);
    await page.keyboard.press("Enter");
  };
  await search(String(ids.dead));
  await page.getByRole("heading", { name: `Job ${ids.dead}` }).waitFor();
  const finds = async (text, expected) => {
    await search(text);
    await page.getByRole("heading", { name: "Search" }).waitFor();
    await page.locator("tbody tr").filter({ hasText: expected }).first().waitFor();
  };
  await finds("order=10007", "order=10007");
  assert.equal(await page.locator("tbody tr").count(), 1);
  await finds("key:customer-3", "invoices");
  await finds("queue:invoices leased", "85 %");
  await finds("imports", "imports");
  await finds('error:"Connection refused" dead', "cannot connect");
  await finds("group:album-7", "album");
  await search("state:happy");
  await page.getByRole("alert").filter({ hasText: "happy" }).waitFor();
  await search("tag=that-nobody-has");
  await page.getByText("No job that is kept fits.").waitFor();
  await page.getByRole("combobox", { name: "Queue" }).fill("webhooks");
  await page.getByLabel("State", { exact: true }).selectOption("dead");
  await page.getByLabel("Tag, as order=42").fill("");
  await page.getByRole("button", { name: "Search" }).click();
  await page.locator("tbody tr").filter({ hasText: "webhooks" }).first().waitFor();
});

shows("what is typed into the search while a page comes is kept", async (window, page) => {
  await window.go("search?q=imports");
  // As fast as can be: in the moment in which the page of the search before stands there.
  await page.evaluate(() => {
    const field = document.querySelector("#search");
    new MutationObserver((_, observer) => {
      if (!document.querySelector("main [role=alert]")) return;
      observer.disconnect();
      field.value = "order=10007";
      field.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }).observe(document.querySelector("main"), { childList: true, subtree: true });
    location.hash = "#/search?q=state%3Ahappy";
  });
  await page.getByRole("alert").filter({ hasText: "happy" }).waitFor();
  // Whatever a page does after it was painted has been done.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 200))))));
  assert.equal(await page.locator("#search").inputValue(), "order=10007");
});

shows("the keyboard goes everywhere", async (window, page) => {
  await window.go("queues/webhooks?state=dead");
  await page.locator("a.row").first().waitFor();
  const focused = () => page.evaluate(() => document.activeElement.textContent || document.activeElement.id);
  await page.keyboard.press("j");
  const first = await focused();
  await page.keyboard.press("j");
  await page.keyboard.press("ArrowDown");
  assert.notEqual(await focused(), first);
  await page.keyboard.press("k");
  await page.keyboard.press("ArrowUp");
  assert.equal(await focused(), first);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: `Job ${first}` }).waitFor();
  assert.match(await focused(), new RegExp(`^Job ${first}`));
  await page.keyboard.press("/");
  assert.equal(await focused(), "search");
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  assert.deepEqual(await window.stumbles(), []);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  // A question has the focus, keeps it, and gives it back.
  await page.getByRole("button", { name: "Delete…" }).focus();
  await page.keyboard.press("Enter");
  assert.deepEqual(await window.stumbles(), []);
  assert.equal(await focused(), "Leave it");
  await page.keyboard.press("Enter");
  assert.equal(await focused(), "Delete…");
});

shows("colours are chosen, and stay chosen", async (window, page) => {
  await window.go("");
  const back = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await back();
  await page.getByRole("button", { name: "Colours: auto. Change" }).click();
  await page.getByRole("button", { name: "Colours: light. Change" }).click();
  assert.notEqual(await back(), light);
  await page.reload();
  await page.getByRole("button", { name: "Colours: dark. Change" }).waitFor();
  assert.notEqual(await back(), light);
});

shows("what happens is seen while it happens", async (window, page) => {
  const [id] = await daemon.submit({ queue: "live", body: "x" });
  await window.go(`jobs/${id}`);
  const isState = (state) => page.locator("h1 .state", { hasText: state }).waitFor();
  await isState("ready");
  const [{ lease }] = await daemon.claim("live");
  await isState("leased");
  await daemon.ask(`PUT /leases/${lease}/progress`, { percent: 30, text: "a third" });
  await page.getByText("30 % a third").first().waitFor();
  await daemon.settle({ lease, outcome: "dead", error: "it went wrong" });
  await isState("dead");
  await page.getByText("it went wrong").first().waitFor();
  // Numbers of queues go on by themselves.
  await window.go("");
  const submitted = () => page.locator(".sums li", { hasText: "Submitted" }).locator("b").innerText();
  await until("a rate is shown", async () => /^[1-9].*\/s$/.test(await submitted()));
  const [, ready] = [await daemon.submit({ queue: "newcomer", body: "x" }), page.getByRole("row").filter({ hasText: "newcomer" })];
  await ready.waitFor();
  await page.locator(".notices li", { hasText: "album" }).getByText("nothing takes from it: 8 jobs ready").waitFor();
  // The workers' page has who runs what.
  await window.go("workers");
  await page.getByText(/% frame \d+ of 400/).first().waitFor();
});

shows("what was is told from before the page was opened", async (window, page) => {
  await window.go("?since=15m");
  const plot = page.getByRole("img", { name: /^Throughput\./ });
  await until("a line", async () => /completed: now [1-9]/.test(await plot.getAttribute("aria-label")));
  await page.getByRole("region", { name: "Failed most in the last 15 minutes" }).getByText("95 dead").waitFor();
  await page.getByRole("img", { name: /^Latency.*run: now \d/ }).waitFor();
  // What stands at a moment is read by pointing at it.
  await page.getByText("Throughput", { exact: true }).scrollIntoViewIfNeeded();
  const { x, y, width } = await plot.boundingBox();
  await page.mouse.move(x + width - 12, y + 40);
  await page.locator(".plot").filter({ hasText: "Throughput" }).locator(".when", { hasText: /\d\d:\d\d:\d\d/ }).waitFor();
});

shows("output comes while the job prints it", async (window, page) => {
  const [id] = await daemon.submit({ queue: "thumbnails", body: "film.mp4", priority: 0 });
  for (const { id: running } of (await daemon.ask("GET /jobs?queue=thumbnails&state=leased")).jobs) await daemon.ask(`POST /jobs/${running}/cancel`);
  await until("it runs", async () => (await daemon.job(id)).state === "leased");
  await window.go(`jobs/${id}`);
  const output = page.locator("pre.output");
  await output.waitFor();
  const last = async () => Number(/frame (\d+) of 400\s*$/.exec(await output.innerText())?.[1] ?? 0);
  const before = await until("a frame", last);
  await until("the next one", async () => (await last()) > before);
});

shows("a daemon that is killed is waited for, and what is shown goes on by itself", async (window, page) => {
  const [id] = await daemon.submit({ queue: "survivor", body: "x" });
  const other = await window.tab();
  await window.go(`jobs/${id}`);
  await window.go("", other);
  window.isAway = true;
  await daemon.kill();
  for (const tab of [page, other]) await tab.getByText("The daemon has not answered for").waitFor();
  await page.locator("h1", { hasText: `Job ${id}` }).waitFor();
  const asked = window.requests;
  await page.getByText(/not answered for [3-9] s/).waitFor();
  assert.ok(window.requests - asked < 20, `${window.requests - asked} requests to a daemon that is away`);
  await daemon.serve();
  for (const tab of [page, other]) await tab.getByText("The daemon has not answered for").waitFor({ state: "detached" });
  const [{ lease }] = await daemon.claim("survivor");
  await page.locator("h1 .state", { hasText: "leased" }).waitFor();
  await daemon.settle({ lease, outcome: "dead", error: "it was too long ago" });
  await page.getByText("it was too long ago").first().waitFor();
  window.isAway = false;
  await daemon.submit({ queue: "after", body: "x" });
  await other.getByRole("row").filter({ hasText: "after" }).first().waitFor();
});

shows("a tab that nobody sees asks seldom", async (window, page) => {
  await page.clock.install();
  await window.go("");
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await page.waitForLoadState("networkidle");
  const before = window.requests;
  await page.clock.runFor(25_000);
  assert.equal(window.requests - before, 0, "requests in 25 seconds");
  await page.clock.runFor(10_000);
  await until("it asks again", () => window.requests > before);
});

shows("a hundred thousand jobs stay quick", async (window, page) => {
  const lines = `${Array.from({ length: 100_000 }, (_, n) => `{"body": "${n}"}`).join("\n")}\n`;
  daemon.musher(["submit", "--jsonl", "many"], lines);
  await window.go("queues/many");
  await page.locator("tbody tr").first().waitFor();
  const ends = async () => {
    const rows = page.locator("section[aria-labelledby=jobs] tbody a.row");
    return [await rows.count(), Number(await rows.first().innerText()), Number(await rows.last().innerText())];
  };
  const [rows, newest, last] = await ends();
  assert.deepEqual([rows, newest - last], [50, 49]);
  const begun = Date.now();
  await page.getByRole("link", { name: "Older" }).click();
  await until("the next page", async () => (await ends())[1] === last - 1);
  assert.ok(Date.now() - begun < 2_000, `${Date.now() - begun} ms for a page`);
  await page.reload();
  await until("the same page", async () => (await ends())[1] === last - 1);
  await page.getByRole("link", { name: "Newer" }).click();
  await until("the first page again", async () => (await ends())[1] === newest);
  assert.ok((await page.locator("*").count()) < 3_000);
  await page.getByRole("button", { name: "Purge…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete 100,000 jobs" }).click();
  await page.locator(".said", { hasText: "100,000 jobs deleted." }).waitFor({ timeout: 30_000 });
});

shows("the daemon is drained and takes jobs again", async (window) => {
  await window.go("");
  await window.act("Drain…", { verb: "Drain it", said: "The daemon drains." });
  await window.page.getByText("The daemon is draining: it takes no jobs and gives none out.").waitFor();
  await window.act("End the drain", { said: "takes jobs and gives them out again" });
});

shows("all dead jobs, of all kinds, are retried, and deleted", async (window, page) => {
  const dead = async () => (await daemon.ask("GET /queues")).reduce((sum, queue) => sum + queue.dead, 0);
  const all = async (verb, said) => {
    await window.go("dead");
    const n = await dead();
    assert.ok(n > 1, `${n} dead jobs`);
    await window.act(`${verb} all…`, { verb: `${verb} ${n} jobs`, said: said(n) });
    assert.equal(await dead(), 0);
    await page.getByText("There are no dead jobs.").waitFor();
  };
  const before = (await daemon.ask("GET /queues")).find(({ queue }) => queue === "webhooks");
  await all("Retry", (n) => `${n} jobs run again.`);
  assert.equal((await daemon.ask("GET /queues")).find(({ queue }) => queue === "webhooks").ready, before.ready + before.dead);
  for (const queue of ["webhooks", "bulk"]) {
    await daemon.submit({ queue, body: "x" });
    const jobs = await daemon.claim(queue, 40);
    await daemon.settle(...jobs.map(({ lease }) => ({ lease, outcome: "dead", error: "no" })));
  }
  await all("Delete", (n) => `${n} jobs deleted.`);
});
