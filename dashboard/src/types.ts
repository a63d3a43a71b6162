// What the API answers, as far as the pages use it: docs/http.md and docs/protocol.md have it key by key. Points in time are
// milliseconds since 1970 (UTC).

export type State = "scheduled" | "ready" | "leased" | "waiting" | "done" | "dead" | "cancelled" | "expired";

export const STATES: State[] = ["ready", "scheduled", "waiting", "leased", "done", "dead", "cancelled", "expired"];

export interface Totals {
  submitted: number;
  claimed: number;
  completed: number;
  failed: number;
  died: number;
  cancelled: number;
  expired: number;
  dropped: number;
}

export interface Circuit {
  failed: number;
  failures: number;
  open_since?: number;
  probe?: number;
  next_probe_at?: number;
}

export type Queue = Record<State, number> & {
  queue: string;
  paused: boolean;
  paused_until?: number;
  workers: number;
  waiting_claims: number;
  held?: string;
  circuit?: Circuit;
  /** For how long the ready job is ready that has waited longest. */
  oldest_ready_ms?: number;
  waiting_bytes: number;
  totals: Totals;
};

export interface Status {
  version: string;
  pid: number;
  data: string;
  /** The node that runs the queue, in a cluster. */
  node?: string;
  /** In a cluster of several shards: who runs each of them. */
  shards?: { shard: number; owner?: string; error?: string }[];
  uptime_ms: number;
  mode: string;
  draining_ms?: number;
  connections: number;
  waiting_claims: number;
  waiting_submits: number;
  next_id: number;
  refusing?: string;
  memory: number;
  schedules: number;
  queues: Queue[];
}

export interface ClusterNode {
  node: string;
  role: string;
  version?: string;
  commit?: number;
  behind?: number;
  needs?: number;
  heard_ms?: number;
}

export interface Cluster {
  /** Which shard of how many this is, if there are several. */
  shard?: number;
  shards?: number;
  /** The node that says this. Of a shard that has only been started it is not known yet. */
  node?: string;
  owner: string | null;
  epoch: number;
  nodes: ClusterNode[];
  stream: { name: string; first?: number; last?: number; bytes?: number; leader?: string; error?: string };
  /** For how long the servers have said nothing to the owner, which alone says it. */
  unanswered_ms?: number;
}

export interface Worker {
  uid: number;
  pid?: number;
}

export interface Failure {
  attempt: number;
  since?: number;
  at: number;
  error: string;
  exit_status?: number;
  exit_signal?: number;
  worker?: Worker;
}

export interface Wait {
  job?: number;
  group?: string;
  when: string;
  held?: boolean;
}

export interface Job {
  id: number;
  queue: string;
  state: State;
  command?: string;
  priority: number;
  attempt: number;
  failed: number;
  attempts: number;
  crashes?: number;
  later?: number;
  timeout_ms: number | null;
  backoff?: { kind: string; base_ms: number; max_ms: number; jitter_permille: number };
  submitted_at: number;
  due_at?: number;
  started_at?: number;
  runs_until?: number;
  leased_at?: number;
  leased_until?: number;
  cancelling?: boolean;
  worker?: Worker;
  progress?: { percent: number; text?: string; at: number };
  ended_at?: number;
  exit_status?: number;
  exit_signal?: number;
  kept_until?: number;
  expires_at?: number;
  deadline?: number;
  owner: number;
  waits_for?: Wait[];
  on_unmet?: string;
  group?: string;
  key?: string;
  unique?: string;
  unique_while?: string;
  unique_for_ms?: number;
  has_checkpoint?: boolean;
  has_result?: boolean;
  until_signal?: string;
  signal?: string;
  signals_kept?: string[];
  tags?: [string, string][];
  tags_unread?: boolean;
  failures?: Failure[];
  stderr_tail?: string;
}

export interface Jobs {
  jobs: Job[];
  next?: number;
}

export interface Explained {
  id: number;
  state: State;
  reasons: string[];
}

/** What became of a change to one job, in the order of the ids. */
export interface Edited {
  error?: string;
  moved_on?: boolean;
  when_stopped?: boolean;
}

export interface Setting {
  key: string;
  value: string;
  from: "default" | "configuration" | "set";
  configured: string;
  by?: number;
  at?: number;
}

export interface Settings {
  queue: string;
  configured: boolean;
  settings: Setting[];
}

export interface Schedule {
  name: string;
  cron?: string;
  zone?: string;
  every_ms?: number;
  queue: string;
  owner: number;
  configured: boolean;
  paused: boolean;
  waits: boolean;
  next_at: number | null;
  fired: number;
  skipped: number;
  catch_up: string;
  overlap: string;
  jitter_ms: number;
  priority?: number;
  attempts?: number;
  key?: string;
  tags?: [string, string][];
  body_bytes: number;
  runs: { at: number; job: number; state: State | null }[];
}

export interface Group {
  group: string;
  owner: number;
  made_at: number;
  sealed: boolean;
  total: number;
  live: number;
  done: number;
  dead: number;
  cancelled: number;
  expired: number;
  gone: number;
  ended_at?: number;
  kept_until?: number;
}

/** One number a step, the oldest first; null where nothing is known. */
export type Series = (number | null)[];

export const COUNTED = ["submitted", "started", "completed", "failed", "dead"] as const;
export const LATENCIES = ["wait_p50_ms", "wait_p99_ms", "run_p50_ms", "run_p99_ms"] as const;
export type Counted = (typeof COUNTED)[number];
export type Latency = (typeof LATENCIES)[number];

export type QueueStats = { queue: string; ready: Series } & Record<Counted | Latency, Series>;

export interface Stats {
  from_ms: number;
  step_ms: number;
  queues: QueueStats[];
  /** So many queues are not in it, since it would be too long. */
  left_out?: number;
}
