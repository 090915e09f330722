// Keeps a page up to date without a reload. Everything foreign is put in as text, never as markup.
"use strict";
(() => {
  const home = document.getElementById("home");
  const detail = document.getElementById("job");
  const conn = document.getElementById("conn");
  if (!(home || detail) || !window.EventSource) return;

  const PAUSE_MS = 300; // between two refreshes, so that a burst of events is one
  const RETRY_MS = 1000;
  const ended = (state) => ["succeeded", "failed", "cancelled"].includes(state);
  const get = async (path) => {
    const answer = await fetch("/api/v1" + path, { headers: { accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.status);
    return answer.json();
  };
  const put = (node, text) => { if (node && node.textContent !== text) node.textContent = text; };
  const make = (tag, parent) => parent.appendChild(document.createElement(tag));
  const excerpt = (text) => { const all = [...text]; return all.length > 120 ? all.slice(0, 120).join("") + "…" : text; };
  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let at = 0;
    while (bytes >= 1024 && at < 4) { bytes = Math.floor(bytes / 1024); at += 1; }
    return bytes + " " + units[at];
  };
  const outcome = (job) => {
    const result = job.result;
    if (!result) return "";
    if (typeof result.output === "string" && (result.output || !result.error)) return excerpt(result.output.trimEnd());
    return result.error ? excerpt(result.error) : "(" + size(result.output_bytes) + ")";
  };

  const row = (known, job) => {
    let tr = known.get(job.id);
    if (!tr) {
      tr = document.createElement("tr");
      tr.dataset.jobId = job.id;
      for (let i = 0; i < 7; i += 1) make("td", tr);
      tr.cells[2].className = "state";
      tr.cells[3].className = tr.cells[4].className = "text";
      const link = make("a", tr.cells[0]);
      link.href = "/jobs/" + job.id;
      link.textContent = job.id;
    }
    tr.dataset.state = job.state;
    const last = job.attempts[job.attempts.length - 1];
    const texts = [job.class, job.state, job.payload_excerpt, outcome(job), last ? last.node : "", job.submitted_at];
    texts.forEach((text, i) => put(tr.cells[i + 1], text));
    return tr;
  };
  const jobs = async () => {
    const body = document.getElementById("jobs");
    const list = await get("/jobs?limit=50");
    const known = new Map([...body.rows].map((tr) => [tr.dataset.jobId, tr]));
    const rows = list.items.map((job) => row(known, job));
    if (rows.length !== body.rows.length || rows.some((tr, i) => body.rows[i] !== tr)) body.replaceChildren(...rows);
  };

  const card = (known, node) => {
    let box = known.get(node.name);
    if (!box) {
      box = document.createElement("article");
      box.dataset.node = node.name;
      make("h3", box).textContent = node.name;
      make("p", box).className = "role";
      const list = make("dl", box);
      for (const name of ["CPU", "Memory", "Jobs"]) { make("dt", list).textContent = name; make("dd", list); }
    }
    Object.assign(box.dataset, { role: node.role, stopped: String(node.stopped), alive: String(node.alive) });
    const state = node.stopped ? ", stopped" : node.alive ? "" : ", silent";
    put(box.querySelector(".role"), node.role + (node.voter ? ", voter" : "") + state);
    const values = box.querySelectorAll("dd");
    put(values[0], node.cpu_percent + " %");
    put(values[1], size(node.memory_used_bytes) + " of " + size(node.memory_total_bytes));
    put(values[2], node.running + " of " + node.slots);
    return box;
  };
  const status = async () => {
    const now = await get("/status");
    put(document.getElementById("node"), now.node);
    put(document.getElementById("leader"), now.leader || "none");
    put(document.getElementById("term"), String(now.term));
    put(document.getElementById("index"), String(now.applied_index));
    const alert = document.getElementById("alert");
    const told = !now.quorum ? "No majority can be reached: new jobs wait, and what is shown may be old."
      : !now.open ? "The cluster is starting: it takes jobs as soon as enough voters are in sync." : "";
    if (alert.textContent.trim() !== told) {
      alert.replaceChildren();
      if (told) { const p = make("p", alert); p.setAttribute("role", "alert"); p.textContent = told; }
    }
    const box = document.getElementById("nodes");
    const known = new Map([...box.children].map((one) => [one.dataset.node, one]));
    const cards = now.nodes.map((node) => card(known, node));
    if (cards.length !== box.children.length || cards.some((one, i) => box.children[i] !== one)) box.replaceChildren(...cards);
  };
  const page = async () => {
    // The page of one job is rendered by the server; its main part is taken over when the job has moved.
    const job = await get("/jobs/" + detail.dataset.jobId + "?stale=1");
    if (job.rev === detail.dataset.rev) return;
    const answer = await fetch(location.pathname);
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("job");
    if (!fresh) return;
    detail.replaceChildren(...document.adoptNode(fresh).childNodes);
    Object.assign(detail.dataset, { state: job.state, rev: job.rev });
  };

  let wanted = new Set(), timer = 0, stream = null;
  const refresh = (...what) => {
    what.forEach((one) => wanted.add(one));
    if (!timer) timer = setTimeout(work, PAUSE_MS);
  };
  const work = async () => {
    const now = [...wanted];
    wanted.clear();
    try { for (const one of now) await one(); } catch { now.forEach((one) => wanted.add(one)); }
    timer = wanted.size ? setTimeout(work, RETRY_MS) : 0;
  };
  const all = () => (home ? refresh(jobs, status) : refresh(page));

  const open = () => {
    if (stream) stream.close();
    const path = home ? "/api/v1/events?kinds=job,node,leader" : "/api/v1/events?kinds=job&job=" + detail.dataset.jobId;
    stream = new EventSource(path);
    stream.onopen = () => { put(conn, "live"); all(); };
    stream.onerror = () => {
      put(conn, "reconnecting");
      const closed = stream;
      closed.close();
      setTimeout(() => { if (stream === closed && !document.hidden) open(); }, RETRY_MS);
    };
    stream.addEventListener("reset", all);
    stream.addEventListener("job", () => (home ? refresh(jobs) : refresh(page)));
    if (home) for (const kind of ["node", "leader"]) stream.addEventListener(kind, () => refresh(status));
  };
  // A browser allows few connections to one host: a hidden page gives its stream back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { if (stream) stream.close(); } else open();
  });
  if (!(detail && ended(detail.dataset.state))) open();
})();
