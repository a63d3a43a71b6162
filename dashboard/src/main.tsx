// The frame around all pages, and which of them is shown.

import { render } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { now } from "./clock.ts";
import { away } from "./connection.ts";
import { Dialog, Says } from "./dialog.tsx";
import { followEvents } from "./events.ts";
import { count } from "./format.ts";
import { helpIsOpen, listenToKeys } from "./keys.ts";
import { ClusterPage } from "./pages/cluster.tsx";
import { DeadPage } from "./pages/dead.tsx";
import { GroupPage, GroupsPage } from "./pages/groups.tsx";
import { JobPage } from "./pages/job.tsx";
import { Overview } from "./pages/overview.tsx";
import { QueuePage } from "./pages/queue.tsx";
import { SchedulePage, SchedulesPage } from "./pages/schedules.tsx";
import { SearchPage } from "./pages/search.tsx";
import { SignIn } from "./pages/sign_in.tsx";
import { WorkersPage } from "./pages/workers.tsx";
import { Since } from "./parts.tsx";
import { go, type Route, to, useRoute } from "./route.ts";
import { StatusContext, useAskedStatus, useStatus } from "./status.ts";
import { nextTheme, theme } from "./theme.ts";
import { signOut, token } from "./token.ts";
import { useValue } from "./value.ts";

function Page({ route }: { route: Route }) {
  const [kind = "", name] = route.path;
  switch (kind) {
    case "":
      return <Overview route={route} />;
    case "queues":
      return name === undefined ? <Overview route={route} /> : <QueuePage key={name} name={name} route={route} />;
    case "jobs":
      return /^\d+$/.test(name ?? "") ? <JobPage key={name} id={Number(name)} /> : <Nowhere />;
    case "dead":
      return <DeadPage />;
    case "schedules":
      return name === undefined ? <SchedulesPage /> : <SchedulePage key={name} name={name} />;
    case "groups":
      return name === undefined ? <GroupsPage /> : <GroupPage key={name} name={name} route={route} />;
    case "workers":
      return <WorkersPage />;
    case "cluster":
      return <ClusterPage />;
    case "search":
      return <SearchPage route={route} />;
    default:
      return <Nowhere />;
  }
}

function Nowhere() {
  return (
    <>
      <h1 tabIndex={-1}>Nothing is here</h1>
      <p>
        This address names no page. <a href={to([])}>Overview</a>
      </p>
    </>
  );
}

const PLACES: [string, string][] = [
  ["", "Overview"],
  ["dead", "Dead"],
  ["schedules", "Schedules"],
  ["groups", "Groups"],
  ["workers", "Workers"],
];

/** Only where there is one. */
const CLUSTER: [string, string] = ["cluster", "Cluster"];

function Header({ route }: { route: Route }) {
  const { data } = useStatus();
  const colours = useValue(theme);
  const dead = data?.queues.reduce((sum, queue) => sum + queue.dead, 0) ?? 0;
  const [kind = ""] = route.path;
  const current = kind === "queues" ? "" : kind;
  const places = (data?.node ?? data?.shards) !== undefined || kind === "cluster" ? [...PLACES, CLUSTER] : PLACES;
  return (
    <header class="top">
      <a class="name" href={to([])}>Musher</a>
      <nav aria-label="Pages">
        {places.map(([path, label]) => (
          <a key={path} href={to(path === "" ? [] : [path])} aria-current={path === current ? "page" : undefined}>
            {label}
            {path === "dead" && dead > 0 && <b class="bad"> {count(dead)}</b>}
          </a>
        ))}
      </nav>
      <Search route={route} />
      <div class="buttons">
        <button type="button" class="plain" aria-label={`Colours: ${colours}. Change`} title={`Colours: ${colours}`} onClick={nextTheme}>
          {{ auto: "◐", light: "○", dark: "●" }[colours]}
        </button>
        <button type="button" class="plain" aria-label="Keys" title="Keys" onClick={() => helpIsOpen.set(true)}>?</button>
        <button type="button" class="plain" onClick={signOut}>Sign out</button>
      </div>
    </header>
  );
}

