// What another reader of the Cloud API's webhooks makes of them: on stdin a line each,
// {"body": base64, "header": text, "secret": text}; for each a line with whether the signature holds, the one that Node
// makes of these bytes, and the statuses that are in them.
//
//     node webhook.cjs NPM-FOLDER
'use strict';
const path = require('path');
const {createHmac} = require('crypto');
const {createRequire} = require('module');
const need = createRequire(path.join(path.resolve(process.argv[2]), 'x.js'));
const {normalizeWebhook, verifySignature} = need('@kapso/whatsapp-cloud-api/server');
let text = '';
process.stdin.on('data', (data) => { text += data; });
process.stdin.on('end', () => {
  for (const line of text.split('\n').filter(Boolean)) {
    const {body, header, secret} = JSON.parse(line);
    const rawBody = Buffer.from(body, 'base64');
    let statuses = null;
    try {
      statuses = normalizeWebhook(JSON.parse(rawBody.toString())).statuses.map(
        (s) => [s.id, s.status, s.recipientId || '', String(((s.errors || [])[0] || {}).code || ''), s.timestamp]);
    } catch (e) { /* no JSON */ }
    console.log(JSON.stringify({good: verifySignature({appSecret: secret, rawBody, signatureHeader: header}),
                                made: createHmac('sha256', secret).update(rawBody).digest('hex'), statuses}));
  }
});
