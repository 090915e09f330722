#!/usr/bin/env node
// A worker: says once what it can do, then does one job after another until it is stopped.
//
//   node worker.js tcp://127.0.0.1:9999             no class
//   node worker.js tcp://127.0.0.1:9999 B           class B
//
// Needs `npm install zeromq@6`. Exit code: 1 the socket failed; 2 wrong usage.
'use strict';

const os = require('node:os');
const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');

function words() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      identity: { type: 'string', default: `W_${os.hostname()}` },
      'work-ms': { type: 'string', default: '1000' },
      reply: { type: 'string' },
    },
  });
  const [url, jobClass] = positionals;
  if (url === undefined || positionals.length > 2) {
    throw new Error('one broker address and at most one class are wanted');
  }
  return { ...values, url, jobClass };
}

async function main(options) {
  const zmq = require('zeromq');
  // The name the broker knows this worker by; no two may share one.
  const request = new zmq.Request({ routingId: options.identity });
  request.connect(options.url);
  const reply = options.reply ?? (options.jobClass === undefined ? 'resp' : 'Done!');

  // The one registration of its life: an empty client, and what this worker can do.
  await request.send(options.jobClass === undefined ? ['', '', ''] : ['', options.jobClass]);
  for (;;) {
    // Whoever asked, an empty frame, what was asked. The first goes back as it came: it is the way to the client.
    const [client, , message] = await request.receive();
    await sleep(Number(options['work-ms']));
    const answer = [client, '', reply.replaceAll('{}', () => String(message))];
    // The reply is the next registration at the same time: it says that this worker is free again.
    await request.send(options.jobClass === undefined ? answer : [...answer, options.jobClass]);
  }
}

let options;
try {
  options = words();
} catch (error) {
  console.error(`worker.js: ${error.message}`);
  console.error('usage: node worker.js URL [CLASS] [--identity ID] [--work-ms MS] [--reply TEXT]');
  process.exit(2);
}
main(options).catch((error) => {
  console.error(`worker.js: ${error.message}`);
  process.exit(1);
});
