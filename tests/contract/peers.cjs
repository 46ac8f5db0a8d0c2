// The other side of the contract tests: a provider played by mockttp, and Prism in front of it, which lets pass only
// what an OpenAPI description allows.
//
//     node peers.cjs NPM-FOLDER CLOSE-RATE SEED [DESCRIPTION]
//
// Says {"provider": port, "raw": port, "front": port} in its first line, then a line for every request that reached
// the provider and for everything that Prism found wrong.  What the provider does is named by the text that it is sent,
// in square brackets: "[close]", "[error_400_131026]"; without any it accepts.
'use strict';
const net = require('net');
const path = require('path');
const {createRequire} = require('module');
const {PassThrough} = require('stream');
const [folder, closeRate, seed, description] = process.argv.slice(2);
const need = createRequire(path.join(path.resolve(folder), 'x.js'));
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Small and known, so that a seed repeats a run.
let state = Number(seed) >>> 0 || 1;
const random = () => {
  state ^= state << 13; state >>>= 0; state ^= state >>> 17; state ^= state << 5; state >>>= 0;
  return state / 2 ** 32;
};

let serial = 0;
const sentence = (code) => code.replace(/_/g, ' ');
const evolutionRefusal = (code) => code === 'exists' ? {exists: false, jid: 'x', number: '1'} : sentence(code);

// By provider: the paths that are its own, what it says when it takes a message, an upload or a look, when it refuses.
const PROVIDERS = {
  cloudapi: {
    path: /^\/v[0-9.]+\//,
    accepts: (to, path) => /\/media$/.test(path) ? {id: `44907${++serial}`}
      : {messaging_product: 'whatsapp', contacts: [{input: to, wa_id: to}], messages: [{id: `wamid.${++serial}`}]},
    state: {id: '1065', status: 'CONNECTED', quality_rating: 'GREEN'},
    refuses: (code) => ({error: {message: `(#${code}) refused`, type: 'OAuthException', code: Number(code), fbtrace_id: 'A',
                                 error_data: {messaging_product: 'whatsapp', details: 'as asked'}}}),
  },
  waha: {
    path: /^\/api\/(send(Text|Image|Video|Voice|File)$|sessions\/)/,
    accepts: () => ({id: `true_60@c.us_${++serial}`, timestamp: 1}), status: 201,
    state: {name: 'default', status: 'WORKING'},
    refuses: (code, status) => status === 422 ? {error: 'Session status is not as expected', session: 's', status: code,
                                                 expected: ['WORKING']}
      : {statusCode: status, exception: {message: sentence(code)}},
  },
  evolution: {
    path: /^\/(message|instance)\//,
    accepts: () => ({key: {remoteJid: '60@s.whatsapp.net', fromMe: true, id: `3EB0${++serial}`}, status: 'PENDING'}), status: 201,
    state: {instance: {instanceName: 'x', state: 'open'}},
    refuses: (code, status) => ({status, error: 'Refused', response: {message: [evolutionRefusal(code)]}}),
  },
  whacenter: {
    path: /^\/api\/(send|statusDevice)$/,
    accepts: () => ({status: true, message: 'Message will be sent', data: []}),
    state: {status: true, message: 'success get device status', data: {status: 'CONNECTED'}},
    refuses: (code) => ({status: false, message: sentence(code), data: []}),
  },
  wablas: {
    path: /^\/api\/(send-|device\/)/,
    accepts: () => ({status: true, message: 'pending', data: {messages: [{id: `w${++serial}`, status: 'pending'}]}}),
    state: {status: true, data: {status: 'connected'}},
    refuses: (code) => ({status: false, message: sentence(code)}),
  },
  fonnte: {
    path: /^\/(send|device)$/,
    accepts: () => ({detail: 'success! message in queue', id: [`f${++serial}`], process: 'pending', status: true}),
    state: {device: '60', device_status: 'connect', status: true},
    refuses: (code) => ({status: false, reason: sentence(code), requestid: ++serial}),
  },
  gowa: {
    path: /./,
    accepts: () => ({code: 'SUCCESS', message: 'Message sent', results: {message_id: `3EB0${++serial}`, status: 'sent'}}),
    state: {code: 'SUCCESS', message: 'x', results: {device_id: 'x', is_connected: true, is_logged_in: true}},
    refuses: (code) => ({status: 0, code, message: `refused with ${code}`, results: null}),
  },
};
const providerOf = (path) => Object.values(PROVIDERS).find((p) => p.path.test(path));
const LOOKS = /^\/(app\/status|devices\/|instance\/|device$|api\/(sessions\/|statusDevice$|device\/))/;

function endless(head, everyMs, piece) {
  const stream = new PassThrough();
  stream.write(head);
  const more = () => {
    if (stream.destroyed) return;
    if (everyMs) { stream.write(piece); setTimeout(more, everyMs); } else if (stream.write(piece)) setImmediate(more);
    else stream.once('drain', more);
  };
  more();
  return stream;
}

