#!/usr/bin/env node
// A client: asks for work again and again, one request at a time.
//
//   node client.js tcp://127.0.0.1:9998             no class: each request is one frame
//   node client.js tcp://127.0.0.1:9998 B           class B: each request is two frames, text and class
//
// Needs `npm install zeromq@6`. Exit code: 0 every request was answered; 1 an answer did not come in time; 2 wrong usage;
// 3 an answer was an ERROR.
'use strict';

const os = require('node:os');
const { parseArgs } = require('node:util');

function words() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      requests: { type: 'string', default: '10' },
      identity: { type: 'string', default: `C_${os.hostname()}` },
      message: { type: 'string' },
      timeout: { type: 'string', default: '120' },
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
  const request = new zmq.Request({
    // The name the broker knows this client by; no two may share one.
    routingId: options.identity,
    receiveTimeout: Number(options.timeout) * 1000,
    linger: 0,
  });
  request.connect(options.url);
  const message = options.message ?? (options.jobClass === undefined ? 'Hola' : 'Hello');
  let errors = 0;
  for (let number = 1; number <= Number(options.requests); number += 1) {
    const text = message.replaceAll('{}', () => String(number));
    await request.send(options.jobClass === undefined ? [text] : [text, options.jobClass]);
    const frames = await request.receive();
    const reply = frames.map(String).join(' ');
    errors += reply.startsWith('ERROR ') ? 1 : 0;
    console.log(`resp: ${reply}`);
  }
  return errors === 0 ? 0 : 3;
}

let options;
try {
  options = words();
} catch (error) {
  console.error(`client.js: ${error.message}`);
  console.error('usage: node client.js URL [CLASS] [--requests N] [--identity ID] [--message TEXT] [--timeout SECONDS]');
  process.exit(2);
}
main(options).then(
  (code) => process.exit(code),
  (error) => {
    console.error(`client.js: ${error.message}`);
    process.exit(1);
  },
);
