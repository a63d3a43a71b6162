// What a daemon has to do in a shop on a busy afternoon: the data that the pages are shown and photographed with. Nothing here is by
// chance, so that pictures of two days can be compared.

/** The configuration; its worker of thumbnails says how far it is by this program. */
export const config = (program) => `
[queues.mails]
keep = { done = "1h" }
rate = "200/s burst 400"
[queues.invoices]
per_key = 1
keep = { done = "1h" }
[queues.webhooks]
attempts = 3
backoff = { kind = "fixed", base = "1ms", max = "1ms", jitter = 0.0 }
[queues.thumbnails]
workers = 2
concurrency = 8
handler = { exec = ["/bin/sh", "-c", "n=0; while [ $n -lt 400 ]; do n=$((n+1)); echo \\"$(date +%T) frame $n of 400\\"; [ $((n%10)) = 0 ] && '${program}' progress \\"$MUSHER_LEASE\\" $((n/4)) \\"frame $n of 400\\" >/dev/null; sleep 0.25; done"] }
[queues.reports]
circuit = { failures = 3, probe = "1h" }
attempts = 10
[queues.builds]
keep = { done = "1h" }
[queues.tests]
keep = { done = "1h" }
[schedules.nightly-backup]
cron = "0 3 * * *"
zone = "Europe/Berlin"
queue = "backups"
body = "all"
overlap = "skip"
`;

const FLOW = {
  group: "release-42",
  jobs: [
    { name: "fetch", queue: "builds", body: "git fetch" },
    { name: "build-amd64", queue: "builds", body: "amd64", after: "fetch" },
    { name: "build-arm64", queue: "builds", body: "arm64", after: "fetch" },
    { name: "docs", queue: "builds", body: "docs", after: "fetch" },
    { name: "unit-tests", queue: "tests", body: "unit", after: ["build-amd64"] },
    { name: "browser-tests", queue: "tests", body: "browser", after: ["build-amd64"] },
    { name: "arm-tests", queue: "tests", body: "arm", after: ["build-arm64"] },
    { name: "package", queue: "builds", body: "deb", after: ["unit-tests", "browser-tests", "arm-tests", "docs"] },
    { name: "announce", queue: "mails", body: "release 42 is out", after: "package" },
    { name: "alarm", queue: "mails", body: "release 42 is broken", after: "package:failed" },
  ],
};

const ERRORS = [
  [62, (n) => `POST https://shop-${n % 7}.example/hooks/order: status 503, request id 8f3a${(n * 7919).toString(16).padStart(12, "0")}`],
  [23, (n) => `cannot connect to 10.0.4.${n}:443: Connection refused`],
  [9, (n) => `certificate of shop-${n % 3}.example has expired ${n} days ago`],
  [1, () => "body is no JSON: expected `,` or `}` at line 14 column 3"],
];

