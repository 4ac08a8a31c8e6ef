// Serves the Slack of vercel-labs' emulate, with the people, the channel and the
// app that the test names. Tells where. A number of seconds on a line of
// standard input puts its clock forward, and is told back.
import { once } from 'node:events';
import { Server } from 'node:net';
import { createEmulator } from 'emulate';
import { begin, tell } from './script.mjs';

const { token, testToken, scopes, people, channel } = begin();

// emulate names no address to listen on, which would be all of the machine's.
let server;
const { listen } = Server.prototype;
Server.prototype.listen = function listenOnLoopback(port) {
  server = this;
  return listen.call(this, { host: '127.0.0.1', port });
};

let ahead = 0;
const { now } = Date;
Date.now = () => now() + ahead;
process.stdin.on('data', (seconds) => {
  ahead += Number(seconds) * 1000;
  tell({ ahead: ahead / 1000 });
});

const ids = { app_id: 'A0SECBOT', bot_id: 'B0SECBOT', bot_user_id: 'U0SECBOT' };
await createEmulator({
  service: 'slack', port: 0, baseUrl: 'http://127.0.0.1',
  seed: {
    slack: {
      team: { name: 'Sandbox', domain: 'sandbox' },
      users: people.map((name) => ({ name })),
      channels: [{ name: channel }],
      oauth_apps: [{ ...ids, client_id: '1.2', client_secret: 'x', name: 'secbot', bot_name: 'secbot', redirect_uris: [], scopes }],
      tokens: [
        { ...ids, token, type: 'bot', user: 'secbot', scopes },
        { token: testToken, type: 'user', user: 'admin' }, // with every scope there is
      ],
      strict_scopes: true,
    },
  },
});
if (!server.listening) {
  await once(server, 'listening');
}
tell({ listening: `http://127.0.0.1:${server.address().port}` });
