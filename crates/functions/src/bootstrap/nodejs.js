'use strict';
// Belfry's side of a Node.js worker: loads a function's code, then runs one invocation after the other.
//
// The conversation goes over descriptor 0, a socket of which nobody else has the other end: a line of JSON each way, an event
// behind its line. An invocation ends when nothing is left to be done: the socket does not count while one runs, so that Node's
// own `beforeExit` says it. Output is written synchronously: Node's own streams would lose it when the process ends.

const fs = require('fs');
const net = require('net');
const path = require('path');
const util = require('util');
const { Console } = require('console');
const { Readable, Writable } = require('stream');
const { pathToFileURL } = require('url');

const exit = process.exit.bind(process);
const stringify = JSON.stringify;
const parse = JSON.parse;
const pause = new Int32Array(new SharedArrayBuffer(4));
let setup = null;
let handler = null;
// The invocation that runs: {id, answered, silent, drain}.
let current = null;

function writeAll(fd, data) {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  let at = 0;
  while (at < bytes.length) {
    try {
      at += fs.writeSync(fd, bytes, at);
    } catch (error) {
      if (error.code === 'EPIPE') return;
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}

function output(fd, change) {
  const stream = new Writable({
    decodeStrings: false,
    write(chunk, encoding, done) {
      const data = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
      writeAll(fd, change ? change(data) : data);
      done();
    },
  });
  stream.fd = fd;
  return stream;
}

function takeOutput() {
  const define = (name, value) =>
    Object.defineProperty(process, name, { value, writable: true, configurable: true, enumerable: true });
  define('stdout', output(1));
  define('stderr', output(2));
  define('stdin', Readable.from([]));
  const dated = (data) =>
    Buffer.concat([Buffer.from(`${new Date().toISOString()}\t${current ? current.id : '-'}\t`), data]);
  const own = new Console({ stdout: output(1, dated), stderr: output(2, dated) });
  for (const name of Object.keys(own)) {
    if (typeof own[name] === 'function') console[name] = own[name];
  }
}

// Half of a character outside the basic plane is no text, though JSON can write it.
const HALVES = /(?<=(?<!\\)(?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g;
const whole = (json) => (json.includes('\\ud') ? json.replace(HALVES, '\ufffd') : json);

function send(message) {
  writeAll(0, whole(stringify(message)) + '\n');
}

function told(error) {
  if (error instanceof Error || (error && typeof error === 'object' && 'message' in error)) {
    const kind = error.name || (error.constructor && error.constructor.name) || 'Error';
    return {
      type: String(kind),
      message: String(error.message),
      stack: typeof error.stack === 'string' ? error.stack : undefined,
    };
  }
  return { type: 'Error', message: typeof error === 'string' ? error : util.inspect(error) };
}

function answer(value) {
  if (!current || current.answered) return;
  if (typeof value === 'function' || typeof value === 'symbol') {
    return fail('not_serializable', new TypeError(`a ${typeof value} cannot be written as JSON`));
  }
  let text;
  try {
    text = stringify(value);
  } catch (error) {
    return fail('not_serializable', error);
  }
  text = text === undefined ? 'null' : whole(text);
  const bytes = Buffer.byteLength(text);
  if (bytes > setup.answerBytesMax) {
    return fail('too_large', new Error(`the answer has ${bytes} bytes, at most ${setup.answerBytesMax} are taken`));
  }
  current.answered = true;
  const done = !current.waits();
  writeAll(0, `{"type":"result","id":"${current.id}","done":${done},"value":${text}}\n`);
  if (done) rest();
}

function fail(kind, error) {
  if (!current || current.answered) return;
  current.answered = true;
  const done = !current.waits();
  send({ type: 'error', id: current.id, kind, error: told(error), done });
  if (done) rest();
}

function rest() {
  current = null;
  socket.ref();
}

process.on('beforeExit', () => {
  if (!current) return;
  if (!current.answered) {
    if (current.silent) answer(null);
    else fail('no_answer', new Error('nothing is left to be done, and there is no answer'));
    // Without `waits` that was the end.
    if (!current) return;
  }
  const { id } = current;
  rest();
  writeAll(0, `{"type":"done","id":"${id}"}\n`);
});

process.on('uncaughtException', (error) => {
  // The function's own handler deals with it.
  if (process.listenerCount('uncaughtException') > 1) return;
  if (!setup || !handler) send({ type: 'init_error', error: told(error) });
  else if (!current) writeAll(2, `${util.inspect(error)}\n`);
  else if (current.answered) send({ type: 'late_error', id: current.id, error: told(error) });
  else send({ type: 'error', id: current.id, kind: 'uncaught', error: told(error) });
  exit(1);
});

async function load() {
  const dot = setup.handler.lastIndexOf('.');
  const file = path.join(setup.dir, setup.handler.slice(0, dot));
  const name = setup.handler.slice(dot + 1);
  const found = ['.js', '.cjs', '.mjs', ''].map((end) => file + end).find((at) => fs.existsSync(at));
  if (found === undefined) {
    throw Object.assign(new Error(`there is no file ${setup.handler.slice(0, dot)}.js`), { name: 'HandlerNotFound' });
  }
  let module;
  if (found.endsWith('.mjs')) {
    module = await import(pathToFileURL(found));
  } else {
    try {
      module = require(found);
    } catch (error) {
      if (error.code !== 'ERR_REQUIRE_ESM') throw error;
      module = await import(pathToFileURL(found));
    }
  }
  const loaded = module[name] || (module.default && module.default[name]);
  if (typeof loaded !== 'function') {
    throw Object.assign(new Error(`${path.basename(found)} exports no function ${name}`), { name: 'HandlerNotFound' });
  }
  return loaded;
}

async function init(message) {
  setup = message;
  const began = process.hrtime.bigint();
  try {
    handler = await load();
  } catch (error) {
    send({ type: 'init_error', error: told(error) });
    exit(1);
  }
  const initUs = Number((process.hrtime.bigint() - began) / 1000n);
  send({ type: 'ready', initUs, version: process.versions.node });
}

function invoke(message, raw) {
  const context = message.context;
  const fc = setup.profile === 'fc';
  current = {
    id: message.id,
    answered: false,
    // A handler that takes no callback and gives no promise may well say nothing.
    silent: false,
    waits: () => setup.drain === 'wait' && context.callbackWaitsForEmptyEventLoop !== false,
  };
  const mine = current;
  const only = (act) => (...values) => {
    if (current === mine) act(...values);
  };
  const succeed = only(answer);
  const failed = only((error) => fail('exception', error));
  const callback = (error, value) => (error === null || error === undefined ? succeed(value) : failed(error));
  context.callbackWaitsForEmptyEventLoop = true;
  context.getRemainingTimeInMillis = () => Math.max(0, message.deadlineMs - Date.now());
  context.done = callback;
  context.succeed = succeed;
  context.fail = failed;
  if (fc) context.logger = console;
  socket.unref();
  let given;
  try {
    const event = fc ? raw : parse(raw.toString('utf8'));
    given = handler(event, context, callback);
  } catch (error) {
    return failed(error);
  }
  if (given && typeof given.then === 'function') given.then(succeed, failed);
  // What a handler with a callback returns besides is no answer.
  else if (handler.length < 3) {
    if (given !== undefined) succeed(given);
    else mine.silent = true;
  }
}

const socket = new net.Socket({ fd: 0, readable: true, writable: false });
let pending = [];
let have = 0;
let need = 0;
let head = null;

socket.on('data', (chunk) => {
  pending.push(chunk);
  have += chunk.length;
  if (have < need) return;
  let bytes = pending.length === 1 ? chunk : Buffer.concat(pending);
  for (;;) {
    if (!head) {
      const end = bytes.indexOf(10);
      if (end < 0) break;
      head = parse(bytes.toString('utf8', 0, end));
      bytes = bytes.subarray(end + 1);
    }
    need = head.type === 'invoke' ? head.eventBytes : 0;
    if (bytes.length < need) break;
    const raw = bytes.subarray(0, need);
    bytes = bytes.subarray(need);
    const message = head;
    head = null;
    need = 0;
    if (message.type === 'init') init(message);
    else if (message.type === 'invoke') invoke(message, raw);
  }
  pending = bytes.length ? [bytes] : [];
  have = bytes.length;
});
socket.on('end', () => exit(0));
socket.on('error', () => exit(1));
takeOutput();
