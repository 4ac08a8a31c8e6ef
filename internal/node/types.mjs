// Holds the golden messages, modals, homes and manifests against Slack's own type
// definitions.
//
//	node types.mjs GOLDENS OUT
//
// Every JSON file under GOLDENS becomes a TypeScript file under OUT/goldens, in
// which it stands as a literal of its type: only literals are checked for
// properties that Slack doesn't know. tsc must find nothing there. Then each of
// some mistakes is made in a golden file, and tsc must find every one: else it
// would prove nothing that it found none before.
//
// Types know neither lengths nor counts; internal/blockkit checks those.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** Reads all JSON files below a folder, by name. */
function read(folder) {
  const files = readdirSync(folder, { recursive: true }).filter((f) => f.endsWith('.json')).sort();
  return files.map((f) => ({
    name: f.replace(/(\.golden)?\.json$/, '').replaceAll(/[^A-Za-z0-9.-]/g, '_'),
    value: JSON.parse(readFileSync(join(folder, f), 'utf8')),
  }));
}

/** Names the type that a golden file must have. A new kind of file must be added here. */
function typeOf({ name, value }) {
  if (Array.isArray(value)) {
    return 'Blocks';
  }
  switch (value.type) {
    case 'modal':
      return 'Modal';
    case 'home':
      return 'Home';
    case undefined:
      if ('display_information' in value) {
        return 'Manifest';
      }
      if ('blocks' in value || 'text' in value) {
        return 'Message';
      }
  }
  throw new Error(`${name} is no message, no view and no manifest: tell typeOf in internal/node/types.mjs what it is`);
}

/** Writes a golden file as a literal. JSON is an expression of TypeScript. */
function write(folder, golden) {
  const type = typeOf(golden);
  const text = `import type { ${type} } from '../shapes.js';\n\nexport const golden: ${type} = ${JSON.stringify(golden.value, null, 2)};\n`;
  writeFileSync(join(folder, `${golden.name}.ts`), text);
}

/** Runs tsc over a folder and gives what it says, by file. */
function check(folder, names) {
  const tsc = join(here, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['--strict', '--noEmit', '--target', 'es2022', '--module', 'nodenext', '--types', '', '--pretty', 'false'];
  const ran = spawnSync(process.execPath, [tsc, ...options, ...names.map((n) => `${n}.ts`)], { cwd: folder, encoding: 'utf8', timeout: 60_000 });
  if (ran.error) {
    throw ran.error;
  }
  const found = new Map(names.map((n) => [n, []]));
  const rest = [];
  for (const line of `${ran.stdout}\n${ran.stderr}`.split('\n').filter((l) => l.trim() !== '')) {
    const about = found.get(/^(.*)\.ts\(\d+,\d+\): error TS/.exec(line)?.[1]);
    (about ?? rest).push(line);
  }
  const errors = [...found.values()].flat().length;
  // What is said about no file is either the second line of an error, or that tsc could not do its work.
  if ((ran.status === 0) !== (errors === 0)) {
    throw new Error(`tsc ended with ${ran.status}:\n${rest.join('\n')}`);
  }
  return { found, output: ran.stdout };
}

/** Gives all objects within a value. */
function* objects(value) {
  if (value === null || typeof value !== 'object') {
    return;
  }
  if (!Array.isArray(value)) {
    yield value;
  }
  for (const child of Object.values(value)) {
    yield* objects(child);
  }
}

const first = (is) => (value) => [...objects(value)].find(is);
const ofType = (type) => first((o) => o.type === type);
const isMessage = (value) => (value.type === undefined && Array.isArray(value.blocks) ? value : undefined);

/** The mistakes: where each is made, and how. */
const mistakes = {
  'a button without text': [ofType('button'), (o) => delete o.text],
  'a button with a style of its own': [ofType('button'), (o) => (o.style = 'warning')],
  'a property that no button has': [ofType('button'), (o) => (o.colour = 'red')],
  'a property that no section has': [ofType('section'), (o) => (o.txt = 'x')],
  'a section whose text is a string': [ofType('section'), (o) => (o.text = 'x')],
  'a header in mrkdwn': [ofType('header'), (o) => (o.text = { type: 'mrkdwn', text: 'x' })],
  'emoji in mrkdwn': [ofType('mrkdwn'), (o) => (o.emoji = true)],
  'a type of block that is none': [ofType('section'), (o) => (o.type = 'paragraph')],
  'a button among the blocks': [isMessage, (o) => o.blocks.push({ type: 'button', text: { type: 'plain_text', text: 'x' }, action_id: 'x' })],
  'a confirmation without a text': [first((o) => o.confirm?.title), (o) => delete o.confirm.text],
  'a message without text': [isMessage, (o) => delete o.text],
  'a scope that is none': [first((o) => o.oauth_config), (o) => o.oauth_config.scopes.bot.push('channels:reed')],
  'an event that is none': [first((o) => o.oauth_config), (o) => o.settings.event_subscriptions.bot_events.push('app_mentioned')],
  'a property that no slash command has': [first((o) => o.slash_commands), (o) => (o.slash_commands[0].hint = 'x')],
  'a modal without a title': [ofType('modal'), (o) => delete o.title],
  'a property that no modal has': [ofType('modal'), (o) => (o.color = 'red')],
  'a property that no home has': [ofType('home'), (o) => (o.title = { type: 'plain_text', text: 'x' })],
  'an input without a label': [ofType('input'), (o) => delete o.label],
  'an option whose text is a string': [first((o) => o.options), (o) => (o.options[0].text = 'x')],
};

/** Makes a mistake in the first golden file where it can be made. */
function plant(goldens, mistake, number) {
  const [find, spoil] = mistakes[mistake];
  for (const golden of goldens) {
    const value = structuredClone(golden.value);
    const place = find(value);
    if (place !== undefined) {
      spoil(place);
      return { name: `mistake-${number}`, value };
    }
  }
  throw new Error(`no golden file is fit for ${mistake}: change the mistake in internal/node/types.mjs`);
}

function folder(out, name) {
  const path = join(out, name);
  mkdirSync(path, { recursive: true });
  return path;
}

function main([goldensFolder, out]) {
  const goldens = read(goldensFolder);
  if (goldens.length === 0) {
    throw new Error(`there is no JSON file in ${goldensFolder}`);
  }
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  copyFileSync(join(here, 'shapes.ts'), join(out, 'shapes.ts'));
  writeFileSync(join(out, 'package.json'), '{"type":"module"}\n');

  const right = folder(out, 'goldens');
  for (const golden of goldens) {
    write(right, golden);
  }
  const { found, output } = check(right, goldens.map((g) => g.name));
  if ([...found.values()].flat().length > 0) {
    process.stderr.write(output);
    throw new Error(`Slack's types don't fit what is above; the files are in ${right}`);
  }
  console.log(`${goldens.length} golden files are what @slack/types and @slack/web-api want`);

  const wrong = folder(out, 'mistakes');
  const names = Object.keys(mistakes);
  const planted = names.map((m, i) => plant(goldens, m, i));
  planted.forEach((p) => write(wrong, p));
  const unseen = [];
  check(wrong, planted.map((p) => p.name)).found.forEach((errors, name) => {
    if (errors.length === 0) {
      unseen.push(names[Number(name.split('-')[1])]);
    }
  });
  if (unseen.length > 0) {
    throw new Error(`tsc does not see: ${unseen.join('; ')}`);
  }
  console.log(`and ${planted.length} mistakes are found`);
}

try {
  main(process.argv.slice(2));
} catch (err) {
  console.error(`types.mjs: ${err.message}`);
  process.exitCode = 1;
}
