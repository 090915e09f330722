// Adds new lines to the page as text, never as markup. The log may be of a later start of the container when a cut
// connection comes back: then its numbers begin anew.
"use strict";
(() => {
  const list = document.getElementById("log");
  const conn = document.getElementById("conn");
  const most = 5000;
  let last = Number(list.dataset.last);
  let incarnation = list.dataset.incarnation;

  const atEnd = () => window.innerHeight + window.scrollY >= document.body.scrollHeight - 40;

  function add(record) {
    const stay = atEnd();
    const line = document.createElement("li");
    // The log store numbers by arrival (n); a container's own log by itself (seq).
    const number = record.n ?? record.seq;
    line.dataset.seq = number;
    line.dataset.level = record.level;
    line.textContent =
      record.n === undefined
        ? `${record.seq} ${record.time} ${record.level} ${record.node} ${record.message}`
        : `<Log ${record.n}, Container ${record.container ?? "-"}: ${record.message}>`;
    list.append(line);
    while (list.children.length > most) list.firstElementChild.remove();
    last = number;
    if (stay) window.scrollTo(0, document.body.scrollHeight);
  }

  // True when the lines belong to the start of the container that this page shows.
  function head(bounds) {
    if (bounds.incarnation === incarnation) return true;
    incarnation = bounds.incarnation;
    last = 0;
    return false;
  }

  async function follow() {
    const answer = await fetch(`/logging?follow=1&format=jsonl&after=${last}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    conn.textContent = "live";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let begun = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const record = JSON.parse(line);
        if (begun) add(record);
        else if (head(record)) begun = true;
        else return reader.cancel();
      }
    }
  }

  async function forever() {
    window.scrollTo(0, document.body.scrollHeight);
    for (;;) {
      try {
        await follow();
      } catch (error) {
        console.warn("log: the connection ended:", error.message);
      }
      conn.textContent = "reconnecting";
      await new Promise((wake) => setTimeout(wake, 1000));
    }
  }

  forever();
})();
