#!/usr/bin/env node
// Worker of one broker and client of another: hands the jobs of one class on, one at a time.
//
//   node worcli.js tcp://FIRST:9999 tcp://SECOND:9998 DELAY CLASS
//
// DELAY milliseconds are added to each job, half on the way there and half on the way back. Needs `npm install zeromq@6`.
// Exit code: 1 a socket failed; 2 wrong usage.
'use strict';

const os = require('node:os');
const { setTimeout: sleep } = require('node:timers/promises');

function connect(zmq, url, identity) {
  const request = new zmq.Request({ routingId: identity });
  request.connect(url);
  return request;
}

async function main(bk1, bk2, delay, jobClass) {
  const zmq = require('zeromq');
  const identity = process.env.IDENTITY ?? `WC_${os.hostname()}`;
  const source = connect(zmq, bk1, identity);
  const target = connect(zmq, bk2, identity);

  await source.send(['', jobClass]);
  for (;;) {
    const [client, , message] = await source.receive();
    await sleep(delay / 2);
    await target.send([message, jobClass]);
    const [reply] = await target.receive();
    await sleep(delay / 2);
    await source.send([client, '', reply, jobClass]);
  }
}

const [bk1, bk2, delay, jobClass] = process.argv.slice(2);
if (process.argv.length !== 6 || !Number.isInteger(Number(delay)) || Number(delay) < 0) {
  console.error('usage: node worcli.js BK1_WORKERS_URL BK2_CLIENTS_URL DELAY_MS CLASS');
  process.exit(2);
}
main(bk1, bk2, Number(delay), jobClass).catch((error) => {
  console.error(`worcli.js: ${error.message}`);
  process.exit(1);
});
