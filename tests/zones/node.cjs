// The occurrences of rules by packages of npm:  node node.cjs FOLDER LIBRARY  reads a case a line as JSON and prints
// the instants, or a text where the library throws.  FOLDER is where they are installed.
const { createRequire } = require('node:module');
const { createInterface } = require('node:readline');
const load = createRequire(process.argv[2] + '/');

const libraries = {
  'cron-parser'() {
    const { CronExpressionParser } = load('cron-parser');
    return ({ cron, zone, after, count }) => {
      const rule = CronExpressionParser.parse(cron, { currentDate: new Date(after * 1000), tz: zone });
      return Array.from({ length: count }, () => rule.next().getTime() / 1000);
    };
  },
  croner() {
    const { Cron } = load('croner');
    return ({ cron, zone, after, count }) => new Cron(cron, { timezone: zone, paused: true })
      .nextRuns(count, new Date(after * 1000)).map((date) => date.getTime() / 1000);
  },
  'rrule-temporal'() {
    const { RRuleTemporal } = load('rrule-temporal');
    const rule = ({ start, rrule, zone }) => `DTSTART;TZID=${zone}:${start}\nRRULE:${rrule}`;
    return (about) => new RRuleTemporal({ rruleString: rule(about) })
      .all().map((date) => date.epochMilliseconds / 1000);
  },
  offsets() {
    const formats = new Map();
    return ([zone, s]) => {
      if (!formats.has(zone)) {
        formats.set(zone, new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', year: 'numeric',
          month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' }));
      }
      const part = {};
      formats.get(zone).formatToParts(s * 1000).forEach(({ type, value }) => { part[type] = Number(value); });
      return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second) / 1000 - s;
    };
  },
};

const due = libraries[process.argv[3]]();
createInterface({ input: process.stdin }).on('line', (line) => {
  let answer;
  try {
    answer = due(JSON.parse(line));
  } catch (e) {
    answer = String(e.message);
  }
  console.log(JSON.stringify(answer));
});
