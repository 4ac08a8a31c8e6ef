// A small bot made with @slack/bolt, which takes what secbot's stand-in for Slack
// sends and calls its Web API. It tells where it listens, and then each thing that
// a handler of its got.
import bolt from '@slack/bolt';
import { begin, tell } from './script.mjs';

const { secret, token, api } = begin();
const logLevel = bolt.LogLevel.WARN; // to standard error, as warnings are
const receiver = new bolt.HTTPReceiver({ signingSecret: secret, endpoints: ['/slack/commands', '/slack/interactions', '/slack/events'], logLevel });
// By default an app has auth.test called before it handles anything.
const app = new bolt.App({ receiver, token, logLevel, clientOptions: { slackApiUrl: api, retryConfig: { retries: 0 } } });

const plain = (text) => ({ type: 'plain_text', text });
const modal = {
  type: 'modal', callback_id: 'ignore', private_metadata: 'kept', title: plain('Ignore'), submit: plain('Ignore'), close: plain('Cancel'),
  blocks: [{ type: 'input', block_id: 'reason', label: plain('Reason'), element: { type: 'plain_text_input', action_id: 'reason' } }],
};

app.command('/secbot', async ({ command, ack, say }) => {
  tell({ command: command.text, by: command.user_id });
  await ack({ response_type: 'ephemeral', text: 'A moment.' });
  await say({ text: 'A question', blocks: [{ type: 'actions', block_id: 'b1', elements: [{ type: 'button', action_id: 'fix', value: 'v1', text: plain('Revert') }] }] });
  tell({ said: 'A question' });
});

app.action('fix', async ({ action, body, ack, client, respond }) => {
  tell({ action: action.value, block: action.block_id, by: body.user.id });
  await ack();
  await client.views.open({ trigger_id: body.trigger_id, view: modal });
  await respond({ text: 'Noted.', response_type: 'ephemeral', replace_original: false });
  tell({ opened: 'ignore' });
});

app.view('ignore', async ({ view, body, ack }) => {
  const reason = view.state.values.reason.reason.value;
  tell({ view: reason, memory: view.private_metadata, by: body.user.id });
  await (reason === 'no' ? ack({ response_action: 'errors', errors: { reason: 'Another one.' } }) : ack());
});

app.event('app_home_opened', async ({ event, client }) => {
  await client.views.publish({ user_id: event.user, view: { type: 'home', blocks: [{ type: 'section', text: plain('At home') }] } });
  tell({ home: event.user });
});

app.error(async (err) => tell({ error: `${err.message} ${JSON.stringify(err.data ?? {})}` }));

const server = await app.start({ host: '127.0.0.1', port: 0 });
tell({ listening: `http://127.0.0.1:${server.address().port}` });
