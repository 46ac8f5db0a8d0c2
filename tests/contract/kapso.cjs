// What another client of the Cloud API makes of its errors: [[status, code], ...] on stdin, a line "category action"
// for each.
//
//     node kapso.cjs NPM-FOLDER
'use strict';
const path = require('path');
const {createRequire} = require('module');
const need = createRequire(path.join(path.resolve(process.argv[2]), 'x.js'));
const {GraphApiError} = need('@kapso/whatsapp-cloud-api');
let text = '';
process.stdin.on('data', (data) => { text += data; });
process.stdin.on('end', () => {
  for (const [status, code] of JSON.parse(text)) {
    const body = {error: {message: 'x', type: 'OAuthException', code}};
    const error = GraphApiError.fromResponse({status, headers: new Headers()}, body, JSON.stringify(body));
    console.log(error.category, error.retry.action);
  }
});
