// Keeps a page up to date without a reload. Everything foreign is put in as text, never as markup.
"use strict";
(() => {
  const home = document.getElementById("home");
  const detail = document.getElementById("job");
  const conn = document.getElementById("conn");
  if (!(home || detail) || !window.EventSource) return;

  const PAUSE_MS = 300; // between two refreshes, so that a burst of events is one
  const RETRY_MS = 1000;
  const ROWS = 50;
  const by = (id) => document.getElementById(id);
  const ended = (state) => ["succeeded", "failed", "cancelled"].includes(state);
  const put = (node, text) => { if (node && node.textContent !== text) node.textContent = text; };
  const make = (tag, parent) => parent.appendChild(document.createElement(tag));

  // One call of the API: its answer, else an error with the problem it told.
  const call = async (path, options) => {
    const answer = await fetch("/api/v1" + path, { cache: "no-store", ...options });
    const body = await answer.json().catch(() => ({}));
    if (answer.ok) return body;
    throw Object.assign(new Error(body.detail || "HTTP " + answer.status), { problem: body });
  };
  const kind = (error) => String((error.problem && error.problem.type) || "").replace("/problems/", "");
  // 128 random bits; crypto.randomUUID is not there on plain http.
  const random = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
  const chance = (most) => crypto.getRandomValues(new Uint16Array(1))[0] % (most + 1);

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

  // Revisions are epoch.index.n. A node that is behind the one asked before must not turn the list back.
  const isOlder = (rev, than) => {
    const [a, b] = [rev, than].map((one) => String(one || "").split(".").map(Number));
    const at = [0, 1, 2].find((i) => (a[i] || 0) !== (b[i] || 0));
    return at !== undefined && (a[at] || 0) < (b[at] || 0);
  };
  const row = (known, job) => {
    let tr = known.get(job.id);
    if (!tr) {
      tr = document.createElement("tr");
      tr.dataset.jobId = job.id;
      for (let i = 0; i < 7; i += 1) make("td", tr);
      tr.cells[2].className = "state";
      tr.cells[3].className = tr.cells[4].className = "text";
      tr.cells[6].className = "time";
      ["Payload", "Result", "On", "Submitted"].forEach((label, i) => { tr.cells[i + 3].dataset.label = label; });
      const link = make("a", tr.cells[0]);
      link.href = "/jobs/" + encodeURIComponent(job.id);
      link.textContent = job.id;
    }
    tr.dataset.state = job.state;
    const last = job.attempts[job.attempts.length - 1];
    const texts = [job.class, job.state, job.payload_excerpt, outcome(job), last ? last.node : "", job.submitted_at];
    texts.forEach((text, i) => put(tr.cells[i + 1], text));
    return tr;
  };
  const rows = (items) => {
    const body = by("jobs");
    const known = new Map([...body.rows].map((tr) => [tr.dataset.jobId, tr]));
    const all = items.map((job) => row(known, job));
    if (all.length !== body.rows.length || all.some((tr, i) => body.rows[i] !== tr)) body.replaceChildren(...all);
    by("empty").hidden = all.length > 0;
  };
  const jobs = async () => {
    const list = await call("/jobs?limit=" + ROWS);
    if (isOlder(list.rev, home.dataset.rev)) throw new Error("this node is behind");
    home.dataset.rev = list.rev;
    rows(list.items);
  };

  const turnOf = (stopped) => (stopped ? "Resume" : "Stop");
  const look = (box, node) => {
    box.told = node;
    Object.assign(box.dataset, { node: node.name, role: node.role, stopped: String(node.stopped), alive: String(node.alive) });
    const part = (name) => box.querySelector("." + name);
    part("crown").hidden = node.role !== "leader";
    put(part("name"), node.name);
    const state = node.stopped ? ", stopped" : node.alive ? "" : ", silent";
    put(part("role"), node.role + (node.voter ? ", voter" : "") + state);
    part("cpu").value = node.cpu_percent;
    put(part("cpu-text"), node.cpu_percent + " %");
    part("ram").value = Math.floor((100 * node.memory_used_bytes) / Math.max(1, node.memory_total_bytes));
    put(part("ram-text"), size(node.memory_used_bytes) + " of " + size(node.memory_total_bytes));
    put(part("jobs"), node.running + " of " + node.slots);
    const turn = turnOf(node.stopped);
    box.querySelector("form").action = "/nodes/" + encodeURIComponent(node.name) + "/" + turn.toLowerCase();
    const button = box.querySelector("button");
    put(button, turn);
    button.setAttribute("aria-label", turn + " " + node.name);
    return box;
  };
  const card = () => by("card").content.firstElementChild.cloneNode(true);
  const tell = (text) => {
    const alert = by("alert");
    if (alert.textContent.trim() === text) return;
    alert.replaceChildren();
    if (text) { const p = make("p", alert); p.setAttribute("role", "alert"); p.textContent = text; }
  };
  const status = async () => {
    let now;
    try {
      now = await call("/status");
    } catch (error) {
      if (kind(error) === "no-quorum") tell("No node can be reached: new jobs wait, and what is shown may be old.");
      if (kind(error) === "stopped") tell("What serves this page is stopped, and what is shown may be old; the other nodes go on.");
      throw error;
    }
    put(by("node"), now.node);
    put(by("leader"), now.leader || "none");
    put(by("term"), String(now.term));
    put(by("index"), String(now.applied_index));
    tell(!now.quorum ? "No majority can be reached: new jobs wait, and what is shown may be old."
      : !now.open ? "The cluster is starting: it takes jobs as soon as enough voters are in sync." : "");
    const box = by("nodes");
    const known = new Map([...box.children].map((one) => [one.dataset.node, one]));
    const cards = now.nodes.map((node) => look(known.get(node.name) || card(), node));
    if (cards.length !== box.children.length || cards.some((one, i) => box.children[i] !== one)) box.replaceChildren(...cards);
  };
  const page = async () => {
    // The page of one job is rendered by the server; its main part is taken over when the job has moved.
    const job = await call("/jobs/" + detail.dataset.jobId + "?stale=1");
    if (job.rev === detail.dataset.rev) return;
    const answer = await fetch(location.pathname);
    if (!answer.ok) throw new Error("HTTP " + answer.status);
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
    for (const one of now) { try { await one(); } catch { wanted.add(one); } }
    timer = wanted.size ? setTimeout(work, RETRY_MS) : 0;
  };
  const all = () => (home ? refresh(jobs, status) : refresh(page));

  // A form stays as it is while its job goes out; the key makes a second try the same job.
  const say = (told, error) => { put(by("told"), told); put(by("error"), error); by("error").hidden = !error; };
  const fill = (form) => {
    form.elements.class.value = "python";
    form.elements.payload.value = "import time\n\ntime.sleep(" + (10 + chance(50)) + ")\nprint(" + chance(999) + " + " + chance(999) + ")\n";
    form.elements.key.value = random();
    say("A payload is filled in: look at it, then send it.", "");
  };
  const send = async (form) => {
    const buttons = form.querySelectorAll("button");
    const sent = { class: form.elements.class.value, payload: form.elements.payload.value };
    const headers = { "content-type": "application/json", "idempotency-key": form.elements.key.value };
    buttons.forEach((button) => { button.disabled = true; });
    say("Sending …", "");
    try {
      const job = await call("/jobs", { method: "POST", headers, body: JSON.stringify(sent) });
      form.elements.key.value = random();
      const known = by("jobs").querySelector("[data-job-id=\"" + CSS.escape(job.id) + "\"]");
      if (!known) by("jobs").prepend(row(new Map(), job));
      by("empty").hidden = true;
      // A list that was on its way when the job came must not take its row away.
      if (isOlder(home.dataset.rev, job.rev)) home.dataset.rev = job.rev;
      say("Job " + job.id + " is accepted.", "");
      refresh(jobs);
    } catch (error) {
      const unknown = !error.problem || kind(error) === "outcome-unknown" || kind(error) === "";
      if (kind(error) === "key-reused") form.elements.key.value = random();
      say("", unknown ? "No answer came. The job may have been accepted; submitting it again makes no second one."
        : "The job was not accepted: " + error.message + ".");
    }
    buttons.forEach((button) => { button.disabled = false; });
  };

  // Stopping a node is asked once more.
  let asked = null;
  const ask = (box) => {
    const { node, stopped } = box.dataset;
    asked = { box, node, stops: stopped !== "true" };
    put(by("confirm-title"), turnOf(!asked.stops) + " " + node + "?");
    put(by("confirm-text"), asked.stops
      ? "It falls silent as if it had crashed, and forgets what it had not on disk. Its jobs run again elsewhere."
      : "It comes back and gets jobs again.");
    by("confirm").returnValue = "";
    by("confirm").showModal();
  };
  const turn = async ({ box, node, stops }) => {
    try {
      await call("/nodes/" + encodeURIComponent(node) + "/" + (stops ? "stop" : "resume"), { method: "POST" });
      if (box.told) look(box, { ...box.told, stopped: stops });
      say(node + (stops ? " is stopped." : " is back."), "");
    } catch (error) {
      say("", "That did not work: " + error.message + ".");
    }
    refresh(status);
  };
  if (home) {
    by("submit").addEventListener("submit", (event) => {
      event.preventDefault();
      if (event.submitter && event.submitter.value === "generate") fill(event.target); else send(event.target);
    });
    by("nodes").addEventListener("submit", (event) => { event.preventDefault(); ask(event.target.closest("article")); });
    by("confirm").addEventListener("close", () => { if (by("confirm").returnValue === "confirm" && asked) turn(asked); });
  }

  const open = () => {
    if (stream) stream.close();
    const path = home ? "/api/v1/events?kinds=job,node,leader" : "/api/v1/events?kinds=job&job=" + detail.dataset.jobId;
    stream = new EventSource(path);
    stream.onopen = () => { put(conn, "live"); all(); };
    stream.onerror = () => {
      put(conn, "reconnecting");
      const closed = stream;
      closed.close();
      if (home) refresh(status);
      setTimeout(() => { if (stream === closed && !document.hidden) open(); }, RETRY_MS);
    };
    stream.addEventListener("reset", () => { if (home) home.dataset.rev = ""; all(); });
    stream.addEventListener("job", () => (home ? refresh(jobs) : refresh(page)));
    if (home) for (const one of ["node", "leader"]) stream.addEventListener(one, () => refresh(status));
  };
  // A browser allows few connections to one host: a hidden page gives its stream back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { if (stream) stream.close(); } else open();
  });
  if (!(detail && ended(detail.dataset.state))) open();
})();