/** Fills the daemon. Answers the ids of jobs that pages are opened of. */
export async function fill(daemon) {
  const ids = {};
  const mail = (n) => ({ queue: "mails", body: { to: `customer-${n % 90}@example.org`, template: "order-confirmation", order: 10_000 + n }, tags: { order: String(10_000 + n), shop: ["berlin", "paris", "oslo"][n % 3] } });
  await daemon.submit(...Array.from({ length: 400 }, (_, n) => mail(n)));
  const mails = await daemon.claim("mails", 320);
  await daemon.settle(...mails.map(({ lease }) => ({ lease, outcome: "done", result: "250 OK" })));
  await daemon.submit(...Array.from({ length: 24 }, (_, n) => ({ queue: "invoices", body: `invoice ${2_600 + n}`, key: `customer-${n % 5}`, priority: n === 3 ? 10 : 1_024 })));
  const invoices = await daemon.claim("invoices", 3);
  await daemon.ask(`PUT /leases/${invoices[0].lease}/progress`, { percent: 40, text: "page 12 of 30" });
  await daemon.ask(`PUT /leases/${invoices[1].lease}/progress`, { percent: 85, text: "page 26 of 30" });
  await daemon.ask(`PUT /leases/${invoices[0].lease}/checkpoint`, JSON.stringify({ page: 12, total: "1,204.50" }));
  ids.leased = invoices[0].id;
  ids.held = (await daemon.ask("GET /jobs?queue=invoices&state=ready&key=customer-3&limit=1")).jobs[0].id;

  let nth = 0;
  for (const [count, error] of ERRORS) {
    const hooks = await daemon.submit(...Array.from({ length: count }, () => ({ queue: "webhooks", body: { event: "order.created", order: 10_000 + nth++ }, tags: { shop: "berlin" } })));
    ids.dead ??= hooks[0];
    const texts = new Map(hooks.map((id, n) => [id, error(n)]));
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      let left = hooks.length;
      while (left > 0) {
        const jobs = await daemon.ask("POST /claim", { queues: ["webhooks"], max: left, lease_ms: 60_000, wait_ms: 5_000 }).then(({ jobs }) => jobs);
        await daemon.settle(...jobs.map(({ lease, id }) => ({ lease, outcome: "failed", error: texts.get(id) })));
        left -= jobs.length;
      }
    }
  }
  await daemon.submit(...Array.from({ length: 12 }, (_, n) => ({ queue: "webhooks", body: { event: "order.paid", order: 10_500 + n }, delay: `${5 + n}m` })));
  await daemon.submit(...Array.from({ length: 40 }, (_, n) => ({ queue: "exports", body: `export ${n}` })));
  await daemon.ask("POST /queues/exports/pause");
  await daemon.submit(...Array.from({ length: 6 }, (_, n) => ({ queue: "reports", body: `report ${n}` })));
  for (let n = 0; n < 3; n += 1) {
    const [job] = await daemon.claim("reports");
    await daemon.settle({ lease: job.lease, outcome: "failed", error: "database `warehouse`: too many connections" });
    ids.failing = job.id;
  }
  await daemon.submit({ queue: "imports", body: "feed-2026-11-29.csv" }, { queue: "imports", body: "feed-2026-11-28.csv" });
  await daemon.submit(...Array.from({ length: 5 }, (_, n) => ({ queue: "thumbnails", body: `video-${n}.mp4`, tags: { album: "7" }, ...(n === 0 && { key: "album-7" }) })));
  ids.video = (await daemon.ask("GET /jobs?queue=thumbnails&limit=1")).jobs[0].id;
  const [approval] = await daemon.submit({ queue: "approvals", body: "refund of order 10042", tags: { order: "10042" } });
  const [claimed] = await daemon.claim("approvals");
  await daemon.settle({ lease: claimed.lease, outcome: "until_signal", signal: "approved", timeout_ms: 7 * 86_400_000 });
  ids.approval = approval;

  const told = daemon.musher(["flow", "submit", "-"], JSON.stringify(FLOW));
  const steps = new Map(told.trim().split("\n").map((line) => line.split(" ").reverse()));
  const end = async (queue, count, outcome) => {
    const jobs = await daemon.ask("POST /claim", { queues: [queue], max: count, lease_ms: 600_000, wait_ms: 5_000 }).then(({ jobs }) => jobs);
    if (outcome) await daemon.settle(...jobs.map(({ lease }) => ({ lease, ...outcome })));
  };
  await end("builds", 1, { outcome: "done" });
  await end("builds", 3, { outcome: "done" });
  await end("tests", 1, { outcome: "done" });
  await end("tests", 1, null);
  ids.waits = Number(steps.get("package"));
  await daemon.submit(...Array.from({ length: 8 }, (_, n) => ({ queue: "album", body: `photo ${n}`, group: "album-7" })));

  await daemon.ask("POST /schedules", { name: "hourly-report", cron: "0 * * * *", queue: "reports", body: "hourly" });
  await daemon.ask("POST /schedules", { name: "poll-feeds", every_ms: 300_000, queue: "imports", body: "poll", overlap: "skip" });
  await daemon.ask("POST /schedules", { name: "cleanup", cron: "30 4 * * 0", queue: "backups", body: "cleanup" });
  await daemon.ask("POST /schedules/cleanup/pause");
  await daemon.ask("POST /schedules/poll-feeds/trigger");
  return ids;
}

/** Works on mails until it is stopped: some a second are submitted, and done after a little while; a few fail. */
export function work(daemon) {
  let nth = 0;
  let isOver = false;
  const once = async () => {
    const some = 3 + (nth % 5);
    await daemon.submit(...Array.from({ length: some }, () => ({ queue: "mails", body: `mail ${nth++}`, tags: { shop: "oslo" } })));
    const jobs = await daemon.claim("mails", some + 1);
    const failed = (n) => n % 11 === 0;
    await daemon.settle(...jobs.map(({ lease }, n) => (failed(nth + n) ? { lease, outcome: "failed", error: "421 too many connections from 192.0.2.7" } : { lease, outcome: "done" })));
  };
  const run = async () => {
    while (!isOver) {
      // The daemon may be away: that is one of the tests.
      await once().catch(() => {});
      await new Promise((wake) => setTimeout(wake, 200));
    }
  };
  const running = run();
  return async () => {
    isOver = true;
    await running;
  };
}
