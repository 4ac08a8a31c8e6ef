// Sends secbot what Slack would, as somebody who has only @slack/bolt takes it to
// be: each request is first shown to Bolt's verifySlackRequest, and secbot must
// say the same. Tells one line for each request.
import { createHmac } from 'node:crypto';
import bolt from '@slack/bolt';
import { begin, tell } from './script.mjs';

const { url, secret, user, click } = begin();
const form = 'application/x-www-form-urlencoded';
const json = 'application/json';
const now = () => Math.floor(Date.now() / 1000);

/** Signs as Slack documents it; Bolt has only the other half in it. */
function sign(secret, timestamp, body) {
  return `v0=${createHmac('sha256', secret).update(`v0:${timestamp}:${body}`).digest('hex')}`;
}

const about = { token: 'x', api_app_id: 'A0SECBOT', team: { id: 'T0SANDBOX', domain: 'sandbox' }, enterprise: null, is_enterprise_install: false, user: { id: user, username: 'alice', team_id: 'T0SANDBOX' } };
const payload = (what) => new URLSearchParams({ payload: JSON.stringify({ ...about, ...what }) }).toString();

const clicked = {
  type: 'block_actions',
  container: { type: 'message', message_ts: click.ts, channel_id: click.channel, is_ephemeral: false },
  channel: { id: click.channel, name: 'security' },
  message: { type: 'message', ts: click.ts },
  trigger_id: '1.2.3',
  actions: [{ type: 'button', action_id: 'fix', block_id: click.block_id, value: click.value, text: { type: 'plain_text', text: 'Revert Change' }, action_ts: `${now()}.000001` }],
};
// A reason is missing, so secbot's answer is an error at that input.
const submitted = {
  type: 'view_submission',
  trigger_id: '1.2.4',
  view: {
    id: 'V1', type: 'modal', callback_id: 'ignore', private_metadata: JSON.stringify({ incident: click.value, channel: click.channel }),
    state: { values: { duration: { duration: { type: 'static_select', selected_option: { text: { type: 'plain_text', text: '7 days' }, value: '7d' } } }, reason: { reason: { type: 'plain_text_input', value: null } } } },
  },
};
const command = new URLSearchParams({
  token: 'x', team_id: 'T0SANDBOX', team_domain: 'sandbox', channel_id: click.channel, channel_name: 'security', user_id: user, user_name: 'alice',
  command: '/secbot', text: 'help', api_app_id: 'A0SECBOT', is_enterprise_install: 'false', response_url: `${url}/nowhere`, trigger_id: '1.2.5',
}).toString();

/** What Slack sends, and what secbot's answer must hold. */
const right = [
  { name: 'a challenge', path: '/slack/events', type: json, body: JSON.stringify({ type: 'url_verification', token: 'x', challenge: 'c h é' }), holds: (a) => JSON.parse(a).challenge === 'c h é' },
  { name: 'a slash command', path: '/slack/commands', type: form, body: command, holds: (a) => JSON.parse(a).response_type === 'ephemeral' },
  { name: 'a submitted modal', path: '/slack/interactions', type: form, body: payload(submitted), holds: (a) => JSON.parse(a).response_action === 'errors' && 'reason' in JSON.parse(a).errors },
  { name: 'a click', path: '/slack/interactions', type: form, body: payload(clicked), holds: (a) => a === '' },
];

const signed = (secret, timestamp, body) => ({ 'x-slack-request-timestamp': String(timestamp), 'x-slack-signature': sign(secret, timestamp, body) });

/** What others send: the headers, and the body where it is another. */
const forged = {
  'with another secret': ({ body }) => ({ headers: signed(`${secret}x`, now(), body) }),
  'six minutes old': ({ body }) => ({ headers: signed(secret, now() - 360, body) }),
  'with a newer timestamp': ({ body }) => ({ headers: { ...signed(secret, now() - 360, body), 'x-slack-request-timestamp': String(now()) } }),
  'with another body': ({ body }) => ({ headers: signed(secret, now(), body), body: body.replace(/.$/, (c) => (c === '0' ? '1' : '0')) }),
  'with something after the body': ({ body }) => ({ headers: signed(secret, now(), body), body: `${body}&x=1` }),
  'of another version': ({ body }) => ({ headers: { ...signed(secret, now(), body), 'x-slack-signature': sign(secret, now(), body).replace('v0', 'v1') } }),
  'with half a signature': ({ body }) => ({ headers: { ...signed(secret, now(), body), 'x-slack-signature': sign(secret, now(), body).slice(0, 35) } }),
  'with an empty signature': ({ body }) => ({ headers: { ...signed(secret, now(), body), 'x-slack-signature': 'v0=' } }),
  'with no signature': ({ body }) => ({ headers: { 'x-slack-request-timestamp': signed(secret, now(), body)['x-slack-request-timestamp'] } }),
  'with no timestamp': ({ body }) => ({ headers: { 'x-slack-signature': sign(secret, '', body) } }),
  // The one thing in which they differ: Bolt refuses only what is too old.
  'six minutes ahead': ({ body }) => ({ headers: signed(secret, now() + 360, body), bolt: true }),
};

/** Bolt's verdict, by way of what its receiver does with the headers. */
function boltTakes(headers, body) {
  return bolt.isValidSlackRequest({
    signingSecret: secret, body,
    headers: { 'x-slack-signature': headers['x-slack-signature'], 'x-slack-request-timestamp': Number(headers['x-slack-request-timestamp']) },
  });
}

async function send(name, { path, type, holds }, headers, body, boltShould, secbotShould) {
  if (boltTakes(headers, body) !== boltShould) {
    throw new Error(`${name}: Bolt ${boltShould ? 'refuses' : 'takes'} it`);
  }
  const resp = await fetch(url + path, { method: 'POST', headers: { 'content-type': type, ...headers }, body, signal: AbortSignal.timeout(10_000) });
  const answer = await resp.text();
  if (resp.status !== (secbotShould ? 200 : 401)) {
    throw new Error(`${name}: secbot answers ${resp.status} ${answer}`);
  }
  if (secbotShould && !holds(answer)) {
    throw new Error(`${name}: secbot takes it and answers ${answer}`);
  }
  tell({ name, status: resp.status });
}

for (const request of right) {
  for (const [how, forge] of Object.entries(forged)) {
    const { headers, body = request.body, bolt: boltShould = false } = forge(request);
    await send(`${request.name} ${how}`, request, headers, body, boltShould, false);
  }
}
for (const request of right) {
  await send(request.name, request, signed(secret, now(), request.body), request.body, true, true);
}
process.exit(0);