function Search({ route }: { route: Route }) {
  const asked = route.path[0] === "search" ? (route.query.get("q") ?? "") : "";
  const [text, setText] = useState(asked);
  // With the page, not after it was painted: what is typed at once would be overwritten.
  useLayoutEffect(() => setText(asked), [asked]);
  const search = (event: Event) => {
    event.preventDefault();
    if (text.trim() !== "") go(to(["search"], { q: text.trim() }));
  };
  return (
    <form class="search" role="search" onSubmit={search}>
      <input id="search" type="search" aria-label="Search jobs: id, tag=value, key:K, queue:Q, state:S" placeholder="id, tag=value, key, queue…" title="/ brings you here" autocomplete="off" spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />
    </form>
  );
}

/** What stands above each page: the daemon does not answer, or is another one than these pages are of. */
function Banner() {
  const since = useValue(away);
  const { data } = useStatus();
  const first = useRef<string | null>(null);
  first.current ??= data?.version ?? null;
  const isOther = data !== undefined && data.version !== first.current;
  return (
    <div role="status">
      {since !== null && (
        <p class="banner">
          The daemon has not answered for <Since at={since + (now() - Date.now())} />. What is shown is from before; it goes on by itself when the daemon is back.
        </p>
      )}
      {since === null && isOther && (
        <p class="banner">
          The daemon is version {data.version} now. <button type="button" class="small" onClick={() => location.reload()}>Load its pages</button>
        </p>
      )}
    </div>
  );
}

function Help() {
  const isOpen = useValue(helpIsOpen);
  const own = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (isOpen) own.current?.showModal();
  }, [isOpen]);
  const keys = [
    ["/", "search"],
    ["j, k", "next and previous row of a list; the arrows as well, in a list"],
    ["Enter", "opens the row"],
    ["Esc", "leaves a field, or a question, without doing anything"],
    ["?", "this"],
  ];
  return isOpen ? (
    <dialog ref={own} aria-labelledby="keys-title" onClose={() => helpIsOpen.set(false)}>
      <form method="dialog">
        <h2 id="keys-title">Keys</h2>
        <dl class="keys">
          {keys.map(([key, does]) => (
            <div key={key}>
              <dt><kbd>{key}</kbd></dt>
              <dd>{does}</dd>
            </div>
          ))}
        </dl>
        <p class="hint">
          The search takes an id (<code>42</code>), a tag (<code>order=7</code>), <code>key:customer-7</code>, <code>queue:mails</code>, <code>state:dead</code>, <code>group:album-7</code>, <code>error:"status 503"</code>, or several of them.
        </p>
        <div class="buttons"><button type="submit" class="primary">Close</button></div>
      </form>
    </dialog>
  ) : null;
}

function SignedIn() {
  const route = useRoute();
  const status = useAskedStatus();
  const path = route.path.join("/");
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${path === "" ? "Overview" : route.path.join(" ")} · Musher`;
    // Who goes to another page begins to read it at its title.
    if (!isFirst.current) {
      document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    isFirst.current = false;
  }, [path]);
  const skip = () => document.querySelector<HTMLElement>("main")?.focus();
  return (
    <StatusContext.Provider value={status}>
      <button type="button" class="skip" onClick={skip}>To the content</button>
      <Header route={route} />
      <Banner />
      <main tabIndex={-1}>
        <Page route={route} />
      </main>
      <Says />
      <Dialog />
      <Help />
    </StatusContext.Provider>
  );
}

function App() {
  const own = useValue(token);
  useEffect(() => {
    if (own === null) document.title = "Musher";
  }, [own]);
  return own === null ? <SignIn /> : <SignedIn key={own} />;
}

listenToKeys();
followEvents();
render(<App />, document.getElementById("app")!);
