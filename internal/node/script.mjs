// What the scripts that Go tests start have in common. They get their arguments
// as one JSON text, say lines of JSON on standard output, and end when their
// standard input does: also where the test was killed and could not end them.

/** Gives the arguments, and sees to it that the script ends. */
export function begin() {
  const late = setTimeout(() => {
    console.error('the script has run for two minutes and gives up');
    process.exit(2);
  }, 120_000);
  late.unref();
  process.stdin.on('end', () => process.exit(0)).resume();
  return JSON.parse(process.argv[2]);
}

/** Tells the test something. */
export function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}