// Without a length the connection would end with the answer, and none be kept.
function json(status, value, body = JSON.stringify(value)) {
  const headers = {'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body))};
  return {statusCode: status, headers, body};
}

// What a message's text asks for.
async function play(a) {
  const [word, status, ...rest] = a.name.split('_');
  const accepted = () => json(a.provider.status || 200, a.provider.accepts(a.to, a.path));
  switch (word) {
    case 'close': return 'close';
    case 'reset': return 'reset';
    case 'sometimes': return random() < Number(closeRate) ? 'close' : accepted();
    case 'late': await pause(700); return accepted();
    case 'garbage': return json(200, null, '\u0000}{]["\ufffd');
    case 'error': return json(Number(status), a.provider.refuses(rest.join('_'), Number(status)));
    default: return a.look ? json(200, a.provider.state) : accepted();
  }
}

// What is no whole answer.  A stream serves one request, so there are some of each.
const STREAMS = 32;
const streams = {
  never: (rule) => rule.thenTimeout(),
  dribble: (rule) => rule.thenStream(200, endless('{"code":"', 100, 'x')),
  huge: (rule) => rule.thenStream(200, endless('{"code":"', 0, 'x'.repeat(65536))),
};

// mockttp writes whole heads only; these two need half of one, and none.
function raw(names) {
  return net.createServer((socket) => {
    let got = '';
    socket.setEncoding('latin1'); // a character a byte, as lengths are counted
    socket.on('error', () => {});
    socket.on('data', (data) => {
      got += data;
      const length = /content-length: (\d+)/i.exec(got);
      const at = got.indexOf('\r\n\r\n');
      if (at < 0 || !length || got.length - at - 4 < Number(length[1])) return;
      const what = names(got);
      say({seen: what, look: LOOKS.test(got.split(' ')[1]), body: got.slice(at + 4)});
      got = '';
      if (what.startsWith('noise')) return socket.end('\x16\x03\x01 nothing that anybody speaks\r\n\r\n');
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('X-Slow: 1\r\n'), 100);
      socket.on('close', () => clearInterval(timer));
    });
  });
}

const nameOf = (text) => (/\[([a-zA-Z0-9_]+)\]/.exec(text || '') || [])[1] || 'ok';

async function main() {
  const mockttp = need('mockttp').getLocal({http2: false, maxBodySize: 1 << 20});
  await mockttp.start(0);
  const about = async (request) => {
    const text = await request.body.getText() || '';
    const form = (request.headers['content-type'] || '').startsWith('application/x-www-form-urlencoded');
    let parsed = form ? Object.fromEntries(new URLSearchParams(text)) : {};
    try { parsed = form ? parsed : JSON.parse(text); } catch { /* a form of parts, or nothing */ }
    const [path] = request.path.split('?');
    const to = parsed.to || parsed.phone || parsed.chatId || parsed.number || parsed.target ||
      (/name="phone"\r\n\r\n([^\r]*)/.exec(text) || [])[1];
    return {provider: providerOf(path), look: LOOKS.test(path) || (request.method === 'GET'), path, to, parsed,
            name: nameOf(decodeURIComponent(path) + (form ? Object.values(parsed).join(' ') : text))};
  };
  // Each rule is asked about every request: none where many are to come.
  for (let i = 0; i < STREAMS && !Number(closeRate); i++) {
    for (const [word, end] of Object.entries(streams)) {
      await end(mockttp.forAnyRequest().matching(async (request) => (await about(request)).name === word).once());
    }
  }
  await mockttp.on('request', async (request) => {
    const a = await about(request);
    if (a.name in streams) say({seen: a.name, look: a.look, to: a.to, path: request.path});
  });
  await mockttp.forAnyRequest().always().thenCallback(async (request) => {
    const a = await about(request);
    const {authorization, apikey} = request.headers;
    say({seen: a.name, look: a.look, to: a.to, method: request.method, path: request.path, from: request.remotePort,
         authorization: authorization || request.headers['x-api-key'] || apikey || a.parsed.device_id,
         length: Number(request.headers['content-length'] || 0), body: a.parsed});
    return play(a);
  });
  const decoded = (text) => decodeURIComponent(text.replace(/%(?![0-9A-F]{2})/g, ''));
  const wire = raw((text) => nameOf(decoded(text.slice(text.indexOf('\r\n\r\n')))));
  await new Promise((done) => wire.listen(0, '127.0.0.1', done));
  const ports = {provider: mockttp.port, raw: wire.address().port};
  if (description) {
    const {createServer} = need('@stoplight/prism-http-server');
    const {getHttpOperationsFromSpec} = need('@stoplight/prism-http');
    const logger = need('@stoplight/prism-core').createLogger('prism', {level: 'error'}, {
      write: (line) => say({wrong: JSON.parse(line).msg}),
    });
    const front = createServer(await getHttpOperationsFromSpec(description), {
      cors: false, components: {logger},
      config: {isProxy: true, upstream: new URL(`http://127.0.0.1:${mockttp.port}`), validateRequest: true,
               validateResponse: true, checkSecurity: true, errors: true, upstreamProxy: undefined,
               mock: {dynamic: false}},
    });
    ports.front = Number(new URL(await front.listen(0, '127.0.0.1')).port);
  }
  say(ports);
}

main().catch((e) => { say({failed: String(e && e.stack || e)}); process.exit(1); });
