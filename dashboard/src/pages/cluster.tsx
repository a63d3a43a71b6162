// The cluster as the node sees it that serves these pages: who runs the queue, who could take over, and the stream on the servers.

import { get } from "../api.ts";
import { bytes, count, duration } from "../format.ts";
import { useLive } from "../live.ts";
import { Facts, Loaded, Wide } from "../parts.tsx";
import type { Cluster, ClusterNode } from "../types.ts";

const EVERY_MS = 1_000;
/** A node that is so many commits behind would take over late. */
const BEHIND = 1_000;
/** For so long the servers may say nothing: their elections take up to ten seconds. */
const UNANSWERED_MS = 10_000;

export function ClusterPage() {
  const live = useLive(allShards, { everyMs: EVERY_MS, concerns: () => false }, []);
  return (
    <>
      <h1 tabIndex={-1}>Cluster</h1>
      <Loaded live={live}>
        {(all) => (
          <>
            {all.map((seen) =>
              seen.shard === undefined ? (
                <Shard key="all" seen={seen} />
              ) : (
                <section key={seen.shard} aria-label={`Shard ${seen.shard}`}>
                  <h2>Shard {seen.shard}</h2>
                  <Shard seen={seen} />
                </section>
              ),
            )}
          </>
        )}
      </Loaded>
    </>
  );
}

/** All of them; where there are none, the cluster itself. */
async function allShards(signal: AbortSignal): Promise<Cluster[]> {
  const first = await get<Cluster>("/cluster", signal);
  const others = Array.from({ length: (first.shards ?? 1) - 1 }, (_, nth) => get<Cluster>(`/cluster?shard=${nth + 1}`, signal));
  return [first, ...(await Promise.all(others))];
}

function Shard({ seen }: { seen: Cluster }) {
  return (
    <>
      <Verdict seen={seen} />
      <Nodes seen={seen} />
      <Stream seen={seen} />
    </>
  );
}

function Verdict({ seen: { shard, owner, epoch, node, nodes, unanswered_ms } }: { seen: Cluster }) {
  const what = shard === undefined ? "the queue" : "it";
  const ready = nodes.filter(({ role }) => role === "standby").length;
  if (!owner) return <p class="fault" role="alert">No node runs {what}{node && <>, as {node} sees it</>}. If that lasts for more than some seconds: <code>musher cluster status</code>, and the logs of the nodes.</p>;
  if (unanswered_ms !== undefined && unanswered_ms > UNANSWERED_MS) return <p class="fault" role="alert">The servers have said nothing of the stream for {duration(unanswered_ms)}: nothing is acknowledged.</p>;
  const others = ready === 0 ? "No other node can take over." : ready === 1 ? "One node can take over." : `${count(ready)} nodes can take over.`;
  return (
    <p>
      <b>{owner}</b> runs {what}, in ownership {count(epoch)}. {others} {node !== owner && `This is how ${node} sees it.`}
    </p>
  );
}

function Nodes({ seen: { shard, nodes, node: own } }: { seen: Cluster }) {
  return (
    <Wide label={shard === undefined ? "Nodes" : `Nodes of shard ${shard}`} isSnug>
      <table class="list">
        <caption class="unseen">Nodes, in the order in which they take over</caption>
        <thead>
          <tr>
            <th scope="col">Node</th>
            <th scope="col">Role</th>
            <th scope="col" class="number">Commit</th>
            <th scope="col" class="number">Behind</th>
            <th scope="col" class="number wide">Needs the stream from</th>
            <th scope="col" class="number wide">Heard</th>
            <th scope="col" class="wide">Version</th>
          </tr>
        </thead>
        <tbody>
          {nodes.map((node) => (
            <tr key={node.node}>
              <th scope="row">
                {node.node} {node.node === own && <span class="small">serves this page</span>}
              </th>
              <td><span class={node.role === "absent" ? "mark bad" : "mark"}>{node.role}</span></td>
              <td class="number">{node.commit !== undefined && count(node.commit)}</td>
              <td class="number"><Behind node={node} /></td>
              <td class="number wide">{node.needs !== undefined && count(node.needs)}</td>
              <td class="number wide">{node.heard_ms === undefined ? "never" : `${duration(node.heard_ms)} ago`}</td>
              <td class="wide">{node.version}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

function Behind({ node: { behind } }: { node: ClusterNode }) {
  if (behind === undefined) return null;
  if (behind === 0) return <span class="zero">0</span>;
  return behind > BEHIND ? <b class="bad">{count(behind)}</b> : <>{count(behind)}</>;
}

function Stream({ seen: { shard, stream } }: { seen: Cluster }) {
  const id = shard === undefined ? "stream" : `stream-${shard}`;
  const { name, first, last, bytes: size, leader, error } = stream;
  return (
    <section aria-labelledby={id}>
      {shard === undefined ? <h2 id={id}>Stream</h2> : <h3 id={id}>Stream of shard {shard}</h3>}
      {error && <p class="fault" role="alert">The servers do not say how it is: {error}</p>}
      <Facts
        of={[
          ["Name", name],
          ["Records", first !== undefined && last !== undefined && (last < first || last === 0 ? "none" : `${count(last + 1 - first)}, from ${count(first)} to ${count(last)}`)],
          ["Size", size !== undefined && bytes(size)],
          ["Led by server", leader],
        ]}
      />
    </section>
  );
}
