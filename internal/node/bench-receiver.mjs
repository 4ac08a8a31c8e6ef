// An app made with @slack/bolt that answers one slash command with a fixed answer,
// for `make bench`: it calls nobody, and asks nobody whom it is installed for.
import bolt from '@slack/bolt';
import { begin, tell } from './script.mjs';

const { secret, answer } = begin();
const receiver = new bolt.HTTPReceiver({ signingSecret: secret, endpoints: ['/slack/commands'], logLevel: bolt.LogLevel.ERROR });
const authorize = async () => ({ botToken: 'xoxb-none', botId: 'B0NOBODY', botUserId: 'U0NOBODY' });
const app = new bolt.App({ receiver, authorize, logLevel: bolt.LogLevel.ERROR });
app.command('/secbot', async ({ ack }) => ack(answer));
const server = await app.start({ host: '127.0.0.1', port: 0 });
tell({ listening: `http://127.0.0.1:${server.address().port}` });
